"""Uniform manifold approximation and projection (McInnes, Healy and Melville 2018), by umap-learn."""

from __future__ import annotations

import warnings
from threading import Lock
from typing import Any

import numpy as np

from mmviewer.core.progress import Progress
from mmviewer.core.space.principal import principal_plane
from mmviewer.core.space.projection.base import PROJECTIONS, Projector
from mmviewer.core.types import FloatArray

_NEIGHBOURS = 15
_MIN_DISTANCE = 0.1
_WAIT = 0.1  # seconds between looks at a cancel while another run has the library
_LIBRARY = Lock()  # numba's simplest threading layer aborts the process when two threads enter it at once


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
        while not _LIBRARY.acquire(timeout=_WAIT):
            progress.check()
        try:
            coordinates = _fit(vectors, neighbours, progress, seed)
        finally:
            _LIBRARY.release()
        details = f"{neighbours} neighbours, minimum distance {_MIN_DISTANCE}, cosine distance, seed {seed}"
        return coordinates, details


def _fit(vectors: FloatArray, neighbours: int, progress: Progress, seed: int) -> FloatArray:
    import umap  # takes seconds: numba compiles

    progress.check()
    start, _ = principal_plane(vectors)
    model = umap.UMAP(
        n_neighbors=neighbours,
        min_dist=_MIN_DISTANCE,
        metric="cosine",
        init=_spread(start, seed),
        random_state=seed,
        n_jobs=1,  # what a fixed seed means to the library; saying so spares its warning
        verbose=False,
        tqdm_kwds={"file": _Epochs(progress), "disable": False, "bar_format": "{n} {total}", "leave": False},
    )
    warnings.filterwarnings("ignore", module="umap")  # remarks on sparse graphs, which few items always give
    placed: FloatArray = np.asarray(model.fit_transform(vectors), dtype=np.float32)
    return placed


def _spread(start: FloatArray, seed: int) -> FloatArray:
    """Scale the start to what the library expects and part items that lie on one another."""
    noise = np.random.default_rng(seed).normal(scale=1e-4, size=start.shape)
    return (start / max(float(np.abs(start).max()), 1e-12) * 10 + noise).astype(np.float32)


class _Epochs:
    """The file that the library's progress bar writes to: passes epochs on and stops it on a cancel."""

    def __init__(self, progress: Progress) -> None:
        self._progress = progress

    def write(self, text: str) -> None:
        words: list[Any] = text.split()
        if len(words) == 2 and all(word.isdigit() for word in words):
            self._progress.report(int(words[0]), int(words[1]), "UMAP epochs")
        self._progress.check()

    def flush(self) -> None:
        self._progress.check()


PROJECTIONS.add(UMAP.key)(UMAP())
