"""Colour names that are true, and changes of a sprite's style that keep what it shows."""

from __future__ import annotations

import math
from typing import Protocol

import cv2
import numpy as np

BACKGROUNDS: dict[str, tuple[int, int, int]] = {
    "red": (214, 60, 60), "orange": (240, 150, 60), "yellow": (246, 224, 100), "green": (110, 190, 110),
    "blue": (90, 140, 220), "purple": (150, 100, 190), "pink": (244, 170, 200), "brown": (140, 100, 70),
    "black": (20, 20, 20), "white": (252, 252, 252), "gray": (150, 150, 150),
}  # fmt: skip
COLOUR_WORDS = frozenset(BACKGROUNDS)

# Upper limits of hue in degrees.
_HUES = (
    (14, "red"), (40, "orange"), (68, "yellow"), (165, "green"), (255, "blue"), (292, "purple"),
    (344, "pink"), (361, "red"),
)  # fmt: skip
_CLEAR_DEGREES, _CLEAR_SHADE = 7.0, 0.88
_FAR = {
    name: tuple(others.split())
    for name, others in {
        "red": "green blue black white", "orange": "green blue purple black white",
        "yellow": "blue purple pink black", "green": "red purple pink black white",
        "blue": "red orange yellow brown white", "purple": "green yellow orange white",
        "pink": "green yellow blue black", "brown": "green blue purple white",
        "black": "red yellow green pink white", "white": "red blue green black brown",
        "gray": "red yellow green pink orange",
    }.items()
}  # fmt: skip
_MIN_PIXELS = 50
_MIN_CONCENTRATION = 0.93


class Draws(Protocol):
    """The random numbers that drawing needs."""

    def uniform(self, low: float = 0.0, high: float = 1.0) -> float:
        """One number from [low, high)."""
        ...


def hue_name(rgb: np.ndarray) -> str | None:
    """The name of a saturated colour (0 to 255), or None for one that is nearly grey."""
    red, green, blue = (float(v) / 255 for v in rgb)
    high, low = max(red, green, blue), min(red, green, blue)
    chroma = high - low
    if chroma < 0.18 * high + 0.08:
        return None
    if high == red:
        hue = 60 * (((green - blue) / chroma) % 6)
    elif high == green:
        hue = 60 * ((blue - red) / chroma + 2)
    else:
        hue = 60 * ((red - green) / chroma + 4)
    name = next(name for limit, name in _HUES if hue < limit)
    return "brown" if name in ("orange", "red") and high < 0.6 else name


def clear_hue_name(rgb: np.ndarray) -> str | None:
    """The name of a colour that keeps its name when it is turned or shaded a little, else None."""
    name = hue_name(rgb)
    if name is None:
        return None
    rgb = np.asarray(rgb, np.float32)
    around = [hue_rotation(degrees) @ rgb for degrees in (-_CLEAR_DEGREES, _CLEAR_DEGREES)]
    around += [rgb * _CLEAR_SHADE, rgb / _CLEAR_SHADE]
    return name if all(hue_name(np.clip(c, 0, 255)) == name for c in around) else None


def far_colours(name: str) -> tuple[str, ...]:
    """Colours that nobody would give this one's name."""
    return _FAR[name]


def dominant_colour(sprite: np.ndarray) -> np.ndarray | None:
    """Mean RGB of the saturated pixels when nearly all share one hue, else None."""
    pixels = sprite[sprite[..., 3] > 200][:, :3].astype(np.float32)
    if len(pixels) < _MIN_PIXELS:
        return None
    high, low = pixels.max(1), pixels.min(1)
    saturated = (high - low) > 0.3 * high + 12
    if saturated.mean() < 0.5:
        return None
    q = pixels[saturated]
    angle = np.arctan2(math.sqrt(3) * (q[:, 1] - q[:, 2]), 2 * q[:, 0] - q[:, 1] - q[:, 2])
    concentration = math.hypot(float(np.cos(angle).mean()), float(np.sin(angle).mean()))
    return np.asarray(q.mean(0)) if concentration > _MIN_CONCENTRATION else None


def hue_rotation(degrees: float) -> np.ndarray:
    """The matrix [3, 3] that turns RGB about its grey axis."""
    c, s = math.cos(math.radians(degrees)), math.sin(math.radians(degrees))
    k, q = (1 - c) / 3, math.sqrt(1 / 3) * s
    return np.array([[c + k, k - q, k + q], [k + q, c + k, k - q], [k - q, k + q, c + k]], np.float32)


def turn_hue(sprite: np.ndarray, degrees: float) -> np.ndarray:
    """The sprite with its hues turned; stays premultiplied."""
    return _with_rgb(sprite, cv2.transform(sprite[..., :3], hue_rotation(degrees)))


def to_grey(sprite: np.ndarray) -> np.ndarray:
    """The sprite without colour."""
    grey = cv2.cvtColor(np.ascontiguousarray(sprite[..., :3]), cv2.COLOR_RGB2GRAY)
    return _with_rgb(sprite, np.repeat(grey[..., None], 3, axis=2))


def posterise(rgb: np.ndarray, levels: int) -> np.ndarray:
    """Few tones per channel, as flat art has."""
    step = 255.0 / (levels - 1)
    tones = np.round(np.round(np.arange(256) / step) * step).astype(np.uint8)
    return np.asarray(tones[rgb])


