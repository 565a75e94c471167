"""The text side of an OpenCLIP model: its tokenizer, with ids that can be traced to characters."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import open_clip
from open_clip.tokenizer import basic_clean, canonicalize_text
from torch import Tensor

from mmviewer.core.errors import InputError
from mmviewer.core.models import spans
from mmviewer.core.types import TokenSpan

_WORD_END = "</w>"


class TextCodec:
    """Text to token ids and back, for open_clip's own tokenizer and those of transformers.

    Parameters
    ----------
    tokenizer : object
        What `open_clip.get_tokenizer` gives.
    context_length : int
        Tokens that the text tower takes, special ones included.
    """

    def __init__(self, tokenizer: Any, context_length: int) -> None:
        self._tokenizer = tokenizer
        self.context_length = context_length
        self._simple = isinstance(tokenizer, open_clip.SimpleTokenizer)

    @property
    def begin(self) -> int:
        """Id of the token that begins a text (open_clip's own tokenizer only)."""
        return int(self._tokenizer.sot_token_id)

    @property
    def end(self) -> int:
        """Id of the token that ends a text (open_clip's own tokenizer only)."""
        return int(self._tokenizer.eot_token_id)

    @property
    def decodes(self) -> bool:
        """Whether ids can be turned into text as a caption needs it."""
        return self._simple

    def batch(self, texts: Sequence[str]) -> Tensor:
        """Token ids [N, context]; `InputError` for a text that does not fit, which open_clip would cut."""
        for text in texts:
            length = self._length(text)
            if length > self.context_length:
                shown = text if len(text) <= 60 else text[:57] + "..."
                raise InputError(
                    f"The text “{shown}” is {length} tokens long, but this model takes "
                    f"{self.context_length}; shorten it."
                )
        ids: Tensor = self._tokenizer(list(texts), context_length=self.context_length)
        return ids

    def split(self, text: str) -> tuple[TokenSpan, ...]:
        """Tokens of `text` without special ones, with the characters that they cover."""
        if self._simple:
            ids = self._tokenizer.encode(text)
            surfaces = [piece.strip() for piece in self.pieces(ids)]
        else:
            cleaned = self._clean(text)
            encoded = self._tokenizer.tokenizer(
                cleaned, add_special_tokens=False, return_offsets_mapping=True, verbose=False
            )
            ids = encoded["input_ids"]
            surfaces = [cleaned[start:end].strip() for start, end in encoded["offset_mapping"]]
        return spans.align(ids, surfaces, text)

    def join(self, ids: Sequence[int]) -> tuple[str, tuple[TokenSpan, ...]]:
        """Text of generated ids and the span of each."""
        return spans.join(ids, self.pieces(ids), frozenset((self.begin, self.end)))

    def pieces(self, ids: Sequence[int]) -> list[str]:
        """What each id adds to the text; a character made of several tokens comes with its last."""
        return spans.pieces([self._part(token) for token in ids])

    def _part(self, token: int) -> str | bytes:
        name: str = self._tokenizer.decoder.get(token, "")
        if token in self._tokenizer.all_special_ids:
            return name
        space = b" " if name.endswith(_WORD_END) else b""
        characters = name.removesuffix(_WORD_END)
        return bytes(self._tokenizer.byte_decoder[character] for character in characters) + space

    def _length(self, text: str) -> int:
        if self._simple:
            return len(self._tokenizer.encode(text)) + 2
        encoded = self._tokenizer.tokenizer(self._clean(text), verbose=False)
        return len(encoded["input_ids"])

    def _clean(self, text: str) -> str:
        if hasattr(self._tokenizer, "clean_fn"):
            return str(self._tokenizer.clean_fn(text))
        return str(canonicalize_text(basic_clean(text)))  # as SigLipTokenizer does inside
