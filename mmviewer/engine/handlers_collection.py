"""Requests about collections: sources, indexing runs, watching, checks, labels, classes. Imports torch."""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mmviewer.core.errors import InputError, MMViewerError
from mmviewer.core.models.base import LoadedModel
from mmviewer.core.progress import Progress
from mmviewer.core.space.class_file import write_classes
from mmviewer.core.space.class_table import ClassTable
from mmviewer.core.space.collection import Catalogue, FolderSource, ScanReport, Source
from mmviewer.core.space.indexing.export_items import export_items
from mmviewer.core.space.indexing.pace import IndexReport, Pause
from mmviewer.core.space.indexing.run import IndexOptions, index
from mmviewer.core.tasks.classify_collection import classify_vectors
from mmviewer.engine import protocol_collection as ask
from mmviewer.engine.collections import COLLECTIONS
from mmviewer.engine.routes import Call

_NAP = 0.1  # seconds between looks at a cancel while nothing happens
_SPARE = 10  # looking through sources takes at most this part of the time


def create(request: ask.CreateCollection, call: Call) -> str:
    """Make an empty collection."""
    with COLLECTIONS.writing(request.folder, create=True) as catalogue:
        return str(catalogue.folder)


def add_source(request: ask.AddSource, call: Call) -> tuple[Source, ScanReport]:
    """Add a source and look through it."""
    with COLLECTIONS.running(request.folder, call.progress) as (catalogue, _):
        source = catalogue.add_source(request.spec)
        return source, catalogue.scan(source.id, call.progress)


def watch_sources(request: ask.WatchSources, call: Call) -> int:
    """Let changes in all folders be followed, or not."""
    with COLLECTIONS.writing(request.folder) as catalogue:
        folders = [source for source in catalogue.sources if isinstance(source.spec, FolderSource)]
        for source in folders:
            catalogue.watch_source(source.id, request.watch)
    return len(folders)


def remove_source(request: ask.RemoveSource, call: Call) -> None:
    """Take a source out."""
    with COLLECTIONS.writing(request.folder) as catalogue:
        catalogue.remove_source(request.source)


def remove_items(request: ask.RemoveItems, call: Call) -> None:
    """Take items out."""
    with COLLECTIONS.writing(request.folder) as catalogue:
        catalogue.remove_items(np.array(request.rows, np.int64))


def scan(request: ask.ScanCollection, call: Call) -> tuple[tuple[Source, ScanReport], ...]:
    """Look through all sources."""
    with COLLECTIONS.running(request.folder, call.progress) as (catalogue, _):
        return _scan_all(catalogue, call.progress)


def run(request: ask.IndexCollection, call: Call) -> IndexReport:
    """Embed what is new."""
    with COLLECTIONS.running(request.folder, call.progress) as (catalogue, pause):
        options = IndexOptions(workers=request.workers, retry=request.retry)
        return _index(catalogue, request.model_id, options, pause, call)


def pause(request: ask.PauseIndexing, call: Call) -> bool:
    """Hold a run, or let it go on."""
    return COLLECTIONS.pause(request.folder, held=request.held)


def watch(request: ask.WatchCollection, call: Call) -> None:
    """Follow changes until cancelled: raises `Cancelled` then."""
    trouble, owed = "", False
    while True:
        start = time.monotonic()
        news, owed = _look(request, call, owed)
        if news.added or news.changed or news.missing or news.embedded or news.trouble not in ("", trouble):
            call.partial(news)
        trouble = news.trouble
        took = time.monotonic() - start
        _rest(max(request.period, _SPARE * took), call.progress)


def verify(request: ask.VerifyCollection, call: Call) -> Any:
    """Check everything."""
    if request.repair:
        with COLLECTIONS.running(request.folder, call.progress) as (catalogue, _):
            return catalogue.verify(call.progress, repair=True)
    with Catalogue.open(request.folder, readonly=True) as catalogue:
        return catalogue.verify(call.progress)


