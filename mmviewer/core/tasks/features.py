"""Embeddings that are computed once: of items by their content, of texts by their words, per model."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from threading import Lock
from typing import TypeVar

import numpy as np
import torch
from torch import Tensor

from mmviewer.core.errors import DeviceError, InputError, out_of_memory
from mmviewer.core.models.base import LoadedModel, Prepared
from mmviewer.core.models.device import release_unused
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


class _Table:
    """Vectors of one model and kind in the rows of one matrix, the oldest first in `rows`."""

    def __init__(self, limit: int) -> None:
        self.rows: dict[str, int] = {}
        self._limit = limit
        self._matrix: FloatArray = np.zeros((0, 0), np.float32)

    def find(self, keys: Sequence[str]) -> tuple[FloatArray, list[int]]:
        """Return vectors [N, D] of the keys, and the places of those unknown, whose vectors mean nothing."""
        rows = [self.rows.get(key, -1) for key in keys]
        unknown = [place for place, row in enumerate(rows) if row < 0] if -1 in rows else []
        if not len(self._matrix):
            return np.zeros((len(keys), 0), np.float32), unknown
        return self._matrix[rows], unknown

    def keep(self, key: str, vector: FloatArray) -> None:
        """Add a vector, in the place of the oldest one when there is no more room."""
        if key in self.rows:
            return
        row = len(self.rows)
        if row >= self._limit:
            row = self.rows.pop(next(iter(self.rows)))
        if row >= len(self._matrix):
            larger = np.zeros((max(64, 2 * len(self._matrix)), len(vector)), np.float32)
            larger[: len(self._matrix)] = self._matrix if len(self._matrix) else 0
            self._matrix = larger
        self._matrix[row] = vector
        self.rows[key] = row


class FeatureCache:
    """Unit embeddings that were computed before; safe to use from several threads.

    Parameters
    ----------
    entries : int
        How many vectors are kept of each model and kind; the oldest go first.

    Attributes
    ----------
    items, texts : CacheCounts
        How often a vector was found, and how often it had to be computed.
    """

    def __init__(self, entries: int = DEFAULT_ENTRIES) -> None:
        self.items = CacheCounts()
        self.texts = CacheCounts()
        self._entries = entries
        self._tables: dict[tuple[str, ...], _Table] = {}
        self._lock = Lock()

    def __len__(self) -> int:
        return sum(len(table.rows) for table in self._tables.values())

    def of_items(
        self, model: LoadedModel, items: Sequence[Item], progress: Progress = SILENT
    ) -> tuple[FloatArray, tuple[str, ...]]:
        """Embed images, sounds and texts: [N, D], and notes on what had to be done for it.

        Only items not seen before under this model and preprocessing are prepared and encoded.
        """
        if not items:
            return np.zeros((0, 0), np.float32), ()
        kinds = {item.modality for item in items}
        if len(kinds) == 1:
            return self._of_kind(model, items, progress)
        vectors: dict[int, FloatArray] = {}
        notes: tuple[str, ...] = ()
        for kind in sorted(kinds):
            places = [place for place, item in enumerate(items) if item.modality is kind]
            found, said = self._of_kind(model, [items[place] for place in places], progress)
            vectors.update(zip(places, found, strict=True))
            notes += tuple(note for note in said if note not in notes)
        return np.stack([vectors[place] for place in range(len(items))]), notes

    def of_texts(self, model: LoadedModel, texts: Sequence[str], progress: Progress = SILENT) -> FloatArray:
        """Embed texts: [M, D]. Only those not seen before are encoded."""
        return self._of_texts(model, texts, progress)[0]

    def unseen_items(self, model: LoadedModel, items: Sequence[Item]) -> list[Item]:
        """Those items that would have to be encoded; the engine decodes only these."""
        texts, media = self._table(model, "text"), self._table(model, model.info.preprocessing)
        with self._lock:
            return [item for item in items if not _is_in(item, texts, media)]

    def forget(self, model_id: str) -> None:
        """Drop everything of a model that was unloaded."""
        with self._lock:
            for key in [key for key in self._tables if key[0] == model_id]:
                del self._tables[key]

    def _of_kind(
        self, model: LoadedModel, items: Sequence[Item], progress: Progress
    ) -> tuple[FloatArray, tuple[str, ...]]:
        """Embed items of one modality."""
        if items[0].modality is Modality.TEXT:
            return self._of_texts(model, [text_of(item) for item in items], progress)
        return self._of_media(model, items, progress)

    def _of_texts(
        self, model: LoadedModel, texts: Sequence[str], progress: Progress
    ) -> tuple[FloatArray, tuple[str, ...]]:
        table = self._table(model, "text")

        def encode(batch: Sequence[str]) -> Tensor:
            return model.text_features(batch)

        return self._vectors(model, table, texts, self.texts, encode, progress)

    def _of_media(
        self, model: LoadedModel, items: Sequence[Item], progress: Progress
    ) -> tuple[FloatArray, tuple[str, ...]]:
        table = self._table(model, model.info.preprocessing)
        by_id = {_id(item): item for item in items}

        def encode(batch: Sequence[str]) -> Tensor:
            chosen = [by_id[key] for key in batch]
            prepared = [model.prepare(item) if isinstance(item, Media) else item for item in chosen]
            is_audio = chosen[0].modality is Modality.AUDIO
            return model.audio_features(prepared) if is_audio else model.image_features(prepared)

        keys = [_id(item) for item in items]
        return self._vectors(model, table, keys, self.items, encode, progress)

    def _vectors(
        self,
        model: LoadedModel,
        table: _Table,
        keys: Sequence[str],
        counts: CacheCounts,
        encode: Callable[[Sequence[str]], Tensor],
        progress: Progress,
    ) -> tuple[FloatArray, tuple[str, ...]]:
        with self._lock:
            found, unknown = table.find(keys)
        counts.hits += len(keys) - len(unknown)
        if not unknown:
            return found, ()
        missing = list(dict.fromkeys([keys[place] for place in unknown]))
        counts.misses += len(missing)
        new: dict[str, FloatArray] = {}
        notes: list[str] = []
        for batch, vectors, note in in_batches(model, encode, missing):
            new.update(zip(batch, vectors, strict=True))
            notes += [note] if note and note not in notes else []
            with self._lock:
                for key, vector in zip(batch, vectors, strict=True):
                    table.keep(key, vector)
            progress.report(len(new), len(missing), "encoding")
        if not found.shape[1]:  # the first of their kind
            return np.stack([new[key] for key in keys]), tuple(notes)
        found[unknown] = [new[keys[place]] for place in unknown]
        return found, tuple(notes)

    def _table(self, model: LoadedModel, kind: str) -> _Table:
        info = model.info
        key = (info.id, info.revision, info.weights_hash, info.dtype, kind)
        with self._lock:
            if key not in self._tables:
                self._tables[key] = _Table(self._entries)
            return self._tables[key]


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
            if not out_of_memory(error):
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


def _is_in(item: Item, texts: _Table, media: _Table) -> bool:
    return text_of(item) in texts.rows if item.modality is Modality.TEXT else _id(item) in media.rows


def _id(item: Item) -> str:
    return item.id if isinstance(item, Media) else item.media_id


def text_of(item: Item) -> str:
    """The text of a text item."""
    if not isinstance(item, Media) or not item.text:
        raise InputError("An empty text cannot be embedded; type some words.")
    return item.text
