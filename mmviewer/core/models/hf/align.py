"""ALIGN: a convolutional image tower, whose feature maps lead to places, beside BERT."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.func import functional_call

from mmviewer.core.models.base import Placement, Prepared
from mmviewer.core.models.hf.dual import EMBEDS, TEXT, DualEncoder
from mmviewer.core.models.hf.model import HfModel
from mmviewer.core.models.hf.pixels import Pixels, Size
from mmviewer.core.models.hf.points import capture_point
from mmviewer.core.models.hf.text import TextCodec
from mmviewer.core.models.identity import Identity
from mmviewer.core.models.preparation import Ready
from mmviewer.core.models.stages import Stage
from mmviewer.core.models.tower import Tower
from mmviewer.core.types import CapturePoint, PointRole

CONTEXT = 64
"""Tokens that ALIGN's texts had in its training; its processor cuts there too."""


class AlignEncoder(DualEncoder):
    """ALIGN with the stages of its EfficientNet."""

    def __init__(
        self,
        family: str,
        module: Any,
        pixels: Pixels,
        codec: TextCodec,
        placement: Placement,
        identity: Identity,
    ) -> None:
        self._stages = find_stages(module, pixels.input)
        self._pixels = pixels.with_grid(self._stages[-1].grid)
        HfModel.__init__(
            self,
            family,
            module,
            codec,
            placement,
            identity,
            capabilities=EMBEDS,
            points=self.find_points(module),
            preprocessing=pixels.describe(),
            features=(_stage_point(self._stages),),
        )

    def find_points(self, module: Any) -> tuple[CapturePoint, ...]:
        """Self-attention of the text tower, the only attention there is."""
        heads = module.config.text_config.num_attention_heads
        pattern = r"text_model\.encoder\.layer\.\d+\.attention\.self"
        return (capture_point(module, TEXT, PointRole.TEXT_SELF, pattern, heads),)

    def prepare(self, media: Any) -> Prepared:
        """Resize and normalise an image as the model was trained."""
        return self._placed(super().prepare(media))

    def receive(self, batch: Sequence[Ready]) -> list[Prepared]:
        """Complete images that another process has prepared."""
        return [self._placed(prepared) for prepared in super().receive(batch)]

    def _placed(self, prepared: Prepared) -> Prepared:
        """With the cells of the last feature map."""
        geometry = self._stages[-1].place(prepared.geometry)  # type: ignore[arg-type]
        return Prepared(prepared.media_id, prepared.modality, prepared.inputs, geometry)

    def text_inputs(self, texts: Sequence[str]) -> dict[str, Tensor]:
        """Texts fill the context; padding is masked."""
        return self._codec.batch(texts, padding="max_length")

    def logits(self, similarities: Tensor) -> tuple[Tensor, str]:
        """Divide by the temperature."""
        return similarities / self._model.temperature, "softmax"

    def tower(self) -> Tower | None:
        """None: the image tower is no stack of attention layers."""
        return None

    def stages(self) -> tuple[Stage, ...]:
        """The last feature map of each size."""
        return self._stages


def find_stages(model: Any, size: Size) -> tuple[Stage, ...]:
    """The last block of each resolution, fine to coarse, from a forward without values."""
    blocks = {f"vision_model.encoder.blocks.{index}": block for index, block in _blocks(model)}
    shapes: dict[str, torch.Size] = {}

    def look(name: str) -> Any:
        def hook(_: nn.Module, __: object, output: Tensor) -> None:
            shapes[name] = output.shape

        return hook

    handles = [block.register_forward_hook(look(name)) for name, block in blocks.items()]
    vision = model.vision_model
    kept = (*vision.named_parameters(), *vision.named_buffers())
    empty = {name: torch.empty_like(value, device="meta") for name, value in kept}
    pixels = torch.empty(1, 3, *size, dtype=next(vision.parameters()).dtype, device="meta")
    try:
        with torch.no_grad():
            functional_call(vision, empty, (pixels,))
    finally:
        for handle in handles:
            handle.remove()
    last = {(shape[2], shape[3]): (name, shape[1]) for name, shape in shapes.items()}
    return tuple(Stage(name, grid, channels) for grid, (name, channels) in last.items())


def _blocks(model: Any) -> list[tuple[int, nn.Module]]:
    return list(enumerate(model.vision_model.encoder.blocks))


def _stage_point(stages: Sequence[Stage]) -> CapturePoint:
    modules = tuple(stage.module for stage in stages)
    label = "feature maps of the image tower"
    words = ("channels", "image regions", modules)
    return CapturePoint("vision.stages", PointRole.FEATURES, label, len(stages), 1, *words)
