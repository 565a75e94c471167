"""Image processors and tokenizers from a model's folder, seen to fit its weights."""

from __future__ import annotations

from typing import Any

from mmviewer.core.errors import ModelError
from mmviewer.core.models.hf import build
from mmviewer.core.models.hf.pixels import Pixels
from mmviewer.core.models.hf.source import Found
from mmviewer.core.models.hf.text import TextCodec

_LARGEST_SIDE = 4096  # pixels; a hostile processor would make a picture that fills the memory


def load_pixels(found: Found, patch: int, side: int | None = None) -> Pixels:
    """Image processor of a model with patches of `patch` pixels.

    `side` is that of the only pictures it takes, where it takes one size only. Raises `ModelError`.
    """
    processor = build.load_processor("AutoImageProcessor", found)
    with build.broken_files(found):
        pixels = Pixels(processor, patch)
        size = pixels.input
        resized = max(pixels.resized_side, *size)
    if min(size) < 1 or resized > _LARGEST_SIDE or (side is not None and size != (side, side)):
        wanted = "" if side is None else f", but its weights take {side} × {side}"
        raise ModelError(
            f"The preprocessor_config.json of {found.label} makes pictures of {size[0]} × {size[1]} "
            f"pixels{wanted}; get the model's files again."
        )
    return pixels


def load_codec(found: Found, context: int, vocabulary: int) -> TextCodec:
    """Tokenizer of a model that reads `context` tokens of a vocabulary; raises `ModelError`."""
    tokenizer = build.load_processor("AutoTokenizer", found)
    check_vocabulary(found, tokenizer, vocabulary)
    with build.broken_files(found):
        return TextCodec(tokenizer, int(context))


def check_vocabulary(found: Found, tokenizer: Any, vocabulary: int) -> None:
    """Raise `ModelError` for a tokenizer with ids that the model does not have."""
    with build.broken_files(found):
        last = max(tokenizer.get_vocab().values(), default=-1)
    if not 0 <= last < vocabulary:
        raise ModelError(
            f"The tokenizer of {found.label} has tokens up to number {last:,}, but the model knows "
            f"{vocabulary:,}: it is that of another model; get the model's files again."
        )
