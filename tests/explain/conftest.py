"""Tiny models and items to explain."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from mmviewer.core.models.base import FAMILIES, LoadedModel, Prepared
from mmviewer.core.tasks.query import query_sequence
from mmviewer.core.types import Media, Modality, TokenSequence

TEXT = "a red dog"


@pytest.fixture(scope="session")
def picture() -> Media:
    """A noisy picture whose content has no meaning, for models that have none either."""
    pixels = np.random.default_rng(0).integers(0, 255, (60, 90, 3), dtype=np.uint8)
    return Media("picture", Modality.IMAGE, "noise.png", pixels=pixels)


@pytest.fixture(scope="session")
def tiny() -> Callable[[str], LoadedModel]:
    """Tiny random models by variant, each built once."""
    built: dict[str, LoadedModel] = {}

    def get(variant: str) -> LoadedModel:
        if variant not in built:
            built[variant] = FAMILIES.get("openclip").tiny(variant)
        return built[variant]

    return get


@pytest.fixture
def caption_of() -> Callable[[LoadedModel, Prepared], TokenSequence]:
    """A caption with fixed words, as if the model had generated them."""

    def make(model: LoadedModel, prepared: Prepared) -> TokenSequence:
        ids = [token.id for token in model.tokenize(TEXT)]
        text, spans = model.token_text(ids)
        prompt = model.decoder(prepared).prompt
        return TokenSequence("caption", prepared.media_id, model.info.id, text, spans, prompt_ids=prompt)

    return make


@pytest.fixture
def query_of() -> Callable[[LoadedModel, Prepared], TokenSequence]:
    """The same words as a query."""
    return lambda model, prepared: query_sequence(model, prepared.media_id, TEXT)
