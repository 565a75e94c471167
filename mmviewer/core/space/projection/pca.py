"""Principal component analysis (Pearson 1901, Hotelling 1933)."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from mmviewer.core.progress import Progress
from mmviewer.core.space.principal import principal_plane
from mmviewer.core.space.projection.base import PROJECTIONS, Projector
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


def _explained(variances: NDArray[np.float64], count: int) -> str:
    if count == 1:
        return "a single item: add more to compare"
    total = float(variances.sum())
    if total == 0:
        return "all items have the same embedding"
    first, second = (float(share) for share in np.append(variances, 0.0)[:2] / total)
    return f"shows {first + second:.0%} of the variance: {first:.0%} across, {second:.0%} up"


PROJECTIONS.add(PCA.key)(PCA())
