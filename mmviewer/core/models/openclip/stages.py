"""The stages of OpenCLIP's convolutional image towers, and of those that work in windows."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from open_clip.modified_resnet import ModifiedResNet
from open_clip.timm_model import TimmModel
from torch import Tensor, nn
from torch.func import functional_call

from mmviewer.core.models.stages import Stage
from mmviewer.core.types import CapturePoint, PointRole

STAGES = "vision.stages"


def find_stages(model: nn.Module) -> tuple[Stage, ...]:
    """Return the stages of the image tower, fine to coarse; empty where it has no feature maps.

    The last is what the pooling reads. Sizes come from a forward without values, which costs next to nothing.
    """
    visual: Any = model.visual
    places = _places(visual)
    if not places:
        return ()
    try:
        shapes = _shapes(visual, places)
    except (RuntimeError, NotImplementedError, TypeError, ValueError, AttributeError):
        # a tower of others may need real values; it then has no stages, and works all the same
        return ()
    stages = [_stage(place, shapes.get(place[:2])) for place in places]
    return _without_repeats([stage for stage in stages if stage is not None])


def stage_point(stages: Sequence[Stage]) -> tuple[CapturePoint, ...]:
    """The place that stands for the stages in a `ModelInfo`, if there are any."""
    if not stages:
        return ()
    label = "feature maps of the image tower"
    modules = tuple(stage.module for stage in stages)
    point = CapturePoint(
        STAGES, PointRole.FEATURES, label, len(stages), 1, "channels", "image regions", modules
    )
    return (point,)


_Place = tuple[str, bool, int | None]
"""Name of a module within the tower, whether its input is meant, and its channels where they are known."""


def _places(visual: Any) -> list[_Place]:
    if isinstance(visual, ModifiedResNet):
        return [(f"layer{index}", False, None) for index in range(1, 5)]
    if not isinstance(visual, TimmModel):
        return []
    information = getattr(visual.trunk, "feature_info", None) or ()
    listed = [(entry.get("module"), entry.get("num_chs")) for entry in information if isinstance(entry, dict)]
    names = {name for name, _ in visual.named_modules()}
    places: list[_Place] = [(f"trunk.{name}", False, channels) for name, channels in listed]
    width = visual.trunk.num_features
    poolings = ("trunk.global_pool", "trunk.head.global_pool", "head.pool")  # the last is open_clip's own
    places += [(pooling, True, width) for pooling in poolings]
    return [place for place in places if place[0] in names]


def _shapes(visual: Any, places: Sequence[_Place]) -> dict[tuple[str, bool], torch.Size]:
    """Shapes of the maps in a forward on the device that has no memory."""
    found: dict[tuple[str, bool], torch.Size] = {}

    def look(name: str, entering: bool) -> Any:
        def hook(_: nn.Module, inputs: tuple[Any, ...], output: Any = None) -> None:
            found[name, entering] = _shape(inputs[0] if entering else output)

        return hook

    handles = []
    for name, entering, _ in places:
        module = visual.get_submodule(name)
        register = module.register_forward_pre_hook if entering else module.register_forward_hook
        handles.append(register(look(name, entering)))
    size = visual.image_size
    height, width = size if isinstance(size, tuple | list) else (size, size)
    kept = (*visual.named_parameters(), *visual.named_buffers())
    empty = {name: torch.empty_like(value, device="meta") for name, value in kept}
    dtype = next(visual.parameters()).dtype
    try:
        with torch.no_grad():
            functional_call(visual, empty, (torch.empty(1, 3, height, width, dtype=dtype, device="meta"),))
    finally:
        for handle in handles:
            handle.remove()
    return found


def _shape(value: Any) -> torch.Size:
    return value.shape if isinstance(value, Tensor) else torch.Size()


def _stage(place: _Place, shape: torch.Size | None) -> Stage | None:
    """The stage at a place, or None where no map with the known channels is found there."""
    name, entering, channels = place
    if shape is None or len(shape) != 4 or min(shape) < 1:
        return None
    last = channels not in (None, shape[1]) and channels == shape[3]
    rows, columns, found = (shape[1], shape[2], shape[3]) if last else (shape[2], shape[3], shape[1])
    if channels not in (None, found):
        return None
    return Stage(f"visual.{name}", (rows, columns), found, entering, last)


def _without_repeats(stages: Sequence[Stage]) -> tuple[Stage, ...]:
    """Leave out a stage that the next only passes on: same cells, same channels."""
    kept: list[Stage] = []
    for stage in stages:
        if kept and (kept[-1].grid, kept[-1].channels) == (stage.grid, stage.channels):
            kept.pop()
        kept.append(stage)
    return tuple(kept)
