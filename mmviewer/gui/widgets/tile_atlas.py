"""Small maps over one picture, coloured and enlarged together so that a grid of them paints at once."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from PySide6.QtCore import QPointF, QRectF, Qt
from PySide6.QtGui import QColor, QImage, QPainter, QPen, QPixmap, QPolygonF

from mmviewer.gui.widgets.painting import FloatArray, MapStyle, colored_image, hatch, packed_colors
from mmviewer.gui.widgets.picture import Picture

EnlargeAll = Callable[[FloatArray, tuple[int, int], str], FloatArray]
"""Interpolates maps [N, R, C] to [N, H, W] over the same box, by a name such as "bilinear"."""

_MOST_PIXELS = 24_000_000
"""Of all maps together; beyond, they are painted smaller and stretched."""


class TileAtlas:
    """The maps of a grid at the size of its tiles, made when they are first painted at that size.

    Parameters
    ----------
    values : float32 array [N, R, C] or [N, P]
        Each on its own scale.
    box : tuple of float
        Top, left, bottom, right of the whole grid of patches in pixels of the original.
    signed : bool
        Whether 0 is the middle of each scale.
    """

    def __init__(
        self,
        values: FloatArray,
        box: tuple[float, float, float, float],
        picture: Picture | None,
        style: MapStyle,
        enlarge: EnlargeAll | None,
        *,
        signed: bool = False,
    ) -> None:
        self._values, self._box, self._picture = values, box, picture
        self._style, self._enlarge = style, enlarge
        self._signed = signed
        self._size = (0, 0)
        self._atlas: QImage | None = None
        self._ground = QPixmap()
        self._rows = 0

    def paint(self, painter: QPainter, place: int, rect: QRectF, ratio: float, ink: QColor) -> None:
        """Draw the map at `place` into `rect`, with `ratio` device pixels for each of the view."""
        if self._values.ndim == 2:
            _paint_curve(painter, self._values[place], rect, ink)
            return
        if self._picture is None or self._enlarge is None:
            return
        size = (max(1, round(rect.width() * ratio)), max(1, round(rect.height() * ratio)))
        if size != self._size:
            self._make(size, ratio)
        painter.drawPixmap(rect.topLeft(), self._ground)
        box = self._box_in(rect)
        if self._atlas is not None:
            source = QRectF(0, place * self._rows, self._atlas.width(), self._rows)
            painter.drawImage(box, self._atlas, source)
        if not box.adjusted(-1, -1, 1, 1).contains(rect):
            hatch(painter, rect, (box,))

    def _make(self, size: tuple[int, int], ratio: float) -> None:
        """Enlarge and colour all maps, and scale the dimmed picture, for tiles of `size` device pixels."""
        self._size = size
        assert self._picture is not None
        assert self._enlarge is not None
        self._ground = QPixmap(*size)
        self._ground.fill(Qt.GlobalColor.transparent)
        with QPainter(self._ground) as painter:
            self._picture.draw(painter, QRectF(0, 0, *size), 1.0, 1.0)
        self._ground.setDevicePixelRatio(ratio)
        box = self._box_in(QRectF(0, 0, *size))
        count, rows, columns = self._values.shape
        height, width = max(rows, round(box.height())), max(columns, round(box.width()))
        shrink = min(1.0, (_MOST_PIXELS / max(1, count * height * width)) ** 0.5)
        height, width = max(1, round(height * shrink)), max(1, round(width * shrink))
        enlarged = self._enlarge(
            _scaled(self._values, self._signed), (height, width), self._style.interpolation
        )
        flat = np.ascontiguousarray(enlarged.reshape(count * height, width))
        self._rows = height
        self._atlas = colored_image(flat, 0.0, 1.0, packed_colors(self._style.colors)) if count else None

    def _box_in(self, rect: QRectF) -> QRectF:
        """Where the grid of patches lies in a tile."""
        assert self._picture is not None
        top, left, bottom, right = self._box
        source = self._picture.rect
        fx, fy = rect.width() / source.width(), rect.height() / source.height()
        return QRectF(
            rect.left() + left * fx, rect.top() + top * fy, (right - left) * fx, (bottom - top) * fy
        )


def _scaled(values: FloatArray, signed: bool) -> FloatArray:
    """Each map [R, C] of [N, R, C] from 0 at its lowest value to 1 at its highest; an even one is all 0."""
    finite = np.isfinite(values)
    known = values if finite.all() else np.where(finite, values, np.float32(0))
    low, high = known.min(axis=(1, 2), keepdims=True), known.max(axis=(1, 2), keepdims=True)
    if signed:
        high = np.maximum(np.abs(low), np.abs(high))
        low = -high
    span = high - low
    scaled: FloatArray = np.divide(values - low, span, out=np.zeros_like(values), where=span > 0)
    return scaled


def _paint_curve(painter: QPainter, values: FloatArray, rect: QRectF, ink: QColor) -> None:
    known = np.nan_to_num(values, posinf=0.0, neginf=0.0)
    peak = float(np.abs(known).max(initial=0.0))
    if peak <= 0:
        return
    x = np.linspace(rect.left(), rect.right(), len(values))
    y = rect.bottom() - 2 - known / peak * (rect.height() - 4)
    points = [QPointF(*point) for point in zip(x.tolist(), y.tolist(), strict=True)]
    painter.setPen(QPen(ink, 1.2))
    painter.drawPolyline(QPolygonF(points))
