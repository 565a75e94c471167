"""Attention computed a second time, in the plainest way, to compare with.

`EagerCopy` replaces every `nn.MultiheadAttention` of a copy of a model by one that multiplies and adds as
the formula says, in float64, and remembers its weights. Nothing of mmviewer takes part in it.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn

from mmviewer.core.models.base import LoadedModel, Prepared
from mmviewer.core.types import CapturePoint


class EagerAttention(nn.Module):
    """softmax(Q K^T / sqrt(d) + mask) V; keeps `weights` [B, H, Q, K], adds `offset` if there is one."""

    def __init__(self, original: nn.MultiheadAttention) -> None:
        super().__init__()
        self.heads = original.num_heads
        self.out = original.out_proj
        size = original.embed_dim
        if original.in_proj_weight is not None:
            projections = list(original.in_proj_weight.split(size))
        else:
            projections = [original.q_proj_weight, original.k_proj_weight, original.v_proj_weight]
        self.projections = nn.ParameterList([nn.Parameter(each.detach().clone()) for each in projections])
        self.biases = nn.ParameterList(
            [nn.Parameter(each.detach().clone()) for each in original.in_proj_bias.split(size)]
        )
        self.batch_first = original.batch_first
        self.offset: Tensor | None = None
        self.weights: Tensor | None = None

    def forward(
        self, query: Tensor, key: Tensor, value: Tensor, attn_mask: Tensor | None = None, **_: object
    ) -> tuple[Tensor, None]:
        parts = (query, key, value)
        if not self.batch_first:
            parts = tuple(part.transpose(0, 1) for part in parts)
        q, k, v = (
            (part @ weight.T + bias).unflatten(-1, (self.heads, -1)).transpose(1, 2)
            for part, weight, bias in zip(parts, self.projections, self.biases, strict=True)
        )
        scores = torch.einsum("bhqd,bhkd->bhqk", q, k) / math.sqrt(q.shape[-1])
        if attn_mask is not None:
            mask = attn_mask.to(scores.dtype)
            scores = scores + (mask.unflatten(0, (-1, self.heads)) if mask.dim() == 3 else mask)
        weights = torch.exp(scores - scores.amax(-1, keepdim=True))
        weights = weights / weights.sum(-1, keepdim=True)
        if self.offset is not None:
            weights = weights + self.offset
        if weights.requires_grad:
            weights.retain_grad()
        self.weights = weights
        out = self.out(torch.einsum("bhqk,bhkd->bqhd", weights, v).flatten(2))
        return (out if self.batch_first else out.transpose(0, 1)), None


class EagerCopy:
    """A float64 copy of an open_clip model with plain attention."""

    def __init__(self, model: LoadedModel, prepared: Prepared) -> None:
        self.module = copy.deepcopy(model.module).double().eval().requires_grad_(True)
        for name, part in list(self.module.named_modules()):
            if isinstance(part, nn.MultiheadAttention):
                parent = self.module.get_submodule(name.rpartition(".")[0])
                setattr(parent, name.rpartition(".")[2], EagerAttention(part).double())
        self.model = model
        self.pixels = prepared.inputs["pixels"].double()

    def image_embedding(self) -> Tensor:
        """Unit embedding [D]."""
        return self.module.encode_image(self.pixels, normalize=True)[0]

    def logits(self, ids: Sequence[int]) -> Tensor:
        """Logits [T, V], row j after ``ids[j]``."""
        _, image_tokens = self.module._encode_image(self.pixels)
        _, tokens = self.module.text(torch.tensor([list(ids)]))
        return self.module.text_decoder(image_tokens, tokens)[0]

    def attentions(self, point: CapturePoint) -> list[EagerAttention]:
        """The attention modules of a point, in order."""
        return [self.module.get_submodule(name) for name in point.modules]

    def weights(self, point: CapturePoint) -> list[Tensor]:
        """Weights [H, Q, K] of each layer in the last forward."""
        return [part.weights[0].detach() for part in self.attentions(point)]

    def gradients(self, point: CapturePoint) -> list[Tensor]:
        """Gradients [H, Q, K] of the last backward."""
        return [
            torch.zeros_like(part.weights[0]) if part.weights.grad is None else part.weights.grad[0].clone()
            for part in self.attentions(point)
        ]
