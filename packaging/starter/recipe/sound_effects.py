"""Sounds that are no speech: instruments from sound fonts, animals and things from packages, with labels."""

from __future__ import annotations

import subprocess
import tempfile
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path

import numpy as np
import soundfile
from numpy.typing import NDArray

from recipe import sound_clips
from recipe.voices import RATE, VoiceError, resampled, trimmed

_LONGEST = 2.6
_SLOT = 4  # seconds for one phrase
_TICKS = 480  # a second, at MIDI's own pace of two beats a second
_DRUMS = 9  # the MIDI channel of percussion

# General MIDI programs (from 0), or keys of the percussion channel, by label; with the range of notes.
_PROGRAMS: Mapping[str, tuple[tuple[int, ...], tuple[int, int]]] = {
    "musical keyboard": ((0, 1, 2, 3, 4, 5), (48, 79)),
    "guitar": ((24, 25, 26, 27, 28), (43, 72)),
    "violin": ((40, 110), (57, 84)),
    "trumpet": ((56, 59), (55, 79)),
    "saxophone": ((64, 65, 66, 67), (48, 74)),
    "flute": ((73, 72, 75), (62, 88)),
    "bell": ((14, 112), (55, 79)),
    "bird": ((123,), (55, 75)),
    "telephone": ((124,), (60, 72)),
    "helicopter": ((125,), (50, 65)),
}
_KEYS: Mapping[str, tuple[int, ...]] = {
    "drum": (35, 36, 38, 40, 41, 43, 45, 47, 48, 50, 60, 61, 62, 64),
    "maracas": (70, 82),
}
_PEKKA: Mapping[str, str] = {
    "cow": "moo", "pig": "pig pig2 pig_ko", "honeybee": "bee beehive bee_ko", "bird": "bird crow crow_ko",
    "chicken": "hen", "chick": "chick", "frog": "frog_att frog_dmg frog_ko", "wolf": "wolf_ko",
    "rooster": "doodle p_doodle", "rabbit": "bunny_at bunny_dm bunny_ko bunny_k2",
}  # fmt: skip
_SONIC_PI: Mapping[str, str] = {
    "drum": (
        "drum_bass_hard drum_bass_soft drum_heavy_kick drum_roll drum_snare_hard drum_snare_soft "
        "drum_tom_hi_hard drum_tom_hi_soft drum_tom_lo_hard drum_tom_lo_soft drum_tom_mid_hard "
        "drum_tom_mid_soft"
    ),
    "guitar": "guit_e_fifths guit_e_slide guit_em9 guit_harmonics",
    "bell": "perc_bell perc_bell2",
    "bird": "misc_crow",
    "musical keyboard": "ambi_piano",
}
# Stamps whose sound is that of a label; "black cat" is any cat, "ram" any sheep.
STAMPS: Mapping[str, str] = {
    "frog": "frog", "duck": "duck drake", "owl": "owl", "penguin": "penguin", "rooster": "rooster",
    "chicken": "hen", "turkey": "turkey", "honeybee": "bee", "mosquito": "mosquito", "gorilla": "gorilla",
    "dolphin": "dolphin", "whale": "whale", "badger": "badger", "bear": "bear", "bison": "bison",
    "cow": "cow cow_white", "goat": "goat", "ram": "ram sheep", "camel": "camel", "lion": "lion",
    "tiger": "tiger", "deer": "deer", "dog": "dog", "fox": "fox", "donkey": "donkey", "horse": "horse",
    "elephant": "elephant", "hippopotamus": "hippopotamus", "pig": "pig", "rabbit": "rabbit",
    "koala": "koala", "camera": "camera_35mm", "drum": "drum_tomtom_floor drumkit", "violin": "violin",
    "toilet": "toilet", "hammer": "hammer", "fireworks": "fireworks", "black cat": "blackcat",
    "bird": "blackbird lark crow", "fire engine": "firetruck",
}  # fmt: skip
CALLS: Mapping[str, str] = {
    "dog": "woof woof|bow wow", "black cat": "meow", "cow": "moo", "duck": "quack quack", "pig": "oink oink",
    "rooster": "cock a doodle doo", "frog": "ribbit ribbit", "honeybee": "buzz", "owl": "hoo hoo",
    "ram": "baa baa", "snake": "hiss", "donkey": "hee haw", "horse": "neigh", "chick": "cheep cheep",
    "bird": "tweet tweet", "turkey": "gobble gobble", "bell": "ding dong", "ambulance": "nee naw nee naw",
    "train": "choo choo", "telephone": "ring ring", "drum": "boom boom boom", "wolf": "awoo",
}  # fmt: skip
"""What animals and things say when people speak for them."""


def instruments(
    soundfont: Path, rounds: int, source: str, use: str, labels: Iterable[str], seed: int
) -> sound_clips.Clips:
    """Short phrases of the labels' instruments, `rounds` of each, played by fluidsynth."""
    generator = np.random.default_rng(seed)
    wanted = [label for label in (*_PROGRAMS, *_KEYS) if label in set(labels)]
    clips, samples = [], []
    for label in wanted:
        # One file for all phrases of an instrument: fluidsynth takes long to read a sound font.
        slots = _play(soundfont, _midi(_phrases(label, rounds, generator)))
        for number in range(rounds):
            heard = trimmed(slots[number * _SLOT * RATE : (number + 1) * _SLOT * RATE])[
                : int(_LONGEST * RATE)
            ]
            if len(heard) > RATE // 20:
                clips.append(sound_clips.Clip("", (label,), f"{source}:{label}", use))
                samples.append(sound_clips.as_int16(heard))
    return sound_clips.Clips(tuple(clips), tuple(samples))


