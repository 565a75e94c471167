"""Colour maps as tables of 256 colours (no matplotlib: the GUI imports this)."""

from __future__ import annotations

from functools import cache

import numpy as np
from numpy.typing import NDArray

from mmviewer.core.errors import InputError

Lut = NDArray[np.uint8]

# names shown to people, and those of the cmap library
_SEQUENTIAL = {
    "inferno": "matplotlib:inferno",
    "magma": "matplotlib:magma",
    "viridis": "matplotlib:viridis",
    "cividis": "cividis",
    "gray": "matlab:gray",
}
_DIVERGING = {"vik": "crameri:vik", "berlin": "crameri:berlin"}

SEQUENTIAL = tuple(_SEQUENTIAL)
"""Perceptually uniform maps for values from zero up."""

DIVERGING = tuple(_DIVERGING)
"""Perceptually uniform maps for values against and for, with zero in the middle."""

DEFAULT = "inferno"
DEFAULT_SIGNED = "vik"


@cache
def lut(name: str) -> Lut:
    """Colours [256, 3] of a map, read-only.

    Raises
    ------
    InputError
        If there is no map of this name.
    """
    known = _SEQUENTIAL | _DIVERGING
    if name not in known:
        raise InputError(f"There is no colour map called {name!r}; choose one of: {', '.join(known)}.")
    from cmap import Colormap  # when the first map is painted, not when the window opens

    colours: Lut = np.rint(np.asarray(Colormap(known[name]).lut(256))[:, :3] * 255).astype(np.uint8)
    colours.setflags(write=False)
    return colours


def suited(name: str, signed: bool) -> str:
    """The chosen map if it suits the values, else the default one of the other kind."""
    if signed:
        return name if name in _DIVERGING else DEFAULT_SIGNED
    return name if name in _SEQUENTIAL else DEFAULT
