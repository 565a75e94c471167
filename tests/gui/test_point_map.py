"""The map of points with real mouse and key events, and its parts against plain computations."""

from __future__ import annotations

import numpy as np
import pytest
from PySide6.QtCore import QPoint, QPointF, Qt
from PySide6.QtGui import QColor, QImage, QPalette, QWheelEvent
from PySide6.QtTest import QTest
from PySide6.QtWidgets import QApplication
from pytestqt.qtbot import QtBot

from mmviewer.gui.theme import DARK, LIGHT, palette
from mmviewer.gui.widgets.point_colours import HUES, hue, hues
from mmviewer.gui.widgets.point_index import PointIndex
from mmviewer.gui.widgets.point_lasso import inside
from mmviewer.gui.widgets.point_map import PointMap, Tool
from mmviewer.gui.widgets.point_map_paint import Card, Pin
from mmviewer.gui.widgets.point_raster import PointRaster, Window

SQUARE = np.array([[0, 0], [1, 0], [0, 1], [1, 1], [np.nan, 0]], np.float32)
KINDS = np.array([0, 1, 2, 255, 0], np.uint8)
LEFT = Qt.MouseButton.LeftButton


def cloud(count: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=(count, 2)).astype(np.float32)


@pytest.fixture
def view(qtbot: QtBot) -> PointMap:
    widget = PointMap()
    qtbot.addWidget(widget)
    widget.resize(500, 300)
    widget.set_points(SQUARE, KINDS)
    widget.set_names(
        lambda rows: [f"item {row}" for row in rows.tolist()], lambda row: Card(f"item {row}", ("a fact",))
    )
    widget.show()
    qtbot.waitExposed(widget)
    yield widget
    widget.release()


def drag(
    view: PointMap, *places: QPointF, keys: Qt.KeyboardModifier = Qt.KeyboardModifier.NoModifier
) -> None:
    points = [place.toPoint() for place in places]
    QTest.mousePress(view, LEFT, keys, points[0])
    for point in points[1:]:
        QTest.mouseMove(view, point)
    QTest.mouseRelease(view, LEFT, keys, points[-1])


def around(view: PointMap, *rows: int, reach: float = 20) -> list[QPointF]:
    """Corners of a line around points."""
    places = np.array([view.place_of(row).toTuple() for row in rows])
    (left, top), (right, bottom) = places.min(axis=0) - reach, places.max(axis=0) + reach
    corners = [(left, top), (right, top), (right, bottom), (left, bottom), (left, top)]
    return [QPointF(x, y) for x, y in corners]


# --- parts -------------------------------------------------------------------------------------------
def test_the_index_finds_what_a_plain_look_at_all_points_finds() -> None:
    points = cloud(20_000)
    points[::100] = np.nan
    index = PointIndex(points)
    rng = np.random.default_rng(1)
    for left, bottom in rng.uniform(-2, 1, (40, 2)):
        width, height = rng.uniform(0.01, 2, 2)
        low, high = np.array([left, bottom]), np.array([left + width, bottom + height])
        plain = np.flatnonzero(((points >= low) & (points <= high)).all(axis=1))
        found = index.rows_in(left, bottom, left + width, bottom + height)
        assert np.array_equal(np.sort(found), plain)
        assert index.about(left, bottom, left + width, bottom + height) >= len(plain)
        middle = (low + high) / 2
        distance = np.hypot(*(points - middle).T)
        nearest = int(np.nanargmin(distance))
        expected = nearest if distance[nearest] <= 0.05 else None
        assert index.nearest(*middle, (0.05, 0.05)) == expected


def test_a_selection_of_more_than_the_map_has_selects_what_it_has(view: PointMap, qtbot: QtBot) -> None:
    view.set_selection(np.array([1, 3, 5, 90]))
    assert view.selection.tolist() == [1, 3]
    view.set_selection(np.array([True, False, False, False, False, True]))
    assert view.selection.tolist() == [0]
    with qtbot.waitSignal(view.ready):
        view.set_points(np.zeros((0, 2), np.float32), np.zeros(0, np.uint8))
    view.set_selection(np.array([1]))
    assert view.selection.tolist() == []


