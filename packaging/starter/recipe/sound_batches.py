"""Batches of heard things: clips placed in windows of time, with noise, and what was named when."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from mmviewer.core.media.spectrogram import HOP
from mmviewer.core.models.sound.features import RATE
from mmviewer.core.models.sound.tower import STRIDE
from recipe import sound_rooms
from recipe.concepts import with_article
from recipe.sound_clips import Clip, Clips

_POSITION = HOP * STRIDE
_JOINED_GAP = 0.35
WINDOWS = (1.28, 1.92, 2.88)
"""Seconds of the windows of a batch."""
_OFTEN = (0.55, 0.3, 0.15)


@dataclass(frozen=True, slots=True, eq=False)
class SoundBatch:
    """A batch of B sounds.

    Attributes
    ----------
    mel
        float32 [B, mels, 4 P].
    label
        int64 [B], the one label that is named; -1 where there are several.
    captions
        The text whose vector each sound should have; empty for a sound that is no speech.
    part_row, part_label
        int64 [M], for each named thing whose time is known the row and the label.
    part_inside
        bool [M, P], when it is heard.
    """

    mel: torch.Tensor
    label: torch.Tensor
    captions: list[str]
    part_row: torch.Tensor
    part_label: torch.Tensor
    part_inside: torch.Tensor


@dataclass(frozen=True, slots=True)
class _Part:
    start: int
    stop: int
    label: str


class SoundStream:
    """Endless batches drawn at random from clips; the same seed gives the same batches."""

    def __init__(self, clips: Clips, labels: Sequence[str], mels: int, batch: int, seed: int) -> None:
        self._clips, self._mels, self._batch = clips, mels, batch
        self._place = {label: place for place, label in enumerate(labels)}
        self._generator = np.random.default_rng(seed)
        known = [i for i, clip in enumerate(clips.clips) if all(noun in self._place for noun in clip.nouns)]
        seconds = np.array([len(clips.samples[i]) / RATE for i in known])
        shares = np.array([_share(clips.clips[i]) for i in known])
        self._rows, self._chances = [], []
        for number, window in enumerate(WINDOWS):
            fits = seconds < window * 0.95
            if number:
                fits &= seconds >= WINDOWS[number - 1] * 0.6
            self._rows.append(np.array(known)[fits])
            self._chances.append(shares[fits] / max(shares[fits].sum(), 1e-9))
        often = np.array([share if len(rows) else 0 for share, rows in zip(_OFTEN, self._rows, strict=True)])
        self._kinds = often / often.sum()
        names = [i for i in known if _is_name(clips.clips[i]) and len(clips.samples[i]) < RATE]
        self._names = np.array(names)

    def __next__(self) -> SoundBatch:
        """The next batch."""
        generator = self._generator
        kind = int(generator.choice(len(WINDOWS), p=self._kinds))
        length = round(WINDOWS[kind] * RATE) // _POSITION * _POSITION
        count = round(self._batch * WINDOWS[0] / WINDOWS[kind] / 8) * 8
        heard = np.zeros((count, length), np.float32)
        captions: list[str] = []
        whole: list[int] = []
        parts: list[tuple[int, _Part]] = []
        joined = kind > 0 and len(self._names) > 1
        for row in range(count):
            if joined and generator.random() < 0.35:
                caption, named = self._join(heard[row])
            else:
                caption, named = self._single(heard[row], kind)
            captions.append(caption)
            whole.append(self._place[named[0].label] if len(named) == 1 and named[0].label else -1)
            # A sentence about two things is not cut: only its caption teaches.
            parts += [(row, part) for part in named if part.label]
        samples = self._recorded(heard)
        mel = sound_rooms.log_mel(samples, self._mels, sound_rooms.random_warps(count, generator))
        if generator.random() < 0.7:
            mel = sound_rooms.masked(mel, generator)
        return SoundBatch(
            mel,
            torch.tensor(whole),
            captions,
            torch.tensor([row for row, _ in parts]),
            torch.tensor([self._place[part.label] for _, part in parts]),
            _inside([part for _, part in parts], length // _POSITION),
        )

    def _single(self, out: NDArray[np.float32], kind: int) -> tuple[str, list[_Part]]:
        index = int(self._generator.choice(self._rows[kind], p=self._chances[kind]))
        clip = self._clips.clips[index]
        samples = self._spoken(index, len(out))
        start = int(self._generator.integers(0, len(out) - len(samples) + 1))
        out[start : start + len(samples)] = samples
        label = clip.nouns[0] if len(clip.nouns) == 1 else ""
        return clip.text, [_Part(start, start + len(samples), label)]

    def _join(self, out: NDArray[np.float32]) -> tuple[str, list[_Part]]:
        """Two names one after the other, with a pause."""
        first, second = (int(i) for i in self._generator.choice(self._names, 2))
        half = len(out) // 2
        one, other = self._spoken(first, half), self._spoken(second, half)
        gap = int(self._generator.uniform(0.02, _JOINED_GAP) * RATE)
        gap = min(gap, len(out) - len(one) - len(other))
        start = int(self._generator.integers(0, len(out) - len(one) - len(other) - gap + 1))
        after = start + len(one) + gap
        out[start : start + len(one)] = one
        out[after : after + len(other)] = other * np.float32(self._generator.uniform(0.6, 1.4))
        names = [self._clips.clips[i].nouns[0] for i in (first, second)]
        caption = f"{with_article(names[0])} and {with_article(names[1])}"
        return caption, [
            _Part(start, start + len(one), names[0]),
            _Part(after, after + len(other), names[1]),
        ]

    def _spoken(self, index: int, room: int) -> NDArray[np.float32]:
        samples = self._clips.samples[index].astype(np.float32) / 32768
        slowest = max(0.88, len(samples) / (room - 2))
        factor = max(slowest, float(np.exp(self._generator.uniform(-0.13, 0.13))))
        return sound_rooms.resped(samples, factor)[:room]

    def _recorded(self, heard: NDArray[np.float32]) -> torch.Tensor:
        """Sounds in rooms, with noise of -5 to 40 dB less than them or none."""
        generator = self._generator
        count, length = heard.shape
        through = sound_rooms.roomed(torch.from_numpy(heard), generator).numpy()
        level = np.sqrt((through**2).mean(axis=1, keepdims=True)) + 1e-6
        noise = sound_rooms.colour_noise(count, length, generator)
        if generator.random() < 0.3:  # others who talk
            noise = noise * 0.2 + np.roll(heard, 1, axis=0) / level * 0.7
        decibels = generator.uniform(3, 40, (count, 1))
        decibels[generator.random((count, 1)) < 0.2] = 90
        noisy = through + noise * level * 10 ** (-decibels / 20)
        if generator.random() < 0.15:  # a microphone that is too loud
            limit = np.abs(noisy).max(axis=1, keepdims=True) * generator.uniform(0.2, 0.7, (count, 1))
            noisy = np.clip(noisy, -limit, limit)
        return torch.from_numpy(noisy.astype(np.float32))


def _share(clip: Clip) -> float:
    """How often a clip is drawn; natural voices more often than robots, real sounds often."""
    if not clip.text:
        return 3.0
    engine = clip.voice.split(":")[0]
    return {"kokoro": 3.0, "hibari": 1.5, "festival": 1.0, "flite": 1.0}.get(engine, 0.8)


def _is_name(clip: Clip) -> bool:
    noun = clip.nouns[0]
    return len(clip.nouns) == 1 and clip.text in (noun, with_article(noun))


def _inside(parts: Sequence[_Part], positions: int) -> torch.Tensor:
    """Flags [M, P] of the positions in the middle three quarters of each part."""
    centres = (np.arange(positions) + 0.5) * _POSITION
    rows = []
    for part in parts:
        edge = (part.stop - part.start) / 8
        rows.append((centres > part.start + edge) & (centres < part.stop - edge))
    return torch.from_numpy(np.stack(rows)) if rows else torch.zeros(0, positions, dtype=torch.bool)
