"""What the colours of a map mean: classes with their counts, ticked to have a hue, or the ends of a ramp."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PySide6.QtCore import (
    QAbstractListModel,
    QEvent,
    QModelIndex,
    QObject,
    QPersistentModelIndex,
    QRectF,
    QSortFilterProxyModel,
    Qt,
    Signal,
)
from PySide6.QtGui import QColor, QLinearGradient, QPainter, QPaintEvent, QPixmap
from PySide6.QtWidgets import QHBoxLayout, QLineEdit, QListView, QPushButton, QVBoxLayout, QWidget

from mmviewer.gui.widgets.elided_label import ElidedLabel
from mmviewer.gui.widgets.painting import number
from mmviewer.gui.widgets.point_colours import HUES, grey, hue, ramp

_FILTER_FROM = 14  # classes
_SWATCH = 12
_Index = QModelIndex | QPersistentModelIndex


class _Classes(QAbstractListModel):
    """Classes that have items, the most frequent first; a tick gives a class a hue."""

    ticked = Signal()

    def __init__(self, legend: QWidget) -> None:
        super().__init__(legend)
        self._legend = legend
        self.names: tuple[str, ...] = ()
        self.counts = np.zeros(0, np.int64)
        self.order = np.zeros(0, np.int64)
        self.shown: list[int] = []

    def fill(self, names: Sequence[str], counts: NDArray[np.int64], shown: Sequence[int]) -> None:
        self.beginResetModel()
        self.names, self.counts, self.shown = tuple(names), counts, list(shown)
        order = np.argsort(-counts, kind="stable")
        self.order = order[counts[order] > 0]
        self.endResetModel()

    def show_only(self, codes: Sequence[int]) -> None:
        self.shown = list(codes)
        if len(self.order):
            self.dataChanged.emit(self.index(0), self.index(len(self.order) - 1))
        self.ticked.emit()

    def code(self, index: _Index) -> int:
        return int(self.order[index.row()])

    def rowCount(self, parent: _Index | None = None) -> int:
        return 0 if parent is not None and parent.isValid() else len(self.order)

    def flags(self, index: _Index) -> Qt.ItemFlag:
        return super().flags(index) | Qt.ItemFlag.ItemIsUserCheckable

    def data(self, index: _Index, role: int = Qt.ItemDataRole.DisplayRole) -> Any:
        code = self.code(index)
        name, count = self.names[code], f"{int(self.counts[code]):,}"
        match role:
            case Qt.ItemDataRole.DisplayRole:
                return f"{name or '(empty)'}   {count}"
            case Qt.ItemDataRole.ToolTipRole:
                return f"{name}: {count} items. Tick to give it a colour; click twice to select its items."
            case Qt.ItemDataRole.CheckStateRole:
                return Qt.CheckState.Checked if code in self.shown else Qt.CheckState.Unchecked
            case Qt.ItemDataRole.DecorationRole:
                return self._swatch(code)
        return None

    def setData(self, index: _Index, value: Any, role: int = Qt.ItemDataRole.EditRole) -> bool:
        if role != Qt.ItemDataRole.CheckStateRole:
            return False
        code, wanted = self.code(index), Qt.CheckState(value) == Qt.CheckState.Checked
        others = [shown for shown in self.shown if shown != code]
        self.show_only([*others, code] if wanted else others)
        return True

    def _swatch(self, code: int) -> QPixmap:
        palette = self._legend.palette()
        colour = hue(self.shown.index(code), palette) if code in self.shown else grey(palette)
        pixmap = QPixmap(_SWATCH, _SWATCH)
        pixmap.fill(Qt.GlobalColor.transparent)
        painter = QPainter(pixmap)
        painter.setRenderHint(QPainter.RenderHint.Antialiasing)
        painter.setPen(Qt.PenStyle.NoPen)
        painter.setBrush(colour)
        painter.drawRoundedRect(QRectF(pixmap.rect()), 3, 3)
        painter.end()
        return pixmap


class Legend(QWidget):
    """Says what colours mean, and lets the user choose which classes have one.

    Signals
    -------
    shown_changed(object)
        Codes of the classes that have hues, in the order of the hues.
    highlighted(object)
        The code of the class under the pointer, or None.
    chosen(int)
        The code of the class that was clicked twice: its items are wanted.
    """

    shown_changed = Signal(object)
    highlighted = Signal(object)
    chosen = Signal(int)

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.title = ElidedLabel("", bold=True)
        self.filter = QLineEdit(placeholderText="Find a class…", clearButtonEnabled=True)
        self.filter.setAccessibleName("Find a class")
        self.common = QPushButton("Commonest")
        self.common.setToolTip(f"Give the {HUES} most frequent classes a colour")
        self.none = QPushButton("None")
        self.none.setToolTip("Let all classes be grey, to tick those you look for")
        self._model = _Classes(self)
        self._found = QSortFilterProxyModel(self)
        self._found.setSourceModel(self._model)
        self._found.setFilterCaseSensitivity(Qt.CaseSensitivity.CaseInsensitive)
        self.list = QListView()
        self.list.setModel(self._found)
        self.list.setUniformItemSizes(True)
        self.list.setMouseTracking(True)
        self.list.setAccessibleName("Classes and their colours")
        self.bar = _RampBar()
        self._lay_out()
        self.filter.textChanged.connect(self._found.setFilterFixedString)
        self.common.clicked.connect(lambda: self._model.show_only(self._model.order[:HUES].tolist()))
        self.none.clicked.connect(lambda: self._model.show_only([]))
        self._model.ticked.connect(lambda: self.shown_changed.emit(tuple(self._model.shown)))
        self.list.entered.connect(lambda index: self.highlighted.emit(self._code(index)))
        self.list.doubleClicked.connect(lambda index: self.chosen.emit(self._code(index)))
        self.list.viewport().installEventFilter(self)
        self.clear()

    @property
    def shown(self) -> tuple[int, ...]:
        """Codes of the classes that have hues."""
        return tuple(self._model.shown)

    def set_classes(
        self, title: str, names: Sequence[str], counts: NDArray[np.int64], shown: Sequence[int]
    ) -> None:
        """Show classes with how many items each has; emits nothing."""
        self.filter.clear()
        self._model.fill(names, counts, shown)
        self.title.set_text(title)
        many = len(names) >= _FILTER_FROM
        for widget in (self.filter, self.common, self.none):
            widget.setVisible(many)
        self.list.show()
        self.bar.hide()
        self.title.show()

    def set_ramp(self, title: str, low: float, high: float) -> None:
        """Show which numbers the ends of the ramp stand for."""
        self._model.fill((), np.zeros(0, np.int64), ())
        self.title.set_text(title)
        for widget in (self.filter, self.common, self.none, self.list):
            widget.hide()
        self.bar.set_ends(low, high)
        self.bar.show()
        self.title.show()

    def clear(self) -> None:
        """Show nothing."""
        self._model.fill((), np.zeros(0, np.int64), ())
        for widget in (self.title, self.filter, self.common, self.none, self.list, self.bar):
            widget.hide()

    def eventFilter(self, watched: QObject, event: QEvent) -> bool:
        """No class stands out once the pointer has left the list."""
        if event.type() == QEvent.Type.Leave:
            self.highlighted.emit(None)
        return super().eventFilter(watched, event)

    def _code(self, index: QModelIndex) -> int:
        return self._model.code(self._found.mapToSource(index))

    def _lay_out(self) -> None:
        buttons = QHBoxLayout()
        for button in (self.common, self.none):
            button.setMinimumHeight(26)
            buttons.addWidget(button)
        buttons.addStretch(1)
        column = QVBoxLayout(self)
        column.setContentsMargins(0, 0, 0, 0)
        column.setSpacing(4)
        column.addWidget(self.title)
        column.addWidget(self.filter)
        column.addLayout(buttons)
        column.addWidget(self.list, 100)
        column.addWidget(self.bar)
        column.addStretch(1)  # what is there stays at the top, whatever is hidden


class _RampBar(QWidget):
    """A ramp of colours between two numbers."""

    def __init__(self) -> None:
        super().__init__()
        self._low, self._high = 0.0, 1.0
        self.setFixedHeight(38)

    def set_ends(self, low: float, high: float) -> None:
        """Say which numbers the ends stand for."""
        self._low, self._high = low, high
        self.setAccessibleName(f"From {number(low)} to {number(high)}")
        self.update()

    def paintEvent(self, event: QPaintEvent) -> None:
        painter = QPainter(self)
        painter.setRenderHint(QPainter.RenderHint.Antialiasing)
        bar = QRectF(0.5, 2, self.width() - 1, 12)
        gradient = QLinearGradient(bar.topLeft(), bar.topRight())
        for place, colour in enumerate(ramp(self.palette(), 17)):
            gradient.setColorAt(place / 16, QColor(*colour.tolist()))
        painter.setPen(self.palette().mid().color())
        painter.setBrush(gradient)
        painter.drawRoundedRect(bar, 3, 3)
        painter.setPen(self.palette().windowText().color())
        under = QRectF(0, 17, self.width(), 20)
        painter.drawText(under, Qt.AlignmentFlag.AlignLeft, number(self._low))
        painter.drawText(under, Qt.AlignmentFlag.AlignRight, number(self._high))
