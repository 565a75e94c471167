"""Two models' spaces of the same items: aligned by Procrustes, and which neighbourhoods they share."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from mmviewer.core.errors import InputError
from mmviewer.core.progress import SILENT, Progress
from mmviewer.core.space.unit_rows import Rows, UnitRows
from mmviewer.core.types import FloatArray

DEFAULT_NEIGHBOURS = 15
MOST_COMPARED = 10_000
_BATCH = 256


@dataclass(frozen=True, slots=True, eq=False)
class Alignment:
    """A rotation with scale and shift that lays one set of points on another as well as can be.

    Parameters
    ----------
    rotation : float64 array [D, D]
        Orthogonal; of the wider of both, the narrower filled up with zeros.
    scale : float
    start, goal : float64 array [D]
        Centroids of both.
    disparity : float
        What is left of the variance: 0 if one can be laid on the other, 1 if they have nothing in common. As
        in `scipy.spatial.procrustes`.
    """

    rotation: NDArray[np.float64]
    scale: float
    start: NDArray[np.float64]
    goal: NDArray[np.float64]
    disparity: float

    def apply(self, points: FloatArray) -> FloatArray:
        """Move points [N, d] of the first set to where the second has theirs [N, D]."""
        moved = (_widened(points, len(self.rotation)) - self.start) @ self.rotation
        placed: FloatArray = (self.scale * moved + self.goal).astype(np.float32)
        return placed


def procrustes(first: FloatArray, second: FloatArray) -> Alignment:
    """Lay the points `first` [N, d] on `second` [N, e], row by row (Schönemann 1966).

    Widths may differ. Raises `InputError` if there are fewer than two points, or all of a set are the same.
    """
    if len(first) != len(second) or len(first) < 2:
        raise InputError("Aligning needs at least two items that both spaces have; choose others.")
    width = max(first.shape[1], second.shape[1])
    one, other = _widened(first, width), _widened(second, width)
    start, goal = one.mean(axis=0), other.mean(axis=0)
    one, other = one - start, other - goal
    sizes = float(np.linalg.norm(one)), float(np.linalg.norm(other))
    if not min(sizes) > 0:
        raise InputError("All items have the same place in one of the spaces, so it cannot be aligned.")
    left, singular, right = np.linalg.svd(one.T @ other)
    total = float(singular.sum())
    rotation = left @ right
    return Alignment(rotation, total / sizes[0] ** 2, start, goal, 1 - (total / (sizes[0] * sizes[1])) ** 2)


@dataclass(frozen=True, slots=True, eq=False)
class Agreement:
    """How far two spaces agree on the items that both have.

    Parameters
    ----------
    compared : int64 array [M]
        Places among the pairs of rows that were compared, with one another.
    overlap : float32 array [M]
        Share of the nearest neighbours that both spaces give an item.
    mean_overlap : float
    by_chance : float
        Overlap of neighbourhoods that have nothing to do with each other.
    disparity : float
        Of the alignment; see `Alignment`.
    neighbours : int
    """

    compared: Rows
    overlap: FloatArray
    mean_overlap: float
    by_chance: float
    disparity: float
    neighbours: int


def agreement(
    first: UnitRows,
    second: UnitRows,
    pairs: tuple[Rows, Rows],
    neighbours: int = DEFAULT_NEIGHBOURS,
    progress: Progress = SILENT,
    most: int = MOST_COMPARED,
    seed: int = 0,
) -> tuple[Agreement, Alignment]:
    """Compare the spaces of two models.

    Parameters
    ----------
    first, second : UnitRows
    pairs : (int64 array [P], int64 array [P])
        Row of each common item in the first and in the second.
    neighbours : int
    progress : Progress
    most : int
        Items compared; drawn at random if there are more.
    seed : int

    Raises
    ------
    InputError
        The spaces have fewer than three items in common, or one of them is a single point.
    """
    good = np.flatnonzero(first.usable[pairs[0]] & second.usable[pairs[1]])
    if len(good) < 3:
        raise InputError("The two spaces have fewer than three items in common; index them with both models.")
    if len(good) > most:
        good = np.sort(np.random.default_rng(seed).choice(good, most, replace=False))
    one, other = first.take(pairs[0][good]), second.take(pairs[1][good])
    progress.report(0, None, "Aligning the spaces")
    aligned = procrustes(one, other)
    count = min(neighbours, len(good) - 1)
    shares = overlap(neighbour_table(one, count, progress), neighbour_table(other, count, progress))
    chance = count / (len(good) - 1)
    result = Agreement(good, shares, float(shares.mean()), chance, aligned.disparity, count)
    return result, aligned


def neighbour_table(vectors: FloatArray, count: int, progress: Progress = SILENT) -> Rows:
    """The `count` nearest of each of M unit vectors, most similar first, itself left out: [M, count]."""
    table = np.empty((len(vectors), count), np.int64)
    for start in range(0, len(vectors), _BATCH):
        progress.report(start, len(vectors), "Finding neighbours")
        cosines = vectors[start : start + _BATCH] @ vectors.T
        line = np.arange(len(cosines))
        cosines[line, start + line] = -np.inf
        near = np.argpartition(-cosines, count - 1, axis=1)[:, :count]
        order = np.argsort(-np.take_along_axis(cosines, near, 1), axis=1, kind="stable")
        table[start + line] = np.take_along_axis(near, order, 1)
    return table


def overlap(first: Rows, second: Rows) -> FloatArray:
    """Share of each row's neighbours [M, K] that both tables name: [M]."""
    both = np.sort(np.concatenate([first, second], axis=1), axis=1)
    shared = np.count_nonzero((both[:, 1:] == both[:, :-1]) & (both[:, 1:] >= 0), axis=1)
    share: FloatArray = (shared / max(first.shape[1], 1)).astype(np.float32)
    return share


def _widened(points: FloatArray, width: int) -> NDArray[np.float64]:
    return np.pad(points.astype(np.float64), ((0, 0), (0, width - points.shape[1])))
