"""A million points as pixels, by NumPy: shapes while they are few, a density where they crowd.

A pixel takes the colour of the point that is painted last there, and its opacity from the number of points.
Points are painted in an order that is random but for what must come on top, so that in a crowd each colour
shows as often as it is there.
"""

from __future__ import annotations

import math
from collections.abc import Generator, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mmviewer.gui.widgets.point_index import Coordinates, PointIndex

ByteArray = NDArray[np.uint8]
Words = NDArray[np.uint32]

LEVELS = 32
"""Steps of opacity."""
_FAINTEST = 0.4
"""Opacity of a lonely point in a density."""
_SIZES = ((600, 11), (4_000, 9), (12_000, 7), (40_000, 5))
"""Up to so many points in view they are painted so large, in pixels of the screen."""
_COARSE_UP_TO = 250_000
"""Up to so many points a cell of the density is two pixels wide; with more, one."""
_MOST_CELLS = 1_600_000
_ALL_FROM = 0.15
"""From this share of the points in view on, going through all is faster than picking them out."""
_DISC, _SQUARE, _TRIANGLE, _DIAMOND = range(4)
SHAPES = {0: _DISC, 1: _SQUARE, 2: _TRIANGLE}
"""Shape of a kind: images are discs, sounds squares, texts triangles, the others diamonds."""


@dataclass(frozen=True, slots=True)
class Window:
    """What is looked at: the corner at the upper left, points a unit, and the size in pixels."""

    left: float
    top: float
    scale: float
    width: int
    height: int
    ratio: float = 1.0
    """Pixels of the screen to one of the widget."""

    @property
    def rect(self) -> tuple[float, float, float, float]:
        """Left, bottom, right, top in the units of the points."""
        return (
            self.left,
            self.top - self.height / self.scale,
            self.left + self.width / self.scale,
            self.top,
        )


