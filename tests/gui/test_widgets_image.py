"""The picture with its map: real events, painted pixels, numbers under the cursor."""

from __future__ import annotations

import numpy as np
import pytest
from PySide6.QtCore import QEvent, QPoint, QPointF, QRectF, Qt
from PySide6.QtGui import QColor, QMouseEvent, QNativeGestureEvent, QPointingDevice, QWheelEvent
from PySide6.QtWidgets import QApplication
from pytestqt.qtbot import QtBot

from mmviewer.core.media.geometry import ImageGeometry, ResizeMode
from mmviewer.gui.view_model import enlarge, grid_box
from mmviewer.gui.widgets.image_view import FOOT, ImageView
from mmviewer.gui.widgets.map_card import CardText
from mmviewer.gui.widgets.map_layer import GridMap
from mmviewer.gui.widgets.painting import MapStyle, number
from mmviewer.gui.widgets.picture import Picture

RED = np.zeros((256, 4), np.uint8)
RED[:, 0] = 255
RED[:, 3] = np.arange(256)


def unchanged(pixels: np.ndarray) -> np.ndarray:
    return pixels


def grey(height: int, width: int) -> Picture:
    return Picture(np.full((height, width, 3), 128, np.uint8), (height, width), unchanged)


def grid_map(values: np.ndarray, geometry: ImageGeometry) -> GridMap:
    finite = values[np.isfinite(values)]
    high = float(finite.max(initial=0.0)) or 1.0
    return GridMap(values.astype(np.float32), grid_box(geometry), 0.0, high, enlarge)


def one_patch(row: int, column: int, size: tuple[int, int], mode: ResizeMode = "squash") -> GridMap:
    values = np.zeros((4, 4), np.float32)
    values[row, column] = 0.25
    return grid_map(values, ImageGeometry.for_resize(size, (32, 32), mode, (4, 4)))


@pytest.fixture
def view(qtbot: QtBot) -> ImageView:
    widget = ImageView()
    qtbot.addWidget(widget)
    widget.resize(420, 330)
    widget.set_style(MapStyle(RED, 0.0, "nearest"))
    widget.set_picture(grey(120, 160))
    widget.show()
    qtbot.waitExposed(widget)
    return widget


def at_source(view: ImageView, y: float, x: float) -> QPoint:
    return view.to_view(QRectF(x, y, 0, 0)).topLeft().toPoint()


def color_at(view: ImageView, y: float, x: float) -> QColor:
    return view.grab().toImage().pixelColor(at_source(view, y, x))


def test_the_map_is_painted_on_its_patch_and_nowhere_else(view: ImageView) -> None:
    view.set_map(one_patch(1, 2, (120, 160)))  # rows 30 to 60, columns 80 to 120
    inside = color_at(view, 45, 100)
    assert (inside.red(), inside.green(), inside.blue()) == (255, 0, 0)
    for y, x in [(45, 77), (45, 123), (27, 100), (63, 100)]:
        outside = color_at(view, y, x)
        assert (outside.red(), outside.green(), outside.blue()) == (128, 128, 128)


def test_hidden_map_leaves_the_picture_bare(view: ImageView) -> None:
    view.set_map(one_patch(1, 2, (120, 160)))
    view.set_style(MapStyle(RED, 1.0, "nearest", show_map=False))
    assert color_at(view, 45, 100).getRgb()[:3] == (128, 128, 128)


def test_the_part_cut_off_by_a_crop_is_hatched_and_reads_as_unseen(view: ImageView, qtbot: QtBot) -> None:
    view.set_map(one_patch(1, 2, (120, 160), "crop"))  # sees columns 20 to 140
    shot = view.grab().toImage()
    seen = {shot.pixelColor(at_source(view, y, 60)).name() for y in range(10, 110)}
    cut = {shot.pixelColor(at_source(view, y, 10)).name() for y in range(10, 110)}
    assert seen == {"#808080"}
    assert len(cut) > 3  # veil, lines and their edges
    qtbot.mouseMove(view, at_source(view, 60, 10))
    assert view.cell is None
    assert "not seen by the model" in view.readout()


