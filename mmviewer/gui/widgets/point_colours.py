"""Colours of points: twelve hues that are told apart for classes, a ramp for numbers, grey for the rest."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from PySide6.QtGui import QColor, QPalette

ByteArray = NDArray[np.uint8]

HUES = 12
"""As many classes as people tell apart by colour; the rest are grey until they are asked for."""

# Picked for distance in hue and lightness on the ground of each theme; neighbours in the list differ most.
_ON_DARK = (
    "#6c9bf5",
    "#f0b64a",
    "#4fc3a1",
    "#ef7a8a",
    "#b48cf2",
    "#8fd14f",
    "#4cc4e8",
    "#f08a4b",
    "#e78ad0",
    "#c9c24a",
    "#9aa7ff",
    "#c79a7b",
)
_ON_LIGHT = (
    "#2f66d0",
    "#b97700",
    "#12805f",
    "#c2304a",
    "#7a45c9",
    "#4b8a12",
    "#0f7fa8",
    "#c4530c",
    "#b3348f",
    "#7d7600",
    "#4a55d8",
    "#85583a",
)
_GREY_ON_DARK, _GREY_ON_LIGHT = "#7c808a", "#8b909a"
# viridis without its darkest fifth on dark ground, and without its palest on light ground
_RAMP = (
    "#440154",
    "#482878",
    "#3e4a89",
    "#31688e",
    "#26828e",
    "#1f9e89",
    "#35b779",
    "#6ece58",
    "#b5de2b",
    "#fde725",
)


def is_dark(palette: QPalette) -> bool:
    """Whether the ground of the map is dark."""
    return palette.color(QPalette.ColorRole.Base).lightnessF() < 0.5


def hues(palette: QPalette) -> tuple[QColor, ...]:
    """The colours of classes on the ground of `palette`."""
    return tuple(QColor(name) for name in (_ON_DARK if is_dark(palette) else _ON_LIGHT))


def hue(number: int, palette: QPalette) -> QColor:
    """The colour with a number; beyond the last they begin again, a little lighter or darker each round."""
    colours = hues(palette)
    turn, place = divmod(number, len(colours))
    colour = colours[place]
    for _ in range(turn % 3):
        colour = colour.darker(135) if is_dark(palette) else colour.lighter(135)
    return colour


def grey(palette: QPalette) -> QColor:
    """The colour of what has none of its own."""
    return QColor(_GREY_ON_DARK if is_dark(palette) else _GREY_ON_LIGHT)


def ramp(palette: QPalette, count: int = 256) -> ByteArray:
    """Colours [count, 3] from the lowest to the highest number, all readable on the ground."""
    stops = np.array([rgb(QColor(name)) for name in _RAMP], np.float64)
    low, high = (0.22, 1.0) if is_dark(palette) else (0.0, 0.86)
    at = np.linspace(low, high, count) * (len(stops) - 1)
    channels = [np.interp(at, np.arange(len(stops)), stops[:, channel]) for channel in range(3)]
    return np.stack(channels, axis=1).round().astype(np.uint8)


def rgb(colour: QColor) -> tuple[int, int, int]:
    """Red, green and blue, 0..255."""
    return colour.red(), colour.green(), colour.blue()
