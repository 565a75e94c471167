"""LeGrad, Grad-ECLIP and CLIP Surgery against their formulas written plainly."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import plain
import pytest
import torch
from independent import EagerCopy
from torch.nn import functional

from mmviewer.core.capture.mechanism import AttentionChange
from mmviewer.core.errors import InputError, UnsupportedError
from mmviewer.core.explain.base import explain
from mmviewer.core.models.base import FAMILIES
from mmviewer.core.targets import ClassTarget, SimilarityTarget, TokenTarget
from mmviewer.core.tasks.generate import generate
from mmviewer.core.types import MapSpec, Media, Modality, PointRole, Sampling


def assert_same(found: np.ndarray, expected: np.ndarray) -> None:
    """Equal to 1e-4 of the largest value."""
    assert np.abs(expected).max() > 0
    np.testing.assert_allclose(found.ravel(), expected.ravel(), atol=1e-4 * np.abs(expected).max())


LEGRAD = {
    "clip": plain.legrad_of_clip,
    "coca without pooler": plain.legrad_of_clip,
    "coca": plain.legrad_of_coca,
    "siglip": plain.legrad_of_siglip,
}


@pytest.mark.parametrize("variant", LEGRAD)
def test_legrad_is_the_sum_of_each_layers_own_gradients(tiny, picture, query_of, variant):
    model = tiny(variant)
    prepared = model.prepare(picture)
    sequence = query_of(model, prepared)
    maps = explain(model, prepared, sequence, MapSpec("legrad"))

    texts = [sequence.text, *(word.text for word in sequence.tokens)]
    vectors = plain.text_vectors(model, texts)
    for vector, found in zip(vectors, [maps.whole, *maps.values], strict=True):
        assert_same(found, LEGRAD[variant](model, prepared, vector).sum(0))
    assert "LeGrad" in maps.description


def test_legrad_of_one_layer_and_some_heads(tiny, picture, query_of):
    model = tiny("clip")
    prepared = model.prepare(picture)
    sequence = query_of(model, prepared)
    (vector,) = plain.text_vectors(model, [sequence.text])
    expected = plain.legrad_of_clip(model, prepared, vector)
    maps = explain(model, prepared, sequence, MapSpec("legrad", layer=1))
    assert_same(maps.whole, expected[1])
    single = [
        explain(model, prepared, sequence, MapSpec("legrad", layer=1, head=head)).whole for head in range(4)
    ]
    assert_same(np.mean(single, axis=0), expected[1])
    some = explain(model, prepared, sequence, MapSpec("legrad", layer=1, head=(0, 2)))
    assert_same(some.whole, (single[0] + single[2]) / 2)
    assert "heads 1, 3 of 4" in some.description


def keep_inputs(module: torch.nn.Module) -> list[tuple[torch.Tensor, torch.Tensor]]:
    """What an attention module is called with: query and key inputs [1, Q, W] and [1, K, W]."""
    found: list[tuple[torch.Tensor, torch.Tensor]] = []

    def keep(part: torch.nn.Module, args: tuple[torch.Tensor, ...], kwargs: dict[str, torch.Tensor]) -> None:
        every = [*args, *(kwargs[name] for name in ("query", "key", "value") if name in kwargs)]
        query, key = every[0].detach(), every[1].detach()
        found.append((query, key) if part.batch_first else (query.transpose(0, 1), key.transpose(0, 1)))

    module.register_forward_pre_hook(keep, with_kwargs=True)
    return found


@pytest.mark.parametrize(
    ("variant", "role", "layer"),
    [
        ("clip", PointRole.ENCODER_SELF, 2),
        ("clip", PointRole.ENCODER_SELF, 0),
        ("coca", PointRole.POOL, 0),
    ],
)
def test_grad_eclip_of_words(tiny, picture, query_of, variant, role, layer):
    model = tiny(variant)
    prepared = model.prepare(picture)
    sequence = query_of(model, prepared)
    point = model.point(role)
    texts = [sequence.text, *(word.text for word in sequence.tokens)]
    maps = explain(model, prepared, sequence, MapSpec("grad_eclip", point.name, layer))

    for vector, found in zip(plain.text_vectors(model, texts), [maps.whole, *maps.values], strict=True):
        eager = EagerCopy(model, prepared)
        attention = eager.attentions(point)[layer]
        inputs = keep_inputs(attention)
        score = vector @ eager.image_embedding()
        expected = plain.grad_eclip(attention, score, inputs[0], row=0, first=1)
        np.testing.assert_allclose(found.ravel(), expected, atol=1e-4 * max(expected.max(), 1e-12))
    assert maps.spec.layer == layer


def test_grad_eclip_of_tokens_is_carried_through_the_pooler(tiny, picture, caption_of):
    model = tiny("coca")
    prepared = model.prepare(picture)
    sequence = caption_of(model, prepared)
    ids = [token.id for token in sequence.tokens]
    maps = explain(model, prepared, sequence, MapSpec("grad_eclip", layer=1))
    for step, token in enumerate(ids):
        eager = EagerCopy(model, prepared)
        attention = eager.attentions(model.point(PointRole.CROSS))[1]
        inputs = keep_inputs(attention)
        logits = eager.logits([*sequence.prompt_ids, *ids[:-1]])
        score = logits[step].log_softmax(-1)[token]
        over_tokens = plain.grad_eclip(attention, score, inputs[0], row=step)
        pool = eager.weights(model.point(PointRole.POOL))[0].mean(0)[1:, 1:].numpy()
        expected = over_tokens @ pool
        np.testing.assert_allclose(
            maps.values[step].ravel(), expected, atol=1e-4 * max(expected.max(), 1e-12)
        )


@pytest.mark.parametrize(("variant", "start"), [("clip", None), ("clip", 2), ("coca", None)])
def test_clip_surgery_follows_values(tiny, picture, query_of, variant, start):
    model = tiny(variant)
    prepared = model.prepare(picture)
    sequence = query_of(model, prepared)
    maps = explain(model, prepared, sequence, MapSpec("clip_surgery", layer=start))

    features = plain.value_path(model, prepared, 1 if start is None else start)[1:]  # [P, D]
    empty, whole, *words = plain.text_vectors(
        model, ["", sequence.text, *(word.text for word in sequence.tokens)]
    )
    assert_same(maps.whole, (features @ (whole - empty)).numpy())
    for found, word in zip(maps.values, words, strict=True):
        assert_same(found, (features @ (word - empty)).numpy())
    assert maps.signed
    assert maps.spec.layer == (1 if start is None else start)


def test_clip_surgery_of_a_class_subtracts_the_mean_of_the_labels(tiny, picture, query_of):
    model = tiny("clip")
    prepared = model.prepare(picture)
    labels = ("dog", "cat", "bus")
    target = ClassTarget("cat", labels, ("a {}",))
    maps = explain(model, prepared, query_of(model, prepared), MapSpec("clip_surgery", target=target))
    features = plain.value_path(model, prepared, 1)[1:]
    vectors = plain.text_vectors(model, [f"a {label}" for label in labels])
    assert_same(maps.whole, (features @ (vectors[1] - vectors.mean(0))).numpy())
    contrast = MapSpec("clip_surgery", target=SimilarityTarget("cat"), contrast=SimilarityTarget("dog"))
    maps = explain(model, prepared, query_of(model, prepared), contrast)
    cat, dog = plain.text_vectors(model, ["cat", "dog"])
    assert_same(maps.whole, (features @ (cat - dog)).numpy())
    assert "minus" in maps.score


def test_clip_surgery_encodes_the_labels_of_a_model_once(picture, query_of, monkeypatch):
    """Also a class among them is looked up; what switched-off heads make of them is used, but not kept."""
    model = FAMILIES.get("openclip").tiny("clip")
    labels = ("dog", "cat", "bus")
    model.info = replace(model.info, labels=labels)
    prepared = model.prepare(picture)
    sequence = query_of(model, prepared)
    encoded: list[str] = []
    encode = model.text_features

    def counted(texts: Sequence[str]) -> torch.Tensor:
        encoded.extend(texts)
        return encode(texts)

    monkeypatch.setattr(model, "text_features", counted)

    def shown(spec: MapSpec = MapSpec("clip_surgery")) -> tuple[np.ndarray, list[str]]:
        encoded.clear()
        return explain(model, prepared, sequence, spec).whole, sorted(encoded)

    def expected() -> np.ndarray:
        whole, *classes = encode([sequence.text, *(f"a {label}" for label in labels)]).double()
        return (plain.value_path(model, prepared, 1)[1:] @ (whole - sum(classes) / 3)).numpy()

    every = sorted([sequence.text, "a", "red", "dog", "a dog", "a cat", "a bus"])
    first, texts = shown()
    assert texts == every
    assert_same(first, expected())
    again, texts = shown(MapSpec("clip_surgery", layer=2))
    assert texts == []
    assert np.abs(again - first).max() > 0
    assert shown(MapSpec("clip_surgery", target=ClassTarget("cat", labels, ("a {}",))))[1] == []

    sites = {name: model.module.get_submodule(name) for name in model.point(PointRole.TEXT_SELF).modules}
    with AttentionChange(sites, lambda _name, weights, _allowed: torch.zeros_like(weights)):
        off, texts = shown()
        assert texts == every
        assert_same(off, expected())
    assert np.abs(off - first).max() > 1e-3 * np.abs(first).max()
    last, texts = shown()
    assert texts == []
    np.testing.assert_array_equal(last, first)


def test_grad_eclip_of_a_siglip_reads_its_pooling_head(tiny, picture, query_of):
    model = tiny("siglip")
    prepared = model.prepare(picture)
    sequence = query_of(model, prepared)
    maps = explain(model, prepared, sequence, MapSpec("grad_eclip"))
    assert maps.spec.point == "vision.pool"
    trunk = EagerCopy(model, prepared).module.visual.trunk
    pool = trunk.attn_pool
    tokens = trunk.forward_features(prepared.inputs["pixels"].double()).detach()
    tokens = tokens if trunk.pool_include_prefix else tokens[:, trunk.num_prefix_tokens :]
    query, key = pool.q(pool.latent)[0, 0], pool.kv(tokens)[0, :, : pool.q.out_features]
    cosine = functional.cosine_similarity(query[None], key, dim=-1)[-100:]
    loose = (cosine - cosine.min()) / (cosine.max() - cosine.min())
    weights, pooled = plain.pool_of_timm(pool, tokens)
    texts = [sequence.text, *(word.text for word in sequence.tokens)]
    for vector, found in zip(plain.text_vectors(model, texts), [maps.whole, *maps.values], strict=True):
        score = functional.normalize(pooled, dim=-1)[0] @ vector
        (slopes,) = torch.autograd.grad(score, weights, retain_graph=True)
        expected = (slopes[0, :, 0, -100:].sum(0) * loose).clamp(min=0).detach().numpy()
        np.testing.assert_allclose(found.ravel(), expected, atol=1e-4 * max(expected.max(), 1e-12))


def test_clip_surgery_of_a_siglip(tiny, picture, query_of):
    model = tiny("siglip")
    prepared = model.prepare(picture)
    sequence = query_of(model, prepared)
    maps = explain(model, prepared, sequence, MapSpec("clip_surgery"))
    eager = EagerCopy(model, prepared)
    trunk = eager.module.visual.trunk
    blocks = plain.Blocks(trunk.blocks)
    eager.image_embedding()
    beside = blocks.inputs[3]  # half of six layers
    for block, hidden in list(zip(trunk.blocks, blocks.inputs, strict=True))[3:]:
        values = block.attn.qkv(block.norm1(hidden))[0, :, -block.attn.proj.in_features :]
        joined = [
            torch.softmax(head @ head.T / head.shape[-1] ** 0.5, -1) @ head
            for head in values.chunk(block.attn.num_heads, dim=-1)
        ]
        beside = beside + block.ls1(block.attn.proj(torch.cat(joined, -1)))[None]
    single = trunk.attn_pool(trunk.norm(beside)[0][:, None])
    patches = functional.normalize(single, dim=-1)[-100:].detach()
    empty, whole = plain.text_vectors(model, ["", sequence.text])
    assert_same(maps.whole, (patches @ (whole - empty)).numpy())


def test_grad_eclip_of_speech_equals_the_librarys_own_attention():
    """Transformers' eager attention with its weights on the graph, for the last token of a transcript."""
    model = FAMILIES.get("whisper").tiny()
    samples = np.random.default_rng(1).normal(0, 0.1, 16_000).astype(np.float32)
    prepared = model.prepare(Media("noise", Modality.AUDIO, "noise", samples=samples))
    sequence = generate(model, prepared, Sampling(max_tokens=3))
    eager = copy.deepcopy(model.module).requires_grad_(True)
    eager.set_attn_implementation("eager")
    attention = eager.model.decoder.layers[-1].encoder_attn
    seen: dict[str, torch.Tensor] = {}
    for name in ("q_proj", "k_proj"):
        part = getattr(attention, name)
        part.register_forward_hook(lambda _, __, output, name=name: seen.update({name: output[0].detach()}))
    ids = [*sequence.prompt_ids, *(token.id for token in sequence.tokens)]
    output = eager(
        input_features=model._features(prepared, 0),
        decoder_input_ids=torch.tensor([ids[:-1]]),
        output_attentions=True,
    )
    weights = output.cross_attentions[-1]
    (slopes,) = torch.autograd.grad(output.logits[0, -1].log_softmax(-1)[ids[-1]], weights)
    cosine = functional.cosine_similarity(seen["q_proj"][-1:], seen["k_proj"], dim=-1)
    loose = (cosine - cosine.min()) / (cosine.max() - cosine.min())
    expected = (slopes[0, :, -1].sum(0) * loose).clamp(min=0).numpy()
    maps = explain(model, prepared, sequence, MapSpec("grad_eclip"))
    np.testing.assert_allclose(maps.values[-1], expected, atol=1e-4 * max(expected.max(), 1e-12))


