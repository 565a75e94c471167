"""What a sound looks like: envelope, spectrogram picture, ticks; NumPy in, images out."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray
from PySide6.QtCore import QLineF, QRectF, Qt
from PySide6.QtGui import QColor, QImage, QPainter, QPen

from mmviewer.gui.widgets.painting import FloatArray, colored_image

_BLOCK = 256
_RANGE_DB = 80.0
_MOST_COLUMNS = 3000
_HERTZ = (250, 500, 1000, 2000, 4000, 8000)


class Envelope:
    """Lowest and highest sample of any stretch of a sound, quick at any zoom.

    Parameters
    ----------
    samples : float32 array [N]
    rate : int
        Samples per second.
    """

    def __init__(self, samples: FloatArray, rate: int) -> None:
        self._samples, self._rate = samples, rate
        whole = len(samples) // _BLOCK * _BLOCK
        blocks = samples[:whole].reshape(-1, _BLOCK)
        self._low = blocks.min(axis=1)  # [N / BLOCK]
        self._high = blocks.max(axis=1)
        ends = np.concatenate([self._low, self._high, samples[whole:]])
        self.peak = float(np.abs(ends[np.isfinite(ends)]).max(initial=0.0))

    @property
    def duration(self) -> float:
        """Seconds."""
        return len(self._samples) / self._rate

    def columns(self, start: float, end: float, count: int) -> tuple[FloatArray, FloatArray]:
        """Lowest and highest sample [count] in each of as many equal stretches from `start` to `end` s."""
        edges = np.linspace(start, end, count + 1) * self._rate
        coarse = (end - start) * self._rate / max(count, 1) > 2 * _BLOCK
        low, high = (self._low, self._high) if coarse else (self._samples, self._samples)
        places = np.floor(edges / (_BLOCK if coarse else 1)).astype(np.intp)
        return _reduced(low, places, np.minimum), _reduced(high, places, np.maximum)


def _reduced(values: FloatArray, edges: NDArray[np.intp], reduce: np.ufunc) -> FloatArray:
    """`reduce` over each stretch between neighbouring `edges`; 0 outside of `values`."""
    count = len(edges) - 1
    result = np.zeros(count, np.float32)
    inside = (edges[:-1] >= 0) & (edges[:-1] < len(values))
    if inside.any():
        first = edges[:-1][inside]
        last = min(int(edges[1:][inside][-1]), len(values))
        stop = max(last, int(first[-1]) + 1)
        result[inside] = reduce.reduceat(values[:stop], first)
    return np.nan_to_num(result, copy=False)


class SpectrogramPicture:
    """Log-mel power as a grey picture, so that colours over it are the map's.

    Parameters
    ----------
    values : float32 array [mels, frames]
        Decibels.
    hop : float
        Seconds per frame.
    centres : float array [mels]
        Hz of each band, rising.
    """

    def __init__(self, values: FloatArray, hop: float, centres: FloatArray) -> None:
        self._values, self._hop = np.asarray(values, np.float32), hop
        self._centres = np.asarray(centres, np.float64)
        finite = self._values[np.isfinite(self._values)]
        self._top = float(finite.max(initial=0.0))

    def image(self, start: float, end: float, paper: QColor, ink: QColor) -> QImage:
        """The part from `start` to `end` seconds, low frequencies at the bottom."""
        frames = self._values.shape[1]
        first = min(max(math.floor(start / self._hop), 0), frames - 1)
        last = min(max(math.ceil(end / self._hop), first + 1), frames)
        part = self._values[::-1, first:last]  # [mels, frames]
        step = math.ceil(part.shape[1] / _MOST_COLUMNS)
        if step > 1:  # the loudest of neighbours, so that short events stay visible
            part = np.maximum.reduceat(part, np.arange(0, part.shape[1], step), axis=1)
        return colored_image(part, self._top - _RANGE_DB, self._top, _ramp(paper, ink))

    def span(self, start: float, end: float) -> tuple[float, float]:
        """Seconds that `image` of the same times really covers."""
        frames = self._values.shape[1]
        first = min(max(math.floor(start / self._hop), 0), frames - 1)
        last = min(max(math.ceil(end / self._hop), first + 1), frames)
        return first * self._hop, last * self._hop

    def level(self, seconds: float, height: float) -> tuple[float, float] | None:
        """Hz and dB at a time and at a height 0 (bottom) to 1 (top)."""
        mels, frames = self._values.shape
        frame, band = math.floor(seconds / self._hop), math.floor(height * mels)
        if not (0 <= frame < frames and 0 <= band < mels):
            return None
        hertz = float(np.interp(height * mels - 0.5, np.arange(mels), self._centres))
        return hertz, float(self._values[band, frame])

    def height_of(self, hertz: float) -> float | None:
        """Height 0..1 of a frequency, None outside the bands."""
        if not self._centres[0] <= hertz <= self._centres[-1]:
            return None
        mels = len(self._centres)
        return float((np.interp(hertz, self._centres, np.arange(mels)) + 0.5) / mels)


def _ramp(paper: QColor, ink: QColor) -> NDArray[np.uint32]:
    """Opaque ARGB words [256] from `paper` to `ink`."""
    ends = np.array([[c.red(), c.green(), c.blue()] for c in (paper, ink)], np.float64)
    share = np.linspace(0, 1, 256)[:, None]
    rgb = np.rint(ends[0] * (1 - share) + ends[1] * share).astype(np.uint32)  # [256, 3]
    words: NDArray[np.uint32] = np.uint32(0xFF000000) | rgb[:, 0] << 16 | rgb[:, 1] << 8 | rgb[:, 2]
    return words


def time_ticks(start: float, end: float, room: float) -> list[float]:
    """Round times between `start` and `end`, at most one per 80 of `room` pixels."""
    least = (end - start) / max(1.0, room / 80)
    if least <= 0:
        return []
    power = 10.0 ** math.floor(math.log10(least))
    steps = [power * m for m in (1, 2, 5, 10)] if least < 10 else [10, 30, 60, 120, 300, 600, 1800, 3600]
    step = next((s for s in steps if s >= least), steps[-1])
    first = math.ceil(start / step - 1e-9)
    return [i * step for i in range(first, math.floor(end / step + 1e-9) + 1)]


def clock(seconds: float, digits: int = 2) -> str:
    """Seconds for people: "1.24 s" below a minute, else "3:05.2"."""
    if seconds < 60:
        return f"{seconds:.{digits}f} s"
    return f"{int(seconds // 60)}:{seconds % 60:04.1f}"


def paint_waveform(
    painter: QPainter, lane: QRectF, envelope: Envelope, times: tuple[float, float], ink: QColor
) -> None:
    """Draw the sound between two `times`, per pixel a line from its lowest to its highest sample."""
    count = max(1, int(lane.width()))
    low, high = envelope.columns(*times, count)
    reach = 0.48 * lane.height() / max(envelope.peak, 1e-6)
    middle = lane.center().y()
    x = lane.left() + np.arange(count)
    tops, bottoms = middle - high * reach, middle - low * reach + 0.5
    painter.setPen(QPen(ink, 1))
    painter.drawLines([QLineF(*line) for line in zip(x, tops, x, bottoms, strict=True)])


def paint_frequencies(painter: QPainter, lane: QRectF, spectrogram: SpectrogramPicture, right: float) -> None:
    """Write round frequencies at their heights, ending at `right`, as far as they do not overlap."""
    last = math.inf
    for hertz in _HERTZ:
        height = spectrogram.height_of(hertz)
        y = lane.bottom() - (height or 0) * lane.height()
        if height is None or last - y < painter.fontMetrics().height():
            continue
        last = y
        label = f"{hertz // 1000} kHz" if hertz >= 1000 else f"{hertz} Hz"
        place = QRectF(0, y - 9, right, 18)
        painter.drawText(place, Qt.AlignmentFlag.AlignRight | Qt.AlignmentFlag.AlignVCenter, label)
