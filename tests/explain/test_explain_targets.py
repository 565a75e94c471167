"""What a map explains: chosen targets, and one score minus another."""

from __future__ import annotations

import json
import pickle
from dataclasses import asdict, replace

import numpy as np
import plain
import pytest
import torch
from independent import EagerCopy

from mmviewer.core.capture.mechanism import AttentionChange
from mmviewer.core.capture.store import CaptureStore
from mmviewer.core.errors import InputError, UnsupportedError
from mmviewer.core.explain.base import explain
from mmviewer.core.models.base import FAMILIES
from mmviewer.core.targets import (
    ClassTarget,
    RunnerUp,
    SequenceTarget,
    SimilarityTarget,
    TokenTarget,
    WordTarget,
    target_of,
)
from mmviewer.core.tasks.generate import generate
from mmviewer.core.types import MapSpec, Media, Modality, PointRole

RELATIVE = 1e-3


def relevance(model, prepared, score_of) -> np.ndarray:
    """Chefer's relevance of a CLIP tower for a score of the unit embedding, [R, C]."""
    eager = EagerCopy(model, prepared)
    score_of(eager.image_embedding()).backward()
    point = model.point(PointRole.ENCODER_SELF)
    total = torch.eye(eager.weights(point)[0].shape[-1], dtype=torch.float64)
    for weight, gradient in zip(eager.weights(point), eager.gradients(point), strict=True):
        total = total + (weight * gradient).clamp(min=0).mean(0) @ total
    return total[0, 1:].reshape(4, 4).numpy()


def assert_same(found: np.ndarray, expected: np.ndarray) -> None:
    assert np.abs(expected).max() > 0
    np.testing.assert_allclose(found, expected, rtol=RELATIVE, atol=RELATIVE * np.abs(expected).max())


def test_cat_not_dog(tiny, picture, query_of):
    model = tiny("clip")
    prepared = model.prepare(picture)
    cat, dog = plain.text_vectors(model, ["cat", "dog"])
    spec = MapSpec("gradient_attention", target=SimilarityTarget("cat"), contrast=SimilarityTarget("dog"))
    maps = explain(model, prepared, query_of(model, prepared), spec)
    assert_same(maps.whole, relevance(model, prepared, lambda vector: (cat - dog) @ vector))
    assert all((row == maps.whole).all() for row in maps.values)
    assert maps.score == "cosine similarity with “cat”, minus cosine similarity with “dog”"
    assert maps.spec.target == SimilarityTarget("cat")


def test_every_word_against_a_text(tiny, picture, query_of):
    model = tiny("clip")
    prepared = model.prepare(picture)
    sequence = query_of(model, prepared)
    words = plain.text_vectors(model, [word.text for word in sequence.tokens])
    (other,) = plain.text_vectors(model, ["bus"])
    spec = MapSpec("gradient_attention", contrast=SimilarityTarget("bus"))
    maps = explain(model, prepared, sequence, spec)
    for word, found in zip(words, maps.values, strict=True):
        assert_same(found, relevance(model, prepared, lambda vector, word=word: (word - other) @ vector))


def test_a_class_against_the_others(tiny, picture, query_of):
    model = tiny("clip")
    prepared = model.prepare(picture)
    labels = ("dog", "cat", "bus")
    vectors = plain.text_vectors(model, [f"a {label}" for label in labels])
    scale = model.module.logit_scale.exp().double()
    target = ClassTarget("bus", labels)
    maps = explain(model, prepared, query_of(model, prepared), MapSpec("gradient_attention", target=target))
    expected = relevance(model, prepared, lambda vector: (scale * vectors @ vector).log_softmax(-1)[2])
    assert_same(maps.whole, expected)
    assert maps.score == "log-probability of “bus” among 3 labels"


def gradient_at_cross(model, prepared, sequence, score_of) -> np.ndarray:
    """(dA * A)+ of the first cross-attention, mean of heads, [T, N], for a score of the logits."""
    eager = EagerCopy(model, prepared)
    ids = [*sequence.prompt_ids, *(token.id for token in sequence.tokens)][:-1]
    score_of(eager.logits(ids)).backward()
    point = model.point(PointRole.CROSS)
    product = (eager.gradients(point)[0] * eager.weights(point)[0]).clamp(min=0).mean(0)
    pool = eager.weights(model.point(PointRole.POOL))[0].mean(0)[1:, 1:]
    return (product @ pool).numpy()