def test_an_index_of_nothing_and_of_one_place() -> None:
    assert len(PointIndex(np.zeros((0, 2), np.float32)).rows_in(-1, -1, 1, 1)) == 0
    same = PointIndex(np.full((1000, 2), 3, np.float32))
    assert len(same.rows_in(2, 2, 4, 4)) == 1000
    assert len(PointIndex(np.full((5, 2), np.nan, np.float32)).rows_in(-9, -9, 9, 9)) == 0


def test_a_lasso_holds_what_the_even_odd_rule_says() -> None:
    points = cloud(30_000)
    turn = np.linspace(0, 4 * np.pi, 90)  # crosses itself
    line = np.stack(
        [np.cos(turn) * (1 + 0.4 * np.sin(3 * turn)), np.sin(turn) * 1.2 * np.cos(turn / 5)], axis=1
    )
    found = inside(line, points[:, 0], points[:, 1])
    crossings = np.zeros(len(points), int)
    for (x1, y1), (x2, y2) in zip(line, np.roll(line, -1, axis=0), strict=True):
        spans = (y1 <= points[:, 1]) != (y2 <= points[:, 1])
        at = x1 + (points[:, 1].astype(float) - y1) * (x2 - x1) / (y2 - y1 if y2 != y1 else 1)
        crossings += spans & (points[:, 0] < at)
    assert np.array_equal(found, crossings % 2 == 1)
    assert 0 < found.sum() < len(points)
    assert not inside(line[:2], points[:, 0], points[:, 1]).any()
    assert not inside(line, np.full(3, np.nan, np.float32), np.zeros(3, np.float32)).any()


@pytest.mark.parametrize("count", [300, 30_000, 120_000, 400_000])
def test_every_point_in_view_leaves_ink_and_nothing_else_does(count: int) -> None:
    points = cloud(count)
    raster = PointRaster(points, np.zeros(count, np.uint8), PointIndex(points))
    raster.set_ink(np.zeros(count, np.uint16), np.array([[200, 100, 50, 255]], np.uint8))
    window = Window(-2, 1.5, 200, 800, 600)
    words = raster.paint(window)
    cell = round(800 / words.shape[1])
    column = np.floor((points[:, 0] + 2) * 200 / cell).astype(int)
    line = np.floor((1.5 - points[:, 1]) * 200 / cell).astype(int)
    seen = (column >= 0) & (column < words.shape[1]) & (line >= 0) & (line < words.shape[0])
    # float32 may round a point at the edge of a cell into the next one: look at both
    near = np.pad(words > 0, 1)
    assert all(near[y : y + 3, x : x + 3].any() for y, x in zip(line[seen], column[seen], strict=True))
    if count > 100_000:  # one cell a point: no ink where no point is
        wanted = np.zeros(words.shape, bool)
        wanted[line[seen], column[seen]] = True
        assert ((words > 0) & ~wanted).mean() < 1e-3
        assert abs(int(seen.sum()) - raster.in_view) <= 3


def test_colours_show_as_often_as_they_are_there_and_a_higher_layer_comes_on_top() -> None:
    points = np.random.default_rng(0).uniform(0, 40, (400_000, 2)).astype(np.float32)  # a crowd
    raster = PointRaster(points, np.zeros(len(points), np.uint8), PointIndex(points))
    ink = (np.arange(len(points)) % 4 == 0).astype(np.uint16)
    colours = np.array([[255, 0, 0, 255], [0, 255, 0, 255]], np.uint8)
    window = Window(0, 40, 5, 200, 200)
    raster.set_ink(ink, colours)
    green = ((raster.paint(window) >> 8) & 255) > 0
    assert 0.2 < green.mean() < 0.3
    raster.set_order(np.ones(len(points), bool), ink.astype(np.uint8))
    raster.set_ink(ink, colours)
    assert (((raster.paint(window) >> 8) & 255) > 0).mean() > 0.85


