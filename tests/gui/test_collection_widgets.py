"""Legend, filmstrip, table and chips with real mouse and key events."""

from __future__ import annotations

import numpy as np
import pytest
from PySide6.QtCore import QMimeData, QPoint, QPointF, Qt
from PySide6.QtGui import QDragEnterEvent, QDropEvent
from PySide6.QtWidgets import QApplication, QPushButton
from pytestqt.qtbot import QtBot

from mmviewer.gui.widgets.collection_table import CollectionTable, TableColumn
from mmviewer.gui.widgets.filmstrip import Filmstrip
from mmviewer.gui.widgets.legend import Legend
from mmviewer.gui.widgets.point_drag import QUERY_MIME
from mmviewer.gui.widgets.query_chips import QueryChip, QueryChips

LEFT = Qt.MouseButton.LeftButton
MILLION = 1_000_000


# --- legend --------------------------------------------------------------------------------------------
@pytest.fixture
def legend(qtbot: QtBot) -> Legend:
    widget = Legend()
    qtbot.addWidget(widget)
    widget.resize(240, 400)
    widget.show()
    qtbot.waitExposed(widget)
    return widget


def test_two_hundred_classes_the_commonest_coloured_the_rest_on_request(legend: Legend, qtbot: QtBot) -> None:
    counts = np.arange(200, dtype=np.int64)
    shown: list[tuple[int, ...]] = []
    legend.shown_changed.connect(shown.append)
    legend.set_classes("breed", [f"breed {code}" for code in range(200)], counts, [199, 198])
    assert legend.list.model().index(0, 0).data().startswith("breed 199")  # the most frequent first
    assert legend.list.model().index(0, 0).data(Qt.ItemDataRole.CheckStateRole) == Qt.CheckState.Checked
    legend.filter.setText("breed 7")
    assert legend.list.model().rowCount() == 11  # 7 and 70 to 79
    index = legend.list.model().index(10, 0)
    assert index.data().startswith("breed 7 ")
    box = legend.list.visualRect(index).topLeft() + QPoint(10, 10)
    legend.list.scrollTo(index)
    box = legend.list.visualRect(index).topLeft() + QPoint(10, 10)
    qtbot.mouseClick(legend.list.viewport(), LEFT, pos=box)
    assert shown == [(199, 198, 7)]
    qtbot.mouseClick(legend.none, LEFT)
    qtbot.mouseClick(legend.common, LEFT)
    assert shown[1:] == [(), tuple(range(199, 187, -1))]


def test_pointing_at_a_class_lets_it_stand_out_and_two_clicks_choose_it(legend: Legend, qtbot: QtBot) -> None:
    legend.set_classes("kind", ["image", "text"], np.array([5, 9]), [0, 1])
    assert legend.filter.isHidden()
    told: list[object] = []
    chosen: list[int] = []
    legend.highlighted.connect(told.append)
    legend.chosen.connect(chosen.append)
    place = legend.list.visualRect(legend.list.model().index(1, 0)).center()
    qtbot.mouseMove(legend.list.viewport(), place)
    qtbot.waitUntil(lambda: 0 in told)
    qtbot.mouseClick(legend.list.viewport(), LEFT, pos=place)
    qtbot.mouseDClick(legend.list.viewport(), LEFT, pos=place)
    assert chosen == [0]


def test_a_ramp_says_its_ends(legend: Legend) -> None:
    legend.set_ramp("similarity", -0.25, 0.5)
    assert not legend.bar.isHidden()
    assert legend.bar.accessibleName() == "From −0.250 to 0.500"
    legend.clear()
    assert legend.bar.isHidden()


# --- filmstrip -----------------------------------------------------------------------------------------
@pytest.fixture(params=[False, True], ids=["strip", "grid"])
def strip(qtbot: QtBot, request: pytest.FixtureRequest) -> Filmstrip:
    widget = Filmstrip(wrapped=request.param)
    qtbot.addWidget(widget)
    widget.resize(500, 260)
    widget.show()
    qtbot.waitExposed(widget)
    return widget


def test_a_million_items_are_asked_for_only_where_one_looks(strip: Filmstrip, qtbot: QtBot) -> None:
    asked: set[int] = set()

    def pictures(rows: np.ndarray) -> list[np.ndarray]:
        asked.update(rows.tolist())
        return [np.full((20, 30, 3), row % 255, np.uint8) for row in rows]

    strip.set_sources(pictures, lambda rows: [f"item {row}" for row in rows.tolist()])
    strip.set_rows(np.arange(MILLION)[::-1])
    qtbot.waitUntil(lambda: MILLION - 1 in asked)
    strip.set_picked(10)  # near the end
    qtbot.waitUntil(lambda: 10 in asked)
    assert len(asked) < 200


