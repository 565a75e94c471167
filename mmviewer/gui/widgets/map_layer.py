"""A map over a picture: where each cell lies, its value, and its coloured image."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from PySide6.QtCore import QPointF, QRectF
from PySide6.QtGui import QImage

from mmviewer.gui.widgets.painting import FloatArray, MapStyle, colored_image, packed_colors

# Qt enlarges the coloured image to the screen; with more pixels per patch the eye sees no difference.
_PER_PATCH = 12
_LEAST, _MOST = 192, 640

Cell = tuple[int, int]

Enlarge = Callable[[FloatArray, tuple[int, int], str], FloatArray]
"""Interpolates a grid [R, C] to a size (H, W) over the same box, by a name such as "bilinear"."""


@dataclass(frozen=True, slots=True, eq=False)
class GridMap:
    """One value per patch over a box of the picture.

    Parameters
    ----------
    values : float32 array [R, C]
        NaN where there is no value.
    box : tuple of float
        Top, left, bottom, right of the whole grid in pixels of the original; may reach beyond the picture
        (padding) or cover a part of it (crop).
    low, high : float
        Ends of the colour scale.
    enlarge : callable
        Interpolates between patches; missing ones stay missing.
    """

    values: FloatArray
    box: tuple[float, float, float, float]
    low: float
    high: float
    enlarge: Enlarge

    @property
    def rect(self) -> QRectF:
        """The box as a rectangle."""
        top, left, bottom, right = self.box
        return QRectF(left, top, right - left, bottom - top)

    def cell_at(self, point: QPointF) -> Cell | None:
        """Row and column of the cell under a point of the original, or None outside the grid."""
        rect = self.rect
        if rect.width() <= 0 or rect.height() <= 0:
            return None
        rows, columns = self.values.shape
        row = math.floor((point.y() - rect.top()) / rect.height() * rows)
        column = math.floor((point.x() - rect.left()) / rect.width() * columns)
        inside = 0 <= row < rows and 0 <= column < columns
        return (row, column) if inside else None

    def cell_rect(self, cell: Cell) -> QRectF:
        """Where a cell lies, in pixels of the original."""
        rows, columns = self.values.shape
        rect = self.rect
        height, width = rect.height() / rows, rect.width() / columns
        return QRectF(rect.left() + cell[1] * width, rect.top() + cell[0] * height, width, height)

    @property
    def missing(self) -> list[Cell]:
        """Cells without a value."""
        if np.isfinite(self.values).all():
            return []
        return [(int(row), int(column)) for row, column in np.argwhere(~np.isfinite(self.values))]

    def mass(self, area: QRectF) -> float:
        """Share of the map's absolute sum that lies in cells whose centre is in `area`."""
        total = float(np.nansum(np.abs(self.values)))
        if total <= 0:
            return 0.0
        rows, columns = self.values.shape
        rect = self.rect
        y = rect.top() + (np.arange(rows) + 0.5) * rect.height() / rows
        x = rect.left() + (np.arange(columns) + 0.5) * rect.width() / columns
        inside = np.ix_((y >= area.top()) & (y < area.bottom()), (x >= area.left()) & (x < area.right()))
        return float(np.nansum(np.abs(self.values[inside]))) / total

    def image(self, style: MapStyle, raster: int | None = None) -> QImage:
        """The coloured map over its box, `raster` pixels on its longer side; quick enough for every hover."""
        packed = packed_colors(style.colors)
        rows, columns = self.values.shape
        if style.interpolation == "nearest":
            return colored_image(self.values, self.low, self.high, packed)
        longer = max(rows, columns)
        raster = raster or min(max(_PER_PATCH * longer, _LEAST), _MOST)
        size = (max(rows, round(raster * rows / longer)), max(columns, round(raster * columns / longer)))
        enlarged = self.enlarge(self.values, size, style.interpolation)  # [H, W]
        return colored_image(enlarged, self.low, self.high, packed)
