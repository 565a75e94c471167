"""A small plot of two curves over a share from 0 to 1, with a readout under the pointer."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PySide6.QtCore import QEvent, QPointF, QRectF, QSize, Qt
from PySide6.QtGui import QMouseEvent, QPainter, QPaintEvent, QPalette, QPen, QPolygonF
from PySide6.QtWidgets import QSizePolicy, QWidget

from mmviewer.gui.widgets.elided_label import plain_tooltip
from mmviewer.gui.widgets.ink import faded, tabular
from mmviewer.gui.widgets.painting import accent, number

FloatArray = NDArray[np.float32]

_HEIGHT = 156
_TOP, _BOTTOM, _RIGHT = 22.0, 34.0, 8.0


@dataclass(frozen=True, slots=True, eq=False)
class CurveData:
    """What is plotted.

    Parameters
    ----------
    shares : float32 array [S]
        Along the foot, from 0 to 1.
    own, random : float32 array [S]
        The map's curve and the mean of random orders.
    low, high : float
        Ends of the upright axis.
    """

    shares: FloatArray
    own: FloatArray
    random: FloatArray
    low: float
    high: float


class CurvePlot(QWidget):
    """The map's curve in the accent colour, chance as a dashed line.

    Parameters
    ----------
    title : str
        Stands above it.
    foot : str
        What the shares are of.
    tip : str
        What it shows, and what is good.
    """

    def __init__(self, title: str, foot: str, tip: str, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._title, self._foot, self._tip = title, foot, tip
        self._data: CurveData | None = None
        self._at: float | None = None
        self.setFont(tabular(self.font()))
        self.setMouseTracking(True)
        self.setSizePolicy(QSizePolicy.Policy.Expanding, QSizePolicy.Policy.Fixed)
        self.setToolTip(plain_tooltip(tip))
        self.setAccessibleName(title)

    @property
    def data(self) -> CurveData | None:
        """What is plotted."""
        return self._data

    def set_data(self, data: CurveData | None) -> None:
        """Plot something else, or nothing."""
        self._data = data
        words = (
            ""
            if data is None
            else f"from {number(float(data.own[0]), 2)} to {number(float(data.own[-1]), 2)}"
        )
        self.setAccessibleDescription(f"{self._tip} {words}".strip())
        self.update()

    def sizeHint(self) -> QSize:
        return QSize(260, _HEIGHT)

    def minimumSizeHint(self) -> QSize:
        return QSize(160, _HEIGHT)

    def mouseMoveEvent(self, event: QMouseEvent) -> None:
        area = self._area()
        share = (event.position().x() - area.left()) / max(area.width(), 1)
        self._at = share if -0.02 <= share <= 1.02 else None
        self.update()

    def leaveEvent(self, event: QEvent) -> None:
        self._at = None
        self.update()

    def paintEvent(self, event: QPaintEvent) -> None:
        with QPainter(self) as painter:
            painter.setRenderHint(QPainter.RenderHint.Antialiasing)
            self._paint_frame(painter)
            if self._data is not None:
                self._paint_curves(painter, self._data)
                self._paint_reading(painter, self._data)

    # --- inside ----------------------------------------------------------------------------------------
    def _area(self) -> QRectF:
        left = 6.0 + self.fontMetrics().horizontalAdvance("\N{MINUS SIGN}0.000")
        return QRectF(left, _TOP, max(20.0, self.width() - left - _RIGHT), self.height() - _TOP - _BOTTOM)

    def _place(self, data: CurveData, share: float, score: float) -> QPointF:
        area, span = self._area(), max(data.high - data.low, 1e-9)
        return QPointF(
            area.left() + share * area.width(), area.bottom() - (score - data.low) / span * area.height()
        )

    def _paint_frame(self, painter: QPainter) -> None:
        area, palette = self._area(), self.palette()
        faint = palette.color(QPalette.ColorRole.PlaceholderText)
        painter.setPen(palette.color(QPalette.ColorRole.WindowText))
        title = self.fontMetrics().elidedText(self._title, Qt.TextElideMode.ElideRight, self.width())
        painter.drawText(QRectF(0, 0, self.width(), _TOP - 4), Qt.AlignmentFlag.AlignLeft, title)
        painter.setPen(QPen(palette.color(QPalette.ColorRole.Mid), 1))
        painter.drawLine(area.bottomLeft(), area.bottomRight())
        painter.drawLine(area.bottomLeft(), area.topLeft())
        painter.setPen(faint)
        foot = QRectF(area.left(), area.bottom() + 2, area.width(), 15)
        for words, where in (("none", Qt.AlignmentFlag.AlignLeft), ("all", Qt.AlignmentFlag.AlignRight)):
            painter.drawText(foot, where, words)
        below = QRectF(0, area.bottom() + 16, self.width(), 17)
        line = self.fontMetrics().elidedText(self._foot, Qt.TextElideMode.ElideRight, self.width())
        painter.drawText(below, Qt.AlignmentFlag.AlignHCenter, line)
        if self._data is not None:
            right = Qt.AlignmentFlag.AlignRight | Qt.AlignmentFlag.AlignVCenter
            for score, y in ((self._data.high, area.top()), (self._data.low, area.bottom())):
                painter.drawText(QRectF(0, y - 8, area.left() - 4, 16), right, number(score, 2))

    def _paint_curves(self, painter: QPainter, data: CurveData) -> None:
        color = accent(self.palette())
        faint = self.palette().color(QPalette.ColorRole.PlaceholderText)
        own = [self._place(data, float(x), float(y)) for x, y in zip(data.shares, data.own, strict=True)]
        random = [
            self._place(data, float(x), float(y)) for x, y in zip(data.shares, data.random, strict=True)
        ]
        area = self._area()
        painter.setPen(Qt.PenStyle.NoPen)
        painter.setBrush(faded(color, 0.15))
        painter.drawPolygon(QPolygonF([area.bottomLeft(), *own, area.bottomRight()]))
        painter.setBrush(Qt.BrushStyle.NoBrush)
        painter.setPen(QPen(faint, 1.4, Qt.PenStyle.DashLine))
        painter.drawPolyline(QPolygonF(random))
        painter.setPen(QPen(color, 2))
        painter.drawPolyline(QPolygonF(own))

    def _paint_reading(self, painter: QPainter, data: CurveData) -> None:
        """The curve's numbers where the pointer is."""
        if self._at is None:
            return
        share = min(max(self._at, 0.0), 1.0)
        own = float(np.interp(share, data.shares, data.own))
        random = float(np.interp(share, data.shares, data.random))
        area, palette = self._area(), self.palette()
        place = self._place(data, share, own)
        painter.setPen(QPen(palette.color(QPalette.ColorRole.Mid), 1))
        painter.drawLine(QPointF(place.x(), area.top()), QPointF(place.x(), area.bottom()))
        painter.setBrush(accent(palette))
        painter.setPen(Qt.PenStyle.NoPen)
        painter.drawEllipse(place, 3.5, 3.5)
        words = f"{share:.0%}: {number(own, 2)}, random {number(random, 2)}"
        width = self.fontMetrics().horizontalAdvance(words) + 12
        left = min(max(area.left(), place.x() - width / 2), max(area.left(), area.right() - width))
        box = QRectF(left, area.top() + 2, width, 19)
        ground = palette.color(QPalette.ColorRole.Window)
        painter.setBrush(faded(ground, 0.92))
        painter.setPen(QPen(palette.color(QPalette.ColorRole.Mid), 1))
        painter.drawRoundedRect(box, 4, 4)
        painter.setPen(palette.color(QPalette.ColorRole.WindowText))
        painter.drawText(box, Qt.AlignmentFlag.AlignCenter, words)
