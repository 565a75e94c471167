"""Raw attention through `explain` against the library's own values."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from independent import EagerCopy

from mmviewer.core.capture.store import CaptureStore
from mmviewer.core.errors import InputError, UnsupportedError
from mmviewer.core.explain.base import explain, explore_heads
from mmviewer.core.explain.methods.attention import most_telling
from mmviewer.core.types import MapKind, MapSpec, PointRole, TokenSequence, TokenSpan

TOLERANCE = 1e-5


def expected_cross(eager: EagerCopy, model, rows: slice) -> np.ndarray:
    """Cross-attention composed with the pooler, [L, H, T, P], by an own einsum."""
    cross = eager.weights(model.point(PointRole.CROSS))
    pool = eager.weights(model.point(PointRole.POOL))[0].mean(0)  # [Nq, 1 + P]
    # pooling query 0 makes the embedding, the others the image tokens; key 0 is the class token
    carried = [torch.einsum("htn,np->htp", layer[:, rows], pool[1:, 1:]) for layer in cross]
    return torch.stack(carried).numpy()


def as_grid(values: np.ndarray) -> np.ndarray:
    return values.reshape(*values.shape[:-1], 4, 4)


def test_cross_attention_equals_the_librarys_own_composed_with_the_pooler(tiny, picture, caption_of):
    model = tiny("coca")
    prepared = model.prepare(picture)
    sequence = caption_of(model, prepared)
    eager = EagerCopy(model, prepared)
    eager.logits([*sequence.prompt_ids, *(token.id for token in sequence.tokens)][:-1])
    expected = as_grid(expected_cross(eager, model, slice(0, len(sequence.tokens))))

    for layer in range(2):
        for head in range(4):
            maps = explain(model, prepared, sequence, MapSpec("attention", None, layer, head))
            np.testing.assert_allclose(maps.values, expected[layer, head], atol=TOLERANCE)
    largest = explain(model, prepared, sequence, MapSpec("attention", head="max", layer=1))
    np.testing.assert_allclose(largest.values, expected[1].max(0), atol=TOLERANCE)
    heads = explore_heads(model, prepared, sequence, (0, 2))
    np.testing.assert_allclose(heads.values, expected[:, :, [0, 2]].mean(2), atol=TOLERANCE)


@pytest.mark.parametrize(
    ("variant", "rows"), [("clip", [0]), ("coca without pooler", [0]), ("coca", list(range(17)))]
)
def test_encoder_attention_is_that_of_the_rows_that_become_the_embedding(
    tiny, picture, query_of, variant, rows
):
    model = tiny(variant)
    prepared = model.prepare(picture)
    sequence = query_of(model, prepared)
    eager = EagerCopy(model, prepared)
    eager.image_embedding()
    layers = eager.weights(model.point(PointRole.ENCODER_SELF))
    own = torch.stack([layer[:, rows, 1:].mean(1) for layer in layers])  # [L, H, P]
    expected = as_grid(own.numpy())  # [L, H, R, C]

    maps = explain(model, prepared, sequence, MapSpec("attention", "vision.self", 2, 3))

    np.testing.assert_allclose(maps.whole, expected[2, 3], atol=TOLERANCE)
    np.testing.assert_allclose(maps.values, np.broadcast_to(expected[2, 3], (3, 4, 4)), atol=TOLERANCE)
    assert "never reads the text" in maps.caveat


def test_layer_is_chosen_whose_maps_tell_the_tokens_apart(tiny, picture, caption_of):
    model = tiny("coca")
    prepared = model.prepare(picture)
    sequence = caption_of(model, prepared)
    information = []
    for layer in range(2):
        values = explain(model, prepared, sequence, MapSpec("attention", layer=layer)).values.reshape(3, -1)
        joint = values / values.sum(1, keepdims=True) / len(values)  # of token and position
        independent = joint.sum(1, keepdims=True) * joint.sum(0, keepdims=True)
        information.append(float((joint * np.log(joint / independent)).sum()))
    best = int(np.argmax(information))

    maps = explain(model, prepared, sequence)

    assert maps.spec.layer == best
    assert "tell the tokens apart best" in maps.description
    np.testing.assert_array_equal(
        maps.values, explain(model, prepared, sequence, MapSpec("attention", layer=best)).values
    )


def test_a_sink_is_not_telling():
    """A layer that puts every token's weight on one position loses against a vague one that differs."""
    sink = torch.full((3, 4), 0.01)
    sink[:, 2] = 0.97
    vague = torch.full((3, 4), 0.2)
    vague[torch.arange(3), torch.arange(3)] = 0.4
    tokens = tuple(TokenSpan(index, index, "x") for index in range(3))
    assert most_telling(torch.stack([sink, vague]), tokens) == 1


