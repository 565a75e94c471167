"""Telling photographs from drawings by their grain."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image

from mmviewer import paths
from mmviewer.core.media.looks import looks_photographic, smooth_share


def test_the_share_counts_pixels_that_hardly_differ_from_their_neighbours():
    flat = np.full((4, 5, 3), 90, np.uint8)
    assert smooth_share(flat) == 1.0
    flat[2, 2] = (90, 90, 94)  # differs from its right and lower neighbour, as do those to its left and above
    assert smooth_share(flat) == pytest.approx(1 - 3 / 12)


def test_grain_is_a_photographs():
    ramp = np.linspace(0, 255, 300).astype(np.uint8)
    picture = np.repeat(np.repeat(ramp[None, :, None], 200, 0), 3, 2)
    assert not looks_photographic(picture)
    grain = np.random.default_rng(0).normal(0, 4, picture.shape)
    assert looks_photographic((picture + grain).clip(0, 255).astype(np.uint8))


@pytest.mark.parametrize("size", [(1, 1), (1, 900), (2, 2), (3000, 40)])
def test_any_size_is_answered(size):
    assert looks_photographic(np.zeros((*size, 3), np.uint8)) is False


def test_samples_are_told_apart():
    for path in sorted(paths.samples().glob("*.png")):
        pixels = np.array(Image.open(path).convert("RGB"))
        assert looks_photographic(pixels) is path.name.startswith("photo"), path.name