def test_hues_can_be_told_from_the_ground_and_from_each_other() -> None:
    def light(colour: QColor) -> float:
        channels = np.array(colour.getRgbF()[:3])
        linear = np.where(channels <= 0.04045, channels / 12.92, ((channels + 0.055) / 1.055) ** 2.4)
        return float(linear @ (0.2126, 0.7152, 0.0722))

    for scheme in (DARK, LIGHT):
        colours = palette(scheme)
        ground = light(QColor(scheme.base)) + 0.05
        contrasts = [
            max(light(each) + 0.05, ground) / min(light(each) + 0.05, ground) for each in hues(colours)
        ]
        assert min(contrasts) >= 3
        rgb = np.array([each.getRgb()[:3] for each in hues(colours)], float)
        apart = np.linalg.norm(rgb[:, None] - rgb[None], axis=2)
        assert apart[~np.eye(HUES, dtype=bool)].min() > 30
        assert hue(HUES, colours) != hue(0, colours)


# --- the widget ----------------------------------------------------------------------------------------
def test_points_are_painted_where_they_lie(view: PointMap) -> None:
    picture = view.grab().toImage()
    ground = view.palette().color(QPalette.ColorRole.Base)
    for row in range(4):
        assert picture.pixelColor(view.place_of(row).toPoint()) != ground
    assert view.place_of(1).x() > view.place_of(0).x()
    assert view.place_of(2).y() < view.place_of(0).y()  # up is up
    across = view.place_of(1).x() - view.place_of(0).x()
    assert across == pytest.approx(view.place_of(0).y() - view.place_of(2).y())  # one scale on both axes


def test_click_picks_a_point_and_the_ground_lets_it_go(view: PointMap, qtbot: QtBot) -> None:
    picked: list[object] = []
    view.picked.connect(picked.append)
    qtbot.mouseClick(view, LEFT, pos=view.place_of(3).toPoint())
    qtbot.mouseClick(view, LEFT, pos=QPoint(250, 150))
    drag(view, view.place_of(1), view.place_of(1) + QPointF(-40, 0))
    assert picked == [3, None]


def test_a_drag_pans_and_a_wheel_zooms_about_the_pointer(view: PointMap, qtbot: QtBot) -> None:
    start = view.place_of(1)
    drag(view, QPointF(250, 150), QPointF(280, 170))
    assert (view.place_of(1) - start).toTuple() == pytest.approx((30, 20), abs=0.01)
    at = view.place_of(2)
    event = QWheelEvent(
        at,
        view.mapToGlobal(at),
        QPoint(),
        QPoint(0, 240),
        Qt.MouseButton.NoButton,
        Qt.KeyboardModifier.NoModifier,
        Qt.ScrollPhase.NoScrollPhase,
        False,
    )
    before = view.place_of(3).x() - view.place_of(2).x()
    QApplication.sendEvent(view, event)
    assert (view.place_of(2) - at).manhattanLength() < 0.01
    assert view.place_of(3).x() - view.place_of(2).x() > before * 1.3
    qtbot.keyClick(view, Qt.Key.Key_0)
    assert view.place_of(1).toTuple() == pytest.approx(start.toTuple())


def test_panning_shows_the_same_points_as_painting_anew(qtbot: QtBot) -> None:
    view = PointMap()
    qtbot.addWidget(view)
    view.resize(400, 300)
    view.set_points(cloud(60_000), np.zeros(60_000, np.uint8))
    qtbot.waitUntil(lambda: not view.preparing)
    view.show()
    qtbot.waitExposed(view)
    view.grab()
    drag(view, QPointF(200, 150), QPointF(240, 120))
    moved = view.grab().toImage()
    view.resize(401, 300)  # throws away what is painted
    view.resize(400, 300)
    fresh = view.grab().toImage()
    different = sum(
        moved.pixel(x, y) != fresh.pixel(x, y) for x in range(0, 400, 7) for y in range(0, 300, 7)
    )
    assert different < 25  # of 2,500: only the opacity of crowds may differ
    view.release()


