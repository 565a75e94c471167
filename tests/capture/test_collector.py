"""Named points of whole models."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from mmviewer.core.capture.collector import capture, estimate_bytes
from mmviewer.core.errors import InputError, UnsupportedError
from mmviewer.core.models.base import FAMILIES, LoadedModel
from mmviewer.core.types import Media, Modality

IDS = (49406, 320, 1125, 539)


@pytest.fixture
def model() -> LoadedModel:
    return FAMILIES.get("openclip").tiny("coca")


@pytest.fixture
def prepared(model):
    pixels = np.random.default_rng(0).integers(0, 256, (40, 60, 3), dtype=np.uint8)
    return model.prepare(Media("image", Modality.IMAGE, "image", pixels=pixels))


def test_layers_come_in_the_order_asked_for(model, prepared):
    with capture(model, {"decoder.cross": None, "vision.self": [2, 0]}) as captured:
        model.sequence_logits(prepared, IDS)
    with capture(model, {"vision.self": [0]}) as first:
        model.image_features([prepared])
    assert captured.layers("vision.self") == (2, 0)
    assert [weights.shape for weights in captured["decoder.cross"]] == [(1, 4, 4, 8)] * 2
    torch.testing.assert_close(captured["vision.self"][1], first["vision.self"][0])
    assert list(captured) == ["decoder.cross", "vision.self"]


def test_weights_without_gradient_are_detached(model, prepared):
    with capture(model, {"decoder.self": None}) as captured:
        logits = model.sequence_logits(prepared, IDS)
    assert not logits.requires_grad
    assert not any(weights.requires_grad for weights in captured["decoder.self"])


def test_gradients_reach_every_recorded_layer(model, prepared):
    with capture(model, dict.fromkeys(("vision.self", "vision.pool", "decoder.cross")), grad=True) as seen:
        logits = model.sequence_logits(prepared, IDS)
    weights = [layer for name in seen for layer in seen[name]]
    gradients = torch.autograd.grad(logits[-1, 320], weights)
    assert all(bool(gradient.isfinite().all()) and gradient.abs().sum() > 0 for gradient in gradients)


def test_gradients_start_at_the_first_recorded_layer(model, prepared):
    with capture(model, {"decoder.cross": [1]}, grad=True) as seen:
        logits = model.sequence_logits(prepared, IDS)
    (weights,) = seen["decoder.cross"]
    assert weights.is_leaf
    assert torch.autograd.grad(logits[-1, 320], weights)[0].abs().sum() > 0


def test_model_gives_the_same_with_and_without_capture(model, prepared):
    with torch.no_grad():
        plain = model.sequence_logits(prepared, IDS)
    with capture(model, {point.name: None for point in model.info.points}):
        recorded = model.sequence_logits(prepared, IDS)
    torch.testing.assert_close(recorded, plain, atol=1e-5, rtol=0)


def test_rows_keep_the_last_queries(model, prepared):
    with capture(model, {"decoder.cross": None}) as whole:
        model.sequence_logits(prepared, IDS)
    with capture(model, {"decoder.cross": None}, rows=slice(-1, None)) as last:
        model.sequence_logits(prepared, IDS)
    torch.testing.assert_close(last["decoder.cross"][0], whole["decoder.cross"][0][:, :, -1:])


def test_steps_of_a_loop_are_joined_to_the_matrix_of_one_forward():
    whisper = FAMILIES.get("whisper").tiny()
    samples = np.random.default_rng(0).normal(size=12_000).astype(np.float32) * 0.1
    prepared = whisper.prepare(Media("sound", Modality.AUDIO, "sound", samples=samples))
    ids = [3, 20, 30, 40]
    names = {"decoder.self": None, "decoder.cross": None}
    with capture(whisper, names) as steps:
        decoder = whisper.decoder(prepared)
        for count in range(len(ids)):
            decoder.next_logits(ids[1 : count + 1])
    with capture(whisper, names) as whole:
        whisper.sequence_logits(prepared, ids)
    for name in names:
        for stepped, expected in zip(steps[name], whole[name], strict=True):
            torch.testing.assert_close(stepped, expected, atol=1e-5, rtol=0)


def test_unknown_points_and_layers_are_named(model):
    with (
        pytest.raises(InputError, match=r"no capture point 'nowhere'; it has: vision.self"),
        capture(model, {"nowhere": None}),
    ):
        pass
    with (
        pytest.raises(InputError, match="layers 0 to 1; there is no layer 2"),
        capture(model, {"decoder.cross": [2]}),
    ):
        pass


def test_a_point_that_the_forward_does_not_pass_says_so(model, prepared):
    with capture(model, {"text.self": None}) as captured:
        model.image_features([prepared])
    with pytest.raises(UnsupportedError, match="Nothing was recorded at text encoder self-attention"):
        captured["text.self"]


def test_estimate_counts_layers_heads_and_gradients(model):
    point = next(point for point in model.info.points if point.name == "vision.self")
    one = 4 * 17 * 17 * 4
    assert estimate_bytes(point, 17, 17, layers=[1]) == one * 3
    assert estimate_bytes(point, 17, 17, grad=True) == one * 3 * point.layers
