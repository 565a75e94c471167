"""Regions that a user marks on an item: boxes and outlines of a picture, stretches of a sound (no torch)."""

from __future__ import annotations

import math
import uuid
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import pairwise
from typing import Any, Literal, get_args

import numpy as np
from numpy.typing import NDArray

from mmviewer.core.errors import InputError
from mmviewer.core.media.geometry import Box, FloatArray, ImageGeometry, TimeGeometry

AnnotationKind = Literal["box", "polygon", "span"]
Geometry = ImageGeometry | TimeGeometry
Point = tuple[float, float]

COLOURS = ("#e69f00", "#56b4e9", "#009e73", "#f0e442", "#d55e00", "#cc79a7", "#7a8cff", "#9ad14b")
"""Told apart by most people with a colour-vision deficiency as well."""

MOST = 1_000
"""Annotations of one item."""
MOST_POINTS = 2_000
_LONGEST_NAME = 120
_FEW = 64
"""Corners of an outline drawn by lines; one drawn by hand has more and no level edges."""
_LINES = 16
"""Lines per row of a grid along which an outline is measured; exact across, a fine sum down."""


@dataclass(frozen=True, slots=True)
class Annotation:
    """A named region of an item.

    Parameters
    ----------
    name : str
        What it shows; may be empty.
    kind : {"box", "polygon", "span"}
    points : tuple of (float, float)
        Of a box the corners (left, top) and (right, bottom), of a polygon its outline as (x, y), both in
        pixels of the original picture; of a span one pair, its start and end in seconds.
    colour : str
        "#rrggbb".
    id : str
        Stays the same while it is moved, renamed or recoloured.

    Raises
    ------
    InputError
        The points are no such region.
    """

    name: str
    kind: AnnotationKind
    points: tuple[Point, ...]
    colour: str = COLOURS[0]
    id: str = field(default_factory=lambda: uuid.uuid4().hex[:12])

    def __post_init__(self) -> None:
        count = len(self.points)
        fits = {"box": count == 2, "polygon": 3 <= count <= MOST_POINTS, "span": count == 1}.get(self.kind)
        if not fits or not all(math.isfinite(each) for point in self.points for each in point):
            raise InputError(f"“{self.name}” is no region of an item; draw it again.")
        points = tuple((float(x), float(y)) for x, y in self.points)
        if self.kind == "box":
            (x0, y0), (x1, y1) = points
            points = ((min(x0, x1), min(y0, y1)), (max(x0, x1), max(y0, y1)))
        elif self.kind == "span":
            points = ((min(points[0]), max(points[0])),)
        object.__setattr__(self, "points", points)
        object.__setattr__(self, "name", " ".join(self.name.split())[:_LONGEST_NAME])

    @property
    def label(self) -> str:
        """Its name, or what it is."""
        return self.name or {"box": "box", "polygon": "outline", "span": "stretch"}[self.kind]

    @property
    def box(self) -> Box:
        """Top, left, bottom and right of what surrounds it, in original pixels; of a span, seconds as x."""
        if self.kind == "span":
            return (0.0, self.points[0][0], 1.0, self.points[0][1])
        xs, ys = [point[0] for point in self.points], [point[1] for point in self.points]
        return (min(ys), min(xs), max(ys), max(xs))

    @property
    def area(self) -> float:
        """Square pixels, or seconds of a span."""
        if self.kind != "polygon":
            top, left, bottom, right = self.box
            return (bottom - top) * (right - left)
        edges = zip(self.points, (*self.points[1:], self.points[0]), strict=True)
        return abs(sum(x0 * y1 - x1 * y0 for (x0, y0), (x1, y1) in edges)) / 2

    def mask(self, geometry: Geometry) -> FloatArray:
        """Share of each position that it covers: [R, C] of patches, or [P] along time.

        Counted of the part of a patch that lies in the picture; 0 in padding, and where geometry and region
        are of different kinds. The mean over the visible area is the share that chance would give.
        """
        return union_mask((self,), geometry)

    def raster(self, source: tuple[int, int], size: tuple[int, int] | None = None) -> FloatArray:
        """Share of each pixel [H, W] that it covers, for a picture of `source` size shown at `size`.

        `size` is that of the original unless given.
        """
        height, width = size or source
        rows = np.linspace(0, source[0], height + 1)
        columns = np.linspace(0, source[1], width + 1)
        return _covered([self] if self.kind != "span" else [], rows, columns, lines=4)

    def moved(self, dx: float, dy: float = 0.0) -> Annotation:
        """The same elsewhere: by pixels, or by seconds of a span."""
        if self.kind == "span":
            return replace(self, points=((self.points[0][0] + dx, self.points[0][1] + dx),))
        return replace(self, points=tuple((x + dx, y + dy) for x, y in self.points))

    def kept_inside(self, extent: tuple[float, float]) -> Annotation | None:
        """Cut at the edges of an item of (height, width) pixels, or (0, seconds); None if nothing is left."""
        height, width = extent
        if self.kind == "span":
            points: tuple[Point, ...] = (
                (min(max(self.points[0][0], 0.0), width), min(max(self.points[0][1], 0.0), width)),
            )
        else:
            points = tuple((min(max(x, 0.0), width), min(max(y, 0.0), height)) for x, y in self.points)
        cut = replace(self, points=points)
        return cut if cut.area > 0 else None


