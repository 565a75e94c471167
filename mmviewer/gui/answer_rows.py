"""Scores of given answers as bars, in words."""

from __future__ import annotations

import math

import numpy as np

from mmviewer.core.answers import AnswerScores
from mmviewer.gui.widgets.score_bars import ScoreRow

_LONGEST = 60


def answer_rows(scores: AnswerScores, *, per_token: bool) -> list[ScoreRow]:
    """A bar for each answer, as long as its probability if it must be one of them; the number is its log.

    With `per_token` both are of the mean over the answer's tokens.
    """
    logprobs = scores.per_token if per_token else scores.logprobs
    shares = np.exp(logprobs - logprobs.max())
    shares = shares / shares.sum()
    rows = []
    for number, answer in enumerate(scores.answers):
        count = int(scores.counts[number])
        tokens = "1 token" if count == 1 else f"{count} tokens"
        end = math.exp(float(scores.ends[number]))
        note = (
            f"log-probability {float(scores.logprobs[number]):.3f} of {tokens}, "
            f"{float(scores.per_token[number]):.3f} each\n"
            f"share among these answers {float(shares[number]):.3f}\n"
            f"the model would stop after it with probability {end:.3f}"
        )
        shown = f"{float(logprobs[number]):.2f}".replace("-", "\N{MINUS SIGN}")
        rows.append(ScoreRow(answer, float(shares[number]), note, shown))
    return rows


def answer_subject(scores: AnswerScores) -> str:
    """What the scores are of."""
    if scores.question:
        return f"Log-probability as the answer to “{_short(scores.question)}”"
    if scores.prompt:
        return f"Log-probability as what follows “{_short(scores.prompt)}”"
    return "Log-probability as the whole text"


def _short(text: str) -> str:
    return text if len(text) <= _LONGEST else f"{text[: _LONGEST - 1]}…"
