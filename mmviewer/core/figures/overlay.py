"""Paint a map over a picture so that the colours are the map's and the picture is still recognised.

NumPy only; packed 32-bit pixels and blocks of rows that stay in the processor's cache keep a picture of
1024 x 1024 within a few milliseconds.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

Pixels = NDArray[np.uint8]
Packed = NDArray[np.uint32]

_BLOCK_VALUES = 65_536
_RED_BLUE = np.uint32(0x00FF00FF)
_GREEN = np.uint32(0x0000FF00)
_EIGHT = np.uint32(8)
_HATCH_PERIOD = 12
_HATCH_WIDTH = 2
# grey added, and share of 256 of the picture kept, between and on the lines of the unseen part
_UNSEEN_MIX, _HATCHED_MIX = (26, 130), (104, 84)
_UNSEEN, _HATCHED = 256, 257  # entries of the tables past the 256 levels
_LUMA = np.array([0.299, 0.587, 0.114], dtype=np.float32)  # ITU-R BT.601


def colour_range(values: NDArray[np.floating], signed: bool) -> tuple[float, float]:
    """Range of a colour bar: from zero to the largest value, or symmetric about zero; never empty."""
    finite = values[np.isfinite(values)]
    if not finite.size:
        return (-1.0, 1.0) if signed else (0.0, 1.0)
    if signed:
        top = float(np.abs(finite).max()) or 1.0
        return (-top, top)
    low, high = min(0.0, float(finite.min())), float(finite.max())
    return (low, high) if high > low else (low, low + 1.0)


@dataclass(frozen=True, slots=True, eq=False)
class Backdrop:
    """A picture prepared for maps over it: dimmed and less saturated, kept while only the map changes.

    Make one with `of`, then call `paint` for every map.
    """

    red_blue: Packed
    green: Packed
    opacity: float

    @classmethod
    def of(cls, pixels: Pixels, opacity: float = 0.65) -> Backdrop:
        """Prepare a picture [H, W, 3] for maps of `opacity` 0 (only the picture) to 1 (only the map)."""
        opacity = min(max(opacity, 0.0), 1.0)
        packed = _pack(dimmed(pixels, opacity))
        return cls(packed & _RED_BLUE, packed & _GREEN, opacity)

    def paint(
        self,
        values: NDArray[np.float32],
        lut: Pixels,
        vmin: float,
        vmax: float,
        hatch: bool = True,
    ) -> Pixels:
        """Paint a map over the picture.

        Parameters
        ----------
        values : float32 array [H, W]
            Of the picture's size; NaN where the model saw nothing.
        lut : uint8 array [256, 3]
        vmin, vmax : float
            Values of the first and the last colour. When they differ in sign, zero is the least opaque.
        hatch : bool
            Whether to hatch the unseen part, else it is only dimmed.

        Returns
        -------
        uint8 array [H, W, 4]
            Opaque RGBA.
        """
        height, width = self.green.shape
        if values.shape != (height, width):
            raise ValueError(f"a map of shape {values.shape} does not fit a picture of {(height, width)}")
        colours, keep = _tables(lut.tobytes(), self.opacity, vmin < 0 < vmax)
        result = np.empty((height, width), dtype=np.uint32)
        rows = max(1, _BLOCK_VALUES // width)
        scale = np.float32(255 / (vmax - vmin)) if vmax > vmin else np.float32(0)
        for top in range(0, height, rows):
            block = slice(top, top + rows)
            index = _levels(values[block], np.float32(vmin), scale, top if hatch else None)
            self._mix(colours[index], keep[index], block, result[block])
        return result.view(np.uint8).reshape(height, width, 4)

    def _mix(self, colours: Packed, keep: Packed, block: slice, out: Packed) -> None:
        # two colour channels in one multiplication: 8 bits each, 8 bits apart
        red_blue = self.red_blue[block] * keep
        green = self.green[block] * keep
        red_blue >>= _EIGHT
        green >>= _EIGHT
        red_blue &= _RED_BLUE
        green &= _GREEN
        np.add(colours, red_blue, out=out)
        out += green


def paint(
    pixels: Pixels,
    values: NDArray[np.float32],
    lut: Pixels,
    vmin: float,
    vmax: float,
    opacity: float = 0.65,
    hatch: bool = True,
) -> Pixels:
    """Paint a map over a picture once, as RGB [H, W, 3]; for many maps over one picture keep a `Backdrop`."""
    return np.ascontiguousarray(Backdrop.of(pixels, opacity).paint(values, lut, vmin, vmax, hatch)[..., :3])


def dimmed(pixels: Pixels, opacity: float) -> Pixels:
    """The picture as it stands under a map: the more opaque the map, the greyer and darker, up to a limit."""
    strength = min(1.0, 2 * opacity)
    saturation, brightness = 1 - 0.65 * strength, 1 - 0.12 * strength
    grey = pixels @ _LUMA  # [H, W]
    soft = pixels * np.float32(saturation * brightness)
    soft += (grey * np.float32((1 - saturation) * brightness))[..., None]
    return soft.astype(np.uint8)


def blend_shares(opacity: float, signed: bool) -> NDArray[np.float64]:
    """Share of the map's colour [256] in the mix: small values let the picture through, large ones less."""
    level = np.arange(256) / 255
    if signed:
        level = np.abs(2 * level - 1)
    rise = np.clip(level / 0.5, 0, 1)
    rise = rise * rise * (3 - 2 * rise)
    low, high = opacity**4, 1 - (1 - opacity) ** 2
    shares: NDArray[np.float64] = low + (high - low) * rise
    return shares


