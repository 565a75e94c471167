"""Switching heads off, and opening or closing gates, while a model runs."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from mmviewer.core.capture.mechanism import AttentionChange
from mmviewer.core.errors import InputError
from mmviewer.core.interventions.recipe import How, ScaleGate, SwitchOff
from mmviewer.core.models.base import LoadedModel
from mmviewer.core.types import CapturePoint

_Heads = dict[str, list[tuple[tuple[int, ...], How]]]
"""By module: which heads (none for all), and how."""


@contextmanager
def switched_off(model: LoadedModel, steps: Sequence[SwitchOff | ScaleGate]) -> Iterator[None]:
    """Run the body with heads of a model switched off or gates scaled; without steps nothing at all happens.

    A head that is switched off adds nothing to its layer: its slice of the output projection gets zeros. One
    that is made uniform adds the mean of the values that its query may see. What a gated layer's attention
    gives is multiplied before its gate, which is the same as multiplying the gate. All other modules keep
    their fused kernels, and no hook is left behind.

    Raises
    ------
    InputError
        A point, layer, head or gate that the model does not have.
    """
    heads: _Heads = {}
    gates: dict[str, float] = {}
    for step in steps:
        for module in _modules(model, step):
            if isinstance(step, ScaleGate):
                gates[module] = gates.get(module, 1.0) * step.factor
            else:
                heads.setdefault(module, []).append((step.heads, step.how))
    with ExitStack() as stack:
        if heads:
            stack.enter_context(_heads_off(model, heads))
        for module, factor in gates.items():
            hook = model.module.get_submodule(module).register_forward_hook(_times(factor))
            stack.callback(hook.remove)
        yield


def _heads_off(model: LoadedModel, heads: _Heads) -> AttentionChange:
    def change(name: str, weights: Tensor, allowed: Tensor | None) -> Tensor:
        for chosen, how in heads[name]:
            weights = changed_weights(weights, allowed, chosen, how)
        return weights

    return AttentionChange({name: model.module.get_submodule(name) for name in heads}, change)


def _times(factor: float) -> Callable[[nn.Module, Any, Any], Any]:
    """A hook that multiplies what an attention module gives."""

    def hook(_: nn.Module, __: Any, output: Any) -> Any:
        return (output[0] * factor, *output[1:]) if isinstance(output, tuple) else output * factor

    return hook


def changed_weights(weights: Tensor, allowed: Tensor | None, heads: Sequence[int], how: How) -> Tensor:
    """Return weights [B, H, Q, K] with some heads at zero, or even over the keys that are `allowed`."""
    off = torch.zeros(weights.shape[1], dtype=torch.bool, device=weights.device)
    off[list(heads) if heads else slice(None)] = True
    if how == "zero":
        return weights.masked_fill(off[:, None, None], 0.0)
    seen = torch.ones_like(weights) if allowed is None else allowed.expand_as(weights).to(weights)
    even = seen / seen.sum(-1, keepdim=True).clamp(min=1)  # a query that may see nothing sees nothing
    return torch.where(off[:, None, None], even, weights)


def _modules(model: LoadedModel, step: SwitchOff | ScaleGate) -> tuple[str, ...]:
    point = _point(model, step.point)
    if isinstance(step, ScaleGate) and not point.gates:
        raise InputError(f"The {point.label} has no gates; switch its heads off instead.")
    for head in step.heads if isinstance(step, SwitchOff) else ():
        if head >= point.heads:
            raise InputError(f"The {point.label} has heads 0 to {point.heads - 1}; there is no head {head}.")
    if step.layer is None:
        return point.modules
    if step.layer >= point.layers:
        raise InputError(
            f"The {point.label} has layers 0 to {point.layers - 1}; there is no layer {step.layer}."
        )
    return (point.modules[step.layer],)


def _point(model: LoadedModel, name: str) -> CapturePoint:
    found = next((point for point in model.info.points if point.name == name), None)
    if found is None:
        known = ", ".join(point.name for point in model.info.points) or "none"
        raise InputError(
            f"{model.info.label} has no place {name!r} whose heads could be switched off: {known}."
        )
    return found
