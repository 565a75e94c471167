"""Hubs (Radovanović et al. 2010): items that are among the neighbours of many, and those that are of none."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from mmviewer.core.space.unit_rows import Rows


@dataclass(frozen=True, slots=True, eq=False)
class Hubness:
    """How unevenly items are chosen as neighbours.

    Parameters
    ----------
    occurrences : int64 array [N]
        How often each item is among the nearest of another.
    skewness : float
        Third standardised moment of these: 0 if even, above 1 if few hubs draw many.
    orphans : float
        Share of items that are nobody's neighbour.
    hubs : int64 array
        Items chosen most often, the most first.
    """

    occurrences: NDArray[np.int64]
    skewness: float
    orphans: float
    hubs: Rows


def hubness(neighbours: Rows, most: int = 20, targets: int | None = None) -> Hubness:
    """Measure hubs in a table of neighbours.

    Parameters
    ----------
    neighbours : int64 array [Q, K]
        Of each item; -1 where there are fewer.
    most : int
        Hubs to name.
    targets : int, optional
        How many items can be chosen; as many as choose if not given.
    """
    from scipy.stats import skew

    count = len(neighbours) if targets is None else targets
    occurrences = np.bincount(neighbours[neighbours >= 0].ravel(), minlength=count)
    spread = count > 0 and bool(np.ptp(occurrences))
    hubs = np.argsort(-occurrences, kind="stable")[:most]
    return Hubness(
        occurrences,
        float(skew(occurrences)) if spread else 0.0,
        float((occurrences == 0).mean()) if count else 0.0,
        hubs[occurrences[hubs] > 0],
    )
