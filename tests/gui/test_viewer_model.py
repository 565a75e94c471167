"""What the viewer shows, without Qt."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import replace

import numpy as np
import pytest
from helpers_viewer import MODEL, WORDS, image_maps, picture, sequence, time_maps, tone

from mmviewer.core.media.geometry import ImageGeometry
from mmviewer.core.session.state import ViewOptions
from mmviewer.core.types import MapKind, MapSpec
from mmviewer.gui import view_model as vm

PLAIN = ViewOptions()


def test_nothing_chosen_shows_nothing() -> None:
    snapshot = vm.resolve(None, None, None, (), None, PLAIN)
    assert snapshot.modality is None
    assert snapshot.grid is None


def test_item_without_maps_is_bare() -> None:
    item = picture()
    snapshot = vm.resolve(item, sequence(item), None, (), None, PLAIN)
    assert snapshot.item_id == item.id
    assert snapshot.grid is None
    assert snapshot.title == ""


def test_hovered_token_comes_before_chosen_ones() -> None:
    item = picture()
    maps = image_maps(item)
    snapshot = vm.resolve(item, sequence(item), maps, (1, 2), 0, PLAIN)
    assert snapshot.grid is not None
    assert snapshot.grid.basis is vm.Basis.HOVERED
    np.testing.assert_array_equal(snapshot.grid.values, maps.values[0])
    assert snapshot.title == "“a” · attention"
    assert "decoder cross-attention" in snapshot.lines[0]
    assert snapshot.caveat == maps.caveat


def test_several_chosen_tokens_are_averaged_and_said_so() -> None:
    item = picture()
    maps = image_maps(item)
    grid = vm.resolve(item, sequence(item), maps, (1, 2), None, PLAIN)
    assert grid.grid is not None
    np.testing.assert_allclose(grid.grid.values, (maps.values[1] + maps.values[2]) / 2)
    assert grid.title == "mean of “red”, “bicycle” · attention"
    assert (grid.grid.low, grid.grid.high) == (0.0, 0.5)


def test_without_tokens_the_mean_over_words_leaves_control_tokens_out() -> None:
    item = picture()
    maps = image_maps(item)
    snapshot = vm.resolve(item, sequence(item), maps, (), None, PLAIN)
    assert snapshot.grid is not None
    assert snapshot.grid.basis is vm.Basis.MEAN
    np.testing.assert_allclose(snapshot.grid.values, maps.values[:3].mean(0))
    assert snapshot.title == "mean over 3 tokens · attention"


def test_the_map_of_the_whole_text_comes_before_the_mean() -> None:
    item = picture()
    whole = np.full((4, 4), 0.25, np.float32)
    snapshot = vm.resolve(item, sequence(item), replace(image_maps(item), whole=whole), (), None, PLAIN)
    assert snapshot.grid is not None
    assert snapshot.grid.basis is vm.Basis.WHOLE
    assert snapshot.title == "whole text · attention"
    np.testing.assert_array_equal(snapshot.grid.values, whole)


def test_maps_of_another_item_are_not_shown() -> None:
    item, other = picture(), picture(item_id="other")
    assert vm.resolve(item, sequence(item), image_maps(other), (0,), 0, PLAIN).grid is None


def test_a_token_with_another_text_by_now_is_not_shown_as_hovered() -> None:
    item = picture()
    longer = sequence(item, ("a", "blue", "bicycle", "here", "<end>"))
    snapshot = vm.resolve(item, longer, image_maps(item), (), 1, PLAIN)
    assert snapshot.grid is not None
    assert snapshot.grid.basis is vm.Basis.MEAN
    assert vm.resolve(item, longer, image_maps(item), (), 4, PLAIN).grid.basis is vm.Basis.MEAN


def test_signed_maps_have_a_symmetric_scale_and_attribution_names_its_score() -> None:
    item = picture()
    values = np.zeros((4, 4, 4), np.float32)
    values[2, 0, 0], values[2, 1, 1] = -0.3, 0.1
    maps = replace(
        image_maps(item, values), signed=True, kind=MapKind.ATTRIBUTION, score="log-probability of the token"
    )
    snapshot = vm.resolve(item, sequence(item), maps, (2,), None, PLAIN)
    assert snapshot.grid is not None
    assert (snapshot.grid.low, snapshot.grid.high) == pytest.approx((-0.3, 0.3))
    assert "of the log-probability of the token" in snapshot.lines
    colors = vm.map_colors(PLAIN, signed=True)
    assert colors[128, 3] < colors[0, 3]
    assert colors[128, 3] < colors[255, 3]


def test_one_scale_for_all_tokens() -> None:
    item = picture()
    values = np.stack([np.full((4, 4), 0.1 * (i + 1), np.float32) for i in range(4)])
    maps = image_maps(item, values)
    own = vm.resolve(item, sequence(item), maps, (0,), None, PLAIN)
    shared = vm.resolve(item, sequence(item), maps, (0,), None, replace(PLAIN, shared_scale=True))
    assert own.grid.high == pytest.approx(0.1)
    assert shared.grid.high == pytest.approx(0.4)
    assert "one colour scale for all tokens" in shared.lines


@pytest.mark.parametrize("value", [np.nan, 0.0])
def test_a_map_of_nothing_still_has_a_scale(value: float) -> None:
    item = picture()
    maps = image_maps(item, np.full((4, 4, 4), value, np.float32))
    snapshot = vm.resolve(item, sequence(item), maps, (1,), None, PLAIN)
    assert snapshot.grid.low < snapshot.grid.high


def test_padding_does_not_set_the_scale_of_a_sound() -> None:
    item = tone(2.0)
    maps = time_maps(item)
    maps.values[1, 30] = 5.0  # 3.0 s, behind the end
    snapshot = vm.resolve(item, sequence(item), maps, (1,), None, PLAIN)
    assert snapshot.grid.high == 1.0


def test_lit_shares_are_shares_of_each_tokens_own_map() -> None:
    item = picture()
    values = np.zeros((4, 4, 4), np.float32)
    values[0, 1, 2], values[0, 0, 0] = 1.0, 3.0
    values[1, 1, 2] = 50.0
    shares = vm.lit_shares(sequence(item), image_maps(item, values), (1, 2))
    np.testing.assert_allclose(shares, [0.25, 1.0, 0.0, 0.0])
    assert vm.lit_shares(sequence(item), image_maps(item), (9, 9)) is None
    assert vm.lit_shares(sequence(item), image_maps(item), (1,)) is None
    assert vm.lit_shares(sequence(item, WORDS[:2]), image_maps(item), (1, 1)) is None


@pytest.mark.parametrize("mode", ["squash", "crop", "pad"])
def test_the_box_of_the_grid_agrees_with_the_geometry(mode: str) -> None:
    geometry = ImageGeometry.for_resize((300, 500), (32, 32), mode, (4, 4))
    top, left, bottom, right = vm.grid_box(geometry)
    for y, x in [(10.5, 250.5), (150.5, 260.5), (290.5, 240.5)]:
        cell = (int((y - top) / (bottom - top) * 4), int((x - left) / (right - left) * 4))
        assert cell == geometry.cell_at(y, x)


@pytest.mark.parametrize("interpolation", ["nearest", "bilinear", "bicubic"])
def test_enlarging_equals_the_map_of_figures(interpolation: str) -> None:
    values = np.random.default_rng(0).random((4, 6), np.float32)
    geometry = ImageGeometry.for_resize((120, 180), (32, 48), "squash", (4, 6))
    expected = geometry.to_source(values, interpolation)
    np.testing.assert_allclose(vm.enlarge(values, (120, 180), interpolation), expected, atol=1e-5)


def test_names_of_tokens_stay_short() -> None:
    item = picture()
    words = (*(f"word{i}" for i in range(9)), "x" * 300)
    maps = image_maps(item, np.ones((10, 4, 4), np.float32), words=words)
    snapshot = vm.resolve(item, sequence(item, words), maps, tuple(range(10)), None, PLAIN)
    assert snapshot.title == "mean of “word0”, “word1”, “word2”, “word3” and 6 more · attention"
    assert len(vm.resolve(item, sequence(item, words), maps, (9,), None, PLAIN).title) < 70


def test_auto_is_resolved_only_from_maps_of_the_same_method() -> None:
    maps = image_maps(picture())
    assert vm.used_place(maps, MapSpec("attention")) == ("decoder.cross", 2)
    assert vm.used_place(maps, MapSpec("rollout")) == (None, None)
    assert vm.method_labels(MODEL) == {"attention": "raw attention", "rollout": "attention rollout"}
    told = replace(MODEL, explains=(("caption", ("attention",)), ("query", ("attention", "rollout"))))
    assert list(vm.method_labels(told, "caption")) == ["attention"]
    assert list(vm.method_labels(told)) == ["attention", "rollout"]
    assert vm.method_labels(told, "transcript") == {}


def test_panels_import_no_deep_learning_and_no_matplotlib() -> None:
    code = (
        "import sys; from mmviewer.gui.panels import heads, tokens, viewer;"
        "bad = {'torch', 'transformers', 'open_clip', 'matplotlib', 'sounddevice'} & set(sys.modules);"
        "print(sorted(bad)); sys.exit(bool(bad))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
