"""Heads switched off: against slices of the output projection at zero, and explicit means of values."""

from __future__ import annotations

import copy
from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from mmviewer.core.capture.collector import capture
from mmviewer.core.capture.mechanism import AttentionChange, AttentionRecorder, recording
from mmviewer.core.errors import InputError
from mmviewer.core.interventions.attention import changed_weights, switched_off
from mmviewer.core.interventions.recipe import SwitchOff
from mmviewer.core.models.base import LoadedModel, Prepared
from mmviewer.core.types import Media

HEADS, QUERIES, KEYS, SIZE = 4, 5, 7, 8


def uniform(_name: str, weights: Tensor, allowed: Tensor | None) -> Tensor:
    return changed_weights(weights, allowed, (1, 3), "uniform")


class Fused(nn.Module):
    def forward(self, query, key, value, **options):
        return functional.scaled_dot_product_attention(query, key, value, **options)


class WrittenOut(nn.Module):
    """Attention spelled out on [B * H, Q, K], with a mask of large numbers, as older modules do."""

    def forward(self, x, query, key, value, mask):
        scores = query.flatten(0, 1) @ key.flatten(0, 1).transpose(1, 2) * SIZE**-0.5 + mask
        return (functional.softmax(scores, dim=-1) @ value.flatten(0, 1)).reshape(query.shape)


def inputs(heads: int = HEADS, batch: int = 2) -> tuple[Tensor, Tensor, Tensor]:
    generator = torch.Generator().manual_seed(0)
    shapes = ((HEADS, QUERIES), (heads, KEYS), (heads, KEYS))
    query, key, value = (torch.randn(batch, *shape, SIZE, generator=generator) for shape in shapes)
    return query, key, value


MASKS = {
    "none": {},
    "boolean": {"attn_mask": torch.rand(QUERIES, KEYS, generator=torch.Generator().manual_seed(1)) > 0.4},
    "added": {
        "attn_mask": torch.zeros(2, 1, QUERIES, KEYS).index_fill(-1, torch.tensor([0, 6]), float("-inf"))
    },
    "lowest": {"attn_mask": torch.zeros(QUERIES, KEYS).index_fill(-1, torch.tensor([2]), -3.4e38)},
    "causal": {"is_causal": True},
}


@pytest.mark.parametrize("options", MASKS.values(), ids=MASKS.keys())
def test_uniform_heads_give_the_mean_of_the_values_they_may_see(options):
    query, key, value = inputs()
    site = Fused()
    plain = site(query, key, value, **options)
    with AttentionChange({"site": site}, uniform):
        changed = site(query, key, value, **options)
    mask = options.get("attn_mask", torch.ones(QUERIES, KEYS, dtype=torch.bool))
    if options.get("is_causal"):
        mask = torch.ones(QUERIES, KEYS, dtype=torch.bool).tril()
    seen = (mask if mask.dtype == torch.bool else mask > -9e3).expand(2, HEADS, QUERIES, KEYS)
    for batch in range(2):
        for head in range(HEADS):
            for row in range(QUERIES):
                expected = plain[batch, head, row]
                if head in (1, 3):
                    expected = value[batch, head][seen[batch, head, row]].mean(0)
                torch.testing.assert_close(changed[batch, head, row], expected, atol=1e-6, rtol=1e-5)


def test_grouped_heads_are_counted_as_the_queries_are():
    query, key, value = inputs(heads=2)
    site = Fused()
    with AttentionChange({"site": site}, uniform):
        changed = site(query, key, value, enable_gqa=True)
    torch.testing.assert_close(changed[:, 3], value[:, 1].mean(1, keepdim=True).expand(2, QUERIES, SIZE))


def test_attention_written_out_is_changed_at_its_softmax():
    query, key, value = inputs()
    mask = torch.zeros(QUERIES, KEYS).index_fill(-1, torch.tensor([0, 3]), -1e4)
    site = WrittenOut()
    x = torch.zeros(2, QUERIES, HEADS * SIZE)
    with AttentionChange({"site": site}, uniform):
        changed = site(x, query, key, value, mask)
    seen = [1, 2, 4, 5, 6]
    torch.testing.assert_close(
        changed[:, 1], value[:, 1, seen].mean(1, keepdim=True).expand(2, QUERIES, SIZE)
    )


@pytest.mark.parametrize("rows", [None, slice(-2, None)])
def test_a_recorder_inside_sees_the_changed_weights_once(rows):
    query, key, value = inputs()
    site = Fused()
    seen: list[Tensor] = []
    with AttentionChange({"site": site}, uniform):
        alone = site(query, key, value, is_causal=True)
        with AttentionRecorder({"here": site}, lambda _, weights: seen.append(weights), rows=rows):
            recorded = site(query, key, value, is_causal=True)
    torch.testing.assert_close(recorded, alone, atol=1e-6, rtol=1e-5)
    assert len(seen) == 1
    last = torch.zeros(KEYS).index_fill(0, torch.arange(QUERIES), 1 / QUERIES)
    torch.testing.assert_close(seen[0][:, 1, -1], last.expand(2, KEYS))


MODELS = {"coca": ("openclip", "coca"), "siglip": ("openclip", "siglip"), "whisper": ("whisper", "")}


def item_for(model: LoadedModel, picture: Media, sound: Media) -> Prepared:
    return model.prepare(sound if model.info.family == "whisper" else picture)


