"""Principal component analysis (Pearson 1901, Hotelling 1933)."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from mmviewer.core.progress import SILENT, Progress
from mmviewer.core.space.principal import principal_axes, principal_plane
from mmviewer.core.space.projection.base import PROJECTIONS, Placer, Projector
from mmviewer.core.types import FloatArray


class PCA(Projector):
    """The plane in which the items differ most; a linear picture, so distances shrink but never grow."""

    key = "pca"
    label = "PCA"
    explanation = (
        "The two directions in which the items differ most; far apart here is far apart in the full space,"
        " near may still differ in a direction that is not shown."
    )
    minimum = 1

    def place(self, vectors: FloatArray, progress: Progress, seed: int) -> tuple[FloatArray, str]:
        """Place vectors; nothing is random, `seed` is not used."""
        coordinates, variances = principal_plane(vectors)
        return coordinates, _explained(variances, len(vectors))

    def fit(self, vectors: FloatArray, progress: Progress, seed: int) -> Placer:
        """Place vectors; others fall where they cast their shadow on the same plane."""
        mean = vectors.mean(axis=0, dtype=np.float64)
        axes, variances = principal_axes(vectors - mean)
        return Shadow(mean, axes[:2], vectors, _explained(variances, len(vectors)))


class Shadow(Placer):
    """Places vectors in a plane through `mean` [D] along `axes` [at most 2, D]."""

    rule = "on the same plane"

    def __init__(
        self, mean: NDArray[np.float64], axes: NDArray[np.float64], vectors: FloatArray, details: str
    ) -> None:
        self._mean, self._axes = mean.astype(np.float32), axes.astype(np.float32)
        super().__init__(self.place_new(vectors), details)

    def place_new(self, vectors: FloatArray, progress: Progress = SILENT) -> FloatArray:
        """Place vectors [n, D]: [n, 2]; zero along an axis that the data does not have."""
        progress.check()
        places = np.zeros((len(vectors), 2), np.float32)
        places[:, : len(self._axes)] = (vectors - self._mean) @ self._axes.T
        return places


def _explained(variances: NDArray[np.float64], count: int) -> str:
    if count == 1:
        return "a single item: add more to compare"
    total = float(variances.sum())
    if total == 0:
        return "all items have the same embedding"
    first, second = (float(share) for share in np.append(variances, 0.0)[:2] / total)
    return f"shows {first + second:.0%} of the variance: {first:.0%} across, {second:.0%} up"


PROJECTIONS.add(PCA.key)(PCA())
