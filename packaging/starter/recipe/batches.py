"""Scenes as tensors: pictures, tokens, and which patches each noun's positions should look at."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import NamedTuple, TypeVar

import numpy as np
import torch
from open_clip.tokenizer import SimpleTokenizer

from mmviewer.core.models.openclip.stem import ConvolutionalStem
from recipe.coca import CONTEXT, IMAGE, PATCH, tokenizer
from recipe.questions import Question
from recipe.scenes import Kind, Scene, SceneGenerator, patch_mask
from recipe.sources import TRAIN_STYLES
from recipe.sprites import SpriteSet, load_index, load_sprites
from recipe.stem import openvino_features

_T = TypeVar("_T")

SLOTS = 2
"""Rows of the decoder for each picture."""

NEGATIVE_SHARE = 0.5
"""Share of the pictures that bring a false caption along."""


class NounSpan(NamedTuple):
    """Where a noun stands in the row of tokens: [first, end); position 0 is the start token."""

    first: int
    end: int


class Batch(NamedTuple):
    """Training data of one step: B pictures, and rows of text around them.

    The decoder sees `SLOTS` neighbouring rows for each picture: its caption when that can be decoded,
    questions with their answers otherwise, and a row without labels where there are too few.

    Attributes
    ----------
    images
        uint8 [B, 3, H, W], or the stem's features of them, float16 [B, P, F].
    captions, questions, negatives
        int64 [B, T], [Q, T] and [N, T]; a question's row holds its answer too, a negative is false of its
        picture.
    slots
        int64 [B * SLOTS]: the decoder's rows, as rows of captions and questions one after the other.
    next_tokens
        int64 [B * SLOTS, T - 1]: what each position should predict, 0 where nothing is learnt.
    answers
        bool [B * SLOTS]: rows that ask and answer.
    noun_row, noun_label
        int64 [M]: for each noun its row of the batch and its place in the label set.
    noun_inside
        bool [M, P]: the patches of its boxes.
    look_slot, look_position, look_noun
        int64 [L]: positions of the decoder that should look at a noun's boxes, and which noun.
    """

    images: torch.Tensor
    captions: torch.Tensor
    questions: torch.Tensor
    negatives: torch.Tensor
    slots: torch.Tensor
    next_tokens: torch.Tensor
    answers: torch.Tensor
    noun_row: torch.Tensor
    noun_label: torch.Tensor
    noun_inside: torch.Tensor
    look_slot: torch.Tensor
    look_position: torch.Tensor
    look_noun: torch.Tensor

    def to(self, device: torch.device) -> Batch:
        """The batch on a device."""
        return Batch(*(part.to(device, non_blocking=True) for part in self))


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


class _Rows:
    """Rows of text while they are gathered for one batch."""

    def __init__(self, encoder: CaptionEncoder, pictures: int) -> None:
        self._encoder, self._pictures = encoder, pictures
        self.captions: list[list[int]] = []
        self.questions: list[list[int]] = []
        self.negatives: list[list[int]] = []
        self.slots: list[int] = []
        self.next_tokens: list[list[int]] = []
        self.answers: list[bool] = []
        self.looks: list[tuple[int, int, int]] = []

    def caption(self, scene: Scene, first_noun: int) -> None:
        """The caption's row; a noun is looked at from the position that predicts it up to its last token."""
        row, spans = self._encoder.encode(scene.words)
        self.captions.append(row)
        if not scene.decodable:
            return
        if len(spans) != len(scene.concepts):
            raise ValueError(f"The caption {scene.caption!r} does not name each of its nouns.")
        for noun, span in enumerate(spans):
            if span.end < len(row):
                self._look(range(span.first - 1, span.end), first_noun + noun)
        self._slot(len(self.captions) - 1, row[1:], answers=False)

    def question(self, question: Question, first_noun: int) -> None:
        """The question's row, learnt from the answer's first token to the end; left out when too long."""
        asked = [(word, -1) for word in (*question.words, "?")]
        answer = [(word, 0) for word in question.answer]
        row, spans = self._encoder.encode([*asked, *answer])
        if not spans or spans[0].end >= len(row) - 1:
            return
        first, end = spans[0]
        if question.noun >= 0:
            self._look(range(first - 1, end - 1), first_noun + question.noun)
        labels = [token if first - 1 <= i <= end - 1 else 0 for i, token in enumerate(row[1:])]
        self._slot(self._pictures + len(self.questions), labels, answers=True)
        self.questions.append(row)

    def fill(self, picture: int) -> None:
        """Rows without labels up to the picture's last slot."""
        while len(self.slots) < (picture + 1) * SLOTS:
            self._slot(picture, [0] * (len(self.captions[0]) - 1), answers=False)

    def negative(self, words: Sequence[tuple[str, int]]) -> None:
        """A caption that is false of its picture."""
        self.negatives.append(self._encoder.encode(words)[0])

    def _look(self, positions: range, noun: int) -> None:
        self.looks += [(len(self.slots), position, noun) for position in positions]

    def _slot(self, row: int, next_tokens: list[int], *, answers: bool) -> None:
        self.slots.append(row)
        self.next_tokens.append(next_tokens)
        self.answers.append(answers)


