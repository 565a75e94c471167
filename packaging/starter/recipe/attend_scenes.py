"""Scenes as Show, Attend and Tell learns them: what the trunk sees, and the words of the caption."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor, nn

from mmviewer.core.models.sat.network import Encoder
from mmviewer.core.models.sat.words import Words
from recipe import colours
from recipe.concepts import Concept
from recipe.openvino_run import Features, by_openvino
from recipe.scenes import HoldOut, Scene, SceneGenerator
from recipe.sprites import load_index, load_sprites
from recipe.wording import NUMBERS, RELATIONS

STYLES = ("noto", "noto-v1", "fxemoji", "emojione", "streamline", "fluent-flat")
"""The styles that are trained on: six coloured sets of emoji."""

SIDE = 224
_LABELS_FILE = Path(__file__).with_name("attend_labels.txt")
_OTHER_WORDS = ("a", "an", "and", "big", "small", ",")


def read_things(concepts: Sequence[Concept]) -> list[int]:
    """Indices of the concepts that are drawn: those that ``attend_labels.txt`` names."""
    wanted = set(_LABELS_FILE.read_text(encoding="utf-8").splitlines())
    return [index for index, concept in enumerate(concepts) if concept.name in wanted]


def scene_generator(
    work: Path, styles: Sequence[str], *, seed: int, restyled: float = 0.0, holdout: HoldOut = "train"
) -> SceneGenerator:
    """Scenes of the things in ``attend_labels.txt`` with canonical captions."""
    concepts = load_index(work)[0]
    sprites = {style: load_sprites(work, style) for style in styles}
    return SceneGenerator(
        concepts, sprites, read_things(concepts),
        size=SIDE, seed=seed, restyled=restyled, holdout=holdout, canonical=True,
    )  # fmt: skip


def caption_words(concepts: Sequence[Concept], labels: Sequence[int]) -> list[str]:
    """Every word that a canonical caption can hold, sorted."""
    names = [text for label in labels for text in (concepts[label].name, concepts[label].plural)]
    phrases = [*names, *RELATIONS.values(), *NUMBERS, *colours.COLOUR_WORDS, *_OTHER_WORDS]
    return sorted({word for phrase in phrases for word in phrase.split()})


class Span(NamedTuple):
    """Where a noun's words stand among those of its caption: [first, end)."""

    first: int
    end: int


def encode(scene: Scene, words: Words) -> tuple[list[int], list[Span]]:
    """Ids of a scene's caption, without start and end, and the span of each noun."""
    ids: list[int] = []
    spans: dict[int, Span] = {}
    for word, noun in scene.words:
        own = words.ids(word)
        if noun >= 0:
            end = len(ids) + len(own) - (1 if word.endswith(",") else 0)
            spans[noun] = Span(spans[noun].first if noun in spans else len(ids), end)
        ids += own
    return ids, [spans[noun] for noun in sorted(spans)]


class _FlatMaps(nn.Module):
    """Pixels [B, 3, H, W] from 0 to 255 to both maps of the trunk in one row [B, N]."""

    def __init__(self, encoder: Encoder) -> None:
        super().__init__()
        self.encoder = encoder

    def forward(self, pixels: Tensor) -> Tensor:
        """Run the trunk."""
        fine, coarse = self.encoder.maps(pixels.float() / 127.5 - 1)
        return torch.cat([fine.flatten(1), coarse.flatten(1)], dim=1)


class Eyes:
    """The trunk, fast on a CPU: pictures uint8 [B, 3, H, W] to rows [B, N] of float16, and back to maps."""

    def __init__(self, encoder: Encoder, side: int = SIDE, precision: str = "bf16") -> None:
        flat = _FlatMaps(encoder).eval()
        with torch.no_grad():
            self._shapes = [found.shape[1:] for found in encoder.maps(torch.zeros(1, 3, side, side))]
        self.side = side
        self.see: Features = by_openvino(flat, side, precision)

    def maps(self, rows: Tensor) -> tuple[Tensor, Tensor]:
        """Fine and coarse maps, float32, of rows."""
        fine, coarse = rows.float().split([shape.numel() for shape in self._shapes], dim=1)
        return fine.view(-1, *self._shapes[0]), coarse.view(-1, *self._shapes[1])


def stacked(scenes: Sequence[Scene]) -> Tensor:
    """The pictures, uint8 [B, 3, H, W]."""
    return torch.from_numpy(np.stack([scene.image for scene in scenes]).transpose(0, 3, 1, 2).copy())


class Batch(NamedTuple):
    """Pictures with their captions, the longest first.

    Attributes
    ----------
    fine, coarse
        The trunk's maps, float32 [B, C, R, R].
    ids
        int64 [B, T + 1]: start, the words, end; `UNKNOWN` past a caption's end, which is never read.
    lengths
        int64 [B]: how many words are predicted, the end included.
    """

    fine: Tensor
    coarse: Tensor
    ids: Tensor
    lengths: Tensor


def collate(rows: Tensor, captions: Sequence[Sequence[int]], words: Words, eyes: Eyes) -> Batch:
    """Stack pictures and captions, sorted by length."""
    order = sorted(range(len(captions)), key=lambda i: -len(captions[i]))
    lengths = torch.tensor([len(captions[i]) + 1 for i in order])
    ids = torch.full((len(order), int(lengths[0]) + 1), words.unknown)
    for row, index in enumerate(order):
        caption = [words.start, *captions[index], words.end]
        ids[row, : len(caption)] = torch.tensor(caption)
    return Batch(*eyes.maps(rows[order]), ids, lengths)


class Pool:
    """Scenes with what the trunk saw of them, at most so many; a new one takes the place of one at random."""

    def __init__(self, words: Words, eyes: Eyes, most: int, random: np.random.Generator) -> None:
        self._words, self._eyes, self._most, self._random = words, eyes, most, random
        self._captions: list[list[int]] = []
        self._rows = torch.empty(0)

    def add(self, scenes: Sequence[Scene]) -> list[int]:
        """See scenes and keep them; returns their places."""
        seen = self._eyes.see(stacked(scenes))
        if not self._captions:
            self._rows = seen.new_empty(self._most, seen.shape[1])
        places = []
        for scene, row in zip(scenes, seen, strict=True):
            if len(self._captions) < self._most:
                place = len(self._captions)
                self._captions.append([])
            else:
                place = int(self._random.integers(self._most))
            self._captions[place], self._rows[place] = encode(scene, self._words)[0], row
            places.append(place)
        return places

    def means(self) -> tuple[Tensor, Tensor, list[list[int]]]:
        """Of every scene the means of both maps over their cells [N, C, 1, 1], and its caption."""
        fine, coarse = self._eyes.maps(self._rows[: len(self._captions)])
        return fine.mean((2, 3), keepdim=True), coarse.mean((2, 3), keepdim=True), self._captions

    def batch(self, fresh: Sequence[Scene], size: int) -> Batch:
        """Fresh scenes and others that were seen before, without repetition."""
        places = self.add(fresh)
        others = self._random.permutation(len(self._captions)).tolist()
        chosen = [*places, *(place for place in others if place not in places)][:size]
        return collate(
            self._rows[chosen], [self._captions[place] for place in chosen], self._words, self._eyes
        )


def one_of_each(scenes: SceneGenerator, times: int) -> list[Scene]:
    """Scenes of one thing: every thing so many times."""
    return [scenes.scene("single", concept) for _ in range(times) for concept in scenes.drawable]
