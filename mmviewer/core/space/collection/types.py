"""Plain values of a collection: items by row, spaces, columns, kept coordinates."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import IntEnum
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from mmviewer.core.types import FloatArray, Modality

Rows = NDArray[np.int64]
"""Numbers of items, dense from 0 in the order in which they came in, never used again."""

KINDS = (Modality.IMAGE, Modality.AUDIO, Modality.TEXT)
"""A kind's code is its place in this tuple."""

UNKNOWN_KIND = 255
"""Code of an item that is known by its vector only."""


class Status(IntEnum):
    """What is known of an item's content."""

    NEW = 0
    READY = 1
    FAILED = 2
    MISSING = 3
    REMOVED = 4


@dataclass(frozen=True, slots=True, eq=False)
class ItemTable:
    """The small facts of all N items at once.

    Parameters
    ----------
    kinds : uint8 array [N]
        Index into `KINDS`, or `UNKNOWN_KIND`.
    status : uint8 array [N]
        A `Status` each.
    sources : int32 array [N]
        Ids of the sources they came from.
    change : int
        `Catalogue.change` at which this was true.
    """

    kinds: NDArray[np.uint8]
    status: NDArray[np.uint8]
    sources: NDArray[np.int32]
    change: int = 0

    def __len__(self) -> int:
        return len(self.kinds)


@dataclass(frozen=True, slots=True)
class CollectionItem:
    """All that is known of one item.

    Parameters
    ----------
    row : int
    name : str
        File name, id, or the beginning of its text; fit to be shown.
    path : str or None
        Absolute; None for texts and vectors that are no files.
    kind : Modality or None
        None where only its vector is known.
    text : str or None
        Of an item that came as text.
    content_hash : str or None
        Hexadecimal; None until it has been read.
    status : Status
    reason : str
        Why it failed or is missing, a sentence; else empty.
    source : int
    size_bytes : int
    modified : float
        Seconds since the epoch, 0 where unknown.
    extra : mapping of str to str or float
        Values of the columns it came with, and of hand labels.
    """

    row: int
    name: str
    path: str | None
    kind: Modality | None
    text: str | None
    content_hash: str | None
    status: Status
    reason: str
    source: int
    size_bytes: int
    modified: float
    extra: Mapping[str, str | float] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class SpaceInfo:
    """Which model made the vectors of a space, and how.

    Parameters
    ----------
    id : str
        Also the name of its files.
    model_id, label, source, revision, weights_hash, preprocessing : str
        As in `ModelInfo`; of own embeddings the label is what the user calls them.
    dtype : str
        Number format in which the model ran. Stored are always float16.
    width : int
        Numbers of each vector.
    count : int
        Vectors that are committed; equal contents share one.
    own : bool
        Whether the vectors came from the user. They belong to an item, not to its content.
    """

    id: str
    model_id: str
    label: str
    source: str
    revision: str
    weights_hash: str
    preprocessing: str
    dtype: str
    width: int
    count: int
    own: bool = False


@dataclass(frozen=True, slots=True)
class ColumnInfo:
    """A column that items came with, or a set of hand labels.

    Parameters
    ----------
    name : str
    kind : {"number", "category", "text"}
        Text has more distinct values than can be told apart as categories.
    distinct : int
        Number of distinct values.
    by_hand : bool
        Whether it is a set of labels given by `set_labels`.
    """

    name: str
    kind: Literal["number", "category", "text"]
    distinct: int
    by_hand: bool = False


@dataclass(frozen=True, slots=True, eq=False)
class Coordinates:
    """A kept map of a collection.

    Parameters
    ----------
    name : str
    space_id : str or None
        Space that was projected; None for coordinates that the user brought.
    method : str
    details : mapping
        What the projection was made with; plain JSON values.
    xy : float32 array [N, 2]
        NaN for items that are not on it.
    made : float
        Seconds since the epoch.
    """

    name: str
    space_id: str | None
    method: str
    details: Mapping[str, Any]
    xy: FloatArray
    made: float


@dataclass(frozen=True, slots=True)
class ScanReport:
    """What looking through a source has found.

    Parameters
    ----------
    added, changed, missing, back, renamed : int
        Items new, with other content than before, gone, found again, and under another name.
    failed : int
        Entries that cannot be items, listed with their reasons.
    notes : tuple of str
        Sentences that the user should read.
    """

    added: int = 0
    changed: int = 0
    missing: int = 0
    back: int = 0
    renamed: int = 0
    failed: int = 0
    notes: tuple[str, ...] = ()
