"""Changes with a bar to the left or right of nothing, and their numbers; one row can be chosen."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from PySide6.QtCore import QEvent, QPointF, QRectF, QSize, Qt, Signal
from PySide6.QtGui import (
    QAccessible,
    QAccessibleEvent,
    QFontMetrics,
    QGuiApplication,
    QHelpEvent,
    QKeyEvent,
    QKeySequence,
    QMouseEvent,
    QPainter,
    QPaintEvent,
    QPalette,
    QPen,
)
from PySide6.QtWidgets import QSizePolicy, QToolTip, QWidget

from mmviewer.gui.widgets.elided_label import plain_tooltip
from mmviewer.gui.widgets.ink import faded, tabular
from mmviewer.gui.widgets.painting import accent

_ROW = 24
_BAR = 10.0
_GAP = 8.0
_LABEL_SHARE, _NUMBER_SHARE = 0.3, 0.5  # of the width, at most
_LEAST_TRACK = 40.0


@dataclass(frozen=True, slots=True)
class ChangeRow:
    """One row.

    Parameters
    ----------
    label : str
    value : float
        The change; NaN where there is none to know.
    numbers : str
        How it is written.
    note : str
        The tooltip.
    """

    label: str
    value: float = math.nan
    numbers: str = ""
    note: str = ""


class ChangeBars(QWidget):
    """As high as its rows; losses to the left, gains to the right."""

    activated = Signal(int)
    """A row was clicked, or chosen by keys."""

    def __init__(self, name: str, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._rows: tuple[ChangeRow, ...] = ()
        self._chosen: int | None = None
        self._cursor = 0
        self._least = 0.0
        self.setFocusPolicy(Qt.FocusPolicy.StrongFocus)
        self.setSizePolicy(QSizePolicy.Policy.Expanding, QSizePolicy.Policy.Fixed)
        self.setAccessibleName(name)

    # --- content ---------------------------------------------------------------------------------------
    @property
    def rows(self) -> tuple[ChangeRow, ...]:
        """From top to bottom."""
        return self._rows

    def set_rows(self, rows: Sequence[ChangeRow], least: float = 0.0) -> None:
        """Show other rows; the longest bar stands for the largest change, or for `least` if that is more."""
        self._rows, self._least = tuple(rows), least
        self._cursor = min(self._cursor, max(len(self._rows) - 1, 0))
        self.updateGeometry()
        self.update()

    def set_chosen(self, row: int | None) -> None:
        """Show which row is chosen; emits nothing."""
        if row != self._chosen:
            self._chosen = row
            self._cursor = self._cursor if row is None else row
            self.update()

    def text(self) -> str:
        """Tab-separated lines, for the clipboard."""
        return "\n".join(f"{row.label}\t{row.numbers}" for row in self._rows)

    # --- geometry --------------------------------------------------------------------------------------
    def sizeHint(self) -> QSize:
        return QSize(280, _ROW * len(self._rows))

    def minimumSizeHint(self) -> QSize:
        return QSize(160, _ROW * len(self._rows))

    def row_rect(self, row: int) -> QRectF:
        """Where a row lies."""
        return QRectF(0, row * _ROW, self.width(), _ROW)

    def _columns(self) -> tuple[float, float, float]:
        """Widths of labels, bars and numbers."""
        metrics = QFontMetrics(tabular(self.font()))
        widest = [
            max((metrics.horizontalAdvance(text) for text in texts), default=0) + 2
            for texts in ([row.label for row in self._rows], [row.numbers for row in self._rows])
        ]
        room = self.width() - 2 * _GAP
        label = min(widest[0], room * _LABEL_SHARE)
        number = min(widest[1], room * _NUMBER_SHARE) if room < 420 else widest[1]
        return label, max(room - label - number, _LEAST_TRACK), number

    # --- painting --------------------------------------------------------------------------------------
    def paintEvent(self, event: QPaintEvent) -> None:
        with QPainter(self) as painter:
            painter.setRenderHint(QPainter.RenderHint.Antialiasing)
            painter.setFont(tabular(self.font()))
            columns = self._columns()
            scale = max((abs(row.value) for row in self._rows if math.isfinite(row.value)), default=0.0)
            scale = max(scale, self._least) or 1.0
            self._paint_zero(painter, columns)
            first, last = event.rect().top() // _ROW, event.rect().bottom() // _ROW
            for index in range(max(first, 0), min(last + 1, len(self._rows))):
                self._paint_row(painter, index, columns, scale)

    def _paint_zero(self, painter: QPainter, columns: tuple[float, float, float]) -> None:
        middle = columns[0] + _GAP + columns[1] / 2
        painter.setPen(QPen(self.palette().color(QPalette.ColorRole.Mid), 1))
        painter.drawLine(QPointF(middle, 2), QPointF(middle, self.height() - 2))

    def _paint_row(
        self, painter: QPainter, index: int, columns: tuple[float, float, float], scale: float
    ) -> None:
        row, rect = self._rows[index], self.row_rect(index)
        label, track, number = columns
        ink = self.palette().color(QPalette.ColorRole.WindowText)
        self._paint_ground(painter, index, rect)
        painter.setPen(ink)
        metrics = painter.fontMetrics()
        name = metrics.elidedText(row.label, Qt.TextElideMode.ElideRight, int(label))
        left = Qt.AlignmentFlag.AlignLeft | Qt.AlignmentFlag.AlignVCenter
        painter.drawText(QRectF(0, rect.top(), label, _ROW), left, name)
        if math.isfinite(row.value):
            self._paint_bar(painter, label + _GAP, track, rect.center().y(), row.value / scale)
        painter.setPen(ink if math.isfinite(row.value) else faded(ink, 0.7))
        shown = metrics.elidedText(row.numbers, Qt.TextElideMode.ElideRight, int(number))
        right = Qt.AlignmentFlag.AlignRight | Qt.AlignmentFlag.AlignVCenter
        painter.drawText(QRectF(self.width() - number, rect.top(), number, _ROW), right, shown)

    def _paint_ground(self, painter: QPainter, index: int, rect: QRectF) -> None:
        at_cursor = self.hasFocus() and index == self._cursor
        if index != self._chosen and not at_cursor:
            return
        ring = accent(self.palette())
        painter.setPen(QPen(ring, 1) if at_cursor else Qt.PenStyle.NoPen)
        painter.setBrush(faded(ring, 0.18) if index == self._chosen else Qt.BrushStyle.NoBrush)
        painter.drawRoundedRect(rect.adjusted(0.5, 0.5, -0.5, -0.5), 4, 4)

    def _paint_bar(self, painter: QPainter, left: float, track: float, y: float, share: float) -> None:
        middle, half = left + track / 2, track / 2
        length = max(abs(share) * half, 1.0)
        bar = QRectF(middle if share > 0 else middle - length, y - _BAR / 2, length, _BAR)
        color = accent(self.palette())
        painter.setPen(QPen(color, 1))
        # a loss is filled, a gain is hollow: not told apart by the side alone
        painter.setBrush(color if share <= 0 else faded(color, 0.25))
        painter.drawRoundedRect(bar, 2, 2)

    # --- events ----------------------------------------------------------------------------------------
    def mousePressEvent(self, event: QMouseEvent) -> None:
        row = int(event.position().y() // _ROW)
        if event.button() == Qt.MouseButton.LeftButton and 0 <= row < len(self._rows):
            self._move_to(row)

    def keyPressEvent(self, event: QKeyEvent) -> None:
        steps = {
            Qt.Key.Key_Up: self._cursor - 1,
            Qt.Key.Key_Down: self._cursor + 1,
            Qt.Key.Key_Home: 0,
            Qt.Key.Key_End: len(self._rows) - 1,
        }
        key = Qt.Key(event.key())
        if event.matches(QKeySequence.StandardKey.Copy):
            QGuiApplication.clipboard().setText(self.text())
        elif key in steps and 0 <= steps[key] < len(self._rows):
            self._move_to(steps[key])
        elif key in (Qt.Key.Key_Return, Qt.Key.Key_Enter, Qt.Key.Key_Space) and self._rows:
            self._move_to(self._cursor)
        else:
            super().keyPressEvent(event)

    def event(self, event: QEvent) -> bool:
        if isinstance(event, QHelpEvent) and event.type() == QEvent.Type.ToolTip:
            row = int(event.pos().y() // _ROW)
            if 0 <= row < len(self._rows):
                where = self.row_rect(row).toRect()
                QToolTip.showText(event.globalPos(), plain_tooltip(self._rows[row].note), self, where)
            return True
        return super().event(event)

    def focusInEvent(self, event: object) -> None:
        self.update()

    def focusOutEvent(self, event: object) -> None:
        self.update()

    def _move_to(self, row: int) -> None:
        self._cursor = row
        shown = self._rows[row]
        self.setAccessibleDescription(f"{shown.label}: {shown.numbers}. {shown.note}")
        QAccessible.updateAccessibility(QAccessibleEvent(self, QAccessible.Event.DescriptionChanged))
        self.update()
        self.activated.emit(row)
