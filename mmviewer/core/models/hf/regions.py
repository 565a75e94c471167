"""Regions of a picture with a vector each, as models with bottom-up attention read them.

They come from a file beside the picture, or from a detector of transformers: its likeliest boxes, and its
backbone's features within them.
"""

from __future__ import annotations

import zipfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torchvision.ops import box_convert, roi_align

from mmviewer.core.errors import InputError
from mmviewer.core.media.geometry import ImageGeometry
from mmviewer.core.types import Media

ENDING = ".regions.npz"
COUNT = 36
"""Regions that are taken from a detector, as many as the models were trained with."""
_MOST = 100
_MOST_BYTES = 64 << 20
_SMALLEST = 1e-3  # share of the picture's side
_POOLED = 7  # places along each side of a region whose features are averaged


@dataclass(frozen=True, slots=True, eq=False)
class Regions:
    """Boxes [R, 4] (left, top, right, bottom, in shares of the picture), and their features if known [R, W].

    `name` is the file that they come from.
    """

    boxes: Tensor
    features: Tensor | None
    name: str


def read_beside(media: Media) -> Regions | None:
    """Read ``PICTURE.regions.npz``, which lies beside a picture; None where there is no such file.

    Its arrays are ``boxes`` [R, 4] (left, top, right, bottom, in pixels of the original) and, where they were
    computed elsewhere, ``features`` [R, W]. Raises `InputError` for a file that holds something else.
    """
    path = Path(f"{media.path}{ENDING}") if media.path else None
    try:
        if path is None or not path.is_file():
            return None
        found = _arrays(path)
        return _checked(found, media.size, path.name)
    except Exception as error:  # a broken archive may fail anywhere
        reason = str(error).strip("'\"")[:200]
        raise InputError(
            f"{path} cannot be read as regions ({reason}); it must hold “boxes” [R, 4] in pixels and, "
            "if they are known, “features” [R, W]. Mend it or take it away."
        ) from error


def shares_of_cells(boxes: Tensor, grid: tuple[int, int]) -> Tensor:
    """Share of each region that lies in each cell of a grid over the picture [R, P]; rows sum to one."""
    left, top, right, bottom = boxes.float().unbind(-1)
    down, across = _overlap(top, bottom, grid[0]), _overlap(left, right, grid[1])
    return (down[:, :, None] * across[:, None, :]).flatten(1)


class Detector:
    """A detector of transformers with a convolutional backbone (DETR), seen as a source of regions.

    Parameters
    ----------
    module : nn.Module
        ``DetrForObjectDetection``, frozen, on its device.
    processor : object
        Its image processor.
    name : str
        For people.
    cells, side : int
        Cells of maps along the longer side of a picture, and pixels along the side of a cell.
    """

    def __init__(self, module: nn.Module, processor: Any, name: str, cells: int = 16, side: int = 50) -> None:
        self.module = module
        self.name = name
        self._model: Any = module
        self._processor = processor
        self._cells, self._side = cells, side

    @property
    def width(self) -> int:
        """Size of a feature."""
        return int(self._model.model.backbone.intermediate_channel_sizes[-1])

    def grid(self, size: tuple[int, int]) -> tuple[int, int]:
        """Rows and columns of maps over a picture of height and width `size`."""
        return grid_of(size, self._cells)

    def canvas(self, media: Media, device: torch.device, dtype: torch.dtype) -> tuple[Tensor, ImageGeometry]:
        """Pixels [1, 3, H, W] of whole cells, and their geometry."""
        assert media.pixels is not None
        grid = self.grid(media.size)
        height, width = (count * self._side for count in grid)
        found = self._processor(
            images=torch.from_numpy(media.pixels).permute(2, 0, 1),
            size={"height": height, "width": width},
            do_pad=False,
            return_tensors="pt",
            input_data_format="channels_first",
        )
        geometry = ImageGeometry.for_resize(
            media.size, (height, width), "squash", grid, (self._side, self._side)
        )
        pixels: Tensor = found["pixel_values"]
        return pixels.to(device, dtype), geometry

    @torch.no_grad()
    def boxes(self, pixels: Tensor) -> Tensor:
        """Its likeliest boxes [R, 4] in shares of the picture, the likeliest first."""
        output = self._model(pixel_values=pixels)
        sure = output.logits[0].float().softmax(-1)[:, :-1].amax(-1)  # the last class is "no object"
        best = sure.topk(min(COUNT, len(sure))).indices
        corners = box_convert(output.pred_boxes[0, best].float(), "cxcywh", "xyxy").clamp(0, 1)
        return _wide_enough(corners)

    def features(self, pixels: Tensor, boxes: Tensor) -> Tensor:
        """Mean of the backbone's last map within each box [N, R, W], differentiable.

        `pixels` [N, 3, H, W], `boxes` [N, R, 4].
        """
        mask = torch.ones(len(pixels), *pixels.shape[2:], device=pixels.device)
        last: Tensor = self._model.model.backbone(pixels, mask)[-1][0].float()  # [N, W, h, w]
        scale = torch.tensor([*last.shape[:1:-1]] * 2, device=last.device)
        cut = [each.to(last) * scale for each in boxes]
        pooled: Tensor = roi_align(last, cut, _POOLED, aligned=True).mean((2, 3))
        return pooled.reshape(len(pixels), -1, pooled.shape[-1])

    def describe(self) -> str:
        """One line for provenance."""
        return f"regions of {self.name}, longer side {self._cells * self._side} px"


