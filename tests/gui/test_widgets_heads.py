"""Head grid and choosers: order, picking by mouse and key, what the choosers offer and say."""

from __future__ import annotations

import numpy as np
import pytest
from helpers_viewer import head_maps, picture
from PySide6.QtCore import QPoint, Qt
from PySide6.QtWidgets import QComboBox
from pytestqt.qtbot import QtBot

from mmviewer.core.session.state import ViewOptions
from mmviewer.gui.map_style import map_style, picture_of
from mmviewer.gui.tiles import enlarge_all
from mmviewer.gui.view_model import enlarge
from mmviewer.gui.widgets.head_grid import HeadGrid
from mmviewer.gui.widgets.head_order import entropy, ordered, strongest
from mmviewer.gui.widgets.map_controls import MapChooser, PointChoice, ViewControls

BOX = (0.0, 0.0, 120.0, 160.0)
VALUES = head_maps(picture()).values


@pytest.fixture
def grid(qtbot: QtBot) -> HeadGrid:
    widget = HeadGrid()
    qtbot.addWidget(widget)
    widget.resize(340, 400)
    widget.set_style(map_style(ViewOptions(), signed=False))
    widget.set_picture(picture_of(picture()))
    widget.set_maps(VALUES, BOX, enlarge_all)
    widget.show()
    qtbot.waitExposed(widget)
    return widget


def click(qtbot: QtBot, grid: HeadGrid, index: tuple[int, int]) -> None:
    place = grid.cell_rect(index).center().toPoint()
    qtbot.mouseClick(grid.viewport(), Qt.MouseButton.LeftButton, pos=place)


def test_entropy_and_strongest_against_their_formulas() -> None:
    values = np.random.default_rng(1).random((2, 3, 5, 4)).astype(np.float32)
    share = values.reshape(2, 3, 20) / values.reshape(2, 3, 20).sum(-1, keepdims=True)
    expected = -(share * np.log2(share)).sum(-1) / np.log2(20)
    np.testing.assert_allclose(entropy(values), expected, rtol=1e-5)
    np.testing.assert_allclose(strongest(values), share.max(-1), rtol=1e-6)
    assert entropy(VALUES)[1, 2] == 0
    assert entropy(VALUES)[0, 0] == pytest.approx(1)
    odd = np.stack([np.zeros((1, 4, 4)), np.full((1, 4, 4), np.nan), np.full((1, 4, 4), np.inf)])
    assert np.isfinite(entropy(odd.astype(np.float32))).all()
    assert entropy(np.ones((1, 1, 1, 1), np.float32))[0, 0] == 0


def test_order() -> None:
    assert ordered(entropy(VALUES), "layer")[:4] == [(0, 0), (0, 1), (0, 2), (1, 0)]
    assert ordered(entropy(VALUES), "entropy")[0] == (1, 2)
    assert ordered(strongest(VALUES), "strongest")[0] == (1, 2)


def test_many_maps_are_enlarged_as_each_alone() -> None:
    maps = np.random.default_rng(2).random((5, 4, 7)).astype(np.float32)
    for interpolation in ("bilinear", "bicubic", "nearest"):
        alone = np.stack([enlarge(each, (30, 41), interpolation) for each in maps])
        np.testing.assert_allclose(enlarge_all(maps, (30, 41), interpolation), alone, atol=1e-6)
    maps[2, 1, 1] = np.nan
    together = enlarge_all(maps, (30, 41), "bilinear")
    np.testing.assert_array_equal(together[2], enlarge(maps[2], (30, 41), "bilinear"))
    np.testing.assert_array_equal(np.isnan(together).any((1, 2)), [False, False, True, False, False])


def test_cells_lie_by_layer_and_head(grid: HeadGrid) -> None:
    first, right, below = (grid.cell_rect(index) for index in ((0, 0), (0, 1), (1, 0)))
    assert right.left() > first.right()
    assert right.top() == first.top()
    assert below.top() > first.bottom()
    assert below.left() == first.left()


def test_click_picks_and_again_releases(grid: HeadGrid, qtbot: QtBot) -> None:
    with qtbot.waitSignal(grid.picked) as picked:
        click(qtbot, grid, (1, 2))
    assert picked.args == [1, 2]
    with qtbot.waitSignal(grid.released), qtbot.assertNotEmitted(grid.picked):
        click(qtbot, grid, (1, 2))


def test_picking_follows_the_order_shown(grid: HeadGrid, qtbot: QtBot) -> None:
    grid.set_order("entropy")
    first = grid.cell_rect((1, 2))
    assert first.top() == min(grid.cell_rect(index).top() for index in grid.cells)
    with qtbot.waitSignal(grid.picked) as picked:
        qtbot.mouseClick(grid.viewport(), Qt.MouseButton.LeftButton, pos=first.center().toPoint())
    assert picked.args == [1, 2]


