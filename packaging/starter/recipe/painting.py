"""Sprites painted on backgrounds: where each ends up and which colour it truly has."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np

from recipe import colours
from recipe.backgrounds import Background, make_background
from recipe.concepts import Concept
from recipe.sources import STYLES
from recipe.sprites import SPRITE, SpriteSet

cv2.setNumThreads(0)

Box = tuple[int, int, int, int]  # x0, y0, x1, y1 in pixels, end exclusive
VISIBLE = 60  # alpha above which a pixel of a sprite counts as drawn

_RECOLOURINGS = (-120.0, -60.0, 60.0, 120.0, 180.0)
_SHARE_RECOLOURED = 0.35
_BACKGROUNDS = 200
_SHARE_OF_ONE_INK = 0.2
_DARK = 110
_BLACK_INK, _WHITE_INK = 45, 225


class Random:
    """Single uniform numbers out of a block, ten times as fast as asking the generator for each."""

    def __init__(self, seed: int) -> None:
        self.generator = np.random.default_rng(seed)
        self._block: list[float] = []

    def uniform(self, low: float = 0.0, high: float = 1.0) -> float:
        """One number from [low, high)."""
        if not self._block:
            self._block = self.generator.random(4096).tolist()
        return low + (high - low) * self._block.pop()

    def chance(self, probability: float) -> bool:
        """True with this probability."""
        return self.uniform() < probability

    def index(self, length: int) -> int:
        """A whole number from 0 up to `length`, exclusive."""
        return int(self.uniform() * length)


@dataclass(frozen=True, slots=True)
class Stamp:
    """A sprite ready to be pasted.

    Attributes
    ----------
    pixels
        uint8 [h, w, 4], premultiplied, cut to what is visible.
    concept
        What it shows.
    colour
        Its colour's name where nearly all of it has one colour that is told apart easily, else None.
    """

    pixels: np.ndarray
    concept: int
    colour: str | None

    @property
    def width(self) -> int:
        """In pixels."""
        return int(self.pixels.shape[1])

    @property
    def height(self) -> int:
        """In pixels."""
        return int(self.pixels.shape[0])

    @property
    def mask(self) -> np.ndarray:
        """Where it is drawn, bool [h, w]."""
        return np.asarray(self.pixels[..., 3] > VISIBLE)


class Painter:
    """Picks sprites and paints them.

    Parameters
    ----------
    concepts, sprites, keep
        All concepts, each style's sprites, and the concepts that may be drawn.
    size
        Side of the picture in pixels.
    random
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
        size: int,
        random: Random,
        restyled: float,
        backgrounds: Sequence[Background] | None,
    ) -> None:
        self.size, self.random, self._restyled = size, random, restyled
        self._named_with_colour = [
            any(word in colours.COLOUR_WORDS for word in concept.name.split()) for concept in concepts
        ]
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
                    self._colour_of.append(colours.dominant_colour(group.pixels[row][::2, ::2]))
        self._half = [
            cv2.resize(s, (SPRITE // 2, SPRITE // 2), interpolation=cv2.INTER_AREA) for s in self._sprites
        ]
        self.drawable = sorted(self._styles_of)
        self._noise = random.generator.standard_normal((SPRITE, SPRITE)).astype(np.float32)
        self._backgrounds = backgrounds or [
            make_background(random.generator, size) for _ in range(_BACKGROUNDS)
        ]

    def page(self) -> tuple[np.ndarray, str | None]:
        """A background uint8 [S, S, 3] to paint on, and the name of its colour when it is plain."""
        background, name = self._backgrounds[self.random.index(len(self._backgrounds))]
        room = background.shape[0] - self.size
        top, left = self.random.index(room), self.random.index(room)
        return background[top : top + self.size, left : left + self.size].copy(), name

    def sprite_of(self, concept: int) -> int:
        """A sprite of the concept; styles in colour are equally likely, those of one ink less."""
        styles = list(self._styles_of[concept].values())
        if all(self._one_ink[rows[0]] for rows in styles):
            rows = styles[self.random.index(len(styles))]
            return rows[self.random.index(len(rows))]
        while True:
            rows = styles[self.random.index(len(styles))]
            if not self._one_ink[rows[0]] or self.random.chance(_SHARE_OF_ONE_INK):
                return rows[self.random.index(len(rows))]

    def stamp(self, concept: int, size: float, around: np.ndarray, sprite: int | None = None) -> Stamp:
        """A sprite of the concept in this size.

        Parameters
        ----------
        concept
            What to draw.
        size
            Side in pixels of the square that the whole sprite would fill.
        around
            uint8 [h, w, 3], the page where it will lie: one ink must show on it.
        sprite
            Which sprite, so that several are alike; such a one keeps its colours.
        """
        number = self.sprite_of(concept) if sprite is None else sprite
        if self._one_ink[number]:
            pixels, colour = self._inked(number, on_dark=float(around.mean()) < _DARK)
        else:
            pixels, colour = self._coloured(
                number, concept, may_turn=sprite is None, small=size < 0.6 * SPRITE
            )
        return Stamp(_cut(self._warp(pixels, size)), concept, colour)

    def _inked(self, number: int, *, on_dark: bool) -> tuple[np.ndarray, str | None]:
        """A drawing in one ink, in an ink that shows on the background."""
        r = self.random
        low, high = (150.0, 255.0) if on_dark else (0.0, 130.0)
        if not on_dark and r.chance(0.4):
            high = 30.0
        ink = np.array([r.uniform(low, high) for _ in range(3)], np.float32)
        pixels = colours.tint(self._sprites[number], ink, ink)
        if ink.max() < _BLACK_INK:
            return pixels, "black"
        return pixels, "white" if ink.min() > _WHITE_INK else colours.clear_hue_name(ink)

    def _coloured(
        self, number: int, concept: int, *, may_turn: bool, small: bool
    ) -> tuple[np.ndarray, str | None]:
        r = self.random
        pixels = (self._half if small else self._sprites)[number]
        mean = self._colour_of[number]
        if self._restyled and r.chance(self._restyled):
            return colours.restyle(pixels, r, self._noise), None
        if mean is None:
            return pixels, None
        if may_turn and not self._named_with_colour[concept] and r.chance(_SHARE_RECOLOURED):
            degrees = _RECOLOURINGS[r.index(len(_RECOLOURINGS))]
            turned = np.clip(colours.hue_rotation(degrees) @ mean, 0, 255)
            return colours.turn_hue(pixels, degrees), colours.clear_hue_name(turned)
        return pixels, colours.clear_hue_name(mean)

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


def _cut(patch: np.ndarray) -> np.ndarray:
    """The patch without its invisible rim."""
    drawn = patch[..., 3] > VISIBLE
    columns, rows = np.flatnonzero(drawn.any(0)), np.flatnonzero(drawn.any(1))
    if len(columns) == 0:
        return patch
    return np.asarray(patch[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1])


def paste(image: np.ndarray, stamp: Stamp, left: int, top: int) -> Box:
    """Blend a stamp into the picture; returns the box of it that lies within the picture."""
    height, width = image.shape[:2]
    x0, y0 = max(left, 0), max(top, 0)
    x1, y1 = min(left + stamp.width, width), min(top + stamp.height, height)
    part = stamp.pixels[y0 - top : y1 - top, x0 - left : x1 - left]
    region = image[y0:y1, x0:x1]
    see_through = cv2.merge([255 - part[..., 3]] * 3)
    region[:] = cv2.add(cv2.multiply(region, see_through, scale=1 / 255), part[..., :3])
    return _box_of(part[..., 3] > VISIBLE, x0, y0)


def _box_of(mask: np.ndarray, left: int, top: int) -> Box:
    columns, rows = np.flatnonzero(mask.any(0)), np.flatnonzero(mask.any(1))
    if len(columns) == 0:
        return left, top, left + mask.shape[1], top + mask.shape[0]
    return left + int(columns[0]), top + int(rows[0]), left + int(columns[-1]) + 1, top + int(rows[-1]) + 1


def covered(under: Stamp, under_at: tuple[int, int], over: Stamp, over_at: tuple[int, int]) -> np.ndarray:
    """Where `over` lies on `under`, bool [h, w] of `under`; both given with their left and top."""
    hidden = np.zeros((under.height, under.width), bool)
    dx, dy = over_at[0] - under_at[0], over_at[1] - under_at[1]
    x0, y0 = max(dx, 0), max(dy, 0)
    x1, y1 = min(dx + over.width, under.width), min(dy + over.height, under.height)
    if x0 < x1 and y0 < y1:
        hidden[y0:y1, x0:x1] = over.mask[y0 - dy : y1 - dy, x0 - dx : x1 - dx]
    return np.asarray(hidden & under.mask)


def visible_box(under: Stamp, at: tuple[int, int], hidden: np.ndarray, size: int) -> Box:
    """The box of what is still seen of a stamp with this part of it hidden, within a picture of this side."""
    left, top = at
    x0, y0 = max(-left, 0), max(-top, 0)
    x1, y1 = min(size - left, under.width), min(size - top, under.height)
    return _box_of((under.mask & ~hidden)[y0:y1, x0:x1], left + x0, top + y0)