def test_hover_tells_the_point_and_shows_a_card(view: PointMap, qtbot: QtBot) -> None:
    hovered: list[object] = []
    view.hovered.connect(hovered.append)
    before = view.grab().toImage()
    qtbot.mouseMove(view, view.place_of(3).toPoint())
    qtbot.waitUntil(lambda: hovered == [3])
    assert view.grab().toImage() != before
    qtbot.mouseMove(view, QPoint(250, 150))
    qtbot.waitUntil(lambda: hovered == [3, None])


def test_lasso_selects_shift_adds_alt_takes_away(view: PointMap) -> None:
    selections: list[list[int]] = []
    view.selection_changed.connect(lambda rows: selections.append(rows.tolist()))
    view.set_tool(Tool.LASSO)
    drag(view, *around(view, 0, 1))
    drag(view, *around(view, 2), keys=Qt.KeyboardModifier.ShiftModifier)
    drag(view, *around(view, 1), keys=Qt.KeyboardModifier.AltModifier)
    assert selections == [[0, 1], [0, 1, 2], [0, 2]]
    view.set_tool(Tool.MOVE)
    drag(view, *around(view, 3), keys=Qt.KeyboardModifier.ShiftModifier)  # also while panning
    assert selections[-1] == [0, 2, 3]


def test_rectangle_invert_all_and_escape(view: PointMap, qtbot: QtBot) -> None:
    view.set_tool(Tool.RECTANGLE)
    corners = around(view, 1, 3)
    drag(view, corners[0], corners[2])
    assert view.selection.tolist() == [1, 3]
    qtbot.keyClick(view, Qt.Key.Key_I)
    assert view.selection.tolist() == [0, 2]  # the one that is nowhere cannot be selected
    qtbot.keyClick(view, Qt.Key.Key_A, Qt.KeyboardModifier.ControlModifier)
    assert view.selection.tolist() == [0, 1, 2, 3]
    qtbot.keyClick(view, Qt.Key.Key_Escape)
    assert len(view.selection) == 0


def test_a_mask_hides_points_from_eyes_clicks_and_lassos(view: PointMap, qtbot: QtBot) -> None:
    view.set_mask(np.array([True, False, True, True, True]))
    ground = view.palette().color(QPalette.ColorRole.Base)
    assert view.grab().toImage().pixelColor(view.place_of(1).toPoint()) == ground
    assert view.row_at(view.place_of(1)) is None
    qtbot.keyClick(view, Qt.Key.Key_A, Qt.KeyboardModifier.ControlModifier)
    assert view.selection.tolist() == [0, 2, 3]


def test_keys_step_to_the_next_point_and_open_it(view: PointMap, qtbot: QtBot) -> None:
    picked: list[int] = []
    opened: list[int] = []
    view.picked.connect(lambda row: (picked.append(row), view.set_picked(row)))
    view.opened.connect(opened.append)
    view.set_picked(0)
    for key in (Qt.Key.Key_Right, Qt.Key.Key_Up, Qt.Key.Key_Left, Qt.Key.Key_Return):
        qtbot.keyClick(view, key)
    assert picked == [1, 3, 2]
    assert opened == [2]
    qtbot.mouseDClick(view, LEFT, pos=view.place_of(1).toPoint())
    assert opened == [2, 1]


def test_pictures_are_asked_for_in_view_only_and_a_picked_one_is_in_front(qtbot: QtBot) -> None:
    view = PointMap()
    qtbot.addWidget(view)
    view.resize(400, 300)
    asked: list[int] = []

    def pictures(rows: np.ndarray) -> list[np.ndarray]:
        asked.extend(rows.tolist())
        return [np.full((8, 8, 3), (250, 0, 0) if row == 7 else (0, 0, 250), np.uint8) for row in rows]

    points = np.concatenate([cloud(200) * 0.2, [[50, 50]]]).astype(np.float32)
    view.set_points(points, np.zeros(201, np.uint8))
    view.set_pictures(pictures)
    view.look_at(np.arange(200))
    view.show()
    qtbot.waitExposed(view)
    qtbot.waitUntil(lambda: len(asked) > 10)
    view.set_picked(7)
    qtbot.waitUntil(lambda: 7 in asked)
    view.grab()
    colour = view.grab().toImage().pixelColor(view.place_of(7).toPoint())
    assert colour.red() > 200 > 60 > colour.blue()
    assert 200 not in asked
    asked.clear()
    view.show_pictures = False
    view.forget_pictures()
    view.grab()
    assert not asked
    view.release()


