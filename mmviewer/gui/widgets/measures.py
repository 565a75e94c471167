"""Measured figures in rows: the value as a bar, with a mark where chance lies."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from PySide6.QtCore import QRectF, QSize, Qt
from PySide6.QtGui import QFont, QPainter, QPaintEvent, QPalette
from PySide6.QtWidgets import QSizePolicy, QVBoxLayout, QWidget

from mmviewer.gui.widgets.elided_label import plain_tooltip
from mmviewer.gui.widgets.painting import accent

_ROW = 40
_BAR = 4.0
_CHANCE = "chance 100.0%"  # as much room as this takes is left at the end of the bar


@dataclass(frozen=True, slots=True)
class Measure:
    """One row.

    Parameters
    ----------
    name : str
    value : str
        As it is written.
    share : float or None
        Length of the bar, 0 to 1; None where the value is no share and has no bar.
    chance : float or None
        Where the mark stands, 0 to 1.
    chance_words : str
        What chance reaches, as it is written; empty where unknown.
    note : str
        How it was measured; the tooltip.
    """

    name: str
    value: str
    share: float | None = None
    chance: float | None = None
    chance_words: str = ""
    note: str = ""


class MeasureList(QWidget):
    """Rows of figures, one under the other."""

    def __init__(self, measures: Sequence[Measure], parent: QWidget | None = None) -> None:
        super().__init__(parent)
        column = QVBoxLayout(self)
        column.setContentsMargins(0, 0, 0, 0)
        column.setSpacing(2)
        for measure in measures:
            column.addWidget(_Row(measure))


class _Row(QWidget):
    def __init__(self, measure: Measure) -> None:
        super().__init__()
        self._measure = measure
        chance = f"chance {measure.chance_words}" if measure.chance_words else ""
        self.setFixedHeight(_ROW if measure.share is not None or measure.chance_words else _ROW // 2 + 4)
        self.setSizePolicy(QSizePolicy.Policy.Expanding, QSizePolicy.Policy.Fixed)
        self.setToolTip(plain_tooltip("\n".join(filter(None, (measure.name, measure.note, chance)))))
        self.setAccessibleName(f"{measure.name}: {measure.value}")
        self.setAccessibleDescription("; ".join(filter(None, (chance, measure.note))))

    def minimumSizeHint(self) -> QSize:
        return QSize(120, _ROW)

    def paintEvent(self, event: QPaintEvent) -> None:
        with QPainter(self) as painter:
            painter.setRenderHint(QPainter.RenderHint.Antialiasing)
            line = self.fontMetrics().height()
            self._paint_words(painter, QRectF(0, 0, self.width(), line + 2))
            below = QRectF(0, line + 2, self.width(), line)
            self._paint_chance(painter, below)
            if self._measure.share is not None:
                self._paint_bar(painter, below, self._measure.share)

    def _paint_words(self, painter: QPainter, line: QRectF) -> None:
        """Name at the left, value at the right."""
        measure, palette = self._measure, self.palette()
        bold = QFont(self.font())
        bold.setBold(True)
        painter.setFont(bold)
        painter.setPen(palette.color(QPalette.ColorRole.WindowText))
        right = Qt.AlignmentFlag.AlignRight | Qt.AlignmentFlag.AlignVCenter
        painter.drawText(line, right, measure.value)
        room = line.width() - painter.fontMetrics().horizontalAdvance(measure.value) - 10
        painter.setFont(self.font())
        name = self.fontMetrics().elidedText(measure.name, Qt.TextElideMode.ElideRight, int(room))
        left = Qt.AlignmentFlag.AlignLeft | Qt.AlignmentFlag.AlignVCenter
        painter.drawText(QRectF(0, line.top(), room, line.height()), left, name)

    def _paint_chance(self, painter: QPainter, line: QRectF) -> None:
        if self._measure.chance_words:
            painter.setPen(self.palette().color(QPalette.ColorRole.PlaceholderText))
            right = Qt.AlignmentFlag.AlignRight | Qt.AlignmentFlag.AlignVCenter
            painter.drawText(line, right, f"chance {self._measure.chance_words}")

    def _paint_bar(self, painter: QPainter, line: QRectF, share: float) -> None:
        room = self.fontMetrics().horizontalAdvance(_CHANCE) + 10
        track = QRectF(0, line.center().y() - _BAR / 2, line.width() - room, _BAR)
        color = accent(self.palette())
        faint = self.palette().color(QPalette.ColorRole.Mid)
        painter.setPen(Qt.PenStyle.NoPen)
        painter.setBrush(faint)
        painter.drawRoundedRect(track, 2, 2)
        painter.setBrush(color)
        painter.drawRoundedRect(QRectF(0, track.top(), track.width() * _clamped(share), _BAR), 2, 2)
        if self._measure.chance is not None:
            place = min(track.width() - 2, track.width() * _clamped(self._measure.chance))
            painter.setBrush(self.palette().color(QPalette.ColorRole.WindowText))
            painter.drawRect(QRectF(place, track.top() - 2, 2, _BAR + 4))


def _clamped(share: float) -> float:
    return min(max(share, 0.0), 1.0)
