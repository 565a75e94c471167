"""What can be said of a map by numbers: curves, boxes, ranks (NumPy only, so that any process may ask)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from mmviewer.core.errors import InputError
from mmviewer.core.media.geometry import Box, ImageGeometry
from mmviewer.core.targets import Removal
from mmviewer.core.types import FloatArray


class Scale(StrEnum):
    """In what a score is told."""

    PROBABILITY = "probability"
    SIMILARITY = "cosine similarity"
    DIFFERENCE = "difference of scores"


class Verdict(StrEnum):
    """What curves say of a map, in plain words."""

    BETTER = "better than chance"
    PARTLY = "partly better than chance"
    CHANCE = "not better than chance"
    SILENT = "the score does not depend on the input"


_NOTICEABLE = 1e-3
"""A score that varies by less over all curves has nothing to be explained."""


@dataclass(frozen=True, slots=True, eq=False)
class Curves:
    """Scores while positions are taken away or given back in the order of a map.

    Parameters
    ----------
    shares : float32 array [S + 1]
        Share of positions taken away, or given back, from 0 to 1.
    deletion, insertion : float32 array [S + 1]
        Score after each step. A good map makes deletion fall and insertion rise at once.
    random_deletion, random_insertion : float32 array [S + 1]
        Means over random orders and the same orders backwards.
    random_areas : float32 array [R]
        Mean score of each random order; deletion in one order is insertion in the opposite one, so that both
        are compared with the same areas.
    score : str
        What is scored, for people.
    scale : Scale
        In what; log-probabilities are told as probabilities, of several tokens as their geometric mean.
    removal : str
        What stands in for what is taken away: "mean", "blur" or "noise".
    """

    shares: FloatArray
    deletion: FloatArray
    insertion: FloatArray
    random_deletion: FloatArray
    random_insertion: FloatArray
    random_areas: FloatArray
    score: str
    scale: Scale
    removal: Removal = "mean"

    @property
    def deletion_area(self) -> float:
        """Mean score while the map's strongest positions are taken away first; low is good."""
        return area(self.shares, self.deletion)

    @property
    def insertion_area(self) -> float:
        """Mean score while the map's strongest positions are given back first; high is good."""
        return area(self.shares, self.insertion)

    @property
    def random_area(self) -> float:
        """Mean score in random order; the same for deletion and insertion."""
        return float(self.random_areas.mean())

    @property
    def deletion_gain(self) -> float:
        """How far the mean of deletion lies below that of random orders; positive is better than chance."""
        return self.random_area - self.deletion_area

    @property
    def insertion_gain(self) -> float:
        """How far the mean of insertion lies above that of random orders; positive is better than chance."""
        return self.insertion_area - self.random_area

    @property
    def verdict(self) -> Verdict:
        """Better than chance where deletion and insertion both beat every single random order."""
        every = np.concatenate((self.deletion, self.insertion, self.random_deletion))
        if float(np.ptp(every)) < _NOTICEABLE:
            return Verdict.SILENT
        deletes = self.deletion_area < float(self.random_areas.min())
        inserts = self.insertion_area > float(self.random_areas.max())
        if deletes and inserts:
            return Verdict.BETTER
        return Verdict.PARTLY if deletes or inserts else Verdict.CHANCE


@dataclass(frozen=True, slots=True)
class InRegion:
    """How a map lies to a marked region.

    Parameters
    ----------
    mass : float
        Share of the map's positive values inside.
    chance : float
        Share of the input that the region covers: the mass of a map that is even.
    hit : bool
        Whether the strongest position lies inside (the pointing game of Zhang et al. 2018).
    """

    mass: float
    chance: float
    hit: bool


@dataclass(frozen=True, slots=True)
class MethodAgreement:
    """Spearman's rank correlation of a map with that of another method, or why there is none.

    `seconds` is what the other map would take, where it was left out for that.
    """

    key: str
    label: str
    correlation: float | None = None
    reason: str = ""
    seconds: float = 0.0


@dataclass(frozen=True, slots=True)
class RandomisedCheck:
    """Rank correlation of a map with that of the same model with randomised weights, for each of the seeds.

    Near 0: the map depends on what was learnt. Near 1: it would look the same if nothing had been.
    """

    correlations: tuple[float, ...]

    @property
    def mean(self) -> float:
        """Mean of their sizes."""
        return float(np.mean(np.abs(self.correlations)))


