"""Collecting the weights of named capture points during one forward."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager

import torch
from torch import Tensor

from mmviewer.core.capture.mechanism import AttentionRecorder, Inside
from mmviewer.core.errors import InputError, UnsupportedError
from mmviewer.core.models.base import LoadedModel
from mmviewer.core.types import CapturePoint

Layers = Sequence[int] | None


class Captured(Mapping[str, "list[Tensor]"]):
    """Recorded weights by point name: one [B, H, Q, K] per wanted layer, in the order of `layers`.

    Filled while the forward runs; reading a point that the forward did not reach raises `UnsupportedError`.
    The steps of a decoding loop are joined to one matrix: rows are steps, missing keys are zero.
    """

    def __init__(self, wanted: Mapping[str, tuple[CapturePoint, tuple[int, ...]]]) -> None:
        self._wanted = dict(wanted)
        self._calls: dict[str, list[Tensor]] = {}
        self._insides: dict[str, list[Inside]] = {}

    def layers(self, point: str) -> tuple[int, ...]:
        """Numbers of the layers recorded at `point`, counted from 0."""
        return self._wanted[point][1]

    def sites(self) -> tuple[str, ...]:
        """Names of the modules to record."""
        return tuple(point.modules[layer] for point, layers in self._wanted.values() for layer in layers)

    def add(self, module: str, weights: Tensor) -> None:
        """Take the weights [B, H, Q, K] of one call of a module."""
        self._calls.setdefault(module, []).append(weights)

    def look(self, module: str, inside: Inside) -> None:
        """Take what one call of a module worked with."""
        self._insides.setdefault(module, []).append(inside)

    def inside(self, name: str) -> list[Inside]:
        """What the attention of each wanted layer of a point worked with, in its own or its last call."""
        own = self._wanted[name][0].call
        chosen = -1 if own is None else own
        return [self._insides[module][chosen] for module in self._modules(name, self._insides)]

    def __getitem__(self, name: str) -> list[Tensor]:
        own = self._wanted[name][0].call
        calls = [self._calls[module] for module in self._modules(name, self._calls)]
        return [_joined(each) if own is None else each[own] for each in calls]

    def _modules(self, name: str, seen: Mapping[str, object]) -> list[str]:
        point, layers = self._wanted[name]
        modules = [point.modules[layer] for layer in layers]
        if any(module not in seen for module in modules):
            raise UnsupportedError(
                f"Nothing was recorded at {point.label}: the computation did not pass there; "
                "choose another point."
            )
        return modules

    def __iter__(self) -> Iterator[str]:
        return iter(self._wanted)

    def __len__(self) -> int:
        return len(self._wanted)


@contextmanager
def capture(
    model: LoadedModel,
    wanted: Mapping[str, Layers],
    *,
    grad: bool = False,
    rows: slice | None = None,
    inside: bool = False,
) -> Iterator[Captured]:
    """Record attention weights at named points while the body runs the model once.

    Parameters
    ----------
    model : LoadedModel
    wanted : mapping
        Point name to the layers wanted there (counted from 0), None for all.
    grad : bool
        Run with gradients and keep the graph from the first recorded weights on; else the body runs without
        gradients and the weights are detached.
    rows : slice, optional
        Query rows to keep (without `grad` only), which saves the memory of the others.
    inside : bool
        Keep queries, keys, values and mixed values too; see `Captured.inside`.

    Yields
    ------
    Captured
        Mapping of point name to weights [B, H, Q, K] of each wanted layer.

    Raises
    ------
    InputError
        A point or layer that the model does not have.
    """
    captured = Captured({name: _resolve(model, name, layers) for name, layers in wanted.items()})
    sites = {name: model.module.get_submodule(name) for name in captured.sites()}

    def keep(name: str, weights: Tensor) -> None:
        captured.add(name, weights if grad else weights.detach())

    look = captured.look if inside else None
    with torch.set_grad_enabled(grad), AttentionRecorder(sites, keep, grad=grad, rows=rows, look=look):
        yield captured


def estimate_bytes(
    point: CapturePoint, queries: int, keys: int, *, layers: Layers = None, batch: int = 1, grad: bool = False
) -> int:
    """Peak memory of recording `point`, in bytes, before doing it.

    Counts the float32 weights of the wanted layers and the scores beside them; with gradients three times the
    weights, for they, their gradients and the softmax's copy live at once. See `LoadedModel.attention_size`
    for `queries` and `keys`.
    """
    one_layer = batch * point.heads * queries * keys * 4
    count = point.layers if layers is None else len(layers)
    return one_layer * (3 * count if grad else count + 2)


def _resolve(model: LoadedModel, name: str, layers: Layers) -> tuple[CapturePoint, tuple[int, ...]]:
    point = next((point for point in model.info.points if point.name == name), None)
    if point is None:
        known = ", ".join(point.name for point in model.info.points) or "none"
        raise InputError(f"{model.info.label} has no capture point {name!r}; it has: {known}.")
    chosen = tuple(range(point.layers)) if layers is None else tuple(layers)
    for layer in chosen:
        if not 0 <= layer < point.layers:
            raise InputError(f"{point.label} has layers 0 to {point.layers - 1}; there is no layer {layer}.")
    return point, chosen


def _joined(calls: list[Tensor]) -> Tensor:
    if len(calls) == 1:
        return calls[0]
    keys = max(weights.shape[-1] for weights in calls)
    padded = [torch.nn.functional.pad(weights, (0, keys - weights.shape[-1])) for weights in calls]
    return torch.cat(padded, dim=-2)
