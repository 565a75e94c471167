"""Alignment and uniformity (Wang and Isola 2020): whether pairs lie close and items fill the sphere."""

from __future__ import annotations

import numpy as np

from mmviewer.core.errors import InputError
from mmviewer.core.progress import SILENT, Progress
from mmviewer.core.space.unit_rows import Rows, UnitRows
from mmviewer.core.types import FloatArray

_SAMPLED = 10_000
_BLOCK = 512


def alignment(rows: UnitRows, firsts: Rows, seconds: Rows, power: float = 2.0) -> float:
    """Mean distance, to the power of 2, of items that belong together; 0 if each lies on its partner.

    Parameters
    ----------
    rows : UnitRows
    firsts, seconds : int64 array [P]
        Rows of each pair; pairs with a row that has no direction are left out.
    power : float

    Raises
    ------
    InputError
        No pair is left.
    """
    good = rows.usable[firsts] & rows.usable[seconds]
    firsts, seconds = firsts[good], seconds[good]
    if not len(firsts):
        raise InputError("Alignment needs pairs that belong together; name a column that tells them.")
    total = 0.0
    for start in range(0, len(firsts), rows.block_rows):
        part = slice(start, start + rows.block_rows)
        apart = np.linalg.norm(rows.take(firsts[part]) - rows.take(seconds[part]), axis=1)
        total += float((apart.astype(np.float64) ** power).sum())
    return total / len(firsts)


def alignment_by_chance(rows: UnitRows, firsts: Rows, seconds: Rows) -> float:
    """Mean squared distance if the partners of all pairs were dealt out anew at random; as `alignment`."""
    good = rows.usable[firsts] & rows.usable[seconds]
    if not good.any():
        raise InputError("Alignment needs pairs that belong together; name a column that tells them.")
    means = np.zeros((2, rows.width))
    for mean, side in zip(means, (firsts[good], seconds[good]), strict=True):
        for start in range(0, len(side), rows.block_rows):
            mean += rows.take(side[start : start + rows.block_rows]).sum(axis=0, dtype=np.float64)
    return float(2 - 2 * (means[0] @ means[1]) / good.sum() ** 2)


def uniformity(
    rows: UnitRows,
    among: Rows | None = None,
    progress: Progress = SILENT,
    seed: int = 0,
    sharpness: float = 2.0,
) -> float:
    """Logarithm of the mean Gaussian potential of two different items: the lower, the more evenly spread.

    0 if all lie on one another, about -4 if spread evenly in many dimensions. Measured on 10,000 rows drawn
    at random if there are more.

    Raises
    ------
    InputError
        There are fewer than two items.
    """
    vectors = rows.take(rows.sample(_SAMPLED, seed, among))
    if len(vectors) < 2:
        raise InputError("Uniformity needs at least two items; add more.")
    total = 0.0
    for start in range(0, len(vectors), _BLOCK):
        progress.report(start, len(vectors), "Measuring uniformity")
        total += _potential(vectors[start : start + _BLOCK], vectors, sharpness)
    count = len(vectors)
    return float(np.log((total - count) / (count * (count - 1))))  # without each item's pair with itself


def _potential(some: FloatArray, all_: FloatArray, sharpness: float) -> float:
    """Sum of the potentials of unit vectors, those with themselves exactly one each."""
    squares = np.maximum(2 - 2 * (some @ all_.T), 0)
    return float(np.exp(-sharpness * squares).sum(dtype=np.float64))
