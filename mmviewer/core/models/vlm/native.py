"""Pictures at their own shape, cut into merged patches with places of their own, as Qwen2.5-VL sees them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from mmviewer.core.errors import MediaError
from mmviewer.core.media.geometry import ImageGeometry
from mmviewer.core.models.base import Prepared
from mmviewer.core.models.vlm.eyes import Eyes, Look
from mmviewer.core.types import Media

_MOST_TOKENS = 1280
"""Image tokens to which a picture is limited, the most that the makers advise."""
_THINNEST = 200


class NativeShape(Eyes):
    """A picture resized to whole merged patches, its shape kept as far as that allows.

    Parameters
    ----------
    processor : object
        What ``AutoImageProcessor`` gives.
    token : str
        The image token.
    token_id : int
    """

    def __init__(self, processor: Any, token: str, token_id: int) -> None:
        self._processor = processor
        self._token = token
        self._token_id = token_id
        self._side = int(processor.patch_size) * int(processor.merge_size)  # pixels of a merged patch
        limits = processor.size
        self._size = {
            "shortest_edge": int(limits["shortest_edge"]),
            "longest_edge": min(int(limits["longest_edge"]), self._side**2 * _MOST_TOKENS),
        }  # of both, the library means areas

    def look(self, media: Media, device: torch.device, dtype: torch.dtype) -> Look:
        """Resize and normalise as the library does; one token per merged patch."""
        assert media.pixels is not None
        height, width = media.pixels.shape[:2]
        if max(height, width) > _THINNEST * min(height, width):
            raise MediaError(
                f"A picture of {width} × {height} pixels is too thin for this model; crop it to a less "
                "extreme shape."
            )
        encoded = self._processor(
            images=torch.from_numpy(media.pixels).permute(2, 0, 1),
            input_data_format="channels_first",
            size=self._size,
            return_tensors="pt",
        )
        _, high, wide = encoded["image_grid_thw"][0].tolist()
        canvas = self._assembled(encoded["pixel_values"], high, wide).to(device, dtype)
        merge = int(self._processor.merge_size)
        grid = (high // merge, wide // merge)
        geometry = ImageGeometry.for_resize(
            media.size, (canvas.shape[2], canvas.shape[3]), "squash", grid, (self._side, self._side)
        )
        return Look({"pixels": canvas}, geometry, self._token * (grid[0] * grid[1]))

    def pixel_inputs(self, batch: Sequence[Prepared]) -> dict[str, Tensor]:
        """Flat patches of all pictures, and their grids."""
        canvas = torch.cat([prepared.inputs["pixels"] for prepared in batch])  # [B, 3, H, W]
        patch = int(self._processor.patch_size)
        grid = [1, canvas.shape[2] // patch, canvas.shape[3] // patch]
        grids = torch.tensor([grid] * len(batch), device=canvas.device)
        return {"pixel_values": self._flat(canvas), "image_grid_thw": grids}

    def layout_inputs(self, batch: Sequence[Prepared], ids: Tensor) -> dict[str, Tensor]:
        """The places of tokens in three dimensions [3, B, T]."""
        places = self._places(ids[0].tolist(), batch[0])  # [3, T]
        return {"position_ids": places[:, None].expand(-1, len(batch), -1).to(ids.device)}

    def step_inputs(self, prepared: Prepared, length: int) -> dict[str, Tensor]:
        """The place of the last token: those behind a picture start where its longer side ends."""
        lead = prepared.inputs["lead"].tolist()
        place = int(self._places(lead, prepared).max()) + length - len(lead)
        return {"position_ids": torch.full((3, 1, 1), place, device=prepared.inputs["pixels"].device)}

    def describe(self) -> str:
        """Limits of the size and normalisation."""
        processor = self._processor
        most = self._size["longest_edge"] // self._side**2
        mean, deviation = (
            ", ".join(f"{value:.4g}" for value in part)
            for part in (processor.image_mean, processor.image_std)
        )
        return (
            f"own shape in whole parts of {self._side} × {self._side} px, at most {most} of them, "
            f"mean {mean}, deviation {deviation}"
        )

    def _places(self, ids: list[int], prepared: Prepared) -> Tensor:
        """Time, row and column [3, T] of every token; words count on in all three."""
        geometry = prepared.geometry
        assert isinstance(geometry, ImageGeometry)
        rows, columns = geometry.grid
        start = ids.index(self._token_id)
        row = torch.arange(rows)[:, None].expand(rows, columns).flatten()
        column = torch.arange(columns).repeat(rows)
        picture = start + torch.stack((torch.zeros_like(row), row, column))  # [3, P]
        before = torch.arange(start).expand(3, -1)
        behind = len(ids) - start - rows * columns
        after = (start + max(rows, columns) + torch.arange(behind)).expand(3, -1)
        return torch.cat((before, picture, after), dim=1)

    def _flat(self, canvas: Tensor) -> Tensor:
        """Patches [B * h * w, 3 * frames * side**2] of canvases, those to be merged side by side."""
        frames = int(self._processor.temporal_patch_size)
        cut = self._cut(canvas.shape[2], canvas.shape[3])
        patches = canvas.reshape(len(canvas), 3, *cut).permute(0, 2, 5, 3, 6, 1, 4, 7)
        patches = patches.unsqueeze(6).expand(-1, -1, -1, -1, -1, -1, frames, -1, -1)
        return patches.reshape(-1, 3 * frames * cut[2] ** 2)

    def _assembled(self, flat: Tensor, high: int, wide: int) -> Tensor:
        """The inverse: the canvas [1, 3, H, W] of the patches of one picture."""
        processor = self._processor
        patch, frames = int(processor.patch_size), int(processor.temporal_patch_size)
        rows, merge, _, columns, *_ = self._cut(high * patch, wide * patch)
        one = flat.reshape(rows, columns, merge, merge, 3, frames, patch, patch)[:, :, :, :, :, 0]
        canvas = one.permute(4, 0, 2, 5, 1, 3, 6)  # [3, rows, merge, patch, columns, merge, patch]
        return canvas.reshape(1, 3, high * patch, wide * patch)

    def _cut(self, height: int, width: int) -> tuple[int, int, int, int, int, int]:
        """How each axis falls into merged patches, patches of these, and pixels."""
        patch, merge = int(self._processor.patch_size), int(self._processor.merge_size)
        return (height // self._side, merge, patch, width // self._side, merge, patch)
