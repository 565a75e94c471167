"""Scenes of one to four sprites with a caption that is true and the boxes of every noun.

One question, one wording: beside each other is ``to the left of``, over each other ``above``, diagonal
``and``, three things a list, several of one kind a number; nouns stand in reading order. A caption is thus a
function of the picture, up to colour and background words that may be left out. Rarely the same relation is
told from the other side (``to the right of``, ``below``), so that the text tower knows those words too.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Literal

import cv2
import numpy as np

from recipe import colours
from recipe.concepts import Concept, article, is_plural, with_article
from recipe.sources import STYLES
from recipe.sprites import SPRITE, SpriteSet

cv2.setNumThreads(0)

Kind = Literal["single", "beside", "over", "diagonal", "three", "count"]
Box = tuple[int, int, int, int]  # x0, y0, x1, y1 in pixels, end exclusive
Background = tuple[np.ndarray, str | None]  # uint8 [S, S, 3] and the name of its colour when it is plain

KIND_SHARES: tuple[tuple[Kind, float], ...] = (
    ("single", 0.42), ("beside", 0.17), ("over", 0.15), ("diagonal", 0.07), ("three", 0.10), ("count", 0.09),
)  # fmt: skip
_OPENINGS = ("a picture of", "an image of", "a drawing of", "a photo of", "an icon of")
_NUMBERS = ("two", "three", "four")
_QUARTERS = ((0.27, 0.27), (0.73, 0.27), (0.27, 0.73), (0.73, 0.73))
_RECOLOURINGS = (-120.0, -60.0, 60.0, 120.0, 180.0)
_BACKGROUNDS = 300
_BACKGROUND_SIDE_FACTOR = 1.43
_SHARE_OF_ONE_INK = 0.35
_DARK = 110


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
        For each noun the boxes of its sprites.
    concepts
        For each noun its concept.
    kind
        Which arrangement it is.
    """

    image: np.ndarray
    words: list[tuple[str, int]] = field(default_factory=list)
    boxes: list[list[Box]] = field(default_factory=list)
    concepts: list[int] = field(default_factory=list)
    kind: Kind = "single"

    @property
    def caption(self) -> str:
        """The words as one line."""
        return " ".join(word for word, _ in self.words)


class _Random:
    """Single uniform numbers out of a block, ten times as fast as asking the generator for each."""

    def __init__(self, seed: int) -> None:
        self.generator = np.random.default_rng(seed)
        self._block: list[float] = []

    def uniform(self, low: float = 0.0, high: float = 1.0) -> float:
        if not self._block:
            self._block = self.generator.random(4096).tolist()
        return low + (high - low) * self._block.pop()

    def chance(self, probability: float) -> bool:
        return self.uniform() < probability

    def index(self, length: int) -> int:
        return int(self.uniform() * length)


