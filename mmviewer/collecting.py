"""Collections for scripts and notebooks; the command line uses the same functions."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from mmviewer.core.errors import InputError
from mmviewer.core.models.base import LoadedModel
from mmviewer.core.models.loader import load_model
from mmviewer.core.progress import SILENT, Progress
from mmviewer.core.space.class_table import ClassTable
from mmviewer.core.space.collection import Catalogue, CollectionItem, ScanReport, SpaceInfo
from mmviewer.core.space.collection.sources import SourceSpec
from mmviewer.core.space.indexing.pace import IndexProgress, IndexReport
from mmviewer.core.space.indexing.run import IndexOptions
from mmviewer.core.space.indexing.run import index as run_index
from mmviewer.core.space.indexing.sources import source_at
from mmviewer.core.space.placing import place_rows
from mmviewer.core.space.search.arithmetic import Term, combine
from mmviewer.core.space.search.items import choose_space, nearest_items
from mmviewer.core.space.unit_rows import UnitRows
from mmviewer.core.tasks.classify import DEFAULT_TEMPLATES
from mmviewer.core.tasks.classify_collection import check_space, classify_vectors, made_by
from mmviewer.core.tasks.embed import embed
from mmviewer.core.types import FloatArray, Media

Folder = str | os.PathLike[str]
Part = Media | tuple[Media, float]


@dataclass(frozen=True, slots=True)
class Indexed:
    """What `index` did: what looking through the sources found, and what the run embedded."""

    scans: tuple[ScanReport, ...]
    run: IndexReport


@dataclass(frozen=True, slots=True)
class Found:
    """An item that was found, and its cosine similarity to the query."""

    item: CollectionItem
    cosine: float


def open_collection(folder: Folder, *, create: bool = False, readonly: bool = True) -> Catalogue:
    """Open a collection, by default for reading, which is possible at any time; a context manager.

    Raises
    ------
    CollectionError
        It is none, is damaged or of a newer version, or is to be written and another program writes to it.
    """
    return Catalogue.open(os.fspath(folder), create=create, readonly=readonly and not create)


def index(
    folder: Folder,
    sources: Sequence[Folder | SourceSpec] = (),
    model: LoadedModel | str = "starter",
    *,
    workers: int | None = None,
    retry: bool = False,
    watch: Callable[[IndexProgress], None] | None = None,
    progress: Progress = SILENT,
) -> Indexed:
    """Add sources to a collection, made where there is none, and embed what is new in all of its sources.

    What is done is committed every two seconds; the next call goes on after an interruption. In a script it
    belongs under ``if __name__ == "__main__":``, for it starts processes that decode.

    Parameters
    ----------
    folder : path
        Of the collection.
    sources : sequence of path or source
        Folders, lists, tables or own embeddings, by their endings; or specs of
        `mmviewer.core.space.collection.sources`.
    model : LoadedModel or str
        A str is loaded only if there is something to embed with it.
    workers : int, optional
        Processes that decode; 0 decodes in this one.
    retry : bool
        Whether files that could not be read before are tried again.
    watch : callable, optional
        Told how far it is.
    progress : Progress

    Raises
    ------
    CollectionError, MediaError, ModelError, DeviceError
        With what to do about it.
    """
    with open_collection(folder, create=True) as catalogue:
        for given in sources:
            catalogue.add_source(
                source_at(os.fspath(given)) if isinstance(given, str | os.PathLike) else given
            )
        scans = tuple(catalogue.scan(source.id, progress) for source in catalogue.sources)
        loaded = load_model(model, progress=progress) if isinstance(model, str) else model
        run = run_index(
            catalogue,
            lambda: nullcontext(loaded),
            IndexOptions(workers=workers, retry=retry),
            watch=watch,
            progress=progress,
        )
    return Indexed(scans, run)


def search(
    folder: Folder,
    model: LoadedModel,
    query: Media | Sequence[Part],
    count: int = 10,
    *,
    space: str = "",
    progress: Progress = SILENT,
) -> list[Found]:
    """Find the items of a collection that are most similar to an image, sound or text, or a sum of them.

    Parameters
    ----------
    folder : path
    model : LoadedModel
        The one that made the vectors.
    query : Media or sequence of Media or (Media, weight)
        Vectors of several are added; a negative weight takes one away.
    count : int
    space : str
        Id of a space or its beginning; by default the last that is this model's.
    progress : Progress

    Raises
    ------
    InputError
        There are no vectors of this model, or the parts of the query cancel out.
    """
    parts = [query] if isinstance(query, Media) else list(query)
    weighted = [part if isinstance(part, tuple) else (part, 1.0) for part in parts]
    if not weighted:
        raise InputError("There is nothing to search for; give a text, an image or a sound.")
    with open_collection(folder) as catalogue:
        chosen = space_of(catalogue, model, space)
        media = [part for part, _ in weighted]
        vectors = embed(model, media, progress=progress)
        if len(vectors.vectors) < len(media):
            raise InputError(f"{model.info.label} cannot embed every part of the query; leave those out.")
        terms = [
            Term(vector, weight, part.modality)
            for vector, (part, weight) in zip(vectors.vectors, weighted, strict=True)
        ]
        rows, cosines = nearest_items(catalogue, chosen.id, combine(terms), count, progress)
        items = catalogue.items(rows)
    return [Found(item, float(cosine)) for item, cosine in zip(items, cosines, strict=True)]


def classify_collection(
    folder: Folder,
    model: LoadedModel,
    labels: Sequence[str],
    templates: Sequence[str] = DEFAULT_TEMPLATES,
    thresholds: Mapping[str, float] | float = 0.0,
    *,
    space: str = "",
    progress: Progress = SILENT,
) -> ClassTable:
    """Zero-shot classes of all items that have vectors; only the labels are encoded.

    ``table.counts`` are items of each class; `confusion` of `mmviewer.core.space.class_table` compares with a
    column of the collection, and `write_classes` of `mmviewer.core.space.class_file` writes them.
    """
    if isinstance(labels, str):
        raise InputError("Labels are a list of texts, such as: ['cat', 'dog'].")
    with open_collection(folder) as catalogue:
        vectors = catalogue.vectors(space_of(catalogue, model, space).id)
    table = classify_vectors(model, vectors, labels, templates, progress=progress)
    return table.with_thresholds(thresholds)


def project(
    folder: Folder, method: str = "pca", *, space: str = "", name: str = "", progress: Progress = SILENT
) -> tuple[NDArray[np.int64], FloatArray, str]:
    """Lay a collection into the plane, and keep the map in it if a `name` is given.

    A large collection is laid out by a sample of it, on which the others are placed.

    Returns
    -------
    rows : int64 array [n]
        Items that have a vector.
    coordinates : float32 array [n, 2]
    details : str
        What a reader must know of the map.

    Raises
    ------
    InputError
        There is no such method or space, or there are too few items for the method.
    """
    with open_collection(folder, readonly=not name) as catalogue:
        chosen = choose_space(catalogue, space)
        vectors = catalogue.vectors(chosen.id)
        rows = vectors.rows()
        used = np.unique(vectors.index[rows])
        placed = place_rows(UnitRows(vectors.matrix), method, progress, among=used)
        xy = np.full((len(vectors.index), 2), np.nan, np.float32)
        xy[rows] = placed.xy[vectors.index[rows]]
        if name:
            catalogue.save_coordinates(name, chosen.id, method, {"details": placed.details}, xy)
    return rows, xy[rows], placed.details


def space_of(catalogue: Catalogue, model: LoadedModel, wanted: str = "") -> SpaceInfo:
    """The space of a collection that holds this model's vectors; `InputError` where there is none."""
    if wanted:
        chosen = choose_space(catalogue, wanted)
        if not chosen.own:  # whose vectors the user brought is the user's to know
            check_space(model, chosen)
        return chosen
    mine = [info for info in catalogue.spaces() if made_by(info, model)]
    if not mine:
        choose_space(catalogue)  # says so where there are no vectors at all
        raise InputError(f"This collection has no vectors of {model.info.label}; index it with that model.")
    return mine[-1]
