"""The selected items as a table: any number of rows, sorted by any column, read where it is looked at."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PySide6.QtCore import (
    QAbstractTableModel,
    QItemSelectionModel,
    QModelIndex,
    QPersistentModelIndex,
    Qt,
    Signal,
)
from PySide6.QtWidgets import QAbstractItemView, QHeaderView, QTableView, QWidget

Rows = NDArray[np.int64]

_BLOCK = 64  # rows read together
_BLOCKS_KEPT = 64
_LINE = 26
_Index = QModelIndex | QPersistentModelIndex


@dataclass(frozen=True, slots=True, eq=False)
class TableColumn:
    """One column.

    Parameters
    ----------
    name : str
    texts : callable
        Rows to what stands in their cells.
    keys : callable, optional
        Rows to numbers by which they are sorted, NaN last; without it the column cannot be sorted by.
    numeric : bool
        Numbers stand at the right.
    """

    name: str
    texts: Callable[[Rows], Sequence[str]]
    keys: Callable[[Rows], NDArray[Any]] | None = None
    numeric: bool = False


class CollectionModel(QAbstractTableModel):
    """Rows of a collection in an order, with columns that are read block by block."""

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.rows: Rows = np.zeros(0, np.int64)
        self._unsorted = self.rows
        self.columns: tuple[TableColumn, ...] = ()
        self._blocks: OrderedDict[tuple[int, int], Sequence[str]] = OrderedDict()
        self._sorting: tuple[int, Qt.SortOrder] | None = None

    def set_columns(self, columns: Sequence[TableColumn]) -> None:
        """Show other columns."""
        self.beginResetModel()
        self.columns, self._sorting = tuple(columns), None
        self.rows = self._unsorted
        self._blocks.clear()
        self.endResetModel()

    def set_rows(self, rows: Rows) -> None:
        """Show other rows, in the order that was chosen."""
        self.beginResetModel()
        self._unsorted = np.asarray(rows, np.int64)
        self._sort()
        self._blocks.clear()
        self.endResetModel()

    def refresh(self) -> None:
        """Read all that is seen anew."""
        self._blocks.clear()
        if len(self.rows) and self.columns:
            self.dataChanged.emit(self.index(0, 0), self.index(len(self.rows) - 1, len(self.columns) - 1))

    def sort(self, column: int, order: Qt.SortOrder = Qt.SortOrder.AscendingOrder) -> None:
        """Sort by a column; one that has no keys leaves the order."""
        if not 0 <= column < len(self.columns) or self.columns[column].keys is None:
            return
        self.beginResetModel()
        self._sorting = (column, order)
        self._sort()
        self._blocks.clear()
        self.endResetModel()

    def _sort(self) -> None:
        self.rows = self._unsorted
        if self._sorting is None:
            return
        keys = self.columns[self._sorting[0]].keys
        if keys is None:
            return
        values = keys(self._unsorted)
        if self._sorting[1] == Qt.SortOrder.DescendingOrder:
            values = -values.astype(np.float64)
        self.rows = self._unsorted[np.argsort(values, kind="stable")]

    def rowCount(self, parent: _Index | None = None) -> int:
        return 0 if parent is not None and parent.isValid() else len(self.rows)

    def columnCount(self, parent: _Index | None = None) -> int:
        return 0 if parent is not None and parent.isValid() else len(self.columns)

    def headerData(
        self, section: int, orientation: Qt.Orientation, role: int = Qt.ItemDataRole.DisplayRole
    ) -> Any:
        if role != Qt.ItemDataRole.DisplayRole:
            return None
        if orientation == Qt.Orientation.Horizontal:
            return self.columns[section].name if section < len(self.columns) else None
        return f"{int(self.rows[section]):,}" if section < len(self.rows) else None

    def data(self, index: _Index, role: int = Qt.ItemDataRole.DisplayRole) -> Any:
        column = self.columns[index.column()]
        if role in (Qt.ItemDataRole.DisplayRole, Qt.ItemDataRole.ToolTipRole):
            return self._text(index.row(), index.column())
        if role == Qt.ItemDataRole.TextAlignmentRole and column.numeric:
            return Qt.AlignmentFlag.AlignRight | Qt.AlignmentFlag.AlignVCenter
        return None

    def _text(self, place: int, column: int) -> str:
        block, offset = divmod(place, _BLOCK)
        key = (block, column)
        if key not in self._blocks:
            rows = self.rows[block * _BLOCK : (block + 1) * _BLOCK]
            self._blocks[key] = self.columns[column].texts(rows)
            while len(self._blocks) > _BLOCKS_KEPT * max(1, len(self.columns)):
                self._blocks.popitem(last=False)
        self._blocks.move_to_end(key)
        return self._blocks[key][offset]


class CollectionTable(QTableView):
    """The table.

    Signals
    -------
    picked(int), opened(int)
        The row that was stepped to or clicked; that was clicked twice.
    """

    picked = Signal(int)
    opened = Signal(int)

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.collection = CollectionModel(self)
        self.setModel(self.collection)
        self.setSelectionBehavior(QAbstractItemView.SelectionBehavior.SelectRows)
        self.setSelectionMode(QAbstractItemView.SelectionMode.SingleSelection)
        self.setSortingEnabled(True)
        self.setWordWrap(False)
        self.setShowGrid(False)
        self.horizontalHeader().setStretchLastSection(True)
        self.horizontalHeader().setSortIndicatorClearable(True)
        self.horizontalHeader().setSortIndicator(-1, Qt.SortOrder.AscendingOrder)
        self.verticalHeader().setSectionResizeMode(QHeaderView.ResizeMode.Fixed)
        self.verticalHeader().setDefaultSectionSize(_LINE)
        self.verticalHeader().hide()
        self.setAccessibleName("Selected items")
        self.selectionModel().currentRowChanged.connect(self._on_current)
        self.doubleClicked.connect(lambda index: self.opened.emit(int(self.collection.rows[index.row()])))

    def set_rows(self, rows: Rows) -> None:
        """Show these rows."""
        self.collection.set_rows(rows)

    def set_columns(self, columns: Sequence[TableColumn]) -> None:
        """Show these columns."""
        self.collection.set_columns(columns)

    def set_picked(self, row: int | None) -> None:
        """Mark a row and bring it into view; emits nothing."""
        found = np.flatnonzero(self.collection.rows == (-1 if row is None else row))
        model = self.selectionModel()
        model.blockSignals(True)
        if len(found):
            index = self.collection.index(int(found[0]), 0)
            both = QItemSelectionModel.SelectionFlag.ClearAndSelect | QItemSelectionModel.SelectionFlag.Rows
            model.setCurrentIndex(index, both)
            self.scrollTo(index)
        else:
            model.clear()
        model.blockSignals(False)
        self.viewport().update()

    def _on_current(self, index: QModelIndex, _before: QModelIndex) -> None:
        if index.isValid():
            self.picked.emit(int(self.collection.rows[index.row()]))
