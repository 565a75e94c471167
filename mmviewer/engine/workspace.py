"""What the engine holds between requests: models, decoded media, prepared inputs, features, captures."""

from __future__ import annotations

import contextlib
import ctypes
import gc
import sys
from collections.abc import Collection, Hashable, Iterable, Iterator
from contextlib import contextmanager
from functools import cached_property
from threading import Lock, RLock
from typing import TYPE_CHECKING

from mmviewer.core.errors import ModelError
from mmviewer.core.media.open import reopen
from mmviewer.core.progress import Progress
from mmviewer.core.types import Capability, Media, MediaRef, Shot
from mmviewer.engine.idle import Again, Rest
from mmviewer.engine.lru import ByteCache
from mmviewer.engine.turns import Polite, Turns

if TYPE_CHECKING:  # the media lane must not wait for torch
    import torch

    from mmviewer.core.capture.store import CaptureStore
    from mmviewer.core.explain.pace import Pace
    from mmviewer.core.models.base import LoadedModel, Prepared
    from mmviewer.core.tasks.features import FeatureCache

_MEDIA_BYTES = 1_000_000_000
_PREPARED_BYTES = 256_000_000
_STRIPES = 64


class Workspace:
    """Shared by all lanes; every method may be called from any of them.

    A new model takes the place of the old ones of its kind, vision-language or speech, but for those that are
    to stand beside it.
    """

    def __init__(self) -> None:
        self._media: ByteCache[Media] = ByteCache(_MEDIA_BYTES, _media_bytes)
        self._prepared: ByteCache[Prepared] = ByteCache(_PREPARED_BYTES, _prepared_bytes)
        self._models: dict[str, LoadedModel] = {}  # by id, the newest last
        self._use: dict[str, Turns] = {}  # by model id: one lane at a time runs a model
        self._change = RLock()
        self._rest = Rest()
        self._preparing = tuple(Lock() for _ in range(_STRIPES))

    # --- media ---------------------------------------------------------------------------------------
    def remember(self, media: Media) -> None:
        """Keep a decoded item at hand."""
        self._media.put(media.id, media)

    def media(self, ref: MediaRef) -> Media:
        """The decoded item, decoded anew when it is no longer at hand; raises `MediaError` if it changed."""
        media = self._media.get(ref.id)
        if media is None:
            media = reopen(ref)
            self._media.put(media.id, media)
        return media

    # --- models --------------------------------------------------------------------------------------
    @contextmanager
    def using(self, model_id: str, progress: Progress, *, background: bool = False) -> Iterator[LoadedModel]:
        """The loaded model, for one lane at a time; raises `ModelError` if it is not loaded (any more).

        Work in the `background` gets its turn while nobody else waits; see `politely`.
        """
        turns = self._turns(model_id)
        turns.take(progress, background=background)
        try:
            if model_id in self._rest.resting():
                self._models[model_id] = self._rest.wake(model_id, progress)
            if model_id not in self._models:
                raise ModelError("This model is not loaded any more; load it again in the Model panel.")
            yield self._models[model_id]
        finally:
            self._rest.used(model_id)
            turns.give_back()

    def rest_idle(self, seconds: float) -> None:
        """Let models rest that were not used for so long; `using` brings them back."""
        for model_id in self._rest.due(seconds):
            turns = self._turns(model_id)
            if not turns.take_if_free():
                continue
            try:
                with self._change:
                    devices = [self._remove(model_id)] if model_id in self._models else []
                    self._rest.lay(model_id)
            finally:
                turns.give_back()
            _collect(devices)

    def politely(self, model_id: str, progress: Progress) -> Progress:
        """A progress for long work with a model that lets other lanes in at each of its checks."""
        return Polite(progress, self._turns(model_id))

    def _turns(self, model_id: str) -> Turns:
        return self._use.setdefault(model_id, Turns())

    def adopt(self, model: LoadedModel, again: Again | None = None, keep: Collection[str] = ()) -> None:
        """Take a model in; the former ones of its kind go, with their memory, but for those to `keep`.

        With `again`, which loads it once more, it may rest while nobody uses it.
        """
        speech, known_as = _is_speech(model), model.info.id
        staying = {key for key in keep if key != known_as}
        with self._change:
            alike = {key for key, each in self._models.items() if _is_speech(each) == speech} - staying
            devices = [self._remove(key) for key in alike]
            resting = {key for key, known in self._rest.resting().items() if known.speech == speech} - staying
            for key in (*alike, *resting):
                self._rest.forget(key)
            self._models[known_as] = model
            self._rest.know(model, again, speech=speech)
        _collect(devices)

    def sources(self) -> tuple[str, ...]:
        """What the loaded models were loaded from."""
        resting = [known.source for known in self._rest.resting().values()]
        return (*(model.info.source for model in list(self._models.values())), *resting)

    def is_speech(self, model_id: str) -> bool:
        """Whether a loaded model is a speech model."""
        resting = self._rest.resting().get(model_id)
        if resting is not None:
            return resting.speech
        model = self._models.get(model_id)
        return model is not None and _is_speech(model)

    def forget(self, model_id: str) -> None:
        """Drop a model, what was computed with it, and its memory."""
        with self._change:
            devices = [self._remove(model_id)] if model_id in self._models else []
            self._rest.forget(model_id)
        self.features.forget(model_id)
        _collect(devices)

    def prepared(self, model: LoadedModel, ref: MediaRef, shots: tuple[Shot, ...] = ()) -> Prepared:
        """An item as `model` takes it, with examples before it where there are `shots`."""
        if shots:
            return self._among(model, ref, shots)
        key = (model.info.id, ref.id)
        with self._preparing[hash(key) % _STRIPES]:  # two lanes that want the same item share the work
            prepared = self._prepared.get(key)
            if prepared is None:
                prepared = model.prepare(self.media(ref))
                self._prepared.put(key, prepared)
        return prepared

    def _among(self, model: LoadedModel, ref: MediaRef, shots: tuple[Shot, ...]) -> Prepared:
        from mmviewer.core.tasks.examples import put_before

        key = (model.info.id, ref.id, shots)
        prepared = self._prepared.get(key)
        if prepared is None:
            alone = self.prepared(model, ref)
            prepared = put_before(model, alone, shots, lambda each: self.prepared(model, each))
            self._prepared.put(key, prepared)
        return prepared

    @cached_property
    def features(self) -> FeatureCache:
        """Embeddings of items and texts."""
        from mmviewer.core.tasks.features import FeatureCache

        return FeatureCache()

    @cached_property
    def captures(self) -> CaptureStore:
        """Recorded attention weights."""
        from mmviewer.core.capture.store import CaptureStore

        return CaptureStore()

    @cached_property
    def pace(self) -> Pace:
        """How long maps take with each model."""
        from mmviewer.core.explain.pace import Pace

        return Pace()

    # --- memory and status -------------------------------------------------------------------------------
    def free_caches(self) -> None:
        """Give up everything that can be made again."""
        self._media.drop()
        self._prepared.drop()
        if "captures" in self.__dict__:
            self.captures.drop(lambda key: True)
        _collect(model.placement.device for model in list(self._models.values()))

    def memory(self) -> tuple[int, int] | None:
        """Used and whole memory of the newest model's device in bytes; None without one of its own."""
        model = self._newest()
        if model is None or model.placement.device.type == "cpu":
            return None
        from mmviewer.core.models import device

        try:
            return device.memory(model.placement.device)
        except RuntimeError:  # a device that has failed; the job that uses it will say so
            return None

    def placement(self) -> tuple[str, str, str] | None:
        """Device, dtype and reason of the newest model, or None."""
        model = self._newest()
        if model is None:
            return None
        place = model.placement
        return str(place.device), place.format, place.reason

    def model_labels(self) -> tuple[str, ...]:
        """Labels of the loaded models."""
        return tuple(model.info.label for model in list(self._models.values()))

    def _newest(self) -> LoadedModel | None:
        return next(reversed(list(self._models.values())), None)

    def _remove(self, model_id: str) -> torch.device:
        """Let go of a model and say where it was; no reference may stay, or its memory does."""
        self._prepared.drop(lambda key: _belongs(key, model_id))
        self.captures.drop(lambda key: _belongs(key, model_id))
        self.pace.forget(model_id)
        return self._models.pop(model_id).placement.device


def _collect(devices: Iterable[torch.device]) -> None:
    """Give memory that is not used any more back to the system."""
    gc.collect()
    if "torch" in sys.modules:
        from mmviewer.core.models.device import release_unused

        for device in set(devices):
            release_unused(device)
    if sys.platform == "linux":
        with contextlib.suppress(AttributeError):  # a C library other than glibc
            ctypes.CDLL(None).malloc_trim(0)  # else glibc keeps what was freed


def _belongs(key: Hashable, model_id: str) -> bool:
    """Whether a cache's key begins with the model's id."""
    return isinstance(key, tuple) and key[0] == model_id


def _is_speech(model: LoadedModel) -> bool:
    return model.info.can(Capability.TRANSCRIBE)


def _media_bytes(media: Media) -> int:
    arrays = (media.pixels, media.samples)
    return sum(array.nbytes for array in arrays if array is not None) + len(media.text or "")


def _prepared_bytes(prepared: Prepared) -> int:
    return sum(tensor.nbytes for tensor in prepared.inputs.values())
