"""How often the decoder answers questions rightly, beside what can be guessed without the picture."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any, get_args

import torch

from recipe.captions import complete
from recipe.encoded import Encoder, stacked
from recipe.questions import Question, QuestionKind
from recipe.scenes import Scene, SceneGenerator

KINDS: tuple[QuestionKind, ...] = get_args(QuestionKind)


@dataclass(frozen=True, slots=True)
class AnswerScores:
    """Of one kind of question; shares from 0 to 1.

    Attributes
    ----------
    questions
        How many.
    right
        Answers that are the true one to the letter.
    commonest
        What always giving the commonest true answer reaches.
    blind
        What the model reaches when each question is put to another scene's picture.
    """

    questions: int
    right: float
    commonest: float
    blind: float


def score_answers(encoder: Encoder, scenes: SceneGenerator, count: int) -> dict[str, Any]:
    """Ask so many questions of each kind about new scenes; `AnswerScores` by kind, and ``all`` of them."""
    by_kind = {kind: _score(encoder, [_asked(scenes, kind, i) for i in range(count)]) for kind in KINDS}
    every = AnswerScores(
        sum(s.questions for s in by_kind.values()),
        sum(s.right for s in by_kind.values()) / len(by_kind),
        sum(s.commonest for s in by_kind.values()) / len(by_kind),
        sum(s.blind for s in by_kind.values()) / len(by_kind),
    )
    return {kind: asdict(scores) for kind, scores in {**by_kind, "all": every}.items()}


def _asked(scenes: SceneGenerator, kind: QuestionKind, number: int) -> tuple[Scene, Question]:
    """Half of the questions how many are put to scenes that show several of a kind."""
    return scenes.question(kind, "count" if kind == "count" and number % 2 else None)


def _score(encoder: Encoder, asked: Sequence[tuple[Scene, Question]]) -> AnswerScores:
    patches = encoder.images(stacked([scene for scene, _ in asked])).patches
    questions = [question for _, question in asked]
    true = [" ".join(question.answer) for question in questions]
    said = answers(encoder, patches, questions)
    blind = answers(encoder, patches.roll(1, 0), questions)
    return AnswerScores(
        len(true),
        _share(said, true),
        max(Counter(true).values()) / len(true),
        _share(blind, true),
    )


def answers(encoder: Encoder, patches: torch.Tensor, questions: Sequence[Question]) -> list[str]:
    """The most probable answer to each question about its picture's patches [N, P, W]."""
    said = [""] * len(questions)
    by_length: dict[int, list[tuple[int, list[int]]]] = {}
    for number, question in enumerate(questions):
        pieces = [piece for word in (*question.words, "?") for piece in encoder.tokens.encode(word)]
        row = [encoder.tokens.sot_token_id, *pieces]
        by_length.setdefault(len(row), []).append((number, row))
    for rows in by_length.values():
        numbers = [number for number, _ in rows]
        found = complete(encoder, patches[numbers], torch.tensor([row for _, row in rows]))
        for number, text in zip(numbers, found, strict=True):
            said[number] = text
    return said


def _share(said: Sequence[str], true: Sequence[str]) -> float:
    return sum(a == b for a, b in zip(said, true, strict=True)) / max(1, len(true))
