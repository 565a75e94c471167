"""Gradient x attention against the published rules on joint matrices, and against finite differences."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from independent import EagerCopy

from mmviewer.core.capture.store import CaptureStore
from mmviewer.core.errors import UnsupportedError
from mmviewer.core.explain.base import explain
from mmviewer.core.types import MapKind, MapSpec, PointRole

RELATIVE = 1e-3


def positive(eager: EagerCopy, point) -> list[np.ndarray]:
    """mean_h (dA * A)+ of each layer."""
    pairs = zip(eager.gradients(point), eager.weights(point), strict=True)
    return [(gradient * weight).clamp(min=0).mean(0).numpy() for gradient, weight in pairs]


def normalised(relevance: np.ndarray) -> np.ndarray:
    added = relevance - np.eye(len(relevance))
    sums = added.sum(1, keepdims=True)
    return np.divide(added, sums, out=np.zeros_like(added), where=sums > 0) + np.eye(len(relevance))


def self_relevance(layers: list[np.ndarray]) -> np.ndarray:
    relevance = np.eye(layers[0].shape[0])
    for attention in layers:
        relevance = relevance + attention @ relevance
    return relevance


def assert_same_map(found: np.ndarray, expected: np.ndarray) -> None:
    np.testing.assert_allclose(found, expected, rtol=RELATIVE, atol=RELATIVE * np.abs(expected).max())


def test_query_words_on_the_image_tower(tiny, picture, query_of):
    model = tiny("clip")
    prepared = model.prepare(picture)
    sequence = query_of(model, prepared)
    texts = [sequence.text, *(word.text for word in sequence.tokens)]
    maps = explain(model, prepared, sequence, MapSpec("gradient_attention"))

    with torch.no_grad():
        vectors = model.text_features(texts).double()
    for vector, found in zip(vectors, [maps.whole, *maps.values], strict=True):
        eager = EagerCopy(model, prepared)
        (vector @ eager.image_embedding()).backward()
        relevance = self_relevance(positive(eager, model.point(PointRole.ENCODER_SELF)))
        assert_same_map(found, relevance[0, 1:].reshape(4, 4))
    assert maps.kind is MapKind.ATTRIBUTION
    assert "word alone" in maps.score


def test_query_through_the_pooler(tiny, picture, query_of):
    model = tiny("coca")
    prepared = model.prepare(picture)
    sequence = query_of(model, prepared)
    with torch.no_grad():
        vector = model.text_features([sequence.text])[0].double()
    eager = EagerCopy(model, prepared)
    (vector @ eager.image_embedding()).backward()
    encoder = normalised(self_relevance(positive(eager, model.point(PointRole.ENCODER_SELF))))
    pool = positive(eager, model.point(PointRole.POOL))[0]

    maps = explain(model, prepared, sequence, MapSpec("gradient_attention"))

    assert_same_map(maps.whole, (pool @ encoder)[0, 1:].reshape(4, 4))


def test_caption_follows_the_bimodal_rules(tiny, picture, caption_of):
    model = tiny("coca")
    prepared = model.prepare(picture)
    sequence = caption_of(model, prepared)
    ids = [token.id for token in sequence.tokens]
    maps = explain(model, prepared, sequence, MapSpec("gradient_attention"))

    for step, token in enumerate(ids):
        eager = EagerCopy(model, prepared)
        logits = eager.logits([*sequence.prompt_ids, *ids[:-1]])
        logits[step].log_softmax(-1)[token].backward()
        encoder = normalised(self_relevance(positive(eager, model.point(PointRole.ENCODER_SELF))))
        pool = positive(eager, model.point(PointRole.POOL))[0][1:] @ encoder  # [N, 1 + P]
        own, cross = (
            positive(eager, model.point(role)) for role in (PointRole.DECODER_SELF, PointRole.CROSS)
        )
        to_self, to_image = np.eye(len(ids)), np.zeros((len(ids), pool.shape[1]))
        for own_layer, cross_layer in zip(own, cross, strict=True):
            to_image = to_image + own_layer @ to_image
            to_self = to_self + own_layer @ to_self
            to_image = to_image + normalised(to_self).T @ cross_layer @ pool
        assert_same_map(maps.values[step], to_image[step, 1:].reshape(4, 4))
    assert maps.score == "log-probability of the token at its step"


def test_one_layer_and_head_against_finite_differences(tiny, picture, query_of):
    """Raise one weight by hand and see how the similarity changes: that is dA."""
    model = tiny("clip")
    prepared = model.prepare(picture)
    sequence = query_of(model, prepared)
    layer, head, step = 1, 2, 1e-5
    maps = explain(model, prepared, sequence, MapSpec("gradient_attention", layer=layer, head=head))
    with torch.no_grad():
        vector = model.text_features([sequence.text])[0].double()
    eager = EagerCopy(model, prepared)
    attention = eager.attentions(model.point(PointRole.ENCODER_SELF))[layer]

    def similarity(offset: torch.Tensor | None) -> float:
        attention.offset = offset
        with torch.no_grad():
            return float(vector @ eager.image_embedding())

    similarity(None)
    weights = attention.weights[0, head, 0].clone()
    expected = []
    for position in range(1, 17):
        offset = torch.zeros_like(attention.weights)
        offset[0, head, 0, position] = step
        slope = (similarity(offset) - similarity(-offset)) / (2 * step)
        expected.append(max(0.0, slope * float(weights[position])))

    assert max(expected) > 0
    assert_same_map(maps.whole, np.reshape(expected, (4, 4)))


@pytest.mark.parametrize("spec", [(0, "mean"), (1, "max"), (1, 3)])
def test_layers_come_from_one_backward(tiny, picture, caption_of, spec):
    """Another layer or head is read from the store, and equals the product computed by hand."""
    layer, head = spec
    model = tiny("coca")
    prepared = model.prepare(picture)
    sequence = caption_of(model, prepared)
    store = CaptureStore()
    explain(model, prepared, sequence, MapSpec("gradient_attention"), store=store)
    runs: list[int] = []
    handle = model.module.text_decoder.register_forward_hook(lambda *_: runs.append(1))
    maps = explain(
        model, prepared, sequence, MapSpec("gradient_attention", layer=layer, head=head), store=store
    )
    handle.remove()
    assert not runs

    eager = EagerCopy(model, prepared)
    ids = [token.id for token in sequence.tokens]
    eager.logits([*sequence.prompt_ids, *ids[:-1]])[1].log_softmax(-1)[ids[1]].backward()
    point = model.point(PointRole.CROSS)
    product = (eager.gradients(point)[layer] * eager.weights(point)[layer]).clamp(min=0)[:, 1]  # [H, N]
    carried = product @ eager.weights(model.point(PointRole.POOL))[0].mean(0)[1:, 1:]  # [H, P]
    reduced = {"mean": carried.mean(0), "max": carried.amax(0)}.get(head)
    expected = carried[head] if reduced is None else reduced
    assert_same_map(maps.values[1], expected.numpy().reshape(4, 4))


@pytest.mark.parametrize("size", [200_000, 60_000])
def test_batches_of_tokens_give_what_all_at_once_give(tiny, picture, caption_of, monkeypatch, size):
    """The last batch may be smaller: what earlier ones left behind must not meet it."""
    model = tiny("coca")
    prepared = model.prepare(picture)
    sequence = caption_of(model, prepared)
    whole = explain(model, prepared, sequence, MapSpec("gradient_attention"))
    monkeypatch.setattr("mmviewer.core.explain.gradients._BATCH_BYTES", size)
    assert_same_map(explain(model, prepared, sequence, MapSpec("gradient_attention")).values, whole.values)


def test_vanished_gradient_is_said(tiny, picture, query_of):
    """A tower whose last projection is zero depends on nothing."""
    model = tiny("clip")
    prepared = model.prepare(picture)
    sequence = query_of(model, prepared)
    visual = model.module.visual
    kept = [block.ls_1 for block in visual.transformer.resblocks]
    for block in visual.transformer.resblocks:
        block.ls_1 = _Zero()
    try:
        with pytest.raises(UnsupportedError, match="gradient vanished"):
            explain(model, prepared, sequence, MapSpec("gradient_attention"))
    finally:
        for block, original in zip(visual.transformer.resblocks, kept, strict=True):
            block.ls_1 = original


class _Zero(torch.nn.Module):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x * 0.0
