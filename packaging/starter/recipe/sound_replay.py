"""What the lower part of the tower made of sounds, kept so that the upper part can learn from each often."""

from __future__ import annotations

from dataclasses import dataclass, fields
from pathlib import Path

import numpy as np
import torch
from torch.nn.attention import SDPBackend, sdpa_kernel

from mmviewer.core.models.sound.tower import SoundTower
from recipe.sound_batches import SoundBatch


@dataclass(frozen=True, slots=True, eq=False)
class HeardBatch:
    """A `SoundBatch` after the lower part: `heard` float16 [B, 2 P, ear width] in place of its log-mel."""

    heard: torch.Tensor
    label: torch.Tensor
    captions: list[str]
    part_row: torch.Tensor
    part_label: torch.Tensor
    part_inside: torch.Tensor


@torch.no_grad()
def listen(tower: SoundTower, batch: SoundBatch) -> HeardBatch:
    """Run the lower part, which is not trained."""
    with sdpa_kernel(SDPBackend.MATH), torch.autocast("cpu", dtype=torch.bfloat16):
        heard = tower.hear(batch.mel)
    rest = {field.name: getattr(batch, field.name) for field in fields(HeardBatch)[1:]}
    return HeardBatch(heard.half(), **rest)


class Replay:
    """The last batches, by the length of their windows.

    Parameters
    ----------
    limit
        How many batches are kept; the oldest go first.
    """

    def __init__(self, limit: int, seed: int) -> None:
        self._limit = limit
        self._generator = np.random.default_rng(seed)
        self._batches: list[HeardBatch] = []

    def __len__(self) -> int:
        return len(self._batches)

    def add(self, batch: HeardBatch) -> None:
        """Keep a batch, in the place of the oldest."""
        self._batches.append(batch)
        del self._batches[: -self._limit]

    def draw(self, parts: int) -> HeardBatch:
        """Some batches of one window length, drawn at random, as one."""
        first = self._batches[int(self._generator.integers(len(self._batches)))]
        alike = [batch for batch in self._batches if batch.heard.shape[1] == first.heard.shape[1]]
        others = [alike[int(i)] for i in self._generator.integers(len(alike), size=parts - 1)]
        drawn = list({id(batch): batch for batch in (first, *others)}.values())
        starts = np.cumsum([0, *(len(batch.heard) for batch in drawn)])
        return HeardBatch(
            torch.cat([batch.heard for batch in drawn]),
            torch.cat([batch.label for batch in drawn]),
            [caption for batch in drawn for caption in batch.captions],
            torch.cat([batch.part_row + int(start) for batch, start in zip(drawn, starts, strict=False)]),
            torch.cat([batch.part_label for batch in drawn]),
            torch.cat([batch.part_inside for batch in drawn]),
        )

    def save(self, path: Path) -> None:
        """Write all batches."""
        rows = [
            {field.name: getattr(batch, field.name) for field in fields(HeardBatch)}
            for batch in self._batches
        ]
        torch.save(rows, path)

    def load(self, path: Path) -> None:
        """Take the batches of an earlier run."""
        self._batches = [HeardBatch(**row) for row in torch.load(path, weights_only=True)]