def test_several_heads_of_a_layer_stand_together(grid: HeadGrid, qtbot: QtBot) -> None:
    control = Qt.KeyboardModifier.ControlModifier
    heard: list[tuple[int, object]] = []
    grid.picked.connect(lambda layer, head: heard.append((layer, head)))
    click(qtbot, grid, (1, 2))
    place = grid.cell_rect((1, 0)).center().toPoint()
    qtbot.mouseClick(grid.viewport(), Qt.MouseButton.LeftButton, control, place)
    qtbot.keyClick(grid, Qt.Key.Key_Right)
    qtbot.keyClick(grid, Qt.Key.Key_Space, control)
    qtbot.keyClick(grid, Qt.Key.Key_Space, control)
    qtbot.keyClick(grid, Qt.Key.Key_Down)
    qtbot.keyClick(grid, Qt.Key.Key_Space, control)  # heads of another layer have nothing in common
    qtbot.keyClick(grid, Qt.Key.Key_X)
    assert heard == [(1, 2), (1, (0, 2)), (1, (0, 1, 2)), (1, (0, 2)), (2, 1), (2, "max")]
    name = QPoint(8, int(grid.cell_rect((3, 0)).center().y()))
    qtbot.mouseClick(grid.viewport(), Qt.MouseButton.LeftButton, pos=name)
    assert heard[-1] == (3, "mean")
    with qtbot.waitSignal(grid.pinned) as pinned:
        qtbot.keyClick(grid, Qt.Key.Key_P)
    assert pinned.args == [2, 1]


def test_numbers_of_a_region_and_an_order_by_them(grid: HeadGrid) -> None:
    assert grid.numbered_by == "entropy"
    assert grid.number((1, 2)) == "0.00"
    grid.set_order("region")  # nothing to sort by yet
    assert grid.cells[:2] == ((0, 0), (0, 1))
    numbers = np.linspace(0, 0.9, 12, dtype=np.float32).reshape(4, 3)
    grid.set_measures({"region": numbers, "agreement": -numbers})
    assert grid.cells[:2] == ((3, 2), (3, 1))
    assert grid.number((3, 2)) == "90 %"
    assert "90 % of its weight lies in the chosen region" in grid.explained((3, 2))
    grid.set_order("agreement")
    assert grid.cells[-1] == (3, 2)
    assert grid.number((3, 2)) == "\N{MINUS SIGN}0.90"
    grid.set_order("layer")
    assert grid.numbered_by == "region"
    grid.set_measures({})
    assert grid.numbered_by == "entropy"


def test_keys_move_pick_and_release(grid: HeadGrid, qtbot: QtBot) -> None:
    grid.setFocus()
    qtbot.keyClick(grid, Qt.Key.Key_Down)
    qtbot.keyClick(grid, Qt.Key.Key_Right)
    assert "Layer 2, head 2" in grid.accessibleDescription()
    with qtbot.waitSignal(grid.picked) as picked:
        qtbot.keyClick(grid, Qt.Key.Key_Return)
    assert picked.args == [1, 1]
    with qtbot.waitSignal(grid.released):
        qtbot.keyClick(grid, Qt.Key.Key_Escape)
    for _ in range(9):
        qtbot.keyClick(grid, Qt.Key.Key_Down)
    assert "Layer 4" in grid.accessibleDescription()


def test_the_focused_head_is_painted_where_it_looks(grid: HeadGrid) -> None:
    rect = grid.cell_rect((1, 2))
    shot = grid.grab().toImage()
    hot = shot.pixelColor(
        QPoint(int(rect.left() + 0.875 * rect.width()), int(rect.top() + 0.12 * rect.height()))
    )
    cold = shot.pixelColor(
        QPoint(int(rect.left() + 0.2 * rect.width()), int(rect.top() + 0.8 * rect.height()))
    )
    assert hot.red() > cold.red() + 80


def test_many_heads_scroll_and_stay_large_enough(grid: HeadGrid, qtbot: QtBot) -> None:
    grid.set_maps(np.random.default_rng(0).random((24, 16, 8, 8)).astype(np.float32), BOX, enlarge_all)
    assert grid.cell_rect((0, 0)).width() >= 44
    assert grid.horizontalScrollBar().maximum() > 0
    for _ in range(23):
        qtbot.keyClick(grid, Qt.Key.Key_Down)
    assert grid.viewport().rect().contains(grid.cell_rect((23, 0)).center().toPoint())
    grid.grab()


def test_sound_shows_curves_and_odd_values_paint(grid: HeadGrid) -> None:
    grid.set_picture(None)
    values = np.random.default_rng(0).random((4, 6, 150)).astype(np.float32)
    values[0, 0] = np.nan
    values[0, 1] = 0
    grid.set_maps(values)
    grid.grab()
    grid.set_picture(picture_of(picture()))
    grid.set_maps(np.full((2, 2, 4, 4), np.nan, np.float32), BOX, enlarge_all)
    grid.grab()
    grid.set_maps(np.zeros((0, 0, 1, 1), np.float32))
    grid.grab()


