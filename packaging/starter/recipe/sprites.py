"""The sprite cache: every style's drawing of every concept as a small premultiplied RGBA array."""

from __future__ import annotations

import io
import json
import re
from collections.abc import Collection, Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import resvg_py
from fontTools.ttLib import TTFont
from PIL import Image, ImageDraw, ImageFont

from recipe.concepts import (
    AMBIGUOUS_ICONS,
    AMBIGUOUS_NAMES,
    ICON_NAMES,
    Concept,
    NameMatcher,
    label_set,
    read_concepts,
    squeeze,
)
from recipe.fetch import package_folder
from recipe.lines import fill_lines
from recipe.sources import LINED, STYLES, Source

SPRITE = 160
_RENDER = 320
_DPI = 96.0  # of lengths in millimetres or points, which resvg refuses without it
_MAX_SVG_BYTES = 600_000
_MAX_ASPECT = 4
_CLIPART_NOT_THINGS = frozenset(
    ("computer", "shapes", "special", "signs_and_symbols", "geography", "logos", "buttons")
)

Sprite = np.ndarray  # uint8 [S, S, 4], RGBA, premultiplied, tightly cropped, centred


@dataclass(frozen=True, slots=True)
class Drawing:
    """One drawing of one concept: SVG text, the path of a raster or SVG file, or a glyph of a font file."""

    concept: int
    svg: str = ""
    path: str = ""
    glyph: str = ""


@dataclass(frozen=True, slots=True)
class SpriteSet:
    """The sprites of one style: ``pixels`` uint8 [n, S, S, 4] and the concept of each row."""

    pixels: np.ndarray
    concept_of_row: np.ndarray


def normalise(rgba: np.ndarray, side: int = SPRITE) -> Sprite | None:
    """Crop to the drawn pixels, fit into a square and premultiply.

    Parameters
    ----------
    rgba
        uint8 [H, W, 4], straight alpha.
    side
        Side of the square in pixels.

    Returns
    -------
    ndarray or None
        uint8 [side, side, 4], or None when hardly anything is drawn.
    """
    ys, xs = np.nonzero(rgba[..., 3] > 24)
    if len(ys) < 40:
        return None
    crop = rgba[ys.min() : ys.max() + 1, xs.min() : xs.max() + 1].astype(np.float32)
    crop[..., :3] *= crop[..., 3:] / 255.0
    height, width = crop.shape[:2]
    scale = side / max(height, width)
    new_h, new_w = max(1, round(height * scale)), max(1, round(width * scale))
    method = cv2.INTER_AREA if scale < 1 else cv2.INTER_CUBIC
    crop = np.clip(cv2.resize(crop, (new_w, new_h), interpolation=method), 0, 255)
    crop[..., :3] = np.minimum(crop[..., :3], crop[..., 3:])
    square = np.zeros((side, side, 4), np.uint8)
    top, left = (side - new_h) // 2, (side - new_w) // 2
    square[top : top + new_h, left : left + new_w] = crop.round()
    return square


def render(drawing: Drawing, width: int = _RENDER) -> np.ndarray | None:
    """Rasterise a drawing to uint8 [H, W, 4] with straight alpha, or None when it cannot be read."""
    try:
        if drawing.glyph:
            return _render_glyph(drawing.path, drawing.glyph, width)
        if drawing.svg:
            png = bytes(resvg_py.svg_to_bytes(svg_string=drawing.svg, width=width))
        elif drawing.path.endswith(".svg"):
            png = bytes(resvg_py.svg_to_bytes(svg_path=drawing.path, width=width, dpi=_DPI))
        else:
            png = Path(drawing.path).read_bytes()
        with Image.open(io.BytesIO(png)) as image:
            return np.array(image.convert("RGBA"))
    except (ValueError, OSError):  # what resvg and Pillow raise for a file they cannot read; it is left out
        return None


