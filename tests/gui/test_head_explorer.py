"""The explorer of heads in the window, on the real model: numbers, selection, pins, sinks."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import numpy as np
import pytest
from helpers_viewer import head_maps, image_maps, picture, sequence
from PySide6.QtCore import Qt
from pytestqt.qtbot import QtBot
from scipy.stats import spearmanr

from mmviewer import paths
from mmviewer.core.types import MapKind, MapSpec, ModelInfo
from mmviewer.gui.panels.heads import HeadsPanel
from mmviewer.gui.panels.viewer import ViewerPanel
from mmviewer.gui.region_model import agreements
from mmviewer.gui.widgets.sink_marks import SINK_WORDS
from mmviewer.gui.workbench import Workbench


@pytest.fixture
def panel(qtbot: QtBot, bench: Workbench) -> Iterator[HeadsPanel]:
    panel = HeadsPanel(bench)
    qtbot.addWidget(panel)
    panel.resize(340, 620)
    bench.settings.generate_on_choose = False
    yield panel
    panel.release()


def test_agreement_against_scipy() -> None:
    item = picture()
    rng = np.random.default_rng(3)
    heads = replace(head_maps(item), values=rng.random((4, 3, 4, 4)).astype(np.float32), tokens=(1, 2))
    maps = image_maps(item, rng.random((4, 4, 4)).astype(np.float32))
    found = agreements(heads, maps)
    assert found is not None
    grid = maps.values[[1, 2]].mean(0).ravel()
    expected = [[spearmanr(grid, head.ravel()).statistic for head in layer] for layer in heads.values]
    np.testing.assert_allclose(found, expected, atol=1e-6)
    assert agreements(heads, replace(maps, media_id="other")) is None
    assert agreements(heads, image_maps(item, rng.random((4, 5, 5)).astype(np.float32))) is None


@pytest.fixture
def looking(qtbot: QtBot, bench: Workbench, starter: ModelInfo, panel: HeadsPanel) -> Workbench:
    """The panel beside a captioned sample, with its heads there."""
    path = paths.samples() / "scene-owl-guitar.png"
    if not path.is_file():
        pytest.skip("the samples are not there")
    panel.show()
    bench.settings.generate_on_choose = True
    bench.state.set_model(starter)
    bench.open_paths([path])
    state = bench.state
    qtbot.waitUntil(lambda: state.heads is not None and state.maps is not None, timeout=60_000)
    return bench


def click(qtbot: QtBot, panel: HeadsPanel, index: tuple[int, int], *, together: bool = False) -> None:
    modifier = Qt.KeyboardModifier.ControlModifier if together else Qt.KeyboardModifier.NoModifier
    place = panel.grid.cell_rect(index).center().toPoint()
    qtbot.mouseClick(panel.grid.viewport(), Qt.MouseButton.LeftButton, modifier, place)


def test_picked_heads_are_those_of_the_grid_and_pins_stay(
    qtbot: QtBot, looking: Workbench, panel: HeadsPanel
) -> None:
    state = looking.state
    state.set_tokens((1,))
    qtbot.waitUntil(lambda: state.heads is not None and state.heads.tokens == (1,), timeout=30_000)
    state.set_spec(MapSpec("gradient_attention"))
    qtbot.waitUntil(lambda: state.maps is not None and state.maps.kind is MapKind.ATTRIBUTION, timeout=30_000)
    panel.ordering.setCurrentIndex(panel.ordering.findData("agreement"))
    panel.ordering.activated.emit(panel.ordering.currentIndex())
    assert "gradient × attention" in panel.legend.text
    order = panel.grid.cells
    first, second = order[0], next(each for each in order[1:] if each[0] == order[0][0])

    def shown(head: object) -> bool:
        return state.maps is not None and state.maps.spec.head == head

    click(qtbot, panel, first)
    qtbot.waitUntil(lambda: shown(first[1]), timeout=30_000)
    assert state.maps is not None
    assert state.heads is not None
    np.testing.assert_allclose(state.maps.values[1], state.heads.values[first], atol=1e-6)
    assert panel.grid.cells == order  # a click moves nothing
    panel.pin.click()
    click(qtbot, panel, second, together=True)
    both = tuple(sorted((first[1], second[1])))
    qtbot.waitUntil(lambda: shown(both), timeout=30_000)
    mean = (state.heads.values[first] + state.heads.values[second]) / 2
    np.testing.assert_allclose(state.maps.values[1], mean, atol=1e-6)
    assert f"mean of heads {both[0] + 1}, {both[1] + 1}" in state.maps.description
    panel.pin.click()
    panel.pin.click()  # the same map is pinned once

    kept = [tile.values.copy() for tile in panel.pins.tiles]
    assert len(kept) == 2
    state.set_tokens((4,))
    qtbot.waitUntil(lambda: state.heads is not None and state.heads.tokens == (4,), timeout=30_000)
    assert all(np.array_equal(tile.values, old) for tile, old in zip(panel.pins.tiles, kept, strict=True))
    place = panel.pins.tile_rect(0).center().toPoint()
    qtbot.mouseClick(panel.pins.viewport(), Qt.MouseButton.LeftButton, pos=place)
    assert state.tokens == (1,)
    assert state.spec.head == first[1]
    qtbot.keyClick(panel.pins, Qt.Key.Key_Delete)
    assert len(panel.pins.tiles) == 1

    panel.grid.setFocus()
    qtbot.keyClick(panel.grid, Qt.Key.Key_Escape)
    assert state.spec.method == "gradient_attention"  # back to what was shown before


def test_numbers_follow_the_region(qtbot: QtBot, looking: Workbench, panel: HeadsPanel) -> None:
    state = looking.state
    entry = panel.ordering.model().item(panel.ordering.findData("region"))
    assert not entry.isEnabled()
    looking.annotations.add("box", ((0, 0), (448, 224)), "upper half")
    assert entry.isEnabled()
    assert panel.grid.numbered_by == "region"
    assert state.heads is not None
    values = state.heads.values
    half = values[:, :, : values.shape[2] // 2].sum((2, 3)) / values.sum((2, 3))
    assert panel.grid.number((1, 2)) == (
        f"{100 * half[1, 2]:.0f} %" if half[1, 2] >= 0.1 else f"{100 * half[1, 2]:.1f} %"
    )
    assert "chance would give 50 %" in panel.legend.text
    looking.annotations.choose(None)
    assert panel.grid.numbered_by == "entropy"


def test_sinks_are_ringed_and_named(qtbot: QtBot, bench: Workbench) -> None:
    viewer = ViewerPanel(bench)
    qtbot.addWidget(viewer)
    viewer.resize(500, 400)
    item = picture()
    bench.settings.generate_on_choose = False
    bench.state.set_items([item])
    bench.choose(item.id)
    bench.state.set_sequence(sequence(item))
    maps = image_maps(item)
    bench.state.set_maps(maps)
    plain = viewer.image.grab().toImage()
    bench.state.set_maps(
        replace(maps, sinks=(6, 99))
    )  # row 1, column 2; a place that is not there is left out
    assert viewer.image._sinks == ((1, 2),)
    assert SINK_WORDS in viewer.image._foot_words()
    assert viewer.image.grab().toImage() != plain
    viewer.image.mark((1, 2))
    assert SINK_WORDS in viewer.image.readout()
    viewer.release()
