"""The guided tour: where the bubble lies, what moves it on, and that it leaves no trace."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from itertools import pairwise, product
from pathlib import Path

import pytest
from helpers_space import HandJobs, text
from helpers_viewer import MODEL, image_maps, picture, sequence, tone
from PySide6.QtCore import QPoint, QRect, QSettings, QSize, Qt
from PySide6.QtGui import QImage
from PySide6.QtWidgets import QApplication, QMenu, QPushButton
from pytestqt.qtbot import QtBot

from mmviewer.core.session.settings import Settings
from mmviewer.core.session.state import LibraryItem
from mmviewer.core.types import MapSpec, ModelAbout, QuestionForm, TokenSequence, TokenSpan
from mmviewer.engine.protocol import OpenMedia
from mmviewer.gui.controllers import tour as tour_module
from mmviewer.gui.main_window import MainWindow
from mmviewer.gui.theme import Theme
from mmviewer.gui.tour_steps import STEPS
from mmviewer.gui.widgets.callout import Callout, Side, place
from mmviewer.gui.workbench import Workbench

LEFT = Qt.MouseButton.LeftButton
ASKABLE = replace(MODEL, about=ModelAbout(questions=QuestionForm("{question} ?", ("how many dogs",))))
ROOM = QRect(0, 0, 1024, 700)
BUBBLE = QSize(312, 150)


# --- where the bubble lies ------------------------------------------------------------------------------
TARGETS = [
    QRect(x, y, width, height)
    for x, y, (width, height) in product((0, 200, 700, 980), (0, 300, 660), ((40, 30), (300, 90), (600, 300)))
]


@pytest.mark.parametrize("sides", [tuple(Side), (Side.BELOW, Side.LEFT), (Side.ABOVE,)])
def test_a_bubble_lies_wholly_in_the_window_and_beside_its_target(sides):
    for target in TARGETS:
        placed = place(BUBBLE, target, ROOM, sides)
        box = QRect(placed.corner, BUBBLE)
        assert ROOM.contains(box), (target, placed)
        if placed.side is None:
            continue
        assert placed.side in sides
        assert not box.intersects(target.intersected(ROOM)), (target, placed)
        assert box.contains(placed.tip)
        reach = target.intersected(ROOM).adjusted(-24, -24, 24, 24)
        assert reach.contains(placed.tip) or box.intersects(reach), (target, placed)


def test_the_first_side_with_room_is_taken():
    middle = QRect(460, 320, 100, 40)
    assert place(BUBBLE, middle, ROOM, (Side.LEFT, Side.RIGHT)).side is Side.LEFT
    assert place(BUBBLE, QRect(10, 320, 100, 40), ROOM, (Side.LEFT, Side.RIGHT)).side is Side.RIGHT
    assert place(BUBBLE, QRect(0, 0, 1024, 700), ROOM, tuple(Side)).side is None


# --- in the window -----------------------------------------------------------------------------------------
@pytest.fixture
def theme(qapp: QApplication) -> Iterator[Theme]:
    theme = Theme(qapp)
    theme.apply("dark")
    yield theme
    theme.release()
    theme.deleteLater()


@pytest.fixture
def bench(tmp_path: Path) -> Iterator[Workbench]:
    """A workbench without an engine, with a captioned picture, a sound and a text."""
    bench = Workbench(HandJobs(), settings=Settings.load(tmp_path / "settings.json"))  # type: ignore[arg-type]
    bench.settings.generate_on_choose = False
    bench.state.set_model(MODEL)
    yield bench
    bench.release()


@pytest.fixture
def window(qtbot: QtBot, bench: Workbench, theme: Theme, tmp_path: Path) -> Iterator[MainWindow]:
    window = MainWindow(bench, theme, QSettings(str(tmp_path / "window.ini"), QSettings.Format.IniFormat))
    window.resize(1024, 700)
    with qtbot.waitExposed(window):
        window.show()
    QApplication.processEvents()
    yield window
    window.close()
    window.deleteLater()


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """No time to savour."""
    monkeypatch.setattr(tour_module, "_SAVOUR_MS", 1)


def fill(bench: Workbench) -> LibraryItem:
    item = picture()
    bench.state.set_items([item, tone(), text("a dog")])
    bench.choose(item.id)
    bench.state.set_sequence(sequence(item))
    bench.state.set_maps(image_maps(item))
    QApplication.processEvents()
    return item


def do(window: MainWindow, key: str) -> None:
    """What a user does at a step, as the session hears of it."""
    state = window.bench.state
    assert state.current is not None
    spans = (TokenSpan(0, 0, "two", logprob=-0.1),)
    {
        "tokens": lambda: state.set_hovered_token(1),
        "map": lambda: state.set_hovered_cell((1, 1)),
        "method": lambda: state.set_spec(MapSpec("rollout")),
        "query": lambda: state.set_sequence(replace(sequence(picture()), kind="query")),
        "ask": lambda: state.set_sequence(TokenSequence("answer", "picture", "m", "two", spans)),
        "labels": lambda: state.set_labels(("owl", "dog"), ("a {}",)),
        "space": lambda: window.bench.choose("a dog"),
    }[key]()


def test_every_step_points_at_something_that_is_seen(window, bench, qtbot):
    bench.state.set_model(ASKABLE)
    fill(bench)
    window.start_tour()
    tour = window.tour
    seen = []
    while window.tour is not None:
        step, callout = tour.step, tour.callout
        seen.append(step.key)
        widget = step.target(window.top_bar, window.docks.panels)
        assert widget is not None, step.key
        assert widget.isVisible(), step.key
        assert callout.isVisible()
        assert window.rect().contains(callout.geometry()), step.key
        assert callout.height() >= callout.heightForWidth(callout.width())  # no text is cut
        assert callout.count.text() == f"{len(seen)} of {len(STEPS)}"
        qtbot.mouseClick(callout.next, LEFT)
    assert seen == [step.key for step in STEPS]


def test_doing_it_goes_on_by_itself(window, bench, qtbot, quick):
    bench.state.set_model(ASKABLE)
    fill(bench)
    window.start_tour()
    for step, following in pairwise(STEPS):
        assert window.tour.step is step
        do(window, step.key)
        qtbot.waitUntil(lambda following=following: window.tour.step is following)
    qtbot.mouseClick(window.tour.callout.next, LEFT)
    assert window.tour is None


def test_what_the_user_does_is_noticed_before_the_tour_goes_on(window, bench):
    fill(bench)
    window.start_tour()
    title = window.tour.callout.title.text()
    do(window, "tokens")
    do(window, "tokens")
    assert window.tour.callout.title.text() == f"✓ {title}"
    assert window.tour.step is STEPS[0]


def test_other_changes_do_not_move_it(window, bench, qtbot, quick):
    fill(bench)
    window.start_tour()
    do(window, "labels")
    bench.state.set_hovered_token(None)
    qtbot.wait(40)
    assert window.tour.step is STEPS[0]


def test_a_model_without_questions_has_one_step_less(window, bench, qtbot):
    fill(bench)
    window.start_tour()
    keys = []
    while window.tour is not None:
        keys.append(window.tour.step.key)
        window.tour.forward()
    assert keys == [step.key for step in STEPS if step.key != "ask"]


def test_back_and_keys(window, bench, qtbot):
    fill(bench)
    window.start_tour()
    assert window.focusWidget() is window.tour.callout.next
    qtbot.keyClick(window.tour.callout.next, Qt.Key.Key_Space)
    assert window.tour.step is STEPS[1]
    assert window.focusWidget() is window.tour.callout.next
    qtbot.mouseClick(window.tour.callout.back, LEFT)
    assert window.tour.step is STEPS[0]
    assert not window.tour.callout.back.isVisible()


@pytest.mark.parametrize("where", ["callout", "labels", "query"])
def test_escape_leaves_from_wherever_the_focus_is(window, bench, qtbot, where):
    fill(bench)
    window.activateWindow()
    window.start_tour()
    widget = {
        "callout": window.tour.callout.next,
        "labels": window.docks.panels["labels"].editor,
        "query": window.top_bar.query,
    }[where]
    widget.setFocus()
    qtbot.keyClick(widget, Qt.Key.Key_Escape)
    assert window.tour is None
    qtbot.waitUntil(lambda: not window.findChildren(Callout))


def test_typing_is_not_disturbed_when_the_tour_goes_on(window, bench, qtbot, quick):
    fill(bench)
    window.start_tour()
    while window.tour.step.key != "labels":
        window.tour.forward()
    editor = window.docks.panels["labels"].editor
    qtbot.mouseClick(editor.viewport(), LEFT)
    qtbot.keyClicks(editor, "owl, dog")
    qtbot.waitUntil(lambda: window.tour.step.key == "space")
    assert window.focusWidget() is editor


def test_the_bubble_follows_the_window(window, bench, qtbot):
    fill(bench)
    window.start_tour()
    while window.tour.step.key != "export":
        window.tour.forward()
    before = window.tour.callout.geometry()
    window.resize(1400, 800)
    qtbot.waitUntil(lambda: window.tour.callout.x() > before.x() + 200)
    assert window.rect().contains(window.tour.callout.geometry())


def test_a_panel_that_was_closed_is_brought_back(window, bench, qtbot):
    fill(bench)
    window.docks.docks["space"].close()
    window.start_tour()
    while window.tour.step.key != "space":
        window.tour.forward()
    assert window.docks.docks["space"].isVisible()


def test_it_starts_with_a_picture_or_opens_the_samples(window, bench):
    window.start_tour()
    assert window.bench.jobs.count(OpenMedia) == 1
    window.tour.leave()
    fill(bench)
    bench.choose("tone")
    window.start_tour()
    assert bench.state.current.id == "picture"
    window.start_tour()  # a second one does not begin beside the first
    assert len(window.findChildren(Callout)) >= 1
    assert window.tour.step is STEPS[0]


def test_closing_the_window_ends_the_tour(window, bench, qtbot):
    fill(bench)
    window.start_tour()
    window.close()
    assert window.tour is None


# --- how it is found ---------------------------------------------------------------------------------------
def test_the_tour_is_offered_once_and_starts_from_the_notice(window, bench, qtbot):
    window.offer_tour()
    assert "tour" in window.notices.text
    (button,) = [b for b in window.notices.findChildren(QPushButton) if b.text() == "Take the tour"]
    qtbot.mouseClick(button, LEFT)
    assert window.tour is not None
    assert window.notices.text == ""
    window.tour.leave()
    assert Settings.load(bench.settings._path).tour_offered
    window.offer_tour()
    assert window.notices.text == ""


def test_an_error_is_not_hidden_by_the_offer(window, bench):
    window.notices.show_notice("Something failed.", "error")
    window.offer_tour()
    assert window.notices.text == "Something failed."
    window.notices.dismiss()
    window.notices.show_offer("Take it?", "Yes", lambda: None)
    window.notices.show_notice("Copied.", "info")
    assert not [b for b in window.notices.findChildren(QPushButton) if b.text() == "Yes" and b.isVisible()]
    window.notices.dismiss()


def test_the_empty_viewer_and_the_menu_offer_it(window, bench, qtbot):
    viewer = window.docks.panels["viewer"]
    (button,) = [b for b in viewer.findChildren(QPushButton) if b.text() == "Take the tour" and b.isVisible()]
    qtbot.mouseClick(button, LEFT)
    assert window.tour is not None
    window.tour.leave()
    (menu,) = [m for m in window.menuBar().findChildren(QMenu) if m.title() == "&Help"]
    assert "Guided tour" in [action.text() for action in menu.actions()]


@pytest.mark.parametrize("mode", ["light", "dark"])
def test_the_bubble_is_painted_in_the_theme_with_its_arrow(window, bench, theme, mode):
    theme.apply(mode)
    fill(bench)
    window.start_tour()
    callout = window.tour.callout
    QApplication.processEvents()
    image = window.grab(callout.geometry()).toImage().convertToFormat(QImage.Format.Format_RGB32)
    ground = theme.colours.window
    inside = image.pixelColor(QPoint(image.width() // 2, image.height() - 20)).name()
    assert inside == ground
    ring = [image.pixelColor(x, image.height() // 2).name() for x in range(9, 16)]
    assert any(colour != ground for colour in ring)
