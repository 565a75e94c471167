"""Branching and scoring of given answers, for every family that writes."""

from __future__ import annotations

import threading

import numpy as np
import pytest
import torch

from mmviewer.core.errors import Cancelled, InputError, UnsupportedError
from mmviewer.core.models.base import FAMILIES, LoadedModel, Prepared
from mmviewer.core.progress import Progress
from mmviewer.core.tasks.ask import ask
from mmviewer.core.tasks.generate import branch, generate
from mmviewer.core.tasks.likelihood import likelihood
from mmviewer.core.types import Capability, Media, Modality, Sampling, TokenSequence

WRITES = {Capability.CAPTION, Capability.TRANSCRIBE, Capability.ANSWER}
SAMPLED = Sampling(temperature=1, seed=4, max_tokens=6)
QUESTION = "what is it?"


def writers() -> list[tuple[str, str]]:
    every = [(family, variant) for family in FAMILIES for variant in family.tiny_variants()]
    return [(family.key, name) for family, name in every if family.tiny(name).info.capabilities & WRITES]


@pytest.fixture(params=writers(), ids=lambda each: "-".join(filter(None, each)))
def model(request) -> LoadedModel:
    family, variant = request.param
    return FAMILIES.get(family).tiny(variant)


def prepare(model: LoadedModel) -> Prepared:
    rng = np.random.default_rng(0)
    if model.info.can(Capability.TRANSCRIBE):
        samples = rng.normal(0, 0.1, 11_000).astype(np.float32)
        return model.prepare(Media("sound", Modality.AUDIO, "sound", samples=samples))
    pixels = rng.integers(0, 256, (90, 140, 3), dtype=np.uint8)
    return model.prepare(Media("image", Modality.IMAGE, "image", pixels=pixels))


def write(model: LoadedModel, prepared: Prepared) -> TokenSequence:
    if model.info.can(Capability.ANSWER):
        return ask(model, prepared, QUESTION, SAMPLED)
    return generate(model, prepared, SAMPLED)


def teacher_forced(model: LoadedModel, prepared: Prepared, sequence: TokenSequence) -> list[float]:
    """Log-probability of each token by one forward over the whole text."""
    ids = [*sequence.prompt_ids, *(token.id for token in sequence.tokens)]
    with torch.no_grad():
        logprobs = model.sequence_logits(prepared, ids[:-1]).log_softmax(-1)
    first = len(sequence.prompt_ids)
    return [float(logprobs[place - 1, ids[place]]) for place in range(first, len(ids))]


def test_branching_keeps_what_was_before_and_scores_what_follows(model):
    prepared = prepare(model)
    text = write(model, prepared)
    own = [token for token in text.tokens if not token.given]
    place = own[-1].index
    token = next(other for other in own[-1].alternative_ids if other != own[-1].id)
    parts: list[TokenSequence] = []
    other = branch(model, prepared, text, place, token, SAMPLED, parts.append)
    assert [each.id for each in other.tokens[: place + 1]] == [*(t.id for t in text.tokens[:place]), token]
    assert [each.logprob for each in other.tokens[:place]] == [each.logprob for each in text.tokens[:place]]
    assert [each.index for each in other.tokens if each.chosen] == [place]
    assert (other.kind, other.question, other.prompt_ids) == (text.kind, text.question, text.prompt_ids)
    assert all(len(part.tokens) > place and not part.finished for part in parts)
    expected = teacher_forced(model, prepared, other)
    for span, value in zip(other.tokens, expected, strict=True):
        if not span.given:
            assert span.logprob == pytest.approx(value, abs=2e-4)


def test_branching_into_its_own_token_writes_the_same_text(model):
    prepared = prepare(model)
    greedy = Sampling(max_tokens=5)
    text = (
        ask(model, prepared, QUESTION, greedy)
        if model.info.can(Capability.ANSWER)
        else generate(model, prepared, greedy)
    )
    place = next(token.index for token in text.tokens if not token.given)
    again = branch(model, prepared, text, place, text.tokens[place].id, Sampling(max_tokens=4))
    count = len(again.tokens)
    assert [token.id for token in again.tokens] == [token.id for token in text.tokens[:count]]