def collate(
    scenes: Sequence[Scene],
    encoder: CaptionEncoder,
    grid: int,
    labels: Sequence[int],
    random: np.random.Generator | None = None,
    features: torch.Tensor | None = None,
) -> Batch:
    """Stack scenes.

    Parameters
    ----------
    scenes, encoder
        What to stack, and how its words become tokens.
    grid
        Patches along a side.
    labels
        The label set; every concept drawn is in it.
    random
        Chooses the questions that are asked and the negatives; the first ones, and all rows', when None.
    features
        The stem's features of the scenes, in place of their pictures.
    """
    place = {concept: i for i, concept in enumerate(labels)}
    rows = _Rows(encoder, len(scenes))
    noun_row: list[int] = []
    noun_label: list[int] = []
    noun_inside: list[np.ndarray] = []
    for number, scene in enumerate(scenes):
        rows.caption(scene, len(noun_row))
        for question in _chosen(scene.questions, SLOTS - int(scene.decodable), random):
            rows.question(question, len(noun_row))
        rows.fill(number)
        if random is None or random.random() < NEGATIVE_SHARE:
            for _, words in _chosen(scene.negatives, 1, random):
                rows.negative(words)
        noun_row += [number] * len(scene.concepts)
        noun_label += [place[concept] for concept in scene.concepts]
        noun_inside += [patch_mask(boxes, scene.image.shape[0], grid) for boxes in scene.boxes]
    if features is None:
        features = stacked(scenes)
    context = len(rows.captions[0])
    looks = torch.tensor(rows.looks, dtype=torch.int64).view(-1, 3)
    return Batch(
        features,
        torch.tensor(rows.captions),
        torch.tensor(rows.questions, dtype=torch.int64).view(-1, context),
        torch.tensor(rows.negatives, dtype=torch.int64).view(-1, context),
        torch.tensor(rows.slots),
        torch.tensor(rows.next_tokens),
        torch.tensor(rows.answers),
        torch.tensor(noun_row),
        torch.tensor(noun_label),
        torch.from_numpy(np.array(noun_inside)),
        *looks.unbind(1),
    )


def stacked(scenes: Sequence[Scene]) -> torch.Tensor:
    """The pictures, uint8 [B, 3, H, W]."""
    images = np.stack([scene.image for scene in scenes]).transpose(0, 3, 1, 2)
    return torch.from_numpy(np.ascontiguousarray(images))


def _chosen(choices: Sequence[_T], count: int, random: np.random.Generator | None) -> list[_T]:
    """So many of the choices, without repetition; the first ones when nothing random is given."""
    if random is None or len(choices) <= 1:
        return list(choices[:count])
    return [choices[i] for i in random.permutation(len(choices))[:count]]


@cache
def _sprites(work: Path, style: str) -> SpriteSet:
    return load_sprites(work, style)


def preload(work: Path) -> None:
    """Read the sprites that training draws, so that processes forked from this one share their memory."""
    for style in TRAIN_STYLES:
        _sprites(work, style)


