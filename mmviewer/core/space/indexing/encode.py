"""From prepared items to vectors, in batches that fit into the device's memory. Imports torch."""

from __future__ import annotations

import time
from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from mmviewer.core.errors import InputError, MediaError, UnsupportedError
from mmviewer.core.models.base import LoadedModel, Prepared
from mmviewer.core.models.device import room
from mmviewer.core.models.preparation import Ready
from mmviewer.core.space.collection.vectors import sound
from mmviewer.core.space.indexing.decode import Decoded, Decoding
from mmviewer.core.tasks.embed import NEEDED
from mmviewer.core.tasks.features import in_batches
from mmviewer.core.types import Capability, FloatArray, Media, Modality

CPU_BATCH = 8
"""On a CPU more only moves memory: the starter took 80 ms an item with 4 and 160 ms with 32."""
FIRST_BATCH = 32
LARGEST_BATCH = 512
_LONGEST = 1.0  # seconds that a batch should take: a cancel, and whoever wants the model, waits for its end
_PROBE = "a"
_NO_VECTOR = "the model made numbers of it that are no vector; load it in float32"


class BatchSize:
    """How many items a device takes at once: few on a CPU; on a GPU as many as half of what is free holds.

    A batch that takes longer than a second makes the next ones smaller, unless the size was chosen.

    Parameters
    ----------
    device : torch.device
    fixed : int, optional
        Chosen by the user; still made smaller when memory runs out.
    """

    def __init__(self, device: torch.device, fixed: int | None = None) -> None:
        self._device = device
        self._fixed = fixed is not None
        self._most = CPU_BATCH if device.type == "cpu" else LARGEST_BATCH
        self._before = 0
        self.size = fixed or (CPU_BATCH if device.type == "cpu" else FIRST_BATCH)

    def begin(self) -> None:
        """Before a batch."""
        if self._device.type == "cuda":
            torch.cuda.reset_peak_memory_stats(self._device)
            self._before = torch.cuda.memory_allocated(self._device)

    def end(self, count: int, seconds: float) -> None:
        """After a batch of `count`: shrink to the time it took, or grow to what its memory tells."""
        if self._fixed:
            return
        if seconds > _LONGEST:
            self.size = max(min(self.size, count // 2), 1)
        elif count >= self.size and seconds < _LONGEST / 2:
            self.size = max(min(2 * self.size, self._fitting(count), self._most), 1)

    def shrink(self, size: int) -> None:
        """Memory ran out; this many went through."""
        self.size = self._most = max(size, 1)

    def _fitting(self, count: int) -> int:
        """Items that half of the free memory holds, by what the last `count` took."""
        if self._device.type != "cuda":
            return self._most
        each = (torch.cuda.max_memory_allocated(self._device) - self._before) / count
        return int(room(self._device) / max(each, 1))


def decoding_for(model: LoadedModel) -> Decoding:
    """How items are decoded for a model, elsewhere than where it runs.

    Raises
    ------
    UnsupportedError
        It embeds nothing.
    """
    kinds = frozenset(kind for kind, needed in NEEDED.items() if model.info.can(needed))
    if not kinds:
        raise UnsupportedError(
            f"{model.info.label} makes no embeddings, so nothing can be indexed with it; load one that does."
        )
    return Decoding(kinds, model.preparation())


def width_of(model: LoadedModel) -> int:
    """Numbers of its vectors, found by embedding next to nothing."""
    with torch.no_grad():
        if model.info.can(Capability.EMBED_TEXT):
            return int(model.text_features([_PROBE]).shape[1])
        if model.info.can(Capability.EMBED_IMAGE):
            grey = Media("probe", Modality.IMAGE, "probe", pixels=np.full((64, 64, 3), 128, np.uint8))
            return int(model.image_features([model.prepare(grey)]).shape[1])
        silence = Media("probe", Modality.AUDIO, "probe", samples=np.zeros(16_000, np.float32))
        return int(model.audio_features([model.prepare(silence)]).shape[1])


def encode(model: LoadedModel, batch: Sequence[Decoded], size: BatchSize) -> tuple[FloatArray, str]:
    """Vectors [N, D] of decoded items of one kind, and a note if memory ran out.

    Raises
    ------
    DeviceError
        Not even one item fits into memory.
    """

    def features(part: Sequence[Decoded]) -> Tensor:
        if part[0].kind is Modality.TEXT:
            return model.text_features([_text(each) for each in part])
        prepared = _prepared(model, part)
        sounds = part[0].kind is Modality.AUDIO
        return model.audio_features(prepared) if sounds else model.image_features(prepared)

    found: list[FloatArray] = []
    said = ""
    start = time.monotonic()
    size.begin()
    for part, vectors, note in in_batches(model, features, batch, len(batch)):
        found.append(vectors)
        if note:
            size.shrink(len(part))
            said = note
    size.end(len(batch), time.monotonic() - start)
    return np.concatenate(found), said


def encode_each(
    model: LoadedModel, batch: Sequence[Decoded], size: BatchSize
) -> tuple[FloatArray, list[str], str]:
    """The same where the model may refuse some of them, such as texts that are too long.

    Returns
    -------
    vectors : float32 array [N, D]
        NaN for those that were refused.
    refusals : list of str
        A sentence for each that was, else "".
    note : str
    """
    try:
        vectors, note = encode(model, batch, size)
    except (InputError, MediaError) as error:
        if len(batch) == 1:
            return np.full((1, 1), np.nan, np.float32), [error.message], ""
        halves = [encode_each(model, part, size) for part in _halves(batch)]
        width = max(part[0].shape[1] for part in halves)
        found = np.full((len(batch), width), np.nan, np.float32)
        for part, start in zip(halves, (0, len(halves[0][0])), strict=True):
            if part[0].shape[1] == width:
                found[start : start + len(part[0])] = part[0]
        refusals = [each for _, said, _ in halves for each in said]
        return found, refusals, next((note for _, _, note in halves if note), "")
    good = sound(vectors)
    return vectors, ["" if fine else _NO_VECTOR for fine in good], note


def _halves(batch: Sequence[Decoded]) -> tuple[Sequence[Decoded], Sequence[Decoded]]:
    middle = len(batch) // 2
    return batch[:middle], batch[middle:]


def _prepared(model: LoadedModel, part: Sequence[Decoded]) -> list[Prepared]:
    """The model's inputs; those that another process has prepared are completed together."""
    ready = [each.item for each in part if isinstance(each.item, Ready)]
    if len(ready) == len(part):
        return model.receive(ready)
    return [model.prepare(each.item) for each in part if isinstance(each.item, Media)]


def _text(decoded: Decoded) -> str:
    if not isinstance(decoded.item, Media) or not decoded.item.text:
        raise InputError("An empty text cannot be embedded; remove it from its source.")
    return decoded.item.text
