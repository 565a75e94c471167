"""What the engine holds between requests: models, decoded media, prepared inputs, features, captures."""

from __future__ import annotations

import contextlib
import ctypes
import gc
import sys
from collections.abc import Hashable, Iterable, Iterator
from contextlib import contextmanager
from functools import cached_property
from threading import Lock, RLock
from typing import TYPE_CHECKING

from mmviewer.core.errors import ModelError
from mmviewer.core.media.open import reopen
from mmviewer.core.progress import Progress
from mmviewer.core.types import Capability, Media, MediaRef
from mmviewer.engine.lru import ByteCache

if TYPE_CHECKING:  # the media lane must not wait for torch
    import torch

    from mmviewer.core.capture.store import CaptureStore
    from mmviewer.core.models.base import LoadedModel, Prepared
    from mmviewer.core.tasks.features import FeatureCache

_MEDIA_BYTES = 1_000_000_000
_PREPARED_BYTES = 256_000_000
_STRIPES = 64
_WAIT = 0.1  # seconds between looks at a cancel while another lane uses the models


class Workspace:
    """Shared by all lanes; every method may be called from any of them.

    One vision-language and one speech model are kept; a new one takes the place of the old one of its kind.
    """

    def __init__(self) -> None:
        self._media: ByteCache[Media] = ByteCache(_MEDIA_BYTES, _media_bytes)
        self._prepared: ByteCache[Prepared] = ByteCache(_PREPARED_BYTES, _prepared_bytes)
        self._models: dict[str, LoadedModel] = {}  # by id, the newest last
        self._use: dict[str, RLock] = {}  # by model id: one lane at a time runs a model
        self._change = RLock()
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
    def using(self, model_id: str, progress: Progress) -> Iterator[LoadedModel]:
        """The loaded model, for one lane at a time; raises `ModelError` if it is not loaded (any more)."""
        lock = self._use.setdefault(model_id, RLock())
        while not lock.acquire(timeout=_WAIT):
            progress.check()
        try:
            if model_id not in self._models:
                raise ModelError("This model is not loaded any more; load it again in the Model panel.")
            yield self._models[model_id]
        finally:
            lock.release()

    def adopt(self, model: LoadedModel) -> None:
        """Take a model in; the former one of its kind goes, with its memory."""
        with self._change:
            former = [key for key, each in self._models.items() if _is_speech(each) == _is_speech(model)]
            devices = [self._remove(key) for key in former]
            self._models[model.info.id] = model
        _collect(devices)

    def is_speech(self, model_id: str) -> bool:
        """Whether a loaded model is a speech model."""
        model = self._models.get(model_id)
        return model is not None and _is_speech(model)

    def forget(self, model_id: str) -> None:
        """Drop a model, what was computed with it, and its memory."""
        with self._change:
            devices = [self._remove(model_id)] if model_id in self._models else []
        self.features.forget(model_id)
        _collect(devices)

    def prepared(self, model: LoadedModel, ref: MediaRef) -> Prepared:
        """An item as `model` takes it."""
        key = (model.info.id, ref.id)
        with self._preparing[hash(key) % _STRIPES]:  # two lanes that want the same item share the work
            prepared = self._prepared.get(key)
            if prepared is None:
                prepared = model.prepare(self.media(ref))
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
        return str(place.device), str(place.dtype).removeprefix("torch."), place.reason

    def model_labels(self) -> tuple[str, ...]:
        """Labels of the loaded models."""
        return tuple(model.info.label for model in list(self._models.values()))

    def _newest(self) -> LoadedModel | None:
        return next(reversed(list(self._models.values())), None)

    def _remove(self, model_id: str) -> torch.device:
        """Let go of a model and say where it was; no reference may stay, or its memory does."""
        self._prepared.drop(lambda key: _belongs(key, model_id))
        self.captures.drop(lambda key: _belongs(key, model_id))
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
