"""Labels panel, score bars and label table with real key and mouse events."""

from __future__ import annotations

import csv
import io
from dataclasses import replace

import numpy as np
import pytest
from helpers_space import HandJobs, image, model, sound, text
from PySide6.QtCore import QPoint, Qt
from PySide6.QtGui import QGuiApplication
from pytestqt.qtbot import QtBot

from mmviewer.core.session.state import LibraryItem
from mmviewer.core.types import Media, Modality, Scores
from mmviewer.engine.protocol import Classify, ErrorReport, LoadModel, Tokenize
from mmviewer.gui.label_text import MAX_LABELS, fill, parse_labels, parse_templates, quoted
from mmviewer.gui.panels.labels import LabelsPanel
from mmviewer.gui.widgets.label_table import LabelTable
from mmviewer.gui.widgets.score_bars import ScoreBars, ScoreRow
from mmviewer.gui.workbench import Workbench


# --- text ------------------------------------------------------------------------------------------
@pytest.mark.parametrize(
    ("typed", "labels"),
    [
        ("rabbit, bicycle\ndog", ("rabbit", "bicycle", "dog")),
        ("  a   red\tcar ; house,,\n\n,", ("a red", "car", "house")),
        ('"red, round", apple', ("red, round", "apple")),
        ('x, "a; b" , "c,d"', ("x", "a; b", "c,d")),
        ('a "b" c, "d" e', ('a "b" c', '"d" e')),
        ('half "quoted, label', ('half "quoted', "label")),
        ("dog, dog, Dog", ("dog", "Dog")),
        ("", ()),
        ("ארנב, 🐇", ("ארנב", "🐇")),
    ],
)
def test_labels_are_split_as_typed_or_pasted(typed: str, labels: tuple[str, ...]) -> None:
    assert parse_labels(typed).labels == labels


def test_quoted_labels_are_read_back() -> None:
    labels = ("red, round", "a; b", "plain", 'an "odd" one')
    assert parse_labels("\n".join(quoted(label) for label in labels)).labels == labels


def test_repeated_and_too_many_labels_are_said_gently() -> None:
    assert parse_labels("dog, dog").note == "“dog” repeated: counted once"
    many = parse_labels("\n".join(f"label {number}" for number in range(MAX_LABELS + 10)))
    assert len(many.labels) == MAX_LABELS
    assert "5,010" in many.note


def test_templates_need_the_slot() -> None:
    both = parse_templates("a {} |  a photo  of {} | a {}")
    assert both.templates == ("a {}", "a photo of {}")
    assert both.note == ""
    bad = parse_templates("a photo")
    assert bad.templates == ()
    assert "{}" in bad.note
    assert parse_templates("").note


def test_braces_in_labels_stay() -> None:
    assert fill("a {}", "{0} %s") == "a {0} %s"


# --- bars ------------------------------------------------------------------------------------------
@pytest.fixture
def bars(qtbot: QtBot) -> ScoreBars:
    widget = ScoreBars()
    qtbot.addWidget(widget)
    widget.resize(320, 200)
    widget.show()
    return widget


def test_bar_length_is_the_value(bars: ScoreBars) -> None:
    bars.set_rows([ScoreRow("half", 0.5), ScoreRow("all", 1.0), ScoreRow("unknown")])
    picture = bars.viewport().grab().toImage()
    accent = bars.palette().color(bars.palette().ColorRole.Accent)
    for row, share in ((0, 0.5), (1, 1.0), (2, 0.0)):
        track = bars.track_rect(row)
        y = track.center().y()
        lit = [picture.pixelColor(x, y) == accent for x in range(track.left(), track.right() + 1)]
        assert sum(lit) / track.width() == pytest.approx(share, abs=0.03)


def test_order_is_kept_unless_sorted(bars: ScoreBars) -> None:
    bars.set_rows([ScoreRow("b", 0.1), ScoreRow("new"), ScoreRow("a", 0.9)])
    assert [row.label for row in bars.rows()] == ["b", "new", "a"]
    bars.set_sorted(True)
    assert [row.label for row in bars.rows()] == ["a", "b", "new"]
    bars.set_sorted(False)
    assert [row.label for row in bars.rows()] == ["b", "new", "a"]