def union_mask(annotations: Iterable[Annotation], geometry: Geometry) -> FloatArray:
    """Share of each position that any of `annotations` covers; see `Annotation.mask`."""
    if isinstance(geometry, TimeGeometry):
        return _covered_time([each for each in annotations if each.kind == "span"], geometry)
    rows, columns = _edges(geometry)
    return _covered([each for each in annotations if each.kind != "span"], rows, columns, lines=_LINES)


def visible_weight(geometry: Geometry) -> FloatArray:
    """Share of the visible picture or sound that each position covers, [R, C] or [P]; its sum is 1."""
    if isinstance(geometry, TimeGeometry):
        seconds = np.array([_heard(geometry, index) for index in range(geometry.positions)], np.float32)
        return _normalised(np.maximum(seconds[:, 1] - seconds[:, 0], 0))
    rows, columns = _edges(geometry)
    return _normalised(np.outer(np.diff(rows), np.diff(columns)).astype(np.float32))


@dataclass(frozen=True, slots=True, eq=False)
class RegionShares:
    """How much of each map lies in a region.

    Parameters
    ----------
    shares : float32 array [...]
        Of each map's absolute sum; 0 for a map without any.
    chance : float
        What an even map would have there: the region's share of the visible picture or sound.
    """

    shares: FloatArray
    chance: float


def region_shares(values: FloatArray, mask: FloatArray, geometry: Geometry) -> RegionShares:
    """Measure maps [..., R, C] or [..., P] against the `mask` of a region.

    Positions in the padding of a sound count neither for the region nor for the rest.
    """
    weight = visible_weight(geometry)
    chance = float((weight * mask).sum())
    axes = tuple(range(values.ndim - mask.ndim, values.ndim))
    mass = np.nan_to_num(np.abs(values), posinf=0.0) * (weight > 0)
    total = mass.sum(axes)
    inside = (mass * mask).sum(axes)
    shares: FloatArray = np.divide(inside, total, out=np.zeros_like(total), where=total > 0)
    return RegionShares(shares.astype(np.float32), chance)


def annotation_of(values: Mapping[str, Any]) -> Annotation:
    """Read an annotation as `values_of` writes it; `InputError` if it is none."""
    kind, points = values.get("kind"), values.get("points")
    name, colour = values.get("name", ""), values.get("colour", COLOURS[0])
    known = kind in get_args(AnnotationKind) and isinstance(points, list)
    if not known or not isinstance(name, str) or not is_colour(colour):
        raise InputError("An annotation in the file cannot be read; draw the region again.")
    try:
        pairs = tuple((float(x), float(y)) for x, y in points)  # type: ignore[union-attr]
    except (TypeError, ValueError, OverflowError) as error:
        raise InputError(f"The points of “{name[:40]}” are no numbers; draw the region again.") from error
    known_id = values.get("id")
    own = {"id": known_id} if isinstance(known_id, str) and 0 < len(known_id) <= 64 else {}
    return Annotation(name, kind, pairs, colour, **own)  # type: ignore[arg-type]


def values_of(annotation: Annotation) -> dict[str, Any]:
    """What JSON holds of an annotation."""
    return {
        "id": annotation.id,
        "name": annotation.name,
        "kind": annotation.kind,
        "points": [list(point) for point in annotation.points],
        "colour": annotation.colour,
    }


def is_colour(text: object) -> bool:
    """Whether `text` is of the form "#rrggbb"."""
    return (
        isinstance(text, str)
        and len(text) == 7
        and text[0] == "#"
        and all(letter in "0123456789abcdefABCDEF" for letter in text[1:])
    )


def next_colour(annotations: Sequence[Annotation]) -> str:
    """A colour that the fewest of `annotations` have."""
    used = [each.colour for each in annotations]
    return min(COLOURS, key=lambda colour: (used.count(colour), COLOURS.index(colour)))


