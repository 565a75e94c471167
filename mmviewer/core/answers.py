"""How likely a model holds given answers; light, so that the window can read it."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from mmviewer.core.types import FloatArray, TokenSequence


@dataclass(frozen=True, slots=True, eq=False)
class AnswerScores:
    """Log-probabilities of given answers to one question, or of continuations of one text.

    Parameters
    ----------
    media_id, model_id : str
    question : str
        What was asked, as typed; empty where a text was continued.
    prompt : str
        The beginning of the text that was continued; may be empty.
    answers : tuple of str
        N answers as typed.
    logprobs : float32 array [N]
        Natural logarithm of each answer's probability: the sum over its tokens.
    counts : int array [N]
        Tokens of each answer.
    ends : float32 array [N]
        Natural logarithm of the probability that the model stops after it; 0 where an answer is always whole.
    sequences : tuple of TokenSequence
        The text of each answer as if the model had written it, to be explained like any other: what was given
        first, then the answer's tokens with their log-probabilities.
    """

    media_id: str
    model_id: str
    question: str
    prompt: str
    answers: tuple[str, ...]
    logprobs: FloatArray
    counts: np.ndarray[tuple[int, ...], np.dtype[np.int64]]
    ends: FloatArray
    sequences: tuple[TokenSequence, ...]

    @property
    def shares(self) -> FloatArray:
        """Probability [N] of each answer if it must be one of them; longer answers are at a disadvantage."""
        return _softmax(self.logprobs)

    @property
    def per_token(self) -> FloatArray:
        """Mean log-probability [N] of the tokens of each answer, which can be compared between lengths."""
        mean: FloatArray = (self.logprobs / self.counts).astype(np.float32)
        return mean

    @property
    def ranking(self) -> tuple[int, ...]:
        """Places of the answers, the likeliest first."""
        return tuple(int(place) for place in np.argsort(-self.logprobs, kind="stable"))


def _softmax(logits: FloatArray) -> FloatArray:
    powers = np.exp(logits - logits.max())
    shares: FloatArray = (powers / powers.sum()).astype(np.float32)
    return shares
