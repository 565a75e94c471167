"""How far the neighbours on a map are neighbours in the space: trustworthiness (Venna and Kaski 2001)."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from mmviewer.core.errors import InputError
from mmviewer.core.progress import SILENT, Progress
from mmviewer.core.space.unit_rows import Rows, UnitRows
from mmviewer.core.types import FloatArray

DEFAULT_NEIGHBOURS = 15
MOST_MEASURED = 10_000
_BLOCK = 256
_CARRIED_FROM = 3  # measured items on the map that one which was not measured takes its value from


@dataclass(frozen=True, slots=True, eq=False)
class MapTrust:
    """Trustworthiness of a map.

    Parameters
    ----------
    values : float32 array [N]
        Of each item: 1 if all its neighbours on the map are among its nearest in the space, less the further
        off they are there. NaN where an item is not on the map.
    overall : float
        Mean over the measured items: scikit-learn's `trustworthiness` of unit vectors.
    measured : int64 array [M]
        Rows that were measured, against one another. Others have the mean value of the three nearest of
        these on the map.
    neighbours : int
        How many of each were looked at.
    """

    values: FloatArray
    overall: float
    measured: Rows
    neighbours: int


def map_trust(
    rows: UnitRows,
    xy: FloatArray,
    neighbours: int = DEFAULT_NEIGHBOURS,
    progress: Progress = SILENT,
    most: int = MOST_MEASURED,
    seed: int = 0,
) -> MapTrust:
    """Measure the trustworthiness of each item's place.

    Parameters
    ----------
    rows : UnitRows
    xy : float32 array [N, 2]
        Place of each row; NaN where it has none.
    neighbours : int
        Fewer are taken if there are not twice as many items.
    progress : Progress
    most : int
        Items measured; drawn at random if there are more.
    seed : int

    Raises
    ------
    InputError
        Fewer than four items are on the map.
    """
    placed = np.flatnonzero(np.isfinite(xy).all(axis=1) & rows.usable)
    measured = rows.sample(most, seed, placed)
    count = min(neighbours, (len(measured) - 1) // 2)
    if count < 1 or len(measured) < 4:
        raise InputError("Trustworthiness needs at least four items on the map; place more.")
    on_map = plane_neighbours(xy[measured], count)
    lost = _lost_ranks(rows.take(measured), on_map, progress)
    size = len(measured)
    trust = (1 - 2 * lost / (count * (2 * size - 3 * count - 1))).astype(np.float32)
    values = carried(xy, measured, trust)
    values[~rows.usable] = np.nan
    return MapTrust(values, float(trust.mean(dtype=np.float64)), measured, count)


def plane_neighbours(xy: FloatArray, count: int) -> Rows:
    """The `count` nearest of each point of the plane, itself left out: [N, count]."""
    from scipy.spatial import KDTree

    _, near = KDTree(xy).query(xy, count + 1)
    near = np.asarray(near).reshape(len(xy), count + 1)
    is_self = near == np.arange(len(xy))[:, None]
    is_self[~is_self.any(axis=1), -1] = True  # among many on one spot a point may not find itself
    others: Rows = near[~is_self].reshape(len(xy), count).astype(np.int64)
    return others


def carried(xy: FloatArray, measured: Rows, values: FloatArray) -> FloatArray:
    """Values [N] of every place on the map: measured ones, else the mean of the nearest measured."""
    from scipy.spatial import KDTree

    everywhere = np.full(len(xy), np.nan, np.float32)
    rest = np.setdiff1d(np.flatnonzero(np.isfinite(xy).all(axis=1)), measured)
    if len(rest) and len(measured):
        _, near = KDTree(xy[measured]).query(xy[rest], min(_CARRIED_FROM, len(measured)))
        everywhere[rest] = values[np.reshape(near, (len(rest), -1))].mean(axis=1)
    everywhere[measured] = values
    return everywhere


def _lost_ranks(vectors: FloatArray, on_map: Rows, progress: Progress) -> NDArray[np.float64]:
    """By how much the neighbours on the map miss being among as many nearest in the space, summed [M]."""
    count = on_map.shape[1]
    lost = np.zeros(len(vectors))
    for start in range(0, len(vectors), _BLOCK):
        progress.report(start, len(vectors), "Measuring trustworthiness")
        part = np.arange(start, min(start + _BLOCK, len(vectors)))
        cosines = vectors[part] @ vectors.T  # the more similar, the nearer: the order of Euclidean distance
        cosines[np.arange(len(part)), part] = -np.inf
        for place in range(count):
            others = on_map[part, place]
            theirs = cosines[np.arange(len(part)), others]
            ranks = 1 + np.count_nonzero(cosines > theirs[:, None], axis=1)
            lost[part] += np.maximum(ranks - count, 0)
    return lost
