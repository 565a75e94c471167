"""Capture points of transformers models, made of the modules whose names match."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

import torch
from torch import Tensor, nn

from mmviewer.core.errors import UnsupportedError
from mmviewer.core.types import CapturePoint, Modality, PointRole

_LABELS = {
    PointRole.ENCODER_SELF: ("image encoder self-attention", "image patches", "image patches"),
    PointRole.POOL: ("attentional pooling", "pooling queries", "image patches"),
    PointRole.TEXT_SELF: ("text encoder self-attention", "text tokens", "text tokens"),
    PointRole.DECODER_SELF: ("decoder self-attention", "text tokens", "text tokens"),
    PointRole.CROSS: ("decoder cross-attention", "text tokens", "image patches"),
}


def capture_point(
    module: nn.Module,
    name: str,
    role: PointRole,
    pattern: str,
    heads: int,
    *,
    label: str = "",
    queries: str = "",
    keys: str = "",
    modality: Modality | None = None,
) -> CapturePoint:
    """A point at the modules of `module` whose whole name matches `pattern`, in the order of the model.

    `label`, `queries` and `keys` say what it is and what rows and columns are, where that is not usual.
    """
    wanted = re.compile(pattern)
    modules = tuple(found for found, _ in module.named_modules() if wanted.fullmatch(found))
    if not modules:
        raise UnsupportedError(
            f"This build of transformers has no modules called {pattern}; update mmviewer."
        )
    usual = _LABELS.get(role, ("", "", ""))
    words = (label or usual[0], len(modules), heads, queries or usual[1], keys or usual[2], modules)
    return CapturePoint(name, role, *words, modality=modality)


def stacked(captured: Mapping[str, Sequence[Tensor]], name: str) -> Tensor:
    """Weights [L, H, Q, K] of the first item of the batch."""
    return torch.stack([weights[0] for weights in captured[name]])


def not_at_input(point: CapturePoint, what: str = "image") -> UnsupportedError:
    """What to raise for a point whose keys do not lead to positions of the input."""
    return UnsupportedError(f"The {point.label} does not look at the {what}; choose another point.")
