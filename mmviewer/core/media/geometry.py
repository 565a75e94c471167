"""The exact map between positions of a model's input and original pixels or seconds (NumPy only)."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import lru_cache
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from mmviewer.core.errors import MediaError

FloatArray = NDArray[np.float32]
Box = tuple[float, float, float, float]
Interpolation = Literal["bilinear", "bicubic", "nearest"]
ResizeMode = Literal["squash", "crop", "pad"]


@dataclass(frozen=True, slots=True)
class ImageGeometry:
    """How an image of `source` size became a model input of `input` size, cut into a `grid` of patches.

    Coordinates are continuous, with pixel edges at integers: ``input = source * scale + offset`` per axis.
    `source` is always the size of the original image. A reduced copy for display covers the same extent:
    multiply its coordinates by ``source / copy`` size, or ask `to_source` for a map of the copy's size.

    Parameters
    ----------
    source : tuple of int
        Height and width of the original image, pixels.
    input : tuple of int
        Height and width of what the model sees, pixels.
    scale, offset : tuple of float
        Per axis (y, x): input pixels per source pixel, and shift in input pixels.
    grid : tuple of int
        Rows and columns of patches.
    mode : str
        "squash", "crop" or "pad": named in every figure's provenance.
    patch : tuple of int, optional
        Height and width of a patch in input pixels; by default the whole number of input pixels per patch.
        Input pixels past ``grid * patch`` are not seen, as in a strided convolution without padding.
    """

    source: tuple[int, int]
    input: tuple[int, int]
    scale: tuple[float, float]
    offset: tuple[float, float]
    grid: tuple[int, int]
    mode: str
    patch: tuple[int, int] | None = None

    @classmethod
    def for_resize(
        cls,
        source: tuple[int, int],
        input: tuple[int, int],  # noqa: A002 - the field's name
        mode: ResizeMode,
        grid: tuple[int, int],
        patch: tuple[int, int] | None = None,
    ) -> ImageGeometry:
        """Geometry of open_clip's evaluation transforms, with torchvision's integer rounding.

        Parameters
        ----------
        mode : {"squash", "crop", "pad"}
            open_clip's resize modes "squash", "shortest" (then centre crop) and "longest" (then padding).

        Raises
        ------
        MediaError
            If the image is so thin that nothing of it would be left.
        """
        if min(*source, *input, *grid) < 1:
            raise ValueError(f"sizes must be positive: source {source}, input {input}, grid {grid}")
        resized = _resized_size(source, input, mode)
        if min(resized) < 1:
            raise MediaError(
                f"A picture of {source[1]} × {source[0]} pixels is too thin for this model, which would "
                "shrink its short side to nothing; crop it to a less extreme shape."
            )
        offset = (_centre_offset(resized[0], input[0]), _centre_offset(resized[1], input[1]))
        scale = (resized[0] / source[0], resized[1] / source[1])
        return cls(source, input, scale, (float(offset[0]), float(offset[1])), grid, mode, patch)

    @property
    def patch_size(self) -> tuple[float, float]:
        """Height and width of a patch in input pixels."""
        if self.patch is not None:
            return (float(self.patch[0]), float(self.patch[1]))
        rows, columns = self.grid
        return (_patch_length(self.input[0], rows), _patch_length(self.input[1], columns))

    @property
    def visible(self) -> Box:
        """Top, left, bottom and right, in source pixels, of the part that the model saw."""
        (top, bottom), (left, right) = self._seen(0), self._seen(1)
        return (top, left, bottom, right)

    def to_input(self, y: float, x: float) -> tuple[float, float]:
        """Carry a point of the source to the model's input; it may lie outside of it."""
        return (y * self.scale[0] + self.offset[0], x * self.scale[1] + self.offset[1])

    def from_input(self, y: float, x: float) -> tuple[float, float]:
        """Carry a point of the model's input to the source; it may lie outside of it (padding)."""
        return ((y - self.offset[0]) / self.scale[0], (x - self.offset[1]) / self.scale[1])

    def cell_at(self, y: float, x: float) -> tuple[int, int] | None:
        """Row and column of the patch that saw the source point, or None where the model saw nothing."""
        top, left, bottom, right = self.visible
        if not (top <= y < bottom and left <= x < right):
            return None
        rows, columns = self.grid
        height, width = self.patch_size
        input_y, input_x = self.to_input(y, x)
        # min and max: rounding at the very edge of the visible part must not leave the grid
        row = min(max(int(input_y // height), 0), rows - 1)
        column = min(max(int(input_x // width), 0), columns - 1)
        return (row, column)

    def cell_box(self, row: int, column: int) -> Box:
        """Top, left, bottom and right of a patch in source pixels, cut at the image's edges.

        The box of a patch that lies wholly in the padding has no area.
        """
        height, width = self.patch_size
        top, left = self.from_input(row * height, column * width)
        bottom, right = self.from_input((row + 1) * height, (column + 1) * width)
        source_height, source_width = self.source
        return (
            min(max(top, 0.0), source_height),
            min(max(left, 0.0), source_width),
            min(max(bottom, 0.0), source_height),
            min(max(right, 0.0), source_width),
        )

    def to_source(
        self,
        values: NDArray[np.floating],
        interpolation: Interpolation = "bilinear",
        size: tuple[int, int] | None = None,
    ) -> FloatArray:
        """Carry a map over patches to the original picture.

        Parameters
        ----------
        values : array [R, C]
            One value per patch.
        interpolation : {"bilinear", "bicubic", "nearest"}
            "nearest" shows patches as they are. Bicubic (Catmull-Rom) is cut at the range of `values`.
        size : tuple of int, optional
            Height and width of the result, which always covers the whole picture; by default `source`.

        Returns
        -------
        float32 array [H, W]
            NaN where the model saw nothing, and where the nearest patch has no finite value.
        """
        grid = np.asarray(values, dtype=np.float32)
        if grid.shape != self.grid:
            raise ValueError(f"a map of shape {grid.shape} does not fit a grid of {self.grid} patches")
        height, width = size or self.source
        rows, columns = self._axis(0, height, interpolation), self._axis(1, width, interpolation)
        result = np.full((height, width), np.nan, dtype=np.float32)
        seen = result[rows.first : rows.last, columns.first : columns.last]
        finite = np.isfinite(grid)
        np.matmul(rows.weights @ np.where(finite, grid, 0), columns.weights.T, out=seen)  # [h, w]
        if not finite.all():
            seen[~finite[rows.nearest][:, columns.nearest]] = np.nan
        if interpolation == "bicubic" and finite.any():
            np.clip(seen, grid[finite].min(), grid[finite].max(), out=seen)
        return result

    def weights(self, axis: int, length: int, interpolation: Interpolation) -> FloatArray:
        """How much each patch along an axis counts for each seen pixel of `length`, [n, R] or [n, C].

        What `to_source` mixes by, for whoever has many maps; bicubic results are still to be cut.
        """
        return self._axis(axis, length, interpolation).weights

    def _seen(self, axis: int) -> tuple[float, float]:
        """First and last source coordinate on `axis` that fall on a patch."""
        scale, offset = self.scale[axis], self.offset[axis]
        covered = min(self.grid[axis] * self.patch_size[axis], self.input[axis])
        return (max(0.0, -offset / scale), min(float(self.source[axis]), (covered - offset) / scale))

    def _axis(self, axis: int, length: int, interpolation: Interpolation) -> _Axis:
        return _axis_weights(
            self.source[axis],
            self.scale[axis],
            self.offset[axis],
            self.patch_size[axis],
            self.grid[axis],
            self._seen(axis),
            length,
            interpolation,
        )


@dataclass(frozen=True, slots=True)
class TimeGeometry:
    """How positions of an audio encoder lie in the original sound.

    Position `i` covers ``start + i * step`` to ``start + (i + 1) * step`` seconds; positions past `duration`
    are padding.

    Parameters
    ----------
    duration : float
        Length of the original sound, seconds.
    step : float
        Seconds per position.
    positions : int
        How many positions the model has, padding included.
    start : float
        Time at which the model's window begins, seconds.
    """

    duration: float
    step: float
    positions: int
    start: float = 0.0

    @property
    def valid(self) -> int:
        """How many positions, counted from the first, begin inside the sound; the rest is padding."""
        # rounded first: 3.4 / 0.02 must give 170 positions, not 171
        inside = math.ceil(round((self.duration - self.start) / self.step, 6))
        return min(max(inside, 0), self.positions)

    @property
    def visible(self) -> tuple[float, float]:
        """First and last second of the sound that the model heard."""
        end = self.start + self.positions * self.step
        return (max(self.start, 0.0), max(min(end, self.duration), 0.0))

    def span(self, index: int) -> tuple[float, float]:
        """First and last second of a position."""
        return (self.start + index * self.step, self.start + (index + 1) * self.step)

    def index_at(self, seconds: float) -> int | None:
        """Position that covers `seconds`, or None outside of the sound or of the model's window."""
        if not 0 <= seconds < self.duration:
            return None
        # the small term keeps 0.06 s at step 0.02 s in position 3 in spite of rounding
        index = math.floor((seconds - self.start) / self.step + 1e-9)
        return index if 0 <= index < self.positions else None

    def to_source(
        self, values: NDArray[np.floating], samples: int, interpolation: Interpolation = "bilinear"
    ) -> FloatArray:
        """Carry a map over positions to `samples` points spread evenly over the whole sound.

        Parameters
        ----------
        values : array [P]
            One value per position.
        interpolation : str
            "nearest" shows positions as they are; all others are linear between their centres.

        Returns
        -------
        float32 array [samples]
            NaN where the model heard nothing.
        """
        curve = np.asarray(values, dtype=np.float32)
        if curve.shape != (self.positions,):
            raise ValueError(f"a map of shape {curve.shape} does not fit {self.positions} positions")
        heard = self.valid  # what the model saw in the padding must not bleed into the end of the sound
        if heard == 0:
            return np.full(samples, np.nan, dtype=np.float32)
        seconds = (np.arange(samples) + 0.5) * (self.duration / max(samples, 1))
        place = (seconds - self.start) / self.step  # in positions
        if interpolation == "nearest":
            result: FloatArray = curve[np.clip(np.floor(place + 1e-9), 0, heard - 1).astype(np.intp)]
        else:
            result = np.interp(place - 0.5, np.arange(heard), curve[:heard]).astype(np.float32)
        first, last = self.visible
        result[(seconds < first) | (seconds >= last)] = np.nan
        return result


def _resized_size(source: tuple[int, int], target: tuple[int, int], mode: ResizeMode) -> tuple[int, int]:
    """Size after the resize step, before crop or padding, rounded as torchvision and open_clip round."""
    if mode == "squash":
        return target
    height, width = source
    if mode == "crop" and target[0] == target[1]:
        # torchvision.transforms.Resize of the short edge cuts the long edge off to a whole pixel
        short = target[0]
        long = int(short * max(source) / min(source))
        return (long, short) if width <= height else (short, long)
    if mode not in ("crop", "pad"):
        raise ValueError(f"unknown resize mode {mode!r}")
    # open_clip's ResizeKeepRatio rounds both edges to the nearest
    ratios = (height / target[0], width / target[1])
    ratio = min(ratios) if mode == "crop" else max(ratios)
    return (round(height / ratio), round(width / ratio))


def _centre_offset(length: int, target: int) -> int:
    """Shift of a resized axis under torchvision's centre crop (negative) or open_clip's centred padding."""
    if target > length:
        return (target - length) // 2
    return -round((length - target) / 2)


def _patch_length(length: int, count: int) -> float:
    return float(length // count) if length >= count else length / count


@dataclass(frozen=True, slots=True, eq=False)
class _Axis:
    """One axis of `to_source`: result pixels `first` to `last` were seen.

    `nearest` [n] is the patch of each of them, `weights` [n, R] mixes patches into them.
    """

    first: int
    last: int
    nearest: NDArray[np.intp]
    weights: FloatArray


@lru_cache(maxsize=64)
def _axis_weights(
    source: int,
    scale: float,
    offset: float,
    patch: float,
    count: int,
    seen: tuple[float, float],
    length: int,
    interpolation: Interpolation,
) -> _Axis:
    """Interpolation along one axis; cached, because every token of a sequence asks for the same."""
    centres = (np.arange(length) + 0.5) * (source / length)
    inside = np.flatnonzero((centres >= seen[0]) & (centres < seen[1]))
    first, last = (int(inside[0]), int(inside[-1]) + 1) if len(inside) else (0, 0)
    position = (centres[first:last] * scale + offset) / patch  # [n], in patches
    nearest = np.clip(np.floor(position), 0, count - 1).astype(np.intp)
    weights = np.zeros((last - first, count), dtype=np.float32)
    if interpolation == "nearest":
        weights[np.arange(last - first), nearest] = 1
        return _Axis(first, last, nearest, weights)
    base = np.floor(position - 0.5)
    for tap, weight in _taps(position - 0.5 - base, interpolation):
        index = np.clip(base + tap, 0, count - 1).astype(np.intp)
        # one tap adds to each row once, so a plain indexed sum is exact
        weights[np.arange(last - first), index] += weight.astype(np.float32)
    return _Axis(first, last, nearest, weights)


def _taps(
    fraction: NDArray[np.float64], interpolation: Interpolation
) -> tuple[tuple[int, NDArray[np.float64]], ...]:
    """Neighbours of a position, relative to the patch centre before it, and their weights."""
    t: NDArray[np.float64] = fraction
    if interpolation == "bilinear":
        return ((0, 1 - t), (1, t))
    return (
        (-1, ((-0.5 * t + 1) * t - 0.5) * t),
        (0, (1.5 * t - 2.5) * t * t + 1),
        (1, ((-1.5 * t + 2) * t + 0.5) * t),
        (2, (0.5 * t - 0.5) * t * t),
    )
