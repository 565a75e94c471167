"""Scenes of one to five things, with captions that are true, the boxes of every noun, and questions."""

from __future__ import annotations

import math
import zlib
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Literal

import numpy as np

from recipe import backgrounds, colours
from recipe.backgrounds import Background
from recipe.concepts import Concept, with_article
from recipe.confusable import FalseConcepts
from recipe.painting import Box, Painter, Random, Stamp, covered, paste, visible_box
from recipe.questions import Asker, Question, QuestionKind
from recipe.sprites import SpriteSet
from recipe.wording import NUMBERS, Facts, Kind, NegativeKind, Thing, Wording, Words

HoldOut = Literal["train", "test"]

KIND_SHARES: tuple[tuple[Kind, float], ...] = (
    ("single", 0.34), ("beside", 0.10), ("over", 0.10), ("diagonal", 0.05), ("on", 0.05), ("behind", 0.05),
    ("inside", 0.04), ("size", 0.03), ("three", 0.06), ("many", 0.04), ("count", 0.10), ("groups", 0.04),
)  # fmt: skip
_QUARTERS = ((0.27, 0.27), (0.73, 0.27), (0.27, 0.73), (0.73, 0.73))
_QUINCUNX = ((0.22, 0.22), (0.78, 0.22), (0.5, 0.5), (0.22, 0.78), (0.78, 0.78))
_SHARE_OTHER_WORDING = 0.25
_SHARE_CLUTTERED = 0.12
_SHARE_PARTLY_COVERED = 0.08
_SHARE_PARTLY_OUTSIDE = 0.10
_HELD_OUT_OF = 20  # one pair in so many is held out
_GAP = 0.04
_TRIES = 6
_QUESTION_TRIES = 1000
# What something may be seen inside of: large, plain or a frame.
_HOLDERS = frozenset(
    """
    house;tent;television;laptop;computer;mobile phone;envelope;notebook;open book;closed book;clipboard
    calendar;bathtub;bed;bus;car;truck;t-shirt;dress;backpack;handbag;briefcase;shield;pizza;cookie
    full moon;sun;cloud;door;castle;hospital;hotel;school;trash can;teapot;bell;heart;droplet;credit card
    desert;balloon;beer mug;egg;kimono;watermelon;melon;bread;drum;money bag;wrapped gift;toolbox;camera
    radio;sunrise;globe;star;diamond
    """.replace("\n    ", ";").split(";")
)


@dataclass(slots=True)
class Scene:
    """A picture and what is true of it.

    Attributes
    ----------
    image
        uint8 [H, W, 3], RGB.
    words
        The caption as pairs of word and noun index (-1 for a word that is no part of a noun).
    boxes
        For each noun the boxes of what is seen of its sprites.
    concepts
        For each noun its concept.
    kind
        Which arrangement it is.
    decodable
        Whether the caption is in the one form that follows from the picture, so that a decoder can learn it.
    negatives
        Captions that differ in one word and are false, each with what is wrong: "noun", "colour", "count" or
        "relation".
    questions
        What can be asked about it.
    facts
        All that is true of it, from which the words and questions are made.
    """

    image: np.ndarray
    words: Words = field(default_factory=list)
    boxes: list[list[Box]] = field(default_factory=list)
    concepts: list[int] = field(default_factory=list)
    kind: Kind = "single"
    decodable: bool = True
    negatives: list[tuple[NegativeKind, Words]] = field(default_factory=list)
    questions: list[Question] = field(default_factory=list)
    facts: Facts = field(default_factory=lambda: Facts("single", []))

    @property
    def caption(self) -> str:
        """The words as one line."""
        return " ".join(word for word, _ in self.words)


def held_out(first: str, second: str) -> bool:
    """Whether two things are never drawn together in training; the same for both orders."""
    names = "|".join(sorted((first, second)))
    return zlib.crc32(names.encode()) % _HELD_OUT_OF == 0


