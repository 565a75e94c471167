"""The overlay's packed arithmetic against a plain computation, and its speed."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest

from mmviewer.core.errors import InputError
from mmviewer.core.figures.colormaps import DIVERGING, SEQUENTIAL, lut, suited
from mmviewer.core.figures.overlay import Backdrop, blend_shares, colour_range, dimmed, paint
from mmviewer.core.figures.provenance import build_provenance, provenance_from_json, provenance_json
from mmviewer.core.media.geometry import ImageGeometry
from mmviewer.core.types import MapKind, MapSpec, Media, Modality, TokenMaps, TokenSpan


@pytest.mark.parametrize("opacity", [0.0, 0.3, 0.65, 1.0])
@pytest.mark.parametrize(("low", "high"), [(0.0, 1.0), (-1.0, 1.0), (0.2, 0.6)])
def test_packed_blending_equals_the_plain_formula(opacity, low, high):
    rng = np.random.default_rng(0)
    pixels = rng.integers(0, 256, (300, 217, 3), dtype=np.uint8)
    values = rng.uniform(low - 0.1, high + 0.1, (300, 217)).astype(np.float32)
    colours = lut("inferno")
    level = np.clip((values - low) / (high - low) * 255, 0, 255).astype(int)
    share = blend_shares(opacity, low < 0 < high)[level][..., None]
    expected = colours[level] * share + dimmed(pixels, opacity) * (1 - share)
    painted = paint(pixels, values, colours, low, high, opacity)
    assert painted.dtype == np.uint8
    assert np.abs(painted - expected).max() <= 2.5


def test_without_opacity_the_picture_is_untouched_and_with_all_of_it_only_the_map_is_left():
    rng = np.random.default_rng(1)
    pixels = rng.integers(0, 256, (40, 50, 3), dtype=np.uint8)
    values = rng.random((40, 50), dtype=np.float32)
    assert np.abs(paint(pixels, values, lut("magma"), 0, 1, 0.0).astype(int) - pixels).max() <= 1
    whole = paint(pixels, values, lut("magma"), 0, 1, 1.0)
    np.testing.assert_array_equal(whole, lut("magma")[(values * 255).astype(int)])


def test_the_unseen_part_is_hatched_and_shows_no_colour_of_the_map():
    pixels = np.full((60, 60, 3), 200, np.uint8)
    values = np.ones((60, 60), np.float32)
    values[:, :20] = np.nan
    painted = paint(pixels, values, lut("inferno"), 0, 1)
    unseen = painted[:, :20].astype(int)
    assert (np.ptp(unseen, axis=2) <= 1).all()
    assert len(np.unique(unseen[..., 0])) == 2
    plain = paint(pixels, values, lut("inferno"), 0, 1, hatch=False)
    assert len(np.unique(plain[:, :20])) == 1
    np.testing.assert_array_equal(painted[:, 20:], plain[:, 20:])


def test_odd_values_and_ranges():
    pixels = np.zeros((8, 8, 3), np.uint8)
    values = np.array([np.inf, -np.inf, np.nan, 0, 1, 2, -1, 0.5], np.float32)[None].repeat(8, axis=0)
    with np.errstate(all="raise"):
        assert paint(pixels, values, lut("viridis"), 0, 1).shape == (8, 8, 3)
        assert paint(pixels, values, lut("viridis"), 1, 1).shape == (8, 8, 3)
    with pytest.raises(ValueError, match="does not fit"):
        paint(pixels, values[:4], lut("viridis"), 0, 1)


def test_colour_ranges_start_at_zero_or_are_symmetric():
    assert colour_range(np.array([0.2, 0.5, np.nan]), signed=False) == (0.0, 0.5)
    assert colour_range(np.array([-0.7, 0.5]), signed=True) == (-0.7, 0.7)
    assert colour_range(np.array([np.nan]), signed=False) == (0.0, 1.0)
    assert colour_range(np.zeros(3), signed=True) == (-1.0, 1.0)


def test_colour_maps_are_tables_that_grow_lighter():
    for name in SEQUENTIAL:
        luma = lut(name) @ np.array([0.299, 0.587, 0.114])
        assert (np.diff(luma) > -1).all()
        assert luma[-1] - luma[0] > 120
    for name in DIVERGING:
        assert lut(name).shape == (256, 3)
    assert suited("inferno", signed=True) == "vik"
    assert suited("vik", signed=False) == "inferno"
    with pytest.raises(InputError, match="choose one of"):
        lut("jet")


def test_a_map_of_a_megapixel_is_painted_in_milliseconds():
    import time

    rng = np.random.default_rng(2)
    pixels = rng.integers(0, 256, (1024, 1024, 3), dtype=np.uint8)
    values = ImageGeometry.for_resize((1024, 1300), (224, 224), "crop", (16, 16)).to_source(
        rng.random((16, 16)), size=(1024, 1024)
    )
    backdrop, colours = Backdrop.of(pixels), lut("inferno")
    times = []
    for _ in range(9):
        start = time.perf_counter()
        backdrop.paint(values, colours, 0, 1)
        times.append(time.perf_counter() - start)
    # about 5 ms; the bound leaves room for a busy machine
    assert min(times) < 0.03


def test_provenance_of_maps_can_be_read_back():
    geometry = ImageGeometry.for_resize((30, 40), (16, 16), "pad", (4, 4))
    spec = MapSpec("rollout", "vision.self", 2, 0)
    tokens = (TokenSpan(0, 1, "cat"),)
    maps = TokenMaps(
        np.zeros((1, 4, 4), np.float32), tokens, geometry, MapKind.ATTRIBUTION, spec, "line", "log p"
    )
    media = Media(
        "id", Modality.IMAGE, "a.png", pixels=np.zeros((30, 40, 3), np.uint8), notes=("first of 2 frames",)
    )
    made = build_provenance(None, media, maps, ["cat"], "a cat", wanted=1)
    assert (made.layer, made.head, made.kind, made.method) == ("3", "1", "attribution of log p", "rollout")
    asked = {"method": "rollout", "point": "vision.self", "layer": 2, "head": 0}
    assert asked.items() <= made.extra["spec"].items()
    assert made.extra["geometry"]["mode"] == "pad"
    assert made.extra["item_notes"] == ["first of 2 frames"]
    back = provenance_from_json(provenance_json(made))
    assert back.item == "a.png"
    assert back.extra["geometry"]["source"] == [30, 40]


def test_what_the_window_imports_is_light():
    script = (
        "import sys; import mmviewer.core.figures.spec, mmviewer.core.figures.provenance, "
        "mmviewer.core.figures.overlay, mmviewer.core.figures.colormaps as c; c.lut('inferno'); "
        "print([name for name in ('torch', 'matplotlib', 'av', 'soundfile', 'PIL') if name in sys.modules])"
    )
    found = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert found.stdout.strip() == "[]"