class PointRaster:
    """Paints points into arrays of pixels.

    Parameters
    ----------
    xy : float32 array [N, 2]
    kinds : uint8 array [N]
    index : PointIndex
        Of the same points.
    """

    def __init__(self, xy: Coordinates, kinds: ByteArray, index: PointIndex) -> None:
        for _ in self._build(xy, kinds, index):
            pass

    @classmethod
    def steps(
        cls, xy: Coordinates, kinds: ByteArray, index: PointIndex
    ) -> Generator[None, None, PointRaster]:
        """Make a raster in steps of a few milliseconds, for who must not be kept waiting."""
        raster = cls.__new__(cls)
        yield from raster._build(xy, kinds, index)
        return raster

    def _build(self, xy: Coordinates, kinds: ByteArray, index: PointIndex) -> Iterator[None]:
        self._index = index
        self.in_view = 0
        self._table: Words = np.zeros((LEVELS, 1), np.uint32)
        # everything below lies in the scattered order, so that later work reads memory in one direction
        self._scatter = _scattered(len(xy))
        yield
        self._place = np.empty(len(xy), np.int32)
        self._place[self._scatter] = np.arange(len(xy), dtype=np.int32)
        yield
        self._all_x = xy[:, 0][self._scatter]
        yield
        self._all_y = xy[:, 1][self._scatter]
        yield
        self._finite = np.isfinite(self._all_x) & np.isfinite(self._all_y)
        self._all_kinds = kinds[self._scatter]
        yield
        self.set_order(np.ones(len(xy), np.bool_))

    def set_order(self, shown: NDArray[np.bool_], layer: ByteArray | None = None) -> None:
        """Paint the points that are `shown` [N], those of a higher `layer` [N] over the others."""
        visible = shown[self._scatter] & self._finite
        layers = None if layer is None else layer[self._scatter]
        levels = [0] if layers is None else np.flatnonzero(np.bincount(layers)).tolist() or [0]
        self._parts = [visible if layers is None else visible & (layers == level) for level in levels]
        self._as_scattered = len(self._parts) == 1 and bool(self._parts[0].all())
        self._x, self._y = self._painted(self._all_x), self._painted(self._all_y)
        self._kinds = self._painted(self._all_kinds)
        if self._as_scattered:
            self._rank = np.arange(len(visible), dtype=np.int32)
            return
        self._rank = np.full(len(visible), -1, np.int32)  # by place in the scattered order
        start = 0
        for part in self._parts:
            stop = start + int(part.sum())
            self._rank[part] = np.arange(start, stop, dtype=np.int32)
            start = stop

    def set_ink(self, ink: NDArray[np.uint16], colours: ByteArray) -> None:
        """Colour each point by its row of `colours` [K, 4] (red, green, blue, opacity); `ink` is [N]."""
        self._ink = self._painted(ink[self._scatter])
        opacity = np.linspace(0, 1, LEVELS)[:, None] * colours[:, 3].astype(np.float64) / 255  # [levels, K]
        red, green, blue = (np.rint(colours[:, channel] * opacity).astype(np.uint32) for channel in range(3))
        alpha = np.rint(opacity * 255).astype(np.uint32)
        byte = np.uint32(8)
        self._table = ((alpha << byte | red) << byte | green) << byte | blue

    @property
    def count(self) -> int:
        """How many points are shown."""
        return len(self._x)

    def rank(self, rows: NDArray[np.int64]) -> NDArray[np.int32]:
        """Place of points in the order of painting; -1 for those that are not shown."""
        return self._rank[self._place[rows]]

    def _painted(self, scattered: NDArray[Any]) -> NDArray[Any]:
        """Values in the order of painting."""
        if self._as_scattered:
            return scattered
        if len(self._parts) == 1:
            return scattered[self._parts[0]]
        return np.concatenate([scattered[part] for part in self._parts])

    def rows_in(self, window: Window) -> NDArray[np.int64]:
        """Rows of the points that are shown in a window, the one painted last first."""
        rows = self._index.rows_in(*window.rect)
        rank = self.rank(rows)
        return rows[np.argsort(-rank, kind="stable")][: int((rank >= 0).sum())]

    def paint(self, window: Window) -> Words:
        """Pixels [H, W] as premultiplied ARGB; a cell may be several pixels of the screen wide."""
        about = self._index.about(*window.rect)
        part: NDArray[np.integer] | None = None
        if about < _ALL_FROM * max(1, self._index.count):
            rank = self.rank(self._index.rows_in(*window.rect))
            part = np.sort(rank[rank >= 0])
            self.in_view = len(part)
        if part is not None and len(part) <= _SIZES[-1][0]:
            return self._paint_shapes(window, part)
        if part is None and self.count <= _SIZES[-1][0]:
            return self._paint_shapes(window, np.arange(self.count))
        return self._paint_density(window, part)

    # --- few points -----------------------------------------------------------------------------------
    def _paint_shapes(self, window: Window, part: NDArray[np.integer]) -> Words:
        width, height = (
            max(1, round(window.width * window.ratio)),
            max(1, round(window.height * window.ratio)),
        )
        x, y, inside = _cells(
            self._x[part], self._y[part], window, window.scale * window.ratio, (height, width), margin=_REACH
        )
        part, x, y = part[inside], x[inside], y[inside]
        self.in_view = len(part)
        size = next((size for count, size in _SIZES if len(part) <= count), _SIZES[-1][1])
        stamps = _stamps(max(3, round(size * window.ratio)))  # [shapes, H, W]
        reach = stamps.shape[1] // 2
        ink = np.zeros((height + 2 * _BORDER, width + 2 * _BORDER), np.uint16)
        level = np.zeros(ink.shape, np.uint8)
        shape = _SHAPE_OF[self._kinds[part]]
        offset = _BORDER - _REACH - reach
        corner = (y + np.int32(offset)) * np.int32(ink.shape[1]) + (x + np.int32(offset))
        down, across = np.indices(stamps.shape[1:]).reshape(2, -1).astype(np.int32)
        offsets = down * np.int32(ink.shape[1]) + across
        covers = stamps.reshape(len(stamps), -1)
        only = np.unique(shape)
        if len(only) == 1:  # no pixel of the square around the shape needs to be looked at twice
            touched = covers[only[0]] > 0
            flat = (corner[:, None] + offsets[touched]).ravel()
            times, cover = int(touched.sum()), np.tile(covers[only[0]][touched], len(part))
        else:
            mask = covers[shape] > 0
            flat = (corner[:, None] + offsets)[mask]
            times, cover = mask.sum(axis=1), covers[shape][mask]
        ink.ravel()[flat] = np.repeat(self._ink[part], times)  # point by point: the last painted wins
        level.ravel()[flat] = cover
        inner = (slice(_BORDER, _BORDER + height), slice(_BORDER, _BORDER + width))
        return self._table[level[inner], ink[inner]]

    # --- many points ----------------------------------------------------------------------------------
    def _paint_density(self, window: Window, part: NDArray[np.integer] | None) -> Words:
        count = self.count if part is None else len(part)
        cell = max(1, round(window.ratio)) * (2 if count <= _COARSE_UP_TO else 1)
        pixels = window.width * window.height * window.ratio**2
        while pixels / cell**2 > _MOST_CELLS:
            cell += 1
        shape = (
            max(1, int(np.ceil(window.height * window.ratio / cell))),
            max(1, int(np.ceil(window.width * window.ratio / cell))),
        )
        x, y = (self._x, self._y) if part is None else (self._x[part], self._y[part])
        column, line, inside = _cells(x, y, window, window.scale * window.ratio / cell, shape)
        drawn = self._ink if part is None else self._ink[part]
        flat = line * np.int32(shape[1]) + column
        if not inside.all():
            flat, drawn = flat[inside], drawn[inside]
        self.in_view = len(flat)
        counts = np.bincount(flat, minlength=shape[0] * shape[1])
        ink = np.zeros(len(counts), np.uint16)
        ink[flat] = drawn  # the last painted wins
        most = int(counts.max(initial=1))
        curve = _FAINTEST + (1 - _FAINTEST) * np.log(np.maximum(np.arange(most + 1), 1)) / max(
            np.log(most), 1e-9
        )
        steps = np.rint(curve * (LEVELS - 1)).astype(np.int32) * np.int32(self._table.shape[1])
        steps[0] = 0
        words: Words = self._table.ravel().take(steps.take(counts) + ink)
        return words.reshape(shape)


