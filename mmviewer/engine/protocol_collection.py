"""What the window asks about collections: frozen values, light to import.

The window reads a collection by itself (`Catalogue.open(folder, readonly=True)`); what writes to it or needs
the model is asked of the engine.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mmviewer.core.space.collection.sources import SourceSpec
from mmviewer.core.types import FloatArray
from mmviewer.engine.protocol import Request


@dataclass(frozen=True, slots=True)
class CollectionRequest(Request):
    """Root of the requests about one collection."""

    folder: str


@dataclass(frozen=True, slots=True)
class CreateCollection(CollectionRequest):
    """Make an empty collection where there is none. Done: its absolute folder."""


@dataclass(frozen=True, slots=True)
class AddSource(CollectionRequest):
    """Add a source and look through it; nothing is decoded. Done: (`Source`, `ScanReport`)."""

    spec: SourceSpec


@dataclass(frozen=True, slots=True)
class RemoveSource(CollectionRequest):
    """Take a source and its items out. Done: None."""

    source: int


@dataclass(frozen=True, slots=True)
class ScanCollection(CollectionRequest):
    """Look through all sources for what is new, changed or gone. Done: tuple of (`Source`, `ScanReport`)."""


@dataclass(frozen=True, slots=True)
class IndexCollection(CollectionRequest):
    """Embed what a model's space lacks. Partial: `IndexProgress`. Done: `IndexReport`.

    It gives way to every other use of the model between batches. After a cancel the next one goes on from
    there. `workers` are processes that decode, by default as many as can be spared; with `retry`, items that
    failed are tried again.
    """

    model_id: str
    workers: int | None = None
    retry: bool = False


@dataclass(frozen=True, slots=True)
class PauseIndexing(CollectionRequest):
    """Hold the run of a collection between two batches, or let it go on. Done: whether there is a run."""

    held: bool = True


@dataclass(frozen=True, slots=True)
class WatchSources(CollectionRequest):
    """Let changes in all folders of a collection be followed, or not any more. Done: how many there are."""

    watch: bool = True


@dataclass(frozen=True, slots=True)
class WatchCollection(CollectionRequest):
    """Follow changes in sources that ask for it, until cancelled.

    Every `period` seconds (more where looking takes long) they are looked through; what is new is embedded
    where `model_id` is given, as soon as that model is loaded. Partial: `Watched` when something changed, and
    `IndexProgress` while it is embedded.
    """

    model_id: str = ""
    period: float = 5.0


@dataclass(frozen=True, slots=True)
class VerifyCollection(CollectionRequest):
    """Check catalogue, every vector and every file. Done: `VerifyReport`.

    With `repair`, broken vectors are forgotten, so that the next run makes them again.
    """

    repair: bool = False


@dataclass(frozen=True, slots=True, eq=False)
class ExportCollection(CollectionRequest):
    """Write items as CSV or Parquet, by the path's ending. Done: how many.

    Parameters
    ----------
    path : str
    rows : int64 array or None
        Which items; None for all that are not removed.
    columns : tuple of str
        Of the collection, and of `core.space.collection.export.FACTS`; none for all.
    space_id : str
        Whose vectors are written too, in Parquet; none if empty.
    """

    path: str
    rows: NDArray[np.int64] | None = None
    columns: tuple[str, ...] = ()
    space_id: str = ""


@dataclass(frozen=True, slots=True, eq=False)
class KeepMap(CollectionRequest):
    """Keep a map of a space in the collection under a name, or take it out. Done: None.

    Parameters
    ----------
    name : str
    xy : float32 array [N, 2] or None
        Over all rows, NaN for items that are not on it; None takes the map out.
    space_id, method : str
    details : mapping
        What it was made with; plain JSON values.
    """

    name: str
    xy: FloatArray | None = None
    space_id: str = ""
    method: str = ""
    details: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class RemoveItems(CollectionRequest):
    """Take items out; they do not come back with the next look. Done: None."""

    rows: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True, eq=False)
class LabelItems(CollectionRequest):
    """Give items a label by hand, or none; one step of undo. Done: rows that changed, int64."""

    rows: NDArray[np.int64] = field(default_factory=lambda: np.zeros(0, np.int64))
    label: str | None = None
    name: str = "label"


@dataclass(frozen=True, slots=True)
class UndoLabels(CollectionRequest):
    """Take the last step of labels back, or do it again. Done: rows that changed, int64."""

    redo: bool = False


@dataclass(frozen=True, slots=True)
class ClassifyCollection(CollectionRequest):
    """Zero-shot classes of all items of a space. Done: `ClassTable`.

    Only the labels are encoded, so it answers at once. Thresholds, counts and the confusion with a column are
    computed from the table, without the engine.
    """

    model_id: str
    space_id: str
    labels: tuple[str, ...]
    templates: tuple[str, ...] = ("a {}",)
    thresholds: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, eq=False)
class ExportClasses(CollectionRequest):
    """Write classes of a `ClassTable` as CSV or Parquet. Done: the path.

    Labels given by hand under `by_hand` come before the model's; `truth` names a column to be written beside
    them.
    """

    path: str
    table: Any  # ClassTable
    by_hand: str = ""
    truth: str = ""


@dataclass(frozen=True, slots=True)
class Watched:
    """What a look at watched sources has changed; `embedded` counts new vectors, `trouble` is a sentence."""

    folder: str
    added: int = 0
    changed: int = 0
    missing: int = 0
    embedded: int = 0
    trouble: str = ""
