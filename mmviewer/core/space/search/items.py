"""Nearest items of a collection to a vector: items of equal content share one, and follow one another."""

from __future__ import annotations

import numpy as np

from mmviewer.core.errors import InputError
from mmviewer.core.progress import SILENT, Progress
from mmviewer.core.space.collection import Catalogue, SpaceInfo, Status
from mmviewer.core.space.search.exact import Exact
from mmviewer.core.space.unit_rows import Rows, UnitRows
from mmviewer.core.types import FloatArray


def choose_space(catalogue: Catalogue, wanted: str = "") -> SpaceInfo:
    """The space called `wanted` (its id, or the beginning of it), by default the last one that was made.

    Raises
    ------
    InputError
        There is none, or several begin like this.
    """
    spaces = catalogue.spaces()
    found = [info for info in spaces if info.id == wanted] or [
        info for info in spaces if info.id.startswith(wanted)
    ]
    if not spaces:
        raise InputError("This collection has no vectors yet; index it first.")
    if not found or (wanted and len(found) > 1):
        known = ", ".join(info.id for info in spaces)
        raise InputError(f"“{wanted}” names no single space of this collection; choose one of: {known}.")
    return found[-1]


def nearest_items(
    catalogue: Catalogue, space_id: str, query: FloatArray, count: int, progress: Progress = SILENT
) -> tuple[Rows, FloatArray]:
    """Find the items most similar to a query.

    Parameters
    ----------
    catalogue : Catalogue
    space_id : str
    query : float32 array [D]
        Of any length but zero.
    count : int
    progress : Progress

    Returns
    -------
    rows : int64 array [K]
        Most similar first; items that were removed or are missing are left out.
    cosines : float32 array [K]

    Raises
    ------
    InputError
        The query is of another width, or has no direction.
    """
    vectors, table = catalogue.vectors(space_id), catalogue.table()
    index = np.where(table.status[: len(vectors.index)] == Status.READY, vectors.index, -1)
    items = np.flatnonzero(index >= 0)
    if not len(vectors.matrix):
        return np.zeros(0, np.int64), np.zeros(0, np.float32)
    allowed = np.zeros(len(vectors.matrix), np.bool_)
    allowed[index[items]] = True
    found, cosines = Exact(UnitRows(vectors.matrix)).search(query[None], count, allowed, progress)
    place = np.full(len(vectors.matrix), -1, np.int64)
    place[found[0][found[0] >= 0]] = np.arange(int((found[0] >= 0).sum()))
    hits = items[place[index[items]] >= 0]
    hits = hits[np.argsort(place[index[hits]], kind="stable")][:count]
    return hits, cosines[0][place[index[hits]]]
