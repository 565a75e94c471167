"""Which items belong together: those with an equal value in a column."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from mmviewer.core.errors import InputError
from mmviewer.core.space.measures.gap import UNKNOWN_KIND
from mmviewer.core.space.unit_rows import Rows

MOST_PAIRS = 2_000_000


def kinds_paired(codes: NDArray[np.int32], kinds: NDArray[np.uint8]) -> list[tuple[int, int]]:
    """Ordered pairs of different kinds that share a value; those of one kind with itself if there are none.

    Parameters
    ----------
    codes : int32 array [N]
        Value of each item, -1 for none.
    kinds : uint8 array [N]
    """
    values = {
        int(kind): np.unique(codes[(codes >= 0) & (kinds == kind)])
        for kind in np.unique(kinds)
        if kind != UNKNOWN_KIND
    }
    across = [
        (one, other)
        for one in values
        for other in values
        if one != other and len(np.intersect1d(values[one], values[other]))
    ]
    if across:
        return across
    return [(kind, kind) for kind in values if (np.bincount(codes[(codes >= 0) & (kinds == kind)]) > 1).any()]


def pairs_of(
    codes: NDArray[np.int32], kinds: NDArray[np.uint8], first: int, second: int
) -> tuple[Rows, Rows]:
    """Every pair of an item of kind `first` and another of kind `second` with the same value.

    Raises
    ------
    InputError
        There are more than two million.
    """
    ones, others = (np.flatnonzero((codes >= 0) & (kinds == kind)) for kind in (first, second))
    others = others[np.argsort(codes[others], kind="stable")]
    starts, stops = (np.searchsorted(codes[others], codes[ones], side) for side in ("left", "right"))
    counts = stops - starts
    if counts.sum() > MOST_PAIRS:
        raise InputError(
            "Too many items share a value in this column to be pairs; choose one that tells which few belong"
            " together."
        )
    firsts = np.repeat(ones, counts)
    within = np.arange(len(firsts)) - np.repeat(np.cumsum(counts) - counts, counts)
    seconds = others[np.repeat(starts, counts) + within]
    different = firsts != seconds
    return firsts[different], seconds[different]
