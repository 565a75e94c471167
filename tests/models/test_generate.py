"""Choosing tokens: against independent computations and the processors of transformers."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from transformers import TemperatureLogitsWarper, TopKLogitsWarper, TopPLogitsWarper

from mmviewer.core.errors import InputError, UnsupportedError
from mmviewer.core.models.base import FAMILIES
from mmviewer.core.tasks.generate import choose_token, generate, sampling_distribution
from mmviewer.core.types import Media, Modality, Sampling

OPTIONS = [
    Sampling(temperature=1.0),
    Sampling(temperature=0.7),
    Sampling(temperature=1.3, top_k=5),
    Sampling(temperature=1.0, top_p=0.8),
    Sampling(temperature=0.9, top_k=20, top_p=0.6),
    Sampling(temperature=1.0, top_p=1e-6),
]


def logits(size: int = 50) -> torch.Tensor:
    return torch.randn(size, generator=torch.Generator().manual_seed(0)) * 2


def by_hand(values: torch.Tensor, sampling: Sampling) -> dict[int, float]:
    """Probabilities of the tokens that may be drawn, spelled out in plain Python."""
    weights = {i: math.exp(float(v) / sampling.temperature) for i, v in enumerate(values)}
    ranked = sorted(weights, key=lambda token: -weights[token])
    if sampling.top_k:
        ranked = ranked[: sampling.top_k]
    total = sum(weights[token] for token in ranked)
    kept, reached = [], 0.0
    for token in ranked:
        if reached >= sampling.top_p:
            break
        kept.append(token)
        reached += weights[token] / total
    total = sum(weights[token] for token in kept)
    return {token: weights[token] / total for token in kept}


@pytest.mark.parametrize("sampling", OPTIONS, ids=str)
def test_distribution_equals_one_spelled_out(sampling):
    ours = sampling_distribution(logits(), sampling)
    expected = by_hand(logits(), sampling)
    assert set(ours.nonzero().flatten().tolist()) == set(expected)
    for token, probability in expected.items():
        assert float(ours[token]) == pytest.approx(probability, abs=1e-9)


@pytest.mark.parametrize("sampling", OPTIONS[:-1], ids=str)
def test_distribution_equals_that_of_transformers(sampling):
    scores = TemperatureLogitsWarper(sampling.temperature)(None, logits()[None].double())
    if sampling.top_k:
        scores = TopKLogitsWarper(sampling.top_k)(None, scores)
    if sampling.top_p < 1:
        scores = TopPLogitsWarper(sampling.top_p)(None, scores)
    torch.testing.assert_close(sampling_distribution(logits(), sampling), scores.softmax(-1)[0])


def test_draws_follow_the_distribution():
    sampling = Sampling(temperature=1.0, top_k=4)
    generator = torch.Generator().manual_seed(0)
    drawn = np.bincount([choose_token(logits(12), sampling, generator) for _ in range(4000)], minlength=12)
    expected = sampling_distribution(logits(12), sampling).numpy()
    np.testing.assert_allclose(drawn / 4000, expected, atol=0.03)


def test_temperature_zero_takes_the_likeliest():
    assert choose_token(logits(), Sampling(), torch.Generator()) == int(logits().argmax())


@pytest.fixture(scope="module")
def model():
    return FAMILIES.get("openclip").tiny("coca")


@pytest.fixture
def prepared(model):
    pixels = np.random.default_rng(1).integers(0, 256, (50, 50, 3), dtype=np.uint8)
    return model.prepare(Media("image", Modality.IMAGE, "image", pixels=pixels))


def test_probabilities_are_those_before_sampling(model, prepared):
    sequence = generate(model, prepared, Sampling(temperature=2, top_k=3, max_tokens=4, seed=2))
    ids = [*sequence.prompt_ids, *(token.id for token in sequence.tokens)]
    with torch.no_grad():
        logprobs = model.sequence_logits(prepared, ids[:-1]).log_softmax(-1)
    for row, token in zip(logprobs, sequence.tokens, strict=True):
        assert token.logprob == pytest.approx(float(row[token.id]), abs=1e-4)
        best = row.topk(5)
        assert [value for _, value in token.alternatives] == pytest.approx(best.values.tolist(), abs=1e-4)
        assert token.alternatives[0][0] == model.token_text([int(best.indices[0])])[1][0].text


def test_context_ends_the_text_without_an_error(model, prepared):
    sequence = generate(model, prepared, Sampling(temperature=5, seed=1, max_tokens=1000))
    assert sequence.finished
    assert len(sequence.tokens) <= 12


@pytest.mark.parametrize(
    ("sampling", "sentence"),
    [
        (Sampling(temperature=-1), "temperature must be 0 or more"),
        (Sampling(temperature=math.nan), "temperature must be 0 or more"),
        (Sampling(top_k=-1), "top-k"),
        (Sampling(top_p=0), "top-p"),
        (Sampling(top_p=1.5), "top-p"),
        (Sampling(max_tokens=0), "number of tokens"),
        (Sampling(seed=-3), "seed"),
    ],
)
def test_options_out_of_range_are_refused_in_words(model, prepared, sampling, sentence):
    with pytest.raises(InputError, match=sentence):
        generate(model, prepared, sampling)


def test_values_that_are_no_numbers_are_reported(prepared):
    broken = FAMILIES.get("openclip").tiny("coca")
    broken.module.text_decoder.ln_final.weight.fill_(math.nan)
    with pytest.raises(UnsupportedError, match="no numbers in float32"):
        generate(broken, prepared)


def test_suppressed_ids_are_never_chosen_but_keep_their_probability():
    whisper = FAMILIES.get("whisper").tiny()
    samples = np.random.default_rng(0).normal(0, 0.1, 8000).astype(np.float32)
    item = whisper.prepare(Media("sound", Modality.AUDIO, "sound", samples=samples))
    free = generate(whisper, item, Sampling(max_tokens=3))
    first = free.tokens[0]
    whisper.module.generation_config.suppress_tokens = [first.id]
    other = generate(whisper, item, Sampling(max_tokens=3))
    assert other.tokens[0].id != first.id
    assert other.tokens[0].alternatives[0] == (first.text, first.logprob)
    assert first.id not in [token.id for token in other.tokens]
