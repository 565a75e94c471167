"""Pictures cut into tiles with an overview beside them, as Idefics3 and SmolVLM look at them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from mmviewer.core.media.geometry import ImageGeometry
from mmviewer.core.models.base import Prepared
from mmviewer.core.models.vlm.eyes import Eyes, Look
from mmviewer.core.types import Media

_AROUND, _GLOBAL = "<fake_token_around_image>", "<global-img>"


class Tiles(Eyes):
    """A picture squashed to whole tiles, each encoded by itself, then an overview of the whole.

    The canvas holds the tiles side by side. The overview is made of the canvas, so that hiding a part of it
    hides it there too; what the library's resizing differs from ours is kept and added.

    Parameters
    ----------
    processor : object
        What ``AutoImageProcessor`` gives.
    token : str
        The image token.
    side : int
        Image tokens along each side of a tile.
    """

    def __init__(self, processor: Any, token: str, side: int) -> None:
        self._processor = processor
        self._token = token
        self._side = side

    def look(self, media: Media, device: torch.device, dtype: torch.dtype) -> Look:
        """Cut the picture as the library does."""
        assert media.pixels is not None
        encoded = self._processor(
            images=torch.from_numpy(media.pixels).permute(2, 0, 1),
            input_data_format="channels_first",
            return_row_col_info=True,
            return_tensors="pt",
        )
        tiles: Tensor = encoded["pixel_values"][0].to(device, dtype)  # [N, 3, h, w], the overview last
        rows, columns = int(encoded["rows"][0][0]), int(encoded["cols"][0][0])
        canvas = joined(tiles[:-1], rows, columns) if rows else tiles[-1:]
        inputs = {"pixels": canvas}
        if rows:
            inputs["overview"] = tiles[-1:] - shrunk(canvas, tiles.shape[-2:])
        height, width = canvas.shape[-2:]
        grid = (max(rows, 1) * self._side, max(columns, 1) * self._side)
        geometry = ImageGeometry.for_resize(media.size, (height, width), "squash", grid)
        spread = tile_shares(rows, columns, self._side).to(device) if rows else None
        return Look(inputs, geometry, self._placeholder(rows, columns), spread)

    def pixel_inputs(self, batch: Sequence[Prepared]) -> dict[str, Tensor]:
        """Tiles and overview of every picture [B, N, 3, h, w]."""
        canvas = torch.cat([prepared.inputs["pixels"] for prepared in batch])  # [B, 3, H, W]
        if "overview" not in batch[0].inputs:
            return {"pixel_values": canvas[:, None]}
        rest = torch.cat([prepared.inputs["overview"] for prepared in batch])  # [B, 3, h, w]
        height, width = rest.shape[-2:]
        tiles = split(canvas, (height, width))  # [B, N - 1, 3, h, w]
        overview = shrunk(canvas, (height, width)) + rest
        return {"pixel_values": torch.cat((tiles, overview[:, None]), dim=1)}

    def describe(self) -> str:
        """Size of the tiles and normalisation."""
        processor = self._processor
        side, longest = processor.max_image_size["longest_edge"], processor.size["longest_edge"]
        mean, deviation = (
            ", ".join(f"{x:.4g}" for x in part) for part in (processor.image_mean, processor.image_std)
        )
        how = f"longest edge {longest} px, squashed to whole tiles of {side} × {side} px, and an overview"
        if not processor.do_image_splitting:
            how = f"{side} × {side} px, squash"
        return f"{how}, mean {mean}, deviation {deviation}"

    def _placeholder(self, rows: int, columns: int) -> str:
        """Image tokens of each tile with its row and column, then those of the overview."""
        tokens = self._token * self._side**2
        text = "".join(
            "".join(f"{_AROUND}<row_{row}_col_{column}>{tokens}" for column in range(1, columns + 1)) + "\n"
            for row in range(1, rows + 1)
        )
        return text + ("\n" if rows else "") + f"{_AROUND}{_GLOBAL}{tokens}{_AROUND}"


def joined(tiles: Tensor, rows: int, columns: int) -> Tensor:
    """Put tiles [rows * columns, 3, h, w] side by side: [1, 3, H, W]."""
    _, channels, height, width = tiles.shape
    placed = tiles.reshape(rows, columns, channels, height, width).permute(2, 0, 3, 1, 4)
    return placed.reshape(1, channels, rows * height, columns * width)


def split(canvas: Tensor, size: tuple[int, int]) -> Tensor:
    """Cut canvases [B, 3, H, W] into tiles [B, N, 3, h, w], row by row."""
    batch, channels, height, width = canvas.shape
    rows, columns = height // size[0], width // size[1]
    placed = canvas.reshape(batch, channels, rows, size[0], columns, size[1]).permute(0, 2, 4, 1, 3, 5)
    return placed.reshape(batch, rows * columns, channels, *size)


def tile_shares(rows: int, columns: int, side: int) -> Tensor:
    """Where tokens of tiles and overview lie: [(rows * columns + 1) * side**2, P], rows summing to one.

    A token of a tile is one position. One of the overview covers `rows` x `columns` positions, and its weight
    is shared among them evenly.
    """
    height, width = rows * side, columns * side
    places = torch.arange(height * width).reshape(height, width)
    single = torch.eye(height * width)[split(places[None, None], (side, side)).flatten()]
    coarse = (torch.arange(height)[:, None] // rows) * side + torch.arange(width)[None] // columns
    overview = functional.one_hot(coarse.flatten(), side**2).T.float() / (rows * columns)
    return torch.cat((single, overview))


def shrunk(canvas: Tensor, size: Sequence[int]) -> Tensor:
    """Resize canvases [B, 3, H, W] to `size`, differentiably."""
    resized = functional.interpolate(
        canvas.float(), tuple(size), mode="bicubic", antialias=True, align_corners=False
    )
    return resized.to(canvas.dtype)
