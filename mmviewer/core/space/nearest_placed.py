"""New items on a map that is there: where their nearest lie. Imports faiss when it is used."""

from __future__ import annotations

from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mmviewer.core.progress import SILENT, Progress
from mmviewer.core.space.principal import principal_axes
from mmviewer.core.space.projection.base import Placer
from mmviewer.core.types import FloatArray

_NEAREST = 5
_WIDTH = 64  # directions in which nearest items of the map are looked for
_NEAR = 0.02  # of the map's extent: places so far from that of the nearest item count half
_LISTED = 4096  # items of a map above which they are searched by lists
_LISTS_READ = 8


class NearestPlaced(Placer):
    """Places new vectors at the mean of their five nearest on the map, the nearer the more.

    Two neighbours that lie far apart on the map would draw a point into the empty middle between them, so
    places far from that of the nearest count for less. It needs the vectors and places of items and no fitted
    model: the same rule serves maps of every method, kept on the disk or made elsewhere.
    """

    rule = "where their nearest are"

    def __init__(self, vectors: FloatArray, coordinates: FloatArray, details: str) -> None:
        super().__init__(coordinates, details)
        self._vectors = vectors
        extent = float(np.ptp(coordinates, axis=0).max())
        self._near = max(_NEAR * extent, 1e-12)

    def place_new(self, vectors: FloatArray, progress: Progress = SILENT) -> FloatArray:
        """Place vectors [n, D]: [n, 2]."""
        progress.check()
        squares, near = self._index.search(self._narrow(vectors), min(_NEAREST, len(self._vectors)))
        return self._mean_place(near, np.maximum(squares, 0))

    @cached_property
    def _frame(self) -> tuple[FloatArray, FloatArray]:
        """Mean [D] and at most 64 principal axes [R, D] of the items."""
        mean = self._vectors.mean(axis=0)
        axes, _ = principal_axes(self._vectors.astype(np.float64) - mean)
        return mean, axes[:_WIDTH].astype(np.float32)

    def _narrow(self, vectors: FloatArray) -> FloatArray:
        mean, axes = self._frame
        return np.ascontiguousarray((vectors - mean) @ axes.T, np.float32)

    @cached_property
    def _index(self) -> Any:
        import faiss

        narrow = self._narrow(self._vectors)
        width = narrow.shape[1]
        index: Any = faiss.IndexFlatL2(width)
        if len(narrow) > _LISTED:
            lists = int(2 * len(narrow) ** 0.5)
            index = faiss.IndexIVFFlat(index, width, lists, faiss.METRIC_L2)
            index.cp.min_points_per_centroid = 1
            index.train(narrow)
            index.nprobe = _LISTS_READ
        index.add(narrow)
        return index

    def _mean_place(self, near: NDArray[np.int64], squares: FloatArray) -> FloatArray:
        """Weighted mean of the places of found items, nearest first; -1 where fewer were found."""
        spots = self.coordinates[near].astype(np.float64)  # [n, K, 2]
        stray = np.linalg.norm(spots - spots[:, :1], axis=2) / self._near
        weights = np.where(near >= 0, 1 / (squares + 1e-6) / (1 + stray**2), 0)
        mean: FloatArray = (weights[..., None] * spots).sum(axis=1) / weights.sum(axis=1, keepdims=True)
        return mean.astype(np.float32)