@dataclass(frozen=True, slots=True)
class _Placed:
    concept: int
    box: Box
    colour: str | None


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
        Share of sprites whose style is changed at random (0 when measuring).
    backgrounds
        Pictures larger than `size`, each with its colour's name or None; made at random when not given.
    """

    def __init__(
        self,
        concepts: Sequence[Concept],
        sprites: dict[str, SpriteSet],
        keep: Sequence[int],
        *,
        size: int = 112,
        seed: int = 0,
        restyled: float = 0.0,
        backgrounds: Sequence[Background] | None = None,
    ) -> None:
        self.concepts, self.size, self.restyled = concepts, size, restyled
        self.random = _Random(seed)
        wanted = set(keep)
        self._sprites: list[np.ndarray] = []
        self._colour_of: list[np.ndarray | None] = []
        self._one_ink: list[bool] = []
        self._styles_of: dict[int, dict[str, list[int]]] = {}
        for style, group in sprites.items():
            one_ink = style in STYLES and STYLES[style].monochrome
            for row, concept in enumerate(group.concept_of_row.tolist()):
                if concept in wanted:
                    self._styles_of.setdefault(concept, {}).setdefault(style, []).append(len(self._sprites))
                    self._sprites.append(group.pixels[row])
                    self._one_ink.append(one_ink)
                    self._colour_of.append(colours.dominant_colour(group.pixels[row]))
        self._half = [
            cv2.resize(s, (SPRITE // 2, SPRITE // 2), interpolation=cv2.INTER_AREA) for s in self._sprites
        ]
        self._drawable = sorted(self._styles_of)
        self._noise = self.random.generator.standard_normal((SPRITE, SPRITE)).astype(np.float32)
        self._backgrounds = backgrounds or [self._background() for _ in range(_BACKGROUNDS)]

    @property
    def drawable(self) -> list[int]:
        """Concepts that at least one of the styles draws."""
        return list(self._drawable)

    # --- whole scenes -----------------------------------------------------------------------------

    def scene(self, kind: Kind | None = None, concept: int | None = None) -> Scene:
        """One scene; of a given arrangement or with a given first concept where wished."""
        kind = kind or self._kind()
        background, background_name = self._backgrounds[self.random.index(len(self._backgrounds))]
        scene = Scene(self._crop(background), kind=kind)
        concepts = self._distinct(3, concept)
        if kind == "single":
            self._single(scene, concepts[0], background_name)
        elif kind == "count":
            self._count(scene, concepts[0])
        elif kind == "three":
            self._three(scene, concepts)
        else:
            self._pair(scene, kind, concepts[:2])
        return scene

    def _kind(self) -> Kind:
        draw = self.random.uniform()
        for kind, share in KIND_SHARES:
            draw -= share
            if draw < 0:
                return kind
        return KIND_SHARES[-1][0]

    def _distinct(self, count: int, first: int | None) -> list[int]:
        chosen = [] if first is None else [first]
        while len(chosen) < min(count, len(self._drawable)):
            concept = self._drawable[self.random.index(len(self._drawable))]
            if concept not in chosen:
                chosen.append(concept)
        return chosen

    def _single(self, scene: Scene, concept: int, background_name: str | None) -> None:
        r, side = self.random, self.size
        size = r.uniform(0.42, 0.98) * side
        room = max(0.0, (side - size) / 2 + 3)
        placed = self._draw(
            scene.image, concept, size, side / 2 + r.uniform(-room, room), side / 2 + r.uniform(-room, room)
        )
        if r.chance(0.10):
            self._noun(scene, placed, lead=[])
            return
        if r.chance(0.18):
            _say(scene, _OPENINGS[r.index(len(_OPENINGS))])
        self._noun(scene, placed, say_colour=r.chance(0.35))
        if background_name and r.chance(0.15):
            _say(scene, f"on {article(background_name)} {background_name} background")

    def _pair(self, scene: Scene, kind: Kind, concepts: list[int]) -> None:
        r, side = self.random, self.size
        near = [r.uniform(0.24, 0.27), r.uniform(0.24, 0.27)]
        if kind == "diagonal":
            across = 1.0 if r.chance(0.5) else -1.0
            offsets = [(-across * near[0], -near[0]), (across * near[1], near[1])]
        else:
            jitter = [r.uniform(-0.12, 0.12), r.uniform(-0.12, 0.12)]
            offsets = [(-near[0], jitter[0]), (near[1], jitter[1])]
            if kind == "over":
                offsets = [(y, x) for x, y in offsets]
        placed = [
            self._draw(scene.image, c, r.uniform(0.34, 0.52) * side, (0.5 + x) * side, (0.5 + y) * side)
            for c, (x, y) in zip(concepts, offsets, strict=True)
        ]
        wording = {"beside": "to the left of", "over": "above", "diagonal": "and"}[kind]
        if kind != "diagonal" and r.chance(0.10):
            placed.reverse()
            wording = {"beside": "to the right of", "over": "below"}[kind]
        self._noun(scene, placed[0], say_colour=r.chance(0.15))
        _say(scene, wording)
        self._noun(scene, placed[1], say_colour=r.chance(0.15))

    def _three(self, scene: Scene, concepts: list[int]) -> None:
        for place, (cell, concept) in enumerate(zip(self._cells(len(concepts)), concepts, strict=True)):
            if place == len(concepts) - 1:
                _say(scene, "and")
            placed = self._draw_in_cell(scene.image, concept, cell)
            self._noun(scene, placed)
            if place < len(concepts) - 2:
                word, noun = scene.words[-1]
                scene.words[-1] = (word + ",", noun)

    def _count(self, scene: Scene, concept: int) -> None:
        count = 2 + self.random.index(len(_NUMBERS))
        sprite = self._sprite_of(concept)
        placed = [self._draw_in_cell(scene.image, concept, cell, sprite) for cell in self._cells(count)]
        _say(scene, _NUMBERS[count - 2])
        scene.words.extend((word, 0) for word in self.concepts[concept].plural.split())
        scene.concepts.append(concept)
        scene.boxes.append([p.box for p in placed])

    def _cells(self, count: int) -> list[tuple[float, float]]:
        """Quarters of the picture in reading order, some left out."""
        order = self.random.generator.permutation(4)[:count]
        return [_QUARTERS[i] for i in sorted(order.tolist())]

    def _draw_in_cell(
        self, image: np.ndarray, concept: int, cell: tuple[float, float], sprite: int | None = None
    ) -> _Placed:
        r, side = self.random, self.size
        x, y = (c + r.uniform(-0.03, 0.03) for c in cell)
        return self._draw(image, concept, r.uniform(0.32, 0.45) * side, x * side, y * side, sprite)

    def _noun(
        self, scene: Scene, placed: _Placed, *, say_colour: bool = False, lead: list[str] | None = None
    ) -> None:
        name = self.concepts[placed.concept].name
        colour = placed.colour if say_colour else None
        words = f"{colour} {name}" if colour and name.split()[0] not in colours.COLOUR_WORDS else name
        if lead is None:
            lead = [] if is_plural(name) else [article(words)]
        bare = name.split()
        extra = words.split()[: len(words.split()) - len(bare)]
        scene.words.extend((word, -1) for word in lead + extra)
        scene.words.extend((word, len(scene.concepts)) for word in bare)
        scene.concepts.append(placed.concept)
        scene.boxes.append([placed.box])

    # --- drawing ----------------------------------------------------------------------------------

    def _sprite_of(self, concept: int) -> int:
        """A sprite of the concept; styles in colour are equally likely, those of one ink less."""
        styles = list(self._styles_of[concept].values())
        while True:
            rows = styles[self.random.index(len(styles))]
            if not self._one_ink[rows[0]] or len(styles) == 1 or self.random.chance(_SHARE_OF_ONE_INK):
                return rows[self.random.index(len(rows))]

    def _draw(
        self, image: np.ndarray, concept: int, size: float, x: float, y: float, sprite: int | None = None
    ) -> _Placed:
        """Paint a sprite of the concept with its centre at (x, y); returns its box and its true colour."""
        number = self._sprite_of(concept) if sprite is None else sprite
        if self._one_ink[number]:
            around = image[max(0, int(y) - 8) : int(y) + 8, max(0, int(x) - 8) : int(x) + 8]
            pixels, colour = self._inked(number, on_dark=float(around.mean()) < _DARK)
        else:
            pixels, colour = self._coloured(
                number, concept, may_turn=sprite is None, small=size < 0.6 * SPRITE
            )
        patch = self._warp(pixels, size)
        box = _paste(image, patch, int(x - patch.shape[1] / 2), int(y - patch.shape[0] / 2))
        return _Placed(concept, box, colour)

    def _inked(self, number: int, *, on_dark: bool) -> tuple[np.ndarray, str | None]:
        """A drawing in one ink, in an ink that shows on the background."""
        r = self.random
        low, high = (150.0, 255.0) if on_dark else (0.0, 130.0)
        if not on_dark and r.chance(0.4):
            high = 30.0
        ink = np.array([r.uniform(low, high) for _ in range(3)], np.float32)
        return colours.tint(self._sprites[number], ink, ink), colours.hue_name(ink)

    def _coloured(
        self, number: int, concept: int, *, may_turn: bool, small: bool
    ) -> tuple[np.ndarray, str | None]:
        r = self.random
        pixels = (self._half if small else self._sprites)[number]
        mean = self._colour_of[number]
        if self.restyled and r.chance(self.restyled):
            return colours.restyle(pixels, r, self._noise), None
        if mean is None:
            return pixels, None
        named = any(word in colours.COLOUR_WORDS for word in self.concepts[concept].name.split())
        if may_turn and not named and r.chance(0.25):
            degrees = _RECOLOURINGS[r.index(len(_RECOLOURINGS))]
            turned = np.clip(colours.hue_rotation(degrees) @ mean, 0, 255)
            return colours.turn_hue(pixels, degrees), colours.hue_name(turned)
        return pixels, colours.hue_name(mean)

    def _warp(self, pixels: np.ndarray, size: float) -> np.ndarray:
        """Scale, sometimes turn a little, mirror or shade; room is left around for the turning."""
        r, source = self.random, pixels.shape[0]
        scale = size / source
        angle = math.radians(r.uniform(-14, 14)) if r.chance(0.5) else 0.0
        mirror = -1.0 if r.chance(0.3) else 1.0
        side = int(size * 1.2) + 2
        c, s = scale * math.cos(angle), scale * math.sin(angle)
        shift_x, shift_y = side / 2 - (c * mirror - s) * source / 2, side / 2 - (s * mirror + c) * source / 2
        affine = np.array([[c * mirror, -s, shift_x], [s * mirror, c, shift_y]], np.float32)
        patch = cv2.warpAffine(pixels, affine, (side, side), flags=cv2.INTER_LINEAR)
        if r.chance(0.4):
            shade = [r.uniform(0.82, 1.15) for _ in range(3)]
            patch = np.minimum(cv2.multiply(patch, (*shade, 1.0)), patch[..., 3:])
        return np.asarray(patch)

    def _crop(self, background: np.ndarray) -> np.ndarray:
        room = background.shape[0] - self.size
        top, left = self.random.index(room), self.random.index(room)
        return background[top : top + self.size, left : left + self.size].copy()

    def _background(self) -> Background:
        """A background larger than the picture, and its colour's name when it is plain."""
        rng, side = self.random.generator, int(self.size * _BACKGROUND_SIDE_FACTOR)
        kind = rng.random()
        if kind < 0.5:
            names = list(colours.BACKGROUNDS)
            name = names[rng.integers(len(names))] if rng.random() < 0.55 else "white"
            plain = np.clip(np.array(colours.BACKGROUNDS[name]) + rng.normal(0, 8, 3), 0, 255)
            return np.broadcast_to(plain, (side, side, 3)).astype(np.uint8), name
        first, second = rng.integers(30, 256, (2, 3)).astype(np.float32)
        yy, xx = np.mgrid[0:side, 0:side].astype(np.float32) / side
        if kind < 0.64:  # a gradient
            turn = rng.uniform(0, 2 * math.pi)
            mix = np.clip(math.cos(turn) * (xx - 0.5) + math.sin(turn) * (yy - 0.5) + 0.5, 0, 1)
        elif kind < 0.78:  # clouds
            coarse = rng.random((rng.integers(2, 9),) * 2).astype(np.float32)
            mix = cv2.resize(coarse, (side, side), interpolation=cv2.INTER_CUBIC)
        elif kind < 0.90:  # sky over ground
            first = np.array([150, 200, 250], np.float32) + rng.normal(0, 20, 3).astype(np.float32)
            second = np.array([110, 170, 80], np.float32) + rng.normal(0, 30, 3).astype(np.float32)
            mix = (yy > rng.uniform(0.45, 0.75)).astype(np.float32)
        else:  # stripes or a chequerboard
            count = rng.integers(3, 10)
            cells = (xx * count).astype(int) + (0 if rng.random() < 0.5 else (yy * count).astype(int))
            mix = (cells % 2).astype(np.float32)
        grain = rng.normal(0, rng.uniform(0, 6), (side, side, 1))
        image = first * (1 - mix[..., None]) + second * mix[..., None] + grain
        return np.clip(image, 0, 255).astype(np.uint8), None


def _say(scene: Scene, phrase: str) -> None:
    scene.words.extend((word, -1) for word in phrase.split())


def _paste(image: np.ndarray, patch: np.ndarray, left: int, top: int) -> Box:
    """Blend a premultiplied patch into the picture; returns the box of what is visible of it."""
    height, width = image.shape[:2]
    x0, y0 = max(left, 0), max(top, 0)
    x1, y1 = min(left + patch.shape[1], width), min(top + patch.shape[0], height)
    part = patch[y0 - top : y1 - top, x0 - left : x1 - left]
    alpha = part[..., 3]
    region = image[y0:y1, x0:x1]
    see_through = (255 - alpha).astype(np.uint16)[..., None]
    region[:] = np.minimum(((region * see_through + 127) // 255) + part[..., :3], 255).astype(np.uint8)
    columns, rows = np.flatnonzero((alpha > 60).any(0)), np.flatnonzero((alpha > 60).any(1))
    if len(columns) == 0:
        return x0, y0, x1, y1
    return x0 + int(columns[0]), y0 + int(rows[0]), x0 + int(columns[-1]) + 1, y0 + int(rows[-1]) + 1


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