def to_outline(sprite: np.ndarray, ink: np.ndarray, paper: np.ndarray | None) -> np.ndarray:
    """The sprite as a line drawing in one ink, on its own filled shape or with nothing behind the lines."""
    grey = cv2.cvtColor(np.ascontiguousarray(sprite[..., :3]), cv2.COLOR_RGB2GRAY)
    inner = cv2.morphologyEx(grey, cv2.MORPH_GRADIENT, np.ones((3, 3), np.uint8))
    rim = cv2.morphologyEx(
        np.ascontiguousarray(sprite[..., 3]), cv2.MORPH_GRADIENT, np.ones((3, 3), np.uint8)
    )
    line = np.clip(2.0 * np.maximum(inner, rim), 0, 255)[..., None] / 255.0
    line = line * (sprite[..., 3:] > 0)
    if paper is None:
        return np.dstack([line * ink, line * 255]).astype(np.uint8)
    rgb = (1 - line) * paper * (sprite[..., 3:] / 255.0) + line * ink * (sprite[..., 3:] / 255.0)
    return np.dstack([rgb, sprite[..., 3:]]).astype(np.uint8)


def cartoon(sprite: np.ndarray, line: int, levels: int) -> np.ndarray:
    """The sprite in few flat tones with a black line around it and at its inner edges.

    `line` is the width of the line around in pixels.
    """
    side = sprite.shape[0]
    sprite = cv2.copyMakeBorder(sprite, line, line, line, line, cv2.BORDER_CONSTANT)
    flat = posterise(np.asarray(cv2.bilateralFilter(sprite[..., :3], 5, 60, 3)), levels)
    grey = cv2.cvtColor(flat, cv2.COLOR_RGB2GRAY)
    inner = cv2.morphologyEx(grey, cv2.MORPH_GRADIENT, np.ones((2, 2), np.uint8)) > 60
    alpha = np.ascontiguousarray(sprite[..., 3])
    wide = cv2.dilate(alpha, cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (2 * line + 1, 2 * line + 1)))
    body = cv2.erode(alpha, np.ones((3, 3), np.uint8))
    rgb = np.where(inner[..., None], 0, np.minimum(flat, body[..., None]))
    drawn = np.dstack([np.minimum(rgb, wide[..., None]), wide]).astype(np.uint8)
    return np.asarray(cv2.resize(drawn, (side, side), interpolation=cv2.INTER_AREA))


def paint(sprite: np.ndarray, sigma: float) -> np.ndarray:
    """The sprite with its tones run together but its edges kept, as in watercolour."""
    smooth = cv2.bilateralFilter(np.ascontiguousarray(sprite[..., :3]), 7, 80, sigma)
    return _with_rgb(sprite, cv2.GaussianBlur(smooth, (0, 0), 0.8))


def silhouette(sprite: np.ndarray, ink: np.ndarray) -> np.ndarray:
    """Its shape alone, in one ink."""
    return _with_rgb(sprite, ink * (sprite[..., 3:] / 255.0))


def tint(sprite: np.ndarray, dark: np.ndarray, light: np.ndarray) -> np.ndarray:
    """The sprite's brightness mapped to a scale between two colours."""
    grey = cv2.cvtColor(np.ascontiguousarray(sprite[..., :3]), cv2.COLOR_RGB2GRAY)[..., None].astype(
        np.float32
    )
    alpha = sprite[..., 3:].astype(np.float32)
    return _with_rgb(sprite, dark * (alpha - grey) / 255.0 + light * grey / 255.0)


def texture(sprite: np.ndarray, noise: np.ndarray, strength: float) -> np.ndarray:
    """The sprite with grain: `noise` is [S, S] around zero, `strength` its share of full brightness."""
    grain = 1.0 + strength * noise[: sprite.shape[0], : sprite.shape[1], None]
    return _with_rgb(sprite, sprite[..., :3] * grain)


def soften(sprite: np.ndarray, sigma: float) -> np.ndarray:
    """The sprite slightly out of focus."""
    return np.asarray(cv2.GaussianBlur(sprite, (0, 0), sigma))


def _with_rgb(sprite: np.ndarray, rgb: np.ndarray) -> np.ndarray:
    """New colours under the sprite's own alpha, kept premultiplied."""
    alpha = sprite[..., 3:]
    return np.dstack([np.clip(rgb, 0, alpha), alpha]).astype(np.uint8)


def _colour(draws: Draws, low: float, high: float) -> np.ndarray:
    return np.array([draws.uniform(low, high) for _ in range(3)], np.float32)


def restyle(sprite: np.ndarray, draws: Draws, noise: np.ndarray) -> np.ndarray:
    """One change of style at random."""
    pick = draws.uniform()
    if pick < 0.10:
        return to_grey(sprite)
    if pick < 0.22:
        return _with_rgb(sprite, posterise(sprite[..., :3], 3 + int(draws.uniform(0, 3))))
    if pick < 0.44:
        return cartoon(sprite, 1 + int(draws.uniform(0, 2)), 3 + int(draws.uniform(0, 4)))
    if pick < 0.58:
        paper = _colour(draws, 170, 255) if draws.uniform() < 0.7 else None
        return to_outline(sprite, _colour(draws, 0, 110), paper)
    if pick < 0.68:
        return tint(sprite, _colour(draws, 0, 130), _colour(draws, 130, 255))
    if pick < 0.78:
        return texture(sprite, noise, draws.uniform(0.06, 0.22))
    if pick < 0.90:
        return paint(sprite, draws.uniform(2, 5))
    if pick < 0.95:
        return soften(sprite, draws.uniform(0.6, 1.6))
    return silhouette(sprite, _colour(draws, 0, 160))
