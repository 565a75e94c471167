"""Nearest neighbours and the gap between modalities in the full space. NumPy only: the window uses it too."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from mmviewer.core.types import FloatArray, Modality


def nearest(vectors: FloatArray, index: int, count: int = 5) -> tuple[NDArray[np.intp], FloatArray]:
    """Find the items most similar to item `index`, itself left out.

    Parameters
    ----------
    vectors : float32 array [N, D]
        Unit vectors.
    index : int
        Row of the item.
    count : int
        How many at most.

    Returns
    -------
    indices : int array [K]
        Most similar first; of equals the earlier first.
    cosines : float32 array [K]
    """
    cosines = vectors @ vectors[index]  # [N]
    others = np.delete(np.arange(len(vectors)), index)
    order = np.argsort(-cosines[others], kind="stable")[: max(count, 0)]
    chosen = others[order]
    return chosen, cosines[chosen]


def modality_gap(
    vectors: FloatArray,
    modalities: Sequence[Modality],
    first: Modality = Modality.IMAGE,
    second: Modality = Modality.TEXT,
) -> float | None:
    """Distance between the centroids of two modalities (Liang et al. 2022); None if one has no item.

    `vectors` [N, D] are unit vectors, so the gap lies between 0 and 2.
    """
    kinds = np.array([str(kind) for kind in modalities])
    groups = [vectors[kinds == str(kind)] for kind in (first, second)]
    if not all(len(group) for group in groups):
        return None
    return float(np.linalg.norm(groups[0].mean(axis=0) - groups[1].mean(axis=0)))