def test_tokens_answers_and_runners_up(tiny, picture, caption_of):
    model = tiny("coca")
    prepared = model.prepare(picture)
    sequence = caption_of(model, prepared)
    ids = [token.id for token in sequence.tokens]
    spec = MapSpec("gradient_attention", layer=0)

    def found(**chosen) -> np.ndarray:
        maps = explain(model, prepared, sequence, replace(spec, **chosen))
        return maps.values.reshape(3, -1)

    def expected(score_of) -> np.ndarray:
        return gradient_at_cross(model, prepared, sequence, score_of)

    one = expected(lambda logits: logits[1].log_softmax(-1)[ids[1]])
    assert_same(found(target=TokenTarget(1))[0], one[1])
    other = expected(lambda logits: logits[2].log_softmax(-1)[777])
    assert_same(found(target=TokenTarget(2, 777))[0], other[2])
    against = expected(lambda logits: logits[2, ids[2]] - logits[2, 777])
    assert_same(found(target=TokenTarget(2), contrast=TokenTarget(2, 777))[0], against[2])

    def margin(logits: torch.Tensor) -> torch.Tensor:
        best = logits[1].detach().clone()
        best[ids[1]] = -torch.inf
        return logits[1, ids[1]] - logits[1, best.argmax()]

    assert_same(found(contrast=RunnerUp())[1], expected(margin)[1])
    whole = expected(
        lambda logits: sum(logits[step].log_softmax(-1)[token] for step, token in enumerate(ids))
    )
    assert_same(found(target=SequenceTarget())[0], whole.mean(0))


def test_a_word_stands_for_its_likeliest_token(tiny, picture, caption_of):
    model = tiny("coca")
    prepared = model.prepare(picture)
    sequence = caption_of(model, prepared)
    wanted = 777
    word = model.token_text([wanted])[0].strip()

    def found(**asked) -> np.ndarray:
        return explain(model, prepared, sequence, MapSpec("gradient_attention", **asked)).values

    alike = [t for t in range(2000) if model.token_text([t])[0].strip().casefold() == word.casefold()]
    given = [found(target=TokenTarget(1), contrast=TokenTarget(1, token))[1] for token in alike]
    by_word = found(target=TokenTarget(1), contrast=WordTarget(1, f" {word.upper()} "))[1]
    assert any(np.allclose(by_word, each, rtol=RELATIVE, atol=1e-9) for each in given)
    maps = explain(model, prepared, sequence, MapSpec("gradient_attention", target=WordTarget(1, word)))
    assert f"“{word}” at step 2" in maps.score
    with pytest.raises(InputError, match="no single token"):
        found(target=WordTarget(1, "supercalifragilistic"))


def test_a_caption_can_be_asked_for_a_similarity(tiny, picture, caption_of, query_of):
    model = tiny("coca")
    prepared = model.prepare(picture)
    target = SimilarityTarget("a red dog")
    caption = explain(
        model, prepared, caption_of(model, prepared), MapSpec("gradient_attention", target=target)
    )
    query = explain(model, prepared, query_of(model, prepared), MapSpec("gradient_attention"))
    np.testing.assert_allclose(caption.whole, query.whole, rtol=1e-5)
    assert caption.spec.point == "vision.pool"
    assert len(caption.values) == len(caption.tokens)


def test_targets_are_kept_apart_in_the_store(tiny, picture, query_of):
    model = tiny("clip")
    prepared = model.prepare(picture)
    sequence, store = query_of(model, prepared), CaptureStore()
    specs = [
        MapSpec("gradient_attention"),
        MapSpec("gradient_attention", target=SimilarityTarget("cat")),
        MapSpec("gradient_attention", target=SimilarityTarget("cat"), contrast=SimilarityTarget("dog")),
    ]
    first = [explain(model, prepared, sequence, spec, store=store).whole for spec in specs]
    again = [explain(model, prepared, sequence, spec, store=store).whole for spec in specs]
    alone = [explain(model, prepared, sequence, spec).whole for spec in specs]
    for kept, found, fresh in zip(first, again, alone, strict=True):
        np.testing.assert_array_equal(kept, found)
        np.testing.assert_array_equal(kept, fresh)
    assert np.abs(first[0] - first[1]).max() > 0


@pytest.mark.parametrize("method", ["legrad", "grad_eclip", "occlusion", "feature_ablation"])
def test_contrast_of_other_methods(tiny, picture, query_of, method):
    """Linear methods subtract; the others differ from both."""
    model = tiny("clip")
    prepared = model.prepare(picture)
    sequence = query_of(model, prepared)
    cat, dog = SimilarityTarget("cat"), SimilarityTarget("dog")
    both = explain(model, prepared, sequence, MapSpec(method, target=cat, contrast=dog)).whole
    one, other = (
        explain(model, prepared, sequence, MapSpec(method, target=each)).whole for each in (cat, dog)
    )
    if method in ("occlusion", "feature_ablation"):
        np.testing.assert_allclose(both, one - other, atol=1e-5)
    else:
        assert np.abs(both - one).max() > 1e-3 * np.abs(one).max()


