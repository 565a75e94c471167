"""The similarity matrix of items or groups, in the order of a dendrogram."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from mmviewer.core.errors import InputError
from mmviewer.core.progress import SILENT, Progress
from mmviewer.core.space.unit_rows import Rows, UnitRows
from mmviewer.core.types import FloatArray

MOST = 2000
"""Items or groups that a matrix is made of."""
_ORDERED_BEST = 500  # above it the leaves keep the order of the merges: the best one takes too long


@dataclass(frozen=True, slots=True, eq=False)
class SimilarityMatrix:
    """Cosines of items or groups.

    Parameters
    ----------
    values : float32 array [M, M]
        In the order given, not that of the leaves.
    order : int64 array [M]
        Leaves of the dendrogram from one end to the other.
    merges : float64 array [M - 1, 4]
        As `scipy.cluster.hierarchy.linkage` returns them: average linkage of 1 - similarity.
    """

    values: FloatArray
    order: NDArray[np.int64]
    merges: NDArray[np.float64]


def of_items(rows: UnitRows, chosen: Rows) -> SimilarityMatrix:
    """Cosines of some rows; `InputError` if there are none or more than 2000."""
    _check(len(chosen))
    vectors = rows.take(chosen)
    return _ordered(vectors @ vectors.T)


def of_groups(
    rows: UnitRows, groups: NDArray[np.int32], count: int, progress: Progress = SILENT
) -> SimilarityMatrix:
    """Mean cosine of the items of each group with those of each other.

    Parameters
    ----------
    rows : UnitRows
    groups : int32 array [N]
        Group of each row, -1 for none. A group without items is similar to nothing.
    count : int
        How many groups there are; `InputError` if there are none or more than 2000.
    progress : Progress
    """
    _check(count)
    sums = np.zeros((count, rows.width), np.float64)
    members = np.bincount(groups[(groups >= 0) & rows.usable], minlength=count)
    for part, vectors in rows.blocks(None, progress, "Finding the centres of groups"):
        there = groups[part] >= 0
        np.add.at(sums, groups[part][there], vectors[there])
    means = sums / np.maximum(members, 1)[:, None]
    return _ordered((means @ means.T).astype(np.float32))


def _check(count: int) -> None:
    if not 0 < count <= MOST:
        raise InputError(f"A similarity matrix has between 1 and {MOST} rows and not {count}; choose fewer.")


def _ordered(values: FloatArray) -> SimilarityMatrix:
    from scipy.cluster.hierarchy import leaves_list, linkage
    from scipy.spatial.distance import squareform

    if len(values) < 2:
        return SimilarityMatrix(values, np.zeros(len(values), np.int64), np.zeros((0, 4)))
    distances = np.maximum(1 - (values + values.T) / 2, 0).astype(np.float64)
    np.fill_diagonal(distances, 0)
    condensed = squareform(distances, checks=False)
    merges = linkage(condensed, "average", optimal_ordering=len(values) <= _ORDERED_BEST)
    return SimilarityMatrix(values, leaves_list(merges).astype(np.int64), merges)
