"""Which models are loaded: loading, unloading, and loading again when the engine was reborn."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from PySide6.QtCore import QObject, Signal

from mmviewer.core.session.state import LibraryItem, SessionState
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
    from mmviewer.gui.workbench import Workbench

STARTER = "starter"
_NAME_LENGTH = 40


@dataclass(frozen=True, slots=True)
class _Wanted:
    """What was asked for, to ask again."""

    source: str
    device: str
    dtype: str

    def serves(self, wish: _Wanted) -> bool:
        """Whether a model that was loaded so is what `wish` asks for; what is left open fits all."""
        same = self.source == wish.source
        return same and wish.device in ("auto", self.device) and wish.dtype in ("auto", self.dtype)


class ModelController(QObject):
    """Keeps `state.model`, `state.speech_model` and `state.others` in step with the engine."""

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
        *,
        keep: bool = False,
    ) -> None:
        """Load a model and use it; the former one of its kind goes, or with `keep` stays loaded beside it."""
        wanted = _Wanted(source.strip(), device, dtype)
        if not wanted.source:
            return
        here = self._loaded_as(wanted, self._state.others)
        if here is not None:
            self.use(here.id)
            if done is not None:
                done(here)
            return
        staying = self._state.models if keep else self._state.others

        def loaded(info: ModelInfo) -> None:
            self._take(info, wanted, keep=keep)
            if done is not None:
                done(info)

        self._load(wanted, staying, loaded)

    def load_beside(self, source: str, device: str, dtype: str, done: Callable[[ModelInfo], None]) -> None:
        """Load a model beside those in use, which stay in use; one that is loaded is taken as it is."""
        wanted = _Wanted(source.strip(), device, dtype)
        here = self._loaded_as(wanted, self._state.models)
        if here is not None:
            done(here)
            return

        def loaded(info: ModelInfo) -> None:
            in_use = (self._state.model, self._state.speech_model)
            if info.id in {each.id for each in in_use if each is not None}:
                self._take(info, wanted)  # the same weights by another name
            else:
                self._wanted[info.id] = wanted
                self._state.set_others((*self._others_but(info.id), info))
            done(info)

        self._load(wanted, self._state.models, loaded)

    def use(self, model_id: str) -> None:
        """Use a model that is loaded beside the others; the one of its kind that was in use stays loaded."""
        info = next((each for each in self._state.others if each.id == model_id), None)
        if info is not None:
            self._take(info, self._wanted[info.id], keep=True)

    def _load(
        self, wanted: _Wanted, staying: tuple[ModelInfo, ...], loaded: Callable[[ModelInfo], None]
    ) -> None:
        keep = tuple(info.id for info in staying)
        self._activities.run(
            "model",
            f"Loading {_short(wanted.source)}",
            LoadModel(wanted.source, wanted.device, wanted.dtype, keep),
            done=loaded,
            partial=self._warn,
            failed=self._workbench.report,
        )

    def _loaded_as(self, wish: _Wanted, among: tuple[ModelInfo, ...]) -> ModelInfo | None:
        known = ((info, self._wanted.get(info.id)) for info in among)
        return next((info for info, how in known if how is not None and how.serves(wish)), None)

    def _others_but(self, *model_ids: str) -> tuple[ModelInfo, ...]:
        return tuple(info for info in self._state.others if info.id not in model_ids)

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
        self._state.set_others(self._others_but(model_id))
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
        """The model that looks at `item` or listens to it; see `model_for`."""
        return model_for(self._state, item)

    def for_words(self, item: LibraryItem | None) -> ModelInfo | None:
        """The model that finds typed words in `item`."""
        return model_for_words(self._state, item)

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
                "No speech model is loaded: open the Model panel and load one, for example a Whisper folder. "
                "Words typed at the top can be found in a sound without one.",
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
            partial=self._warn,
            failed=failed,
        )

    def _warn(self, words: str) -> None:
        """Say that a model is loaded in a smaller way than it would be by itself."""
        self._workbench.notice.emit(words, "warning")

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
            LoadModel(wanted.source, wanted.device, wanted.dtype, tuple(self._wanted)),
            done=lambda info: self._take_back(info, wanted),
            failed=lambda error: self._lost(wanted, error),
        )

    def _lost(self, wanted: _Wanted, error: ErrorReport) -> None:
        for model_id in [key for key, value in self._wanted.items() if value == wanted]:
            self.unload(model_id)
        self._workbench.report(error)

    def _take_back(self, info: ModelInfo, wanted: _Wanted) -> None:
        """Put a model that was loaded again where it was: in use, or beside that."""
        former = {key for key, value in self._wanted.items() if value == wanted}
        if former & {each.id for each in self._state.others}:
            for key in former:
                del self._wanted[key]
            self._wanted[info.id] = wanted
            self._state.set_others((*self._others_but(*former), info))
        else:
            self._take(info, wanted)

    def _take(self, info: ModelInfo, wanted: _Wanted, *, keep: bool = False) -> None:
        """Use a model; the former one of its kind is loaded beside it now, or gone."""
        former = self._state.speech_model if info.can(Capability.TRANSCRIBE) else self._state.model
        others = self._others_but(info.id)
        if former is not None and former.id != info.id:
            if keep:
                others = (*others, former)
            else:
                self._wanted.pop(former.id, None)
        self._wanted[info.id] = wanted
        self._state.set_others(others)
        if info.can(Capability.TRANSCRIBE):
            self._state.set_speech_model(info)
            self._workbench.settings.speech_model = wanted.source
        else:
            self._state.set_model(info)
            self._workbench.settings.model = wanted.source
        self._workbench.save_settings()


def model_for(state: SessionState, item: LibraryItem | None) -> ModelInfo | None:
    """The model of a session that looks at `item`, or listens to it: what concerns items of its kind.

    For a sound the model whose words are shown, else the speech model, else one that embeds sounds.
    """
    embeds, shown = model_for_words(state, item), state.sequence
    if item is None or item.media.modality is not Modality.AUDIO:
        return embeds
    if embeds is not None and shown is not None and (shown.media_id, shown.model_id) == (item.id, embeds.id):
        return embeds
    return state.speech_model or embeds


def model_for_words(state: SessionState, item: LibraryItem | None) -> ModelInfo | None:
    """The model of a session that finds typed words in `item`."""
    if item is None or state.model is None:
        return None
    modality = item.media.modality
    if modality is Modality.TEXT:
        return state.model
    side = state.model.side(modality)
    return side if modality is not Modality.AUDIO or side.can(Capability.EMBED_AUDIO) else None


def _short(source: str) -> str:
    """The last part of a path or id, as a label has room for it."""
    name = source.rstrip("/\\").replace("\\", "/").rsplit("/", 1)[-1]
    return name if len(name) <= _NAME_LENGTH else f"{name[: _NAME_LENGTH - 1]}…"
