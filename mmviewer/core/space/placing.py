"""Maps of a million items: fitted on a sample, the others placed where their nearest of the sample lie.

The same rule lets new items fall into a map that is there, whoever made it: it needs the vectors and places
of items on the map, and no fitted model, so it works for maps that were kept on the disk or brought along.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from mmviewer.core.errors import InputError
from mmviewer.core.progress import SILENT, Progress
from mmviewer.core.space.nearest_placed import NearestPlaced
from mmviewer.core.space.projection.base import PROJECTIONS, Placer
from mmviewer.core.space.unit_rows import Rows, UnitRows
from mmviewer.core.types import FloatArray

DEFAULT_SAMPLE = 20_000
MOST_ANCHORS = 20_000


@dataclass(frozen=True, slots=True, eq=False)
class PlacedMap:
    """Items on a map.

    Parameters
    ----------
    xy : float32 array [N, 2]
        Place of each row, NaN for those without a direction.
    fitted : int64 array [M]
        Rows that the map was fitted on; the others were placed by it.
    method : str
    details : str
        What a reader must know of it.
    """

    xy: FloatArray
    fitted: Rows
    method: str
    details: str


def place_rows(
    rows: UnitRows,
    method: str,
    progress: Progress = SILENT,
    seed: int = 0,
    sample: int = DEFAULT_SAMPLE,
    among: Rows | None = None,
) -> PlacedMap:
    """Place all rows: together if there are few, else a sample, and the others by it.

    Parameters
    ----------
    rows : UnitRows
    method : str
        Key of a projection.
    progress : Progress
    seed : int
        Equal seeds give equal pictures.
    sample : int
        Rows that a map is fitted on at most.
    among : int64 array, optional
        Only these rows.

    Raises
    ------
    InputError
        There is no such projection, or there are too few rows for it.
    """
    projector = PROJECTIONS.get(method)
    fitted = rows.sample(sample, seed, among)
    if len(fitted) < projector.minimum:
        raise InputError(
            f"{projector.label} needs at least {projector.minimum} items and there are {len(fitted)}; add"
            " more images, sounds or texts."
        )
    vectors = rows.take(fitted)
    placer = projector.fit(vectors, progress, seed)
    if placer is None:
        placer = NearestPlaced(vectors, *projector.place(vectors, progress, seed))
    xy = np.full((len(rows), 2), np.nan, np.float32)
    xy[fitted] = placer.coordinates
    rest = np.setdiff1d(rows.sample(len(rows), among=among), fitted)
    details = placer.details
    if len(rest):
        _place_rest(rows, rest, placer, xy, progress)
        details = f"{details}; fitted on {len(fitted):,} items, {len(rest):,} placed {placer.rule}"
    return PlacedMap(xy, fitted, method, details)


def fall_in(
    rows: UnitRows, xy: FloatArray, new: Rows, progress: Progress = SILENT, seed: int = 0
) -> FloatArray:
    """Places [n, 2] of new rows on a map that is there.

    Parameters
    ----------
    rows : UnitRows
    xy : float32 array [N, 2]
        Places of rows on the map; NaN for those that have none yet.
    new : int64 array [n]
    progress : Progress
    seed : int
        Of the rows that are looked at, 20,000 at most.

    Raises
    ------
    InputError
        Nothing is on the map.
    """
    placer = placer_of(rows, xy, seed)
    places = np.full((len(new), 2), np.nan, np.float32)
    good = np.flatnonzero(rows.usable[new])
    for part, vectors in rows.blocks(new[good], progress, "Placing new items"):
        places[good[: len(part)]] = placer.place_new(vectors, progress)
        good = good[len(part) :]
    return places


def placer_of(rows: UnitRows, xy: FloatArray, seed: int = 0) -> Placer:
    """What places vectors on a map that is there; parameters and errors as in `fall_in`."""
    there = np.flatnonzero(np.isfinite(xy).all(axis=1))
    anchors = rows.sample(MOST_ANCHORS, seed, there)
    if not len(anchors):
        raise InputError("Nothing is on this map yet; make the map first.")
    return NearestPlaced(rows.take(anchors), xy[anchors], "")


def _place_rest(rows: UnitRows, rest: Rows, placer: Placer, xy: FloatArray, progress: Progress) -> None:
    for part, vectors in rows.blocks(rest, progress, "Placing the other items"):
        xy[part] = placer.place_new(vectors, progress)
