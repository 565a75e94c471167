"""Principal component analysis (Pearson 1901, Hotelling 1933)."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from mmviewer.core.progress import Progress
from mmviewer.core.space.projection.base import PROJECTIONS, Projector
from mmviewer.core.types import FloatArray

_Array = NDArray[np.float64]


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
        centred = vectors.astype(np.float64) - vectors.mean(axis=0, dtype=np.float64)  # [N, D]
        axes, variances = principal_axes(centred)  # [R, D], [R]
        coordinates = np.zeros((len(vectors), 2))
        shown = min(2, len(axes))
        coordinates[:, :shown] = centred @ axes[:shown].T
        return coordinates.astype(np.float32), _explained(variances, len(vectors))


def principal_axes(centred: _Array) -> tuple[_Array, _Array]:
    """Return unit axes [R, D], by falling variance, and the variances [R] of centred data [N, D].

    The sign of an axis is chosen so that its largest component is positive: equal data, equal picture.
    """
    count, width = centred.shape
    if count > width:
        variances, columns = np.linalg.eigh(centred.T @ centred / max(count - 1, 1))
        axes, variances = columns.T[::-1], np.maximum(variances[::-1], 0.0)
    else:
        _, singular, axes = np.linalg.svd(centred, full_matrices=False)
        variances = singular**2 / max(count - 1, 1)
    largest = np.take_along_axis(axes, np.abs(axes).argmax(axis=1)[:, None], axis=1)
    return axes * np.where(largest < 0, -1.0, 1.0), variances


def _explained(variances: _Array, count: int) -> str:
    if count == 1:
        return "a single item: add more to compare"
    total = float(variances.sum())
    if total == 0:
        return "all items have the same embedding"
    first, second = (float(share) for share in np.append(variances, 0.0)[:2] / total)
    return f"shows {first + second:.0%} of the variance: {first:.0%} across, {second:.0%} up"


PROJECTIONS.add(PCA.key)(PCA())