def outputs(model: LoadedModel, prepared: Prepared) -> list[Tensor]:
    """What the model says of an item by every way that it has, each computed anew."""
    prepared = Prepared(prepared.media_id, prepared.modality, prepared.inputs, prepared.geometry)
    found = []
    with torch.no_grad():
        if model.info.family == "openclip":
            found += [model.image_features([prepared]), model.text_features(["a red dog"])]
        if any(point.name == "decoder.cross" for point in model.info.points):
            decoder = model.decoder(prepared)
            ids = [7, 9, 11]
            steps = [decoder.next_logits(ids[:count]) for count in range(len(ids) + 1)]
            logits = model.sequence_logits(prepared, [*decoder.prompt, *ids])
            found += [torch.stack(steps), logits[len(decoder.prompt) - 1 :]]
    return found


def projection_at_zero(model: LoadedModel, module: str, head: int, heads: int) -> LoadedModel:
    """A copy whose output projection of one module ignores one head."""
    other = copy.deepcopy(model)
    attention = other.module.get_submodule(module)
    weight = (attention.out_proj if hasattr(attention, "out_proj") else attention.proj).weight
    size = weight.shape[1] // heads
    with torch.no_grad():
        weight[:, head * size : (head + 1) * size] = 0
    return other


@pytest.mark.parametrize(("family", "variant"), MODELS.values(), ids=MODELS.keys())
def test_a_head_switched_off_is_its_slice_of_the_projection_at_zero(
    tiny: Callable[..., LoadedModel], family: str, variant: str, picture: Media, sound: Media
):
    model = tiny(family, variant)
    prepared = item_for(model, picture, sound)
    plain = outputs(model, prepared)
    for point in model.info.points:
        layer, head = point.layers - 1, point.heads - 1
        with switched_off(model, [SwitchOff(point.name, layer, (head,))]):
            changed = outputs(model, prepared)
        independent = outputs(projection_at_zero(model, point.modules[layer], head, point.heads), prepared)
        for ours, theirs in zip(changed, independent, strict=True):
            torch.testing.assert_close(ours, theirs, atol=1e-5, rtol=1e-5)
        differs = [not torch.allclose(a, b, atol=1e-6) for a, b in zip(changed, plain, strict=True)]
        assert any(differs), f"{point.name} changes nothing"


@pytest.mark.parametrize(("family", "variant"), MODELS.values(), ids=MODELS.keys())
def test_nothing_is_left_behind(
    tiny: Callable[..., LoadedModel], family: str, variant: str, picture: Media, sound: Media
):
    model = tiny(family, variant)
    prepared = item_for(model, picture, sound)
    before = outputs(model, prepared)
    with switched_off(model, []):
        untouched = outputs(model, prepared)
    every = [SwitchOff(point.name, how="uniform") for point in model.info.points]
    with switched_off(model, every):
        assert recording(model.module)
    with pytest.raises(KeyboardInterrupt):
        _interrupt(model, every)
    assert not recording(model.module)
    hooks = [
        module for module in model.module.modules() if module._forward_pre_hooks or module._forward_hooks
    ]
    assert not hooks
    for first, second, third in zip(before, untouched, outputs(model, prepared), strict=True):
        assert torch.equal(first, second)
        assert torch.equal(first, third)


def _interrupt(model: LoadedModel, steps: list[SwitchOff]) -> None:
    with switched_off(model, steps):
        raise KeyboardInterrupt


def test_cached_steps_and_one_forward_agree_with_uniform_heads(tiny: Callable[..., LoadedModel], picture):
    model = tiny("openclip", "coca")
    steps = [SwitchOff("decoder.self", 0, (0,), "uniform"), SwitchOff("decoder.cross", None, (1,), "uniform")]
    with switched_off(model, steps):
        *_, one_by_one, at_once = outputs(model, model.prepare(picture))
    torch.testing.assert_close(one_by_one, at_once, atol=1e-5, rtol=1e-5)


def test_captured_weights_are_those_that_the_model_used(tiny: Callable[..., LoadedModel], picture: Media):
    model = tiny("openclip", "coca")
    prepared = model.prepare(picture)
    ids = [*model.decoder(prepared).prompt, 7, 9]
    steps = [SwitchOff("decoder.cross", 0, (0,)), SwitchOff("decoder.cross", 0, (1,), "uniform")]
    with switched_off(model, steps), capture(model, {"decoder.cross": (0,)}) as seen:
        model.sequence_logits(prepared, ids)
    weights = seen["decoder.cross"][0][0]  # [H, Q, K]
    assert not weights[0].any()
    torch.testing.assert_close(weights[1], torch.full_like(weights[1], 1 / weights.shape[-1]))
    torch.testing.assert_close(weights[2].sum(-1), torch.ones(len(ids)))


@pytest.mark.parametrize(
    ("step", "words"),
    [
        (SwitchOff("nowhere"), "no place"),
        (SwitchOff("vision.self", 99), "no layer 99"),
        (SwitchOff("vision.self", 0, (99,)), "no head 99"),
    ],
)
def test_what_is_not_there_is_refused(tiny: Callable[..., LoadedModel], step: SwitchOff, words: str):
    with pytest.raises(InputError, match=words), switched_off(tiny("openclip", "coca"), [step]):
        pass
