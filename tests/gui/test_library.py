"""The library panel with real keys and mouse, small and huge."""

from __future__ import annotations

import time

import numpy as np
import pytest
from helpers_space import HandJobs, image, sound, text
from PySide6.QtCore import Qt
from PySide6.QtGui import QGuiApplication
from PySide6.QtWidgets import QApplication, QLineEdit
from pytestqt.qtbot import QtBot

from mmviewer.core.session.state import LibraryItem
from mmviewer.core.types import Media, Modality
from mmviewer.gui.panels.library import LibraryPanel
from mmviewer.gui.widgets.item_list import ItemDelegate
from mmviewer.gui.workbench import Workbench


@pytest.fixture
def panel(qtbot: QtBot):
    workbench = Workbench(HandJobs())  # type: ignore[arg-type]
    panel = LibraryPanel(workbench)
    qtbot.addWidget(panel)
    panel.resize(240, 600)
    with qtbot.waitExposed(panel):
        panel.show()
    yield panel
    panel.release()
    workbench.release()


def fill(panel: LibraryPanel, *items: LibraryItem) -> None:
    panel.state.set_items(items)
    panel.workbench.choose(items[0].id)


def click(qtbot: QtBot, panel: LibraryPanel, row: int, keys=Qt.KeyboardModifier.NoModifier) -> None:
    middle = panel.list.visualRect(panel.model.index(row)).center()
    qtbot.mouseClick(panel.list.viewport(), Qt.MouseButton.LeftButton, keys, middle)


def test_empty_says_what_to_do(panel: LibraryPanel, qtbot: QtBot):
    assert "Drop images" in panel.stack.message
    with qtbot.waitSignal(panel.workbench.samples_requested):
        panel.stack.acted.emit()


def test_lines_name_size_duration_and_kind(panel: LibraryPanel):
    fill(panel, image("one"), sound("tone"), text("a red bicycle"))
    assert [row.line for row in panel.model.rows] == ["64 × 48 · image", "1.0 s · sound", "text"]


def test_clicking_chooses_everywhere(panel: LibraryPanel, qtbot: QtBot):
    fill(panel, image("one"), image("two"), image("three"))
    click(qtbot, panel, 1)
    assert panel.state.current.id == "two"
    assert panel.state.selection == ("two",)
    panel.workbench.choose("three")
    assert panel.list.currentIndex().row() == 2


def test_several_are_selected_and_removed_by_key_with_undo(panel: LibraryPanel, qtbot: QtBot):
    fill(panel, image("one"), image("two"), image("three"))
    click(qtbot, panel, 0)
    click(qtbot, panel, 2, Qt.KeyboardModifier.ControlModifier)
    assert panel.state.selection == ("one", "three")
    qtbot.keyClick(panel.list, Qt.Key.Key_Delete)
    assert [item.id for item in panel.state.items] == ["two"]
    panel.workbench.undo_stack.undo()
    assert [item.id for item in panel.state.items] == ["one", "two", "three"]


def test_f2_renames_in_place(panel: LibraryPanel, qtbot: QtBot):
    fill(panel, image("one"), image("two"))
    panel.setFocus()
    qtbot.keyClick(panel.list, Qt.Key.Key_F2)
    editor = panel.list.findChild(QLineEdit)
    editor.selectAll()
    qtbot.keyClicks(editor, "my cat")
    qtbot.keyClick(editor, Qt.Key.Key_Return)
    qtbot.waitUntil(lambda: panel.state.item("one").name == "my cat")


def test_copy_puts_the_picture_on_the_clipboard(panel: LibraryPanel, qtbot: QtBot):
    fill(panel, image("one", hue=200))
    qtbot.keyClick(panel.list, Qt.Key.Key_C, Qt.KeyboardModifier.ControlModifier)
    copied = QGuiApplication.clipboard().image()
    assert (copied.width(), copied.height()) == (64, 48)
    assert copied.pixelColor(0, 0).getRgb()[:3] == (200, 120, 55)


def test_thumbnails_show_the_middle_of_the_picture(panel: LibraryPanel, qtbot: QtBot):
    pixels = np.zeros((40, 120, 3), np.uint8)
    pixels[:, 40:80] = (255, 0, 0)
    fill(panel, LibraryItem(Media("wide", Modality.IMAGE, "wide", "/wide.png", pixels), "wide"))
    area = panel.list.visualRect(panel.model.index(0))
    grabbed = panel.list.viewport().grab().toImage()
    assert grabbed.pixelColor(area.left() + 12 + 22, area.center().y()).getRgb()[:3] == (255, 0, 0)


def test_hostile_names_and_shapes_are_painted(panel: LibraryPanel, qtbot: QtBot):
    names = ["a" * 10_000, "line\nbreak", "<b>bold</b>", "שלום عليكم 🐰", ""]
    shapes = [(1, 1), (1, 5000), (5000, 1), (3, 3), (2, 2)]
    items = [
        LibraryItem(Media(str(i), Modality.IMAGE, name, pixels=np.zeros((*shape, 3), np.uint8)), name)
        for i, (name, shape) in enumerate(zip(names, shapes, strict=True))
    ]
    silent = Media("s", Modality.AUDIO, "silent", samples=np.zeros(3, np.float32))
    fill(panel, *items, LibraryItem(silent, "silent"))
    panel.list.viewport().grab()
    assert "&lt;b&gt;" in panel.model.index(2).data(Qt.ItemDataRole.ToolTipRole)


def test_ten_thousand_items_scroll_smoothly(panel: LibraryPanel, qtbot: QtBot):
    pixels = np.random.default_rng(0).integers(0, 255, (96, 128, 3), np.uint8)
    items = [
        LibraryItem(Media(str(i), Modality.IMAGE, f"{i}.png", pixels=pixels), f"{i}.png")
        for i in range(10_000)
    ]
    panel.state.set_items(items[:100])
    assert isinstance(panel.list.itemDelegate(), ItemDelegate)
    few = _frame(panel)
    panel.state.set_items(items)
    assert _frame(panel) < 8 * few  # what is out of sight costs next to nothing


def _frame(panel: LibraryPanel) -> float:
    """Seconds that one step of scrolling takes, the median of many."""
    bar = panel.list.verticalScrollBar()
    frames = []
    for position in np.linspace(0, bar.maximum(), 60):
        start = time.perf_counter()
        bar.setValue(int(position))
        QApplication.processEvents()
        frames.append(time.perf_counter() - start)
    return float(np.median(frames))


def test_growing_keeps_the_place(panel: LibraryPanel, qtbot: QtBot):
    items = [image(str(i)) for i in range(50)]
    fill(panel, *items)
    panel.list.verticalScrollBar().setValue(500)
    panel.state.set_items([*items, image("new")])
    assert panel.list.verticalScrollBar().value() == 500
    assert panel.model.rowCount() == 51
