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
    noun_row, noun_label
        int64 [N]: for each noun its row of the batch and its place in the label set.
    noun_inside
        bool [N, P]: the patches of its boxes.
    position, position_noun
        int64 [M]: positions of the decoder that should look at a noun's boxes, and which noun.
    """

    images: torch.Tensor
    tokens: torch.Tensor
    noun_row: torch.Tensor
    noun_label: torch.Tensor
    noun_inside: torch.Tensor
    position: torch.Tensor
    position_noun: torch.Tensor

    def to(self, device: torch.device) -> Batch:
        """The batch on a device."""
        return Batch(*(part.to(device) for part in self))


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


def collate(scenes: Sequence[Scene], encoder: CaptionEncoder, grid: int, labels: Sequence[int]) -> Batch:
    """Stack scenes; a noun is looked at from the position that predicts it up to its last token.

    Parameters
    ----------
    scenes, encoder
        What to stack, and how its words become tokens.
    grid
        Patches along a side.
    labels
        The label set; every concept drawn is in it.
    """
    place = {concept: i for i, concept in enumerate(labels)}
    size = scenes[0].image.shape[0]
    tokens: list[list[int]] = []
    noun_row: list[int] = []
    noun_label: list[int] = []
    noun_inside: list[np.ndarray] = []
    position: list[int] = []
    position_noun: list[int] = []
    for number, scene in enumerate(scenes):
        row, spans = encoder.encode(scene.words)
        tokens.append(row)
        for span, boxes, concept in zip(spans, scene.boxes, scene.concepts, strict=True):
            if span.end >= len(row):
                continue
            wanted = range(span.first - 1, span.end)
            position += wanted
            position_noun += [len(noun_row)] * len(wanted)
            noun_row.append(number)
            noun_label.append(place[concept])
            noun_inside.append(patch_mask(boxes, size, grid))
    images = np.stack([scene.image for scene in scenes]).transpose(0, 3, 1, 2)  # [B, 3, H, W]
    return Batch(
        torch.from_numpy(np.ascontiguousarray(images)),
        torch.tensor(tokens),
        torch.tensor(noun_row),
        torch.tensor(noun_label),
        torch.from_numpy(np.array(noun_inside)),
        torch.tensor(position),
        torch.tensor(position_noun),
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
        labels = load_index(self._work)[1]
        while True:
            drawn = [scenes.scene() for _ in range(self._batch)]
            yield collate(drawn, encoder, IMAGE // PATCH, labels)


def draw_scenes(scenes: SceneGenerator, count: int, kind: Kind | None = None) -> list[Scene]:
    """A list of scenes, of one arrangement where wished."""
    return [scenes.scene(kind) for _ in range(count)]
