"""Tiny models and items to change."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from mmviewer.core.models.base import FAMILIES, LoadedModel
from mmviewer.core.types import Media, Modality


@pytest.fixture(scope="session")
def picture() -> Media:
    """A noisy picture that is no square."""
    pixels = np.random.default_rng(0).integers(0, 255, (60, 90, 3), dtype=np.uint8)
    return Media("picture", Modality.IMAGE, "noise.png", pixels=pixels)


@pytest.fixture(scope="session")
def sound() -> Media:
    """Two seconds of a rising tone."""
    seconds = np.arange(32_000) / 16_000
    samples = (0.4 * np.sin(2 * np.pi * (300 + 200 * seconds) * seconds)).astype(np.float32)
    return Media("sound", Modality.AUDIO, "tone.wav", samples=samples)


@pytest.fixture(scope="session")
def tiny() -> Callable[[str, str], LoadedModel]:
    """Tiny random models by family and variant, each built once."""
    built: dict[tuple[str, str], LoadedModel] = {}

    def get(family: str, variant: str = "") -> LoadedModel:
        if (family, variant) not in built:
            built[family, variant] = FAMILIES.get(family).tiny(variant)
        return built[family, variant]

    return get
