"""A vocabulary of whole words, as captioners had it before there were pieces of words."""

from __future__ import annotations

import re
from collections.abc import Sequence

from mmviewer.core.models import spans
from mmviewer.core.types import TokenSpan

START, END, UNKNOWN = "<start>", "<end>", "<unknown>"
SPECIAL = (START, END, UNKNOWN)
"""The first words of every vocabulary: their ids are 0, 1 and 2."""

_WORD = re.compile(r",|[^\s,]+")


class Words:
    """Text as words and commas; case does not count, and a word that is not known becomes `UNKNOWN`.

    Parameters
    ----------
    words : sequence of str
        In lower case, without the special ones.
    """

    start, end, unknown = range(len(SPECIAL))

    def __init__(self, words: Sequence[str]) -> None:
        self.words = (*SPECIAL, *words)
        self._ids = {word: index for index, word in enumerate(self.words)}

    def __len__(self) -> int:
        return len(self.words)

    def ids(self, text: str) -> list[int]:
        """Ids of a text, without start and end."""
        return [self._ids.get(word.lower(), self.unknown) for word in _WORD.findall(text)]

    def split(self, text: str) -> tuple[TokenSpan, ...]:
        """Words of a text with the characters they cover."""
        return tuple(
            TokenSpan(index, self._ids.get(found[0].lower(), self.unknown), found[0], *found.span())
            for index, found in enumerate(_WORD.finditer(text))
        )

    def join(self, ids: Sequence[int]) -> tuple[str, tuple[TokenSpan, ...]]:
        """Text of ids, with a space before every word but a comma, and what each id covers of it."""
        words = [self.words[index] for index in ids]
        pieces = [word if word in (",", START, END) else f" {word}" for word in words]
        return spans.join(ids, pieces, frozenset((self.start, self.end)))
