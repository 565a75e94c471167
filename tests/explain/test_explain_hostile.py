"""Inputs and models that no method was made for: a clear word each time, no crash, no silent empty map."""

from __future__ import annotations

import copy

import numpy as np
import open_clip
import pytest
import torch

from mmviewer.core.errors import DeviceError, InputError, UnsupportedError
from mmviewer.core.explain.base import METHODS, estimate, explain
from mmviewer.core.models.base import Placement
from mmviewer.core.models.identity import Identity
from mmviewer.core.models.openclip import build
from mmviewer.core.models.openclip.model import OpenClipModel
from mmviewer.core.models.openclip.tiny import CONFIGS
from mmviewer.core.tasks.query import query_sequence
from mmviewer.core.types import MapSpec, Media, Modality, TokenMaps, TokenSequence

METHOD_KEYS = METHODS.keys()


def offered(model, key, kind):
    if not METHODS.get(key).offers(model, kind):
        pytest.skip(f"{key} is not offered for a {kind} of this model")


def mapped(model, prepared, key) -> TokenMaps | None:
    """The maps of a query, or None where the method says that there is nothing to show."""
    try:
        return explain(model, prepared, query_sequence(model, prepared.media_id, "a red dog"), MapSpec(key))
    except UnsupportedError as error:
        if "found nothing" not in error.message and "nothing would change" not in error.message:
            raise
        return None


@pytest.mark.parametrize("key", METHOD_KEYS)
@pytest.mark.parametrize("shape", [(1, 5000), (5000, 1), (1, 1)])
def test_thin_and_tiny_pictures(tiny, key, shape):
    model = tiny("clip")
    offered(model, key, "query")
    pixels = np.random.default_rng(0).integers(0, 255, (*shape, 3), dtype=np.uint8)
    prepared = model.prepare(Media("thin", Modality.IMAGE, "thin.png", pixels=pixels))
    maps = mapped(model, prepared, key)
    if maps is not None:
        assert maps.values.shape == (3, 4, 4)
        assert np.isfinite(maps.values).all()


@pytest.mark.parametrize("key", METHOD_KEYS)
def test_a_picture_of_one_colour(tiny, key):
    """Hiding a part by the mean colour changes nothing: that is said, not shown as a map."""
    model = tiny("clip")
    offered(model, key, "query")
    pixels = np.full((40, 40, 3), 120, dtype=np.uint8)
    prepared = model.prepare(Media("flat", Modality.IMAGE, "flat.png", pixels=pixels))
    maps = mapped(model, prepared, key)
    hides = key in ("occlusion", "feature_ablation", "integrated_gradients", "second_order")
    assert maps is None if hides else maps is None or maps.values.any()


@pytest.mark.parametrize("key", METHOD_KEYS)
def test_weights_that_are_not_numbers(tiny, picture, key):
    original = tiny("clip")
    offered(original, key, "query")
    model = copy.copy(original)
    model.module = model._model = copy.deepcopy(original.module)
    with torch.no_grad():
        model.module.visual.transformer.resblocks[1].attn.in_proj_weight.fill_(float("nan"))
    prepared = model.prepare(picture)
    with pytest.raises(UnsupportedError, match="not numbers"):
        explain(model, prepared, query_sequence(model, "picture", "a red dog"), MapSpec(key))


@pytest.mark.parametrize("key", METHOD_KEYS)
def test_one_token(tiny, picture, key):
    model = tiny("coca")
    prepared = model.prepare(picture)
    text, spans = model.token_text([320])
    caption = TokenSequence("caption", "picture", model.info.id, text, spans, prompt_ids=(49406,))
    for sequence in (caption, query_sequence(model, "picture", "dog")):
        if METHODS.get(key).offers(model, sequence.kind):
            maps = explain(model, prepared, sequence, MapSpec(key))
            assert maps.values.shape == (1, 4, 4)
            assert maps.values.any()


@pytest.mark.parametrize("key", METHOD_KEYS)
def test_few_positions(tiny, picture, key):
    """The convolutional tower has two by two positions."""
    model = tiny("resnet")
    offered(model, key, "query")
    prepared = model.prepare(picture)
    maps = mapped(model, prepared, key)
    if maps is not None:
        assert maps.values.shape == (3, 2, 2)
        assert np.isfinite(maps.values).all()


@pytest.mark.parametrize("key", METHOD_KEYS)
def test_one_patch(key):
    """A tower whose whole input is one patch: there is one value per word, or a word for it."""
    config = copy.deepcopy(CONFIGS["clip"])
    config["vision_cfg"]["patch_size"] = 32
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        module = build.construct(config).eval().requires_grad_(False)
    build.attach_preprocessing(module, {})
    placement = Placement(torch.device("cpu"), torch.float32, "a test")
    tokenizer = open_clip.SimpleTokenizer(context_length=12)
    model = OpenClipModel(module, tokenizer, placement, Identity("one patch", "test", "test"))
    offered(model, key, "query")
    pixels = np.random.default_rng(0).integers(0, 255, (40, 40, 3), dtype=np.uint8)
    maps = mapped(model, model.prepare(Media("one", Modality.IMAGE, "one.png", pixels=pixels)), key)
    if maps is not None:
        assert maps.values.shape == (3, 1, 1)


