"""Which tokens of a result are meant, and the one map that stands for them (NumPy only)."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from mmviewer.core.errors import InputError
from mmviewer.core.types import FloatArray, TokenMaps, TokenSpan


@dataclass(frozen=True, slots=True, eq=False)
class ShownMap:
    """One map over the grid, [R, C] or [P], and what it stands for.

    `tokens` are the indices that were averaged, none for the map of the whole text; `label` says so in words.
    """

    grid: FloatArray
    tokens: tuple[int, ...]
    label: str


def tokens_of_word(tokens: Sequence[TokenSpan], word: str) -> tuple[int, ...]:
    """Return the tokens that make up the first occurrence of `word`; `InputError` if there is none."""
    text, wanted = text_of(tokens), word.strip()
    match = re.search(rf"(?<!\w){re.escape(wanted)}(?!\w)", text, re.IGNORECASE) if wanted else None
    if match is None:
        shown = text if len(text) <= 80 else f"{text[:79]}…"
        raise InputError(f"There is no word “{wanted}” in “{shown}”; choose one of its words.")
    start, end = match.span()
    return tuple(
        token.index for token in tokens if not token.special and token.start < end and token.end > start
    )


def text_of(tokens: Sequence[TokenSpan]) -> str:
    """Put the text together again from its tokens, each where it stood."""
    text = ""
    for token in tokens:
        if not token.special and token.end > token.start:
            text = text.ljust(token.start)[: token.start] + token.text
    return text


def question_of(tokens: Sequence[TokenSpan]) -> str:
    """The question or prompt that the model wrote on from, as it was fed; empty where there was none."""
    return text_of([token for token in tokens if token.given]).strip()


def content(tokens: Sequence[TokenSpan]) -> tuple[int, ...]:
    """Tokens that stand for a text as a whole: its words; of an answer, those that the model wrote."""
    words = [token for token in tokens if not token.special]
    return tuple(token.index for token in words if not token.given) or tuple(token.index for token in words)


def check_tokens(tokens: Sequence[TokenSpan], chosen: tuple[int, ...]) -> tuple[int, ...]:
    """Return the indices `chosen`, or raise `InputError` for one that no token has."""
    for index in chosen:
        if not 0 <= index < len(tokens):
            raise InputError(f"The text has tokens 0 to {len(tokens) - 1}; token {index} does not exist.")
    return chosen


def show(maps: TokenMaps, tokens: tuple[int, ...] = ()) -> ShownMap:
    """Return the mean map of `tokens`; with none, the map of the whole text, else the mean over its content.

    Raises `InputError` for a token that does not exist.
    """
    check_tokens(maps.tokens, tokens)
    count = len(maps.tokens)
    if not tokens and maps.whole is not None:
        return ShownMap(maps.whole, (), "whole text")
    chosen = tokens or content(maps.tokens) or tuple(range(count))
    grid: FloatArray = maps.values[list(chosen)].mean(0)
    words = " ".join(maps.tokens[index].text.strip() for index in chosen)
    return ShownMap(grid, chosen, words if tokens else "mean over the text")
