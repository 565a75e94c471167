"""A map along time: its value at any second, and its curve."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from PySide6.QtCore import QPointF, QRectF
from PySide6.QtGui import QPainter, QPainterPath, QPalette, QPen, QPolygonF

from mmviewer.gui.widgets.painting import FloatArray, MapStyle, colored_image, packed_colors


@dataclass(frozen=True, slots=True, eq=False)
class TimeMap:
    """One value per position of an audio encoder.

    Parameters
    ----------
    values : float32 array [P]
    start, step : float
        Seconds at which the first position begins, and per position.
    low, high : float
        Ends of the scale.
    """

    values: FloatArray
    start: float
    step: float
    low: float
    high: float

    @property
    def end(self) -> float:
        """Second at which the last position ends."""
        return self.start + len(self.values) * self.step

    def index_at(self, seconds: float) -> int | None:
        """Position at a time, None outside the window."""
        index = math.floor((seconds - self.start) / self.step + 1e-9)
        return index if 0 <= index < len(self.values) else None

    def sampled(self, seconds: FloatArray, interpolation: str) -> FloatArray:
        """Values at times [N]; NaN outside the window; "nearest" shows positions as they are."""
        place = (seconds - self.start) / self.step
        index = np.floor(place).astype(np.intp)
        inside = (index >= 0) & (index < len(self.values))
        if interpolation == "nearest":
            result = self.values[np.clip(index, 0, len(self.values) - 1)]
        else:
            result = np.interp(place - 0.5, np.arange(len(self.values)), self.values)
        return np.where(inside, result, np.nan).astype(np.float32)


def paint_curve(
    painter: QPainter, lane: QRectF, values: FloatArray, along: TimeMap, style: MapStyle, palette: QPalette
) -> None:
    """Draw `values` [N], evenly spread over `lane`, as an area in the colours of the map."""
    span = along.high - along.low or 1.0
    heights = np.clip((np.nan_to_num(values, nan=0.0) - along.low) / span, 0, 1)
    room = lane.height() - 4
    base = lane.bottom() - min(max(-along.low / span, 0.0), 1.0) * room
    x = np.linspace(lane.left(), lane.right(), len(values))
    points = [
        QPointF(*point) for point in zip(x.tolist(), (lane.bottom() - heights * room).tolist(), strict=True)
    ]
    area = QPainterPath(QPointF(lane.left(), base))
    area.addPolygon(QPolygonF(points))
    area.lineTo(lane.right(), base)
    area.closeSubpath()
    opaque = style.colors.copy()
    opaque[:, 3] = 255
    painter.save()
    painter.setRenderHint(QPainter.RenderHint.Antialiasing)
    painter.setClipPath(area)
    painter.drawImage(lane, colored_image(values[None], along.low, along.high, packed_colors(opaque)))
    painter.restore()
    painter.setPen(QPen(palette.color(QPalette.ColorRole.WindowText), 1))
    painter.drawPolyline(points)
