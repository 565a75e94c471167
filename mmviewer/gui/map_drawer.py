"""Under the map: the selected items as a strip of pictures and as a table, and what can be done with them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import datetime

import numpy as np
from numpy.typing import NDArray
from PySide6.QtCore import Qt, Signal
from PySide6.QtWidgets import (
    QFileDialog,
    QHBoxLayout,
    QInputDialog,
    QPushButton,
    QTabWidget,
    QVBoxLayout,
    QWidget,
)

from mmviewer.core.space.collection import KINDS, CollectionItem, Status
from mmviewer.gui.buttons import flat_button
from mmviewer.gui.controllers.collections import CollectionController
from mmviewer.gui.widgets.collection_table import CollectionTable, TableColumn
from mmviewer.gui.widgets.elided_label import ElidedLabel
from mmviewer.gui.widgets.filmstrip import Filmstrip
from mmviewer.gui.widgets.painting import number
from mmviewer.gui.words import bytes_in_words

Rows = NDArray[np.int64]

_KIND_WORDS = ("image", "sound", "text")
_STATUS_WORDS = ("not indexed yet", "", "failed", "missing", "removed")
_COLUMNS_SHOWN = 24
_OPENED = 60


class MapDrawer(QWidget):
    """What is selected; without a selection, all items on the map.

    Signals
    -------
    invert_wanted(), clear_wanted()
    label_given(str)
        The selected items are to have this label; empty takes theirs away.
    undo_wanted(), redo_wanted()
    layers_wanted()
        The ways of the selected items through the layers of the model are to be drawn.
    export_wanted(str)
        The items that are listed are to be written to this file.
    """

    invert_wanted = Signal()
    clear_wanted = Signal()
    label_given = Signal(str)
    undo_wanted = Signal()
    redo_wanted = Signal()
    layers_wanted = Signal()
    export_wanted = Signal(str)

    def __init__(self, collections: CollectionController, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._collections = collections
        self._similarity: NDArray[np.float32] | None = None
        self.heading = ElidedLabel("", bold=True)
        self.invert = flat_button("Invert", "Select what is not selected (I)")
        self.clear = flat_button("Clear", "Select nothing (Esc)")
        self.label = flat_button("Label…", "Give the selected items a label by hand, or take it away")
        self.undo = flat_button("Undo label", "Take back the last label given by hand")
        self.redo = flat_button("Redo label", "Give the label again that was taken back")
        self.open = flat_button("Open", f"Open the selected items in the library, at most {_OPENED}")
        self.layers = flat_button("Layers", "The way of the selected items through the layers of the model")
        self.export = flat_button("Export…", "Write what is listed as CSV or Parquet")
        self.strip = Filmstrip()
        self.strip.set_sources(collections.pictures, self._captions)
        self.table = CollectionTable()
        self.tabs = QTabWidget()
        self.tabs.addTab(self.strip, "Pictures")
        self.tabs.addTab(self.table, "Table")
        self.tabs.setDocumentMode(True)
        self._lay_out()
        for source in (self.strip, self.table):
            source.picked.connect(collections.pick)
            source.opened.connect(collections.open_item)
        self.invert.clicked.connect(self.invert_wanted)
        self.clear.clicked.connect(self.clear_wanted)
        self.label.clicked.connect(self._ask_label)
        self.undo.clicked.connect(self.undo_wanted)
        self.redo.clicked.connect(self.redo_wanted)
        self.layers.clicked.connect(self.layers_wanted)
        self.open.clicked.connect(lambda: collections.open_items(collections.selection[:_OPENED]))
        self.export.clicked.connect(self._ask_file)

    def _lay_out(self) -> None:
        head = QHBoxLayout()
        head.setContentsMargins(4, 0, 4, 0)
        head.addWidget(self.heading, 1)
        for button in (*self._with_selection(), self.invert, self.undo, self.redo, self.export):
            head.addWidget(button)
        column = QVBoxLayout(self)
        column.setContentsMargins(0, 0, 0, 0)
        column.setSpacing(2)
        column.addLayout(head)
        column.addWidget(self.tabs, 1)

    # --- showing --------------------------------------------------------------------------------------
    def show_rows(self) -> None:
        """Show what is selected now."""
        view, chosen = self._collections.view, self._collections.selection
        some = len(chosen) > 0
        rows = chosen if some else np.flatnonzero(self._collections.on_map())
        count = 0 if view is None else len(rows)
        self.heading.set_text(f"{count:,} selected" if some else f"All {count:,} items")
        self.strip.set_rows(rows)
        self.table.set_rows(rows)
        for button in self._with_selection():
            button.setEnabled(some)

    def show_columns(self, similarity: NDArray[np.float32] | None = None) -> None:
        """Show the columns that the collection has now; `similarity` [N] to the question is one of them."""
        self._similarity = similarity
        view = self._collections.view
        columns = [*self._usual(), *self._scores()]
        names = () if view is None else [info.name for info in view.columns[:_COLUMNS_SHOWN]]
        self.table.set_columns([*columns, *(self._extra(name) for name in names)])
        self.table.resizeColumnToContents(0)
        self.table.setColumnWidth(0, max(220, min(360, self.table.columnWidth(0))))

    def set_steps(self, undo: int, redo: int) -> None:
        """Say how many labels can be taken back and given again."""
        self.undo.setEnabled(undo > 0)
        self.redo.setEnabled(redo > 0)

    def refresh(self) -> None:
        """Read names and pictures anew."""
        self.table.collection.refresh()
        self.strip.forget_pictures()

    def mark(self, row: int | None) -> None:
        """Ring the item that is picked."""
        self.strip.set_picked(row)
        self.table.set_picked(row)

    def _captions(self, rows: Rows) -> list[str]:
        return self._collections.names(rows)

    def _with_selection(self) -> tuple[QPushButton, ...]:
        return self.clear, self.label, self.layers, self.open

    def _ask_file(self) -> None:
        dialog = QFileDialog(self, "Write items")
        dialog.setAcceptMode(QFileDialog.AcceptMode.AcceptSave)
        dialog.setNameFilters(["CSV (*.csv)", "Parquet (*.parquet)"])
        dialog.setDefaultSuffix("csv")
        dialog.setAttribute(Qt.WidgetAttribute.WA_DeleteOnClose)
        dialog.fileSelected.connect(self.export_wanted)
        dialog.open()

    # --- columns ----------------------------------------------------------------------------------------
    def _usual(self) -> list[TableColumn]:
        items = self._texts
        return [
            TableColumn("name", self._collections.names, keys=lambda rows: rows),
            TableColumn("kind", items(kind_words), keys=lambda rows: self._of_table("kinds", rows)),
            TableColumn("state", items(_state), keys=lambda rows: self._of_table("status", rows)),
            TableColumn("size", items(lambda item: bytes_in_words(item.size_bytes)), numeric=True),
            TableColumn("changed", items(_changed)),
        ]

    def _scores(self) -> list[TableColumn]:
        values = self._similarity
        if values is None:
            return []

        def of(rows: Rows) -> NDArray[np.float32]:
            known = np.full(len(rows), np.nan, np.float32)
            inside = rows < len(values)
            known[inside] = values[rows[inside]]
            return known

        return [TableColumn("similarity", lambda rows: _numbers(of(rows)), keys=of, numeric=True)]

    def _extra(self, name: str) -> TableColumn:
        def texts(rows: Rows) -> list[str]:
            found = {item.row: item.extra.get(name, "") for item in self._collections.items(rows)}
            values = [found.get(int(row), "") for row in rows]
            return [value if isinstance(value, str) else number(value, 4) for value in values]

        def keys(rows: Rows) -> NDArray[np.float64]:
            return sort_keys(self._collections.column(name), rows)

        return TableColumn(name, texts, keys)

    def _texts(self, text: Callable[[CollectionItem], str]) -> Callable[[Rows], Sequence[str]]:
        def texts(rows: Rows) -> list[str]:
            found = {item.row: text(item) for item in self._collections.items(rows)}
            return [found.get(int(row), "") for row in rows]

        return texts

    def _of_table(self, name: str, rows: Rows) -> NDArray[np.float64]:
        view = self._collections.view
        assert view is not None
        values: NDArray[np.float64] = getattr(view.table, name)[rows].astype(np.float64)
        return values

    def _ask_label(self) -> None:
        dialog = QInputDialog(self)
        dialog.setWindowTitle("Label")
        dialog.setLabelText(f"Label of {len(self._collections.selection):,} items; empty takes theirs away")
        dialog.textValueSelected.connect(lambda text: self.label_given.emit(text.strip()))
        dialog.finished.connect(dialog.deleteLater)
        dialog.open()


def sort_keys(
    column: NDArray[np.float64] | tuple[NDArray[np.int32], tuple[str, ...]] | None, rows: Rows
) -> NDArray[np.float64]:
    """Numbers that order rows as the values of a column do: words by the alphabet, none last."""
    if column is None:
        return np.zeros(len(rows))
    if isinstance(column, np.ndarray):
        return column[rows]
    codes, words = column
    place = np.full(len(words) + 1, np.nan)  # the last is that of no word, code -1
    order = sorted(range(len(words)), key=lambda code: words[code].casefold())
    place[order] = np.arange(len(words))
    return np.asarray(place[codes[rows]])


def kind_words(item: CollectionItem) -> str:
    """What an item is."""
    return "vector only" if item.kind is None else _KIND_WORDS[KINDS.index(item.kind)]


def _state(item: CollectionItem) -> str:
    if item.status in (Status.FAILED, Status.MISSING) and item.reason:
        return f"{_STATUS_WORDS[item.status]}: {item.reason}"
    return _STATUS_WORDS[item.status]


def _changed(item: CollectionItem) -> str:
    return f"{datetime.fromtimestamp(item.modified):%Y-%m-%d %H:%M}" if item.modified else ""


def _numbers(values: NDArray[np.float32]) -> list[str]:
    return ["" if np.isnan(value) else number(float(value)) for value in values]