def _levels(
    values: NDArray[np.float32], vmin: np.float32, scale: np.float32, hatch_from: int | None
) -> NDArray[np.intp]:
    """Index into the tables: 0 to 255, or `_UNSEEN` and `_HATCHED` for NaN; rows start at `hatch_from`."""
    with np.errstate(invalid="ignore", over="ignore"):  # infinities are cut just below
        level = (values - vmin) * scale
    np.fmax(level, 0, out=level)  # also turns NaN into 0
    np.fmin(level, 255, out=level)
    index = level.astype(np.intp)
    unseen = np.isnan(values)
    if unseen.any():
        rows, columns = values.shape
        fill = _UNSEEN if hatch_from is None else _hatching(rows, columns, hatch_from % _HATCH_PERIOD)
        np.copyto(index, fill, where=unseen)
    return index


@lru_cache(maxsize=32)
def _hatching(rows: int, columns: int, phase: int) -> NDArray[np.intp]:
    """Entries [rows, columns] of a part without a map: diagonal lines."""
    row, column = np.ogrid[:rows, :columns]
    return np.where((row + column + phase) % _HATCH_PERIOD < _HATCH_WIDTH, _HATCHED, _UNSEEN).astype(np.intp)


@lru_cache(maxsize=32)
def _tables(lut: bytes, opacity: float, signed: bool) -> tuple[Packed, Packed]:
    """Per level [258]: the map's colour times its share, packed, and the picture's share of 256."""
    shares = blend_shares(opacity, signed)
    colours = np.frombuffer(lut, dtype=np.uint8).reshape(256, 3)
    weighted = np.zeros((258, 3), dtype=np.uint8)
    weighted[:256] = np.rint(colours * shares[:, None])
    weighted[_UNSEEN], weighted[_HATCHED] = _UNSEEN_MIX[0], _HATCHED_MIX[0]
    # rounded down, so that a sum never runs over into the next channel
    keep = np.floor(256 * (1 - shares)).astype(np.uint32)
    return _pack(weighted[None])[0], np.append(
        keep, np.array([_UNSEEN_MIX[1], _HATCHED_MIX[1]], dtype=np.uint32)
    )


def _pack(rgb: Pixels) -> Packed:
    """Opaque RGBA [H, W, 4] as one little-endian number per pixel [H, W]."""
    rgba = np.full((*rgb.shape[:2], 4), 255, dtype=np.uint8)
    rgba[..., :3] = rgb
    return rgba.view("<u4")[..., 0].astype(np.uint32)
