"""Stages of an encoder whose hidden states are feature maps, for methods that read them."""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any

from torch import Tensor, nn

from mmviewer.core.media.geometry import ImageGeometry


@dataclass(frozen=True, slots=True)
class Stage:
    """Where a feature map is found.

    Parameters
    ----------
    module : str
        Name within the whole model.
    grid : tuple of int
        Rows and columns of the map.
    channels : int
    entering : bool
        Whether the map is what enters the module (a pooling) rather than what leaves it.
    channels_last : bool
        Whether the module works on [B, R, C, channels].
    """

    module: str
    grid: tuple[int, int]
    channels: int
    entering: bool = False
    channels_last: bool = False

    def place(self, geometry: ImageGeometry) -> ImageGeometry:
        """Return the geometry of an input with the cells of this stage.

        Where the strides do not divide the input, padding has rounded the number of cells up: the cells then
        lie side by side from the first pixel on, some pixels off from where the convolutions centre them.
        """
        patch = tuple(math.ceil(side / cells) for side, cells in zip(geometry.input, self.grid, strict=True))
        exact = all(side % cells == 0 for side, cells in zip(geometry.input, self.grid, strict=True))
        return replace(geometry, grid=self.grid, patch=None if exact else (patch[0], patch[1]))


@contextmanager
def cut_at(model: nn.Module, stage: Stage) -> Iterator[list[Tensor]]:
    """Cut the graph at a stage while the model runs.

    Yields a list to which each forward adds the map of its stage, a leaf that asks for its gradient, as the
    module sees it: [B, channels, R, C], or channels last.
    """
    leaves: list[Tensor] = []

    def leaf(hidden: Tensor) -> Tensor:
        leaves.append(hidden.detach().requires_grad_())
        return leaves[-1]

    def before(_: nn.Module, inputs: tuple[Any, ...]) -> tuple[Any, ...]:
        return (leaf(inputs[0]), *inputs[1:])

    def after(_: nn.Module, __: tuple[Any, ...], output: Tensor) -> Tensor:
        return leaf(output)

    module = model.get_submodule(stage.module)
    handle = (
        module.register_forward_pre_hook(before) if stage.entering else module.register_forward_hook(after)
    )
    try:
        yield leaves
    finally:
        handle.remove()