class SceneGenerator:
    """Composes scenes from sprites; the same seed gives the same scenes.

    Parameters
    ----------
    concepts
        All concepts; the sprites' rows refer to them.
    sprites
        For each style its sprites.
    keep
        Concepts that may be drawn.
    size
        Side of the picture in pixels.
    seed
        Of everything random.
    restyled
        Share of sprites whose style is changed at random (0 when measuring: then there is no clutter, nothing
        is covered, and no picture is faulty either).
    backgrounds
        Pictures larger than `size`, each with its colour's name or None; made at random when not given.
    holdout
        "train" never draws two things together that `held_out` keeps apart; "test" draws such a pair first.
    canonical
        Whether every caption is the canonical one.
    """

    def __init__(
        self,
        concepts: Sequence[Concept],
        sprites: dict[str, SpriteSet],
        keep: Sequence[int],
        *,
        size: int = 256,
        seed: int = 0,
        restyled: float = 0.0,
        backgrounds: Sequence[Background] | None = None,
        holdout: HoldOut = "train",
        canonical: bool = False,
    ) -> None:
        self.concepts, self.size, self.restyled = concepts, size, restyled
        self.random = Random(seed)
        self._painter = Painter(
            concepts, sprites, keep,
            size=size, random=self.random, restyled=restyled, backgrounds=backgrounds,
        )  # fmt: skip
        self._canonical = canonical
        self._names = [concept.name for concept in concepts]
        drawable = self._painter.drawable
        self._holders = [i for i in drawable if self._names[i] in _HOLDERS]
        false_concepts = FalseConcepts(concepts, drawable, self.random)
        self._partners = self._held_out_partners() if holdout == "test" else {}
        self._wording = Wording(concepts, false_concepts, self.random)
        self._asker = Asker(concepts, false_concepts, self.random)

    @property
    def drawable(self) -> list[int]:
        """Concepts that at least one of the styles draws."""
        return list(self._painter.drawable)

    # --- whole scenes -----------------------------------------------------------------------------

    def scene(self, kind: Kind | None = None, concept: int | None = None) -> Scene:
        """One scene; of a given arrangement or with a given first concept where wished."""
        image, facts = self._draw(kind or self._kind(), concept)
        return self._tell(image, facts)

    def question(self, kind: QuestionKind, arrangement: Kind | None = None) -> tuple[Scene, Question]:
        """A scene that gives a clear answer to a question of this kind, and that question."""
        for _ in range(_QUESTION_TRIES):
            scene = self.scene(arrangement)
            asked = self._asker.ask(kind, scene.facts, self.size)
            if asked is not None:
                return scene, asked
        raise ValueError(f"No scene of these sprites answers a question of the kind {kind!r}.")

    def _kind(self) -> Kind:
        draw = self.random.uniform()
        for kind, share in KIND_SHARES:
            draw -= share
            if draw < 0:
                return kind
        return KIND_SHARES[-1][0]

    def _draw(self, kind: Kind, concept: int | None) -> tuple[np.ndarray, Facts]:
        r = self.random
        image, background = self._painter.page()
        training = self.restyled > 0
        fault = backgrounds.draw_fault(r) if training else "none"
        if training and r.chance(_SHARE_CLUTTERED):
            backgrounds.clutter(image, r)
        if kind == "single":
            facts = Facts(kind, [self._single(image, self._distinct(1, concept)[0])], background)
        elif kind == "count":
            number = 2 + r.index(len(NUMBERS))
            things = self._grid(image, self._distinct(1, concept), [number])
            facts = Facts(kind, things, background)
        elif kind == "groups":
            sizes = ((2, 1), (1, 2), (3, 1), (2, 2), (1, 3), (3, 2), (2, 3))[r.index(7)]
            facts = Facts(kind, self._grid(image, self._distinct(2, concept), sizes), background)
        elif kind in ("three", "many"):
            number = 3 if kind == "three" else 4 + r.index(2)
            chosen = self._distinct(number, concept)
            facts = Facts(kind, self._grid(image, chosen, [1] * len(chosen)), background)
        else:
            facts = self._pair(image, kind, concept)
            facts.background = background
        if fault != "none":
            image = backgrounds.apply_fault(image, fault, r)
        if fault in backgrounds.COLOURLESS_FAULTS:
            facts.background = None
            for thing in facts.things:
                thing.colour = None
        elif fault == "pale":
            facts.background = None
        return image, facts

    def _tell(self, image: np.ndarray, facts: Facts) -> Scene:
        decodable = self._canonical or not self.random.chance(_SHARE_OTHER_WORDING)
        words = self._wording.canonical(facts) if decodable else self._wording.other(facts)
        negatives = self._wording.negatives(words, facts)
        return Scene(
            image,
            words,
            [thing.boxes for thing in facts.things],
            [thing.concept for thing in facts.things],
            facts.kind,
            decodable,
            negatives,
            self._asker.questions(facts, self.size),
            facts,
        )

    # --- which things -----------------------------------------------------------------------------

    def _held_out_partners(self) -> dict[int, list[int]]:
        drawable = self._painter.drawable
        partners = {
            a: [b for b in drawable if a != b and held_out(self._names[a], self._names[b])] for a in drawable
        }
        found = {a: others for a, others in partners.items() if others}
        if not found:
            raise ValueError("Among these concepts no pair is held out.")
        return found

    def _distinct(self, count: int, first: int | None) -> list[int]:
        """Concepts that may stand together; in a test of held-out pairs the first two are such a pair."""
        if self._partners and count > 1:
            return self._held_out_first(count, first)
        drawable = self._painter.drawable
        while True:
            chosen = [drawable[self.random.index(len(drawable))] if first is None else first]
            for _ in range(200):
                if len(chosen) == min(count, len(drawable)):
                    return chosen
                found = drawable[self.random.index(len(drawable))]
                if found not in chosen and not self._kept_apart(chosen, found):
                    chosen.append(found)
            if first is not None:  # too few may stand beside a given one: leave it at those
                return chosen

    def _held_out_first(self, count: int, first: int | None) -> list[int]:
        with_partner = list(self._partners)
        if first not in self._partners:
            first = with_partner[self.random.index(len(with_partner))]
        others = self._partners[first]
        chosen = [first, others[self.random.index(len(others))]]
        drawable = self._painter.drawable
        while len(chosen) < min(count, len(drawable)):
            found = drawable[self.random.index(len(drawable))]
            if found not in chosen:
                chosen.append(found)
        return chosen

    def _kept_apart(self, chosen: list[int], found: int) -> bool:
        return any(held_out(self._names[c], self._names[found]) for c in chosen)

    # --- arrangements -----------------------------------------------------------------------------

    def _single(self, image: np.ndarray, concept: int) -> Thing:
        r, side = self.random, self.size
        stamp = self._stamp(image, concept, r.uniform(0.42, 0.98) * side, side / 2, side / 2)
        room_x, room_y = max(3.0, (side - stamp.width) / 2), max(3.0, (side - stamp.height) / 2)
        if self.restyled and r.chance(_SHARE_PARTLY_OUTSIDE):
            room_x, room_y = room_x + 0.15 * stamp.width, room_y + 0.15 * stamp.height
        x, y = side / 2 + r.uniform(-room_x, room_x), side / 2 + r.uniform(-room_y, room_y)
        thing = self._put(image, stamp, x, y)
        if self.restyled and r.chance(_SHARE_PARTLY_COVERED):
            self._cover_part(image, thing.boxes[0])
        return thing

    def _cover_part(self, image: np.ndarray, box: Box) -> None:
        """A patch of one colour over at most a quarter of a box; the box stays what it was."""
        r = self.random
        x0, y0, x1, y1 = box
        width, height = int((x1 - x0) * r.uniform(0.2, 0.5)), int((y1 - y0) * r.uniform(0.2, 0.5))
        left, top = x0 + r.index(max(1, x1 - x0 - width)), y0 + r.index(max(1, y1 - y0 - height))
        image[top : top + height, left : left + width] = [r.index(256) for _ in range(3)]

    def _pair(self, image: np.ndarray, kind: Kind, concept: int | None) -> Facts:
        """Two things; where they cannot be placed as wished, beside each other."""
        first, second = self._two(kind, concept)
        placed: list[Thing] | None = None
        if kind == "on":
            placed = self._on(image, first, second)
        elif kind == "behind":
            placed = self._behind(image, first, second)
        elif kind == "inside":
            placed = self._inside(image, first, second)
        elif kind == "size":
            placed = self._sizes(image, first, second)
        elif kind == "diagonal":
            placed = self._diagonal(image, first, second)
        if placed is None:
            kind = "over" if kind == "over" else "beside"
            placed = self._apart(image, first, second, upright=kind == "over")
        return Facts(kind, placed)

    def _two(self, kind: Kind, concept: int | None) -> tuple[int, int]:
        first, second = (self._distinct(2, concept) * 2)[:2]
        if kind == "inside" and self._holders and not self._partners:
            holder = self._holders[self.random.index(len(self._holders))]
            if holder != first and not held_out(self._names[first], self._names[holder]):
                second = holder
        return first, second

    def _apart(self, image: np.ndarray, first: int, second: int, *, upright: bool) -> list[Thing]:
        """Side by side, or one over the other, with a gap between."""
        r, side = self.random, self.size
        size = r.uniform(0.32, 0.50)
        sizes = [size, min(0.5, max(0.32, size * r.uniform(0.78, 1.28)))]
        along = [0.5 - r.uniform(0.23, 0.27), 0.5 + r.uniform(0.23, 0.27)]
        across = [0.5 + r.uniform(-0.12, 0.12), 0.5 + r.uniform(-0.12, 0.12)]
        centres = list(zip(across, along, strict=True) if upright else zip(along, across, strict=True))
        stamps = [
            self._stamp(image, c, s * side, x * side, y * side)
            for c, s, (x, y) in zip((first, second), sizes, centres, strict=True)
        ]
        half = [(s.height if upright else s.width) / 2 for s in stamps]
        low, high = along[0] * side, along[1] * side
        missing = sum(half) + max(3.0, _GAP * side) - (high - low)
        if missing > 0:
            low, high = low - missing / 2, high + missing / 2
        return [
            self._put(image, stamp, *((a * side, b) if upright else (b, a * side)))
            for stamp, a, b in zip(stamps, across, (low, high), strict=True)
        ]

    def _diagonal(self, image: np.ndarray, first: int, second: int) -> list[Thing]:
        r, side = self.random, self.size
        lean = 1.0 if r.chance(0.5) else -1.0
        things = []
        for concept, sign in ((first, -1.0), (second, 1.0)):
            x, y = 0.5 + sign * lean * r.uniform(0.24, 0.27), 0.5 + sign * r.uniform(0.24, 0.27)
            stamp = self._stamp(image, concept, r.uniform(0.34, 0.48) * side, x * side, y * side)
            things.append(self._put(image, stamp, x * side, y * side))
        return things

    def _on(self, image: np.ndarray, first: int, second: int) -> list[Thing] | None:
        """The first stands on the second: their drawn pixels touch."""
        r, side = self.random, self.size
        under = self._stamp(image, second, r.uniform(0.42, 0.58) * side, side / 2, side * 0.7)
        upper = self._stamp(image, first, r.uniform(0.28, 0.40) * side, side / 2, side * 0.3)
        left = int(side * r.uniform(0.4, 0.6) - under.width / 2)
        x = left + int(under.width * r.uniform(0.38, 0.62))
        columns = under.mask[:, max(0, x - left - 3) : x - left + 4]
        contact = int(np.flatnonzero(columns.any(1))[0]) if columns.any() else under.height
        if contact > under.height // 3:
            return None
        height = upper.height + under.height - contact
        top = int(max(0.0, side - height) * r.uniform(0.2, 0.9)) + upper.height - contact
        if top + under.height > side + 0.1 * under.height:
            return None
        below = Thing(second, [paste(image, under, left, top)], self._colour(under))
        at = (x - upper.width // 2, top + contact - upper.height + 2)
        return [Thing(first, [paste(image, upper, *at)], self._colour(upper)), below]

    def _behind(self, image: np.ndarray, first: int, second: int) -> list[Thing] | None:
        """The second hides a part of the first."""
        r, side = self.random, self.size
        rear = self._stamp(image, first, r.uniform(0.45, 0.60) * side, side * 0.4, side * 0.4)
        front = self._stamp(image, second, r.uniform(0.36, 0.50) * side, side * 0.6, side * 0.6)
        drawn = int(rear.mask.sum())
        for _ in range(_TRIES):
            lean = 1.0 if r.chance(0.5) else -1.0
            apart_x, apart_y = lean * r.uniform(0.16, 0.32) * side, r.uniform(0.06, 0.2) * side
            x, y = side / 2 - apart_x / 2, side / 2 - apart_y / 2
            rear_at = (int(x - rear.width / 2), int(y - rear.height / 2))
            front_at = (int(x + apart_x - front.width / 2), int(y + apart_y - front.height / 2))
            hidden = covered(rear, rear_at, front, front_at)
            if 0.12 * drawn <= hidden.sum() <= 0.45 * drawn:
                paste(image, rear, *rear_at)
                box = paste(image, front, *front_at)
                seen = visible_box(rear, rear_at, hidden, side)
                return [Thing(first, [seen], self._colour(rear)), Thing(second, [box], self._colour(front))]
        return None

    def _inside(self, image: np.ndarray, first: int, second: int) -> list[Thing] | None:
        """The first lies wholly within the outline of the second, near its middle."""
        r, side = self.random, self.size
        holder = self._stamp(image, second, r.uniform(0.78, 0.95) * side, side / 2, side / 2)
        inner = self._stamp(image, first, r.uniform(0.26, 0.36) * side, side / 2, side / 2)
        holder_at = (int((side - holder.width) / 2), int((side - holder.height) / 2))
        drawn = int(inner.mask.sum())
        for _ in range(_TRIES):
            x, y = side * r.uniform(0.42, 0.58), side * r.uniform(0.42, 0.58)
            at = (int(x - inner.width / 2), int(y - inner.height / 2))
            if covered(inner, at, holder, holder_at).sum() >= 0.97 * drawn:
                box = paste(image, holder, *holder_at)
                within = paste(image, inner, *at)
                colour = self._colour(holder)
                return [Thing(first, [within], self._colour(inner)), Thing(second, [box], colour)]
        return None

    def _sizes(self, image: np.ndarray, first: int, second: int) -> list[Thing] | None:
        """A big thing and a small one, apart."""
        r, side = self.random, self.size
        lean = 1.0 if r.chance(0.5) else -1.0
        big = self._stamp(image, first, r.uniform(0.54, 0.62) * side, side / 2, side / 2)
        small = self._stamp(image, second, r.uniform(0.22, 0.27) * side, side / 2, side / 2)
        if max(big.width, big.height) < 1.8 * max(small.width, small.height):
            return None
        x, y = side * (0.5 - lean * 0.18), side * r.uniform(0.35, 0.65)
        things = [self._put(image, big, x, y), self._put(image, small, side * (0.5 + lean * 0.34), side - y)]
        things[0].size, things[1].size = "big", "small"
        return things

    def _grid(self, image: np.ndarray, chosen: Sequence[int], numbers: Sequence[int]) -> list[Thing]:
        """So many of each, in reading order; those of one kind are one sprite."""
        r, side = self.random, self.size
        total = sum(numbers[: len(chosen)])
        places = _QUINCUNX if total == 5 else _QUARTERS
        order = sorted(r.generator.permutation(len(places))[:total].tolist())
        low, high = (0.27, 0.34) if total == 5 else (0.32, 0.45)
        cells = iter([places[i] for i in order])
        things = []
        for concept, number in zip(chosen, numbers, strict=False):
            sprite = self._painter.sprite_of(concept) if number > 1 else None
            thing = Thing(concept)
            for _ in range(number):
                x, y = ((c + r.uniform(-0.03, 0.03)) * side for c in next(cells))
                stamp = self._stamp(image, concept, r.uniform(low, high) * side, x, y, sprite)
                put = self._put(image, stamp, x, y)
                thing.boxes += put.boxes
                thing.colour = put.colour if number == 1 else None
            things.append(thing)
        return things

    # --- one thing --------------------------------------------------------------------------------

    def _stamp(
        self, image: np.ndarray, concept: int, size: float, x: float, y: float, sprite: int | None = None
    ) -> Stamp:
        around = image[max(0, int(y) - 16) : int(y) + 16, max(0, int(x) - 16) : int(x) + 16]
        return self._painter.stamp(concept, size, around, sprite)

    def _put(self, image: np.ndarray, stamp: Stamp, x: float, y: float) -> Thing:
        box = paste(image, stamp, int(x - stamp.width / 2), int(y - stamp.height / 2))
        return Thing(stamp.concept, [box], self._colour(stamp))

    def _colour(self, stamp: Stamp) -> str | None:
        named = any(word in colours.COLOUR_WORDS for word in self._names[stamp.concept].split())
        return None if named else stamp.colour


def patch_mask(boxes: Sequence[Box], size: int, grid: int) -> np.ndarray:
    """Patches whose centre lies in one of the boxes, and always the one under each box's centre.

    Returns
    -------
    ndarray
        bool [grid * grid], row by row.
    """
    mask = np.zeros((grid, grid), bool)
    patch = size / grid
    for x0, y0, x1, y1 in boxes:
        rows = slice(max(0, math.ceil(y0 / patch - 0.5)), max(0, math.ceil(y1 / patch - 0.5)))
        columns = slice(max(0, math.ceil(x0 / patch - 0.5)), max(0, math.ceil(x1 / patch - 0.5)))
        mask[rows, columns] = True
        mask[min(grid - 1, int((y0 + y1) / 2 / patch)), min(grid - 1, int((x0 + x1) / 2 / patch))] = True
    return mask.ravel()


def label_prompt(concept: Concept) -> str:
    """The text by which a concept is classified."""
    return with_article(concept.name)
