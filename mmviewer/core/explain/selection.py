"""Which tokens of a result are meant, and the one map that stands for them (NumPy only)."""

from __future__ import annotations

import re
from dataclasses import dataclass

from mmviewer.core.errors import InputError
from mmviewer.core.types import FloatArray, TokenMaps, TokenSequence


@dataclass(frozen=True, slots=True, eq=False)
class ShownMap:
    """One map over the grid, [R, C] or [P], and what it stands for.

    `tokens` are the indices that were averaged, none for the map of the whole text; `label` says so in words.
    """

    grid: FloatArray
    tokens: tuple[int, ...]
    label: str


def tokens_of_word(sequence: TokenSequence, word: str) -> tuple[int, ...]:
    """Return the tokens that make up the first occurrence of `word`; `InputError` if there is none."""
    wanted = word.strip()
    if wanted:
        match = re.search(rf"(?<!\w){re.escape(wanted)}(?!\w)", sequence.text, re.IGNORECASE)
        if match:
            start, end = match.span()
            found = tuple(
                token.index
                for token in sequence.tokens
                if not token.special and token.start < end and token.end > start
            )
            if found:
                return found
    text = sequence.text if len(sequence.text) <= 80 else f"{sequence.text[:79]}…"
    raise InputError(
        f"The {sequence.kind} “{text}” does not hold the word “{wanted}”; choose one that it holds."
    )


def show(maps: TokenMaps, tokens: tuple[int, ...] = ()) -> ShownMap:
    """Return the mean map of `tokens`; with none, the map of the whole text, else the mean over its content.

    Raises `InputError` for a token that does not exist.
    """
    count = len(maps.tokens)
    for index in tokens:
        if not 0 <= index < count:
            raise InputError(f"The text has tokens 0 to {count - 1}; token {index} does not exist.")
    if not tokens and maps.whole is not None:
        return ShownMap(maps.whole, (), "whole text")
    chosen = tokens or tuple(token.index for token in maps.tokens if not token.special) or tuple(range(count))
    grid: FloatArray = maps.values[list(chosen)].mean(0)
    words = " ".join(maps.tokens[index].text.strip() for index in chosen)
    return ShownMap(grid, chosen, words if tokens else "mean over the text")