def test_patches_that_reach_into_padding_are_painted_up_to_the_edge(view: ImageView, qtbot: QtBot) -> None:
    view.set_map(one_patch(0, 2, (120, 160), "pad"))  # rows -20 to 20, columns 80 to 120
    assert color_at(view, 2, 100).red() == 255
    assert color_at(view, 17, 100).red() == 255
    assert color_at(view, 23, 100).red() == 128
    qtbot.mouseMove(view, at_source(view, 3, 100))
    assert view.cell == (0, 2)
    qtbot.mouseMove(view, at_source(view, 3, 100) - QPoint(0, 12))  # above the picture: padding
    assert view.cell is None


def test_moving_over_patches_tells_cell_value_and_original_pixel(view: ImageView, qtbot: QtBot) -> None:
    view.set_map(one_patch(1, 2, (120, 160)))
    cells: list[object] = []
    view.cell_hovered.connect(cells.append)
    qtbot.mouseMove(view, at_source(view, 45, 100))
    assert cells[-1] == (1, 2)
    x, y = (int(v) for v in view.readout().split("px ")[1].split(", "))
    assert abs(x - 100) <= 1
    assert abs(y - 45) <= 1
    assert view.readout().startswith("patch (1, 2) · 0.250 · px")
    QApplication.sendEvent(view, QEvent(QEvent.Type.Leave))
    assert cells[-1] is None
    assert view.readout() == ""


def test_a_reduced_copy_speaks_in_pixels_of_the_original(view: ImageView, qtbot: QtBot) -> None:
    pixels = np.zeros((100, 200, 3), np.uint8)
    view.set_picture(Picture(pixels, (1000, 2000), unchanged))
    view.set_map(one_patch(3, 3, (1000, 2000)))
    qtbot.mouseMove(view, at_source(view, 990, 1990))
    assert view.cell == (3, 3)
    assert "px 19" in view.readout()


def test_wheel_zooms_at_the_pointer(view: ImageView) -> None:
    place = QPointF(at_source(view, 30, 40))
    before, zoom = view.to_source(place), view.zoom
    device = QPointingDevice.primaryPointingDevice()
    event = QWheelEvent(
        place,
        view.mapToGlobal(place),
        QPoint(),
        QPoint(0, 240),
        Qt.MouseButton.NoButton,
        Qt.KeyboardModifier.NoModifier,
        Qt.ScrollPhase.NoScrollPhase,
        False,
        Qt.MouseEventSource.MouseEventNotSynthesized,
        device,
    )
    QApplication.sendEvent(view, event)
    assert view.zoom == pytest.approx(zoom * 1.25**2)
    after = view.to_source(place)
    assert (after.x(), after.y()) == pytest.approx((before.x(), before.y()))


def test_pinching_on_a_touchpad_zooms_at_the_fingers(view: ImageView) -> None:
    place = QPointF(at_source(view, 90, 120))
    before, zoom = view.to_source(place), view.zoom
    event = QNativeGestureEvent(
        Qt.NativeGestureType.ZoomNativeGesture,
        QPointingDevice.primaryPointingDevice(),
        2,
        place,
        place,
        view.mapToGlobal(place),
        0.5,
        QPointF(),
    )
    QApplication.sendEvent(view, event)
    assert view.zoom == pytest.approx(1.5 * zoom)
    after = view.to_source(place)
    assert (after.x(), after.y()) == pytest.approx((before.x(), before.y()))


def test_keys_zoom_fit_and_walk_over_patches(view: ImageView, qtbot: QtBot) -> None:
    view.set_map(one_patch(1, 2, (120, 160)))
    fitted = view.zoom
    qtbot.keyClick(view, Qt.Key.Key_Plus, Qt.KeyboardModifier.ControlModifier)
    assert view.zoom == pytest.approx(1.25 * fitted)
    qtbot.keyClick(view, Qt.Key.Key_Minus, Qt.KeyboardModifier.ControlModifier)
    qtbot.keyClick(view, Qt.Key.Key_Minus)
    assert view.zoom == pytest.approx(fitted / 1.25)
    qtbot.keyClick(view, Qt.Key.Key_0, Qt.KeyboardModifier.ControlModifier)
    assert view.zoom == pytest.approx(fitted)
    with qtbot.waitSignal(view.cell_hovered):
        qtbot.keyClick(view, Qt.Key.Key_Right)
    qtbot.keyClick(view, Qt.Key.Key_Right)
    qtbot.keyClick(view, Qt.Key.Key_Right)
    qtbot.keyClick(view, Qt.Key.Key_Up)
    assert view.cell == (1, 3)
    assert "patch (1, 3)" in view.accessibleDescription()
    qtbot.keyClick(view, Qt.Key.Key_Escape)
    assert view.cell is None


