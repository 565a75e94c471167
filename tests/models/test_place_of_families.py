"""Exactness of place, for every family: what is changed at a known place of the original changes the position
of the model's input that geometry names, and what geometry calls unseen changes nothing.
"""

from __future__ import annotations

import numpy as np
import pytest
import torch
from test_family_contract import sides

from mmviewer.core.errors import UnsupportedError
from mmviewer.core.explain.perturb import Canvas, canvas_of
from mmviewer.core.media.geometry import ImageGeometry, TimeGeometry
from mmviewer.core.models.base import FAMILIES, LoadedModel
from mmviewer.core.types import Media, Modality

SIDES = sides()
RATE = 16_000


def seen(model: LoadedModel, media: Media) -> Canvas:
    try:
        return canvas_of(model.prepare(media))
    except UnsupportedError as error:
        pytest.skip(error.message)


def change(before: Canvas, after: Canvas) -> np.ndarray:
    """How much of the input changed at each position [P]."""
    count = int(before.positions.max()) + 1
    moved = (after.values - before.values).float().abs()[0].sum(0).flatten()
    return torch.zeros(count).index_add(0, before.positions.flatten().cpu(), moved.cpu()).numpy()


def cells(geometry: ImageGeometry) -> list[tuple[int, int]]:
    """Corners and the middle, of the patches that show some of the picture."""
    boxes = {cell: geometry.cell_box(*cell) for cell in np.ndindex(*geometry.grid)}
    whole = max((box[2] - box[0]) * (box[3] - box[1]) for box in boxes.values())
    large = [cell for cell, (y0, x0, y1, x1) in boxes.items() if (y1 - y0) * (x1 - x0) > 0.6 * whole]
    return list(dict.fromkeys((large[0], large[len(large) // 2], large[-1])))


@pytest.mark.parametrize(
    ("family", "variant"), [(f, v) for f, v, modality in SIDES if modality is Modality.IMAGE]
)
@pytest.mark.parametrize("size", [(300, 520), (520, 300)], ids=["wide", "tall"])
def test_a_changed_patch_of_the_original_is_the_one_that_the_model_sees_changed(family, variant, size):
    model = FAMILIES.get(family).tiny(variant).side(Modality.IMAGE)
    rng = np.random.default_rng(0)
    pixels = rng.integers(90, 160, (*size, 3)).astype(np.uint8)
    before = seen(model, Media("before", Modality.IMAGE, "a.png", pixels=pixels))
    geometry = before.prepared.geometry
    assert isinstance(geometry, ImageGeometry)
    for row, column in cells(geometry):
        top, left, bottom, right = geometry.cell_box(row, column)
        painted = pixels.copy()
        painted[round(top) : round(bottom), round(left) : round(right)] = 255
        after = seen(model, Media(f"{row} {column}", Modality.IMAGE, "b.png", pixels=painted))
        strongest = divmod(int(change(before, after).argmax()), geometry.grid[1])
        assert strongest == (row, column) == geometry.cell_at((top + bottom) / 2, (left + right) / 2)


@pytest.mark.parametrize(
    ("family", "variant"), [(f, v) for f, v, modality in SIDES if modality is Modality.IMAGE]
)
def test_what_is_hatched_was_not_seen(family, variant):
    model = FAMILIES.get(family).tiny(variant).side(Modality.IMAGE)
    pixels = np.random.default_rng(0).integers(90, 160, (200, 520, 3)).astype(np.uint8)
    before = seen(model, Media("before", Modality.IMAGE, "a.png", pixels=pixels))
    geometry = before.prepared.geometry
    assert isinstance(geometry, ImageGeometry)
    hatched = np.isnan(geometry.to_source(np.ones(geometry.grid)))
    reach = int(np.ceil(3 / min(geometry.scale)))  # of the filter that resizes
    top, left, bottom, right = geometry.visible
    y, x = np.ogrid[: hatched.shape[0], : hatched.shape[1]]
    far = (y < top - reach) | (y > bottom + reach) | (x < left - reach) | (x > right + reach)
    assert hatched[far].all()
    painted = pixels.copy()
    painted[far] = 255 - painted[far]
    after = seen(model, Media("after", Modality.IMAGE, "b.png", pixels=painted))
    assert not change(before, after).any()
    if not hatched.any():
        painted[:, :40] = 255
        after = seen(model, Media("edge", Modality.IMAGE, "c.png", pixels=painted))
        assert change(before, after).any()


@pytest.mark.parametrize(
    ("family", "variant"), [(f, v) for f, v, modality in SIDES if modality is Modality.AUDIO]
)
@pytest.mark.parametrize("second", [0.1, 0.5, 0.9])
def test_a_changed_moment_is_the_one_that_the_model_hears_changed(family, variant, second):
    model = FAMILIES.get(family).tiny(variant).side(Modality.AUDIO)
    samples = np.random.default_rng(0).normal(0, 0.1, RATE).astype(np.float32)
    before = seen(model, Media("before", Modality.AUDIO, "a.wav", samples=samples))
    geometry = before.prepared.geometry
    assert isinstance(geometry, TimeGeometry)
    louder = samples.copy()
    first = int(second * RATE)
    louder[first : first + RATE // 50] *= 3
    after = seen(model, Media("after", Modality.AUDIO, "b.wav", samples=louder))
    moved = change(before, after)[: geometry.valid]
    # some encoders scale a sound by its loudest moment, which moves all others alike
    strongest = int(np.abs(moved - np.median(moved)).argmax())
    start, end = geometry.span(strongest)
    assert start - 0.03 <= second + 0.01 <= end + 0.03
    assert geometry.index_at((start + end) / 2) == strongest
