"""A map along time: its value at any second, and its curve."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from PySide6.QtCore import QPointF, QRectF
from PySide6.QtGui import QColor, QPainter, QPainterPath, QPalette, QPen, QPolygonF

from mmviewer.gui.widgets.painting import FloatArray, MapStyle, colored_image, hatch, packed_colors


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


def paint_borders(
    painter: QPainter,
    lane: QRectF,
    along: TimeMap,
    times: tuple[float, float],
    x_of: Callable[[float], float],
    ink: QColor,
) -> None:
    """Draw faint lines between positions from one of `times` to the other, where they can be told apart."""
    if x_of(along.step) - x_of(0) < 4:
        return
    first = max(0, math.floor((times[0] - along.start) / along.step))
    last = min(len(along.values), math.ceil((times[1] - along.start) / along.step))
    line = QColor(ink)
    line.setAlphaF(0.3)
    painter.setPen(QPen(line, 1))
    for index in range(first, last + 1):
        x = x_of(along.start + index * along.step)
        painter.drawLine(QPointF(x, lane.top()), QPointF(x, lane.bottom()))


def paint_unheard(
    painter: QPainter, area: QRectF, duration: float, along: TimeMap | None, x_of: Callable[[float], float]
) -> None:
    """Hatch padding behind the sound, and the part of the sound that the model did not hear."""
    spans = [(duration, math.inf)]
    if along is not None:
        spans += [(-math.inf, along.start), (along.end, math.inf)]
    for first, last in spans:
        left = area.left() if first == -math.inf else max(x_of(first), area.left())
        right = area.right() if last == math.inf else min(x_of(last), area.right())
        if right - left > 0.5:
            hatch(painter, QRectF(left, area.top(), right - left, area.height()))
