"""Items that are nearly the same."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import numpy as np

from mmviewer.core.progress import SILENT, Progress
from mmviewer.core.space.search.approximate import Approximate
from mmviewer.core.space.search.exact import Exact
from mmviewer.core.space.unit_rows import Rows
from mmviewer.core.types import FloatArray

DEFAULT_COSINE = 0.97
_LOOKED_AT = 16  # nearest neighbours of each item that may be its duplicates
_BATCH = 256
_LISTS = 2


def near_duplicates(
    searcher: Exact | Approximate,
    least: float = DEFAULT_COSINE,
    among: Rows | None = None,
    progress: Progress = SILENT,
) -> tuple[list[Rows], FloatArray]:
    """Group rows that are linked by pairs at least so similar.

    Parameters
    ----------
    searcher : Exact or Approximate
        Of the space; each row's 16 nearest are looked at, by an index those in the lists nearest to it.
    least : float
        Cosine from which two count as nearly the same.
    among : int64 array, optional
        Only these rows.
    progress : Progress

    Returns
    -------
    groups : list of int64 array
        Rows of each group of two or more, the largest group first.
    cosines : float32 array [G]
        The least similar of the pairs that hold each group together.
    """
    from scipy.sparse import coo_matrix
    from scipy.sparse.csgraph import connected_components

    rows = searcher.rows.sample(len(searcher.rows), among=among)
    allowed = None
    if among is not None:
        allowed = np.zeros(len(searcher.rows), bool)
        allowed[rows] = True
    firsts, seconds, linked = _pairs(searcher, rows, least, allowed, progress)
    count = len(searcher.rows)
    graph = coo_matrix((np.ones(len(firsts), bool), (firsts, seconds)), shape=(count, count))
    _, labels = connected_components(graph, directed=False)
    touched = np.unique(np.concatenate([firsts, seconds]))
    order = touched[np.argsort(labels[touched], kind="stable")]
    starts = np.flatnonzero(np.diff(labels[order], prepend=-1))
    groups = np.split(order, starts[1:]) if len(order) else []
    weakest = np.full(count, np.inf, np.float32)
    np.minimum.at(weakest, labels[firsts], linked)
    groups.sort(key=lambda group: (-len(group), int(group[0])))
    return groups, np.array([weakest[labels[group[0]]] for group in groups], np.float32)


def _pairs(
    searcher: Exact | Approximate, rows: Rows, least: float, allowed: np.ndarray | None, progress: Progress
) -> tuple[Rows, Rows, FloatArray]:
    """Pairs at least so similar: both rows and the cosine of each."""
    near: Callable[..., tuple[Rows, FloatArray]] = searcher.search
    if isinstance(searcher, Approximate):  # what is nearly the same lies in the same list, or the next
        near = partial(searcher.search, candidates=_LISTS * len(searcher.rows) // len(searcher.centroids))
    none = np.zeros(0, np.int64)
    firsts, seconds, cosines = [none], [none], [np.zeros(0, np.float32)]
    for start in range(0, len(rows), _BATCH):
        progress.report(start, len(rows), "Looking for near-duplicates")
        part = rows[start : start + _BATCH]
        found, values = near(searcher.rows.take(part), _LOOKED_AT + 1, allowed)
        pair = (values >= least) & (found != part[:, None])
        owner, place = np.nonzero(pair)
        firsts.append(part[owner])
        seconds.append(found[owner, place])
        cosines.append(values[owner, place])
    return np.concatenate(firsts), np.concatenate(seconds), np.concatenate(cosines)
