"""What the window asks about one space of a collection: frozen values, light to import.

Everything travels as arrays over the collection's rows, or as rows.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from mmviewer.core.types import FloatArray, MediaRef, Modality
from mmviewer.engine.protocol import Request

Rows = NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class SpaceRequest(Request):
    """Root of the requests about the vectors of one model in a collection.

    With `closed`, each kind of item is centred on its own mean first: the space with its modality gap closed.
    """

    folder: str
    space_id: str
    closed: bool = field(default=False, kw_only=True)


@dataclass(frozen=True, slots=True)
class QueryPart:
    """A part of a question; `weight` is negative to take it away.

    A text, the item of a row of the collection, or an item of the library (`media`). With `box` only a region
    of an image: top, left, bottom and right in its pixels; with `outline` only what this line of (x, y)
    within the box surrounds.
    """

    weight: float = 1.0
    text: str = ""
    row: int | None = None
    media: MediaRef | None = None
    box: tuple[float, float, float, float] | None = None
    outline: tuple[tuple[float, float], ...] = ()


@dataclass(frozen=True, slots=True)
class SearchSpace(SpaceRequest):
    """Items most similar to a sum of texts, items and regions. Done: `SpaceAnswer`.

    `model_id` is the loaded model that reads what is no row; `whole` asks for the similarity of every item
    too: of more than 100,000, the answer without it comes first, as a partial. With `kinds` only items of
    these are looked for, such as the images nearest to a text, which else come after all texts.
    """

    parts: tuple[QueryPart, ...]
    model_id: str = ""
    count: int = 60
    whole: bool = True
    kinds: tuple[Modality, ...] = ()


@dataclass(frozen=True, slots=True)
class PlaceSpace(SpaceRequest):
    """Lay the vectors into the plane, and keep the map in the collection. Done: `PlacedSpace`."""

    method: str = "pca"
    seed: int = 0


@dataclass(frozen=True, slots=True)
class FallIntoMap(SpaceRequest):
    """Put new items on a kept map, where their nearest lie; the others stay. Done: `PlacedSpace`."""

    map: str = ""


@dataclass(frozen=True, slots=True)
class MeasureSpace(SpaceRequest):
    """Measure gap, evenness and hubs. Done: `SpaceMeasures`."""


@dataclass(frozen=True, slots=True, eq=False)
class TrustMap(SpaceRequest):
    """How far neighbours on a map are neighbours in the space. Done: float32 [N] and the mean.

    `xy` float32 [n, 2] are the places of the first n items, NaN for those that are not on the map.
    """

    xy: FloatArray = field(default_factory=lambda: np.zeros((0, 2), np.float32))


# --- values ------------------------------------------------------------------------------------------------
@dataclass(frozen=True, slots=True, eq=False)
class SpaceAnswer:
    """What was found.

    Parameters
    ----------
    rows : int64 array [K]
        Most similar first.
    cosines : float32 array [K]
    similarity : float32 array [N] or None
        Of every item; NaN where it has no vector.
    recall : float or None
        Share of the true nearest that such a search finds, measured; None where every vector was looked at.
    """

    rows: Rows
    cosines: FloatArray
    similarity: FloatArray | None = None
    recall: float | None = None


@dataclass(frozen=True, slots=True, eq=False)
class PlacedSpace:
    """A map: `xy` float32 [N, 2] over all rows, NaN where there is no vector, and what to know of it.

    `name` is that of the kept map; empty where it could not be kept, which `details` then says.
    """

    method: str
    xy: FloatArray
    details: str
    name: str = ""


@dataclass(frozen=True, slots=True)
class KindsGap:
    """How two kinds (codes) lie to each other: distance of their centres, and how well a line parts them."""

    first: int
    second: int
    distance: float
    separability: float | None


@dataclass(frozen=True, slots=True, eq=False)
class SpaceMeasures:
    """What a space is.

    Parameters
    ----------
    count : int
        Vectors with a direction.
    gaps : tuple of KindsGap
    uniformity : float or None
    skewness, orphans : float or None
        Of how often items are among the neighbours of others; see `measures.hubness`.
    judged : int
        Items that hubs were measured on.
    occurrences : float32 array [N]
        How often each item is among the nearest of the others that were looked at; NaN elsewhere.
    """

    count: int
    gaps: tuple[KindsGap, ...]
    uniformity: float | None
    skewness: float | None
    orphans: float | None
    judged: int
    occurrences: FloatArray
