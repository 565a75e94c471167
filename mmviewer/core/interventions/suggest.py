"""Regions to try: those that are marked on an item, and where a map is strong (NumPy only)."""

from __future__ import annotations

import numpy as np

from mmviewer.core.interventions.recipe import Region
from mmviewer.core.media.geometry import ImageGeometry
from mmviewer.core.session.annotations import Annotation
from mmviewer.core.types import FloatArray, Geometry

_STRONG = 0.5
"""Share of the strongest value from which a place counts as looked at."""


def region_of(annotation: Annotation) -> Region:
    """A region that was marked on an item."""
    return Region(annotation.kind, annotation.points, annotation.name)


def strongest_region(values: FloatArray, geometry: Geometry, name: str) -> Region | None:
    """Surround what a map [R, C] or [P] shows at half its strength or more; None for a map of nothing.

    Of a picture the places that touch the strongest one, so that a second object stays.
    """
    shown = np.nan_to_num(values, nan=-np.inf, neginf=-np.inf)
    if isinstance(geometry, ImageGeometry):
        peak = np.unravel_index(int(shown.argmax()), shown.shape)
        if not shown[peak] > 0:
            return None
        strong = _around(shown >= _STRONG * shown[peak], (int(peak[0]), int(peak[1])))
        boxes = [geometry.cell_box(int(row), int(column)) for row, column in np.argwhere(strong)]
        top, left = min(box[0] for box in boxes), min(box[1] for box in boxes)
        bottom, right = max(box[2] for box in boxes), max(box[3] for box in boxes)
        if bottom <= top or right <= left:
            return None
        return Region("box", ((left, top), (right, bottom)), name)
    shown = shown[: max(1, geometry.valid)]
    first = last = int(shown.argmax())
    if not shown[first] > 0:
        return None
    least = _STRONG * shown[first]
    while first > 0 and shown[first - 1] >= least:
        first -= 1
    while last + 1 < len(shown) and shown[last + 1] >= least:
        last += 1
    start, end = max(geometry.span(first)[0], 0.0), min(geometry.span(last)[1], geometry.duration)
    return Region("span", ((start, end),), name) if end > start else None


def _around(strong: np.ndarray, start: tuple[int, int]) -> np.ndarray:
    """Those of the `strong` places [R, C] that touch the start, directly or through others, corners too."""
    found = np.zeros_like(strong)
    found[start] = True
    while True:
        padded = np.pad(found, 1)
        rows, columns = strong.shape
        grown = np.zeros_like(strong)
        for down in range(3):
            for right in range(3):
                grown |= padded[down : down + rows, right : right + columns]
        grown &= strong
        if (grown == found).all():
            return found
        found = grown
