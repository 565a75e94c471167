"""Phrases of a text that a model ties to places in the picture (no torch)."""

from __future__ import annotations

from dataclasses import dataclass

from mmviewer.core.media.geometry import Box, ImageGeometry


@dataclass(frozen=True, slots=True)
class GroundedPhrase:
    """A phrase and where the model says that it is.

    Parameters
    ----------
    text : str
    tokens : tuple of int
        Indexes of its tokens in the sequence.
    boxes : tuple of (top, left, bottom, right)
        In pixels of the original picture.
    """

    text: str
    tokens: tuple[int, ...]
    boxes: tuple[Box, ...]


def to_original(box: Box, geometry: ImageGeometry) -> Box:
    """Carry a box given in shares of the model's input (0 to 1) to the original picture, cut at its edges."""
    height, width = geometry.input
    top, left = geometry.from_input(box[0] * height, box[1] * width)
    bottom, right = geometry.from_input(box[2] * height, box[3] * width)
    high, wide = geometry.source
    return (
        min(max(top, 0.0), high),
        min(max(left, 0.0), wide),
        min(max(bottom, 0.0), high),
        min(max(right, 0.0), wide),
    )
