"""Tiny models and items to classify and embed."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from mmviewer.core.models.base import FAMILIES, LoadedModel
from mmviewer.core.types import Media, Modality


@pytest.fixture(scope="session")
def tiny_model() -> Callable[[str], LoadedModel]:
    """Tiny random models by variant, each built once."""
    built: dict[str, LoadedModel] = {}

    def get(variant: str) -> LoadedModel:
        if variant not in built:
            built[variant] = FAMILIES.get("openclip").tiny(variant)
        return built[variant]

    return get


@pytest.fixture
def pictures() -> list[Media]:
    """Three noisy pictures of different sizes."""
    random = np.random.default_rng(1)
    sizes = [(40, 60), (64, 64), (90, 30)]
    return [
        Media(
            f"p{index}",
            Modality.IMAGE,
            f"p{index}",
            pixels=random.integers(0, 255, (*size, 3), dtype=np.uint8),
        )
        for index, size in enumerate(sizes)
    ]
