"""Which models are loaded: loading, unloading, and loading again when the engine was reborn."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from PySide6.QtCore import QObject, Signal

from mmviewer.core.types import Capability, Modality, ModelInfo
from mmviewer.engine.protocol import (
    EngineStatus,
    ErrorReport,
    ListModels,
    LoadModel,
    ModelListing,
    UnloadModel,
)

if TYPE_CHECKING:
    from mmviewer.core.session.state import LibraryItem
    from mmviewer.gui.workbench import Workbench

STARTER = "starter"
_NAME_LENGTH = 40


@dataclass(frozen=True, slots=True)
class _Wanted:
    """What was asked for, to ask again."""

    source: str
    device: str
    dtype: str


class ModelController(QObject):
    """Keeps `state.model` and `state.speech_model` in step with the engine."""

    listings_changed = Signal(tuple)
    """tuple of `ModelListing`."""

    def __init__(self, workbench: Workbench) -> None:
        super().__init__(workbench)
        self._workbench = workbench
        self._state = workbench.state
        self._activities = workbench.activities
        self._wanted: dict[str, _Wanted] = {}
        self._engine_gone = False
        self.listings: tuple[ModelListing, ...] = ()

    def load(
        self,
        source: str,
        device: str = "auto",
        dtype: str = "auto",
        done: Callable[[ModelInfo], None] | None = None,
    ) -> None:
        """Load a model; it takes the place of the former one of its kind."""
        wanted = _Wanted(source.strip(), device, dtype)
        if not wanted.source:
            return

        def loaded(info: ModelInfo) -> None:
            self._take(info, wanted)
            if done is not None:
                done(info)

        self._activities.run(
            "model",
            f"Loading {_short(wanted.source)}",
            LoadModel(wanted.source, device, dtype),
            done=loaded,
            failed=self._workbench.report,
        )

    def load_remembered(self) -> None:
        """Load the models of the last run; the starter where there are none or the last cannot be loaded."""
        settings = self._workbench.settings
        source = settings.model or STARTER

        def failed(error: ErrorReport) -> None:
            self._workbench.report(error)
            if source != STARTER:
                self._workbench.notice.emit("The starter model is loaded instead.", "info")
                self.load(STARTER)

        self._start(_Wanted(source, settings.device, settings.dtype), "model", failed)
        if settings.speech_model:
            self._start(
                _Wanted(settings.speech_model, settings.device, settings.dtype), "speech", self._forget_speech
            )

    def unload(self, model_id: str) -> None:
        """Forget a model and free its memory."""
        self._wanted.pop(model_id, None)
        if self._state.model is not None and self._state.model.id == model_id:
            self._state.set_model(None)
        if self._state.speech_model is not None and self._state.speech_model.id == model_id:
            self._state.set_speech_model(None)
        self._activities.run(
            f"unload:{model_id}", "Unloading", UnloadModel(model_id), done=lambda _none: None, visible=False
        )

    def refresh_listings(self) -> None:
        """Ask which models are present."""

        def listed(listings: tuple[ModelListing, ...]) -> None:
            self.listings = tuple(listings)
            self.listings_changed.emit(self.listings)

        self._activities.run("listings", "Looking for models", ListModels(), done=listed, visible=False)

    def for_item(self, item: LibraryItem | None) -> ModelInfo | None:
        """The model that looks at `item`."""
        if item is None:
            return None
        return self._state.speech_model if item.media.modality is Modality.AUDIO else self._state.model

    def with_speech(self, then: Callable[[], None]) -> None:
        """Load a speech model that is present, then go on; say what to do when there is none."""

        def listed(listings: tuple[ModelListing, ...]) -> None:
            self.listings = tuple(listings)
            self.listings_changed.emit(self.listings)
            speech = [entry for entry in listings if entry.present and "whisper" in entry.family.lower()]
            if speech:
                self.load(min(speech, key=lambda entry: entry.size_bytes).source, done=lambda _info: then())
                return
            self._workbench.notice.emit(
                "No speech model is loaded: open the Model panel and load one, for example a Whisper folder.",
                "info",
            )

        self._activities.run("listings", "Looking for a speech model", ListModels(), done=listed)

    def on_status(self, status: EngineStatus) -> None:
        """After the engine died and a new one is there: load the models again, then go on with the work."""
        if status.phase == "gone":
            self._engine_gone = True
        elif self._engine_gone:
            self._engine_gone = False
            self._activities.resume(self._reload_all)

    def _start(self, wanted: _Wanted, key: str, failed: Callable[[ErrorReport], None]) -> None:
        self._activities.run(
            key,
            f"Loading {_short(wanted.source)}",
            LoadModel(wanted.source, wanted.device, wanted.dtype),
            done=lambda info: self._take(info, wanted),
            failed=failed,
        )

    def _forget_speech(self, error: ErrorReport) -> None:
        self._workbench.settings.speech_model = ""
        self._workbench.report(error)

    def _reload_all(self) -> None:
        for wanted in dict.fromkeys(self._wanted.values()):
            self._reload(wanted)

    def _reload(self, wanted: _Wanted) -> None:
        self._activities.run(
            f"reload:{wanted.source}",
            f"Loading {_short(wanted.source)} again",
            LoadModel(wanted.source, wanted.device, wanted.dtype),
            done=lambda info: self._take(info, wanted),
            failed=lambda error: self._lost(wanted, error),
        )

    def _lost(self, wanted: _Wanted, error: ErrorReport) -> None:
        for model_id in [key for key, value in self._wanted.items() if value == wanted]:
            self.unload(model_id)
        self._workbench.report(error)

    def _take(self, info: ModelInfo, wanted: _Wanted) -> None:
        former = self._state.speech_model if info.can(Capability.TRANSCRIBE) else self._state.model
        if former is not None:
            self._wanted.pop(former.id, None)
        self._wanted[info.id] = wanted
        if info.can(Capability.TRANSCRIBE):
            self._state.set_speech_model(info)
            self._workbench.settings.speech_model = wanted.source
        else:
            self._state.set_model(info)
            self._workbench.settings.model = wanted.source
        self._workbench.save_settings()


def _short(source: str) -> str:
    """The last part of a path or id, as a label has room for it."""
    name = source.rstrip("/\\").replace("\\", "/").rsplit("/", 1)[-1]
    return name if len(name) <= _NAME_LENGTH else f"{name[: _NAME_LENGTH - 1]}…"
