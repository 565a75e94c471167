"""Mllama (Llama 3.2 Vision): pictures at the corner of a tiled canvas, seen through gated cross-attention."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional
from transformers.models.mllama.image_processing_mllama import get_image_size_fit_to_canvas

from mmviewer.core.media.geometry import ImageGeometry
from mmviewer.core.models.base import Prepared
from mmviewer.core.models.hf.points import not_at_input, stacked
from mmviewer.core.models.vlm.eyes import Eyes, Look
from mmviewer.core.models.vlm.model import VisionLanguageModel
from mmviewer.core.models.vlm.tiles import joined, split
from mmviewer.core.types import CapturePoint, Media, PointRole

CROSS, DECODER = "decoder.cross", "decoder.self"


class TiledCanvas(Eyes):
    """The picture in the upper left corner of a canvas of a few tiles, each encoded with a class token.

    Parameters
    ----------
    processor : object
        What ``AutoImageProcessor`` gives.
    token : str
        The sign for a picture in the text, of which there is one.
    vision : object
        The configuration of the image encoder.
    """

    def __init__(self, processor: Any, token: str, vision: Any) -> None:
        self._processor = processor
        self._token = token
        self._ratios = vision.supported_aspect_ratios
        self._tile, self._patch = int(vision.image_size), int(vision.patch_size)
        self.tiles = int(vision.max_num_tiles)
        self.patches = (self._tile // self._patch) ** 2

    def look(self, media: Media, device: torch.device, dtype: torch.dtype) -> Look:
        """Resize, pad and cut the picture as the library does."""
        assert media.pixels is not None
        image = torch.from_numpy(media.pixels).permute(2, 0, 1)  # [3, H, W]
        encoded = self._processor(images=image, input_data_format="channels_first", return_tensors="pt")
        ratio = int(encoded["aspect_ratio_ids"][0, 0])
        rows, columns = self._ratios[ratio - 1]
        tiles: Tensor = encoded["pixel_values"][0, 0].to(device, dtype)  # [tiles, 3, h, w]
        canvas = joined(tiles[: rows * columns], rows, columns)
        size = (rows * self._tile, columns * self._tile)
        resized = get_image_size_fit_to_canvas(image.shape[1], image.shape[2], *size, self._tile)
        scale = (float(resized[0]) / media.size[0], float(resized[1]) / media.size[1])
        side = self._tile // self._patch
        inputs = {
            "pixels": canvas,
            "ratio": torch.tensor([[ratio]]),
            "keys": self._keys(rows, columns, side),
        }
        grid, patch = (rows * side, columns * side), (self._patch, self._patch)
        geometry = ImageGeometry(media.size, size, scale, (0.0, 0.0), grid, "pad", patch)
        return Look(inputs, geometry, self._token)

    def pixel_inputs(self, batch: Sequence[Prepared]) -> dict[str, Tensor]:
        """Tiles [B, 1, tiles, 3, h, w], and how they lie."""
        canvas = torch.cat([prepared.inputs["pixels"] for prepared in batch])
        tiles = split(canvas, (self._tile, self._tile))  # [B, n, 3, h, w]
        used = torch.arange(self.tiles, device=canvas.device) < tiles.shape[1]  # [tiles]
        ratios = torch.cat([prepared.inputs["ratio"] for prepared in batch])
        return {
            "pixel_values": functional.pad(tiles, (0,) * 7 + (self.tiles - tiles.shape[1],))[:, None],
            "aspect_ratio_ids": ratios.to(canvas.device),
            "aspect_ratio_mask": used.long().expand(len(batch), 1, -1),
        }

    def layout_inputs(self, batch: Sequence[Prepared], ids: Tensor) -> dict[str, Tensor]:
        """Which words come behind the picture, and so look at its tiles [B, T, 1, tiles]."""
        behind = torch.arange(ids.shape[1], device=ids.device) >= batch[0].inputs["places"].to(ids.device)
        used = torch.arange(self.tiles, device=ids.device) < len(batch[0].inputs["keys"]) // self.patches
        mask = (behind[:, None] & used)[None, :, None].long()
        return {"cross_attention_mask": mask.expand(len(batch), -1, -1, -1)}

    def step_inputs(self, prepared: Prepared, length: int) -> dict[str, Tensor]:
        """Which tiles a further word may look at; what they hold is kept by the model."""
        device = prepared.inputs["pixels"].device
        used = len(prepared.inputs["keys"]) // self.patches
        mask = (torch.arange(self.tiles, device=device) < used).long()
        return {"cross_attention_mask": mask[None, None, None]}

    def describe(self) -> str:
        """Size of the tiles and normalisation."""
        processor = self._processor
        mean, deviation = (
            ", ".join(f"{value:.4g}" for value in part)
            for part in (processor.image_mean, processor.image_std)
        )
        return (
            f"padded to at most {self.tiles} tiles of {self._tile} × {self._tile} px, "
            f"mean {mean}, deviation {deviation}"
        )

    def _keys(self, rows: int, columns: int, side: int) -> Tensor:
        """For each position of the picture, row by row, its key: tile by tile, behind a class token each."""
        tile = torch.arange(rows * columns)[:, None] * (1 + side**2)
        keys = (tile + 1 + torch.arange(side**2)[None]).reshape(rows, columns, side, side)
        return keys.permute(0, 2, 1, 3).flatten()


class TiledCrossModel(VisionLanguageModel):
    """A language model some of whose layers look at the tiles through gated cross-attention."""

    reads_picture_tokens = False
    keeps_pictures = False
    _eyes: TiledCanvas

    def position_weights(
        self,
        point: CapturePoint,
        captured: Mapping[str, Sequence[Tensor]],
        prepared: Prepared | None = None,
    ) -> Tensor:
        """Weights [L, H, Q, P] over the patches of the tiles in use, class tokens left out."""
        if point.role is PointRole.DECODER_SELF:
            raise not_at_input(point)
        if prepared is None:
            raise ValueError("how tiles lie differs from item to item: name the prepared item")
        weights = stacked(captured, point.name)
        return weights[..., prepared.inputs["keys"].to(weights.device)]

    def attention_size(self, point: CapturePoint, tokens: int) -> tuple[int, int]:
        """Rows and columns of `point`."""
        if point.role is PointRole.CROSS:
            return tokens, self._eyes.tiles * (1 + self._eyes.patches)
        return tokens, tokens


def gates(module: Any, layers: Sequence[int]) -> tuple[float, ...]:
    """Hyperbolic tangent of the gate of each layer with cross-attention."""
    every = module.model.language_model.layers
    return tuple(float(every[layer].cross_attn_attn_gate.detach().float().tanh()) for layer in layers)