def _render_glyph(font: str, character: str, width: int) -> np.ndarray:
    """A glyph in black on nothing; uint8 [H, W, 4]."""
    page = Image.new("L", (2 * width, 2 * width))
    ImageDraw.Draw(page).text(
        (width // 4, width // 4), character, font=ImageFont.truetype(font, width), fill=255
    )
    ink = np.array(page)
    return np.dstack([np.zeros((*ink.shape, 3), np.uint8), ink])


def iconify_svgs(folder: Path) -> dict[str, str]:
    """Whole SVG documents by icon name, aliases included, of an unpacked set of icons."""
    data: dict[str, Any] = json.loads((folder / "icons.json").read_text(encoding="utf-8"))
    default_w, default_h = data.get("width", 16), data.get("height", 16)
    icons: dict[str, Any] = dict(data["icons"])
    for alias, target in data.get("aliases", {}).items():
        if set(target) == {"parent"} and target["parent"] in icons:
            icons.setdefault(alias, icons[target["parent"]])
    return {
        name: (
            '<svg xmlns="http://www.w3.org/2000/svg" xmlns:xlink="http://www.w3.org/1999/xlink" '
            f'viewBox="{icon.get("left", 0)} {icon.get("top", 0)} '
            f'{icon.get("width", default_w)} {icon.get("height", default_h)}">{icon["body"]}</svg>'
        )
        for name, icon in icons.items()
    }


def drawings(source: Source, folder: Path, concepts: list[Concept]) -> list[Drawing]:
    """All drawings of a style that name a concept."""
    if source.kind == "iconify":
        found = _from_iconify(source, folder, concepts)
    elif source.kind == "hexcode":
        found = _from_hexcodes(folder / source.folder, concepts)
    elif source.kind == "font":
        found = _from_fonts([folder / font for font in source.fonts], concepts)
    else:
        found = _from_titles(source, folder, concepts)
    kept = [drawing for drawing in found if concepts[drawing.concept].name not in source.misnamed]
    return list(dict.fromkeys(kept))


def _from_iconify(source: Source, folder: Path, concepts: list[Concept]) -> Iterator[Drawing]:
    svgs = {squeeze(name): svg for name, svg in iconify_svgs(folder).items()}
    for i, concept in enumerate(concepts):
        if source.strict_names and concept.name in AMBIGUOUS_ICONS:
            continue
        names = (
            concept.name,
            concept.label,
            *(ICON_NAMES.get(concept.name, ()) if source.strict_names else ()),
        )
        wanted = {squeeze(name) + squeeze(suffix): None for name in names for suffix in source.suffixes}
        yield from (Drawing(i, svg=svgs[name]) for name in wanted if name in svgs)


def _from_fonts(fonts: list[Path], concepts: list[Concept]) -> Iterator[Drawing]:
    for font in fonts:
        with TTFont(font, lazy=True) as tables:
            known = set(tables.getBestCmap())
        for i, concept in enumerate(concepts):
            code_points = [int(h, 16) for h in concept.hexcode.split("-") if h != "FE0F"]
            if len(code_points) == 1 and code_points[0] in known:
                yield Drawing(i, path=str(font), glyph=chr(code_points[0]))


def _from_hexcodes(folder: Path, concepts: list[Concept]) -> Iterator[Drawing]:
    files = {path.stem.upper().replace("-FE0F", ""): path for path in sorted(folder.iterdir())}
    for i, concept in enumerate(concepts):
        path = files.get(concept.hexcode.upper().replace("-FE0F", ""))
        if path is not None:
            yield Drawing(i, path=str(path))


def _from_titles(source: Source, folder: Path, concepts: list[Concept]) -> Iterator[Drawing]:
    matcher = NameMatcher(concepts)
    titled = _clipart_titles(folder) if source.kind == "clipart" else _stamp_titles(folder)
    for path, titles in titled:
        found = next((i for i in map(matcher.in_title, titles) if i is not None), None)
        if found is not None and concepts[found].name not in AMBIGUOUS_NAMES:
            yield Drawing(found, path=str(path))


def _clipart_titles(folder: Path) -> Iterator[tuple[Path, list[str]]]:
    root = folder / "usr/share/openclipart/svg"
    for path in sorted(root.rglob("*.svg")):
        if path.relative_to(root).parts[0] in _CLIPART_NOT_THINGS or path.stat().st_size > _MAX_SVG_BYTES:
            continue
        head = path.read_text(encoding="utf-8", errors="replace")[:20000]
        title = re.search(r"<dc:title[^>]*>([^<]*)<", head)
        yield path, [title.group(1) if title else "", re.sub(r"[_\d]+", " ", path.stem)]


def _stamp_titles(folder: Path) -> Iterator[tuple[Path, list[str]]]:
    for text in sorted((folder / "usr/share/tuxpaint/stamps").rglob("*.txt")):
        if "symbols" in text.parts:
            continue
        lines = text.read_text(encoding="utf-8", errors="replace").splitlines()
        image = next((p for p in (text.with_suffix(".png"), text.with_suffix(".svg")) if p.exists()), None)
        if lines and image is not None:
            yield image, [lines[0]]


def _sprite(drawing: Drawing) -> Sprite | None:
    rgba = render(drawing)
    if rgba is None or max(rgba.shape[:2]) > _MAX_ASPECT * min(rgba.shape[:2]):
        return None
    return normalise(rgba)


def build_cache(work: Path, processes: int, only: Collection[str] = ()) -> None:
    """Render every style and write ``cache/STYLE.npz`` and ``cache/index.json`` under `work`.

    With `only`, those styles are rendered anew and the others are kept as they are where they were rendered.
    """
    cache = work / "cache"
    cache.mkdir(parents=True, exist_ok=True)
    concepts = read_concepts(work / "art" / "names")
    rows: dict[str, list[int]] = {}

    def is_kept(style: str) -> bool:
        return bool(only) and style not in only and (cache / f"{style}.npz").is_file()

    with ProcessPoolExecutor(processes) as pool:
        for style, source in STYLES.items():
            if is_kept(style):
                rows[style] = load_sprites(work, style).concept_of_row.tolist()
                continue
            found = drawings(source, package_folder(work, source), concepts)
            rendered = pool.map(_sprite, found, chunksize=16)
            kept = [(d.concept, s) for d, s in zip(found, rendered, strict=True) if s is not None]
            rows[style] = _save(cache, style, kept)
    for style, (lines, colours) in LINED.items():
        if is_kept(style):
            rows[style] = load_sprites(work, style).concept_of_row.tolist()
            continue
        rows[style] = _save(cache, style, _lined(work, lines, colours))
    labels = label_set(concepts, rows)
    index = {"concepts": [asdict(c) for c in concepts], "labels": labels}
    (cache / "index.json").write_text(json.dumps(index), encoding="utf-8")
    print(f"{len(concepts)} concepts, {len(labels)} in the label set")


def _save(cache: Path, style: str, sprites: list[tuple[int, Sprite]]) -> list[int]:
    """Write the sprites of a style; returns the concept of each."""
    rows = [concept for concept, _ in sprites]
    pixels = np.stack([sprite for _, sprite in sprites])
    np.savez_compressed(cache / f"{style}.npz", pixels=pixels, concept_of_row=np.array(rows))
    print(f"{style:14s} drawings {len(rows):5d} concepts {len(set(rows)):4d}", flush=True)
    return rows


def _lined(work: Path, lines: tuple[str, ...], colours: str) -> list[tuple[int, Sprite]]:
    """Line drawings of several styles, filled with the colours another style gives the same concept."""
    palette = load_sprites(work, colours)
    first: dict[int, Sprite] = {}
    for concept, sprite in zip(palette.concept_of_row.tolist(), palette.pixels, strict=True):
        first.setdefault(concept, sprite)
    filled: list[tuple[int, Sprite]] = []
    for style in lines:
        drawn = load_sprites(work, style)
        for concept, sprite in zip(drawn.concept_of_row.tolist(), drawn.pixels, strict=True):
            coloured = fill_lines(sprite, first[concept]) if concept in first else None
            if coloured is not None:
                filled.append((concept, coloured))
    return filled


def load_index(work: Path) -> tuple[list[Concept], list[int]]:
    """The concepts and the indices of the label set."""
    index = json.loads((work / "cache" / "index.json").read_text(encoding="utf-8"))
    concepts = [Concept(**{**c, "tags": tuple(c["tags"])}) for c in index["concepts"]]
    return concepts, list(index["labels"])


def load_sprites(work: Path, style: str) -> SpriteSet:
    """The cached sprites of one style."""
    with np.load(work / "cache" / f"{style}.npz") as data:
        return SpriteSet(data["pixels"], data["concept_of_row"])
