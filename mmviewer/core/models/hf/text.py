"""The text side of transformers models: ids that can be traced to characters."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

from torch import Tensor
from transformers.convert_slow_tokenizer import bytes_to_unicode

from mmviewer.core.errors import InputError
from mmviewer.core.models import spans
from mmviewer.core.types import TokenSpan

_CLOSING = frozenset(".,!?")
_BYTES = {character: byte for byte, character in bytes_to_unicode().items()}


class TextCodec:
    """Text to token ids and back, for byte-level, word-piece and sentence-piece tokenizers.

    Parameters
    ----------
    tokenizer : object
        What ``AutoTokenizer`` gives.
    context_length : int
        Tokens that the model takes, special ones included.
    """

    def __init__(self, tokenizer: Any, context_length: int) -> None:
        self.tokenizer = tokenizer
        self.context_length = context_length
        self._kind = _kind(tokenizer)
        self._special = frozenset((*tokenizer.all_special_ids, *_added(tokenizer)))

    @property
    def special(self) -> frozenset[int]:
        """Ids of control tokens."""
        return self._special

    def ids(self, text: str) -> list[int]:
        """Ids of `text` without special ones."""
        found: list[int] = self.tokenizer(text, add_special_tokens=False, verbose=False)["input_ids"]
        return found

    def split(self, text: str) -> tuple[TokenSpan, ...]:
        """Tokens of `text` without special ones, with the characters that they cover."""
        if not getattr(self.tokenizer, "is_fast", False):
            ids = self.ids(text)
            return spans.align(ids, [piece.strip() for piece in self._pieces(ids)], text)
        encoded = self.tokenizer(text, add_special_tokens=False, return_offsets_mapping=True, verbose=False)
        found, cursor = [], 0
        pairs = zip(encoded["input_ids"], encoded["offset_mapping"], strict=True)
        for index, (token, (start, end)) in enumerate(pairs):
            start = max(start, cursor)
            end = max(end, start)
            part = text[start:end]
            start, end = start + len(part) - len(part.lstrip()), end - len(part) + len(part.rstrip())
            end = max(start, end)
            cursor = max(cursor, end)
            found.append(TokenSpan(index, token, text[start:end], start, end))
        return tuple(found)

    def batch(self, texts: Sequence[str], padding: str | bool = True) -> dict[str, Tensor]:
        """Ids [N, T] and mask of texts with their special tokens.

        `padding` "max_length" fills the context. Raises `InputError` for a text that does not fit.
        """
        for text in texts:
            length = len(self.tokenizer(text, verbose=False)["input_ids"])
            if length > self.context_length:
                shown = text if len(text) <= 60 else text[:57] + "..."
                raise InputError(
                    f"The text “{shown}” is {length} tokens long, but this model takes "
                    f"{self.context_length}; shorten it."
                )
        encoded = self.tokenizer(
            list(texts),
            padding=padding,
            max_length=self.context_length if padding == "max_length" else None,
            return_tensors="pt",
            return_token_type_ids=False,
            return_attention_mask=True,
            verbose=False,
        )
        return dict(encoded)

    def join(self, ids: Sequence[int]) -> tuple[str, tuple[TokenSpan, ...]]:
        """Text of generated ids and the span of each."""
        return spans.join(ids, self._pieces(ids), self._special)

    def _pieces(self, ids: Sequence[int]) -> list[str]:
        names = self.tokenizer.convert_ids_to_tokens(list(ids))
        parts = [self._part(token, name or "") for token, name in zip(ids, names, strict=True)]
        found = spans.pieces(parts)
        return _tightened(found) if self._kind == "WordPiece" else found

    def _part(self, token: int, name: str) -> str | bytes:
        if token in self._special:
            return name
        if self._kind == "ByteLevel":
            return bytes(_BYTES[character] for character in name if character in _BYTES)
        if self._kind == "WordPiece":
            return name.removeprefix("##") if name.startswith("##") else f" {name}"
        if self._kind == "word end":
            characters = name.removesuffix("</w>")
            space = b" " if name.endswith("</w>") else b""
            return bytes(_BYTES[character] for character in characters if character in _BYTES) + space
        if len(name) == 6 and name.startswith("<0x") and name.endswith(">"):
            return bytes.fromhex(name[3:5])
        return name.replace("▁", " ").encode()


def _added(tokenizer: Any) -> list[int]:
    return [token for token, added in tokenizer.added_tokens_decoder.items() if added.special]


def _kind(tokenizer: Any) -> str:
    """How names of tokens become text: by bytes, by pieces of words, or with marked spaces."""
    backend = getattr(tokenizer, "backend_tokenizer", None)
    if backend is None:
        return "Metaspace"
    settings = json.loads(backend.to_str())
    if settings.get("model", {}).get("end_of_word_suffix"):
        return "word end"
    decoder = json.dumps(settings.get("decoder"))
    return next((kind for kind in ("ByteLevel", "WordPiece") if f'"{kind}"' in decoder), "Metaspace")


def _tightened(pieces: list[str]) -> list[str]:
    """Pieces of words without the spaces before closing marks and around apostrophes."""
    found = []
    after_apostrophe = False
    for piece in pieces:
        word = piece.strip()
        found.append(piece.lstrip() if word in _CLOSING or word == "'" or after_apostrophe else piece)
        after_apostrophe = word == "'"
    return found
