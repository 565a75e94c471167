"""What happens to a sound between mouth and ear: pace, rooms, noise, microphones; and its log-mel."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache

import numpy as np
import torch
from numpy.typing import NDArray

from mmviewer.core.media.spectrogram import HOP, WINDOW, mel_filters
from mmviewer.core.models.sound.features import CENTRE_DB, RATE, SPREAD_DB

Samples = NDArray[np.float32]

_WARPS = tuple(np.linspace(0.84, 1.19, 9))
"""Factors on the frequency axis: throats of other lengths."""


def resped(samples: Samples, factor: float) -> Samples:
    """Faster and higher by `factor`, as a tape played faster."""
    places = np.arange(0, len(samples) - 1, factor)
    return np.interp(places, np.arange(len(samples)), samples).astype(np.float32)


@lru_cache(maxsize=1)
def _noise_pool() -> Samples:
    """Eight minutes of noise of deviation 1; each row's spectrum falls by 0 to 1 power of the frequency."""
    generator, rows, length = np.random.default_rng(0), 64, 8 * RATE
    frequency = np.maximum(np.arange(length // 2 + 1), 20 * length / RATE)
    pool = np.empty((rows, length), np.float32)
    for row in range(rows):
        spectrum = generator.normal(size=frequency.shape) + 1j * generator.normal(size=frequency.shape)
        noise = np.fft.irfft(spectrum * frequency ** -generator.uniform(0, 1), n=length)
        pool[row] = noise / noise.std()
    return pool


def colour_noise(count: int, length: int, generator: np.random.Generator) -> Samples:
    """Noise [count, length] of deviation 1, from hissing to rumbling."""
    pool = _noise_pool()
    rows = generator.integers(0, len(pool), count)
    starts = generator.integers(0, pool.shape[1] - length, count)
    return np.stack([pool[row, start : start + length] for row, start in zip(rows, starts, strict=True)])


def roomed(samples: torch.Tensor, generator: np.random.Generator, share: float = 0.5) -> torch.Tensor:
    """Sounds [B, N] through rooms (echoes that die away) and microphones (bands missing or louder)."""
    batch, length = samples.shape
    size = -(-(length + RATE // 4) // 4096) * 4096
    spectrum = torch.fft.rfft(samples, n=size)  # [B, F]
    echo = np.zeros((batch, RATE // 4), np.float32)
    times = np.arange(RATE // 4) / RATE
    for row in range(batch):
        echo[row, 0] = 1.0
        if generator.random() < share:
            decay = generator.uniform(0.05, 0.4)  # seconds until 60 dB less
            tail = generator.normal(size=len(times)) * 10 ** (-3 * times / decay)
            tail[: int(generator.uniform(0.001, 0.02) * RATE)] = 0
            echo[row] += (generator.uniform(0.02, 0.25) * tail).astype(np.float32)
    spectrum = spectrum * torch.fft.rfft(torch.from_numpy(echo), n=size)
    spectrum = spectrum * torch.from_numpy(_microphones(batch, spectrum.shape[1], generator, share))
    return torch.fft.irfft(spectrum, n=size)[:, :length]


def _microphones(batch: int, bins: int, generator: np.random.Generator, share: float) -> Samples:
    """Gains [B, F]: a smooth curve of some decibels, and now and then the band of a telephone."""
    frequency = np.linspace(0, RATE / 2, bins)
    knots = np.geomspace(60, RATE / 2, 7)
    gains = np.ones((batch, bins), np.float32)
    for row in range(batch):
        if generator.random() < share:
            curve = np.interp(frequency, knots, generator.normal(0, 4, len(knots)))
            gains[row] = 10 ** (curve / 20)
        if generator.random() < share / 4:
            low, high = generator.uniform(60, 350), generator.uniform(3000, 6000)
            gains[row] *= 1 / (1 + (low / np.maximum(frequency, 1)) ** 6)
            gains[row] *= 1 / (1 + (frequency / high) ** 8)
    return gains


@lru_cache(maxsize=1)
def _warped_filters(mels: int) -> torch.Tensor:
    """Mel filters [warps, mels, bins] whose frequency axis is stretched."""
    plain = mel_filters(mels, RATE)
    bins = np.arange(plain.shape[1])
    warped = [np.stack([np.interp(bins * warp, bins, row, right=0) for row in plain]) for warp in _WARPS]
    return torch.from_numpy(np.stack(warped)).float()


def log_mel(samples: torch.Tensor, mels: int, warps: Sequence[int] | None = None) -> torch.Tensor:
    """Log-mels [B, mels, N / 160] in -1..1 of sounds [B, N], as the app computes them.

    Parameters
    ----------
    warps
        Which of the stretched filter banks each sound is heard through; None for the plain one.
    """
    spectrum = torch.stft(
        samples,
        WINDOW,
        HOP,
        window=torch.hann_window(WINDOW),
        center=True,
        pad_mode="reflect",
        return_complex=True,
    )[..., :-1]
    power = spectrum.real**2 + spectrum.imag**2  # [B, bins, T]
    if warps is None:
        filters = torch.from_numpy(mel_filters(mels, RATE)).float().expand(len(samples), -1, -1)
    else:
        filters = _warped_filters(mels)[torch.as_tensor(list(warps))]
    decibels = 10 * torch.bmm(filters, power).clamp_min(1e-10).log10()
    loudest = decibels.amax(dim=(1, 2), keepdim=True)
    return (decibels - loudest).clamp_min(-80).add(CENTRE_DB).div(SPREAD_DB)


def random_warps(count: int, generator: np.random.Generator) -> list[int]:
    """A filter bank for each sound; most are stretched but little."""
    middle = len(_WARPS) // 2
    drawn = np.round(generator.normal(middle, 1.6, count)).astype(int)
    return [int(w) for w in np.clip(drawn, 0, len(_WARPS) - 1)]


def masked(mel: torch.Tensor, generator: np.random.Generator) -> torch.Tensor:
    """Log-mels with a band and some moments made silent, so that no single cue decides."""
    mel = mel.clone()
    bands, frames = mel.shape[1:]
    for row in mel:
        width, moment = int(generator.integers(0, 13)), int(generator.integers(0, 13))
        first, start = int(generator.integers(0, bands - width)), int(generator.integers(0, frames - moment))
        row[first : first + width] = -1
        row[:, start : start + moment] = -1
    return mel
