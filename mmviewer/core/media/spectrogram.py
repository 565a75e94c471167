"""Log-mel spectrograms for looking at sound, by the formula that Whisper's input is made of."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

FloatArray = NDArray[np.float32]

WINDOW = 400
"""Samples per window: 25 ms at 16 kHz."""
HOP = 160
"""Samples between windows: 10 ms at 16 kHz."""

_BLOCK = 4096
_FLOOR = 1e-10
_RANGE_DB = 80.0
_SLANEY_LINEAR = 200 / 3  # Hz per mel below 1 kHz
_SLANEY_BREAK = 1000.0  # Hz
_SLANEY_STEP = np.log(6.4) / 27  # natural logarithm of the ratio of two mels above 1 kHz


@dataclass(frozen=True, slots=True, eq=False)
class LogMel:
    """A log-mel spectrogram.

    Parameters
    ----------
    values : float32 array [mels, frames]
        Power in dB, at most 80 dB below the loudest.
    hop : float
        Seconds from frame to frame; frame `i` is centred at ``(i + 0.5 * (k - 1)) * hop / k`` where `k` is
        `pooled`, that is at ``i * hop`` for unpooled frames.
    centres : float32 array [mels]
        Centre of each band, Hz.
    pooled : int
        How many 10 ms frames each frame is the mean power of.
    """

    values: FloatArray
    hop: float
    centres: FloatArray
    pooled: int = 1


def log_mel(
    samples: FloatArray, rate: int = 16_000, mels: int = 80, max_frames: int | None = 6_000
) -> LogMel:
    """Spectrogram of a sound in dB.

    Parameters
    ----------
    samples : float32 array [N]
        Mono.
    rate : int
        Samples per second.
    mels : int
        Bands up to 8 kHz or half of `rate`.
    max_frames : int or None
        Longer sounds get the mean power of neighbouring frames; None for one frame every 10 ms.
    """
    frames = max(1, len(samples) // HOP)
    pool = 1 if max_frames is None else -(-frames // max_frames)
    power = _mel_power(samples, rate, mels, frames, pool)  # [mels, frames]
    decibels = 10 * np.log10(np.maximum(power, _FLOOR))
    decibels = np.maximum(decibels, decibels.max() - _RANGE_DB).astype(np.float32)
    return LogMel(decibels, HOP * pool / rate, band_centres(mels, rate), pool)


def band_centres(mels: int, rate: int = 16_000) -> FloatArray:
    """Centre frequency of each band, Hz."""
    return _band_edges(mels, rate)[1:-1].astype(np.float32)


def _mel_power(samples: FloatArray, rate: int, mels: int, frames: int, pool: int) -> NDArray[np.float64]:
    """Mean power [mels, ceil(frames / pool)] of `pool` neighbouring windows each, in blocks."""
    half = WINDOW // 2
    # mirrored at the ends where there is enough to mirror, so that the first window is centred at 0 s
    padded = np.pad(samples, half, mode="reflect" if len(samples) > half else "constant")
    padded = np.pad(padded, (0, max(0, (frames - 1) * HOP + WINDOW - len(padded))))
    windows = np.lib.stride_tricks.sliding_window_view(padded, WINDOW)[::HOP][:frames]  # [frames, window]
    hann = 0.5 - 0.5 * np.cos(2 * np.pi * np.arange(WINDOW) / WINDOW)
    filters = mel_filters(mels, rate)  # [mels, bins]
    columns = []
    block = pool * max(1, _BLOCK // pool)
    for first in range(0, frames, block):
        spectrum = np.fft.rfft(windows[first : first + block] * hann, axis=1)
        power = filters @ (spectrum.real**2 + spectrum.imag**2).T  # [mels, block]
        starts = np.arange(0, power.shape[1], pool)
        counts = np.diff(np.append(starts, power.shape[1]))
        columns.append(np.add.reduceat(power, starts, axis=1) / counts)
    return np.concatenate(columns, axis=1)


@lru_cache(maxsize=8)
def mel_filters(mels: int, rate: int) -> NDArray[np.float64]:
    """Triangular filters [mels, bins] of equal area on Slaney's mel scale."""
    edges = _band_edges(mels, rate)
    bins = np.arange(WINDOW // 2 + 1) * (rate / WINDOW)
    rising = (bins - edges[:-2, None]) / (edges[1:-1] - edges[:-2])[:, None]
    falling = (edges[2:, None] - bins) / (edges[2:] - edges[1:-1])[:, None]
    area = 2 / (edges[2:] - edges[:-2])
    filters: NDArray[np.float64] = np.maximum(0, np.minimum(rising, falling)) * area[:, None]
    return filters


def _band_edges(mels: int, rate: int) -> NDArray[np.float64]:
    """Edges and centres [mels + 2] of the bands in Hz, evenly spaced in mel from 0 to the top."""
    top = min(8_000.0, rate / 2)
    break_mel = _SLANEY_BREAK / _SLANEY_LINEAR
    top_mel = top / _SLANEY_LINEAR
    if top > _SLANEY_BREAK:
        top_mel = break_mel + np.log(top / _SLANEY_BREAK) / _SLANEY_STEP
    mel = np.linspace(0, top_mel, mels + 2)
    above = _SLANEY_BREAK * np.exp(_SLANEY_STEP * (mel - break_mel))
    return np.where(mel < break_mel, mel * _SLANEY_LINEAR, above)
