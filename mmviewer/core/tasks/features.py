"""Embeddings that are computed once: of items by their content, of texts by their words, per model."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Hashable, Iterator, Sequence
from dataclasses import dataclass, field
from threading import Lock
from typing import TypeVar

import numpy as np
import torch
from torch import Tensor

from mmviewer.core.errors import DeviceError, InputError
from mmviewer.core.models.base import LoadedModel, Prepared
from mmviewer.core.models.device import out_of_memory, release_unused
from mmviewer.core.progress import SILENT, Progress
from mmviewer.core.types import FloatArray, Media, Modality

Item = Media | Prepared
T = TypeVar("T")

DEFAULT_ENTRIES = 200_000
BATCH = 32


@dataclass(slots=True)
class CacheCounts:
    """How often a vector was found and how often it had to be computed."""

    hits: int = 0
    misses: int = 0


@dataclass(slots=True)
class FeatureCache:
    """Least recently used unit embeddings; safe to use from several threads.

    Parameters
    ----------
    entries : int
        How many vectors are kept; the oldest go first.
    """

    entries: int = DEFAULT_ENTRIES
    items: CacheCounts = field(default_factory=CacheCounts)
    texts: CacheCounts = field(default_factory=CacheCounts)
    _vectors: OrderedDict[Hashable, FloatArray] = field(default_factory=OrderedDict)
    _lock: Lock = field(default_factory=Lock)

    def __len__(self) -> int:
        return len(self._vectors)

    def of_items(
        self, model: LoadedModel, items: Sequence[Item], progress: Progress = SILENT
    ) -> tuple[FloatArray, tuple[str, ...]]:
        """Embed images, sounds and text items: [N, D], and notes on what had to be done for it.

        Only items not seen before under this model and preprocessing are prepared and encoded.
        """
        keys = [_item_key(model, item) for item in items]
        found = self._find(keys, self.items)
        missing = {key: item for key, item in zip(keys, items, strict=True) if key not in found}
        notes: tuple[str, ...] = ()
        done = 0
        for modality in Modality:
            group = [key for key, item in missing.items() if item.modality is modality]

            def encode(batch: Sequence[Hashable], modality: Modality = modality) -> Tensor:
                return _encode(model, modality, [missing[key] for key in batch])

            for batch, vectors, note in in_batches(model, encode, group):
                done += len(batch)
                found.update(self._keep(batch, vectors))
                notes += (note,) if note and note not in notes else ()
                progress.report(done, len(missing), "embedding items")
        return _stacked([found[key] for key in keys]), notes

    def of_texts(self, model: LoadedModel, texts: Sequence[str], progress: Progress = SILENT) -> FloatArray:
        """Embed texts: [M, D]. Only those not seen before are encoded."""
        keys = [_text_key(model, text) for text in texts]
        found = self._find(keys, self.texts)
        missing = {key: text for key, text in zip(keys, texts, strict=True) if key not in found}

        def encode(batch: Sequence[Hashable]) -> Tensor:
            return model.text_features([missing[key] for key in batch])

        done = 0
        for batch, vectors, _ in in_batches(model, encode, list(missing)):
            done += len(batch)
            found.update(self._keep(batch, vectors))
            progress.report(done, len(missing), "embedding texts")
        return _stacked([found[key] for key in keys])

    def unseen_texts(self, model: LoadedModel, texts: Sequence[str]) -> list[str]:
        """Those texts that would have to be encoded."""
        with self._lock:
            return [text for text in texts if _text_key(model, text) not in self._vectors]

    def unseen_items(self, model: LoadedModel, items: Sequence[Item]) -> list[Item]:
        """Those items that would have to be encoded."""
        with self._lock:
            return [item for item in items if _item_key(model, item) not in self._vectors]

    def forget(self, model_id: str) -> None:
        """Drop everything of a model that was unloaded."""
        with self._lock:
            for key in [key for key in self._vectors if isinstance(key, tuple) and key[0] == model_id]:
                del self._vectors[key]

    def _find(self, keys: Sequence[Hashable], counts: CacheCounts) -> dict[Hashable, FloatArray]:
        found = {}
        with self._lock:
            for key in keys:
                vector = self._vectors.get(key)
                if vector is not None:
                    self._vectors.move_to_end(key)
                    found[key] = vector
            counts.hits += sum(key in found for key in keys)
            counts.misses += len({key for key in keys if key not in found})
        return found

    def _keep(self, keys: Sequence[Hashable], vectors: FloatArray) -> dict[Hashable, FloatArray]:
        # copies, or one vector would keep its whole batch in memory
        kept = {key: vector.copy() for key, vector in zip(keys, vectors, strict=True)}
        with self._lock:
            self._vectors.update(kept)
            while len(self._vectors) > self.entries:
                self._vectors.popitem(last=False)
        return kept


def in_batches(
    model: LoadedModel, encode: Callable[[Sequence[T]], Tensor], items: Sequence[T], size: int = BATCH
) -> Iterator[tuple[Sequence[T], FloatArray, str]]:
    """Encode `items` batch by batch, with smaller batches when memory runs out.

    Yields
    ------
    tuple
        The batch, its vectors [n, D], and a note where the batch had to be made smaller, else "".

    Raises
    ------
    DeviceError
        Not even one item fits into memory.
    """
    start, note = 0, ""
    while start < len(items):
        batch = items[start : start + size]
        try:
            with torch.no_grad():
                vectors: FloatArray = encode(batch).float().cpu().numpy()
        except (RuntimeError, MemoryError, DeviceError) as error:
            if not out_of_memory(error.__cause__ or error):
                raise
            if len(batch) == 1:
                raise DeviceError(
                    "The memory does not suffice to encode even one item; close other programs or choose a "
                    "smaller model."
                ) from error
            release_unused(model.placement.device)
            size = len(batch) // 2
            note = f"memory ran out, so items were encoded {size} at a time"
            continue
        yield batch, vectors, note
        start += len(batch)


def _item_key(model: LoadedModel, item: Item) -> Hashable:
    if isinstance(item, Media):
        if item.modality is Modality.TEXT:
            return _text_key(model, item.text or "")
        return _key(model, item.id)
    return _key(model, item.media_id)


def _key(model: LoadedModel, media_id: str) -> Hashable:
    return (*_model_key(model), model.info.preprocessing, media_id)


def _text_key(model: LoadedModel, text: str) -> Hashable:
    return (*_model_key(model), "text", text)


def _model_key(model: LoadedModel) -> tuple[str, ...]:
    info = model.info
    return (info.id, info.revision, info.weights_hash, info.dtype)


def _encode(model: LoadedModel, modality: Modality, items: Sequence[Item]) -> Tensor:
    if modality is Modality.TEXT:
        return model.text_features([text_of(item) for item in items])
    prepared = [model.prepare(item) if isinstance(item, Media) else item for item in items]
    return model.audio_features(prepared) if modality is Modality.AUDIO else model.image_features(prepared)


def text_of(item: Item) -> str:
    """The text of a text item."""
    if not isinstance(item, Media) or not item.text:
        raise InputError("An empty text cannot be embedded; type some words.")
    return item.text


def _stacked(vectors: Sequence[FloatArray]) -> FloatArray:
    return np.stack(vectors) if vectors else np.zeros((0, 0), np.float32)
