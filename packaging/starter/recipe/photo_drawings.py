"""What the image tower sees in drawings: the recipe's openly licensed art as examples of named things."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import torch
from torch import Tensor, nn

from recipe.photo_tower import SIDE, pooled_features
from recipe.sources import TRAIN_STYLES
from recipe.sprites import Sprite, load_index, load_sprites

_CHUNK = 256


@dataclass(frozen=True, slots=True)
class Drawings:
    """Features [N, 1280] float32 of drawings, and what each shows."""

    features: Tensor
    names: tuple[str, ...]


def placed(sprite: Sprite, rng: np.random.Generator) -> np.ndarray:
    """Return a picture, uint8 [224, 224, 3], of the sprite somewhere on white or on a soft background."""
    side = int(SIDE * rng.uniform(0.55, 0.98))
    drawn = cv2.resize(sprite, (side, side), interpolation=cv2.INTER_AREA).astype(np.float32)
    if rng.random() < 0.5:
        drawn = drawn[:, ::-1]
    canvas = _background(rng)
    top, left = rng.integers(0, SIDE - side + 1, 2)
    under = canvas[top : top + side, left : left + side]
    canvas[top : top + side, left : left + side] = under * (1 - drawn[..., 3:] / 255) + drawn[..., :3]
    return canvas.clip(0, 255).astype(np.uint8)


def _background(rng: np.random.Generator) -> np.ndarray:
    """White in a third of all cases, else a colour that fades into another, with some grain."""
    if rng.random() < 1 / 3:
        return np.full((SIDE, SIDE, 3), 255, np.float32)
    first, second = rng.uniform(40, 255, (2, 3))
    fade = np.linspace(0, 1, SIDE, dtype=np.float32)[:, None, None]
    picture = np.broadcast_to((1 - fade) * first + fade * second, (SIDE, SIDE, 3)).astype(np.float32)
    return picture + rng.normal(0, rng.uniform(0, 12), (SIDE, SIDE, 3)).astype(np.float32)


def drawings(work: Path, model: nn.Module, seed: int, copies: int = 1) -> Drawings:
    """Draw every concept of the styles that may be trained on `copies` times and return the features."""
    concepts, _ = load_index(work)
    rng = np.random.default_rng(seed)
    found: list[Tensor] = []
    names: list[str] = []
    for style in TRAIN_STYLES:
        sprites = load_sprites(work, style)
        rows = np.repeat(np.arange(len(sprites.pixels)), copies)
        for start in range(0, len(rows), _CHUNK):
            chunk = rows[start : start + _CHUNK]
            pictures = np.stack([placed(sprites.pixels[row], rng) for row in chunk])
            found.append(pooled_features(model, pictures))
            names += [concepts[sprites.concept_of_row[row]].name for row in chunk]
        print(f"{style:14s} {len(rows)} pictures", flush=True)
    return Drawings(torch.cat(found), tuple(names))
