"""Tokens and how much of their maps lies in a region: a table that sorts by any column."""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence
from dataclasses import dataclass

from PySide6.QtCore import QItemSelectionModel, Qt, Signal
from PySide6.QtGui import QGuiApplication, QKeyEvent, QKeySequence
from PySide6.QtWidgets import QAbstractItemView, QHeaderView, QTableWidget, QTableWidgetItem, QWidget

_HEADS = ("Token", "In region", "Times chance")
_TIPS = (
    "Tokens in the order of the text; click a heading to sort.",
    "How much of the token's map lies in the region.",
    "The share divided by what an even map would have there: 1 is chance, more looks there on purpose.",
)
_INDEX = Qt.ItemDataRole.UserRole
_VALUE = Qt.ItemDataRole.UserRole + 1


@dataclass(frozen=True, slots=True)
class ShareRow:
    """A token's `index` and `label`, its `share` in words of `shown`, and how many `times` chance that is."""

    index: int
    label: str
    share: float
    shown: str
    times: float


class ShareTable(QTableWidget):
    """Choosing rows chooses tokens; Ctrl+C copies the table as text with tabs."""

    chosen = Signal(tuple)
    """Indices of the tokens whose rows are selected, ascending."""

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(0, len(_HEADS), parent)
        self._filling = False
        self._rows: tuple[ShareRow, ...] = ()
        self.setHorizontalHeaderLabels(_HEADS)
        for column, tip in enumerate(_TIPS):
            head = self.horizontalHeaderItem(column)
            if head is not None:
                head.setToolTip(tip)
        self.verticalHeader().hide()
        self.horizontalHeader().setSectionResizeMode(0, QHeaderView.ResizeMode.Stretch)
        self.setEditTriggers(QAbstractItemView.EditTrigger.NoEditTriggers)
        self.setSelectionBehavior(QAbstractItemView.SelectionBehavior.SelectRows)
        self.setSelectionMode(QAbstractItemView.SelectionMode.ExtendedSelection)
        self.setShowGrid(False)
        self.setAlternatingRowColors(True)
        self.setAccessibleName("Tokens by their share in the region")
        self.setSortingEnabled(True)
        self.horizontalHeader().setSortIndicator(1, Qt.SortOrder.DescendingOrder)
        self.itemSelectionChanged.connect(self._on_selected)

    def show_rows(self, rows: Sequence[ShareRow]) -> None:
        """Show other shares; the order wanted stays."""
        if tuple(rows) == self._rows:
            return
        self._rows = tuple(rows)
        self._filling = True
        self.setSortingEnabled(False)
        self.setRowCount(len(rows))
        for place, row in enumerate(rows):
            cells = ((row.label, row.index), (row.shown, row.share), (f"{row.times:.2f} ×", row.times))
            for column, (text, value) in enumerate(cells):
                cell = _Cell(text)
                cell.setData(_INDEX, row.index)
                cell.setData(_VALUE, float(value))
                if column:
                    cell.setTextAlignment(Qt.AlignmentFlag.AlignRight | Qt.AlignmentFlag.AlignVCenter)
                self.setItem(place, column, cell)
        self.setSortingEnabled(True)
        self._filling = False

    def show_chosen(self, indices: Sequence[int]) -> None:
        """Select the rows of tokens; emits nothing."""
        wanted = set(indices)
        self._filling = True
        flags = QItemSelectionModel.SelectionFlag
        self.clearSelection()
        for place in range(self.rowCount()):
            if self._index(place) in wanted:
                at = self.model().index(place, 0)
                self.selectionModel().select(at, flags.Select | flags.Rows)
        self._filling = False

    def as_text(self) -> str:
        """The table as shown, with tabs between the columns."""
        out = io.StringIO()
        writer = csv.writer(out, delimiter="\t", lineterminator="\n")
        writer.writerow(_HEADS)
        for place in range(self.rowCount()):
            cells = [self.item(place, column) for column in range(len(_HEADS))]
            writer.writerow([cell.text() if cell is not None else "" for cell in cells])
        return out.getvalue()

    def keyPressEvent(self, event: QKeyEvent) -> None:
        if event.matches(QKeySequence.StandardKey.Copy):
            QGuiApplication.clipboard().setText(self.as_text())
        else:
            super().keyPressEvent(event)

    def _on_selected(self) -> None:
        if not self._filling:
            rows = {at.row() for at in self.selectionModel().selectedRows()}
            self.chosen.emit(tuple(sorted(self._index(row) for row in rows)))

    def _index(self, row: int) -> int:
        cell = self.item(row, 0)
        return int(cell.data(_INDEX)) if cell is not None else -1


class _Cell(QTableWidgetItem):
    """Sorts by its number."""

    def __lt__(self, other: QTableWidgetItem) -> bool:
        return bool(self.data(_VALUE) < other.data(_VALUE))
