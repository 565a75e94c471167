"""Pictures padded to one of several resolutions and cut into tiles, as LLaVA-NeXT looks at them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from transformers.image_processing_utils import get_patch_output_size, select_best_resolution
from transformers.image_utils import ChannelDimension

from mmviewer.core.errors import MediaError
from mmviewer.core.media.geometry import ImageGeometry
from mmviewer.core.models.base import Prepared
from mmviewer.core.models.vlm.eyes import Eyes, Look
from mmviewer.core.models.vlm.tiles import joined, shrunk, split
from mmviewer.core.types import Media

Size = tuple[int, int]


@dataclass(frozen=True, slots=True)
class _Fit:
    """How a picture lies on its canvas: size of the canvas, of the picture on it, and where that begins."""

    canvas: Size
    picture: Size
    start: Size


class AnyResolution(Eyes):
    """An overview, then tiles of the picture padded to the resolution that suits it best.

    Of the tiles' tokens those of the padding are left out, and a token for a new line ends every row.

    Parameters
    ----------
    processor : object
        What ``AutoImageProcessor`` gives.
    token : str
        The image token.
    pinpoints : list of (int, int)
        Heights and widths of canvases, pixels.
    tile, patch : int
        Sides in pixels.
    """

    def __init__(self, processor: Any, token: str, pinpoints: list[Any], tile: int, patch: int) -> None:
        self._processor = processor
        self._token = token
        self._pinpoints = pinpoints
        self._tile, self._patch = tile, patch

    def look(self, media: Media, device: torch.device, dtype: torch.dtype) -> Look:
        """Pad and cut the picture as the library does."""
        assert media.pixels is not None
        image = torch.from_numpy(media.pixels).permute(2, 0, 1)  # [3, H, W]
        fit = self._fit(image)
        spread = self._spread(fit, (image.shape[1], image.shape[2]))
        encoded = self._processor(images=image, input_data_format="channels_first", return_tensors="pt")
        tiles: Tensor = encoded["pixel_values"][0].to(device, dtype)  # [N, 3, h, w], the overview first
        rows, columns = (length // self._tile for length in fit.canvas)
        canvas = joined(tiles[1:], rows, columns)
        region = torch.tensor([*fit.start, *fit.picture])
        inputs = {
            "pixels": canvas,
            "overview": tiles[:1] - _overview(canvas, region, self._tile),
            "region": region,
            "size": torch.tensor(image.shape[1:]),
        }
        scales = (fit.picture[0] / media.size[0], fit.picture[1] / media.size[1])
        start = (float(fit.start[0]), float(fit.start[1]))
        grid = (fit.canvas[0] // self._patch, fit.canvas[1] // self._patch)
        patch = (self._patch, self._patch)
        geometry = ImageGeometry(media.size, fit.canvas, scales, start, grid, "pad", patch)
        return Look(inputs, geometry, self._token * len(spread), spread.to(device))

    def pixel_inputs(self, batch: Sequence[Prepared]) -> dict[str, Tensor]:
        """Overview and tiles of every picture [B, N, 3, h, w], and the pictures' sizes."""
        canvas = torch.cat([prepared.inputs["pixels"] for prepared in batch])  # [B, 3, H, W]
        rest = torch.cat([prepared.inputs["overview"] for prepared in batch])
        first = _overview(canvas, batch[0].inputs["region"], self._tile) + rest
        tiles = split(canvas, (self._tile, self._tile))
        sizes = torch.stack([prepared.inputs["size"] for prepared in batch])
        return {"pixel_values": torch.cat((first[:, None], tiles), dim=1), "image_sizes": sizes}

    def describe(self) -> str:
        """Resolutions and normalisation."""
        processor = self._processor
        mean, deviation = (
            ", ".join(f"{value:.4g}" for value in part)
            for part in (processor.image_mean, processor.image_std)
        )
        sizes = ", ".join(f"{width} × {height}" for height, width in self._pinpoints)
        return (
            f"padded to the best of {sizes} px, tiles of {self._tile} px and an overview, "
            f"mean {mean}, deviation {deviation}"
        )

    def _fit(self, image: Tensor) -> _Fit:
        height, width = image.shape[1:]
        best = select_best_resolution((height, width), self._pinpoints)
        high, wide = get_patch_output_size(image, best, ChannelDimension.FIRST)
        start = ((best[0] - high) // 2, (best[1] - wide) // 2)
        return _Fit((int(best[0]), int(best[1])), (int(high), int(wide)), start)

    def _spread(self, fit: _Fit, size: Size) -> Tensor:
        """Where the tokens lie [N, P]: the overview's, then rows of patches, each ended by a new line."""
        rows, columns = (length // self._patch for length in fit.canvas)
        side = self._tile // self._patch
        shares = [
            _overlaps(side, count, begin / self._patch, length / self._patch)
            for count, begin, length in zip((rows, columns), fit.start, fit.picture, strict=True)
        ]
        overview = torch.einsum("ap,bq->abpq", *shares).reshape(side**2, rows * columns)
        left_out = _padding(size, (rows, columns))
        places = torch.arange(rows * columns).reshape(rows, columns)
        seen = places[left_out[0] : rows - left_out[0], left_out[1] : columns - left_out[1]]
        if not seen.numel():
            raise MediaError(
                f"A picture of {size[1]} × {size[0]} pixels is too thin for this model; crop it to a less "
                "extreme shape."
            )
        single = torch.eye(rows * columns)[seen]  # [r, c, P]
        lines = torch.cat((single, torch.zeros(len(seen), 1, rows * columns)), dim=1).flatten(0, 1)
        return torch.cat((overview, lines))


def _padding(size: Size, grid: Size) -> Size:
    """Rows and columns of patches at either side that are padding, counted as the library counts them."""
    (height, width), (rows, columns) = size, grid
    if width / height > columns / rows:
        return (rows - int(round(height * (columns / width), 7))) // 2, 0
    return 0, (columns - int(round(width * (rows / height), 7))) // 2


def _overlaps(parts: int, cells: int, start: float, length: float) -> Tensor:
    """Shares [parts, cells] of equal parts of a stretch that fall on cells of length one; rows sum to one."""
    edges = start + torch.arange(parts + 1) * (length / parts)
    low, high = edges[:-1, None], edges[1:, None]
    cell = torch.arange(cells)[None]
    covered = (torch.minimum(high, cell + 1) - torch.maximum(low, cell)).clamp(min=0)
    return covered / covered.sum(1, keepdim=True)


def _overview(canvas: Tensor, region: Tensor, side: int) -> Tensor:
    """The picture on canvases [B, 3, H, W], squashed to a square."""
    top, left, height, width = region.tolist()
    return shrunk(canvas[:, :, top : top + height, left : left + width], (side, side))