def test_keys_step_activate_and_copy(bars: ScoreBars, qtbot: QtBot) -> None:
    bars.set_rows([ScoreRow(f"label {number}", number / 100) for number in range(100)])
    bars.setFocus()
    qtbot.keyClick(bars, Qt.Key.Key_End)
    assert bars.current_label() == "label 99"
    assert bars.row_rect(99).bottom() <= bars.viewport().height()
    qtbot.keyClick(bars, Qt.Key.Key_Up)
    with qtbot.waitSignal(bars.activated) as activated:
        qtbot.keyClick(bars, Qt.Key.Key_Return)
    assert activated.args == ["label 98"]
    qtbot.keyClick(bars, Qt.Key.Key_C, Qt.KeyboardModifier.ControlModifier)
    lines = QGuiApplication.clipboard().text().splitlines()
    assert len(lines) == 100
    assert lines[98] == "label 98\t0.980000"


def test_bars_of_thousands_of_labels_paint_fast(bars: ScoreBars, qtbot: QtBot) -> None:
    bars.set_rows([ScoreRow("x" * 400 + str(number), 0.5) for number in range(5_000)])
    bars.verticalScrollBar().setValue(bars.verticalScrollBar().maximum())
    assert bars.row_at(QPoint(5, bars.viewport().height() - 4)) == 4_999
    assert not bars.viewport().grab().isNull()
    assert bars.track_rect(0).width() > 60  # a long label leaves room for its bar


# --- table -----------------------------------------------------------------------------------------
@pytest.fixture
def table(qtbot: QtBot) -> LabelTable:
    widget = LabelTable()
    qtbot.addWidget(widget)
    widget.resize(500, 200)
    values = np.array([[0.2, 0.8], [0.9, 0.1], [0.5, 0.5]], np.float32)
    widget.set_scores(("1", "2", "3"), ("c", "a, b", "b"), ("rabbit", "dog"), values)
    widget.show()
    return widget


def column(table: LabelTable, number: int) -> list[str]:
    shown = table.model()
    return [str(shown.index(row, number).data()) for row in range(shown.rowCount())]


