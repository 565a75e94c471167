"""Sizes of the random models of the tests."""

from __future__ import annotations

from typing import Any

from mmviewer.core.models.hf.build import VOCABULARY

_WIDTHS: dict[str, Any] = {
    "hidden_size": 32,
    "intermediate_size": 48,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
}
VISION: dict[str, Any] = {**_WIDTHS, "num_hidden_layers": 3, "image_size": 32, "patch_size": 8}
TEXT: dict[str, Any] = {
    **_WIDTHS,
    "model_type": "llama",
    "vocab_size": VOCABULARY,
    "num_key_value_heads": 2,
    "max_position_embeddings": 512,
    "pad_token_id": 0,
    "eos_token_id": 1,
    "bos_token_id": 2,
}
