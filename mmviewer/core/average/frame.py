"""Maps of different items on one frame, and what they have in common (NumPy only).

The frame is the item itself in normalised coordinates: the whole picture, whatever its shape, or the whole
length of a sound. What a model did not see of an item (cut away by its crop) is NaN and does not count.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from mmviewer.core.media.geometry import ImageGeometry
from mmviewer.core.types import FloatArray, Geometry

SIDE = 32
"""Rows and columns of the frame of pictures."""
PARTS = 128
"""Parts of the frame of sounds."""

_LEAST_SHARED = 3  # cells; a correlation of two says nothing
_EVEN = 1e-6  # of the size of its values: below, what differs in a map is rounding


@dataclass(frozen=True, slots=True, eq=False)
class Average:
    """What maps on one frame have in common, cell by cell.

    Parameters
    ----------
    mean : float32 array [R, C]
        NaN where no map has a value.
    deviation : float32 array [R, C]
        Standard deviation (n - 1 in its denominator); NaN where fewer than two maps have a value.
    count : int32 array [R, C]
        How many maps have a value.
    """

    mean: FloatArray
    deviation: FloatArray
    count: NDArray[np.int32]


def on_frame(
    values: NDArray[np.floating], geometry: Geometry, side: int = SIDE, parts: int = PARTS
) -> FloatArray:
    """Bring a map over a model's positions to the frame of its item.

    Parameters
    ----------
    values : array [R, C] over patches, or [P] along time
    geometry : ImageGeometry or TimeGeometry
        Of these positions.
    side, parts : int
        Cells of the frame along each side of a picture, and along a sound.

    Returns
    -------
    float32 array [side, side], or [1, parts] for a sound
        Linear between the centres of positions, at the middle of each cell; where a cell covers several
        positions, the mean over it. NaN where the model saw less than half of a cell.
    """
    if isinstance(geometry, ImageGeometry):
        rows, columns = (_finer(geometry, axis, side) for axis in (0, 1))
        fine = geometry.to_source(values, size=(side * rows, side * columns))
        return _cells(fine, side, side)
    finer = max(1, math.ceil(geometry.duration / parts / geometry.step))
    return _cells(geometry.to_source(values, parts * finer)[None], 1, parts)


def average(maps: FloatArray) -> Average:
    """Mean, deviation and count of maps [N, R, C] over the items that have a value in a cell."""
    seen = np.isfinite(maps)
    count = seen.sum(axis=0)
    known = np.where(seen, maps, 0).astype(np.float64)
    mean = np.full(count.shape, np.nan)
    np.divide(known.sum(axis=0), count, out=mean, where=count > 0)
    apart = np.where(seen, maps - mean, 0)
    deviation = np.full(count.shape, np.nan)
    np.divide((apart**2).sum(axis=0), count - 1, out=deviation, where=count > 1)
    return Average(mean.astype(np.float32), np.sqrt(deviation).astype(np.float32), count.astype(np.int32))


def distances(maps: FloatArray, mean: FloatArray) -> FloatArray:
    """How far each map [N, R, C] is from a mean [R, C]: one minus their Pearson correlation.

    Over the cells that both have; from 0 (alike but for scale and offset) over 1 (nothing in common) to 2
    (each high where the other is low). NaN where it is undefined: one of the two is the same everywhere, or
    they share fewer than three cells. Correlation is the measure of saliency maps that weighs what is missed
    and what is invented alike (Bylinskii, Judd, Oliva, Torralba and Durand, *What do different evaluation
    metrics tell us about saliency models?*, IEEE TPAMI 2019).

    Returns
    -------
    float32 array [N]
    """
    both = np.isfinite(maps) & np.isfinite(mean)  # [N, R, C]
    shared = both.sum(axis=(1, 2))
    one, one_varies = _centred(maps, both, shared)
    other, other_varies = _centred(np.broadcast_to(mean, maps.shape), both, shared)
    norms = np.sqrt((one**2).sum(axis=(1, 2)) * (other**2).sum(axis=(1, 2)))
    defined = (shared >= _LEAST_SHARED) & one_varies & other_varies
    found = np.full(len(maps), np.nan)
    np.divide((one * other).sum(axis=(1, 2)), norms, out=found, where=defined)
    result: FloatArray = (1 - np.clip(found, -1, 1)).astype(np.float32)
    return result


def spread(count: int, most: int) -> NDArray[np.int64]:
    """Places of at most `most` of `count` items, evenly from the first to the last."""
    if count <= most:
        return np.arange(count, dtype=np.int64)
    return np.unique(np.linspace(0, count - 1, max(1, most)).round().astype(np.int64))


def _finer(geometry: ImageGeometry, axis: int, side: int) -> int:
    """Samples along one axis of a cell of the frame, so that no patch falls between them."""
    patches = geometry.source[axis] / side * geometry.scale[axis] / geometry.patch_size[axis]
    return max(1, math.ceil(patches))


def _cells(fine: FloatArray, rows: int, columns: int) -> FloatArray:
    """Mean [rows, columns] over blocks of samples, of which half must be there."""
    height, width = fine.shape
    blocks = fine.reshape(rows, height // rows, columns, width // columns)
    seen = np.isfinite(blocks)
    count = seen.sum(axis=(1, 3))
    total = np.where(seen, blocks, 0).sum(axis=(1, 3), dtype=np.float64)
    mean = np.full((rows, columns), np.nan)
    np.divide(total, count, out=mean, where=2 * count >= blocks.shape[1] * blocks.shape[3])
    return mean.astype(np.float32)


def _centred(
    maps: FloatArray, both: NDArray[np.bool_], shared: NDArray[np.intp]
) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
    """Maps about their mean over the shared cells, 0 elsewhere, and whether anything in them differs."""
    known = np.where(both, maps, 0).astype(np.float64)
    mean = known.sum(axis=(1, 2)) / np.maximum(shared, 1)
    apart = np.where(both, known - mean[:, None, None], 0)
    varies = np.abs(apart).max(axis=(1, 2)) > _EVEN * np.abs(known).max(axis=(1, 2))
    return apart, varies
