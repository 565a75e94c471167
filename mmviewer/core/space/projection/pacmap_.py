"""Pairwise controlled manifold approximation (Wang, Huang, Rudin and Shaposhnik 2021), by pacmap."""

from __future__ import annotations

import logging

import numpy as np

from mmviewer.core.progress import Progress
from mmviewer.core.space.one_library import alone
from mmviewer.core.space.projection.base import PROJECTIONS, Projector
from mmviewer.core.types import FloatArray

_NEIGHBOURS = 10
_ITERATIONS = (100, 100, 250)
_APART = 1e-5  # noise on each number: equal items would have no neighbours but themselves


class PaCMAP(Projector):
    """Keeps neighbours together and far groups apart; a nonlinear picture."""

    key = "pacmap"
    label = "PaCMAP"
    explanation = (
        "Items that are neighbours in the full space stay neighbours, and the layout of groups is kept better"
        " than by t-SNE; distances between groups are only a hint."
    )
    minimum = 8  # the library draws six others for each item

    def place(self, vectors: FloatArray, progress: Progress, seed: int) -> tuple[FloatArray, str]:
        """Place vectors, starting from the PCA picture."""
        progress.report(0, None, "Preparing PaCMAP, which takes some seconds the first time")
        with alone(progress):
            import numba
            import pacmap  # takes seconds: numba compiles

            numba.set_num_threads(1)  # of this thread; sums in another order would make another picture
            logging.getLogger("pacmap.pacmap").setLevel(logging.ERROR)  # it warns of each seed
            progress.check()
            noise = np.random.default_rng(seed).normal(scale=_APART, size=vectors.shape)
            model = pacmap.PaCMAP(
                n_neighbors=_NEIGHBOURS,
                num_iters=_ITERATIONS,
                random_state=seed,
                verbose=_Iterations(progress),
            )
            placed = model.fit_transform((vectors + noise).astype(np.float32), init="pca")
        details = f"{model.n_neighbors} neighbours, {sum(_ITERATIONS)} iterations, seed {seed}"
        return np.asarray(placed, np.float32), details


class _Iterations:
    """What the library takes for its switch of messages, and asks in each iteration whether it is on.

    It never is: being asked is the only place at which the library can be watched and stopped.
    """

    def __init__(self, progress: Progress) -> None:
        self._progress = progress
        self._asked = 0

    def __bool__(self) -> bool:
        total = sum(_ITERATIONS)
        self._progress.report(min(self._asked, total), total, "PaCMAP iterations")
        self._asked += 1
        return False


PROJECTIONS.add(PaCMAP.key)(PaCMAP())