def _edges(geometry: ImageGeometry) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Edges of the rows [R + 1] and columns [C + 1] of patches in the original, cut at the picture's."""
    height, width = geometry.patch_size
    ys = [geometry.from_input(row * height, 0.0)[0] for row in range(geometry.grid[0] + 1)]
    xs = [geometry.from_input(0.0, column * width)[1] for column in range(geometry.grid[1] + 1)]
    return np.clip(ys, 0, geometry.source[0]), np.clip(xs, 0, geometry.source[1])


def _covered(
    regions: Sequence[Annotation], rows: NDArray[np.float64], columns: NDArray[np.float64], lines: int
) -> FloatArray:
    """Share of each cell between `rows` and `columns` that the union of `regions` covers."""
    found = np.zeros((len(rows) - 1, len(columns) - 1), np.float64)
    widths = np.diff(columns)
    if regions and all(region.kind == "box" for region in regions) and len(regions) == 1:
        top, left, bottom, right = regions[0].box
        high, wide = np.diff(np.clip(rows, top, bottom)), np.diff(np.clip(columns, left, right))
        found = np.outer(_divided(high, np.diff(rows)), _divided(wide, widths))
        return found.astype(np.float32)
    rings = [_ring(region) for region in regions]
    corners = np.concatenate([ring[:, 1] for ring in rings if len(ring) <= _FEW] or [np.zeros(0)])
    for row, (top, bottom) in enumerate(pairwise(rows)):
        if bottom <= top:
            continue
        inner = corners[(corners > top) & (corners < bottom)]  # a level edge lies between two lines then
        for upper, lower in pairwise(np.union1d(np.linspace(top, bottom, lines + 1), inner)):
            y, part = (upper + lower) / 2, (lower - upper) / (bottom - top)
            for start, end in _union([span for ring in rings for span in _crossed(ring, y)]):
                found[row] += np.diff(np.clip(columns, start, end)) * part
    return _divided(found, np.broadcast_to(widths, found.shape)).astype(np.float32)


def _ring(region: Annotation) -> NDArray[np.float64]:
    if region.kind == "polygon":
        return np.array(region.points)
    top, left, bottom, right = region.box
    return np.array([(left, top), (right, top), (right, bottom), (left, bottom)])


def _crossed(ring: NDArray[np.float64], y: float) -> list[Point]:
    """Where a horizontal line runs inside of an outline; what it surrounds twice counts as inside."""
    following = np.roll(ring, -1, axis=0)
    up = (ring[:, 1] <= y) & (following[:, 1] > y)
    down = (following[:, 1] <= y) & (ring[:, 1] > y)
    hit = np.flatnonzero(up | down)
    if not len(hit):
        return []
    first, last = ring[hit], following[hit]
    xs = first[:, 0] + (y - first[:, 1]) / (last[:, 1] - first[:, 1]) * (last[:, 0] - first[:, 0])
    order = np.argsort(xs, kind="stable")
    winding = np.cumsum(np.where(up[hit], 1, -1)[order])
    xs = xs[order]
    return [(float(xs[i]), float(xs[i + 1])) for i in range(len(xs) - 1) if winding[i] != 0]


def _union(spans: list[Point]) -> list[Point]:
    merged: list[Point] = []
    for start, end in sorted(spans):
        if merged and start <= merged[-1][1]:
            merged[-1] = (merged[-1][0], max(end, merged[-1][1]))
        else:
            merged.append((start, end))
    return merged


def _covered_time(spans: Sequence[Annotation], geometry: TimeGeometry) -> FloatArray:
    """Share of each position's heard seconds [P] in the union of `spans`."""
    found = np.zeros(geometry.positions, np.float32)
    merged = _union([span.points[0] for span in spans])
    for index in range(geometry.positions):
        first, last = _heard(geometry, index)
        if last > first:
            inside = sum(max(0.0, min(last, end) - max(first, start)) for start, end in merged)
            found[index] = inside / (last - first)
    return found


def _heard(geometry: TimeGeometry, index: int) -> Point:
    """The seconds of a position that lie in the sound."""
    first, last = geometry.span(index)
    low, high = geometry.visible
    return min(max(first, low), high), min(max(last, low), high)


def _divided(part: NDArray[np.float64], whole: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.divide(part, whole, out=np.zeros_like(part), where=whole > 0)


def _normalised(weights: FloatArray) -> FloatArray:
    total = float(weights.sum())
    return weights / np.float32(total) if total > 0 else weights
