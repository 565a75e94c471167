"""Images on their way to an open_clip model, as far as no torch is needed."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

import numpy as np
from PIL import Image

from mmviewer.core.errors import InputError
from mmviewer.core.media.geometry import ImageGeometry
from mmviewer.core.models.preparation import Preparation, Ready
from mmviewer.core.types import Media, Modality

_LARGEST_RESIZED = 16_000_000
"""Pixels of a resized picture up to which open_clip's own transform is left to do it."""


@dataclass(frozen=True, slots=True)
class Resizing(Preparation):
    """What open_clip's evaluation transform does before it makes numbers of bytes, by Pillow alone.

    It gives "pixels" uint8 [1, H, W, 3], equal to the bytes within open_clip's transform; they are an eighth
    of what the model takes in the end, and the device makes the numbers.

    Parameters
    ----------
    label : str
        Of the model.
    input : tuple of int
        Height and width of what the model sees.
    mode : {"crop", "squash"}
    interpolation : str
    grid : tuple of int
        Rows and columns of patches.
    patch : tuple of int, optional
        As in `ImageGeometry`.
    """

    label: str
    input: tuple[int, int]
    mode: Literal["crop", "squash"]
    interpolation: str
    grid: tuple[int, int]
    patch: tuple[int, int] | None

    def __call__(self, media: Media) -> Ready:
        """Resize and crop an image."""
        if media.pixels is None:
            raise InputError(f"{media.name} is no image, which {self.label} needs; choose an image.")
        geometry = ImageGeometry.for_resize(media.size, self.input, self.mode, self.grid, self.patch)
        image = without_detour(Image.fromarray(media.pixels), geometry, self.interpolation)
        height, width = self.input
        if image.size != (width, height):
            sides = (round(size * scale) for size, scale in zip(geometry.source, geometry.scale, strict=True))
            resized_height, resized_width = sides
            image = image.resize((resized_width, resized_height), _filter(geometry, self.interpolation))
            top, left = (-round(offset) for offset in geometry.offset)
            image = image.crop((left, top, left + width, top + height))
        return Ready(media.id, Modality.IMAGE, {"pixels": np.asarray(image)[None]}, geometry)


def without_detour(image: Image.Image, geometry: ImageGeometry, interpolation: str) -> Image.Image:
    """Resize and crop in one step where the transform's resized picture would be enormous.

    A picture of 1 x 5000 pixels would grow to 224 x 1,120,000 before its centre is cut out. Pillow's filters
    read past a box, so the result is that of the transform, which then finds nothing left to do.
    """
    height, width = (size * scale for size, scale in zip(geometry.source, geometry.scale, strict=True))
    if geometry.mode != "crop" or height * width <= _LARGEST_RESIZED:
        return image
    # what the filters read around the part that the model sees; of the cubic one two pixels each way
    margin = math.ceil(4 * max(1, 1 / min(geometry.scale)))
    top, left, bottom, right = geometry.from_input(0, 0) + geometry.from_input(*geometry.input)
    y, x = max(math.floor(top) - margin, 0), max(math.floor(left) - margin, 0)
    end = (min(math.ceil(right) + margin, image.width), min(math.ceil(bottom) + margin, image.height))
    near = image.crop((x, y, *end))
    box = (max(left - x, 0), max(top - y, 0), min(right - x, near.width), min(bottom - y, near.height))
    return near.resize((geometry.input[1], geometry.input[0]), _filter(geometry, interpolation), box)


def _filter(geometry: ImageGeometry, interpolation: str) -> Image.Resampling:
    # open_clip crops to inputs that are not square after the cubic filter whatever the configuration says
    free = geometry.mode != "crop" or geometry.input[0] == geometry.input[1]
    linear = interpolation == "bilinear" and free
    return Image.Resampling.BILINEAR if linear else Image.Resampling.BICUBIC