def test_names_of_clusters_do_not_overlap(view: PointMap) -> None:
    def ink(labels: list[tuple[float, float, str]]) -> QImage:
        view.set_labels(labels)
        return view.grab().toImage()

    one = ink([(0.5, 0.5, "first")])
    assert ink([(0.5, 0.5, "first"), (0.51, 0.5, "second")]) == one
    assert ink([(0.5, 0.5, "first"), (0.5, 0.9, "second")]) != one


def test_colours_by_class_and_number_and_the_rest_grey(view: PointMap) -> None:
    codes = np.array([0, 1, 2, -1, 0], np.int32)
    view.set_colours(codes, ["a", "b", "c"], shown=[2])
    colours = hues(view.palette())
    assert view.colour_of(2) == colours[0]
    greys = {view.colour_of(row).name() for row in (0, 1, 3)}
    assert len(greys) == 1
    view.show_classes([0, 1])
    assert (view.colour_of(0), view.colour_of(1)) == (colours[0], colours[1])
    scale = view.set_values(np.array([0, 1, 2, np.nan, 4], np.float32), "size")
    assert (scale.label, scale.low < 0.1, scale.high > 3.8) == ("size", True, True)
    assert view.colour_of(3).name() in greys
    assert len({view.colour_of(row).name() for row in (0, 1, 2)}) == 3
    with pytest.raises(ValueError, match="codes"):
        view.set_colours(codes[:2], ["a"])


def test_a_selection_stands_out(view: PointMap) -> None:
    def strength(row: int) -> int:
        picture = view.grab().toImage()
        ground = view.palette().color(QPalette.ColorRole.Base).getRgb()
        return sum(
            abs(a - b)
            for a, b in zip(picture.pixelColor(view.place_of(row).toPoint()).getRgb(), ground, strict=True)
        )

    before = strength(0)
    view.set_selection(np.array([1]))
    assert strength(0) < before / 2
    assert strength(1) > before / 2


def test_many_points_come_without_a_long_stall_and_keep_what_is_of_the_same_rows(qtbot: QtBot) -> None:
    view = PointMap()
    qtbot.addWidget(view)
    view.resize(400, 300)
    points = cloud(200_000)
    with qtbot.waitSignal(view.ready, timeout=20_000):
        view.set_points(points, np.zeros(len(points), np.uint8))
        assert view.preparing
        assert view.count == 0  # what was there stays until then
    view.set_selection(np.arange(10))
    with qtbot.waitSignal(view.ready, timeout=20_000):
        view.set_points(points[:, ::-1], np.zeros(len(points), np.uint8), keep_view=True)
    assert view.selection.tolist() == list(range(10))
    with qtbot.waitSignal(view.ready, timeout=20_000):
        view.set_points(points[:100_000], np.zeros(100_000, np.uint8))
    assert len(view.selection) == 0
    view.release()


def test_pins_show_where_questions_lie(view: PointMap) -> None:
    before = view.grab().toImage()
    view.set_pins([Pin(0.5, 0.5, "a red bicycle", "1")])
    after = view.grab().toImage()
    middle = view._view.to_pixels(0.5, 0.5).toPoint()
    assert before.pixelColor(middle) != after.pixelColor(middle)


def test_strange_points_do_no_harm(qtbot: QtBot) -> None:
    view = PointMap()
    qtbot.addWidget(view)
    view.resize(300, 200)
    for points in (
        np.zeros((0, 2), np.float32),
        np.full((3, 2), np.nan, np.float32),
        np.zeros((4, 2), np.float32),
        np.array([[1e30, -1e30], [0, 0], [np.inf, 0]], np.float32),
    ):
        view.set_points(points, np.zeros(len(points), np.uint8))
        view.grab()
        view.select_all()
        view.fit()
        view.grab()
    with pytest.raises(ValueError, match="kind"):
        view.set_points(np.zeros((2, 2), np.float32), np.zeros(1, np.uint8))
    view.release()
