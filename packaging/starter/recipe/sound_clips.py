"""Spoken clips on disk: one file per batch of an engine, samples of 16 bit one after the other."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True, slots=True)
class Clip:
    """What is heard in a clip.

    Attributes
    ----------
    text
        What is said; empty for a sound that is no speech.
    nouns
        The labels named (or heard), in their order.
    voice
        Engine and voice, or package and instrument.
    use
        ``train`` or ``test``.
    """

    text: str
    nouns: tuple[str, ...]
    voice: str
    use: str


@dataclass(frozen=True, slots=True, eq=False)
class Clips:
    """Clips and their samples (16 kHz, 16 bit)."""

    clips: tuple[Clip, ...]
    samples: tuple[NDArray[np.int16], ...]

    def __iter__(self) -> Iterator[tuple[Clip, NDArray[np.int16]]]:
        return iter(zip(self.clips, self.samples, strict=True))

    def chosen(self, wanted: Iterable[int]) -> Clips:
        """Those of these indices."""
        rows = list(wanted)
        return Clips(tuple(self.clips[i] for i in rows), tuple(self.samples[i] for i in rows))


def write(path: Path, clips: Clips) -> None:
    """Write a batch; a file that is there is complete."""
    path.parent.mkdir(parents=True, exist_ok=True)
    lengths = np.array([len(samples) for samples in clips.samples], dtype=np.int64)
    joined = np.concatenate(clips.samples) if clips.samples else np.zeros(0, np.int16)
    described = json.dumps([asdict(clip) for clip in clips.clips])
    unfinished = path.with_suffix(".part")
    with unfinished.open("wb") as file:
        np.savez(file, samples=joined, lengths=lengths, clips=np.array(described))
    unfinished.replace(path)


def read(folder: Path, use: str, voices: Iterable[str] | None = None) -> Clips:
    """All clips of `use` under `folder`, of all voices or of those whose key begins with one of `voices`."""
    prefixes = None if voices is None else tuple(voices)
    clips: list[Clip] = []
    samples: list[NDArray[np.int16]] = []
    for path in sorted(folder.glob("*.npz")):
        with np.load(path) as stored:
            described = json.loads(str(stored["clips"]))
            parts = np.split(stored["samples"], np.cumsum(stored["lengths"])[:-1])
        for entry, part in zip(described, parts, strict=True):
            clip = Clip(entry["text"], tuple(entry["nouns"]), entry["voice"], entry["use"])
            if clip.use == use and (prefixes is None or clip.voice.startswith(prefixes)):
                clips.append(clip)
                samples.append(part)
    return Clips(tuple(clips), tuple(samples))


def as_int16(samples: NDArray[np.float32]) -> NDArray[np.int16]:
    """Samples in -1..1 as 16 bit."""
    return np.round(np.clip(samples, -1, 1) * 32767).astype(np.int16)
