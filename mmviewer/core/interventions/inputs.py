"""Hiding parts of an item in its own pixels or samples, before any preprocessing (NumPy and Pillow)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageFilter

from mmviewer.core.errors import InputError
from mmviewer.core.interventions.recipe import HideRegion, KeepRegion, Region
from mmviewer.core.targets import Removal
from mmviewer.core.types import FloatArray, Media, Modality

_SEED = 0
_BLUR = 1 / 16
"""Standard deviation of the blur as a share of the picture's longer side: things lose their shape."""
_SLOW = 0.1  # seconds over which a sound is averaged: speech and notes are gone
_RAMP = 0.005  # seconds in which a sound goes over, so that the edge is no click

Pixels = NDArray[np.uint8]


def changed_item(media: Media, steps: Sequence[HideRegion | KeepRegion]) -> Media:
    """Return the item with its regions hidden in order, under the same id; `media` itself without steps.

    Raises
    ------
    InputError
        A region does not fit the kind of item, or lies outside of it.
    """
    for step in steps:
        if media.modality is Modality.IMAGE and media.pixels is not None:
            media = replace(media, pixels=_hidden_in_picture(media, step))
        elif media.modality is Modality.AUDIO and media.samples is not None:
            media = replace(media, samples=_hidden_in_sound(media, step))
        else:
            raise InputError(f"{media.name} has no regions to hide; choose an image or a sound.")
    return media


def picture_mask(region: Region, size: tuple[int, int], shape: tuple[int, int]) -> NDArray[np.bool_]:
    """Where a region of an original of `size` (H, W) lies in a copy of `shape`, [h, w].

    A pixel belongs to the region if its centre does.
    """
    if region.shape == "span":
        raise InputError("A stretch of time cannot be hidden in a picture; draw a box or an outline.")
    across, down = shape[1] / size[1], shape[0] / size[0]
    if region.shape == "box":
        left, top, right, bottom = region.bounds
        x = (np.arange(shape[1]) + 0.5) / across
        y = (np.arange(shape[0]) + 0.5) / down
        return ((y >= top) & (y < bottom))[:, None] & ((x >= left) & (x < right))[None]
    return _inside_outline(region.points, across, down, shape)


def _inside_outline(
    points: Sequence[tuple[float, float]], across: float, down: float, shape: tuple[int, int]
) -> NDArray[np.bool_]:
    """Even-odd rule at the centres of pixels: each edge turns everything right of it over, row by row."""
    turns = np.zeros((shape[0], shape[1] + 1), np.int32)
    y = np.arange(shape[0]) + 0.5
    for (x0, y0), (x1, y1) in zip(points, (*points[1:], points[0]), strict=True):
        rows = np.flatnonzero((y >= min(y0, y1) * down) & (y < max(y0, y1) * down))
        if len(rows):
            crossing = (x0 + (y[rows] / down - y0) * (x1 - x0) / (y1 - y0)) * across
            columns = np.clip(np.ceil(crossing - 0.5), 0, shape[1]).astype(np.intp)
            np.add.at(turns, (rows, columns), 1)
    inside: NDArray[np.bool_] = np.cumsum(turns, axis=1)[:, :-1] % 2 == 1
    return inside


def _hidden_in_picture(media: Media, step: HideRegion | KeepRegion) -> Pixels:
    assert media.pixels is not None
    inside = picture_mask(step.region, media.size, media.pixels.shape[:2])
    _check_inside(step.region, inside)
    hidden = inside if isinstance(step, HideRegion) else ~inside
    result = media.pixels.copy()
    result[hidden] = _picture_filling(media.pixels, step.by)[hidden]
    return result


def _picture_filling(pixels: Pixels, by: Removal) -> Pixels:
    """What stands in for a part of a picture [H, W, 3]."""
    if by == "blur":
        radius = max(pixels.shape[:2]) * _BLUR
        blurred: Pixels = np.asarray(Image.fromarray(pixels).filter(ImageFilter.GaussianBlur(radius)))
        return blurred
    flat = pixels.reshape(-1, 3)
    mean = flat.mean(0)
    if by == "mean":
        return np.broadcast_to(np.rint(mean).astype(np.uint8), pixels.shape)
    noise = np.random.default_rng(_SEED).standard_normal(pixels.shape, np.float32)
    noisy: Pixels = np.clip(np.rint(mean + flat.std(0) * noise), 0, 255).astype(np.uint8)
    return noisy


def _hidden_in_sound(media: Media, step: HideRegion | KeepRegion) -> FloatArray:
    assert media.samples is not None
    if step.region.shape != "span":
        raise InputError("A box cannot be hidden in a sound; choose a stretch of time.")
    start, end = step.region.points[0]
    if end <= 0 or start >= media.duration:
        raise _outside(step.region)
    seconds = (np.arange(len(media.samples)) + 0.5) / media.sample_rate
    ramp = min(_RAMP, (end - start) / 2)
    share = np.interp(seconds, (start, start + ramp, end - ramp, end), (0, 1, 1, 0)).astype(np.float32)
    if isinstance(step, KeepRegion):
        share = 1 - share
    filling = _sound_filling(media.samples, media.sample_rate, step.by)
    mixed: FloatArray = media.samples * (1 - share) + filling * share
    return mixed


def _sound_filling(samples: FloatArray, rate: int, by: Removal) -> FloatArray:
    """What stands in for a part of a sound [N]."""
    if by == "blur":
        width = max(1, round(_SLOW * rate))
        sums = np.cumsum(np.pad(samples.astype(np.float64), (width // 2 + 1, width - width // 2 - 1), "edge"))
        slow: FloatArray = ((sums[width:] - sums[:-width]) / width).astype(np.float32)
        return slow
    mean = samples.mean(dtype=np.float64)
    if by == "mean":
        return np.full_like(samples, mean)
    noise = np.random.default_rng(_SEED).standard_normal(len(samples), np.float32)
    noisy: FloatArray = (mean + samples.std(dtype=np.float64) * noise).astype(np.float32)
    return noisy


def _check_inside(region: Region, inside: NDArray[np.bool_]) -> None:
    if not inside.any():
        raise _outside(region)


def _outside(region: Region) -> InputError:
    return InputError(f"The region {region.words} lies outside of the item; draw it again on this one.")
