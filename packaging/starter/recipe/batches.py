"""Scenes as tensors: pictures, tokens, and which patches each noun's positions should look at."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from open_clip.tokenizer import SimpleTokenizer

from recipe.coca import CONTEXT, IMAGE, PATCH, tokenizer
from recipe.scenes import Kind, Scene, SceneGenerator, patch_mask
from recipe.sources import TRAIN_STYLES
from recipe.sprites import load_index, load_sprites


class NounSpan(NamedTuple):
    """Where a noun stands in the row of tokens: [first, end); position 0 is the start token."""

    first: int
    end: int


class Batch(NamedTuple):
    """Training data of one step.

    Attributes
    ----------
    images
        uint8 [B, 3, H, W]
    tokens
        int64 [B, T]
    rows, positions
        int64 [M]: row of the batch and position of the decoder that should look at a noun's box.
    inside
        bool [M, P]: the patches of that noun.
    """

    images: torch.Tensor
    tokens: torch.Tensor
    rows: torch.Tensor
    positions: torch.Tensor
    inside: torch.Tensor


class CaptionEncoder:
    """Words to token rows, with the span of every noun."""

    def __init__(self, tokens: SimpleTokenizer, context: int = CONTEXT) -> None:
        self._tokens, self._context = tokens, context
        self._known: dict[str, list[int]] = {}

    def encode(self, words: Sequence[tuple[str, int]]) -> tuple[list[int], list[NounSpan]]:
        """One row of `context` ids and the spans of the nouns in their order, cut where the row ends."""
        row = [self._tokens.sot_token_id]
        spans: dict[int, NounSpan] = {}
        for word, noun in words:
            pieces = self._known.get(word)
            if pieces is None:
                pieces = self._known[word] = self._tokens.encode(word)
            if noun >= 0:
                end = len(row) + len(pieces) - (1 if word.endswith(",") else 0)
                spans[noun] = NounSpan(spans[noun].first if noun in spans else len(row), end)
            row += pieces
        row = [*row[: self._context - 1], self._tokens.eot_token_id]
        row += [0] * (self._context - len(row))
        return row, [spans[noun] for noun in sorted(spans)]


def collate(scenes: Sequence[Scene], encoder: CaptionEncoder, grid: int) -> Batch:
    """Stack scenes; a noun is looked at from the position that predicts it up to its last token."""
    size = scenes[0].image.shape[0]
    rows, tokens, positions, inside = [], [], [], []
    for number, scene in enumerate(scenes):
        row, spans = encoder.encode(scene.words)
        tokens.append(row)
        for span, boxes in zip(spans, scene.boxes, strict=True):
            if span.end >= len(row):
                continue
            mask = patch_mask(boxes, size, grid)
            for position in range(span.first - 1, span.end):
                rows.append(number)
                positions.append(position)
                inside.append(mask)
    images = np.stack([scene.image for scene in scenes]).transpose(0, 3, 1, 2)  # [B, 3, H, W]
    return Batch(
        torch.from_numpy(np.ascontiguousarray(images)),
        torch.tensor(tokens),
        torch.tensor(rows),
        torch.tensor(positions),
        torch.from_numpy(np.array(inside)),
    )


def generator(
    work: Path, styles: Sequence[str], *, seed: int, restyled: float = 0.0, size: int = IMAGE
) -> SceneGenerator:
    """A scene generator over the label set, from the sprite cache."""
    concepts, labels = load_index(work)
    sprites = {style: load_sprites(work, style) for style in styles}
    return SceneGenerator(concepts, sprites, labels, size=size, seed=seed, restyled=restyled)


class SceneStream(torch.utils.data.IterableDataset[Batch]):
    """Endless batches of training scenes, made in a worker process."""

    def __init__(self, work: Path, bpe: Path, batch: int, seed: int, restyled: float) -> None:
        self._work, self._bpe, self._batch, self._seed, self._restyled = work, bpe, batch, seed, restyled

    def __iter__(self) -> Iterator[Batch]:
        scenes = generator(self._work, TRAIN_STYLES, seed=self._seed, restyled=self._restyled)
        encoder = CaptionEncoder(tokenizer(self._bpe))
        while True:
            yield collate([scenes.scene() for _ in range(self._batch)], encoder, IMAGE // PATCH)


def draw_scenes(scenes: SceneGenerator, count: int, kind: Kind | None = None) -> list[Scene]:
    """A list of scenes, of one arrangement where wished."""
    return [scenes.scene(kind) for _ in range(count)]
