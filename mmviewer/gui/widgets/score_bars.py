"""Labels with a bar and a number each: as many as one likes, painted in one widget."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from PySide6.QtCore import QEvent, QPoint, QRect, QRectF, QSize, Qt, Signal
from PySide6.QtGui import (
    QFocusEvent,
    QFontMetrics,
    QGuiApplication,
    QHelpEvent,
    QKeyEvent,
    QKeySequence,
    QMouseEvent,
    QPainter,
    QPaintEvent,
    QPalette,
    QResizeEvent,
)
from PySide6.QtWidgets import QAbstractScrollArea, QToolTip, QWidget

from mmviewer.gui.widgets.elided_label import plain_tooltip
from mmviewer.gui.widgets.ink import faded, tabular

_MARGIN = 8
_ROW_PADDING = 8
_BAR_HEIGHT = 12
_LABEL_SHARE = 0.45  # of the width, at most


@dataclass(frozen=True, slots=True)
class ScoreRow:
    """One label: `value` in [0, 1], NaN while it is not known; `note` is added to the tooltip.

    `number` is written behind the bar in place of the value, where the bar stands for another number.
    """

    label: str
    value: float = math.nan
    note: str = ""
    number: str = ""


class ScoreBars(QAbstractScrollArea):
    """Bars of scores in [0, 1]; the order is the caller's unless sorted on demand.

    Signals
    -------
    activated(str)
        A label was double-clicked or Enter was pressed on it.
    """

    activated = Signal(str)

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._rows: list[ScoreRow] = []
        self._typed: list[ScoreRow] = []
        self._sorted = False
        self._current = -1
        self.setFocusPolicy(Qt.FocusPolicy.StrongFocus)
        self.setFrameShape(QAbstractScrollArea.Shape.NoFrame)
        self.setHorizontalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAlwaysOff)
        self.viewport().setAutoFillBackground(False)
        self.setAccessibleName("Scores of the labels")

    # --- content --------------------------------------------------------------------------------------
    def rows(self) -> list[ScoreRow]:
        """The rows as shown from top to bottom."""
        return list(self._rows)

    def set_rows(self, rows: Sequence[ScoreRow]) -> None:
        """Show other rows; the place scrolled to and the focused row stay."""
        self._typed = list(rows)
        self._arrange()

    def set_sorted(self, by_value: bool) -> None:
        """Highest first instead of the order as typed."""
        self._sorted = by_value
        self._arrange()

    def text(self) -> str:
        """Tab-separated label and value per line, for the clipboard."""
        return "\n".join(f"{row.label}\t{_number(row.value, 6)}" for row in self._rows)

    def _arrange(self) -> None:
        rows = list(self._typed)
        if self._sorted:
            rows.sort(key=lambda row: -row.value if math.isfinite(row.value) else math.inf)
        self._rows = rows
        self._current = min(self._current, len(rows) - 1)
        self._update_scroll_bar()
        self.viewport().update()
        self.updateGeometry()

    # --- geometry -----------------------------------------------------------------------------------
    def row_height(self) -> int:
        """Height of a row in pixels; never under a comfortable target."""
        return max(24, self.fontMetrics().height() + _ROW_PADDING)

    def row_at(self, position: QPoint) -> int:
        """The row under a position of the viewport, or -1."""
        row = (position.y() + self.verticalScrollBar().value()) // self.row_height()
        return row if 0 <= row < len(self._rows) else -1

    def row_rect(self, row: int) -> QRect:
        """Where a row lies in the viewport."""
        height = self.row_height()
        top = row * height - self.verticalScrollBar().value()
        return QRect(0, top, self.viewport().width(), height)

    def track_rect(self, row: int) -> QRect:
        """The full length of a row's bar: a value of 1."""
        rect = self.row_rect(row)
        left = _MARGIN + self._label_width() + _MARGIN
        right = rect.right() - _MARGIN - self._number_width() - _MARGIN
        top = rect.center().y() - _BAR_HEIGHT // 2 + 1
        return QRect(left, top, max(8, right - left), _BAR_HEIGHT)

    def sizeHint(self) -> QSize:
        """Room for the rows, up to a dozen."""
        return QSize(280, self.row_height() * max(3, min(12, len(self._rows))) + 2)

    def minimumSizeHint(self) -> QSize:
        """Room for three rows."""
        return QSize(160, self.row_height() * 3)

    def _label_width(self) -> int:
        bold = tabular(self.font())
        bold.setBold(True)  # as the best one is written
        metrics = QFontMetrics(bold)
        # measuring thousands of labels on every stroke would be felt; the longest few decide
        longest = sorted((row.label for row in self._rows), key=len)[-8:]
        widest = max((metrics.horizontalAdvance(label) for label in longest), default=0)
        return min(widest + 2, int(self.viewport().width() * _LABEL_SHARE))

    def _number_width(self) -> int:
        numbers = {row.number for row in self._rows if row.number} or {"0.000"}
        metrics = QFontMetrics(tabular(self.font()))
        return max(metrics.horizontalAdvance(number) for number in numbers)

    def _update_scroll_bar(self) -> None:
        bar = self.verticalScrollBar()
        height = self.viewport().height()
        bar.setRange(0, max(0, len(self._rows) * self.row_height() - height))
        bar.setPageStep(height)
        bar.setSingleStep(self.row_height())

    # --- painting -----------------------------------------------------------------------------------
    def paintEvent(self, event: QPaintEvent) -> None:
        """Paint the rows in view."""
        if not self._rows:
            return
        painter = QPainter(self.viewport())
        painter.setRenderHint(QPainter.RenderHint.Antialiasing)
        offset, height = self.verticalScrollBar().value(), self.row_height()
        first = (event.rect().top() + offset) // height
        last = min((event.rect().bottom() + offset) // height, len(self._rows) - 1)
        best = max((row.value for row in self._rows if math.isfinite(row.value)), default=math.nan)
        label_width = self._label_width()
        for index in range(first, last + 1):
            self._paint_row(painter, index, label_width, self._rows[index].value == best)

    def _paint_row(self, painter: QPainter, index: int, label_width: int, is_best: bool) -> None:
        row, rect, track = self._rows[index], self.row_rect(index), self.track_rect(index)
        text_colour = self.palette().color(QPalette.ColorRole.Text)
        if index == self._current:
            self._paint_current(painter, rect)
        font = tabular(self.font())
        font.setBold(is_best)  # not by colour alone
        painter.setFont(font)
        painter.setPen(text_colour)
        label_rect = QRect(_MARGIN, rect.top(), label_width, rect.height())
        label = QFontMetrics(font).elidedText(row.label, Qt.TextElideMode.ElideRight, label_width)
        painter.drawText(label_rect, Qt.AlignmentFlag.AlignRight | Qt.AlignmentFlag.AlignVCenter, label)

        painter.setPen(Qt.PenStyle.NoPen)
        painter.setBrush(faded(text_colour, 0.10))
        painter.drawRoundedRect(QRectF(track), 3, 3)
        if math.isfinite(row.value):
            bar = QRectF(track)
            bar.setWidth(max(2.0, track.width() * min(1.0, max(0.0, row.value))))
            painter.setBrush(self.palette().color(QPalette.ColorRole.Accent))
            painter.drawRoundedRect(bar, min(3.0, bar.width() / 2), 3)

        painter.setPen(text_colour if is_best else faded(text_colour, 0.75))
        number_rect = QRect(
            track.right() + _MARGIN, rect.top(), self._number_width() + _MARGIN, rect.height()
        )
        painter.drawText(number_rect, Qt.AlignmentFlag.AlignVCenter, row.number or _number(row.value))

    def _paint_current(self, painter: QPainter, rect: QRect) -> None:
        accent = self.palette().color(QPalette.ColorRole.Accent)
        painter.setBrush(faded(accent, 0.15))
        painter.setPen(accent if self.hasFocus() else Qt.PenStyle.NoPen)
        painter.drawRoundedRect(QRectF(rect).adjusted(1.5, 1.5, -1.5, -1.5), 4, 4)

    # --- interaction ----------------------------------------------------------------------------------
    def current_label(self) -> str | None:
        """The label the keyboard is on."""
        return self._rows[self._current].label if 0 <= self._current < len(self._rows) else None

    @property
    def current_row(self) -> int:
        """The row the keyboard is on; -1 for none."""
        return self._current

    def _set_current(self, row: int) -> None:
        if not self._rows:
            return
        self._current = max(0, min(row, len(self._rows) - 1))
        rect, bar = self.row_rect(self._current), self.verticalScrollBar()
        if rect.top() < 0:
            bar.setValue(bar.value() + rect.top())
        elif rect.bottom() > self.viewport().height():
            bar.setValue(bar.value() + rect.bottom() - self.viewport().height() + 1)
        current = self._rows[self._current]
        self.setAccessibleDescription(f"{current.label} {_number(current.value)}")
        self.viewport().update()

    def focusInEvent(self, event: QFocusEvent) -> None:
        """Show where the keyboard is: on the first row, when it was on none."""
        super().focusInEvent(event)
        if self._current < 0:
            self._set_current(0)

    def keyPressEvent(self, event: QKeyEvent) -> None:
        """Step through the rows, activate one, copy all."""
        page = max(1, self.viewport().height() // self.row_height() - 1)
        steps = {
            Qt.Key.Key_Up: self._current - 1,
            Qt.Key.Key_Down: self._current + 1,
            Qt.Key.Key_PageUp: self._current - page,
            Qt.Key.Key_PageDown: self._current + page,
            Qt.Key.Key_Home: 0,
            Qt.Key.Key_End: len(self._rows) - 1,
        }
        label = self.current_label()
        if event.matches(QKeySequence.StandardKey.Copy):
            QGuiApplication.clipboard().setText(self.text())
        elif event.key() in steps:
            self._set_current(steps[Qt.Key(event.key())])
        elif event.key() in (Qt.Key.Key_Return, Qt.Key.Key_Enter) and label is not None:
            self.activated.emit(label)
        else:
            super().keyPressEvent(event)

    def mousePressEvent(self, event: QMouseEvent) -> None:
        """Put the keyboard on the row that was clicked."""
        row = self.row_at(event.position().toPoint())
        if row >= 0:
            self._set_current(row)

    def mouseDoubleClickEvent(self, event: QMouseEvent) -> None:
        """Activate the row."""
        row = self.row_at(event.position().toPoint())
        if row >= 0:
            self.activated.emit(self._rows[row].label)

    def viewportEvent(self, event: QEvent) -> bool:
        """Show the whole label and the numbers as tooltip."""
        if isinstance(event, QHelpEvent):
            row = self.row_at(event.pos())
            if row < 0:
                QToolTip.hideText()
            else:
                QToolTip.showText(
                    event.globalPos(), plain_tooltip(self.tooltip(row)), self.viewport(), self.row_rect(row)
                )
            return True
        return super().viewportEvent(event)

    def tooltip(self, row: int) -> str:
        """What the tooltip of a row says."""
        shown = self._rows[row]
        value = _number(shown.value, 6) if math.isfinite(shown.value) else "not scored yet"
        return "\n".join(part for part in (shown.label, value, shown.note) if part)

    def resizeEvent(self, event: QResizeEvent) -> None:
        """Keep the scroll range true."""
        super().resizeEvent(event)
        self._update_scroll_bar()

    def changeEvent(self, event: QEvent) -> None:
        """Follow font and colours."""
        super().changeEvent(event)
        if event.type() in (QEvent.Type.FontChange, QEvent.Type.PaletteChange):
            self._update_scroll_bar()
            self.viewport().update()


def _number(value: float, digits: int = 3) -> str:
    return f"{value:.{digits}f}" if math.isfinite(value) else "–"