def test_dragging_pans_and_a_double_click_fits(view: ImageView, qtbot: QtBot) -> None:
    before = view.to_view(QRectF(0, 0, 1, 1)).topLeft()
    qtbot.mousePress(view, Qt.MouseButton.LeftButton, pos=QPoint(200, 150))
    qtbot.mouseMove(view, QPoint(230, 160))
    qtbot.mouseRelease(view, Qt.MouseButton.LeftButton, pos=QPoint(230, 160))
    after = view.to_view(QRectF(0, 0, 1, 1)).topLeft()
    assert (after - before).toPoint() == QPoint(30, 10)
    qtbot.mouseDClick(view, Qt.MouseButton.LeftButton, pos=QPoint(200, 150))
    assert view.to_view(QRectF(0, 0, 1, 1)).topLeft() == before


def test_the_picture_cannot_be_lost(view: ImageView) -> None:
    view.pan_by(1e6, -1e6)
    assert view.to_view(QRectF(0, 0, 160, 120)).intersects(QRectF(view.rect()))


@pytest.mark.parametrize(
    ("size", "mode"),
    [((1, 1), "squash"), ((1, 5000), "squash"), ((5000, 1), "squash"), ((1, 1), "pad"), ((9, 160), "pad")],
)
def test_extreme_shapes_are_shown_and_read(
    view: ImageView, qtbot: QtBot, size: tuple[int, int], mode: ResizeMode
) -> None:
    view.set_picture(grey(*size))
    geometry = ImageGeometry.for_resize(size, (32, 32), mode, (4, 4))
    view.set_map(grid_map(np.random.default_rng(0).random((4, 4)), geometry))
    middle = at_source(view, size[0] / 2, size[1] / 2)
    qtbot.mouseMove(view, middle)
    view.zoom_by(50)
    view.grab()
    qtbot.mouseMove(view, middle + QPoint(1, 0))
    assert np.isfinite(view.zoom)
    assert "patch" in view.readout()


def test_missing_values_are_hatched_and_named(view: ImageView, qtbot: QtBot) -> None:
    geometry = ImageGeometry.for_resize((120, 160), (32, 32), "squash", (4, 4))
    values = np.full((4, 4), np.nan)
    values[0, 0] = 1.0
    for interpolation in ("nearest", "bilinear", "bicubic"):
        view.set_style(MapStyle(RED, 0.0, interpolation))
        view.set_map(grid_map(values, geometry))
        shot = view.grab().toImage()
        hatched = {shot.pixelColor(at_source(view, y, 100)).name() for y in range(40, 110)}
        assert len(hatched) > 3
        assert shot.pixelColor(at_source(view, 15, 20)).red() >= 250
    qtbot.mouseMove(view, at_source(view, 60, 80))
    assert "no value" in view.readout()
    view.set_map(grid_map(np.full((4, 4), np.nan), geometry))
    view.grab()


def test_patch_borders_are_drawn_where_the_patches_end(view: ImageView) -> None:
    view.set_map(one_patch(1, 2, (120, 160)))
    bare = view.grab().toImage()
    view.set_style(MapStyle(RED, 0.0, "nearest", show_grid=True))
    lined = view.grab().toImage()
    y = at_source(view, 100, 0).y()
    changed = [x for x in range(view.width()) if bare.pixel(x, y) != lined.pixel(x, y)]
    for column in (40, 80, 120):
        assert min(abs(x - at_source(view, 100, column).x()) for x in changed) <= 1


def test_marking_a_cell_from_elsewhere_emits_nothing(view: ImageView, qtbot: QtBot) -> None:
    view.set_map(one_patch(1, 2, (120, 160)))
    with qtbot.assertNotEmitted(view.cell_hovered):
        view.mark((2, 2))
    assert view.cell == (2, 2)


def test_nothing_to_show_paints_nothing(view: ImageView, qtbot: QtBot) -> None:
    view.set_picture(None)
    qtbot.keyClick(view, Qt.Key.Key_Plus)
    qtbot.keyClick(view, Qt.Key.Key_Right)
    qtbot.mouseMove(view, QPoint(50, 50))
    assert view.readout() == ""
    assert view.grab().toImage().pixelColor(200, 100) == view.palette().base().color()