def test_table_sorts_by_a_label_and_copies_what_is_shown(table: LabelTable, qtbot: QtBot) -> None:
    assert column(table, 0) == ["c", "a, b", "b"]  # as in the library
    header = table.horizontalHeader()
    place = QPoint(header.sectionViewportPosition(1) + 20, header.height() // 2)
    qtbot.mouseClick(header.viewport(), Qt.MouseButton.LeftButton, pos=place)
    first = column(table, 1)
    qtbot.mouseClick(header.viewport(), Qt.MouseButton.LeftButton, pos=place)
    assert sorted([first, column(table, 1)]) == [["0.200", "0.500", "0.900"], ["0.900", "0.500", "0.200"]]
    table.setFocus()
    qtbot.keyClick(table, Qt.Key.Key_C, Qt.KeyboardModifier.ControlModifier)
    rows = list(csv.reader(io.StringIO(QGuiApplication.clipboard().text())))
    assert rows[0] == ["item", "rabbit", "dog"]
    assert {row[0] for row in rows[1:]} == {"a, b", "b", "c"}
    assert [row[1][:5] for row in rows[1:]] == column(table, 1)


def test_table_chooses_the_clicked_item_and_follows_silently(table: LabelTable, qtbot: QtBot) -> None:
    chosen: list[str] = []
    table.item_chosen.connect(chosen.append)
    table.set_current("3")
    assert chosen == []
    assert table.current_id() == "3"
    cell = table.visualRect(table.model().index(1, 1)).center()
    qtbot.mouseClick(table.viewport(), Qt.MouseButton.LeftButton, pos=cell)
    assert chosen == ["2"]
    table.set_scores(("2", "3"), ("a", "b"), ("rabbit",), np.zeros((2, 1), np.float32))
    assert chosen == ["2"]
    assert table.current_id() == "2"


def test_table_refuses_numbers_of_another_shape(table: LabelTable) -> None:
    with pytest.raises(ValueError, match="scores for"):
        table.set_scores(("1",), ("a",), ("x", "y"), np.zeros((1, 1), np.float32))


# --- panel -----------------------------------------------------------------------------------------
@pytest.fixture
def jobs(qtbot: QtBot) -> HandJobs:
    return HandJobs()


@pytest.fixture
def panel(jobs: HandJobs, qtbot: QtBot):  # type: ignore[no-untyped-def]
    workbench = Workbench(jobs)  # type: ignore[arg-type]
    panel = LabelsPanel(workbench)
    qtbot.addWidget(panel)
    panel.resize(340, 560)
    panel.show()
    yield panel
    panel.release()
    workbench.release()


def fill_library(panel: LabelsPanel) -> None:
    panel.state.set_items([image("one"), image("two", 90), text("a note"), sound("bell")])
    panel.state.set_model(model())
    panel.workbench.choose("one")


def answer(jobs: HandJobs, shares: list[float]) -> None:
    asked = jobs.last(Classify)
    request = asked.request
    assert isinstance(request, Classify)
    ids = tuple(item.id for item in request.items)
    values = np.tile(np.array(shares, np.float32), (len(ids), 1))
    values[1:] = values[1:, ::-1]
    asked.done(Scores(ids, request.labels, values, values / 4, "softmax", request.templates, "clip"))


def type_labels(panel: LabelsPanel, qtbot: QtBot, typed: str, jobs: HandJobs) -> None:
    before = jobs.count(Classify)
    qtbot.keyClicks(panel.editor, typed)
    qtbot.waitUntil(lambda: jobs.count(Classify) > before)


def test_panel_says_what_to_do(panel: LabelsPanel, qtbot: QtBot) -> None:
    asked: list[str] = []
    panel.workbench.panel_requested.connect(asked.append)
    assert "Load a CLIP-like model" in panel.stack.message
    panel.stack.acted.emit()
    assert asked == ["models"]
    panel.state.set_model(model())
    assert "Type a few labels" in panel.stack.message
    panel.stack.acted.emit()
    qtbot.waitUntil(lambda: panel.state.labels == ("rabbit", "bicycle"))
    assert panel.sort.isChecked()
    assert "Add an image" in panel.stack.message


def test_typing_scores_images_only_and_shows_bars(panel: LabelsPanel, jobs: HandJobs, qtbot: QtBot) -> None:
    fill_library(panel)
    type_labels(panel, qtbot, "dog, cat", jobs)
    qtbot.waitUntil(lambda: panel.state.labels == ("dog", "cat"))
    qtbot.waitUntil(lambda: jobs.last(Classify).request.labels == ("dog", "cat"))  # type: ignore[attr-defined]
    request = jobs.last(Classify).request
    assert isinstance(request, Classify)
    assert [item.id for item in request.items] == ["one", "two"]
    assert request.templates == ("a {}",)
    answer(jobs, [0.7, 0.3])
    assert [(row.label, row.value) for row in panel.bars.rows()] == [
        ("dog", pytest.approx(0.7)),
        ("cat", pytest.approx(0.3)),
    ]
    assert "cosine similarity 0.175" in panel.bars.tooltip(0)
    assert panel.explanation.text.startswith("softmax")
    panel.workbench.choose("two")
    assert panel.bars.rows()[0].value == pytest.approx(0.3)
    panel.workbench.choose("bell")
    assert "cannot compare the chosen item" in panel.stack.message


def test_last_scores_stay_while_typing_goes_on(panel: LabelsPanel, jobs: HandJobs, qtbot: QtBot) -> None:
    fill_library(panel)
    type_labels(panel, qtbot, "dog,cat", jobs)
    qtbot.waitUntil(lambda: jobs.last(Classify).request.labels == ("dog", "cat"))  # type: ignore[attr-defined]
    answer(jobs, [0.7, 0.3])
    type_labels(panel, qtbot, ",lion", jobs)
    shown = panel.bars.rows()
    assert panel.stack.message == ""
    assert [row.value for row in shown[:2]] == [pytest.approx(0.7), pytest.approx(0.3)]
    assert np.isnan(shown[2].value)


def test_template_without_slot_is_explained_and_not_used(
    panel: LabelsPanel, jobs: HandJobs, qtbot: QtBot
) -> None:
    fill_library(panel)
    type_labels(panel, qtbot, "dog", jobs)
    field = panel.template.lineEdit()
    field.selectAll()
    qtbot.keyClicks(field, "a photo")
    qtbot.waitUntil(lambda: "lacks {}" in panel.note.text)
    assert panel.state.templates == ("a {}",)
    qtbot.keyClicks(field, " of {}")
    qtbot.waitUntil(lambda: panel.state.templates == ("a photo of {}",))
    assert panel.note.text == ""


def test_table_over_all_items(panel: LabelsPanel, jobs: HandJobs, qtbot: QtBot) -> None:
    fill_library(panel)
    type_labels(panel, qtbot, "dog,cat", jobs)
    qtbot.waitUntil(lambda: jobs.last(Classify).request.labels == ("dog", "cat"))  # type: ignore[attr-defined]
    answer(jobs, [0.7, 0.3])
    qtbot.mouseClick(panel.all_items, Qt.MouseButton.LeftButton)
    assert column(panel.table, 0) == ["one.png", "two.png"]
    assert column(panel.table, 1) == ["0.700", "0.300"]
    cell = panel.table.visualRect(panel.table.model().index(1, 0)).center()
    qtbot.mouseClick(panel.table.viewport(), Qt.MouseButton.LeftButton, pos=cell)
    assert panel.state.current is not None
    assert panel.state.current.id == "two"


def test_failure_is_said_in_place(panel: LabelsPanel, jobs: HandJobs, qtbot: QtBot) -> None:
    fill_library(panel)
    type_labels(panel, qtbot, "dog", jobs)
    jobs.last(Classify).failed(ErrorReport("InputError", "The label is too long; shorten it.", "trace"))
    assert panel.stack.message == "The label is too long; shorten it."


def test_labels_from_elsewhere_are_shown(panel: LabelsPanel) -> None:
    panel.state.set_labels(("red, round", "apple"), ("a {}", "an {}"))
    assert panel.editor.toPlainText() == '"red, round"\napple'
    assert panel.template.currentText() == "a {} | an {}"


def test_activated_label_asks_where(panel: LabelsPanel, jobs: HandJobs, qtbot: QtBot) -> None:
    fill_library(panel)
    panel.state.set_labels(("dog",), ("a photo of a {}",))
    qtbot.waitUntil(lambda: jobs.count(Classify) > 0)
    answer(jobs, [1.0])
    row = panel.bars.row_rect(0).center()
    qtbot.mouseDClick(panel.bars.viewport(), Qt.MouseButton.LeftButton, pos=row)
    qtbot.waitUntil(lambda: jobs.count(Tokenize) == 1)
    request = jobs.last(Tokenize).request
    assert isinstance(request, Tokenize)
    assert request.text == "a photo of a dog"


# --- photographs under the starter -----------------------------------------------------------------
def photograph(name: str) -> LibraryItem:
    pixels = np.random.default_rng(0).integers(0, 255, (60, 80, 3), dtype=np.uint8)
    return LibraryItem(Media(name, Modality.IMAGE, name, pixels=pixels), name)


def test_a_photograph_under_the_starter_offers_the_photo_model(panel: LabelsPanel, jobs: HandJobs) -> None:
    state, bench = panel.state, panel.workbench
    starter = replace(model(), source="starter")
    state.set_items([photograph("photo"), image("drawing")])
    state.set_model(starter)
    bench.choose("photo")
    assert panel.photo.isVisible()
    panel.load_photo.click()
    request = jobs.last(LoadModel).request
    assert isinstance(request, LoadModel)
    assert request.source == "starter-photo"
    bench.choose("drawing")
    assert not panel.photo.isVisible()
    bench.choose("photo")
    assert panel.photo.isVisible()
    state.set_model(replace(starter, source="starter-photo"))
    assert not panel.photo.isVisible()
