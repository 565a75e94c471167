"""Sizes of a sound tower and how its sounds are prepared; no torch, for processes that only prepare."""

from __future__ import annotations

from dataclasses import dataclass

STRIDE = 4
"""Mel frames for each position of the tower."""


@dataclass(frozen=True, slots=True)
class SoundConfig:
    """Sizes of a sound tower and how its sounds are prepared.

    Parameters
    ----------
    embed_dim : int
        Dimension of the space that it shares with the other towers.
    ear_width, ear_layers, ear_heads : int
        Of the lower part, which has the form of Whisper's encoder: 50 positions a second.
    width, layers, heads : int
        Of the upper transformer with the class token: 25 positions a second.
    mels : int
        Bands of the log-mel spectrogram; 16 kHz, a frame every 10 ms.
    reach : int
        Neighbouring positions, odd in number, from which one of the upper part learns where it is.
    min_seconds, max_seconds : float
        Shorter sounds are followed by silence; of longer ones the first part is heard.
    """

    embed_dim: int = 192
    ear_width: int = 384
    ear_layers: int = 2
    ear_heads: int = 6
    width: int = 192
    layers: int = 2
    heads: int = 4
    mels: int = 80
    reach: int = 15
    min_seconds: float = 1.0
    max_seconds: float = 8.0

    @property
    def places(self) -> int:
        """Positions of the lower part for the longest sound."""
        return int(self.max_seconds * 50)
