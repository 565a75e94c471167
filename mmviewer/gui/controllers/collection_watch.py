"""Watching: the folders of the open collection are followed, and what is new is indexed and placed."""

from __future__ import annotations

from typing import TYPE_CHECKING

from PySide6.QtCore import QObject, Signal

from mmviewer.core.space.collection import FolderSource
from mmviewer.core.space.indexing.pace import IndexProgress
from mmviewer.core.space.projection.base import PROJECTIONS
from mmviewer.core.types import ModelInfo
from mmviewer.engine.protocol import EngineStatus, ErrorReport
from mmviewer.engine.protocol_collection import WatchCollection, Watched, WatchSources
from mmviewer.engine.protocol_space import FallIntoMap, PlacedSpace
from mmviewer.gui.controllers.collection_work import EMBEDS

if TYPE_CHECKING:
    from mmviewer.gui.workbench import Workbench

# none of the keys "collection:*", whose work ends and is shown with its progress
WATCH, MARK = "watching", "watching:mark"
PLACE_NEW = "collection:new"
PERIOD = 5.0
"""Seconds between looks at the folders."""


class CollectionWatch(QObject):
    """Follows the folders of the open collection while it is open, if they ask for it.

    The wish is kept in the collection: it is watched again when it is opened again, and when the engine was
    born again.

    Signals
    -------
    changed()
        Watching began, ended, found something or met with trouble.
    """

    changed = Signal()

    def __init__(self, workbench: Workbench) -> None:
        super().__init__(workbench)
        self._workbench = workbench
        self._activities = workbench.activities
        self._collections = workbench.collections
        self._asked: WatchCollection | None = None
        self._trouble = ""
        self._failed_with_engine = False
        self._collections.opened.connect(self._follow)
        self._collections.changed.connect(self._follow)
        workbench.state.model_changed.connect(self._on_models)
        workbench.state.others_changed.connect(self._on_models)
        workbench.engine_status_changed.connect(self._on_status)

    def release(self) -> None:
        """Stop watching; called before the window goes."""
        self._workbench.state.model_changed.disconnect(self._on_models, missing_ok=True)
        self._workbench.state.others_changed.disconnect(self._on_models, missing_ok=True)
        self._stop()

    # --- what goes on -------------------------------------------------------------------------------------
    @property
    def possible(self) -> bool:
        """Whether the open collection has folders; lists and tables are not watched."""
        view = self._collections.view
        return view is not None and any(isinstance(each.spec, FolderSource) for each in view.sources)

    @property
    def wanted(self) -> bool:
        """Whether the open collection asks to be watched."""
        view = self._collections.view
        return view is not None and any(getattr(each.spec, "watch", False) for each in view.sources)

    @property
    def watching(self) -> bool:
        """Whether changes are followed now."""
        return self._asked is not None and self._activities.get(WATCH).running

    @property
    def words(self) -> str:
        """What is going on, in a few words; empty while nothing is watched."""
        if not self.watching or self._asked is None:
            return ""
        if self._trouble:
            return f"watching, but {self._trouble[:1].lower()}{self._trouble[1:]}"
        if not self._asked.model_id:
            return "watching; to index what comes, load the model that made the vectors"
        return "watching for changes"

    def set_watching(self, on: bool) -> None:
        """Let changes in the folders of the open collection be followed, or not any more."""
        view = self._collections.view
        if view is None or on == self.wanted:
            return
        request = WatchSources(str(view.folder), on)
        label = "Beginning to watch" if on else "Ending to watch"
        self._activities.run(
            MARK, label, request, lambda _count: self._collections.look_again(), failed=self._failed
        )

    # --- following ----------------------------------------------------------------------------------------
    def _follow(self) -> None:
        """Watch what is open with the model that made its vectors, if it asks for it."""
        view = self._collections.view
        if view is None or not self.wanted:
            self._stop()
            return
        model = self._model()
        request = WatchCollection(str(view.folder), "" if model is None else model.id, PERIOD)
        if request == self._asked:
            return
        self._trouble, self._asked = "", request
        self._start()

    def _start(self) -> None:
        assert self._asked is not None
        self._failed_with_engine = False
        self._activities.run(
            WATCH,
            "Watching for changes",
            self._asked,
            lambda _none: self._stop(),
            partial=self._on_news,
            failed=self._on_failed,
            visible=False,
        )
        self.changed.emit()

    def _stop(self) -> None:
        self._failed_with_engine = False
        if self._asked is not None:
            self._asked, self._trouble = None, ""
            self._activities.cancel(WATCH)
            self.changed.emit()

    def _model(self) -> ModelInfo | None:
        """The loaded model whose vectors are looked at; the one in use where there are none yet."""
        view, state = self._collections.view, self._workbench.state
        space = None if view is None else view.space(self._collections.space_id)
        if space is not None:
            return next((model for model in state.models if model.id == space.model_id), None)
        model = state.model
        return model if model is not None and any(model.can(needed) for needed in EMBEDS) else None

    # --- events -------------------------------------------------------------------------------------------
    def _on_models(self, _models: object) -> None:
        if self._asked is not None:
            self._follow()

    def _on_news(self, news: Watched | IndexProgress) -> None:
        if isinstance(news, IndexProgress):
            return
        self._trouble = news.trouble
        self._collections.look_again()
        if news.embedded:
            self._place_new()
        self.changed.emit()

    def _place_new(self) -> None:
        """Let what is new fall into the map that is shown; without one, make it."""
        view, coordinates = self._collections.view, self._collections.coordinates
        space_id = self._collections.space_id
        if view is None or not space_id:
            return
        if coordinates is None:
            self._workbench.collection_work.place("pca")
            return
        if coordinates.name not in view.maps or coordinates.space_id != space_id:
            return

        def placed(found: PlacedSpace) -> None:
            self._collections.look_again()
            shown = self._collections.coordinates
            if shown is not None and shown.name == found.name:
                self._collections.show_map(found.name)

        known = coordinates.method in tuple(PROJECTIONS.keys())
        label = PROJECTIONS.get(coordinates.method).label if known else coordinates.name
        request = FallIntoMap(
            str(view.folder), space_id, map=coordinates.name, closed=self._collections.closed
        )
        self._activities.run(
            PLACE_NEW, f"Placing new items ({label})", request, placed, failed=self._workbench.report
        )

    def _on_failed(self, error: ErrorReport) -> None:
        """An engine that died is waited for; else watching is given up until it is asked for again."""
        if self._workbench.engine_status.phase == "gone":
            self._failed_with_engine = True
            return
        self._workbench.report(error)
        self.changed.emit()

    def _on_status(self, status: EngineStatus) -> None:
        if self._failed_with_engine and status.phase in ("ready", "busy") and self._asked is not None:
            self._start()

    def _failed(self, error: ErrorReport) -> None:
        self._workbench.report(error)
        self.changed.emit()