def in_region(grid: FloatArray, coverage: FloatArray) -> InRegion:
    """Mass and pointing of a map [R, C] or [P] in a region, given the share of each position it covers.

    The strongest position counts as inside if the region covers at least half of it; of equally strong
    positions the first counts.
    """
    positive = np.clip(grid, 0, None).astype(np.float64)
    total = float(positive.sum())
    mass = float((positive * coverage).sum()) / total if total > 0 else 0.0
    hit = total > 0 and float(coverage.ravel()[int(np.argmax(grid))]) >= 0.5
    return InRegion(mass, float(coverage.mean()), hit)


def points_into(grid: FloatArray, geometry: ImageGeometry, boxes: Sequence[Box]) -> bool:
    """Whether the middle of the strongest position lies in one of `boxes`, in source pixels (y0, x0, y1, x1).

    The pointing game of Zhang et al. (2018). Of equally strong positions the first counts.
    """
    row, column = np.unravel_index(int(np.argmax(grid)), grid.shape)
    top, left, bottom, right = geometry.cell_box(int(row), int(column))
    y, x = (top + bottom) / 2, (left + right) / 2
    return any(box[0] <= y < box[2] and box[1] <= x < box[3] for box in _checked(boxes))


def mass_in(grid: FloatArray, geometry: ImageGeometry, boxes: Sequence[Box]) -> float:
    """Share of a map's positive values that lies in the union of `boxes`; a patch counts by its covered area.

    0 where the map has no positive value.
    """
    positive = np.clip(grid, 0, None).astype(np.float64)
    total = float(positive.sum())
    return float((positive * covered(geometry, boxes)).sum()) / total if total > 0 else 0.0


def covered(geometry: ImageGeometry, boxes: Sequence[Box]) -> FloatArray:
    """Share of each patch's visible area [R, C] that the union of `boxes` covers; its mean is chance."""
    rows, columns = geometry.grid
    found = np.zeros((rows, columns), np.float32)
    for row in range(rows):
        for column in range(columns):
            found[row, column] = _union_share(geometry.cell_box(row, column), _checked(boxes))
    return found


def agreement(grids: Sequence[FloatArray]) -> FloatArray:
    """Spearman's rank correlation between maps of the same input, [M, M]; 0 with a map that is even."""
    ranks = np.stack([_ranks(np.asarray(grid).ravel()) for grid in grids])
    centred = ranks - ranks.mean(1, keepdims=True)
    lengths = np.linalg.norm(centred, axis=1)
    scale = np.where(lengths > 0, lengths, 1)
    unit = centred / scale[:, None]
    found: FloatArray = (unit @ unit.T).astype(np.float32)
    return found


def area(shares: FloatArray, scores: FloatArray) -> float:
    """Area below a curve by trapezoids: its mean over the shares from 0 to 1."""
    heights = (scores[1:].astype(np.float64) + scores[:-1]) / 2
    return float((heights * np.diff(shares)).sum())


def _ranks(values: FloatArray) -> NDArray[np.float64]:
    """Ranks from 0, equal values sharing the mean of theirs."""
    _, inverse, counts = np.unique(values, return_inverse=True, return_counts=True)
    last = np.cumsum(counts)
    ranks: NDArray[np.float64] = ((last - counts + last - 1) / 2)[inverse]
    return ranks


def _checked(boxes: Sequence[Box]) -> Sequence[Box]:
    if not boxes:
        raise InputError("There is no box to compare the map with; draw one around what is meant.")
    return boxes


def _union_share(cell: Box, boxes: Sequence[Box]) -> float:
    """Share of a cell's area in the union of boxes: between their edges everything is in or out."""
    top, left, bottom, right = cell
    area = (bottom - top) * (right - left)
    if area <= 0:
        return 0.0
    ys = sorted({top, bottom, *(min(max(edge, top), bottom) for box in boxes for edge in (box[0], box[2]))})
    xs = sorted({left, right, *(min(max(edge, left), right) for box in boxes for edge in (box[1], box[3]))})
    inside = 0.0
    for y0, y1 in pairwise(ys):
        for x0, x1 in pairwise(xs):
            y, x = (y0 + y1) / 2, (x0 + x1) / 2
            if any(box[0] <= y < box[2] and box[1] <= x < box[3] for box in boxes):
                inside += (y1 - y0) * (x1 - x0)
    return inside / area
