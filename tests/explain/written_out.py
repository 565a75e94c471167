"""Attention of any library written out, to compare with.

Inside `written_out` PyTorch's fused attention is replaced by the steps of its formula, and the softmax of
models that write their attention themselves is watched. The weights of the modules asked for stay on the
graph. Nothing of mmviewer's capture takes part in it.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from unittest.mock import patch

import torch
from torch import Tensor
from torch.nn import functional

from mmviewer.core.models.base import LoadedModel
from mmviewer.core.types import CapturePoint

KEEPS_WHAT_WAS_ENCODED = (
    "mmviewer.core.models.whisper.model",
    "mmviewer.core.models.hf.captions",
    "mmviewer.core.models.openclip.model",
    "mmviewer.core.models.vlm.model",
)
"""Modules that keep what an encoder gave; inside it runs again."""


class Written:
    """What the attention modules of a forward did, by name.

    `weights` [1, H, Q, K] are on the graph; `inputs` are queries and keys [1, H, N, D] of fused attention.
    """

    def __init__(self, points: Sequence[CapturePoint]) -> None:
        self.heads = {name: point.heads for point in points for name in point.modules}
        self.weights: dict[str, Tensor] = {}
        self.inputs: dict[str, tuple[Tensor, Tensor]] = {}
        self.running: list[str] = []

    def layers(self, point: CapturePoint) -> list[Tensor]:
        """Weights of each layer of a point."""
        return [self.weights[name] for name in point.modules]

    def keep(self, weights: Tensor) -> Tensor:
        """Remember weights of the module that runs; what it goes on with depends on what is remembered."""
        name, shape = self.running[-1], weights.shape
        whole = weights.reshape(-1, self.heads[name], *shape[-2:])  # [1, H, Q, K]
        if not whole.requires_grad:
            whole.requires_grad_()
        assert name not in self.weights, f"{name} attends twice"
        self.weights[name] = whole
        return whole.reshape(shape)

    def fused(
        self, query, key, value, attn_mask=None, dropout_p=0.0, is_causal=False, scale=None, enable_gqa=False
    ):
        """In place of PyTorch's ``scaled_dot_product_attention``."""
        if enable_gqa:
            groups = query.shape[-3] // key.shape[-3]
            key, value = key.repeat_interleave(groups, -3), value.repeat_interleave(groups, -3)
        scores = query @ key.transpose(-1, -2) * (1 / math.sqrt(query.shape[-1]) if scale is None else scale)
        scores = scores + _addend(attn_mask, is_causal, scores)
        weights = torch.exp(scores - scores.amax(-1, keepdim=True))
        weights = weights / weights.sum(-1, keepdim=True)
        if self.running:
            self.inputs[self.running[-1]] = (query, key)
            weights = self.keep(weights)
        return weights @ value

    def softmax(self, values: Tensor, dim: int, dtype: torch.dtype | None = None, **_: object) -> Tensor:
        """In place of ``Tensor.softmax``, which ``functional.softmax`` calls too."""
        weights = torch.softmax(values, dim, dtype)
        last = weights.dim() >= 3 and dim in (-1, weights.dim() - 1)
        return self.keep(weights) if self.running and last else weights


def _addend(mask: Tensor | None, is_causal: bool, scores: Tensor) -> Tensor | float:
    if is_causal:
        mask = torch.ones(scores.shape[-2:], dtype=torch.bool).tril()
    if mask is None:
        return 0.0
    return mask if mask.dtype is not torch.bool else torch.zeros(mask.shape).masked_fill(~mask, -torch.inf)


@contextmanager
def written_out(model: LoadedModel, points: Sequence[CapturePoint]) -> Iterator[Written]:
    """Keep the weights of the modules of some points while the body runs; each is called once."""
    found = Written(points)
    with ExitStack() as stack:
        for name in found.heads:
            module = model.module.get_submodule(name)
            before = module.register_forward_pre_hook(lambda *_, name=name: found.running.append(name))
            after = module.register_forward_hook(lambda *_: found.running.pop() and None, always_call=True)
            stack.callback(before.remove)
            stack.callback(after.remove)
        stack.enter_context(patch.object(functional, "scaled_dot_product_attention", found.fused))
        stack.enter_context(
            patch.object(
                Tensor, "softmax", lambda values, *args, **named: found.softmax(values, *args, **named)
            )
        )
        for name in KEEPS_WHAT_WAS_ENCODED:
            stack.enter_context(patch(f"{name}.recording", lambda *_, **__: True))
        stack.callback(torch.backends.mha.set_fastpath_enabled, torch.backends.mha.get_fastpath_enabled())
        torch.backends.mha.set_fastpath_enabled(False)
        yield found
