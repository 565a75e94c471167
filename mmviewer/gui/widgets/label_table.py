"""A table of items by labels: every cell a number with a bar behind it, sorted by any column."""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PySide6.QtCore import (
    QAbstractTableModel,
    QItemSelectionModel,
    QModelIndex,
    QPersistentModelIndex,
    QRectF,
    QSortFilterProxyModel,
    Qt,
    Signal,
)
from PySide6.QtGui import QGuiApplication, QKeyEvent, QKeySequence, QPainter, QPalette
from PySide6.QtWidgets import (
    QAbstractItemView,
    QHeaderView,
    QStyle,
    QStyledItemDelegate,
    QStyleOptionViewItem,
    QTableView,
    QWidget,
)

from mmviewer.gui.widgets.elided_label import plain_tooltip
from mmviewer.gui.widgets.ink import faded, tabular

Index = QModelIndex | QPersistentModelIndex
SORT_ROLE = Qt.ItemDataRole.UserRole
VALUE_ROLE = Qt.ItemDataRole.UserRole + 1
_COLUMN_WIDTH = 92
_NAME_WIDTH = 150


class LabelTable(QTableView):
    """Scores of all items against all labels.

    Signals
    -------
    item_chosen(str)
        The id of the row that was clicked or stepped to.
    """

    item_chosen = Signal(str)

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._model = _ScoreModel(self)
        self._proxy = QSortFilterProxyModel(self)
        self._proxy.setSourceModel(self._model)
        self._proxy.setSortRole(SORT_ROLE)
        self._proxy.setSortCaseSensitivity(Qt.CaseSensitivity.CaseInsensitive)
        self._choosing = False
        self.setModel(self._proxy)
        self.setItemDelegate(_BarDelegate(self))
        self.setSelectionBehavior(QAbstractItemView.SelectionBehavior.SelectRows)
        self.setSelectionMode(QAbstractItemView.SelectionMode.SingleSelection)
        self.setShowGrid(False)
        self.setWordWrap(False)
        self.setCornerButtonEnabled(False)
        self.setHorizontalScrollMode(QAbstractItemView.ScrollMode.ScrollPerPixel)
        self.verticalHeader().hide()
        self.verticalHeader().setSectionResizeMode(QHeaderView.ResizeMode.Fixed)
        self.verticalHeader().setDefaultSectionSize(max(24, self.fontMetrics().height() + 8))
        header = self.horizontalHeader()
        header.setSortIndicator(-1, Qt.SortOrder.DescendingOrder)
        self.setSortingEnabled(True)
        self._proxy.sort(-1)  # as in the library until a header is clicked
        header.setDefaultSectionSize(_COLUMN_WIDTH)
        header.setMinimumSectionSize(48)
        header.setTextElideMode(Qt.TextElideMode.ElideRight)
        header.setHighlightSections(False)
        self.setAccessibleName("Scores of all items against all labels")
        self.selectionModel().currentRowChanged.connect(self._on_row)

    def set_scores(
        self, ids: Sequence[str], names: Sequence[str], labels: Sequence[str], values: NDArray[np.float32]
    ) -> None:
        """Show `values` [items, labels]; the sorting, the column widths and the current row stay."""
        current = self.current_id()
        self._choosing = True
        self._model.replace(tuple(ids), tuple(names), tuple(labels), np.asarray(values, np.float32))
        if self.columnWidth(0) == _COLUMN_WIDTH:  # not moved by the user
            self.setColumnWidth(0, _NAME_WIDTH)
        self._choosing = False
        self.set_current(current)

    def set_current(self, item_id: str | None) -> None:
        """Mark the row of an item without announcing it."""
        self._choosing = True
        row = self._model.row_of(item_id)
        if row is None:
            self.selectionModel().clear()
        else:
            index = self._proxy.mapFromSource(self._model.index(row, 0))
            mode = QItemSelectionModel.SelectionFlag.ClearAndSelect | QItemSelectionModel.SelectionFlag.Rows
            self.selectionModel().setCurrentIndex(index, mode)
        self._choosing = False

    def current_id(self) -> str | None:
        """The id of the marked row."""
        index = self.currentIndex()
        return self._model.ids[self._proxy.mapToSource(index).row()] if index.isValid() else None

    def csv(self) -> str:
        """The table as shown, sorted as shown."""
        out = io.StringIO()
        writer = csv.writer(out, lineterminator="\n")
        writer.writerow(["item", *self._model.labels])
        for row in range(self._proxy.rowCount()):
            source = self._proxy.mapToSource(self._proxy.index(row, 0)).row()
            numbers = [f"{value:.6f}" for value in self._model.values[source]]
            writer.writerow([self._model.names[source], *numbers])
        return out.getvalue()

    def keyPressEvent(self, event: QKeyEvent) -> None:
        """Copy the whole table as CSV."""
        if event.matches(QKeySequence.StandardKey.Copy):
            QGuiApplication.clipboard().setText(self.csv())
        else:
            super().keyPressEvent(event)

    def _on_row(self, current: QModelIndex, _previous: QModelIndex) -> None:
        if current.isValid() and not self._choosing:
            self.item_chosen.emit(self._model.ids[self._proxy.mapToSource(current).row()])


