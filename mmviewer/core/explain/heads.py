"""Choosing heads and layers of a capture point, and saying which they are."""

from __future__ import annotations

from dataclasses import replace

from torch import Tensor

from mmviewer.core.errors import InputError
from mmviewer.core.types import CapturePoint, HeadChoice, MapSpec


def choose_head(weights: Tensor, head: HeadChoice) -> Tensor:
    """Reduce [..., H, Q, K] to [..., Q, K] by the mean, the maximum, one head or the mean of several."""
    if head == "mean":
        return weights.mean(-3)
    if head == "max":
        return weights.amax(-3)
    if isinstance(head, tuple):
        return weights[..., list(head), :, :].mean(-3)
    return weights[..., head, :, :]


def names_heads(head: HeadChoice) -> bool:
    """Whether certain heads are meant, which only a certain layer has."""
    return isinstance(head, int | tuple)


def last_layer_for_head(point: CapturePoint, spec: MapSpec) -> MapSpec:
    """Without a layer for some heads, take the last: heads of different layers have nothing in common."""
    if names_heads(spec.head) and spec.layer is None:
        return replace(spec, layer=point.layers - 1)
    return spec


def check_heads(point: CapturePoint, head: HeadChoice) -> None:
    """Raise `InputError` for heads that the point does not have."""
    if isinstance(head, tuple):
        if not head or len(set(head)) < len(head):
            raise InputError(f"Choose one or more different heads of the {point.label}, each once.")
        for each in head:
            check_range("head", each, point.heads, point)
    elif isinstance(head, int):
        check_range("head", head, point.heads, point)
    elif head not in ("mean", "max"):
        raise InputError(f"Head {head!r} does not exist; choose mean, max, a number or several numbers.")


def check_range(what: str, index: int, count: int, point: CapturePoint) -> None:
    """Raise `InputError` for a layer or head that the point does not have."""
    if not 0 <= index < count:
        raise InputError(f"The {point.label} has {what}s 0 to {count - 1}; {what} {index} does not exist.")


def layer_words(point: CapturePoint, spec: MapSpec) -> str:
    """Say which layer is meant, counted from 1 as people do."""
    if spec.layer is None:
        return "its only layer" if point.layers == 1 else f"all {point.layers} layers"
    gate = f" (gate {point.gates[spec.layer]:+.2f})" if point.gates else ""
    return f"layer {spec.layer + 1} of {point.layers}{gate}"


def head_words(point: CapturePoint, head: HeadChoice) -> str:
    """Say which heads are meant, counted from 1."""
    if isinstance(head, tuple):
        return f"mean of heads {', '.join(str(each + 1) for each in head)} of {point.heads}"
    if isinstance(head, int):
        return f"head {head + 1} of {point.heads}"
    return "its only head" if point.heads == 1 else f"{head} of {point.heads} heads"