@pytest.mark.parametrize("key", METHOD_KEYS)
def test_a_long_text(tiny, picture, key):
    """As many words as the model reads; one more is refused."""
    model = tiny("clip")
    offered(model, key, "query")
    prepared = model.prepare(picture)
    sequence = query_sequence(model, "picture", "dog " * 10)
    maps = explain(model, prepared, sequence, MapSpec(key))
    assert len(maps.values) == 10
    with pytest.raises(InputError, match="dog"):
        explain(model, prepared, query_sequence(model, "picture", "dog " * 13), MapSpec(key))


@pytest.mark.parametrize("key", ["occlusion", "feature_ablation", "integrated_gradients", "second_order"])
def test_too_little_memory_is_said_before_the_work(tiny, picture, key, monkeypatch):
    model = tiny("clip")
    prepared = model.prepare(picture)
    sequence = query_sequence(model, "picture", "a red dog")
    monkeypatch.setattr("mmviewer.core.models.device.free_memory", lambda _: 1000)
    with pytest.raises(DeviceError, match="GiB are free"):
        explain(model, prepared, sequence, MapSpec(key))


def test_legrad_leaves_out_layers_that_do_not_fit(tiny, picture, monkeypatch):
    model = tiny("clip")
    prepared = model.prepare(picture)
    sequence = query_sequence(model, "picture", "a red dog")
    whole = explain(model, prepared, sequence, MapSpec("legrad"))
    monkeypatch.setattr("mmviewer.core.explain.methods.legrad.room", lambda _: 0)
    last = explain(model, prepared, sequence, MapSpec("legrad"))
    assert "first 2 layers were left out" in last.caveat
    only = explain(model, prepared, sequence, MapSpec("legrad", layer=2))
    np.testing.assert_allclose(last.values, only.values, rtol=1e-5)
    assert np.abs(last.values - whole.values).max() > 0


def test_an_encoder_that_does_not_fit_is_left_out(tiny, picture, caption_of, monkeypatch):
    model = tiny("coca")
    prepared = model.prepare(picture)
    sequence = caption_of(model, prepared)
    whole = explain(model, prepared, sequence, MapSpec("gradient_attention"))
    monkeypatch.setattr("mmviewer.core.explain.methods.gradient_attention.room", lambda _: 0)
    cut = explain(model, prepared, sequence, MapSpec("gradient_attention"))
    assert "too large to be followed" in cut.caveat
    assert "too large" not in whole.caveat
    assert np.abs(cut.values - whole.values).max() > 0


def test_attention_keeps_one_layer_where_all_do_not_fit(tiny, picture, caption_of, monkeypatch):
    model = tiny("coca")
    prepared = model.prepare(picture)
    sequence = caption_of(model, prepared)
    specs = [MapSpec("attention", layer=0, head=2), MapSpec("attention", layer=1, head="max")]
    expected = [explain(model, prepared, sequence, spec).values for spec in specs]
    all_layers = estimate(model, prepared, sequence).bytes
    monkeypatch.setattr("mmviewer.core.explain.methods.attention.room", lambda _: 0)
    assert estimate(model, prepared, sequence).bytes < all_layers
    for spec, values in zip(specs, expected, strict=True):
        np.testing.assert_allclose(explain(model, prepared, sequence, spec).values, values, rtol=1e-5)
    maps = explain(model, prepared, sequence)
    assert maps.spec.layer == 1
    assert "only layer 2 of 2 was recorded" in maps.caveat


def planted(row: int, column: int) -> Media:
    """A grey picture whose only content is noise in one patch of the tiny models' four by four."""
    pixels = np.full((32, 32, 3), 128, dtype=np.uint8)
    noise = np.random.default_rng(5).integers(0, 255, (8, 8, 3), dtype=np.uint8)
    pixels[row * 8 : row * 8 + 8, column * 8 : column * 8 + 8] = noise
    return Media("planted", Modality.IMAGE, "planted.png", pixels=pixels)


@pytest.mark.parametrize("key", ["feature_ablation", "integrated_gradients", "second_order", "occlusion"])
@pytest.mark.parametrize("place", [(0, 3), (2, 1)])
def test_the_patch_that_decides_is_found(tiny, key, place):
    model = tiny("clip")
    prepared = model.prepare(planted(*place))
    maps = explain(model, prepared, query_sequence(model, "planted", "a red dog"), MapSpec(key))
    strength = np.abs(maps.whole)
    assert strength[place] >= 0.99 * strength.max()
