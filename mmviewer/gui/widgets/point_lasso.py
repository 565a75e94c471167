"""Which of a million points lie within a drawn line: by lookup inside and outside, exactly at its edge."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from PySide6.QtCore import QPointF, Qt
from PySide6.QtGui import QColor, QImage, QPainter, QPen, QPolygonF

_SIDE = 1024
"""Cells along the longer side of the lookup."""
_AT_ONCE = 4_000_000
"""Comparisons of a point with an edge that are made at once; bounds the memory."""
_INSIDE, _EDGE = 0x80, 0xFF


def inside(polygon: NDArray[np.float64], x: NDArray[np.float32], y: NDArray[np.float32]) -> NDArray[np.bool_]:
    """Whether points lie in a polygon, by the even-odd rule.

    Parameters
    ----------
    polygon : float64 array [E, 2]
        Corners; the last is joined to the first.
    x, y : float32 array [N]
        Points that are not finite lie outside.

    Returns
    -------
    bool array [N]
    """
    low, high = polygon.min(axis=0), polygon.max(axis=0)
    result = np.zeros(len(x), np.bool_)
    if len(polygon) < 3 or not (high > low).all():
        return result
    scale = (_SIDE - 1) / (high - low)
    lookup = _lookup((polygon - low) * scale)
    within = (x >= low[0]) & (x <= high[0])
    within &= (y >= low[1]) & (y <= high[1])
    near = np.flatnonzero(within)
    column = ((x[near] - np.float32(low[0])) * np.float32(scale[0])).astype(np.int32)
    line = ((y[near] - np.float32(low[1])) * np.float32(scale[1])).astype(np.int32)
    cells = lookup.ravel().take(np.clip(line, 0, _SIDE - 1) * np.int32(_SIDE) + np.clip(column, 0, _SIDE - 1))
    result[near[cells == _INSIDE]] = True
    edge = near[cells == _EDGE]
    result[edge] = _crosses(polygon, x[edge].astype(np.float64), y[edge].astype(np.float64))
    return result


def _lookup(polygon: NDArray[np.float64]) -> NDArray[np.uint8]:
    """Each cell of a square: outside, inside, or so near the edge that it must be looked at exactly."""
    picture = QImage(_SIDE, _SIDE, QImage.Format.Format_Grayscale8)
    picture.fill(0)
    shape = QPolygonF([QPointF(float(x), float(y)) for x, y in polygon])
    painter = QPainter(picture)
    painter.setPen(Qt.PenStyle.NoPen)
    painter.setBrush(QColor(_INSIDE, _INSIDE, _INSIDE))
    painter.drawPolygon(shape, Qt.FillRule.OddEvenFill)
    pen = QPen(QColor(_EDGE, _EDGE, _EDGE), 5)
    pen.setJoinStyle(Qt.PenJoinStyle.RoundJoin)
    painter.setPen(pen)
    painter.setBrush(Qt.BrushStyle.NoBrush)
    painter.drawPolygon(shape)
    painter.end()
    return (
        np.frombuffer(picture.constBits(), np.uint8).reshape(_SIDE, picture.bytesPerLine())[:, :_SIDE].copy()
    )


def _crosses(
    polygon: NDArray[np.float64], x: NDArray[np.float64], y: NDArray[np.float64]
) -> NDArray[np.bool_]:
    """The even-odd rule, edge by edge."""
    result = np.zeros(len(x), np.bool_)
    first, second = polygon, np.roll(polygon, -1, axis=0)
    rise = second[:, 1] - first[:, 1]
    slope = (second[:, 0] - first[:, 0]) / np.where(rise == 0, 1.0, rise)
    step = max(1, _AT_ONCE // len(polygon))
    for start in range(0, len(x), step):
        part = slice(start, start + step)
        across = y[part, None]
        spans = (first[:, 1] <= across) != (second[:, 1] <= across)  # [points, edges]
        left = x[part, None] < first[:, 0] + (across - first[:, 1]) * slope
        result[part] = (spans & left).sum(axis=1) % 2 == 1
    return result
