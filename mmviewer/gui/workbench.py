"""The controller between the session state, the engine's jobs and the panels. Knows no widget.

Panels read `state`, call the methods below, and watch `activities` for what is under way for them:

=============  ===================================================
key            activity
=============  ===================================================
``sequence``   caption, answer, transcript or query being made
``answers``    given answers being scored
``maps``       maps of the current sequence
``heads``      all layers by all heads of the chosen tokens
``scores``     zero-shot scores
``plane``      embeddings and their projection
``model``      a model being loaded
``listings``   looking for models
``export``     a figure being written
``download:R`` a model of the hub being fetched
``trust``      the map in the viewer being measured
``agreement``  other methods being compared with it
``randomised`` the check with shuffled weights
``compare``    maps being made side by side
``beside:K``   the activity K of the second of two models side by side
``collection:*`` a collection being looked through, indexed, placed, asked, measured, labelled
``watching``   changes in the folders of the collection being followed; never ends by itself
``whatif``     the item being tried under a recipe of interventions
``open:N``     files being opened
=============  ===================================================
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from PySide6.QtCore import QMimeData, QObject, Signal
from PySide6.QtGui import QGuiApplication, QImage, QUndoStack

from mmviewer.core.figures import colormaps
from mmviewer.core.session.settings import Settings
from mmviewer.core.session.state import LibraryItem, SessionState, ViewOptions
from mmviewer.core.types import ModelInfo, Provenance
from mmviewer.engine.protocol import EngineStatus, ErrorReport, RenderFigure
from mmviewer.gui.activities import Activities, Activity
from mmviewer.gui.controllers.annotations import AnnotationController
from mmviewer.gui.controllers.answers import AnswerController
from mmviewer.gui.controllers.branches import BranchController
from mmviewer.gui.controllers.collection_asking import CollectionAsking
from mmviewer.gui.controllers.collection_average import CollectionAverage
from mmviewer.gui.controllers.collection_classes import CollectionClasses
from mmviewer.gui.controllers.collection_matrix import CollectionMatrix
from mmviewer.gui.controllers.collection_measures import CollectionMeasures
from mmviewer.gui.controllers.collection_patches import CollectionPatches
from mmviewer.gui.controllers.collection_structure import CollectionStructure
from mmviewer.gui.controllers.collection_watch import CollectionWatch
from mmviewer.gui.controllers.collection_work import CollectionWork
from mmviewer.gui.controllers.collections import CollectionController
from mmviewer.gui.controllers.compare import CompareController
from mmviewer.gui.controllers.drafts import DraftController
from mmviewer.gui.controllers.faithfulness import FaithfulnessController
from mmviewer.gui.controllers.hub import HubController
from mmviewer.gui.controllers.library import LibraryController
from mmviewer.gui.controllers.memory import MediaMemory
from mmviewer.gui.controllers.models import ModelController
from mmviewer.gui.controllers.samples import SampleController
from mmviewer.gui.controllers.sequences import SequenceController
from mmviewer.gui.controllers.space import SpaceController
from mmviewer.gui.controllers.twin import TwinController
from mmviewer.gui.controllers.whatif import WhatIfController

if TYPE_CHECKING:
    from mmviewer.gui.jobs import Jobs

ONLINE_VARIABLE = "MMVIEWER_ONLINE"
"""The engine may fetch models where it is "1"; named here again because the model room needs torch."""


class Workbench(QObject):
    """What the user can do, whatever button asked for it.

    Parameters
    ----------
    jobs : Jobs
        The way to the engine.
    state : SessionState, optional
    settings : Settings, optional
        Defaults are not read from the disk; the application passes what it read.
    """

    notice = Signal(str, str)
    """A sentence for the notice bar and its level: "info", "warning" or "error"."""
    error = Signal(object)
    """`ErrorReport` for the notice bar, with details."""
    engine_status_changed = Signal(object)
    """`EngineStatus`."""
    recent_changed = Signal()
    """The list of recent files."""
    manager_requested = Signal()
    """Somebody asked for the model manager; the window opens it."""
    network_changed = Signal()
    """Downloads are allowed now, or not any more."""
    export_requested = Signal()
    """Somebody asked for the export dialog; the window opens it."""
    panel_requested = Signal(str)
    """Bring the panel with this key to the front."""
    open_requested = Signal()
    """Somebody asked for the open dialog; the window opens it."""
    samples_requested = Signal()
    """Somebody asked for the sample session."""
    tour_requested = Signal()
    """Somebody asked for the guided tour; the window leads it."""
    help_requested = Signal(str)
    """Somebody asked for the help page with this key; empty for the first one."""

    def __init__(
        self, jobs: Jobs, state: SessionState | None = None, settings: Settings | None = None
    ) -> None:
        super().__init__()
        self.jobs = jobs
        self.state = state or SessionState()
        self.settings = settings or Settings()
        self._recall_view()
        self.engine_status = EngineStatus("starting")
        self._engine_lost = False
        self.activities = Activities(jobs, self)
        self.library = LibraryController(self)
        self.memory = MediaMemory(self)
        self.models = ModelController(self)
        self.hub = HubController(self)
        self.samples = SampleController(self)
        self.drafts = DraftController(self)
        self.sequences = SequenceController(self)
        self.branches = BranchController(self)
        self.answers = AnswerController(self)
        self.space = SpaceController(self)
        self.compare = CompareController(self)
        self.twin = TwinController(self)
        self.collections = CollectionController(self)
        self.collection_patches = CollectionPatches(self)
        self.collection_asking = CollectionAsking(self)
        self.collection_work = CollectionWork(self)
        self.collection_watch = CollectionWatch(self)
        self.collection_measures = CollectionMeasures(self)
        self.collection_structure = CollectionStructure(self)
        self.collection_classes = CollectionClasses(self)
        self.collection_matrix = CollectionMatrix(self)
        self.collection_average = CollectionAverage(self)
        self.what_if = WhatIfController(self)
        self.annotations = AnnotationController(self)
        self.faithfulness = FaithfulnessController(self)
        jobs.status_changed.connect(self._on_status)
        jobs.error.connect(self.report)

    def release(self) -> None:
        """Stop watching state and engine; called before the window goes."""
        self.state.view_changed.disconnect(self._on_view, missing_ok=True)
        self.save_settings()
        self.memory.release()
        self.sequences.release()
        self.branches.release()
        self.answers.release()
        self.space.release()
        self.compare.release()
        self.twin.release()
        self.collection_watch.release()
        self.collections.release()
        self.what_if.release()
        self.annotations.release()
        self.faithfulness.release()

    # --- library -------------------------------------------------------------------------------------
    def open_paths(self, paths: Sequence[str | Path]) -> None:
        """Open files and folders into the library; the first item of them becomes the current one."""
        self.library.open_paths([str(path) for path in paths])

    def open_text(self, text: str, *, choose: bool = False) -> None:
        """Add a typed text to the library; `choose` makes it the current item."""
        self.library.open_text(text, choose=choose)

    def paste(self, mime: QMimeData) -> None:
        """Open what was pasted or dropped."""
        self.library.paste(mime)

    def remove(self, ids: Iterable[str]) -> None:
        """Remove items from the library, with undo."""
        self.library.remove(ids)

    def rename(self, item_id: str, name: str) -> None:
        """Give an item another name, with undo."""
        self.library.rename(item_id, name)

    @property
    def undo_stack(self) -> QUndoStack:
        """Undo and redo of library changes."""
        return self.library.undo_stack

    def choose(self, item_id: str | None) -> None:
        """Make an item the current one everywhere; it is selected, alone unless it already was."""
        item = None if item_id is None else self.state.item(item_id)
        if item is not None and item.id not in self.state.selection:
            self.state.set_selection((item.id,))
        self.state.set_current(item)

    # --- models --------------------------------------------------------------------------------------
    def load_model(self, source: str, device: str = "auto", dtype: str = "auto") -> None:
        """Load a model in place of the one of its kind."""
        self.models.load(source, device, dtype)

    def load_remembered_models(self) -> None:
        """Load what was loaded last; at first the starter."""
        self.models.load_remembered()

    def unload(self, model_id: str) -> None:
        """Forget a model and free its memory."""
        self.models.unload(model_id)

    def model_for(self, item: LibraryItem | None) -> ModelInfo | None:
        """The model that looks at `item` or listens to it, as far as items of its kind concern it."""
        return self.models.for_item(item)

    # --- questions about the current item ----------------------------------------------------------------
    def generate(self) -> None:
        """Caption the current image or transcribe the current sound, streaming into `state.sequence`."""
        self.sequences.generate()

    def query(self, text: str) -> None:
        """Show tokens and maps of a typed description; an empty one brings the caption back."""
        self.sequences.query(text)

    def ask(self, question: str) -> None:
        """Let the model answer a question about the current image; an empty one brings the caption back."""
        self.sequences.ask(question)

    def ask_again(self) -> None:
        """Ask once more for the caption, answer, transcript or description that was asked for last."""
        self.sequences.again()

    def refresh_maps(self) -> None:
        """Make `state.maps` fit the sequence and spec; happens by itself when these change."""
        self.sequences.refresh_maps()

    def refresh_heads(self) -> None:
        """Make `state.heads` fit the chosen tokens; the heads panel asks for it while it is seen."""
        self.sequences.refresh_heads()

    # --- questions about all items -----------------------------------------------------------------------
    def classify(self) -> None:
        """Make `state.scores` fit labels and items; happens by itself when these change."""
        self.space.classify()

    def project(self, method: str = "pca") -> None:
        """Make `state.embeddings` and `state.projection` fit the items."""
        self.space.project(method)

    # --- work under way ----------------------------------------------------------------------------------
    def activity(self, key: str) -> Activity:
        """What is under way under `key` (see the table at the top); watch `activities.changed`."""
        return self.activities.get(key)

    def cancel(self, key: str) -> None:
        """Stop what is under way under `key`."""
        self.activities.cancel(key)

    # --- figures -----------------------------------------------------------------------------------------
    def export_figure(
        self, figure: Any, path: str | Path, provenance: Provenance, *, dpi: int = 200, caption: bool = True
    ) -> None:
        """Write a figure (a spec of ``core.figures.spec``) or its numbers; format by the ending of `path`."""

        def done(written: str) -> None:
            self.notice.emit(f"Wrote {written}", "info")

        noted = self.faithfulness.noted(provenance)
        self._render(RenderFigure(figure, noted, str(path), dpi, caption, self._current_ref()), done)

    def copy_figure(
        self, figure: Any, provenance: Provenance, *, dpi: int = 200, caption: bool = True
    ) -> None:
        """Put a figure on the clipboard as an image."""

        def done(png: bytes) -> None:
            QGuiApplication.clipboard().setImage(QImage.fromData(png))
            self.notice.emit("Copied the figure as an image.", "info")

        noted = self.faithfulness.noted(provenance)
        self._render(RenderFigure(figure, noted, None, dpi, caption, self._current_ref()), done)

    def _render(self, request: RenderFigure, done: Callable[[Any], None]) -> None:
        self.activities.run("export", "Drawing the figure", request, done=done, failed=self.report)

    def _current_ref(self) -> Any:
        return self.state.current.ref if self.state.current else None

    # --- reports and settings ----------------------------------------------------------------------------
    def report(self, error: ErrorReport) -> None:
        """Show an error in the notice bar, in plain words, with its details to unfold."""
        self.error.emit(error)

    def remember_recent(self, names: Iterable[str]) -> None:
        """Put files at the top of the recent ones."""
        self.settings.remember_recent(names)
        self.save_settings()
        self.recent_changed.emit()

    def clear_recent(self) -> None:
        """Forget the recent files."""
        self.settings.recent_files.clear()
        self.save_settings()
        self.recent_changed.emit()

    def set_network(self, allowed: bool) -> None:
        """Allow downloads of models, or not."""
        self.settings.allow_network = allowed
        self.save_settings()
        self.apply_network()
        self.hub.allow(allowed)
        self.network_changed.emit()

    def apply_network(self) -> None:
        """Let engines born from now on fetch models, or not."""
        if self.settings.allow_network:
            os.environ[ONLINE_VARIABLE] = "1"
        else:
            os.environ.pop(ONLINE_VARIABLE, None)

    def _recall_view(self) -> None:
        """Paint maps as they were painted last, and keep in mind how they are painted from now on."""
        kept = self.settings
        known = kept.colormap in (*colormaps.SEQUENTIAL, *colormaps.DIVERGING)
        self.state.update_view(
            interpolation=kept.interpolation,
            opacity=kept.opacity,
            **({"colormap": kept.colormap} if known else {}),
        )
        self.state.view_changed.connect(self._on_view)

    def _on_view(self, view: ViewOptions) -> None:
        for name in ("colormap", "interpolation", "opacity"):
            setattr(self.settings, name, getattr(view, name))

    def save_settings(self) -> None:
        """Write the settings, if they came from a file."""
        self.settings.save()

    def _on_status(self, status: EngineStatus) -> None:
        self.engine_status = status
        if status.phase == "gone":
            self._engine_lost = True
            self.notice.emit(f"{status.reason} Your session is untouched.", "warning")
        elif status.phase == "ready" and self._engine_lost:
            self._engine_lost = False
            self.notice.emit("The engine is running again.", "info")
        self.engine_status_changed.emit(status)
        self.models.on_status(status)
