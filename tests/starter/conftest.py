"""The recipe lies beside the package, not in it: its tests run where its own dependencies are installed."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "packaging" / "starter"))

if TYPE_CHECKING:
    from recipe.concepts import Concept
    from recipe.sprites import SpriteSet

NAMES = ("apple", "scissors", "owl", "wolf", "ice cream", "red apple")
COLOURS = ((220, 30, 30), (30, 160, 60), (40, 80, 220), (230, 210, 40), (150, 60, 180), (240, 140, 30))
SIDE = 96


def solid_sprite(colour: tuple[int, int, int], round_shape: bool) -> np.ndarray:
    """A disc or a square of one colour that touches the edges of its tile; uint8 [S, S, 4], premultiplied."""
    yy, xx = np.mgrid[0:SIDE, 0:SIDE] - (SIDE - 1) / 2
    shape = (xx**2 + yy**2 <= (SIDE / 2) ** 2) if round_shape else np.ones((SIDE, SIDE), bool)
    return np.dstack([shape[..., None] * np.array(colour), shape * 255]).astype(np.uint8)


@pytest.fixture(scope="session")
def concepts() -> list[Concept]:
    """Six concepts, among them a plural, a name of two words and one with a colour in it."""
    from recipe.concepts import Concept, plural

    return [Concept(f"1F{i:03X}", name, name, plural(name), "objects", ()) for i, name in enumerate(NAMES)]


@pytest.fixture(scope="session")
def sprites() -> dict[str, SpriteSet]:
    """Two styles that draw every concept in its own colour."""
    from recipe.sprites import SpriteSet

    rows = np.arange(len(NAMES))
    return {
        style: SpriteSet(np.stack([solid_sprite(colour, disc) for colour in COLOURS]), rows)
        for style, disc in (("discs", True), ("squares", False))
    }


@pytest.fixture(scope="session")
def resources() -> Path:
    """The folder of what is shipped beside the code."""
    return ROOT / "resources"
