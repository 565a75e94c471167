"""Attention of the captioning decoder to the patches, recorded with its gradient while the model runs."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import partial

import torch
from open_clip.coca_model import CoCa

Maps = dict[int, torch.Tensor]  # by layer, [B, heads, T, patches]


def attention_weights(
    attention: torch.nn.MultiheadAttention, query: torch.Tensor, key: torch.Tensor
) -> torch.Tensor:
    """Softmax weights of a multi-head attention, in float32.

    Parameters
    ----------
    attention
        The module, batch first.
    query
        [B, T, D]
    key
        [B, P, D]

    Returns
    -------
    Tensor
        [B, heads, T, P]
    """
    width, heads = attention.embed_dim, attention.num_heads
    weight_q, weight_k, _ = attention.in_proj_weight.chunk(3)
    bias_q, bias_k, _ = attention.in_proj_bias.chunk(3)
    linear = torch.nn.functional.linear
    query = _by_head(linear(query, weight_q, bias_q), heads)  # [B, heads, T, D / heads]
    key = _by_head(linear(key, weight_k, bias_k), heads)  # [B, heads, P, D / heads]
    scores = (query @ key.transpose(-1, -2)).float() * (width // heads) ** -0.5
    return torch.softmax(scores, dim=-1)


def _by_head(x: torch.Tensor, heads: int) -> torch.Tensor:
    batch, length, width = x.shape
    return x.reshape(batch, length, heads, width // heads).transpose(1, 2)


@contextmanager
def recorded(model: CoCa, layers: Sequence[int] | None = None) -> Iterator[Maps]:
    """Record the decoder's cross-attention of these layers (all when None) of the next forward pass.

    The model has no attentional pooler, so the keys are the patches themselves.
    """
    maps: Maps = {}

    def record(layer: int, module: torch.nn.MultiheadAttention, inputs: tuple[torch.Tensor, ...]) -> None:
        maps[layer] = attention_weights(module, inputs[0], inputs[1])

    blocks = [
        (i, block) for i, block in enumerate(model.text_decoder.cross_attn) if layers is None or i in layers
    ]
    hooks = [block.attn.register_forward_pre_hook(partial(record, i)) for i, block in blocks]
    try:
        yield maps
    finally:
        for hook in hooks:
            hook.remove()