def test_click_keys_and_two_clicks(strip: Filmstrip, qtbot: QtBot) -> None:
    strip.set_rows(np.array([7, 3, 9]))
    picked: list[int] = []
    opened: list[int] = []
    strip.picked.connect(picked.append)
    strip.opened.connect(opened.append)
    qtbot.mouseClick(strip.viewport(), LEFT, pos=strip.rect_of(1).center())
    qtbot.keyClick(strip, Qt.Key.Key_Right)
    qtbot.keyClick(strip, Qt.Key.Key_Right)  # there is no further one
    qtbot.keyClick(strip, Qt.Key.Key_Return)
    qtbot.mouseDClick(strip.viewport(), LEFT, pos=strip.rect_of(0).center())
    assert picked == [3, 9, 9]
    assert opened == [9, 7]
    assert strip.place_at(490, 250) is None


# --- table ---------------------------------------------------------------------------------------------
@pytest.fixture
def table(qtbot: QtBot) -> CollectionTable:
    widget = CollectionTable()
    qtbot.addWidget(widget)
    widget.resize(500, 300)
    widget.show()
    qtbot.waitExposed(widget)
    return widget


def columns(asked: set[int], size: np.ndarray) -> list[TableColumn]:
    def names(rows: np.ndarray) -> list[str]:
        asked.update(rows.tolist())
        return [f"item {row}" for row in rows.tolist()]

    return [
        TableColumn("name", names),
        TableColumn(
            "size", lambda rows: [f"{v:.0f}" for v in size[rows]], lambda rows: size[rows], numeric=True
        ),
    ]


def test_a_million_rows_are_sorted_and_read_only_where_seen(table: CollectionTable, qtbot: QtBot) -> None:
    size = np.random.default_rng(0).permutation(MILLION).astype(np.float64)
    size[5] = np.nan
    asked: set[int] = set()
    table.set_columns(columns(asked, size))
    table.set_rows(np.arange(MILLION))
    QApplication.processEvents()
    header = table.horizontalHeader()
    at = QPoint(header.sectionViewportPosition(1) + 20, header.height() // 2)
    qtbot.mouseClick(header.viewport(), LEFT, pos=at)
    found = size[table.collection.rows]
    assert (np.diff(found[:-1]) > 0).all()
    assert np.isnan(found[-1])  # what has no number comes last, either way
    qtbot.mouseClick(header.viewport(), LEFT, pos=at)
    found = size[table.collection.rows]
    assert (np.diff(found[:-1]) < 0).all()
    assert np.isnan(found[-1])
    QApplication.processEvents()
    assert len(asked) < 1000


def test_table_picks_opens_and_marks(table: CollectionTable, qtbot: QtBot) -> None:
    table.set_columns(columns(set(), np.arange(10.0)))
    table.set_rows(np.array([4, 2, 8]))
    picked: list[int] = []
    opened: list[int] = []
    table.picked.connect(picked.append)
    table.opened.connect(opened.append)
    cell = table.visualRect(table.collection.index(1, 0)).center()
    qtbot.mouseClick(table.viewport(), LEFT, pos=cell)
    qtbot.mouseDClick(table.viewport(), LEFT, pos=cell)
    qtbot.keyClick(table, Qt.Key.Key_Down)
    assert picked == [2, 8]
    assert opened == [2]
    table.set_picked(4)
    assert table.currentIndex().row() == 0
    assert picked == [2, 8]
    table.set_picked(None)
    assert not table.currentIndex().isValid()


# --- chips -------------------------------------------------------------------------------------------------
def test_chips_are_chosen_forgotten_and_kept(qtbot: QtBot) -> None:
    chips = QueryChips()
    qtbot.addWidget(chips)
    chips.resize(400, 80)
    chips.set_chips(
        [QueryChip("a", "snow"), QueryChip("b", "a very long question about bicycles", kept=True)]
    )
    chips.show()
    qtbot.waitExposed(chips)
    told: list[tuple[str, str]] = []
    chips.chosen.connect(lambda key: told.append(("chosen", key)))
    chips.removed.connect(lambda key: told.append(("removed", key)))
    chips.dropped.connect(lambda key: told.append(("dropped", key)))
    qtbot.mouseClick(chips.chip("b"), LEFT)
    assert chips.chip("b").text().endswith("…")
    forget = next(b for b in chips.findChildren(QPushButton) if b.accessibleName() == "Forget snow")
    qtbot.mouseClick(forget, LEFT)
    mime = QMimeData()
    mime.setData(QUERY_MIME, b"q7")
    no_keys, copy = Qt.KeyboardModifier.NoModifier, Qt.DropAction.CopyAction
    enter = QDragEnterEvent(QPoint(5, 5), copy, mime, LEFT, no_keys)
    QApplication.sendEvent(chips, enter)
    assert enter.isAccepted()
    QApplication.sendEvent(chips, QDropEvent(QPointF(5, 5), copy, mime, LEFT, no_keys))
    assert told == [("chosen", "b"), ("removed", "a"), ("dropped", "q7")]
    assert [chip.key for chip in chips.chips] == ["a", "b"]  # the owner decides what is shown