def grid_of(size: tuple[int, int], cells: int = 16) -> tuple[int, int]:
    """Rows and columns of nearly square cells, `cells` along the longer side."""
    longest = max(size)
    rows, columns = (max(1, round(cells * side / longest)) for side in size)
    return rows, columns


def _arrays(path: Path) -> dict[str, np.ndarray[Any, Any]]:
    with zipfile.ZipFile(path) as archive:
        if sum(each.file_size for each in archive.infolist()) > _MOST_BYTES:
            raise ValueError("it is too large")
    with np.load(path, allow_pickle=False) as opened:
        return {name: opened[name] for name in ("boxes", "features") if name in opened}


def _checked(found: dict[str, np.ndarray[Any, Any]], size: tuple[int, int], name: str) -> Regions:
    boxes = np.asarray(found["boxes"], dtype=np.float32)
    if boxes.ndim != 2 or boxes.shape[1] != 4 or not 1 <= len(boxes) <= _MOST:
        raise ValueError(f"“boxes” has the shape {boxes.shape}, not (1 to {_MOST}, 4)")
    height, width = size
    shares = torch.from_numpy(boxes / np.array([width, height, width, height], np.float32))
    inside = bool(torch.isfinite(shares).all()) and bool((shares >= -0.01).all() and (shares <= 1.01).all())
    if not inside or bool((shares[:, 2:] <= shares[:, :2]).any()):
        raise ValueError(f"a box lies outside of the picture of {width} × {height} pixels, or has no area")
    features = found.get("features")
    if features is None:
        return Regions(_wide_enough(shares.clamp(0, 1)), None, name)
    vectors = np.asarray(features, dtype=np.float32)
    if vectors.ndim != 2 or len(vectors) != len(boxes) or not np.isfinite(vectors).all():
        raise ValueError(f"“features” has the shape {vectors.shape} for {len(boxes)} boxes, or no numbers")
    return Regions(_wide_enough(shares.clamp(0, 1)), torch.from_numpy(vectors), name)


def _wide_enough(boxes: Tensor) -> Tensor:
    """Boxes of some area within the picture."""
    first = boxes[:, :2].clamp(max=1 - _SMALLEST)
    return torch.cat((first, torch.maximum(boxes[:, 2:], first + _SMALLEST)), dim=1)


def _overlap(first: Tensor, last: Tensor, count: int) -> Tensor:
    """Share [R, count] of each stretch that lies in each of equal parts of the whole."""
    edges = torch.arange(count + 1, device=first.device) / count
    inside = torch.minimum(last[:, None], edges[1:]) - torch.maximum(first[:, None], edges[:-1])
    return inside.clamp(min=0) / (last - first)[:, None]
