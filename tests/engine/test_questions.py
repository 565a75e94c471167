"""A question through the engine's handler, with a tiny model."""

from __future__ import annotations

import pickle
from dataclasses import replace

import numpy as np
import pytest

from mmviewer.core.errors import UnsupportedError
from mmviewer.core.models.base import FAMILIES
from mmviewer.core.progress import SILENT
from mmviewer.core.types import (
    Media,
    MediaRef,
    Modality,
    ModelAbout,
    ModelInfo,
    QuestionForm,
    Sampling,
    TokenSequence,
)
from mmviewer.engine.handlers_model import branch, generate, score_answers
from mmviewer.engine.protocol import Branch, Generate, ScoreAnswers
from mmviewer.engine.routes import Call
from mmviewer.engine.workspace import Workspace

PICTURE = Media("picture", Modality.IMAGE, "picture", pixels=np.full((40, 40, 3), 90, np.uint8))
REF = MediaRef("picture", Modality.IMAGE, "picture")


def loaded(about: ModelAbout) -> tuple[Workspace, ModelInfo]:
    workspace, model = Workspace(), FAMILIES.get("openclip").tiny("coca")
    model.info = replace(model.info, about=about)
    workspace.adopt(model)
    workspace.remember(PICTURE)
    return workspace, model.info


def test_answers_stream_as_answers():
    workspace, info = loaded(ModelAbout(questions=QuestionForm("{question} ?")))
    parts: list[TokenSequence] = []
    request = Generate(info.id, REF, Sampling(max_tokens=3), "Where is it?")
    answer = generate(request, Call(workspace, SILENT, parts.append))
    assert answer.kind == "answer"
    assert answer.finished
    assert answer.text.startswith("where is it ?")
    assert all(part.kind == "answer" and not part.finished for part in parts)
    captioned = generate(replace(request, question=""), Call(workspace, SILENT, parts.append))
    assert captioned.kind == "caption"


def test_a_model_without_questions_says_so():
    workspace, info = loaded(ModelAbout())
    with pytest.raises(UnsupportedError, match="not trained to answer questions"):
        generate(Generate(info.id, REF, question="Where is it?"), Call(workspace, SILENT, lambda _part: None))


def test_a_text_is_branched_and_answers_are_scored():
    workspace, info = loaded(ModelAbout(questions=QuestionForm("{question} ?")))
    parts: list[TokenSequence] = []
    call = Call(workspace, SILENT, parts.append)
    answer = generate(Generate(info.id, REF, Sampling(max_tokens=3), "Where is it?"), call)
    place = next(token.index for token in answer.tokens if not token.given)
    other = answer.tokens[place].alternative_ids[1]
    branched = branch(Branch(info.id, REF, answer, place, other, Sampling(max_tokens=3)), call)
    assert branched.tokens[place].id == other
    assert branched.tokens[place].chosen
    assert branched.question == "Where is it?"
    scores = score_answers(ScoreAnswers(info.id, REF, ("red", "a dog"), question="Where is it?"), call)
    assert scores.answers == ("red", "a dog")
    assert scores.sequences[1].kind == "answer"
    assert pickle.loads(pickle.dumps(scores)).logprobs.tolist() == scores.logprobs.tolist()
    continued = score_answers(ScoreAnswers(info.id, REF, ("cat",), prompt="a red"), call)
    assert continued.sequences[0].text == "a red cat"