POINTS = (
    PointChoice("cross", "decoder cross-attention", 4, 3, "text tokens look at image patches"),
    PointChoice("self", "image self-attention", 6, 1),
)


@pytest.fixture
def chooser(qtbot: QtBot) -> MapChooser:
    widget = MapChooser()
    qtbot.addWidget(widget)
    widget.set_choices({"attention": "raw attention", "rollout": "attention rollout"}, POINTS)
    widget.show_spec("attention", None, None, "mean", ("cross", 2))
    return widget


def pick(combo: QComboBox, index: int) -> None:
    combo.setCurrentIndex(index)
    combo.activated.emit(index)


def test_auto_says_what_it_came_to(chooser: MapChooser) -> None:
    assert chooser.point.currentText() == "auto: decoder cross-attention"
    assert chooser.layer.currentText() == "layer: auto (3)"
    assert chooser.head.currentText() == "heads: mean"
    assert chooser.layer.count() == 5
    assert chooser.head.count() == 5


def test_choosing_tells_the_whole_spec(chooser: MapChooser, qtbot: QtBot) -> None:
    with qtbot.waitSignal(chooser.chosen) as chosen:
        pick(chooser.layer, 2)
    assert chosen.args == ["attention", None, 1, "mean"]
    with qtbot.waitSignal(chooser.chosen) as chosen:
        pick(chooser.head, 4)
    assert chosen.args == ["attention", None, 1, 2]
    with qtbot.waitSignal(chooser.chosen) as chosen:
        pick(chooser.point, 2)
    assert chosen.args == ["attention", "self", None, "mean"]


def test_showing_a_spec_emits_nothing(chooser: MapChooser, qtbot: QtBot) -> None:
    with qtbot.assertNotEmitted(chooser.chosen):
        chooser.show_spec("rollout", "self", 5, "mean", (None, None))
    assert chooser.method.currentText() == "attention rollout"
    assert chooser.layer.currentText() == "layer 6 of 6"
    assert not chooser.head.isEnabled()  # one head only


def test_every_chooser_explains_its_term(chooser: MapChooser, qtbot: QtBot) -> None:
    for combo in (chooser.method, chooser.point, chooser.layer, chooser.head):
        assert combo.toolTip().endswith(".")
        assert combo.accessibleName()
        assert combo.minimumHeight() >= 24


def test_narrow_rooms_break_into_rows(chooser: MapChooser) -> None:
    wide, narrow = chooser.layout().heightForWidth(1000), chooser.layout().heightForWidth(220)
    assert narrow >= 2 * wide
    chooser.resize(220, narrow)
    chooser.show()
    for combo in (chooser.method, chooser.point, chooser.layer, chooser.head):
        assert chooser.rect().contains(combo.geometry())


def test_view_controls_tell_each_option(qtbot: QtBot) -> None:
    ramp = np.repeat(np.arange(256, dtype=np.uint8)[:, None], 3, axis=1)
    controls = ViewControls({"inferno": ramp, "viridis": ramp})
    qtbot.addWidget(controls)
    heard: list[tuple[str, object]] = []
    controls.changed.connect(lambda name, value: heard.append((name, value)))
    controls.show_options(ViewOptions())
    assert heard == []
    assert controls.percent.text() == "65 %"
    qtbot.mouseClick(controls.show_grid, Qt.MouseButton.LeftButton)
    qtbot.keyClick(controls.opacity, Qt.Key.Key_PageDown)
    pick(controls.colormap, 1)
    pick(controls.interpolation, 2)
    qtbot.mouseClick(controls.show_map, Qt.MouseButton.LeftButton)
    qtbot.mouseClick(controls.shared_scale, Qt.MouseButton.LeftButton)
    assert heard == [
        ("show_grid", True),
        ("opacity", 0.55),
        ("colormap", "viridis"),
        ("interpolation", "nearest"),
        ("show_map", False),
        ("shared_scale", True),
    ]
    assert {name for name, _ in heard} == set(ViewOptions.__dataclass_fields__) - {"show_regions"}


def test_several_heads_that_were_asked_for_elsewhere_are_named(qtbot: QtBot) -> None:
    chooser = MapChooser()
    qtbot.addWidget(chooser)
    chooser.set_choices({"attention": "raw attention"}, [PointChoice("p", "P", 2, 4)])
    chooser.show_spec("attention", "p", None, (1, 3), (None, None))
    assert chooser.head.currentText() == "heads: mean of 2, 4"
    chooser.show_spec("attention", "p", None, "mean", (None, None))
    assert chooser.head.currentText() == "heads: mean"
    assert chooser.head.count() == 6
