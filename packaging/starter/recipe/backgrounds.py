"""What scenes are painted on, shapes without a name that lie about, and faults of whole pictures."""

from __future__ import annotations

import math
from typing import Literal, Protocol

import cv2
import numpy as np

from recipe import colours

Background = tuple[np.ndarray, str | None]  # uint8 [S, S, 3] and the name of its colour when it is plain
Fault = Literal["none", "blur", "pale", "jpeg", "grey", "sketch"]

FAULT_SHARES: tuple[tuple[Fault, float], ...] = (
    ("blur", 0.05), ("pale", 0.05), ("jpeg", 0.05), ("grey", 0.03), ("sketch", 0.03),
)  # fmt: skip
COLOURLESS_FAULTS = frozenset({"grey", "sketch"})
_SIDE_FACTOR = 1.43
_SHARE_PLAIN = 0.5


class Draws(Protocol):
    """The random numbers that drawing needs."""

    def uniform(self, low: float = 0.0, high: float = 1.0) -> float:
        """One number from [low, high)."""
        ...

    def index(self, length: int) -> int:
        """A whole number from 0 up to `length`, exclusive."""
        ...


def make_background(rng: np.random.Generator, size: int) -> Background:
    """A background larger than a picture of this side, and its colour's name when it is plain."""
    side = int(size * _SIDE_FACTOR)
    kind = rng.random()
    if kind < _SHARE_PLAIN:
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


def clutter(image: np.ndarray, draws: Draws) -> None:
    """Draw one to four small shapes that no caption names into the picture."""
    side = image.shape[0]
    for _ in range(1 + draws.index(4)):
        ink = tuple(int(draws.uniform(0, 256)) for _ in range(3))
        x, y = int(draws.uniform(0, side)), int(draws.uniform(0, side))
        reach = int(draws.uniform(0.02, 0.07) * side) + 1
        kind = draws.index(3)
        if kind == 0:
            cv2.circle(image, (x, y), reach, ink, -1, cv2.LINE_AA)
        elif kind == 1:
            cv2.rectangle(image, (x - reach, y - reach), (x + reach, y + reach), ink, -1)
        else:
            end = (x + int(draws.uniform(-3, 3) * reach), y + int(draws.uniform(-3, 3) * reach))
            cv2.line(image, (x, y), end, ink, 1 + draws.index(4), cv2.LINE_AA)


def draw_fault(draws: Draws) -> Fault:
    """Which fault a picture gets; most get none."""
    draw = draws.uniform()
    for fault, share in FAULT_SHARES:
        draw -= share
        if draw < 0:
            return fault
    return "none"


def apply_fault(image: np.ndarray, fault: Fault, draws: Draws) -> np.ndarray:
    """The picture, uint8 [S, S, 3], with the fault."""
    if fault == "blur":
        sigma = draws.uniform(0.005, 0.012) * image.shape[0]
        return np.asarray(cv2.GaussianBlur(image, (0, 0), sigma))
    if fault == "pale":
        towards, share = draws.uniform(60, 230), draws.uniform(0.35, 0.7)
        return np.asarray(cv2.addWeighted(image, share, image, 0.0, towards * (1 - share)))
    if fault == "jpeg":
        _, packed = cv2.imencode(".jpg", image, [cv2.IMWRITE_JPEG_QUALITY, int(draws.uniform(12, 50))])
        return np.asarray(cv2.imdecode(packed, cv2.IMREAD_COLOR))
    if fault in COLOURLESS_FAULTS:
        grey = cv2.cvtColor(image, cv2.COLOR_RGB2GRAY)
        if fault == "sketch":
            smooth = cv2.GaussianBlur(255 - grey, (0, 0), 0.02 * image.shape[0])
            grey = cv2.divide(grey, 255 - smooth, scale=250)
        return np.repeat(grey[..., None], 3, axis=2)
    return image
