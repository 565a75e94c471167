"""Sounds as CLAP hears them: ten seconds at 48 kHz as log-mel frames, computed by torch throughout."""

from __future__ import annotations

from typing import Any

import av
import numpy as np
import torch
from torch import Tensor

from mmviewer.core.types import FloatArray


def resampled(samples: FloatArray, rate: int, wanted: int) -> FloatArray:
    """Mono samples at another rate, by FFmpeg's resampler."""
    if rate == wanted:
        return samples
    resampler = av.AudioResampler(format="fltp", layout="mono", rate=wanted)
    frame = av.AudioFrame.from_ndarray(samples[None].astype(np.float32), format="fltp", layout="mono")
    frame.sample_rate = rate
    parts = [*resampler.resample(frame), *resampler.resample(None)]
    return np.concatenate([part.to_ndarray()[0] for part in parts])


class LogMel:
    """What ``ClapFeatureExtractor`` computes for a sound that is not longer than its window.

    The library draws longer sounds at random and works in NumPy; here the first part is heard, and gradients
    reach the samples.
    """

    def __init__(self, extractor: Any) -> None:
        self.rate = int(extractor.sampling_rate)
        self.most = int(extractor.nb_max_samples)
        self.fused = extractor.truncation == "fusion"
        self._repeats = extractor.padding in ("repeat", "repeatpad")
        self._cuts = extractor.padding == "repeat"
        self._size, self._hop = int(extractor.fft_window_size), int(extractor.hop_length)
        filters = extractor.mel_filters if self.fused else extractor.mel_filters_slaney  # [F, mels]
        self._filters = torch.tensor(filters, dtype=torch.float32)
        self._window = torch.hann_window(self._size)

    def __call__(self, samples: Tensor) -> Tensor:
        """Log-mel [1 or 4, frames, mels] in decibels of samples [N]; four alike where the model fuses."""
        filled = self._filled(samples.float())
        window, filters = self._window.to(filled.device), self._filters.to(filled.device)
        spectrum = torch.stft(filled, self._size, self._hop, window=window, return_complex=True)
        power = spectrum.real.square() + spectrum.imag.square()  # [F, frames]
        mel = 10 * torch.log10((power.T @ filters).clamp(min=1e-10))
        return mel[None].expand(4 if self.fused else 1, -1, -1)

    def filled(self, seconds: float) -> float:
        """Seconds of the window that a sound of this length fills; silence follows."""
        window = self.most / self.rate
        if seconds >= window or not self._repeats:
            return min(seconds, window)
        return window if self._cuts else int(window / seconds) * seconds

    def _filled(self, samples: Tensor) -> Tensor:
        """Repeated as often as it fits, then silence."""
        part = samples[: self.most]
        if self._repeats and len(part) < self.most:
            times = self.most // len(part) + self._cuts
            part = part.repeat(times)[: self.most]
        return torch.nn.functional.pad(part, (0, self.most - len(part)))
