"""Changing words of a text that a model wrote, token by token, and of labels and queries."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace

from mmviewer.core.errors import InputError
from mmviewer.core.interventions.recipe import ChangeWord
from mmviewer.core.models.base import LoadedModel
from mmviewer.core.types import TokenSequence


@dataclass(frozen=True, slots=True)
class Reworded:
    """A text after its words were changed.

    Parameters
    ----------
    sequence : TokenSequence
        With the ids that the model is fed; tokens without log-probabilities.
    places : tuple of (int or None)
        For each token of the original, where it stands now, or what stands there instead; None if dropped.
    kept : tuple of bool
        For each token of the original, whether it is still itself.
    read_to : int
        Tokens, counted from the first, up to the last change: what a model reads to write on from there; 0
        where nothing was changed.
    """

    sequence: TokenSequence
    places: tuple[int | None, ...]
    kept: tuple[bool, ...]
    read_to: int = 0


def unchanged(sequence: TokenSequence) -> Reworded:
    """Return the text as it is."""
    count = len(sequence.tokens)
    return Reworded(sequence, tuple(range(count)), (True,) * count)


def reworded(model: LoadedModel, sequence: TokenSequence, steps: Sequence[ChangeWord]) -> Reworded:
    """Change words of a caption, an answer with its question, or a transcript.

    Tokens before and after a change keep their ids, so that only what was meant is changed.

    Raises
    ------
    InputError
        The text has no such word, or nothing would be left.
    """
    result = unchanged(sequence)
    for step in steps:
        result = _with_change(model, result, step)
    if steps and not any(not token.special for token in result.sequence.tokens):
        raise InputError("No word would be left of the text; keep at least one.")
    return result


def changed_text(text: str, step: ChangeWord, what: str) -> str:
    """Return a query with a word changed; `InputError` if it is not there or nothing is left."""
    start, end = find_word(text, step.word, step.nth, what)
    changed = " ".join(f"{text[:start]}{step.into}{text[end:]}".split())
    if not changed:
        raise InputError(f"No word would be left of the {what}; keep at least one.")
    return changed


def changed_labels(labels: Sequence[str], steps: Sequence[ChangeWord]) -> tuple[str, ...]:
    """Return labels with a word changed wherever it occurs; `InputError` if no label has it."""
    result = tuple(labels)
    for step in steps:
        having = [label for label in result if _occurrences(label, step.word)]
        if not having:
            raise InputError(f"No label has the word “{step.word}”; choose a word that one has.")
        result = tuple(
            changed_text(label, replace(step, nth=0), "label") if label in having else label
            for label in result
        )
    return result


def find_word(text: str, word: str, nth: int, what: str) -> tuple[int, int]:
    """First and last character of an occurrence of a word; `InputError` if there is none."""
    found = _occurrences(text, word)
    if nth >= len(found):
        shown = text if len(text) <= 80 else f"{text[:79]}…"
        again = "" if not found else f" a {nth + 1}. time"
        raise InputError(
            f"There is no “{word.strip()}”{again} in the {what} “{shown}”; choose one of its words."
        )
    return found[nth]


def _occurrences(text: str, word: str) -> list[tuple[int, int]]:
    pattern = rf"(?<!\w){re.escape(word.strip())}(?!\w)"
    return [match.span() for match in re.finditer(pattern, text, re.IGNORECASE)]


def _with_change(model: LoadedModel, now: Reworded, step: ChangeWord) -> Reworded:
    sequence = now.sequence
    start, end = find_word(sequence.text, step.word, step.nth, sequence.kind)
    inside = [
        token.index
        for token in sequence.tokens
        if not token.special and token.start < end and token.end > start
    ]
    first, last = inside[0], inside[-1] + 1
    new = _ids_for(model, sequence.text, start, step.into)
    ids = [token.id for token in sequence.tokens]
    text, spans = model.token_text([*ids[:first], *new, *ids[last:]])
    grown = len(new) - (last - first)
    given = sum(token.given for token in sequence.tokens)
    given += grown if first < given else 0
    tokens = tuple(replace(span, given=span.index < given) for span in spans)

    def moved(place: int | None) -> int | None:
        if place is None or place < first:
            return place
        return place + grown if place >= last else (first if new else None)

    return Reworded(
        replace(sequence, text=text, tokens=tokens),
        tuple(map(moved, now.places)),
        tuple(
            keeps and place is not None and not first <= place < last
            for keeps, place in zip(now.kept, now.places, strict=True)
        ),
        max(first + len(new), now.read_to + grown if now.read_to >= last else now.read_to),
    )


def _ids_for(model: LoadedModel, text: str, start: int, into: str) -> list[int]:
    """Ids of words that shall stand at a place; vocabularies with blanks in their tokens need the blank."""
    if not into.strip():
        return []
    blank = " " if start == 0 or text[start - 1].isspace() else ""
    return [token.id for token in model.tokenize(blank + into.strip())]
