"""Sounds as the sound tower hears them: log-mel relative to the loudest moment."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from mmviewer.core.errors import InputError
from mmviewer.core.media.geometry import TimeGeometry
from mmviewer.core.media.spectrogram import HOP, log_mel
from mmviewer.core.models.preparation import Preparation, Ready
from mmviewer.core.models.sound.config import STRIDE, SoundConfig
from mmviewer.core.types import FloatArray, Media, Modality

RATE = 16_000
CENTRE_DB, SPREAD_DB = 40.0, 40.0
"""0 dB below the loudest becomes 1, 80 dB below it, the quietest that is kept, -1."""
STEP = HOP * STRIDE / RATE
"""Seconds per position."""
_SAMPLES_PER_POSITION = HOP * STRIDE


def heard(samples: FloatArray, config: SoundConfig) -> FloatArray:
    """The first part of a sound, followed by silence up to whole positions and the least length."""
    most = round(config.max_seconds * RATE) // _SAMPLES_PER_POSITION * _SAMPLES_PER_POSITION
    part = samples[:most]
    length = max(len(part), round(config.min_seconds * RATE))
    length = -(-length // _SAMPLES_PER_POSITION) * _SAMPLES_PER_POSITION
    return np.pad(part, (0, length - len(part)))


def spectrogram(samples: FloatArray, config: SoundConfig) -> FloatArray:
    """Log-mel [mels, 4 P] in -1..1 of mono samples of 16 kHz.

    The loudest moment is the measure, so the same sound played louder is the same.
    """
    decibels = log_mel(heard(samples, config), RATE, config.mels, max_frames=None).values
    values: FloatArray = (decibels - decibels.max() + CENTRE_DB) / SPREAD_DB
    return values


@dataclass(frozen=True, slots=True)
class Hearing(Preparation):
    """Sounds of 16 kHz as "mel" float32 [1, mels, 4 P]; what lies past the tower's reach is not heard."""

    config: SoundConfig

    def __call__(self, media: Media) -> Ready:
        """Take the log-mel of a sound."""
        if media.samples is None or not len(media.samples):
            raise InputError(f"{media.name} holds no sound; choose a sound.")
        if media.sample_rate != RATE:
            raise InputError(
                f"{media.name} has {media.sample_rate} samples a second, not {RATE}; open it again."
            )
        mel = spectrogram(media.samples, self.config)[None]
        # position i is centred on the mel frame 4 i, that is on the moment i * step
        geometry = TimeGeometry(media.duration, STEP, mel.shape[-1] // STRIDE, start=-STEP / 2)
        return Ready(media.id, Modality.AUDIO, {"mel": mel}, geometry)


@dataclass(frozen=True, slots=True)
class SeeingAndHearing(Preparation):
    """Images by one preparation, sounds by another."""

    eyes: Preparation
    ears: Preparation

    def __call__(self, media: Media) -> Ready:
        """Prepare an image or a sound."""
        return self.ears(media) if media.modality is Modality.AUDIO else self.eyes(media)
