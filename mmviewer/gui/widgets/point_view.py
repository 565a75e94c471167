"""Which part of the plane is looked at: pan, zoom, fit. The scale is the same on both axes, always."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from PySide6.QtCore import QPointF, QRectF

from mmviewer.gui.widgets.point_raster import Window

_MARGIN = 36.0
"""Pixels around all points, so that pictures and names at the border are not cut."""
_CLOSEST = 1e5
"""How many times closer than all points one can come."""


@dataclass(frozen=True, slots=True)
class PlaneView:
    """The middle of the view in the units of the points, pixels to a unit, and the size in pixels."""

    x: float = 0.0
    y: float = 0.0
    scale: float = 1.0
    width: float = 100.0
    height: float = 100.0

    def to_pixels(self, x: float, y: float) -> QPointF:
        """Where a place of the plane lies in the widget."""
        return QPointF(
            self.width / 2 + (x - self.x) * self.scale, self.height / 2 - (y - self.y) * self.scale
        )

    def to_plane(self, position: QPointF) -> tuple[float, float]:
        """The place of the plane under a position of the widget."""
        return (
            self.x + (position.x() - self.width / 2) / self.scale,
            self.y - (position.y() - self.height / 2) / self.scale,
        )

    def pixels(self, xy: np.ndarray) -> np.ndarray:
        """Where points [n, 2] lie in the widget, float64 [n, 2]."""
        middle = np.array([self.width / 2, self.height / 2])
        offset = (xy.astype(np.float64) - (self.x, self.y)) * (self.scale, -self.scale)
        return np.asarray(middle + offset)

    def moved(self, pixels: QPointF) -> PlaneView:
        """The view after the plane was dragged."""
        return replace(self, x=self.x - pixels.x() / self.scale, y=self.y + pixels.y() / self.scale)

    def zoomed(self, factor: float, about: QPointF, fitted: float) -> PlaneView:
        """Closer by `factor`, the place under `about` staying where it is; `fitted` is the scale of all."""
        scale = float(np.clip(self.scale * factor, fitted / 8, fitted * _CLOSEST))
        x, y = self.to_plane(about)
        return replace(
            self,
            scale=scale,
            x=x - (about.x() - self.width / 2) / scale,
            y=y + (about.y() - self.height / 2) / scale,
        )

    def resized(self, width: float, height: float) -> PlaneView:
        """The same middle and scale in a widget of another size."""
        return replace(self, width=max(1.0, width), height=max(1.0, height))

    def around(self, left: float, bottom: float, right: float, top: float) -> PlaneView:
        """The view that shows a rectangle of the plane with a margin."""
        return replace(
            self,
            x=(left + right) / 2,
            y=(bottom + top) / 2,
            scale=self.fitting_scale(right - left, top - bottom),
        )

    def fitting_scale(self, width: float, height: float) -> float:
        """Pixels to a unit at which a rectangle of the plane fills the widget."""
        least = max(width, height, 1e-9) * 1e-6
        room = max(20.0, self.width - 2 * _MARGIN), max(20.0, self.height - 2 * _MARGIN)
        return min(room[0] / max(width, least), room[1] / max(height, least))

    def window(self, ratio: float, beyond: float = 0.0) -> Window:
        """What is to be painted, `beyond` the edges by this share of the size."""
        wide, high = round(self.width * (1 + 2 * beyond)), round(self.height * (1 + 2 * beyond))
        left = self.x - wide / 2 / self.scale
        return Window(left, self.y + high / 2 / self.scale, self.scale, wide, high, ratio)

    def place_of(self, window: Window) -> QRectF:
        """Where a painted window of the same scale lies in the widget."""
        corner = self.to_pixels(window.left, window.top)
        return QRectF(corner.x(), corner.y(), window.width, window.height)
