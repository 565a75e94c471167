"""One figure of every kind, small but real."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from mmviewer.core.figures.spec import (
    AnyFigure,
    ImageMapFigure,
    MapStyle,
    ScatterFigure,
    ScoreFigure,
    TimeMapFigure,
    TokenStripFigure,
)
from mmviewer.core.media.geometry import ImageGeometry, TimeGeometry
from mmviewer.core.types import MapKind, Modality

KINDS = ("image", "crop", "signed", "bare", "time", "strip", "strip-time", "scores", "table", "scatter")


def make(kind: str, name: str = "rabbit") -> AnyFigure:
    """A figure of `kind` in which every text is `name`."""
    rng = np.random.default_rng(0)
    pixels = rng.integers(0, 256, (60, 90, 3), dtype=np.uint8)
    geometry = ImageGeometry.for_resize((120, 180), (64, 64), "crop", (4, 4))
    grid = rng.random((4, 4), dtype=np.float32)
    words = {"description": name, "title": name}
    samples = rng.normal(0, 0.1, 24_000).astype(np.float32)
    seconds = TimeGeometry(1.5, 0.1, 30)
    scores = rng.random((3, 4), dtype=np.float32)
    builders: dict[str, Callable[[], AnyFigure]] = {
        "image": lambda: ImageMapFigure(
            pixels, grid, geometry, name, caveat=name, show_patches=True, **words
        ),
        "crop": lambda: ImageMapFigure(
            pixels, grid, geometry, name, score=name, kind=MapKind.ATTRIBUTION, **words
        ),
        "signed": lambda: ImageMapFigure(
            pixels, grid - 0.5, geometry, name, style=MapStyle(signed=True), **words
        ),
        "bare": lambda: ImageMapFigure(pixels, grid, geometry, name, show_map=False, **words),
        "time": lambda: TimeMapFigure(samples, 16_000, np.ones(30, np.float32), seconds, name, **words),
        "strip": lambda: TokenStripFigure(
            rng.random((6, 4, 4), dtype=np.float32),
            (name,) * 6,
            geometry,
            pixels,
            probabilities=(0.5, None, 1.0, 0.0, 0.1, 0.2),
            text=name,
            **words,
        ),
        "strip-time": lambda: TokenStripFigure(
            rng.random((3, 30), dtype=np.float32),
            (name,) * 3,
            seconds,
            samples=samples,
            text=name,
            **words,
        ),
        "scores": lambda: ScoreFigure((name, "b", "c", "d"), scores[:1], scores[:1], (name,), pixels=pixels),
        "table": lambda: ScoreFigure(
            (name, "b", "c", "d"), scores, scores, (name, "y", "z"), "sigmoid", (name,)
        ),
        "scatter": lambda: ScatterFigure(
            rng.normal(0, 1, (12, 2)).astype(np.float32),
            (name,) * 12,
            (Modality.IMAGE, Modality.TEXT, Modality.AUDIO) * 4,
            details=name,
            thumbnails=(pixels,) + (None,) * 11,
            chosen=0,
            neighbours=((1, 0.5), (2, 0.25)),
        ),
    }
    return builders[kind]()
