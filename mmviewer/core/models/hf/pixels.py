"""Images as a transformers model takes them, with the exact way back to the original."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor

from mmviewer.core.errors import InputError, MediaError
from mmviewer.core.media.geometry import ImageGeometry
from mmviewer.core.models.preparation import Preparation, Ready
from mmviewer.core.types import Media, Modality

_LARGEST_RESIZED = 16_000_000
"""Pixels of a resized picture up to which the processor is left to resize before it crops."""

Size = tuple[int, int]


class Pixels:
    """An image processor of transformers that resizes to a square or shortest edge, and may crop.

    Parameters
    ----------
    processor : object
        What ``AutoImageProcessor`` gives.
    patch : int
        Side of a patch in input pixels.
    grid : tuple of int, optional
        Rows and columns of the model's positions; by default as many whole patches as fit.
    """

    def __init__(self, processor: Any, patch: int, grid: Size | None = None) -> None:
        self._processor = processor
        self._patch = patch
        self._grid = grid

    @property
    def input(self) -> Size:
        """Height and width of what the model sees."""
        if self._crops:
            return _pair(self._processor.crop_size)
        return _pair(self._processor.size)

    @property
    def resized_side(self) -> int:
        """The longer side of a square picture between resizing and crop."""
        return max(self._resized((64, 64)))

    @property
    def grid(self) -> Size:
        """Rows and columns of positions."""
        if self._grid is not None:
            return self._grid
        height, width = self.input
        return height // self._patch, width // self._patch

    def with_grid(self, grid: Size) -> Pixels:
        """The same for a model whose positions form another grid."""
        return Pixels(self._processor, self._patch, grid)

    def prepare(self, media: Media, device: torch.device, dtype: torch.dtype) -> tuple[Tensor, ImageGeometry]:
        """Pixels [1, 3, H, W] and their geometry."""
        assert media.pixels is not None
        image = torch.from_numpy(media.pixels).permute(2, 0, 1)  # [3, H, W]
        resized = self._resized((image.shape[1], image.shape[2]))
        shown = (media.size[0] / image.shape[1], media.size[1] / image.shape[2])
        if self._crops and resized[0] * resized[1] > _LARGEST_RESIZED:
            image, scale, offset = self._cut_out(image, resized)
            options: dict[str, Any] = {"size": dict(zip(("height", "width"), self.input, strict=True))}
        else:
            offset = (
                float(_crop_offset(resized[0], self.input[0])),
                float(_crop_offset(resized[1], self.input[1])),
            )
            scale = (resized[0] / image.shape[1], resized[1] / image.shape[2])
            options = {}
        values = self._processor(
            images=image, return_tensors="pt", input_data_format="channels_first", **options
        )
        geometry = ImageGeometry(
            source=media.size,
            input=self.input,
            scale=(scale[0] / shown[0], scale[1] / shown[1]),
            offset=offset,
            grid=self.grid,
            mode="crop" if self._crops else "squash",
            patch=None if self._grid is not None else (self._patch, self._patch),
        )
        pixels: Tensor = values if isinstance(values, Tensor) else values["pixel_values"]
        return pixels.to(device, dtype), geometry

    def describe(self) -> str:
        """One line for provenance."""
        processor = self._processor
        height, width = self.input
        how = "shortest edge" if _get(processor.size, "shortest_edge") else "squash"
        how += ", then centre crop" if self._crops else ""
        words = f"{height} × {width} px, {how}"
        if processor.do_normalize:
            numbers = [
                ", ".join(f"{value:.4g}" for value in _listed(part)) for part in _statistics(processor)
            ]
            words += f", mean {numbers[0]}, deviation {numbers[1]}"
        return words

    @property
    def _crops(self) -> bool:
        return bool(getattr(self._processor, "do_center_crop", False))

    def _resized(self, size: Size) -> Size:
        """Size after the resizing, before the crop; rounded as transformers rounds."""
        processor = self._processor
        if not processor.do_resize:
            return size
        wanted = processor.size
        edge = _get(wanted, "shortest_edge")
        if not edge:
            return _pair(wanted)
        short, long = sorted(size)
        found = (int(edge), int(edge * long / short))
        if found[1] > 100_000 * found[0]:
            raise MediaError(
                f"A picture of {size[1]} × {size[0]} pixels is too thin for this model; crop it to a less "
                "extreme shape."
            )
        return found if size[0] <= size[1] else (found[1], found[0])

    def _cut_out(
        self, image: Tensor, resized: Size
    ) -> tuple[Tensor, tuple[float, float], tuple[float, float]]:
        """The part of a very long picture that is seen, to be resized alone; its scale and offset."""
        found = []
        for axis in (0, 1):
            length, ratio = image.shape[1 + axis], resized[axis] / image.shape[1 + axis]
            first = max(math.floor(-_crop_offset(resized[axis], self.input[axis]) / ratio), 0)
            last = min(first + max(round(self.input[axis] / ratio), 1), length)
            found.append((first, last))
        (top, bottom), (left, right) = found
        scale = (self.input[0] / (bottom - top), self.input[1] / (right - left))
        return image[:, top:bottom, left:right], scale, (-top * scale[0], -left * scale[1])


class Processing(Preparation):
    """Images by the processor of a transformers model, as "pixels" float32 [1, 3, H, W]."""

    def __init__(self, pixels: Pixels, label: str) -> None:
        self._pixels = pixels
        self._label = label

    def __call__(self, media: Media) -> Ready:
        """Resize and normalise an image."""
        if media.pixels is None:
            raise InputError(f"{media.name} is no image, which {self._label} needs; choose an image.")
        values, geometry = self._pixels.prepare(media, torch.device("cpu"), torch.float32)
        return Ready(media.id, Modality.IMAGE, {"pixels": values.numpy()}, geometry)


def _crop_offset(length: int, target: int) -> int:
    """Shift of a resized axis under the centred crop, or padding where it is shorter."""
    return (target - length) // 2 if target > length else -int((length - target) / 2)


def _pair(size: Any) -> Size:
    edge = _get(size, "shortest_edge")
    if edge:
        return int(edge), int(edge)
    return int(_get(size, "height")), int(_get(size, "width"))


def _get(size: Any, name: str) -> Any:
    return size.get(name) if isinstance(size, dict) else getattr(size, name, None)


def _statistics(processor: Any) -> tuple[Any, Any]:
    return processor.image_mean, processor.image_std


def _listed(value: Any) -> list[float]:
    return list(value) if isinstance(value, list | tuple) else [float(value)]
