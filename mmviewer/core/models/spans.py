"""Token spans: which characters of a text each token covers."""

from __future__ import annotations

import codecs
from collections.abc import Sequence

from mmviewer.core.types import TokenSpan

_SKIPPED = 8
"""Characters that a tokenizer's cleaning may have removed before a token; beyond is another occurrence."""


def align(ids: Sequence[int], surfaces: Sequence[str], text: str) -> tuple[TokenSpan, ...]:
    """Find each token's surface in `text`, from left to right and ignoring case.

    Parameters
    ----------
    ids : sequence of int
        Vocabulary ids.
    surfaces : sequence of str
        What each token stands for after the tokenizer's cleaning, without spaces around it.
    text : str
        As typed.

    Returns
    -------
    tuple of TokenSpan
        A token whose surface was rewritten by the cleaning (an entity, a fixed encoding) covers no character.
    """
    lowered = "".join(c.lower() if len(c.lower()) == 1 else c for c in text)
    spans = []
    cursor = 0
    for index, (token, surface) in enumerate(zip(ids, surfaces, strict=True)):
        found = lowered.find(surface.lower(), cursor) if surface else -1
        skipped = "".join(lowered[cursor:found].split())
        if found < 0 or len(skipped) > _SKIPPED:
            spans.append(TokenSpan(index, token, surface, cursor, cursor))
            continue
        cursor = found + len(surface)
        spans.append(TokenSpan(index, token, text[found:cursor], found, cursor))
    return tuple(spans)


def pieces(parts: Sequence[str | bytes]) -> list[str]:
    """Text that each token adds, from the bytes it stands for; a character split over tokens comes last.

    Parts that are text already (the names of special tokens) stay as they are.
    """
    decoder = codecs.getincrementaldecoder("utf-8")(errors="replace")
    return [part if isinstance(part, str) else decoder.decode(part) for part in parts]


def join(
    ids: Sequence[int], pieces: Sequence[str], special: frozenset[int]
) -> tuple[str, tuple[TokenSpan, ...]]:
    """Text of generated tokens, and what each token covers of it.

    Parameters
    ----------
    pieces : sequence of str
        Text that each token adds, spaces included; for special tokens the name on the chip.
    special : frozenset of int
        Ids that add nothing to the text.

    Returns
    -------
    str
        The pieces joined, outer white space removed.
    tuple of TokenSpan
        Spans leave out the white space around a piece.
    """
    said = ["" if token in special else piece for token, piece in zip(ids, pieces, strict=True)]
    whole = "".join(said)
    text = whole.strip()
    lead = len(whole) - len(whole.lstrip())
    spans = []
    cursor = -lead
    for index, (token, piece, part) in enumerate(zip(ids, pieces, said, strict=True)):
        start = _clamp(cursor + len(part) - len(part.lstrip()), len(text))
        end = _clamp(cursor + len(part.rstrip()), len(text)) if part.strip() else start
        spans.append(TokenSpan(index, token, piece.strip() or piece, start, end, special=token in special))
        cursor += len(part)
    return text, tuple(spans)


def _clamp(position: int, length: int) -> int:
    return min(max(position, 0), length)
