"""The exact map between positions of a model's input and original pixels or seconds (NumPy only)."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class ImageGeometry:
    """How an image of `source` size became a model input of `input` size, cut into a `grid` of patches.

    Coordinates are continuous, with pixel edges at integers: ``input = source * scale + offset`` per axis.

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
    """

    source: tuple[int, int]
    input: tuple[int, int]
    scale: tuple[float, float]
    offset: tuple[float, float]
    grid: tuple[int, int]
    mode: str


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
