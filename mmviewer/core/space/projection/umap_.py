"""Uniform manifold approximation and projection (McInnes, Healy and Melville 2018), by umap-learn."""

from __future__ import annotations

import warnings
from contextlib import suppress
from typing import Any, Self

import numpy as np

from mmviewer.core.errors import Cancelled
from mmviewer.core.progress import Progress
from mmviewer.core.space.one_library import alone
from mmviewer.core.space.principal import principal_plane, reduced
from mmviewer.core.space.projection.base import PROJECTIONS, Projector
from mmviewer.core.types import FloatArray

_NEIGHBOURS = 15
_MIN_DISTANCE = 0.1
_MANY = 2_000  # items above which neighbours are looked for in fewer directions
_WIDTH = 64
_BETWEEN_REPORTS = 0.05  # seconds


class UMAP(Projector):
    """Keeps neighbours together; a nonlinear picture."""

    key = "umap"
    label = "UMAP"
    explanation = (
        "Items that are neighbours in the full space stay neighbours; the size of groups and the distance"
        " between them mean little."
    )
    minimum = 4

    def place(self, vectors: FloatArray, progress: Progress, seed: int) -> tuple[FloatArray, str]:
        """Place vectors, starting from the PCA picture."""
        progress.report(0, None, "Preparing UMAP, which takes some seconds the first time")
        neighbours = min(_NEIGHBOURS, len(vectors) - 1)
        many = len(vectors) > _MANY
        metric = "euclidean" if many else "cosine"
        with alone(progress):
            coordinates = _fit(
                reduced(vectors, _WIDTH) if many else vectors, neighbours, metric, progress, seed
            )
        details = f"{neighbours} neighbours, minimum distance {_MIN_DISTANCE}, {metric} distance, seed {seed}"
        return coordinates, details


def _fit(vectors: FloatArray, neighbours: int, metric: str, progress: Progress, seed: int) -> FloatArray:
    import umap  # takes seconds: numba compiles

    progress.check()
    start, _ = principal_plane(vectors)
    model = umap.UMAP(
        n_neighbors=neighbours,
        min_dist=_MIN_DISTANCE,
        metric=metric,
        init=_spread(start, seed),
        random_state=seed,
        n_jobs=1,  # what a fixed seed means to the library; saying so spares its warning
        verbose=False,
        tqdm_kwds={
            "file": _Epochs(progress),
            "disable": False,
            "bar_format": "{n} {total}",
            "leave": False,
            "miniters": 1,
            "mininterval": _Interval(progress),
        },
    )
    warnings.filterwarnings("ignore", module="umap")  # remarks on sparse graphs, which few items always give
    placed: FloatArray = np.asarray(model.fit_transform(vectors), dtype=np.float32)
    return placed


def _spread(start: FloatArray, seed: int) -> FloatArray:
    """Scale the start to what the library expects and part items that lie on one another."""
    noise = np.random.default_rng(seed).normal(scale=1e-4, size=start.shape)
    return (start / max(float(np.abs(start).max()), 1e-12) * 10 + noise).astype(np.float32)


class _Epochs:
    """The file that the library's progress bar writes to: passes epochs on.

    It raises nothing: the bar would keep the lock that all bars of the process share.
    """

    def __init__(self, progress: Progress) -> None:
        self._progress = progress

    def write(self, text: str) -> None:
        words: list[Any] = text.split()
        if len(words) == 2 and all(word.isdigit() for word in words):
            with suppress(Cancelled):
                self._progress.report(int(words[0]), int(words[1]), "UMAP epochs")

    def flush(self) -> None:
        """Nothing is held back."""


class _Interval(float):
    """Seconds between reports. The bar compares times with it after each epoch and can be stopped there."""

    def __new__(cls, progress: Progress) -> Self:
        interval = super().__new__(cls, _BETWEEN_REPORTS)
        interval._progress = progress
        return interval

    _progress: Progress

    def __le__(self, passed: float) -> bool:
        self._progress.check()
        return float(self) <= passed


PROJECTIONS.add(UMAP.key)(UMAP())
