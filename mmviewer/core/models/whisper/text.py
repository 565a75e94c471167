"""Whisper's byte-level tokens, traced to the characters that they stand for."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from transformers.convert_slow_tokenizer import bytes_to_unicode

from mmviewer.core.models import spans
from mmviewer.core.types import TokenSpan


class TextCodec:
    """Text to token ids and back, for a byte-level tokenizer of transformers."""

    def __init__(self, tokenizer: Any) -> None:
        self._tokenizer = tokenizer
        self._bytes = {character: byte for byte, character in bytes_to_unicode().items()}
        self._special = frozenset((*tokenizer.all_special_ids, *tokenizer.added_tokens_decoder))

    def split(self, text: str) -> tuple[TokenSpan, ...]:
        """Tokens of `text` without special ones, with the characters that they cover."""
        encoded = self._tokenizer(text, add_special_tokens=False, verbose=False)
        ids = encoded["input_ids"]
        return spans.align(ids, [piece.strip() for piece in self._pieces(ids)], text)

    def join(self, ids: Sequence[int]) -> tuple[str, tuple[TokenSpan, ...]]:
        """Text of generated ids and the span of each."""
        return spans.join(ids, self._pieces(ids), self._special)

    def _pieces(self, ids: Sequence[int]) -> list[str]:
        names = self._tokenizer.convert_ids_to_tokens(list(ids))
        return spans.pieces([self._part(token, name or "") for token, name in zip(ids, names, strict=True)])

    def _part(self, token: int, name: str) -> str | bytes:
        if token in self._special:
            return name
        return bytes(self._bytes[character] for character in name if character in self._bytes)