class _ScoreModel(QAbstractTableModel):
    """Column 0 is the item's name, the others are the labels."""

    def __init__(self, parent: QWidget) -> None:
        super().__init__(parent)
        self.ids: tuple[str, ...] = ()
        self.names: tuple[str, ...] = ()
        self.labels: tuple[str, ...] = ()
        self.values: NDArray[np.float32] = np.zeros((0, 0), np.float32)  # [N, M]

    def replace(
        self,
        ids: tuple[str, ...],
        names: tuple[str, ...],
        labels: tuple[str, ...],
        values: NDArray[np.float32],
    ) -> None:
        """Take other numbers; the view keeps its place when the shape is the same."""
        if values.shape != (len(ids), len(labels)):
            raise ValueError(f"{values.shape} scores for {len(ids)} items and {len(labels)} labels")
        same = (ids, labels) == (self.ids, self.labels)
        if not same:
            self.beginResetModel()
        self.ids, self.names, self.labels, self.values = ids, names, labels, values
        if not same:
            self.endResetModel()
        elif ids:
            self.dataChanged.emit(self.index(0, 0), self.index(len(ids) - 1, len(labels)))

    def row_of(self, item_id: str | None) -> int | None:
        """The row of an item."""
        return self.ids.index(item_id) if item_id in self.ids else None

    def rowCount(self, parent: Index | None = None) -> int:
        """Items."""
        return 0 if parent is not None and parent.isValid() else len(self.ids)

    def columnCount(self, parent: Index | None = None) -> int:
        """Name and labels."""
        return 0 if parent is not None and parent.isValid() else len(self.labels) + 1

    def data(self, index: Index, role: int = Qt.ItemDataRole.DisplayRole) -> Any:
        """Name or number of a cell."""
        row, column = index.row(), index.column()
        if column == 0:
            return self._text(self.names[row], role)
        value = float(self.values[row, column - 1])
        if role == Qt.ItemDataRole.DisplayRole:
            return f"{value:.3f}" if math.isfinite(value) else "–"
        if role == Qt.ItemDataRole.ToolTipRole:
            return plain_tooltip(f"{self.names[row]}\n{self.labels[column - 1]}: {value:.6f}")
        if role == Qt.ItemDataRole.TextAlignmentRole:
            return int(Qt.AlignmentFlag.AlignRight | Qt.AlignmentFlag.AlignVCenter)
        if role == SORT_ROLE:
            return value if math.isfinite(value) else -1.0
        return value if role == VALUE_ROLE else None

    def headerData(
        self, section: int, orientation: Qt.Orientation, role: int = Qt.ItemDataRole.DisplayRole
    ) -> Any:
        """The labels."""
        if orientation is not Qt.Orientation.Horizontal:
            return None
        if role == Qt.ItemDataRole.TextAlignmentRole:
            side = Qt.AlignmentFlag.AlignLeft if section == 0 else Qt.AlignmentFlag.AlignRight
            return int(side | Qt.AlignmentFlag.AlignVCenter)
        return self._text("item" if section == 0 else self.labels[section - 1], role)

    def _text(self, text: str, role: int) -> str | None:
        if role == Qt.ItemDataRole.ToolTipRole:
            return plain_tooltip(text)
        return " ".join(text.split()) if role in (Qt.ItemDataRole.DisplayRole, SORT_ROLE) else None


class _BarDelegate(QStyledItemDelegate):
    """A number over a bar that grows with it."""

    def paint(self, painter: QPainter, option: QStyleOptionViewItem, index: Index) -> None:
        """Paint the bar, then the number."""
        value = index.data(VALUE_ROLE)
        option.font = tabular(option.font)
        if isinstance(value, float) and math.isfinite(value):
            selected = bool(option.state & QStyle.StateFlag.State_Selected)
            cell = QRectF(option.rect).adjusted(3, 3, -3, -3)
            bar = QRectF(cell)
            bar.setWidth(cell.width() * min(1.0, max(0.0, value)))
            painter.save()
            painter.setRenderHint(QPainter.RenderHint.Antialiasing)
            painter.setPen(Qt.PenStyle.NoPen)
            if selected:
                painter.fillRect(option.rect, option.palette.color(QPalette.ColorRole.Highlight))
            painter.setBrush(faded(option.palette.color(QPalette.ColorRole.Accent), 0.4))
            painter.drawRoundedRect(bar, 3, 3)
            painter.setFont(option.font)
            text_role = QPalette.ColorRole.HighlightedText if selected else QPalette.ColorRole.Text
            painter.setPen(option.palette.color(text_role))
            painter.drawText(
                cell.adjusted(0, 0, -3, 0),
                Qt.AlignmentFlag.AlignRight | Qt.AlignmentFlag.AlignVCenter,
                str(index.data(Qt.ItemDataRole.DisplayRole)),
            )
            painter.restore()
            return
        super().paint(painter, option, index)