@pytest.mark.parametrize("size", [(5000, 1), (1, 5000)])
def test_a_picture_thinner_than_a_pixel_is_still_seen(view: ImageView, size: tuple[int, int]) -> None:
    view.set_picture(grey(*size))
    shown = view.grab().toImage()
    middle = view.to_view(QRectF(0, 0, size[1], size[0])).center().toPoint()
    assert shown.pixelColor(middle) == QColor(128, 128, 128)


class TestCard:
    TEXT = CardText("“red” · attention", ("decoder cross-attention",), "It is attention, not attribution.")

    def test_it_goes_where_it_covers_least_of_the_map(self, view: ImageView) -> None:
        view.resize(420, 330)
        view.card.show_text(self.TEXT)
        view.set_map(one_patch(0, 3, (120, 160)))  # weight at the top right
        covered = view.card.geometry().translated(0, 0)
        assert not QRectF(covered).contains(view.to_view(QRectF(120, 0, 40, 30)).center())

    def test_a_small_view_folds_it_until_the_user_unfolds_it(self, view: ImageView, qtbot: QtBot) -> None:
        card = view.card
        card.show_text(self.TEXT)
        view.resize(260, 300)
        assert not card.is_open
        view.resize(700, 500)
        assert card.is_open
        view.resize(260, 300)
        qtbot.mouseDClick(card, Qt.MouseButton.LeftButton)
        view.resize(262, 300)
        assert card.is_open

    def test_drag_arrows_and_fold(self, view: ImageView, qtbot: QtBot) -> None:
        card = view.card
        card.show_text(self.TEXT)
        assert card.isVisible()
        start = card.pos()
        qtbot.mousePress(card, Qt.MouseButton.LeftButton, pos=QPoint(20, 40))
        move = QMouseEvent(
            QEvent.Type.MouseMove,
            QPointF(0, 60),
            card.mapToGlobal(QPointF(0, 60)),
            Qt.MouseButton.NoButton,
            Qt.MouseButton.LeftButton,
            Qt.KeyboardModifier.NoModifier,
        )
        QApplication.sendEvent(card, move)
        qtbot.mouseRelease(card, Qt.MouseButton.LeftButton, pos=QPoint(20, 40))
        moved = card.pos()
        assert moved != start
        qtbot.keyClick(card, Qt.Key.Key_Down)
        assert card.y() == moved.y() + 16
        tall = card.height()
        qtbot.keyClick(card, Qt.Key.Key_Space)
        assert card.height() < tall
        assert not card.is_open
        view.resize(300, 250)
        assert view.rect().contains(card.geometry().topLeft())
        qtbot.keyClick(card, Qt.Key.Key_Home)

    def test_it_says_all_to_a_screen_reader_and_hides_without_title(self, view: ImageView) -> None:
        view.card.show_text(self.TEXT)
        assert view.card.accessibleName() == self.TEXT.title
        assert "not attribution" in view.card.accessibleDescription()
        view.card.show_text(CardText())
        assert not view.card.isVisible()

    def test_markup_and_long_text_stay_plain_and_inside(self, view: ImageView) -> None:
        view.card.show_text(CardText("<b>x</b>" * 200, ("y" * 3000,), "\n".join("z" * 50 for _ in range(90))))
        assert view.card.width() <= view.width()
        assert view.card.height() < view.height() - FOOT


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0.0, "0"),
        (0.25, "0.250"),
        (0.0834, "0.0834"),
        (-0.5, "\N{MINUS SIGN}0.500"),
        (12.345, "12.3"),
        (200.0, "200"),
        (12345.6, "12,346"),
        (1e-7, "1.00e\N{MINUS SIGN}07"),
        (float("nan"), "no value"),
    ],
)
def test_numbers_are_short_and_true(value: float, text: str) -> None:
    assert number(value) == text


def test_a_card_that_fits_beside_the_picture_covers_nothing(view: ImageView) -> None:
    view.resize(800, 300)  # 360 x 270 of picture, 220 on either side
    view.card.show_text(
        CardText("“red” · attention", ("decoder cross-attention " * 3, "layer 3 of 4"), "no proof " * 9)
    )
    view.set_map(one_patch(1, 2, (120, 160)))
    picture = view.to_view(QRectF(0, 0, 160, 120))
    assert not picture.intersects(QRectF(view.card.geometry()))
    assert view.card.isVisible()
