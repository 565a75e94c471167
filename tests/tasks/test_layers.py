"""Layers and patches as vectors: the last is the model's own embedding, patches are what the tower says."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch.nn import functional

from mmviewer.core.errors import InputError, UnsupportedError
from mmviewer.core.models.base import FAMILIES, LoadedModel
from mmviewer.core.tasks.layers import layer_embeddings, patch_embeddings
from mmviewer.core.types import Media, Modality


def picture(name: str, size: tuple[int, int] = (40, 56)) -> Media:
    pixels = np.random.default_rng(len(name)).integers(0, 256, (*size, 3)).astype(np.uint8)
    return Media(name, Modality.IMAGE, name, pixels=pixels)


@pytest.fixture(scope="module")
def clip() -> LoadedModel:
    return FAMILIES.get("openclip").tiny()


def test_the_last_layer_is_the_embedding(clip):
    items = [clip.prepare(picture(name)) for name in ("a", "bb", "ccc")]
    paths = layer_embeddings(clip, items)
    assert paths.shape[:2] == (3, clip.tower().layers + 1)
    np.testing.assert_allclose(np.linalg.norm(paths, axis=-1), 1, atol=1e-5)
    with torch.no_grad():
        np.testing.assert_allclose(paths[:, -1], clip.image_features(items).numpy(), atol=1e-5)


def test_a_layer_is_what_a_tower_cut_off_there_says(clip):
    """The same by the module itself, its later blocks taken out."""
    item = clip.prepare(picture("a"))
    paths = layer_embeddings(clip, [item])[0]
    visual = clip.module.visual
    blocks = visual.transformer.resblocks
    for layers in range(len(blocks)):
        visual.transformer.resblocks = blocks[:layers]
        try:
            with torch.no_grad():
                features = visual(item.inputs["pixels"])
        finally:
            visual.transformer.resblocks = blocks
        features = features[0] if isinstance(features, tuple) else features
        wanted = functional.normalize(features.float(), dim=-1)[0].numpy()
        np.testing.assert_allclose(paths[layers], wanted, atol=1e-5)


def test_patches_lie_in_the_space_and_in_order(clip):
    item = clip.prepare(picture("a"))
    vectors = patch_embeddings(clip, item)
    rows, columns = item.geometry.grid
    assert vectors.shape == (rows * columns, layer_embeddings(clip, [item]).shape[-1])
    np.testing.assert_allclose(np.linalg.norm(vectors, axis=-1), 1, atol=1e-5)
    tower = clip.tower()
    with torch.no_grad():
        hidden = tower.start([item])
        for layer in range(tower.layers):
            hidden = tower.layer(layer, hidden)
        one = tower.embed_vectors(hidden[:, tower.prefix + columns])[0].numpy()  # first of the second row
    np.testing.assert_allclose(vectors[columns], one, atol=1e-6)


def test_a_model_without_a_stack_of_layers(clip, monkeypatch):
    item = clip.prepare(picture("a"))
    monkeypatch.setattr(type(clip), "tower", lambda self: None)
    with pytest.raises(UnsupportedError, match="no stack of layers"):
        layer_embeddings(clip, [item])
    with pytest.raises(InputError, match="nothing to follow"):
        layer_embeddings(clip, [])
