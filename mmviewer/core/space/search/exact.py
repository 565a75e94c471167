"""Every vector looked at (NumPy only): the truth that approximate search is measured by."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from mmviewer.core.errors import InputError
from mmviewer.core.progress import SILENT, Progress
from mmviewer.core.space.unit_rows import Mask, Rows, UnitRows, unit
from mmviewer.core.types import FloatArray

EXACT_LIMIT = 100_000
"""Vectors up to which looking at every one is fast enough to do while the user types."""
MOST_RESULTS = 10_000
_FEW = 4  # a part of the rows that is smaller than the whole by this factor is gathered, not scanned
_BLOCK_VALUES = 2**19  # 2 MB as float32, which stay in the cache between conversion and product
_BLOCK_SCORES = 2**23  # scores of a block of rows under all queries: 32 MB


class Exact:
    """Search by cosine over all rows.

    Parameters
    ----------
    rows : UnitRows
    """

    def __init__(self, rows: UnitRows) -> None:
        self.rows = rows

    def search(
        self, queries: FloatArray, count: int, allowed: Mask | None = None, progress: Progress = SILENT
    ) -> tuple[Rows, FloatArray]:
        """Find the rows most similar to each query.

        Parameters
        ----------
        queries : float32 array [Q, D]
            Of any length but zero.
        count : int
            How many of each at most.
        allowed : bool array [N], optional
            Only these rows.
        progress : Progress

        Returns
        -------
        rows : int64 array [Q, K]
            Most similar first, of equals the earlier first; -1 where there are fewer.
        cosines : float32 array [Q, K]
            -inf where there is no row.

        Raises
        ------
        InputError
            A query has no direction or another width.
        """
        queries = checked_queries(queries, self.rows.width)
        count = min(max(count, 0), MOST_RESULTS, len(self.rows))
        best = np.full((len(queries), count), -1, np.int64)
        cosines = np.full((len(queries), count), -np.inf, np.float32)
        if not count:
            return best, cosines
        permitted = self.rows.usable if allowed is None else self.rows.usable & allowed
        for rows, vectors in self._blocks(permitted, len(queries)):
            progress.check()
            scores = queries @ vectors.T  # [Q, n]
            scores[:, ~permitted[rows]] = -np.inf
            best, cosines = _merged(best, cosines, rows, scores)
        best[np.isneginf(cosines)] = -1
        return best, cosines

    def _blocks(self, permitted: Mask, queries: int) -> Iterator[tuple[Rows, FloatArray]]:
        size = max(1, min(_BLOCK_VALUES // self.rows.width, _BLOCK_SCORES // max(queries, 1)))
        chosen = np.flatnonzero(permitted)
        if len(chosen) * _FEW < len(permitted):
            for start in range(0, len(chosen), size):
                part = chosen[start : start + size]
                yield part, self.rows.take(part)
            return
        for start in range(0, len(permitted), size):
            stop = min(start + size, len(permitted))
            yield np.arange(start, stop), self.rows.span(start, stop)


def checked_queries(queries: FloatArray, width: int) -> FloatArray:
    """Return queries as unit vectors [Q, D]; raise `InputError` if one has no direction or another width."""
    queries = np.atleast_2d(np.asarray(queries, np.float32))
    if queries.shape[1] != width:
        raise InputError(
            f"The query has {queries.shape[1]} numbers and the space {width}; load the model that made the"
            " space."
        )
    lengths = np.linalg.norm(queries, axis=1)
    if not (np.isfinite(lengths).all() and (lengths > 0).all()):
        raise InputError("The query has no direction: its parts cancel each other; change one of them.")
    return unit(queries)


def _merged(best: Rows, cosines: FloatArray, rows: Rows, scores: FloatArray) -> tuple[Rows, FloatArray]:
    """The best of what was found and of a new block whose rows come later."""
    count = best.shape[1]
    if scores.shape[1] > count:
        top = np.argpartition(-scores, count - 1, axis=1)[:, :count]
        top.sort(axis=1)
        scores, new = np.take_along_axis(scores, top, 1), rows[top]
    else:
        new = np.broadcast_to(rows, scores.shape)
    both, known = np.hstack([cosines, scores]), np.hstack([best, new])
    order = np.argsort(-both, axis=1, kind="stable")[:, :count]
    return np.take_along_axis(known, order, 1), np.take_along_axis(both, order, 1)
