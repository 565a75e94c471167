"""Retrieval where pairs are known: how often the partner is among the first (R@k)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from mmviewer.core.errors import InputError
from mmviewer.core.progress import SILENT, Progress
from mmviewer.core.space.measures.chance import median_rank_by_chance, recall_by_chance
from mmviewer.core.space.unit_rows import Rows, UnitRows
from mmviewer.core.types import FloatArray

_BLOCK_SCORES = 2**23


@dataclass(frozen=True, slots=True, eq=False)
class Retrieval:
    """How well partners are found.

    Parameters
    ----------
    at : tuple of (int, float)
        k, and the share of queries with a partner among the first k.
    median_rank : float
        Of the best partner, from 1.
    ranks : int64 array [Q]
        Of each query's best partner. Items as similar as the partner count as before it.
    queries : int64 array [Q]
        Row of each query.
    targets : int
        How many different items are searched; a query that is one of them is not searched itself.
    by_chance : tuple of (int, float)
        k, and the share in a random order.
    median_by_chance : float
        Median rank in a random order.
    """

    at: tuple[tuple[int, float], ...]
    median_rank: float
    ranks: NDArray[np.int64]
    queries: Rows
    targets: int
    by_chance: tuple[tuple[int, float], ...]
    median_by_chance: float


def retrieval(
    rows: UnitRows,
    firsts: Rows,
    seconds: Rows,
    counts: Sequence[int] = (1, 5, 10),
    progress: Progress = SILENT,
) -> Retrieval:
    """Search the partners of `firsts` among all of `seconds`.

    Parameters
    ----------
    rows : UnitRows
    firsts, seconds : int64 array [P]
        Rows of each pair; an item may have several partners, and one of them suffices.
    counts : sequence of int
        k of R@k.
    progress : Progress

    Raises
    ------
    InputError
        No pair is left.
    """
    good = rows.usable[firsts] & rows.usable[seconds]
    if not good.any():
        raise InputError("Retrieval needs pairs that belong together; name a column that tells them.")
    queries, owner = np.unique(firsts[good], return_inverse=True)
    targets, partner = np.unique(seconds[good], return_inverse=True)
    order = np.argsort(owner, kind="stable")
    owner, partner = owner[order], partner[order]
    pool = rows.take(targets)
    own = _places(queries, targets)
    own[owner[own[owner] == partner]] = -1  # equal contents share a row: it is its own partner then
    ranks = np.zeros(len(queries), np.int64)
    size = max(1, _BLOCK_SCORES // len(targets))
    for start in range(0, len(queries), size):
        progress.report(start, len(queries), "Searching partners")
        scores = rows.take(queries[start : start + size]) @ pool.T  # [q, T]
        pairs = slice(*np.searchsorted(owner, (start, start + len(scores))))
        itself = np.flatnonzero(own[start : start + size] >= 0)
        scores[itself, own[start + itself]] = -np.inf
        ranks[start : start + size] = _best_ranks(scores, owner[pairs] - start, partner[pairs])
    at = tuple((count, float((ranks <= count).mean())) for count in counts)
    partners, searched = np.bincount(owner), len(targets) - (own >= 0)
    chance = tuple(zip(counts, recall_by_chance(partners, searched, counts), strict=True))
    return Retrieval(
        at,
        float(np.median(ranks)),
        ranks,
        queries,
        len(targets),
        chance,
        median_rank_by_chance(partners, searched),
    )


def _places(queries: Rows, targets: Rows) -> NDArray[np.int64]:
    """Where each query stands among the targets, which are in order; -1 if it is none."""
    places = np.searchsorted(targets, queries)
    places[targets[np.minimum(places, len(targets) - 1)] != queries] = -1
    return places


def _best_ranks(scores: FloatArray, owner: Rows, partner: Rows) -> NDArray[np.int64]:
    """Rank of the best partner of each query among all targets that are no partners."""
    best = np.full(len(scores), -np.inf, np.float32)
    np.maximum.at(best, owner, scores[owner, partner])
    others = scores.copy()
    others[owner, partner] = -np.inf
    ranks: NDArray[np.int64] = 1 + np.count_nonzero(others >= best[:, None], axis=1)
    return ranks