def test_a_written_text_is_as_likely_as_its_tokens_say(model):
    prepared = prepare(model)
    text = write(model, prepared)
    given = [token for token in text.tokens if token.given]
    own = [token for token in text.tokens if not token.given and not token.special]
    answer = own[0].text if len(own) == 1 else "a cat"
    asked = QUESTION if given else ""
    if model.info.family == "hf_vilt":
        answer = "a cat"
    scores = likelihood(model, prepared, [answer], question=asked)
    sequence = scores.sequences[0]
    told = [token.logprob for token in sequence.tokens if not token.given]
    expected = teacher_forced(model, prepared, sequence)[-len(told) :]
    np.testing.assert_allclose(told, expected, atol=2e-4)
    assert scores.logprobs[0] == pytest.approx(sum(expected), abs=1e-3)
    assert scores.counts[0] == len(told)
    assert sequence.written.replace(" ", "").lower().endswith(answer.replace(" ", "").lower())


def test_answers_are_shares_of_one_another():
    model = FAMILIES.get("llava").tiny()
    scores = likelihood(model, prepare(model), ["red", "blue and green", "one"], question=QUESTION)
    assert scores.shares.sum() == pytest.approx(1, abs=1e-6)
    assert scores.ranking[0] == int(scores.logprobs.argmax())
    assert scores.per_token[1] == pytest.approx(scores.logprobs[1] / scores.counts[1], abs=1e-6)
    assert (scores.ends < 0).all()
    again = likelihood(model, prepare(model), ["one"], question=QUESTION)
    assert again.logprobs[0] == pytest.approx(float(scores.logprobs[2]), abs=1e-5)


def test_a_blank_before_an_answer_counts_where_it_is_likelier():
    model = FAMILIES.get("llava").tiny()
    prepared = prepare(model)
    scores = likelihood(model, prepared, ["cat"], prompt="a photo of a")
    sums = []
    for form in model.answer_forms("cat"):
        given = model.decoder(prepared, model.prompt_ids("a photo of a")).prompt
        with torch.no_grad():
            rows = model.sequence_logits(prepared, [*given, *form]).log_softmax(-1)
        sums.append(sum(float(rows[len(given) - 1 + at, token]) for at, token in enumerate(form)))
    assert len(sums) == 2
    assert scores.logprobs[0] == pytest.approx(max(sums), abs=1e-4)


@pytest.mark.parametrize(
    ("answers", "words"),
    [
        ([], "no answers"),
        (["red", " "], "Answer 2 is empty"),
        (["red", "red"], "more than once"),
        (["word " * 900], "shorten"),
    ],
)
def test_answers_that_cannot_be_scored_are_refused(answers, words):
    model = FAMILIES.get("hf_git").tiny()
    with pytest.raises(InputError, match=words):
        likelihood(model, prepare(model), answers)


def test_a_model_that_chooses_among_answers_names_some_of_them():
    model = FAMILIES.get("hf_vilt").tiny()
    with pytest.raises(InputError, match=r"chooses among 8 answers, and “maybe” is none of them.*yes"):
        likelihood(model, prepare(model), ["maybe"], question=QUESTION)
    scores = likelihood(model, prepare(model), ["yes", "no"], question=QUESTION)
    assert (scores.ends == 0).all()


def test_branching_refuses_what_is_no_branch():
    model = FAMILIES.get("llava").tiny()
    prepared = prepare(model)
    text = ask(model, prepared, QUESTION, SAMPLED)
    for index, words in ((0, "given to the model"), (-1, "no such token"), (10**6, "no such token")):
        with pytest.raises(InputError, match=words):
            branch(model, prepared, text, index, 5)
    last = len(text.tokens) - 1
    for token in (-1, 10**9, *model.unwritten):
        with pytest.raises(InputError, match="cannot write this token"):
            branch(model, prepared, text, last, token)
    other = FAMILIES.get("smolvlm").tiny()
    with pytest.raises((InputError, UnsupportedError), match="another model or another picture"):
        branch(other, prepare(other), text, last, 5)


def test_branching_is_cancelled_within_one_token():
    model = FAMILIES.get("llava").tiny()
    prepared = prepare(model)
    text = generate(model, prepared, SAMPLED)
    stopped = threading.Event()
    seen: list[TokenSequence] = []

    def stop(part: TokenSequence) -> None:
        seen.append(part)
        stopped.set()

    with pytest.raises(Cancelled):
        branch(
            model,
            prepared,
            text,
            1,
            text.tokens[1].alternative_ids[1],
            SAMPLED,
            stop,
            Progress(cancelled=stopped),
        )
    assert len(seen) == 1
