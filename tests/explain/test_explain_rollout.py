"""Rollout against the joint matrix over tokens, pooled tokens and image positions."""

from __future__ import annotations

import numpy as np
import pytest
from independent import EagerCopy

from mmviewer.core.explain.base import explain
from mmviewer.core.types import MapSpec, PointRole

TOLERANCE = 1e-5


def joint_layer(size: int, rows: slice, blocks: dict[tuple[int, int], np.ndarray]) -> np.ndarray:
    """One layer over all positions: `rows` take half of themselves, half by attention; others stay."""
    attention = np.zeros((size, size))
    for (top, left), block in blocks.items():
        attention[top : top + block.shape[0], left : left + block.shape[1]] = block
    layer = np.eye(size)
    layer[rows] = (attention + np.eye(size))[rows]
    return layer / layer.sum(1, keepdims=True)


def encoder_product(layers: list[np.ndarray]) -> np.ndarray:
    size = layers[0].shape[0]
    product = np.eye(size)
    for attention in layers:
        product = joint_layer(size, slice(0, size), {(0, 0): attention}) @ product
    return product


@pytest.mark.parametrize("through", [None, 0, 1, 2])
def test_encoder_rollout(tiny, picture, query_of, through):
    model = tiny("clip")
    prepared = model.prepare(picture)
    eager = EagerCopy(model, prepared)
    eager.image_embedding()
    layers = [each.mean(0).numpy() for each in eager.weights(model.point(PointRole.ENCODER_SELF))]
    used = layers if through is None else layers[: through + 1]

    maps = explain(model, prepared, query_of(model, prepared), MapSpec("rollout", layer=through))

    expected = encoder_product(used)[0, 1:].reshape(4, 4)
    np.testing.assert_allclose(maps.whole, expected, atol=TOLERANCE)
    np.testing.assert_allclose(maps.values[1], expected, atol=TOLERANCE)


def test_decoder_rollout_is_the_product_of_joint_layers(tiny, picture, caption_of):
    model = tiny("coca")
    prepared = model.prepare(picture)
    sequence = caption_of(model, prepared)
    eager = EagerCopy(model, prepared)
    eager.logits([*sequence.prompt_ids, *(token.id for token in sequence.tokens)][:-1])

    def matrices(role):
        return [each.mean(0).numpy() for each in eager.weights(model.point(role))]

    own, cross = matrices(PointRole.DECODER_SELF), matrices(PointRole.CROSS)
    tokens, pooled = cross[0].shape
    size = tokens + pooled
    product = np.eye(size)
    for own_layer, cross_layer in zip(own, cross, strict=True):
        product = joint_layer(size, slice(0, tokens), {(0, 0): own_layer}) @ product
        product = joint_layer(size, slice(0, tokens), {(0, tokens): cross_layer}) @ product
    pool = matrices(PointRole.POOL)[0][1:]  # without the query that makes the embedding
    image = product[:tokens, tokens:] @ pool @ encoder_product(matrices(PointRole.ENCODER_SELF))

    maps = explain(model, prepared, sequence, MapSpec("rollout"))

    np.testing.assert_allclose(maps.values, image[:, 1:].reshape(-1, 4, 4), atol=TOLERANCE)
    assert maps.score == ""
    assert "pooling" in maps.description
    assert "decoder self-attention" in maps.description


def test_one_head_enters_the_last_layer(tiny, picture, query_of):
    model = tiny("clip")
    prepared = model.prepare(picture)
    eager = EagerCopy(model, prepared)
    eager.image_embedding()
    heads = [each.numpy() for each in eager.weights(model.point(PointRole.ENCODER_SELF))]
    layers = [heads[0].mean(0), heads[1][3]]

    maps = explain(model, prepared, query_of(model, prepared), MapSpec("rollout", layer=1, head=3))

    np.testing.assert_allclose(maps.whole, encoder_product(layers)[0, 1:].reshape(4, 4), atol=TOLERANCE)


def test_share_of_the_input_is_a_distribution(tiny, picture, query_of):
    """Through a pooler that reads patches only, nothing is lost but the class token's share."""
    model = tiny("siglip")
    prepared = model.prepare(picture)
    maps = explain(model, prepared, query_of(model, prepared), MapSpec("rollout"))
    assert 0.8 < maps.whole.sum() <= 1 + 1e-5
