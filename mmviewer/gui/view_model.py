"""What the viewer shows, worked out from the session: pure functions, NumPy only; views apply the result."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mmviewer.core.cautions import applying
from mmviewer.core.explain.selection import ShownMap, show
from mmviewer.core.figures import colormaps
from mmviewer.core.figures.overlay import blend_shares, colour_range, dimmed
from mmviewer.core.media.geometry import ImageGeometry, Interpolation, TimeGeometry
from mmviewer.core.session.state import LibraryItem, ViewOptions
from mmviewer.core.targets import score_of_shown
from mmviewer.core.types import (
    FloatArray,
    Geometry,
    HeadMaps,
    MapKind,
    MapSpec,
    Modality,
    ModelInfo,
    SequenceKind,
    TokenMaps,
    TokenSequence,
    TokenSpan,
)
from mmviewer.gui.target_model import aim_words

_NAMED = 4  # tokens named one by one on the card
_LINE = 56  # characters of a line of the card
_LONGEST = 40  # characters of a token on the card

STRIP_TITLES = {"caption": "Caption", "answer": "Answer", "transcript": "Transcript", "query": "Query"}


class Basis(StrEnum):
    """Why this map is shown and no other."""

    HOVERED = "hovered"
    CHOSEN = "chosen"
    WHOLE = "whole"
    MEAN = "mean"


@dataclass(frozen=True, slots=True, eq=False)
class ShownGrid:
    """The map in the viewer.

    Parameters
    ----------
    values : float32 array [R, C] or [P]
    geometry : ImageGeometry or TimeGeometry
    low, high : float
        Ends of the colour scale; symmetric about 0 for signed maps.
    basis : Basis
    tokens : tuple of int
        Whose mean it is; empty for the map of the whole text.
    signed : bool
    """

    values: FloatArray
    geometry: Geometry
    low: float
    high: float
    basis: Basis
    tokens: tuple[int, ...]
    signed: bool


@dataclass(frozen=True, slots=True, eq=False)
class Snapshot:
    """All that the viewer shows.

    `modality` is None when nothing is chosen. The words are those of the card.
    """

    modality: Modality | None
    item_id: str
    grid: ShownGrid | None = None
    title: str = ""
    lines: tuple[str, ...] = ()
    caveat: str = ""
    caution: str = ""
    page: str = ""


def resolve(
    item: LibraryItem | None,
    sequence: TokenSequence | None,
    maps: TokenMaps | None,
    tokens: tuple[int, ...],
    hovered: int | None,
    options: ViewOptions,
) -> Snapshot:
    """Work out what the viewer shows.

    The hovered token's map comes first, then the mean over the chosen tokens, then the map of the whole
    text, then the mean over all words. Maps of another item are not shown, nor those of a token that has
    another text by now.
    """
    if item is None:
        return Snapshot(None, "")
    bare = Snapshot(item.media.modality, item.id)
    if sequence is None or maps is None or maps.media_id != item.id or not len(maps.values):
        return bare
    basis, wanted = _wanted(sequence, maps, tokens, hovered)
    shown = _shown(maps, wanted)
    if basis is Basis.MEAN and not shown.tokens:
        basis = Basis.WHOLE
    seen = _seen(shown.grid, maps.geometry)
    low, high = _scale_of_all(maps) if options.shared_scale else colour_range(seen, maps.signed)
    grid = ShownGrid(shown.grid, maps.geometry, low, high, basis, shown.tokens, maps.signed)
    title = f"{_subject(maps, grid)} · {maps.kind}"
    caution = next(iter(applying(maps.cautions, shown.tokens)), None)
    return Snapshot(
        modality=item.media.modality,
        item_id=item.id,
        grid=grid,
        title=title,
        lines=_lines(maps, grid, options),
        caveat=maps.caveat,
        caution=caution.text if caution else "",
        page=caution.page if caution else f"method-{maps.spec.method}",
    )


def lit_shares(
    sequence: TokenSequence | None, maps: TokenMaps | None, cell: tuple[int, ...] | None
) -> FloatArray | None:
    """Share of each token's map that lies in `cell` [T], or None when there is nothing to light.

    A share of the token's own absolute sum, so that tokens with strong and weak maps can be compared.
    """
    if sequence is None or maps is None or cell is None or len(maps.tokens) != len(sequence.tokens):
        return None
    grid = maps.values.shape[1:]
    if len(cell) != len(grid) or any(not 0 <= at < size for at, size in zip(cell, grid, strict=True)):
        return None
    place: tuple[Any, ...] = (slice(None), *cell)
    at_cell: FloatArray = np.nan_to_num(np.abs(maps.values[place]))  # [T]
    total = _masses(maps)
    np.divide(at_cell, total, out=at_cell, where=total > 0)
    return at_cell


def lit_floor(maps: TokenMaps | None) -> float:
    """Share from which a chip is lit in full: three times an even share, so that noise stays faint."""
    positions = int(np.prod(maps.values.shape[1:])) if maps is not None else 1
    return min(1.0, 3 / max(1, positions))


def head_values(heads: HeadMaps) -> FloatArray:
    """Maps [L, H, ...] as the head grid shows them: without padding."""
    return _seen(heads.values, heads.geometry)


def grid_box(geometry: ImageGeometry) -> tuple[float, float, float, float]:
    """Top, left, bottom and right of the whole grid in pixels of the original; padding lies outside of it."""
    height, width = geometry.patch_size
    top, left = geometry.from_input(0.0, 0.0)
    bottom, right = geometry.from_input(geometry.grid[0] * height, geometry.grid[1] * width)
    return top, left, bottom, right


def enlarge(values: FloatArray, size: tuple[int, int], interpolation: str) -> FloatArray:
    """Interpolate a grid [R, C] to `size` over the same box, exactly as figures and the command line do."""
    rows, columns = values.shape
    return _alone(rows, columns).to_source(values, INTERPOLATIONS[interpolation], size)


def map_colors(options: ViewOptions, signed: bool) -> NDArray[np.uint8]:
    """Colours and opacity along the scale, [256, 4], the same mix as in exported figures."""
    table = colormaps.lut(colormaps.suited(options.colormap, signed))
    shares = blend_shares(options.opacity, signed)
    return np.concatenate([table, np.rint(255 * shares).astype(np.uint8)[:, None]], axis=1)


def dimming(options: ViewOptions) -> float:
    """How far the picture goes towards its dimmed twin under a map of this opacity."""
    return min(1.0, 2 * options.opacity)


def dimmed_twin(pixels: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """The picture as it lies under a strong map."""
    return dimmed(pixels, 1.0)


def used_place(maps: TokenMaps | None, spec: MapSpec) -> tuple[str | None, int | None]:
    """Point and layer that "auto" came to in `maps`, if they were made by the wanted method."""
    if maps is None or maps.spec.method != spec.method:
        return None, None
    return maps.spec.point, maps.spec.layer


def token_words(sequence: TokenSequence | None, tokens: Sequence[int]) -> str:
    """Tokens by name: “red”, “bicycle” and 3 more."""
    return _named(sequence.tokens if sequence is not None else (), tokens)


def method_labels(model: ModelInfo | None, kind: SequenceKind | None = None) -> dict[str, str]:
    """Methods of a model, key to words; with a kind of sequence, those that explain it."""
    keys = model.methods_for(kind) if model is not None else ()
    return {key: method_label(key) for key in keys}


def method_label(key: str) -> str:
    """A method in words."""
    return _METHOD_WORDS.get(key, key.replace("_", " "))


_METHOD_WORDS = {
    "attention": "raw attention",
    "rollout": "attention rollout",
    "gradient_attention": "gradient × attention",
    "gradcam": "Grad-CAM",
    "grad_eclip": "Grad-ECLIP",
    "clip_surgery": "CLIP Surgery",
    "legrad": "LeGrad",
    "second_order": "regions × words",
}
INTERPOLATIONS: dict[str, Interpolation] = {
    "bilinear": "bilinear",
    "bicubic": "bicubic",
    "nearest": "nearest",
}


def _wanted(
    sequence: TokenSequence, maps: TokenMaps, tokens: tuple[int, ...], hovered: int | None
) -> tuple[Basis, tuple[int, ...]]:
    """Why and which tokens; only those whose maps are there."""
    if hovered is not None and _same_token(sequence, maps, hovered):
        return Basis.HOVERED, (hovered,)
    chosen = tuple(index for index in tokens if _same_token(sequence, maps, index))
    return (Basis.CHOSEN, chosen) if chosen else (Basis.MEAN, ())


def _same_token(sequence: TokenSequence, maps: TokenMaps, index: int) -> bool:
    """Whether row `index` of the maps belongs to token `index` of the sequence: it may have grown since."""
    if not 0 <= index < min(len(maps.tokens), len(sequence.tokens), len(maps.values)):
        return False
    return maps.tokens[index].text == sequence.tokens[index].text


def _subject(maps: TokenMaps, grid: ShownGrid) -> str:
    """Whose map it is, in words, and against what."""
    aim, other = aim_words(maps.spec, maps.tokens)
    return ", ".join(part for part in (aim or _whose(maps, grid), other) if part)


def _whose(maps: TokenMaps, grid: ShownGrid) -> str:
    if grid.basis is Basis.WHOLE:
        return "whole text"
    if grid.basis is Basis.MEAN:
        return (
            f"mean over {len(grid.tokens)} tokens"
            if len(grid.tokens) != 1
            else _quoted(maps.tokens[grid.tokens[0]])
        )
    words = _named(maps.tokens, grid.tokens)
    return words if len(grid.tokens) == 1 else f"mean of {words}"


def _named(spans: Sequence[TokenSpan], tokens: Sequence[int]) -> str:
    named = [_quoted(spans[index]) for index in tokens if 0 <= index < len(spans)]
    rest = len(named) - _NAMED
    return ", ".join(named[:_NAMED]) + (f" and {rest} more" if rest > 0 else "")


def _quoted(token: TokenSpan) -> str:
    text = " ".join(token.text.split()) or repr(token.text)[1:-1]
    return f"“{text if len(text) <= _LONGEST else text[: _LONGEST - 1] + '…'}”"


def _lines(maps: TokenMaps, grid: ShownGrid, options: ViewOptions) -> tuple[str, ...]:
    """The plain lines of the card: where the map comes from, of which score, on which scale."""
    parts = [part for part in maps.description.split(" · ") if part and part != maps.kind]
    lines = _joined(parts)
    if maps.kind is MapKind.ATTRIBUTION and maps.score:
        words = [maps.tokens[index].text for index in grid.tokens]
        lines.append(f"of the {score_of_shown(maps.score, words)}")
    if options.shared_scale:
        lines.append("one colour scale for all tokens")
    return tuple(line for line in lines if line)


def _joined(parts: Sequence[str]) -> list[str]:
    """Parts side by side as far as they fit a line of the card."""
    lines: list[str] = []
    for part in parts:
        if lines and len(lines[-1]) + len(part) <= _LINE:
            lines[-1] += f" · {part}"
        else:
            lines.append(part)
    return lines


def _shown(maps: TokenMaps, tokens: tuple[int, ...]) -> ShownMap:
    """The map of `tokens`; means are kept, as the pointer comes and goes."""
    return show(maps, tokens) if len(tokens) == 1 else _mean(maps, tokens)


@lru_cache(maxsize=4)
def _mean(maps: TokenMaps, tokens: tuple[int, ...]) -> ShownMap:
    return show(maps, tokens)


def _seen(values: FloatArray, geometry: Geometry) -> FloatArray:
    """Values [..., P] without those that lie in padding, which is hatched and must not set the scale."""
    return values[..., : max(1, geometry.valid)] if isinstance(geometry, TimeGeometry) else values


@lru_cache(maxsize=4)
def _scale_of_all(maps: TokenMaps) -> tuple[float, float]:
    return colour_range(_seen(maps.values, maps.geometry), maps.signed)


@lru_cache(maxsize=4)
def _masses(maps: TokenMaps) -> FloatArray:
    """Absolute sum of each token's map, [T]."""
    flat = maps.values.reshape(len(maps.values), -1)
    masses: FloatArray = np.nan_to_num(np.abs(flat)).sum(axis=1)
    return masses


@lru_cache(maxsize=16)
def _alone(rows: int, columns: int) -> ImageGeometry:
    """A grid seen as a picture of its own, each cell a pixel."""
    return ImageGeometry(
        (rows, columns), (rows, columns), (1.0, 1.0), (0.0, 0.0), (rows, columns), "squash", (1, 1)
    )


ChipValues = tuple[str, float | None, bool, tuple[tuple[str, float], ...], bool, bool]


def chip_values(tokens: Sequence[TokenSpan]) -> list[ChipValues]:
    """Text, probability, special, alternatives, given, chosen by hand: as the strip's chips take them."""
    return [
        (
            token.text,
            None if token.logprob is None else float(np.exp(token.logprob)),
            token.special,
            tuple((text, float(np.exp(logprob))) for text, logprob in token.alternatives),
            token.given,
            token.chosen,
        )
        for token in tokens
    ]