def generator(
    work: Path, styles: Sequence[str], *, seed: int, restyled: float = 0.0, size: int = IMAGE
) -> SceneGenerator:
    """A scene generator over the label set, from the sprite cache."""
    concepts, labels = load_index(work)
    sprites = {style: _sprites(work, style) for style in styles}
    return SceneGenerator(concepts, sprites, labels, size=size, seed=seed, restyled=restyled)


@dataclass(frozen=True, slots=True)
class StreamOptions:
    """What scenes are trained on.

    Attributes
    ----------
    work
        The folder that fetch.py filled.
    bpe
        The vocabulary.
    batch
        Scenes in a batch.
    seed
        Of everything random.
    restyled
        Share of the sprites whose style is changed.
    pool, fresh
        With a stem: of each batch this share is drawn anew, the rest is chosen among the last `pool` scenes.
    """

    work: Path
    bpe: Path
    batch: int
    seed: int
    restyled: float
    pool: int = 1024
    fresh: float = 0.5


class SceneStream(torch.utils.data.IterableDataset[Batch]):
    """Endless batches of training scenes, made in worker processes.

    With a stem the worker computes its features too. They cost more than the scene, so each is used more than
    once, with other questions and other false captions.
    """

    def __init__(self, options: StreamOptions, stem: ConvolutionalStem | None = None) -> None:
        self._options, self._stem = options, stem

    def __iter__(self) -> Iterator[Batch]:
        torch.set_num_threads(1)
        options = self._options
        worker = torch.utils.data.get_worker_info()
        seed = options.seed if worker is None else options.seed + 7919 * worker.id
        scenes = generator(options.work, TRAIN_STYLES, seed=seed, restyled=options.restyled)
        encoder = CaptionEncoder(tokenizer(options.bpe))
        labels = load_index(options.work)[1]
        random = np.random.default_rng(seed)
        features = None if self._stem is None else openvino_features(self._stem, IMAGE)
        pool = _Pool(options.pool)
        while True:
            if features is None:
                drawn = [scenes.scene() for _ in range(options.batch)]
                yield collate(drawn, encoder, IMAGE // PATCH, labels, random)
                continue
            fresh = options.batch if pool.count < options.batch else round(options.batch * options.fresh)
            drawn = [scenes.scene() for _ in range(fresh)]
            seen, of_seen = pool.choose(options.batch - fresh, random)
            of_drawn = features(stacked(drawn))
            pool.add(drawn, of_drawn, random)
            yield collate(
                [*drawn, *seen], encoder, IMAGE // PATCH, labels, random, torch.cat([of_drawn, of_seen])
            )


class _Pool:
    """Scenes with their features, at most so many; a new one takes the place of one at random."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._scenes: list[Scene] = []
        self._features = torch.empty(0)

    @property
    def count(self) -> int:
        return len(self._scenes)

    def choose(self, count: int, random: np.random.Generator) -> tuple[list[Scene], torch.Tensor]:
        """Scenes without repetition, and their features [count, P, F]."""
        rows = random.permutation(len(self._scenes))[:count]
        return [self._scenes[row] for row in rows], self._features[torch.from_numpy(rows)]

    def add(self, scenes: Sequence[Scene], features: torch.Tensor, random: np.random.Generator) -> None:
        if not self._scenes:
            self._features = features.new_empty(self._most, *features.shape[1:])
        for scene, own in zip(scenes, features, strict=True):
            if len(self._scenes) < self._most:
                row = len(self._scenes)
                self._scenes.append(scene)
            else:
                row = int(random.integers(self._most))
                self._scenes[row] = scene
            # The features stand for the picture, of which only the size is still asked.
            self._scenes[row].image = np.broadcast_to(np.uint8(0), scene.image.shape)
            self._features[row] = own


def draw_scenes(scenes: SceneGenerator, count: int, kind: Kind | None = None) -> list[Scene]:
    """A list of scenes, of one arrangement where wished."""
    return [scenes.scene(kind) for _ in range(count)]