def test_methods_of_encoders_refuse_what_they_cannot_explain(tiny, picture, caption_of, query_of):
    model = tiny("coca")
    prepared = model.prepare(picture)
    for method in ("legrad", "clip_surgery"):
        with pytest.raises(UnsupportedError, match="cannot explain a caption"):
            explain(model, prepared, caption_of(model, prepared), MapSpec(method))
    towerless = tiny("resnet")
    prepared = towerless.prepare(picture)
    for method in ("legrad", "clip_surgery"):
        with pytest.raises(UnsupportedError, match="cannot explain a query"):
            explain(towerless, prepared, query_of(towerless, prepared), MapSpec(method))
    prepared = model.prepare(picture)
    sequence = query_of(model, prepared)
    with pytest.raises(InputError, match="tokens 0 to 2; token 9"):
        explain(model, prepared, sequence, MapSpec("legrad", target=TokenTarget(9)))


def test_legrad_equals_its_authors_own_values(tiny, picture, query_of):
    """The published program on the same weights (pip install legrad-torch einops)."""
    legrad = pytest.importorskip("legrad", reason="legrad-torch is not installed")
    model = tiny("clip")
    prepared = model.prepare(picture)
    sequence = query_of(model, prepared)
    theirs = legrad.LeWrapper(copy.deepcopy(model.module), layer_index=0)
    vector = plain.text_vectors(model, [sequence.text]).float()
    expected = theirs.compute_legrad(vector, image=prepared.inputs["pixels"])[0, 0].detach()
    found = torch.from_numpy(explain(model, prepared, sequence, MapSpec("legrad")).whole)
    shown = functional.interpolate(found[None, None], scale_factor=8, mode="bilinear")[0, 0]
    shown = (shown - shown.min()) / (shown.max() - shown.min())
    np.testing.assert_allclose(shown.numpy(), expected.numpy(), atol=1e-4)
