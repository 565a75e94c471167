"""What an attribution explains: plain frozen values that travel in a `MapSpec`."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from mmviewer.core.errors import InputError

Removal = Literal["mean", "blur", "noise"]
"""What stands in for a part of the input that is taken away: its mean colour, a blur of it, or noise."""


EACH_TOKEN = "log-probability of the token at its step"  # noqa: S105 - a token of a text
EACH_WORD = "cosine similarity with the word alone"
_WHOLE = "cosine similarity with the whole text"
EACH_WORD_OR_WHOLE = f"{EACH_WORD}; for the whole text, with the whole text"
EACH_PAIR = "interaction of region and word in the cosine similarity"
_REGION = "effect of a region on the cosine similarity with the whole text"
EACH_PAIR_OR_WHOLE = f"{EACH_PAIR}; for the whole text, {_REGION}"


@dataclass(frozen=True, slots=True)
class SimilarityTarget:
    """Cosine similarity of the input with a text."""

    text: str
    kind: Literal["similarity"] = field(default="similarity", init=False)


@dataclass(frozen=True, slots=True)
class ClassTarget:
    """A label against the others: its log-probability under a softmax over `labels`.

    `templates` hold "{}" where a label goes; embeddings are averaged over them, as in zero-shot labels.
    """

    label: str
    labels: tuple[str, ...]
    templates: tuple[str, ...] = ("a {}",)
    kind: Literal["class"] = field(default="class", init=False)


@dataclass(frozen=True, slots=True)
class TokenTarget:
    """Log-probability of a token at its step, or the similarity with one word of a query.

    Parameters
    ----------
    index : int
        Position among the tokens of the sequence.
    token : int, optional
        Vocabulary id that is asked for at that step in place of the one that was chosen.
    """

    index: int
    token: int | None = None
    kind: Literal["token"] = field(default="token", init=False)


@dataclass(frozen=True, slots=True)
class WordTarget:
    """Log-probability that a step of a caption, answer or transcript says another word.

    Parameters
    ----------
    index : int
        Position among the tokens of the sequence.
    text : str
        A word that the vocabulary has as one token, with or without a blank before it; of several such tokens
        the likeliest at that step is meant.
    """

    index: int
    text: str
    kind: Literal["word"] = field(default="word", init=False)


@dataclass(frozen=True, slots=True)
class SequenceTarget:
    """Log-probability of a whole caption, answer or transcript; similarity with a whole query."""

    kind: Literal["sequence"] = field(default="sequence", init=False)


@dataclass(frozen=True, slots=True)
class RunnerUp:
    """The most likely other token of the same step; only ever what a score is contrasted with."""

    kind: Literal["runner-up"] = field(default="runner-up", init=False)


Target = SimilarityTarget | ClassTarget | TokenTarget | WordTarget | SequenceTarget
Contrast = Target | RunnerUp

_KINDS: dict[str, Callable[..., Contrast]] = {
    "similarity": SimilarityTarget,
    "class": ClassTarget,
    "token": TokenTarget,
    "word": WordTarget,
    "sequence": SequenceTarget,
    "runner-up": RunnerUp,
}


def target_of(values: Mapping[str, Any]) -> Contrast:
    """Read a target or contrast as a figure's provenance holds it; `InputError` if it is none."""
    kind = _KINDS.get(str(values.get("kind")))
    given: dict[str, Any] = {
        name: tuple(value) if isinstance(value, list) else value
        for name, value in values.items()
        if name != "kind"
    }
    try:
        if kind is not None:
            return kind(**given)
    except TypeError as error:
        raise InputError(f"The target {dict(values)!r} cannot be read; choose a target again.") from error
    raise InputError(f"There is no target of kind {values.get('kind')!r}; choose a target again.")


def score_of_shown(score: str, tokens: Sequence[str]) -> str:
    """Say of what a map is when `tokens` are shown, or with none the whole text.

    The `score` of a result speaks of all its tokens at once; a single one is called by its name.
    """
    if not tokens:
        return score.replace(EACH_WORD_OR_WHOLE, _WHOLE).replace(EACH_PAIR_OR_WHOLE, _REGION)
    score = score.replace(EACH_WORD_OR_WHOLE, EACH_WORD).replace(EACH_PAIR_OR_WHOLE, EACH_PAIR)
    text = " ".join(tokens[0].split())
    if len(tokens) > 1 or not text:
        return score
    for each, named in (
        (EACH_WORD, f"cosine similarity with “{text}” alone"),
        (EACH_TOKEN, f"log-probability of “{text}” at its step"),
        (EACH_PAIR, f"interaction of region and “{text}” in the cosine similarity"),
    ):
        score = score.replace(each, named)
    return score
