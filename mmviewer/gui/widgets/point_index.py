"""Points of the plane sorted into a grid: which lie in a rectangle, which is nearest, at any number."""

from __future__ import annotations

from collections.abc import Generator, Iterator

import numpy as np
from numpy.typing import NDArray

Rows = NDArray[np.int64]
Coordinates = NDArray[np.float32]

_PER_CELL = 8
"""Points that a cell holds on average; small cells cost memory, large ones time."""
_MOST_CELLS = 512
"""Cells along one side at most."""
_PIECE = 100_000
"""Points sorted in one step."""


class PointIndex:
    """A grid over the points that have a place.

    Parameters
    ----------
    xy : float32 array [N, 2]
        A point with a coordinate that is not finite is nowhere.
    """

    def __init__(self, xy: Coordinates) -> None:
        for _ in self._build(xy):
            pass

    @classmethod
    def steps(cls, xy: Coordinates) -> Generator[None, None, PointIndex]:
        """Build an index in steps of a few milliseconds, for who must not be kept waiting."""
        index = cls.__new__(cls)
        yield from index._build(xy)
        return index

    def _build(self, xy: Coordinates) -> Iterator[None]:
        """Sort the points by cell: count first, then put each piece where its cells have room."""
        self._x, self._y = np.ascontiguousarray(xy[:, 0]), np.ascontiguousarray(xy[:, 1])
        yield
        placed = np.flatnonzero(np.isfinite(self._x) & np.isfinite(self._y)).astype(np.int32)
        yield
        self._low, self._high = _bounds(self._x[placed], self._y[placed])
        self._side = int(np.clip(np.sqrt(len(placed) / _PER_CELL), 1, _MOST_CELLS))
        self._size = np.maximum((self._high - self._low) / self._side, np.finfo(np.float32).tiny)
        counts = np.zeros(self._side * self._side + 1, np.int64)
        cells = []
        for start in range(0, len(placed), _PIECE):
            piece = placed[start : start + _PIECE]
            cells.append(self._cells(self._x[piece], self._y[piece]))
            counts[1:] += np.bincount(cells[-1], minlength=len(counts) - 1)
            yield
        self._starts = np.cumsum(counts)
        self._rows = np.empty(len(placed), np.int32)
        room = self._starts[:-1].copy()
        for number, piece_cells in enumerate(cells):
            order = np.argsort(piece_cells, kind="stable")
            ordered = piece_cells[order]
            first = np.searchsorted(ordered, ordered)  # where the run of its cell begins
            self._rows[room[ordered] + np.arange(len(ordered)) - first] = placed[number * _PIECE + order]
            room += np.bincount(ordered, minlength=len(room))
            yield

    @property
    def bounds(self) -> tuple[float, float, float, float]:
        """Left, bottom, right, top of all points that have a place; a unit square where there are none."""
        return (*map(float, self._low), *map(float, self._high))  # type: ignore[return-value]

    @property
    def count(self) -> int:
        """How many points have a place."""
        return len(self._rows)

    def rows_in(self, left: float, bottom: float, right: float, top: float) -> Rows:
        """Rows of the points in a rectangle, in no particular order."""
        found = self._candidates(left, bottom, right, top)
        x, y = self._x[found], self._y[found]
        return found[(x >= left) & (x <= right) & (y >= bottom) & (y <= top)].astype(np.int64)

    def nearest(
        self, x: float, y: float, reach: tuple[float, float], hidden: NDArray[np.bool_] | None = None
    ) -> int | None:
        """The point nearest to a place, None where none is within `reach` (in x, in y).

        Distances are measured in units of the reach, so that axes of different scale count alike.
        """
        found = self.rows_in(x - reach[0], y - reach[1], x + reach[0], y + reach[1])
        if hidden is not None:
            found = found[~hidden[found]]
        if not len(found):
            return None
        distance = np.hypot((self._x[found] - x) / reach[0], (self._y[found] - y) / reach[1])
        best = int(distance.argmin())
        return int(found[best]) if distance[best] <= 1 else None

    def about(self, left: float, bottom: float, right: float, top: float) -> int:
        """At most how many points lie in a rectangle: quick, counts whole cells."""
        spans = self._spans(left, bottom, right, top)
        return int((spans[:, 1] - spans[:, 0]).sum())

    def _candidates(self, left: float, bottom: float, right: float, top: float) -> NDArray[np.int32]:
        spans = self._spans(left, bottom, right, top)
        if not len(spans):
            return np.zeros(0, np.int32)
        return np.concatenate([self._rows[start:stop] for start, stop in spans])

    def _spans(self, left: float, bottom: float, right: float, top: float) -> NDArray[np.int64]:
        """Where rows of the touched cells lie: one span for each line of cells, [lines, 2]."""
        if right < self._low[0] or left > self._high[0] or top < self._low[1] or bottom > self._high[1]:
            return np.zeros((0, 2), np.int64)
        last = self._side - 1
        first_column, first_line = np.clip((np.array([left, bottom]) - self._low) / self._size, 0, last)
        last_column, last_line = np.clip((np.array([right, top]) - self._low) / self._size, 0, last)
        lines = np.arange(int(first_line), int(last_line) + 1) * self._side
        return np.stack(
            [self._starts[lines + int(first_column)], self._starts[lines + int(last_column) + 1]], axis=1
        )

    def _cells(self, x: NDArray[np.float32], y: NDArray[np.float32]) -> NDArray[np.int32]:
        last = self._side - 1
        column = np.clip((x - self._low[0]) / self._size[0], 0, last).astype(np.int32)
        line = np.clip((y - self._low[1]) / self._size[1], 0, last).astype(np.int32)
        cells: NDArray[np.int32] = line * np.int32(self._side) + column
        return cells


def _bounds(
    x: NDArray[np.float32], y: NDArray[np.float32]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    if not len(x):
        return np.zeros(2), np.ones(2)
    return np.array([x.min(), y.min()], np.float64), np.array([x.max(), y.max()], np.float64)
