"""Attention computed step by step, so that its weights can be seen."""

from __future__ import annotations

import inspect
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional


def attention_weights(
    query: Tensor, key: Tensor, mask: Tensor | None = None, scale: float | None = None
) -> Tensor:
    """Softmax of the scaled query-key products, as `scaled_dot_product_attention` computes it inside.

    Parameters
    ----------
    query : Tensor [..., H, Q, D]
    key : Tensor [..., H_kv, K, D]
        ``H_kv`` divides ``H``: grouped heads are repeated.
    mask : Tensor, optional
        Broadcasts to [..., H, Q, K]; boolean (True attends) or added to the scores.
    scale : float, optional
        Default ``D ** -0.5``.

    Returns
    -------
    Tensor [..., H, Q, K]
        At least float32; rows sum to one, or are zero where everything is masked.
    """
    query, key = at_least_float32(query), at_least_float32(repeat_heads(key, query))
    scores = (query * (query.shape[-1] ** -0.5 if scale is None else scale)) @ key.transpose(-1, -2)
    if mask is None:
        return scores.softmax(-1)
    scores = scores.masked_fill(~mask, float("-inf")) if mask.dtype == torch.bool else scores + mask
    # A row with everything masked (left padding) would be NaN, and so would its gradients.
    dead = (scores == float("-inf")).all(-1, keepdim=True)
    return scores.masked_fill(dead, 0.0).softmax(-1).masked_fill(dead, 0.0)


def causal_mask(query: Tensor, key: Tensor) -> Tensor:
    """Return the boolean mask [Q, K] that `is_causal` means in PyTorch: aligned to the upper left."""
    return torch.ones(query.shape[-2], key.shape[-2], dtype=torch.bool, device=query.device).tril()


def repeat_heads(key: Tensor, query: Tensor) -> Tensor:
    """Repeat grouped key or value heads to match the query's heads."""
    if key.dim() < 3 or key.shape[-3] == query.shape[-3]:
        return key
    return key.repeat_interleave(query.shape[-3] // key.shape[-3], dim=-3)


def at_least_float32(x: Tensor) -> Tensor:
    """Upcast half precisions; leave float32 and float64."""
    return x.float() if x.dtype in (torch.float16, torch.bfloat16) else x


_SIGNATURE = inspect.signature(functional.multi_head_attention_forward)


@dataclass(frozen=True, slots=True)
class MultiHeadCall:
    """One call of `F.multi_head_attention_forward`, split into heads.

    `query`, `key` and `value` are [B, H, L, D]; `mask` is added to the scores.
    """

    query: Tensor
    key: Tensor
    value: Tensor
    mask: Tensor | None
    dropout: float
    out_weight: Tensor
    out_bias: Tensor | None
    need_weights: bool
    average_weights: bool

    @classmethod
    def parse(cls, args: tuple[Any, ...], kwargs: dict[str, Any]) -> MultiHeadCall:
        """Project and split the inputs of a call; `NotImplementedError` for its exotic variants."""
        bound = _SIGNATURE.bind(*args, **kwargs)
        bound.apply_defaults()
        call = bound.arguments
        exotic = any(call[name] is not None for name in ("bias_k", "bias_v", "static_k", "static_v"))
        if call["query"].dim() != 3 or call["add_zero_attn"] or exotic:
            raise NotImplementedError("this variant of nn.MultiheadAttention cannot be recorded")
        query, key, value = _project(call)
        return cls(
            query,
            key,
            value,
            _added_mask(call, query),
            call["dropout_p"] if call["training"] else 0.0,
            call["out_proj_weight"],
            call["out_proj_bias"],
            call["need_weights"],
            call["average_attn_weights"],
        )

    def finish(self, mixed: Tensor, weights: Tensor) -> tuple[Tensor, Tensor | None]:
        """Join heads [B, H, Q, D] and project; returns what the original function returns."""
        batch, heads, queries, size = mixed.shape
        joined = mixed.permute(2, 0, 1, 3).reshape(queries, batch, heads * size)
        output = functional.linear(joined, self.out_weight, self.out_bias)  # [Q, B, E]
        if not self.need_weights:
            return output, None
        return output, weights.mean(dim=1) if self.average_weights else weights


def _project(call: dict[str, Any]) -> list[Tensor]:
    """Queries, keys and values [B, H, L, D] of inputs [L, B, E]."""
    separate = call["use_separate_proj_weight"]
    names = ("q_proj_weight", "k_proj_weight", "v_proj_weight")
    weights = [call[name] for name in names] if separate else call["in_proj_weight"].chunk(3)
    biases = (None,) * 3 if call["in_proj_bias"] is None else call["in_proj_bias"].chunk(3)
    inputs = (call["query"], call["key"], call["value"])
    heads = call["num_heads"]
    return [
        functional.linear(x, weight, bias).reshape(x.shape[0], x.shape[1], heads, -1).permute(1, 2, 0, 3)
        for x, weight, bias in zip(inputs, weights, biases, strict=True)
    ]


def _added_mask(call: dict[str, Any], query: Tensor) -> Tensor | None:
    """Both masks of a call as one that is added; there, boolean True means "ignore"."""
    batch, heads = query.shape[:2]
    mask: Tensor | None = call["attn_mask"]
    padding: Tensor | None = call["key_padding_mask"]
    if mask is not None:
        mask = _as_added(mask, query)
        per_head = mask.dim() == 3 and mask.shape[0] == batch * heads
        mask = mask.reshape(batch if per_head else 1, heads if per_head else 1, *mask.shape[-2:])
    if padding is None:
        return mask
    padding = _as_added(padding, query)[:, None, None, :]  # [B, 1, 1, K]
    return padding if mask is None else mask + padding


def _as_added(mask: Tensor, like: Tensor) -> Tensor:
    if mask.dtype != torch.bool:
        return mask
    return torch.zeros_like(mask, dtype=like.dtype).masked_fill(mask, float("-inf"))
