"""Latents between words and patches, and gates: against the library and a plain computation."""

from __future__ import annotations

import copy

import numpy as np
import pytest
import torch

from mmviewer.core.capture.collector import capture
from mmviewer.core.explain.base import explain
from mmviewer.core.models.base import FAMILIES
from mmviewer.core.models.vlm.latents import POOL
from mmviewer.core.tasks.generate import generate
from mmviewer.core.types import MapSpec, Media, Modality, Sampling


def prepared_and_ids(model):
    pixels = np.random.default_rng(1).integers(0, 256, (50, 50, 3), dtype=np.uint8)
    prepared = model.prepare(Media("picture", Modality.IMAGE, "picture", pixels=pixels))
    return prepared, model.decoder(prepared).prompt


def plain_attention(attention, context, latents):
    """Softmax of the latents' queries with the keys of patches and latents, head by head."""
    context, latents = attention.context_layer_norm(context), attention.latents_layer_norm(latents)
    query, key = attention.q_proj(latents)[0], attention.k_proj(torch.cat((context, latents), dim=1))[0]
    heads, size = attention.n_heads, attention.head_dim
    rows = [slice(head * size, (head + 1) * size) for head in range(heads)]
    return torch.stack([(query[:, row] @ key[:, row].T * attention.qk_scale).softmax(-1) for row in rows])


def test_idefics_latents_read_what_a_plain_computation_gives():
    model = FAMILIES.get("idefics").tiny()
    prepared, ids = prepared_and_ids(model)
    calls: list = []
    hooks = [
        block[0].register_forward_hook(lambda part, given, _: calls.append((part, *given)))
        for block in model.module.model.perceiver_resampler.blocks
    ]
    with capture(model, {POOL: None}) as captured:
        model.sequence_logits(prepared, ids)
    for hook in hooks:
        hook.remove()
    assert len(captured[POOL]) == len(calls) == 2
    for ours, call in zip(captured[POOL], calls, strict=True):
        torch.testing.assert_close(ours[0], plain_attention(*call), atol=1e-6, rtol=0)


def test_kosmos_latents_read_what_the_library_says():
    model = FAMILIES.get("kosmos").tiny()
    prepared, ids = prepared_and_ids(model)
    with capture(model, {POOL: None}) as captured:
        model.sequence_logits(prepared, ids)
    eager = copy.deepcopy(model.module)
    eager.set_attn_implementation("eager")
    tokens = torch.tensor([ids])
    output = eager(input_ids=tokens, **model._eyes.model_inputs([prepared], tokens))
    torch.testing.assert_close(captured[POOL][0], output.projection_attentions, atol=1e-5, rtol=0)


@pytest.mark.parametrize(("family", "reading"), [("idefics", "decoder.cross"), ("kosmos", "joint.self")])
def test_words_reach_patches_through_latents(family, reading):
    model = FAMILIES.get(family).tiny()
    prepared, ids = prepared_and_ids(model)
    with capture(model, {reading: None, POOL: None}) as captured:
        model.sequence_logits(prepared, ids)
    point = next(point for point in model.info.points if point.name == reading)
    carried = model.position_weights(point, captured, prepared)
    read = torch.stack([layer[0, :, :, 1:17] for layer in captured[POOL]]).mean((0, 1))  # [N, P]
    places = prepared.inputs["places"] if family == "kosmos" else torch.arange(5)
    for layer, weights in enumerate(captured[reading]):
        for head in range(4):
            expected = weights[0, head][:, places] @ read
            torch.testing.assert_close(carried[layer, head], expected, atol=1e-6, rtol=0)


def test_gates_are_told_and_a_closed_one_lets_nothing_through():
    model = FAMILIES.get("idefics").tiny()
    prepared, ids = prepared_and_ids(model)
    assert model.info.points[0].gates == pytest.approx([np.tanh(1.0)] * 2)
    caption = generate(model, prepared, Sampling(max_tokens=2))
    maps = explain(model, prepared, caption, MapSpec(layer=0))
    assert "gate +0.76" in maps.description
    open_gates = model.sequence_logits(prepared, ids)
    for layer in model.module.model.gated_cross_attn_layers:
        layer.alpha_cross_attn.zero_()
    other = Media("other", Modality.IMAGE, "other", pixels=np.zeros((50, 50, 3), np.uint8))
    closed = [model.sequence_logits(each, ids) for each in (prepared, model.prepare(other))]
    assert not torch.allclose(open_gates, closed[0])
    torch.testing.assert_close(closed[0], closed[1])