def test_attention_has_no_target_and_says_so(tiny, picture, query_of):
    model = tiny("clip")
    prepared = model.prepare(picture)
    sequence = query_of(model, prepared)
    plain_map = explain(model, prepared, sequence, MapSpec("attention"))
    maps = explain(model, prepared, sequence, MapSpec("attention", target=SimilarityTarget("cat")))
    np.testing.assert_array_equal(maps.values, plain_map.values)
    assert maps.spec.target is None
    assert "has no score" in maps.caveat


def test_specs_travel(tiny):
    spec = MapSpec("legrad", head=(0, 2), target=ClassTarget("a", ("a", "b")), contrast=TokenTarget(1, 5))
    assert pickle.loads(pickle.dumps(spec)) == spec
    assert hash(spec) == hash(pickle.loads(pickle.dumps(spec)))


@pytest.mark.parametrize(
    "target",
    [
        SimilarityTarget("cat"),
        ClassTarget("a", ("a", "b"), ("{}",)),
        TokenTarget(1, 5),
        WordTarget(1, "dog"),
        SequenceTarget(),
        RunnerUp(),
    ],
)
def test_targets_can_be_read_back_from_provenance(target):
    assert target_of(json.loads(json.dumps(asdict(target)))) == target


@pytest.mark.parametrize("values", [{}, {"kind": "magic"}, {"kind": "token", "place": 1}, {"kind": "class"}])
def test_what_is_no_target_is_said(values):
    with pytest.raises(InputError, match="choose a target again"):
        target_of(values)


@pytest.mark.parametrize(
    ("spec", "error", "words"),
    [
        ({"target": SimilarityTarget(" ")}, InputError, "empty"),
        ({"target": SimilarityTarget("word " * 50)}, InputError, "more than the 12"),
        ({"target": ClassTarget("cow", ("cat", "dog"))}, InputError, "“cow” is not among"),
        ({"target": TokenTarget(7)}, InputError, "tokens 0 to 2; token 7"),
        ({"target": TokenTarget(-1)}, InputError, "token -1"),
        ({"target": TokenTarget(0, 10**6)}, InputError, "no token 1000000"),
        ({"contrast": TokenTarget(1, 5)}, InputError, "only be contrasted with its runner-up"),
        ({"head": ()}, InputError, "one or more different heads"),
        ({"head": (1, 1)}, InputError, "one or more different heads"),
        ({"head": (0, 9)}, InputError, "head 9 does not exist"),
        ({"removal": "fire"}, InputError, "'fire'"),
    ],
)
def test_targets_that_are_not_there_are_named(tiny, picture, caption_of, spec, error, words):
    model = tiny("coca")
    prepared = model.prepare(picture)
    with pytest.raises(error, match=words):
        explain(model, prepared, caption_of(model, prepared), MapSpec("gradient_attention", **spec))


def test_a_query_has_no_runner_up(tiny, picture, query_of):
    model = tiny("clip")
    prepared = model.prepare(picture)
    spec = MapSpec("gradient_attention", contrast=RunnerUp())
    with pytest.raises(InputError, match="no runner-up"):
        explain(model, prepared, query_of(model, prepared), spec)


def test_several_heads_are_their_mean(tiny, picture, caption_of):
    model = tiny("coca")
    prepared = model.prepare(picture)
    sequence = caption_of(model, prepared)
    for method in ("attention", "gradient_attention"):
        single = [
            explain(model, prepared, sequence, MapSpec(method, layer=1, head=head)).values for head in (1, 3)
        ]
        some = explain(model, prepared, sequence, MapSpec(method, layer=1, head=(1, 3)))
        np.testing.assert_allclose(some.values, np.mean(single, axis=0), rtol=1e-5, atol=1e-9)
        assert "heads 2, 4 of 4" in some.description


def test_a_speech_model_has_no_similarity():
    model = FAMILIES.get("whisper").tiny()
    samples = np.random.default_rng(0).normal(0, 0.1, 12_000).astype(np.float32)
    prepared = model.prepare(Media("noise", Modality.AUDIO, "noise", samples=samples))
    spec = MapSpec("gradient_attention", target=SimilarityTarget("dog"))
    with pytest.raises(UnsupportedError):
        explain(model, prepared, generate(model, prepared), spec)


def test_what_switched_off_heads_made_of_a_text_is_not_kept(tiny, picture, query_of):
    model = tiny("clip")
    prepared = model.prepare(picture)
    modules = dict(model.module.named_modules())
    sites = {name: modules[name] for point in model.info.points for name in point.modules}
    spec = MapSpec("gradient_attention", target=SimilarityTarget("a zebra"))
    with AttentionChange(sites, lambda _name, weights, _allowed: weights.flip(-1)):
        explain(model, prepared, query_of(model, prepared), spec)
    (zebra,) = plain.text_vectors(model, ["a zebra"])
    maps = explain(model, prepared, query_of(model, prepared), spec)
    assert_same(maps.whole, relevance(model, prepared, lambda vector: zebra @ vector))
