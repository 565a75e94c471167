"""Questions and prompts: what is fed, what is marked as given, and numbers equal to those of one forward."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from mmviewer.core.errors import InputError, UnsupportedError
from mmviewer.core.explain.base import explain
from mmviewer.core.explain.selection import content, question_of, show
from mmviewer.core.figures.provenance import build_provenance, caption_line
from mmviewer.core.models.base import FAMILIES
from mmviewer.core.tasks.ask import ask, fed_question
from mmviewer.core.tasks.generate import generate
from mmviewer.core.types import MapSpec, Media, Modality, ModelAbout, QuestionForm, Sampling

FORM = QuestionForm("{question} ?", ("what color is the dog",))


@pytest.fixture(scope="module")
def untrained():
    return FAMILIES.get("openclip").tiny("coca")


@pytest.fixture
def model(untrained):
    before = untrained.info
    untrained.info = replace(before, about=ModelAbout(questions=FORM))
    yield untrained
    untrained.info = before


@pytest.fixture
def picture():
    pixels = np.random.default_rng(1).integers(0, 256, (50, 50, 3), dtype=np.uint8)
    return Media("image", Modality.IMAGE, "image", pixels=pixels)


@pytest.mark.parametrize(
    ("typed", "fed"),
    [
        ("What color is the dog?", "what color is the dog ?"),
        ("  how  many\ncats ?? ", "how many cats ?"),
        ("where is the owl", "where is the owl ?"),
        ("is there a dog.", "is there a dog ?"),
    ],
)
def test_questions_are_fed_as_the_model_was_trained(typed, fed):
    assert fed_question(FORM, typed) == fed


@pytest.mark.parametrize("typed", ["", "  ", "?", " ?! "])
def test_an_empty_question_is_refused(typed):
    with pytest.raises(InputError, match="question is empty"):
        fed_question(FORM, typed)


def test_an_answer_shows_its_question_as_given_tokens(model, picture):
    answer = ask(model, model.prepare(picture), "Where is the cat?", Sampling(max_tokens=3))
    given = [token for token in answer.tokens if token.given]
    own = [token for token in answer.tokens if not token.given]
    assert answer.kind == "answer"
    assert answer.question == "Where is the cat?"
    assert [token.text.strip() for token in given] == ["where", "is", "the", "cat", "?"]
    assert all(token.logprob is None for token in given)
    assert 1 <= len(own) <= 3
    assert all(token.logprob <= 0 and len(token.alternatives) == 5 for token in own)
    assert answer.text.startswith("where is the cat ?")
    assert answer.written == answer.text.removeprefix("where is the cat ?").strip()
    assert [token.index for token in answer.tokens] == list(range(len(answer.tokens)))


def test_probabilities_after_a_prompt_are_those_of_one_forward(model, picture):
    prepared = model.prepare(picture)
    answer = ask(model, prepared, "where is the cat", Sampling(max_tokens=4, temperature=2, seed=3))
    ids = [*answer.prompt_ids, *(token.id for token in answer.tokens)]
    with torch.no_grad():
        logprobs = model.sequence_logits(prepared, ids[:-1]).log_softmax(-1)
    own = [place for place, token in enumerate(answer.tokens) if not token.given]
    for place in own:
        token = answer.tokens[place]
        assert token.logprob == pytest.approx(float(logprobs[place, token.id]), abs=1e-4)


@pytest.mark.parametrize("method", ["attention", "rollout", "gradient_attention"])
def test_every_token_of_an_answer_has_a_map_given_ones_too(model, picture, method):
    prepared = model.prepare(picture)
    answer = ask(model, prepared, "where is the cat", Sampling(max_tokens=2, temperature=2, seed=3))
    maps = explain(model, prepared, answer, MapSpec(method))
    assert maps.values.shape[0] == len(answer.tokens)
    shown = show(maps)
    assert shown.tokens == content(answer.tokens)
    assert not any(answer.tokens[index].given for index in shown.tokens)


def test_figures_name_the_question(model, picture):
    prepared = model.prepare(picture)
    answer = ask(model, prepared, "Where is the cat", Sampling(max_tokens=2))
    maps = explain(model, prepared, answer)
    provenance = build_provenance(model.info, picture, maps)
    assert question_of(maps.tokens) == "where is the cat ?"
    assert provenance.extra["question"] == "where is the cat ?"
    assert "asked “where is the cat ?”" in caption_line(provenance)


def test_a_streamed_answer_names_its_question_from_the_start(model, picture):
    parts = []
    ask(model, model.prepare(picture), "where is it", Sampling(max_tokens=3), parts.append)
    assert all(part.kind == "answer" and part.question == "where is it" for part in parts)
    assert all(not part.finished for part in parts)


def test_a_question_that_fills_the_context_is_refused(model, picture):
    fits = " ".join(["cat"] * 9)  # with the question mark and the beginning 11 of 12 tokens
    assert ask(model, model.prepare(picture), fits).finished
    with pytest.raises(InputError, match="shorter"):
        ask(model, model.prepare(picture), " ".join(["cat"] * 11))
    with pytest.raises(InputError, match="shorten it"):
        ask(model, model.prepare(picture), "cat " * 5000)


def test_a_model_that_was_not_trained_on_questions_says_so(untrained, picture):
    with pytest.raises(UnsupportedError, match="not trained to answer questions"):
        ask(untrained, untrained.prepare(picture), "where is the cat")


def test_any_decoder_writes_on_from_a_prompt(untrained, picture):
    sequence = generate(untrained, untrained.prepare(picture), Sampling(max_tokens=2), prompt="a red cat")
    assert sequence.kind == "caption"
    assert [token.text.strip() for token in sequence.tokens if token.given] == ["a", "red", "cat"]


def test_a_speech_model_takes_no_prompt():
    speech = FAMILIES.get("whisper").tiny()
    sound = Media("sound", Modality.AUDIO, "sound", samples=np.zeros(16_000, np.float32))
    with pytest.raises(UnsupportedError, match="answers no questions"):
        generate(speech, speech.prepare(sound), prompt="hello")
