"""Gradients of many scores from one graph."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

_BATCH_BYTES = 256 * 2**20


def at_once(one: int) -> int:
    """How many scores to differentiate at once, when the gradients of one take `one` bytes."""
    return max(1, _BATCH_BYTES // max(one, 1))


def gradient_bytes(one: int, count: int) -> int:
    """Memory of the gradients of `count` scores, batch by batch, and of what is made of them."""
    return 2 * one * min(count, at_once(one))


def each_gradient(scores: Tensor, inputs: Sequence[Tensor], *, keep: bool = False) -> list[Tensor | None]:
    """Gradient of every score with respect to every input, by one batched backward.

    Parameters
    ----------
    scores : Tensor [N]
    inputs : sequence of Tensor
    keep : bool
        Whether the graph is used again.

    Returns
    -------
    list of Tensor [N, *shape of the input] or None
        None for an input that no score depends on.
    """
    _forget(inputs)
    if len(scores) == 1:
        found = torch.autograd.grad(scores[0], inputs, retain_graph=keep, allow_unused=True)
        return [None if each is None else each[None] for each in found]
    each_score = torch.eye(len(scores), dtype=scores.dtype, device=scores.device)
    return list(
        torch.autograd.grad(
            scores, inputs, each_score, retain_graph=keep, allow_unused=True, is_grads_batched=True
        )
    )


def each_row_gradient(
    scores: Tensor,
    rows: Sequence[Sequence[int]],
    hidden: Tensor | None,
    inputs: Sequence[Tensor],
    *,
    keep: bool = False,
) -> list[Tensor | None]:
    """As `each_gradient`, for scores of which each reads rows of its own of ``hidden`` [1, T, W].

    From `hidden` on to a score everything is row by row, so one backward to it serves all scores, and the
    large vocabulary is passed once instead of N times.
    """
    if hidden is None or not hidden.requires_grad or len(scores) == 1:
        return each_gradient(scores, inputs, keep=keep)
    _forget(inputs)
    (slopes,) = torch.autograd.grad(scores.sum(), hidden, retain_graph=True)  # [1, T, W]
    starts = slopes.new_zeros(len(scores), *hidden.shape)
    for index, own in enumerate(rows):
        starts[index, :, list(own)] = slopes[:, list(own)]
    return list(
        torch.autograd.grad(
            hidden, inputs, starts, retain_graph=keep, allow_unused=True, is_grads_batched=True
        )
    )


def _forget(inputs: Sequence[Tensor]) -> None:
    """Drop gradients that inputs have retained: those of a batch of another size cannot be added to them."""
    for each in inputs:
        each.grad = None