_REACH = 16
"""Pixels beyond the edge of the picture from which the middle of a shape still counts."""
_BORDER = 48
"""Pixels around the picture into which such shapes may reach."""
_SHAPE_OF = np.full(256, _DIAMOND, np.intp)
for _kind, _shape in SHAPES.items():
    _SHAPE_OF[_kind] = _shape


def _scattered(count: int) -> NDArray[np.int32]:
    """All numbers below `count`, neighbours far apart: quicker than shuffling, and as good to the eye."""
    if count == 0:
        return np.zeros(0, np.int32)
    step = max(1, round(count * 0.6180339887))
    while math.gcd(step, count) != 1:
        step += 1
    return (np.arange(count, dtype=np.int64) * step % count).astype(np.int32)


def _cells(
    x: NDArray[np.float32],
    y: NDArray[np.float32],
    window: Window,
    scale: float,
    shape: tuple[int, int],
    margin: int = 0,
) -> tuple[NDArray[np.int32], NDArray[np.int32], NDArray[np.bool_]]:
    """Column and line of points in a picture with a margin, counted from its corner; which lie in it."""
    step, left, top = np.float32(scale), np.float32(window.left), np.float32(window.top)
    with np.errstate(invalid="ignore", over="ignore"):  # far points leave the integers: they are outside
        column = _whole(x - left, step, margin)
        line = _whole(top - y, step, margin)
    wide, high = np.uint32(shape[1] + 2 * margin), np.uint32(shape[0] + 2 * margin)
    inside = column.view(np.uint32) < wide  # a negative number is a very large one there
    inside &= line.view(np.uint32) < high
    return column, line, inside


def _whole(offset: NDArray[np.float32], scale: np.float32, margin: int) -> NDArray[np.int32]:
    """Cells from a border to points; one is added while the fraction is cut off, so that -0.5 is outside."""
    offset *= scale
    offset += np.float32(margin + 1)
    cells = offset.astype(np.int32)
    cells -= np.int32(1)
    return cells


def _stamps(size: int) -> ByteArray:
    """How much of each pixel a shape of `size` covers, in `LEVELS`: [shapes, size + 2, size + 2]."""
    size = min(size, 2 * (_BORDER - _REACH) - 4)
    known = _KNOWN_STAMPS.get(size)
    if known is None:
        fine = 8  # samples along a side of a pixel
        side = size + 2 + (size + 1) % 2
        at = (np.arange(side * fine) + 0.5) / fine - side / 2
        across, down = np.meshgrid(at, at)
        half = size / 2
        within = np.stack(
            [
                np.hypot(across, down) <= half,
                np.maximum(np.abs(across), np.abs(down)) <= half * 0.86,
                (down <= half * 0.8) & (np.abs(across) * 1.8 <= down + half),
                np.abs(across) + np.abs(down) <= half * 1.1,
            ]
        )
        covered = within.reshape(len(within), side, fine, side, fine).mean(axis=(2, 4))
        known = _KNOWN_STAMPS[size] = np.rint(covered * (LEVELS - 1)).astype(np.uint8)
    return known


_KNOWN_STAMPS: dict[int, ByteArray] = {}