def label(request: ask.LabelItems, call: Call) -> NDArray[np.int64]:
    """Give items a label by hand."""
    with COLLECTIONS.writing(request.folder) as catalogue:
        catalogue.set_labels(request.rows, request.label, request.name)
    return request.rows


def undo(request: ask.UndoLabels, call: Call) -> NDArray[np.int64]:
    """Take the last step of labels back, or do it again."""
    with COLLECTIONS.writing(request.folder) as catalogue:
        return catalogue.redo() if request.redo else catalogue.undo()


def keep_map(request: ask.KeepMap, call: Call) -> None:
    """Keep a map, or take it out."""
    with COLLECTIONS.writing(request.folder) as catalogue:
        if request.xy is None:
            catalogue.remove_coordinates(request.name)
        else:
            catalogue.save_coordinates(
                request.name, request.space_id or None, request.method, request.details, request.xy
            )


def classify(request: ask.ClassifyCollection, call: Call) -> ClassTable:
    """Zero-shot classes of a space."""
    with Catalogue.open(request.folder, readonly=True) as catalogue:
        vectors = catalogue.vectors(request.space_id)
    with call.workspace.using(request.model_id, call.progress) as model:
        table = classify_vectors(
            model, vectors, request.labels, request.templates, call.workspace.features, call.progress
        )
    return table.with_thresholds(request.thresholds)


def export(request: ask.ExportCollection, call: Call) -> int:
    """Write items to a file."""
    with Catalogue.open(request.folder, readonly=True) as catalogue:
        return export_items(
            catalogue, request.path, request.rows, request.columns, request.space_id, call.progress
        )


def export_classes(request: ask.ExportClasses, call: Call) -> str:
    """Write classes to a file."""
    if not isinstance(request.table, ClassTable):
        raise InputError("There are no classes to write; score labels first.")
    with Catalogue.open(request.folder, readonly=True) as catalogue:
        write_classes(
            catalogue, request.table, Path(request.path), by_hand=request.by_hand, truth=request.truth
        )
    return request.path


# --- inside ----------------------------------------------------------------------------------------------
def _scan_all(catalogue: Catalogue, progress: Progress) -> tuple[tuple[Source, ScanReport], ...]:
    return tuple((source, catalogue.scan(source.id, progress)) for source in catalogue.sources)


def _index(
    catalogue: Catalogue, model_id: str, options: IndexOptions, pause: Pause, call: Call
) -> IndexReport:
    return index(
        catalogue,
        _lender(model_id, call),
        options,
        pause=pause,
        watch=call.partial,
        progress=call.progress,
    )


def _lender(model_id: str, call: Call) -> Callable[[], AbstractContextManager[LoadedModel]]:
    """Lends the model for a batch, when nobody else wants it."""
    return lambda: call.workspace.using(model_id, call.progress, background=True)


def _look(request: ask.WatchCollection, call: Call, owed: bool) -> tuple[ask.Watched, bool]:
    """Look through the watched sources once; what cannot be done is said and tried again.

    `owed` says, and is told, that something new waits to be embedded.
    """
    news = ask.Watched(request.folder)
    try:
        with COLLECTIONS.running(request.folder, call.progress) as (catalogue, pause):
            watched = [source for source in catalogue.sources if getattr(source.spec, "watch", False)]
            reports = [catalogue.scan(source.id, call.progress) for source in watched]
            added, changed, missing = (
                sum(getattr(report, name) for report in reports) for name in ("added", "changed", "missing")
            )
            news = ask.Watched(request.folder, added, changed, missing)
            owed = owed or any(report.added or report.changed or report.back for report in reports)
            if not (request.model_id and owed):
                return news, owed
            done = _index(catalogue, request.model_id, IndexOptions(), pause, call)
            return replace(news, embedded=done.embedded), False
    except MMViewerError as error:
        return replace(news, trouble=error.message), owed


def _rest(seconds: float, progress: Progress) -> None:
    end = time.monotonic() + seconds
    while (left := end - time.monotonic()) > 0:
        progress.check()
        time.sleep(min(left, _NAP))