def recordings(source: str, folder: Path, use: str, labels: Iterable[str]) -> sound_clips.Clips:
    """Recordings of `pekka`, `sonic-pi` or `stamps`, each once."""
    table = {"pekka": _PEKKA, "sonic-pi": _SONIC_PI, "stamps": STAMPS}[source]
    clips, samples = [], []
    known = set(labels)
    files = {
        path.stem: path for path in sorted(folder.rglob("*")) if path.suffix in (".wav", ".ogg", ".flac")
    }
    for label, names in table.items():
        for name in names.split():
            if label in known and name in files:
                heard = read(files[name])
                clips.append(sound_clips.Clip("", (label,), f"{source}:{name}", use))
                samples.append(sound_clips.as_int16(heard))
    return sound_clips.Clips(tuple(clips), tuple(samples))


def spoken_stamps(folder: Path, labels: Iterable[str]) -> sound_clips.Clips:
    """Names of labels as people say them in Tux Paint's English descriptions: "a frog" and the like."""
    known = set(labels)
    clips, samples = [], []
    for path in sorted(folder.rglob("*_desc.ogg")):
        text = path.with_name(path.name.replace("_desc.ogg", ".txt"))
        name = path.stem.removesuffix("_desc").replace("_", " ")
        if name in known and text.is_file():
            said = text.read_text(encoding="utf-8", errors="replace").splitlines()[0]
            clips.append(sound_clips.Clip(said, (name,), "stamps:people", "test"))
            samples.append(sound_clips.as_int16(read(path)))
    return sound_clips.Clips(tuple(clips), tuple(samples))


def read(path: Path) -> NDArray[np.float32]:
    """The first seconds of a file at 16 kHz, silence at both ends cut."""
    samples, rate = soundfile.read(path, dtype="float32", always_2d=True)
    return trimmed(resampled(samples.mean(axis=1), rate))[: int(_LONGEST * RATE)]


def _phrases(label: str, rounds: int, generator: np.random.Generator) -> list[tuple[int, bytes]]:
    """MIDI events of phrases of one to five notes, each in a slot of time of its own."""
    channel = _DRUMS if label in _KEYS else 0
    events: list[tuple[int, bytes]] = []
    for number in range(rounds):
        start = number * _SLOT * _TICKS
        if channel == 0:
            programs, (low, high) = _PROGRAMS[label]
            events.append((start, bytes([0xC0, int(generator.choice(programs))])))
        tick, note = int(generator.integers(90, 230)), -1
        for _ in range(int(generator.integers(1, 6))):
            if channel == _DRUMS:
                note = int(generator.choice(_KEYS[label]))
            elif note < 0 or generator.random() < 0.8:
                note = int(generator.integers(low, high + 1))
            events.append((start, bytes([0x90 | channel, note, int(generator.integers(70, 125))])))
            held = tick * int(generator.integers(1, 3))
            events.append((start + held, bytes([0x80 | channel, note, 0])))
            start += tick
    return sorted(events, key=lambda event: event[0])


def _midi(events: list[tuple[int, bytes]]) -> bytes:
    """A MIDI file of one track."""
    track, before = b"", 0
    for moment, message in events:
        track += _varying(moment - before) + message
        before = moment
    track += _varying(_TICKS) + b"\xff\x2f\x00"
    header = b"MThd" + (6).to_bytes(4, "big") + bytes([0, 0, 0, 1, 0, _TICKS // 2])
    return header + b"MTrk" + len(track).to_bytes(4, "big") + track


def _varying(number: int) -> bytes:
    """A number as MIDI writes it: seven bits a byte, the last byte without the eighth."""
    parts = [number & 0x7F]
    while number := number >> 7:
        parts.append(0x80 | (number & 0x7F))
    return bytes(reversed(parts))


def _play(soundfont: Path, midi: bytes) -> NDArray[np.float32]:
    with tempfile.TemporaryDirectory() as folder:
        source, target = Path(folder) / "phrase.mid", Path(folder) / "phrase.wav"
        source.write_bytes(midi)
        command = [
            "fluidsynth",
            "-ni",
            "-g",
            "0.6",
            "-r",
            "32000",
            "-F",
            str(target),
            str(soundfont),
            str(source),
        ]
        try:
            subprocess.run(command, check=True, capture_output=True, timeout=300)
        except FileNotFoundError as error:
            raise VoiceError("fluidsynth is not installed.") from error
        except subprocess.SubprocessError as error:
            raise VoiceError(f"fluidsynth cannot play {soundfont}: {error}") from error
        samples, rate = soundfile.read(target, dtype="float32", always_2d=True)
        return resampled(samples.mean(axis=1), rate)


def called(labels: Iterable[str]) -> Iterator[tuple[str, str]]:
    """Label and what is said for it."""
    for label in labels:
        for words in CALLS.get(label, "").split("|"):
            if words:
                yield label, words
