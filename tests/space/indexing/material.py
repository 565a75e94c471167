"""Thousands of different scenes and sounds made of the few that ship: recombined, turned, coloured, mixed."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import soundfile
from PIL import Image, ImageEnhance, ImageOps

ROOT = Path(__file__).resolve().parents[3] / "resources"
RATE = 16_000


def scenes() -> list[Image.Image]:
    files = sorted((ROOT / "scenes").glob("*.webp")) + sorted((ROOT / "samples").glob("scene-*.png"))
    return [Image.open(file).convert("RGB") for file in files]


def sounds() -> list[np.ndarray]:
    return [soundfile.read(file, dtype="float32")[0] for file in sorted((ROOT / "samples").glob("*.wav"))]


def make_files(folder: Path, pictures: int, tones: int = 0, broken: int = 0, seed: int = 0) -> None:
    """Fill `folder` with different pictures and sounds in subfolders, and broken files among them."""
    draw = np.random.default_rng(seed)
    sources, waves = scenes(), sounds() if tones else []
    for number in range(pictures):
        place = _place(folder / "scenes", number)
        _scene(sources, draw).save(place.with_suffix(".jpg"), quality=88)
    for number in range(tones):
        soundfile.write(_place(folder / "sounds", number).with_suffix(".wav"), _sound(waves, draw), RATE)
    for number in range(broken):
        place = _place(folder / "broken", number)
        content = draw.integers(0, 256, 400, dtype=np.uint8).tobytes()
        heads = (b"\xff\xd8\xff\xe0", b"\x89PNG\r\n\x1a\n", b"RIFF", b"")
        endings = (".jpg", ".png", ".wav", ".webp")
        place.with_suffix(endings[number % 4]).write_bytes(heads[number % 4] + content)


def _place(folder: Path, number: int) -> Path:
    place = folder / f"{number // 500:02d}" / f"{number:05d}"
    place.parent.mkdir(parents=True, exist_ok=True)
    return place


def _scene(sources: list[Image.Image], draw: np.random.Generator) -> Image.Image:
    """A piece of one scene, turned and coloured, with a piece of another in it."""
    canvas = _piece(sources, draw, int(draw.integers(224, 385)))
    part = _piece(sources, draw, int(draw.integers(48, canvas.width // 2)))
    canvas.paste(part, tuple(int(each) for each in draw.integers(0, canvas.width - part.width, 2)))
    return canvas


def _piece(sources: list[Image.Image], draw: np.random.Generator, side: int) -> Image.Image:
    source = sources[int(draw.integers(len(sources)))]
    size = int(min(source.size) * draw.uniform(0.5, 1.0))
    left, top = int(draw.integers(source.width - size + 1)), int(draw.integers(source.height - size + 1))
    piece = source.crop((left, top, left + size, top + size)).resize((side, side))
    piece = ImageOps.mirror(piece) if draw.random() < 0.5 else piece
    piece = ImageEnhance.Color(piece).enhance(float(draw.uniform(0.4, 1.6)))
    return ImageEnhance.Brightness(piece).enhance(float(draw.uniform(0.7, 1.2)))


def _sound(waves: list[np.ndarray], draw: np.random.Generator) -> np.ndarray:
    """One sound at another speed with another beneath it."""
    first, second = (waves[int(draw.integers(len(waves)))] for _ in range(2))
    speed = draw.uniform(0.8, 1.25)
    played = np.interp(np.arange(0, len(first), speed), np.arange(len(first)), first)
    played[: len(second)] += 0.2 * np.roll(second, int(draw.integers(len(second))))[: len(played)]
    return np.clip(played * draw.uniform(0.3, 0.9), -1, 1).astype(np.float32)
