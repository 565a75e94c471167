"""Which colour each point has, and what comes on top: by class or by number, with selection and highlight."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PySide6.QtGui import QColor, QPalette

from mmviewer.gui.widgets.point_colours import ByteArray, grey, hue, ramp, rgb

Codes = NDArray[np.int32]

_STEPS = 256  # of the ramp
_FULL, _GREY, _DIM, _DIM_GREY = 235, 120, 60, 30  # opacities
_MOST_CLASSES = 30_000
"""Inks are 16 bits, and each class needs two."""


@dataclass(frozen=True, slots=True)
class Scale:
    """What the numbers that colour points are, and which the ends of the ramp stand for."""

    label: str
    low: float
    high: float


class PointInk:
    """The colours of N points.

    Parameters
    ----------
    count : int
        How many points there are.
    """

    def __init__(self, count: int) -> None:
        self._count = count
        self.names: tuple[str, ...] = ()
        self.shown: tuple[int, ...] = ()
        self.scale: Scale | None = None
        self.highlight: int | None = None
        self._codes = np.zeros(count, np.uint16)  # classes, the number of classes where there is none

    def set_classes(self, codes: Codes, names: Sequence[str], shown: Sequence[int]) -> None:
        """Colour by class: `codes` [N] into `names`, -1 for none; the classes `shown` have hues, in order."""
        if len(codes) != self._count or len(names) > _MOST_CLASSES:
            raise ValueError(f"{self._count} codes of at most {_MOST_CLASSES} classes are wanted")
        self.scale, self.highlight = None, None
        self.names = tuple(names)
        self._codes = np.where(codes < 0, len(names), codes).astype(np.uint16)
        self.show(shown)

    def set_numbers(self, values: NDArray[np.floating], label: str) -> None:
        """Colour by a number [N]; where it is not finite the point is grey."""
        if len(values) != self._count:
            raise ValueError(f"{self._count} values are wanted")
        low, high = _ends(values)
        self.scale, self.highlight, self.names, self.shown = Scale(label, low, high), None, (), ()
        with np.errstate(invalid="ignore"):
            steps = np.clip((values - low) * ((_STEPS - 1) / (high - low)), 0, _STEPS - 1)
        self._codes = np.where(np.isfinite(values), steps, _STEPS).astype(np.uint16)

    def show(self, codes: Sequence[int]) -> None:
        """Give these classes hues; the others are grey."""
        self.shown = tuple(code for code in codes if 0 <= code < len(self.names))

    def colour(self, row: int, palette: QPalette) -> QColor:
        """The colour of a point, without regard to selection."""
        code = int(self._codes[row])
        if self.scale is not None:
            return grey(palette) if code == _STEPS else QColor(*ramp(palette)[code].tolist())
        return hue(self.shown.index(code), palette) if code in self.shown else grey(palette)

    def resolve(
        self, selected: NDArray[np.bool_] | None, palette: QPalette
    ) -> tuple[ByteArray, NDArray[np.uint16], ByteArray]:
        """What is painted.

        Returns
        -------
        layer : uint8 array [N]
            What is higher comes on top.
        ink : uint16 array [N]
        colours : uint8 array [K, 4]
            Red, green, blue and opacity of each ink.
        """
        bright, layers = self._table(palette)
        dim = bright.copy()
        dim[:, 3] = np.where(bright[:, 3] == _GREY, _DIM_GREY, _DIM)
        layer, ink = layers[self._codes], self._codes
        if selected is not None:
            ink = ink + np.where(selected, 0, len(bright)).astype(np.uint16)
            layer = np.where(selected, layer + np.uint8(8), layer)
        return layer, ink, np.concatenate([bright, dim])

    def _table(self, palette: QPalette) -> tuple[ByteArray, ByteArray]:
        """Colour [K, 4] and layer [K] of each class or step; the last is that of points without one."""
        if self.scale is not None:
            colours = np.empty((_STEPS + 1, 4), np.uint8)
            colours[:_STEPS, :3], colours[:_STEPS, 3] = ramp(palette, _STEPS), _FULL
            colours[_STEPS] = (*rgb(grey(palette)), _GREY)
            # what is high is what one looks for: it must not drown
            layers = np.append(1 + np.arange(_STEPS) // (_STEPS // 4), 0).astype(np.uint8)
            return colours, layers
        colours = np.empty((len(self.names) + 1, 4), np.uint8)
        colours[:] = (*rgb(grey(palette)), _GREY)
        layers = np.zeros(len(colours), np.uint8)
        for number, code in enumerate(self.shown):
            colours[code] = (*rgb(hue(number, palette)), _FULL)
            layers[code] = 1
        if self.highlight is not None and self.highlight < len(self.names):
            kept = colours[self.highlight, :3].copy()
            colours[:, 3] = _DIM
            colours[self.highlight] = (*kept, _FULL)
            layers[:] = 0
            layers[self.highlight] = 1
        return colours, layers


def _ends(values: NDArray[np.floating]) -> tuple[float, float]:
    """Ends of the ramp that a few far values do not stretch."""
    sample = values[:: max(1, len(values) // 50_000)]
    sample = sample[np.isfinite(sample)]
    if not len(sample):
        return 0.0, 1.0
    low, high = np.percentile(sample, (0.5, 99.5))
    if high - low < 1e-9:
        low, high = float(low) - 0.5, float(low) + 0.5
    return float(low), float(high)
