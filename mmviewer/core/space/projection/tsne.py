"""t-distributed stochastic neighbour embedding (van der Maaten and Hinton 2008), by openTSNE."""

from __future__ import annotations

import numpy as np

from mmviewer.core.progress import Progress
from mmviewer.core.space.principal import principal_plane, reduced
from mmviewer.core.space.projection.base import PROJECTIONS, Projector
from mmviewer.core.types import FloatArray

_PERPLEXITY = 30.0
_EARLY, _LATE = 250, 500  # iterations with exaggerated attraction, and without
_EVERY = 10  # iterations between looks at a cancel
_WIDTH = 50
_START = 1e-4  # spread of the start, as the library asks


class TSNE(Projector):
    """Keeps the nearest neighbours together; a nonlinear picture."""

    key = "tsne"
    label = "t-SNE"
    explanation = (
        "Items that are nearest in the full space stay nearest; the size of groups and the distance between"
        " them mean nothing."
    )
    minimum = 4

    def place(self, vectors: FloatArray, progress: Progress, seed: int) -> tuple[FloatArray, str]:
        """Place vectors, starting from the PCA picture."""
        import openTSNE

        progress.report(0, None, "Finding neighbours for t-SNE")
        perplexity = min(_PERPLEXITY, (len(vectors) - 1) / 3)
        model = openTSNE.TSNE(
            perplexity=perplexity,
            initialization=_start(vectors, seed),
            early_exaggeration_iter=_EARLY,
            n_iter=_LATE,
            random_state=seed,
            n_jobs=1,  # sums in another order would make another picture
            callbacks=[_Iterations(progress)],
            callbacks_every_iters=_EVERY,
        )
        placed = model.fit(reduced(vectors, _WIDTH))
        details = f"perplexity {perplexity:.3g}, {_EARLY} + {_LATE} iterations, seed {seed}"
        return np.array(placed, np.float32), details


def _start(vectors: FloatArray, seed: int) -> FloatArray:
    """The PCA picture, tiny; items that lie on one another are parted."""
    start, _ = principal_plane(vectors)
    noise = np.random.default_rng(seed).normal(scale=0.01, size=start.shape)
    return np.asarray(_START * (start / max(float(start[:, 0].std()), 1e-12) + noise), np.float32)


class _Iterations:
    """What the library calls every few iterations: passes them on and stops it on a cancel."""

    def __init__(self, progress: Progress) -> None:
        self._progress = progress
        self._done = 0

    def __call__(self, iteration: int, error: float, embedding: FloatArray) -> bool:
        self._done += _EVERY
        self._progress.report(min(self._done, _EARLY + _LATE), _EARLY + _LATE, "t-SNE iterations")
        return False


PROJECTIONS.add(TSNE.key)(TSNE())
