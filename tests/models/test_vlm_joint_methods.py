"""Methods on the joint attention of image and text, each against a plain computation with whole matrices."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from mmviewer.core.capture.collector import capture
from mmviewer.core.explain.base import estimate, explain
from mmviewer.core.models.base import FAMILIES
from mmviewer.core.models.vlm.model import JOINT
from mmviewer.core.tasks.ask import ask
from mmviewer.core.types import MapSpec, Media, Modality, Sampling


@pytest.fixture(scope="module")
def model():
    return FAMILIES.get("smolvlm").tiny()


@pytest.fixture(scope="module")
def prepared(model):
    pixels = np.random.default_rng(0).integers(0, 256, (60, 140, 3), dtype=np.uint8)
    return model.prepare(Media("picture", Modality.IMAGE, "picture", pixels=pixels))


@pytest.fixture(scope="module")
def answer(model, prepared):
    return ask(model, prepared, "What is it?", Sampling(max_tokens=4))


def fed(answer) -> list[int]:
    return [*answer.prompt_ids, *(token.id for token in answer.tokens)][:-1]


def on_picture(prepared, rows: torch.Tensor) -> torch.Tensor:
    """Columns of image tokens [..., T], each spread over its positions by hand: [..., P]."""
    result = torch.zeros(*rows.shape[:-1], prepared.inputs["spread"].shape[1])
    for token, place in enumerate(prepared.inputs["places"].tolist()):
        for position in range(result.shape[-1]):
            result[..., position] += rows[..., place] * prepared.inputs["spread"][token, position]
    return result


def whole(model, prepared, answer, *, grad: bool = False):
    with capture(model, {JOINT: None}, grad=grad) as captured:
        logits = model.sequence_logits(prepared, fed(answer))
    return captured[JOINT], logits


def test_raw_attention_is_the_row_that_predicts_the_token(model, prepared, answer):
    layers, _ = whole(model, prepared, answer)
    maps = explain(model, prepared, answer, MapSpec(layer=1, head=2))
    expected = on_picture(prepared, layers[1][0, 2])[len(answer.prompt_ids) - 1 :]
    np.testing.assert_allclose(maps.values.reshape(len(answer.tokens), -1), expected, atol=1e-6)


def test_only_rows_of_the_text_are_kept(model, prepared, answer):
    cost = estimate(model, prepared, answer, MapSpec())
    rows, keys = len(answer.tokens), len(fed(answer)) + 1
    assert cost.bytes == 4 * 4 * rows * keys * 4  # heads, two layers and two of scores, float32


def test_rollout_is_the_product_of_all_layers(model, prepared, answer):
    layers, _ = whole(model, prepared, answer)
    product = torch.eye(layers[0].shape[-1])
    for weights in layers:
        mixed = weights[0].mean(0) + torch.eye(weights.shape[-1])
        product = (mixed / mixed.sum(-1, keepdim=True)) @ product
    maps = explain(model, prepared, answer, MapSpec("rollout"))
    expected = on_picture(prepared, product)[len(answer.prompt_ids) - 1 :]
    np.testing.assert_allclose(maps.values.reshape(len(answer.tokens), -1), expected, atol=1e-5)


def test_gradient_attention_follows_words_to_the_picture(model, prepared, answer):
    layers, logits = whole(model, prepared, answer, grad=True)
    maps = explain(model, prepared, answer, MapSpec("gradient_attention"))
    start = len(answer.prompt_ids) - 1
    for index, token in enumerate(answer.tokens):
        score = logits[start + index].log_softmax(-1)[token.id]
        gradients = torch.autograd.grad(score, layers, retain_graph=True)
        relevance = torch.eye(layers[0].shape[-1])
        for gradient, weights in zip(gradients, layers, strict=True):
            relevance = relevance + (gradient * weights)[0].clamp(min=0).mean(0).detach() @ relevance
        expected = on_picture(prepared, relevance[start + index])
        np.testing.assert_allclose(maps.values[index].flatten(), expected, atol=1e-5)
