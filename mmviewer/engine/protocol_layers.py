"""What the window asks of a model about items of a collection: frozen values, light to import."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from mmviewer.core.types import FloatArray, MediaRef
from mmviewer.engine.protocol import Request

Rows = NDArray[np.int64]
Box = tuple[float, float, float, float]


@dataclass(frozen=True, slots=True)
class LayerRequest(Request):
    """Root of these requests. The loaded model `model_id` must be the one that made the space."""

    folder: str
    space_id: str
    model_id: str


@dataclass(frozen=True, slots=True)
class LayerPaths(LayerRequest):
    """Embeddings of items after every layer, as paths through a kept map. Done: `LayerWays`."""

    rows: tuple[int, ...]
    map: str


@dataclass(frozen=True, slots=True)
class IndexPatches(LayerRequest):
    """Embed the patches of images, of `rows` or of all. Done: `PatchState`. A cancel leaves the former."""

    rows: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True)
class EstimatePatches(LayerRequest):
    """Measure on one image what indexing the patches of all takes. Done: `PatchCost`."""


@dataclass(frozen=True, slots=True)
class SearchPatches(LayerRequest):
    """Images with patches nearest to a region of an image. Done: `core.space.patches.PatchHits`.

    The image is an item of the library (`media`) or of the collection (`row`); `box` is top, left, bottom,
    right in its pixels, and `outline`, if any, a line of (x, y) within it that surrounds the region.
    """

    box: Box
    media: MediaRef | None = None
    row: int = -1
    count: int = 60
    outline: tuple[tuple[float, float], ...] = ()


# --- values ------------------------------------------------------------------------------------------------
@dataclass(frozen=True, slots=True, eq=False)
class LayerWays:
    """Paths of items through a map.

    Parameters
    ----------
    rows : int64 array [n]
        Items that could be read.
    xy : float32 array [n, L + 1, 2]
        Where each item would lie after so many layers.
    cosines : float32 array [n, L + 1]
        Similarity with where it ends.
    caveat : str
    left_out : tuple of str
        Why others could not be read.
    """

    rows: Rows
    xy: FloatArray
    cosines: FloatArray
    caveat: str
    left_out: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class PatchState:
    """How many images and patches are indexed, and why others are not (the first few reasons)."""

    images: int
    patches: int
    failed: int = 0
    reasons: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class PatchCost:
    """What indexing patches takes, reckoned from one image: all of them if they have patches alike.

    `indexed` images have their patches in the index already.
    """

    images: int
    patches: int
    bytes: int
    seconds: float
    indexed: int = 0
