"""What retrieval reaches by chance: where the best partner stands if the order of the targets is random."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

Counts = NDArray[np.int64]


def recall_by_chance(partners: Counts, targets: Counts, counts: Sequence[int]) -> tuple[float, ...]:
    """Mean share of queries with a partner among the first k of a random order, for each k of `counts`.

    Parameters
    ----------
    partners, targets : int64 array [Q]
        How many partners each query has, and among how many targets they are searched.
    counts : sequence of int
    """
    kinds, weights = _kinds(partners, targets)
    return tuple(float(weights @ _found(*kinds, count)) for count in counts)


def median_rank_by_chance(partners: Counts, targets: Counts) -> float:
    """The rank of the best partner that half of the queries reach in a random order."""
    kinds, weights = _kinds(partners, targets)
    low, high = 1, int(targets.max())
    while low < high:
        middle = (low + high) // 2
        if weights @ _found(*kinds, middle) >= 0.5 - 1e-9:  # what logarithms lose
            high = middle
        else:
            low = middle + 1
    return float(low)


def _kinds(partners: Counts, targets: Counts) -> tuple[tuple[Counts, Counts], NDArray[np.float64]]:
    """Different pairs of the two, and the share of queries that each stands for."""
    pairs, times = np.unique(np.stack([partners, targets]), axis=1, return_counts=True)
    return (pairs[0], pairs[1]), times / len(partners)


def _found(partners: Counts, targets: Counts, count: int) -> NDArray[np.float64]:
    """Chance that one of m partners is among the first k of T: 1 - C(T - m, k) / C(T, k)."""
    from scipy.special import gammaln

    others = targets - partners
    can_miss = others >= count
    most = np.where(can_miss, others, count)  # keeps the logarithms finite where none can be missed
    missed = gammaln(most + 1) - gammaln(most - count + 1)
    whole = gammaln(targets + 1) - gammaln(np.maximum(targets - count, 0) + 1)
    return np.asarray(np.where(can_miss, 1 - np.exp(missed - whole), 1.0))
