"""What is computed for the open collection: indexing, maps, clusters, measures; and labels given by hand."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from PySide6.QtCore import QObject, Signal

from mmviewer.core.space.collection import Coordinates, FolderSource, Status
from mmviewer.core.space.indexing.pace import IndexProgress, IndexReport
from mmviewer.core.space.projection.base import PROJECTIONS
from mmviewer.core.types import Capability, FloatArray
from mmviewer.engine import protocol_collection as ask
from mmviewer.engine.protocol import ErrorReport, Request
from mmviewer.engine.protocol_space import MeasureSpace, PlacedSpace, PlaceSpace, SpaceMeasures, TrustMap
from mmviewer.gui.activities import Activity
from mmviewer.gui.map_measures import measure_lines

if TYPE_CHECKING:
    from mmviewer.core.space.collection import ScanReport, Source
    from mmviewer.core.space.collection.verify import VerifyReport
    from mmviewer.gui.workbench import Workbench

INDEX, SCAN, LABEL = "collection:index", "collection:scan", "collection:label"
PLACE, MEASURE, EXPORT = "collection:place", "collection:measure", "collection:export"
EMBEDS = (Capability.EMBED_IMAGE, Capability.EMBED_AUDIO, Capability.EMBED_TEXT)


class CollectionWork(QObject):
    """Asks the engine to fill the open collection.

    Signals
    -------
    progressed()
        A run goes on, was paused, or ended.
    measured()
        `measures` are new.
    coloured(str)
        Something to colour by was computed: its key.
    """

    progressed = Signal()
    measured = Signal()
    coloured = Signal(str)

    def __init__(self, workbench: Workbench) -> None:
        super().__init__(workbench)
        self._workbench = workbench
        self._activities = workbench.activities
        self._collections = workbench.collections
        self._index_progress: IndexProgress | None = None
        self.measures: tuple[tuple[str, str, str], ...] = ()
        self.measures_note = ""
        self._values: dict[str, tuple[str, FloatArray]] = {}
        self._collections.opened.connect(self._forget)

    # --- what goes on -------------------------------------------------------------------------------------
    @property
    def running(self) -> Activity | None:
        """What is computed now for the collection, the newest first."""
        found = [each for key, each in self._activities.running().items() if key.startswith("collection:")]
        return found[-1] if found else None

    @property
    def indexing(self) -> bool:
        """Whether a run fills the collection."""
        return self._activities.get(INDEX).running

    @property
    def paused(self) -> bool:
        """Whether that run is held."""
        return self.indexing and self._index_progress is not None and self._index_progress.paused

    @property
    def error(self) -> ErrorReport | None:
        """Why the last run failed."""
        return next(
            (error for key in (SCAN, INDEX, PLACE) if (error := self._activities.get(key).error)), None
        )

    def summary(self) -> str:
        """One line on the collection while nothing runs."""
        view = self._collections.view
        if view is None:
            return ""
        status = view.table.status
        ready = int((status == Status.READY).sum())
        parts = [f"{int((status != Status.REMOVED).sum()):,} items"]
        if len(status) and ready < len(status):
            parts.append(f"{ready:,} indexed")
        for state, word in ((Status.FAILED, "failed"), (Status.MISSING, "missing")):
            count = int((status == state).sum())
            if count:
                parts.append(f"{count:,} {word}")
        return " · ".join(parts)

    def stop(self) -> None:
        """Stop all that is computed for the collection."""
        for key in [key for key in self._activities.running() if key.startswith("collection:")]:
            self._activities.cancel(key)
        self._index_progress = None
        self.progressed.emit()

    # --- making and filling -------------------------------------------------------------------------------
    def create(self, source: str | Path) -> None:
        """Make a collection of the items in a folder, open it, and index it."""
        folder = str(self._collections.folder_for(source))

        def made(absolute: str) -> None:
            if self._collections.open(absolute):
                self._collections.show()
                self.add_folder(source)

        request = ask.CreateCollection(folder)
        self._run(SCAN, f"Making a collection of {Path(source).name}", request, made)

    def add_folder(self, source: str | Path, *, watch: bool = False) -> None:
        """Add a folder to the open collection, and index what is new in it."""
        folder = self._folder()
        if folder is None:
            self.create(source)
            return

        def looked(found: tuple[Source, ScanReport]) -> None:
            self._after_scan((found,))

        request = ask.AddSource(folder, FolderSource(str(Path(source).absolute()), watch))
        self._run(SCAN, f"Looking through {Path(source).name}", request, looked)

    def index(self) -> None:
        """Look through all sources, and embed what is new."""
        folder = self._folder()
        if folder is not None:
            self._run(SCAN, "Looking for changes", ask.ScanCollection(folder), self._after_scan)

    def toggle_pause(self) -> None:
        """Hold the run, or let it go on."""
        folder = self._folder()
        if folder is not None and self.indexing:
            request = ask.PauseIndexing(folder, held=not self.paused)
            self._activities.run("collection:pause", "", request, lambda _held: None, visible=False)

    def _after_scan(self, found: tuple[tuple[Source, ScanReport], ...]) -> None:
        self._collections.look_again()
        for _, report in found:
            for note in report.notes:
                self._workbench.notice.emit(note, "info")
        self._embed()

    def _embed(self) -> None:
        folder, model = self._folder(), self._workbench.state.model
        if folder is None:
            return
        if model is None or not any(model.can(needed) for needed in EMBEDS):
            self._workbench.notice.emit(
                "To index the collection, load a model that embeds, then look for changes again.",
                "warning",
            )
            return

        def told(progress: IndexProgress) -> None:
            self._index_progress = progress
            self.progressed.emit()

        request = ask.IndexCollection(folder, model.id)
        label = f"Indexing with {model.label}"
        self._run(INDEX, label, request, self._indexed, partial=told)

    def _indexed(self, report: IndexReport) -> None:
        self._index_progress = None
        self._collections.look_again()
        if report.space_id:
            self._collections.choose_space(report.space_id)
            if self._collections.coordinates is None or report.embedded:
                self.place("pca")
        words = [f"{report.embedded:,} new vectors"] if report.embedded else ["nothing new"]
        if report.failed:
            words.append(f"{report.failed:,} files cannot be read (colour by state shows them)")
        self._workbench.notice.emit("Indexed: " + ", ".join(words) + ".", "info")
        for note in report.notes:
            self._workbench.notice.emit(note, "warning")
        self.progressed.emit()

    # --- maps and measures ----------------------------------------------------------------------------------
    def place(self, method: str) -> None:
        """Lay the vectors that are looked at into the plane."""
        folder, space_id, closed = self._folder(), self._collections.space_id, self._collections.closed
        if folder is None or not space_id:
            return

        def placed(found: PlacedSpace) -> None:
            details = {"details": found.details, "closed": closed}
            name = found.name or f"{found.method}:not kept"
            self._collections.set_coordinates(
                Coordinates(name, space_id, found.method, details, found.xy, time.time())
            )
            self._collections.look_again()
            self.progressed.emit()

        label = f"Placing the collection ({PROJECTIONS.get(method).label})"
        self._run(PLACE, label, PlaceSpace(folder, space_id, method, closed=closed), placed)

    def close_gap(self, closed: bool) -> None:
        """Look at the space with its modality gap closed, or as the model made it; the map follows."""
        if closed == self._collections.closed:
            return
        self._collections.closed = closed
        coordinates = self._collections.coordinates
        self.place(coordinates.method if coordinates is not None and coordinates.space_id else "pca")
        if self.measures:
            self.measure()

    def measure(self) -> None:
        """Measure what the space is."""
        folder, space_id = self._folder(), self._collections.space_id
        if folder is None or not space_id:
            return

        def done(found: SpaceMeasures) -> None:
            self.measures = measure_lines(found)
            closed = "with the gap closed" if self._collections.closed else "as the model made it"
            self.measures_note = f"{found.count:,} vectors, {closed}; hubs among {found.judged:,} of them."
            self._values["hubs"] = ("times among the 10 nearest", found.occurrences)
            self.measured.emit()

        request = MeasureSpace(folder, space_id, closed=self._collections.closed)
        self._run(MEASURE, "Measuring the space", request, done)

    def measure_trust(self) -> None:
        """Measure how far the map that is shown can be trusted, and colour it by that."""
        folder, coordinates = self._folder(), self._collections.coordinates
        if folder is None or coordinates is None or not self._collections.space_id:
            return

        def done(found: tuple[FloatArray, float]) -> None:
            values, overall = found
            self._values["trust"] = ("trust of the place", values)
            self.measures_note = f"Trustworthiness of this map: {overall:.3f} (1: all neighbours are true)."
            self.measured.emit()
            self.coloured.emit("trust")

        request = TrustMap(
            folder, self._collections.space_id, coordinates.xy, closed=self._collections.closed
        )
        self._run(MEASURE, "Measuring the map", request, done)

    def colourings(self) -> list[tuple[str, str]]:
        """What was computed and can be coloured by: (label, key)."""
        return [(label[:1].upper() + label[1:], key) for key, (label, _) in self._values.items()]

    def values_of(self, key: str) -> tuple[str, FloatArray | None]:
        """Name and values [N] of what was computed; None where they are gone."""
        return self._values.get(key, ("", None))

    # --- labels ---------------------------------------------------------------------------------------------
    def label_selection(self, label: str) -> None:
        """Give the selected items a label; an empty one takes theirs away."""
        folder, rows = self._folder(), self._collections.selection
        if folder is not None and len(rows):
            request = ask.LabelItems(folder, rows, label or None)
            self._run(LABEL, f"Labelling {len(rows):,} items", request, self._labelled)

    def undo_label(self) -> None:
        """Take the last label back."""
        self._step(redo=False)

    def redo_label(self) -> None:
        """Give the label again that was taken back."""
        self._step(redo=True)

    def _step(self, *, redo: bool) -> None:
        folder = self._folder()
        if folder is not None:
            label = "Labelling again" if redo else "Taking a label back"
            self._run(LABEL, label, ask.UndoLabels(folder, redo), self._labelled)

    def _labelled(self, rows: Any) -> None:
        self._collections.look_again()
        count = len(np.asarray(rows))
        self._workbench.notice.emit(f"{count:,} labels changed.", "info")

    # --- writing and checking -------------------------------------------------------------------------------
    def export(self, path: str) -> None:
        """Write the selected items, or all, as CSV or Parquet by the ending of `path`."""
        folder, rows = self._folder(), self._collections.selection
        if folder is None:
            return

        def done(written: str) -> None:
            self._workbench.notice.emit(f"Wrote {written}", "info")

        request = ask.ExportCollection(folder, path, rows if len(rows) else None)
        self._run(EXPORT, "Writing items", request, done)

    def verify(self) -> None:
        """Check catalogue, every vector and every file."""
        folder = self._folder()
        if folder is None:
            return

        def done(report: VerifyReport) -> None:
            words = f"{report.vectors:,} vectors and {report.items:,} items looked at"
            if report.sound:
                self._workbench.notice.emit(f"{words}: the collection is sound.", "info")
                return
            found = [f"{report.broken_vectors:,} vectors are broken", *report.problems[:2]]
            self._workbench.notice.emit(f"{words}: {'; '.join(found)}", "warning")

        self._run(EXPORT, "Checking the collection", ask.VerifyCollection(folder), done)

    # --- inside ------------------------------------------------------------------------------------------
    def _folder(self) -> str | None:
        view = self._collections.view
        return None if view is None else str(view.folder)

    def _run(
        self,
        key: str,
        label: str,
        request: Request,
        done: Callable[[Any], None],
        partial: Callable[[Any], None] | None = None,
    ) -> None:
        self._activities.run(key, label, request, done, partial=partial, failed=self._failed)
        self.progressed.emit()

    def _failed(self, error: ErrorReport) -> None:
        self._workbench.report(error)
        self.progressed.emit()

    def _forget(self) -> None:
        self._index_progress = None
        self._forget_values()

    def _forget_values(self) -> None:
        self.measures, self.measures_note = (), ""
        self._values.clear()
