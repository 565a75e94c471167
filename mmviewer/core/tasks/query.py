"""A typed text as words whose maps can be asked for."""

from __future__ import annotations

import re

from mmviewer.core.errors import InputError, UnsupportedError
from mmviewer.core.models.base import LoadedModel
from mmviewer.core.types import Capability, TokenSequence, TokenSpan

_WORD = re.compile(r"\w+(?:[-'’]\w+)*|[^\w\s]+")
_LONGEST_TOKEN = 32  # characters


def query_sequence(model: LoadedModel, media_id: str, text: str) -> TokenSequence:
    """Split a query into words, each a row of its maps.

    Parameters
    ----------
    model : LoadedModel
        Must embed text.
    media_id : str
        The item that is asked about.
    text : str

    Returns
    -------
    TokenSequence
        Of kind "query". A word's id is its vocabulary id when the model reads it as one token, else -1.

    Raises
    ------
    InputError
        The text has no word, or is longer than the model reads.
    UnsupportedError
        The model has no text embedding.
    """
    if not model.info.can(Capability.EMBED_TEXT):
        raise UnsupportedError(
            f"{model.info.label} has no embedding of text, so it cannot be asked for words; explain what it "
            "writes itself, or load a model that can embed text."
        )
    matches = [match for match in _WORD.finditer(text) if any(letter.isalnum() for letter in match.group())]
    if not matches:
        raise InputError("The query has no words; type what to look for, such as: a red bicycle.")
    check_length(model, text, "query")
    words = [
        TokenSpan(index, _word_id(model, match.group()), match.group(), match.start(), match.end())
        for index, match in enumerate(matches)
    ]
    return TokenSequence("query", media_id, model.info.id, text, tuple(words))


def check_length(model: LoadedModel, text: str, what: str) -> None:
    """Raise `InputError` if `text` is empty or has more tokens than the model reads.

    Special tokens are not counted here: the model itself refuses a text that only fits without them.
    """
    if not text.strip():
        raise InputError(f"The {what} is empty; write at least one word.")
    limit = model.info.context_length
    # a word of a million letters would take very long to split, only to be refused
    endless = len(text) > limit * _LONGEST_TOKEN
    count = 0 if endless else len(model.tokenize(text))
    if endless or count > limit:
        shown = text if len(text) <= 40 else f"{text[:39]}…"
        tokens = "far more tokens than" if endless else f"{count} tokens, more than"
        raise InputError(
            f"The {what} “{shown}” has {tokens} the {limit} that {model.info.label} reads; shorten it."
        )


def _word_id(model: LoadedModel, word: str) -> int:
    tokens = model.tokenize(word)
    return tokens[0].id if len(tokens) == 1 else -1