def test_token_is_shown_with_the_row_that_predicted_it(tiny, picture, caption_of):
    """The map of a token must not change when it and later tokens do."""
    model = tiny("coca")
    prepared = model.prepare(picture)
    sequence = caption_of(model, prepared)
    other = [*(token.id for token in sequence.tokens[:2]), 1000]
    text, spans = model.token_text(other)
    changed = TokenSequence("caption", "picture", model.info.id, text, spans, prompt_ids=sequence.prompt_ids)

    first = explain(model, prepared, sequence).values
    second = explain(model, prepared, changed).values

    np.testing.assert_allclose(first, second, atol=1e-6)


def test_another_layer_or_head_costs_no_forward(tiny, picture, caption_of):
    model = tiny("coca")
    prepared = model.prepare(picture)
    sequence = caption_of(model, prepared)
    store = CaptureStore()
    runs: list[int] = []
    handle = model.module.text_decoder.register_forward_hook(lambda *_: runs.append(1))
    try:
        first = explain(model, prepared, sequence, MapSpec("attention", layer=1), store=store)
        explain(model, prepared, sequence, MapSpec("attention", layer=0, head=2), store=store)
        explore_heads(model, prepared, sequence, (1,), store=store)
        again = explain(model, prepared, sequence, MapSpec("attention", layer=1), store=store)
    finally:
        handle.remove()
    assert len(runs) == 1
    np.testing.assert_array_equal(first.values, again.values)


def test_result_says_what_it_is(tiny, picture, caption_of):
    model = tiny("coca")
    prepared = model.prepare(picture)
    maps = explain(model, prepared, caption_of(model, prepared), MapSpec("attention", None, 1, "mean"))
    assert maps.kind is MapKind.ATTENTION
    assert maps.spec == MapSpec("attention", "decoder.cross", 1, "mean")
    assert maps.description == (
        "attention · decoder cross-attention · layer 2 of 2 · mean of 4 heads · "
        "at the step that predicts the token"
    )
    assert maps.score == ""
    assert maps.values.dtype == np.float32
    assert maps.values.shape == (3, *prepared.geometry.grid)


@pytest.mark.parametrize(
    ("spec", "words"),
    [
        (MapSpec("attention", layer=2), "layers 0 to 1; layer 2"),
        (MapSpec("attention", layer=-1), "layers 0 to 1; layer -1"),
        (MapSpec("attention", head=4), "heads 0 to 3; head 4"),
        (MapSpec("attention", head="median"), "Head 'median'"),  # type: ignore[arg-type]
        (MapSpec("attention", point="nowhere"), "'nowhere'"),
        (MapSpec("magic"), "attribution method called 'magic'"),
    ],
)
def test_wrong_choice_is_named(tiny, picture, caption_of, spec, words):
    model = tiny("coca")
    prepared = model.prepare(picture)
    with pytest.raises(InputError, match=words):
        explain(model, prepared, caption_of(model, prepared), spec)


def test_point_over_words_is_refused(tiny, picture, caption_of):
    model = tiny("coca")
    prepared = model.prepare(picture)
    with pytest.raises(UnsupportedError, match=r"cannot be read at decoder\.self"):
        explain(model, prepared, caption_of(model, prepared), MapSpec("attention", "decoder.self"))


def test_sequence_must_fit_item_and_model(tiny, picture, caption_of):
    coca, clip = tiny("coca"), tiny("clip")
    prepared = coca.prepare(picture)
    sequence = caption_of(coca, prepared)
    foreign = TokenSequence("caption", "picture", clip.info.id, "x", sequence.tokens, prompt_ids=(1,))
    with pytest.raises(UnsupportedError, match="cannot explain a caption"):
        explain(clip, clip.prepare(picture), foreign)
    with pytest.raises(InputError, match="made by another model"):
        explain(clip, clip.prepare(picture), sequence)
    with pytest.raises(InputError, match="no tokens"):
        explain(coca, prepared, TokenSequence("caption", "picture", coca.info.id, "", ()))
    with pytest.raises(InputError, match="another item"):
        explain(coca, prepared, TokenSequence("caption", "other", coca.info.id, "x", sequence.tokens))
    with pytest.raises(InputError, match="generate it again"):
        explain(coca, prepared, TokenSequence("caption", "picture", coca.info.id, "x", sequence.tokens))
    with pytest.raises(InputError, match="Choose tokens"):
        explore_heads(coca, prepared, sequence, (3,))


def test_values_that_are_not_numbers_are_refused(tiny, picture, caption_of):
    model = tiny("coca")
    prepared = model.prepare(picture)
    prepared.inputs["pixels"][0, 0, 0, 0] = float("nan")
    with pytest.raises(UnsupportedError, match="not numbers"):
        explain(model, prepared, caption_of(model, prepared))


def test_one_token(tiny, picture):
    model = tiny("coca")
    prepared = model.prepare(picture)
    text, spans = model.token_text([320])
    sequence = TokenSequence("caption", "picture", model.info.id, text, spans, prompt_ids=(49406,))
    for method in ("attention", "rollout", "gradient_attention"):
        assert explain(model, prepared, sequence, MapSpec(method)).values.shape == (1, 4, 4)
