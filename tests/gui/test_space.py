"""Scatter and space panel with real key and mouse events."""

from __future__ import annotations

import numpy as np
import pytest
from helpers_space import HandJobs, image, model, sound, text
from PySide6.QtCore import QPoint, QPointF, Qt
from PySide6.QtGui import QColor, QImage
from pytestqt.qtbot import QtBot

from mmviewer.core.session.state import LibraryItem
from mmviewer.core.space.neighbours import nearest
from mmviewer.core.space.projection.base import project
from mmviewer.core.types import Embeddings, Media, Modality
from mmviewer.engine.protocol import ErrorReport, OpenText, ProgressEvent, Project
from mmviewer.gui.panels.space import SpacePanel
from mmviewer.gui.thumbnails import SIDE, Thumbnails
from mmviewer.gui.widgets import scatter_paint
from mmviewer.gui.widgets.scatter_view import Plane, ScatterView, kind_colours
from mmviewer.gui.workbench import Workbench

SQUARE = np.array([[0, 0], [1, 0], [0, 1], [1, 1]], np.float32)


def place(view: ScatterView, index: int) -> QPoint:
    return QPointF(*view.pixels()[index]).toPoint()


@pytest.fixture
def view(qtbot: QtBot) -> ScatterView:
    widget = ScatterView()
    qtbot.addWidget(widget)
    widget.resize(500, 300)
    kinds = ("image", "text", "audio", "image")
    widget.set_plane(Plane(("a", "b", "c", "d"), ("A", "B", "C", "D"), kinds, SQUARE))
    widget.show()
    qtbot.waitExposed(widget)
    return widget


# --- scatter ---------------------------------------------------------------------------------------
def test_points_are_painted_where_the_plane_says(view: ScatterView, qtbot: QtBot) -> None:
    qtbot.wait(50)
    picture = view.viewport().grab().toImage()
    colours = kind_colours(view.palette())
    for index, kind in enumerate(view.plane.kinds):
        seen = picture.pixelColor(place(view, index))
        wanted, ground = colours[kind], view.palette().base().color()
        near = sum(abs(a - b) for a, b in zip(seen.getRgb()[:3], wanted.getRgb()[:3], strict=True))
        far = sum(abs(a - b) for a, b in zip(seen.getRgb()[:3], ground.getRgb()[:3], strict=True))
        assert near < far
    pixels = view.pixels()
    assert pixels[0, 0] < pixels[1, 0]
    assert pixels[0, 1] > pixels[2, 1]  # up is up


def test_click_chooses_and_a_drag_does_not(view: ScatterView, qtbot: QtBot) -> None:
    chosen: list[str] = []
    view.point_chosen.connect(chosen.append)
    qtbot.mouseClick(view.viewport(), Qt.MouseButton.LeftButton, pos=place(view, 2))
    assert chosen == ["c"]
    start = place(view, 1)
    qtbot.mousePress(view.viewport(), Qt.MouseButton.LeftButton, pos=start)
    qtbot.mouseMove(view.viewport(), start + QPoint(-40, 0))
    qtbot.mouseRelease(view.viewport(), Qt.MouseButton.LeftButton, pos=start + QPoint(-40, 0))
    assert chosen == ["c"]


def test_hover_tells_the_point_and_shows_a_card(view: ScatterView, qtbot: QtBot) -> None:
    hovered: list[str | None] = []
    view.point_hovered.connect(hovered.append)
    before = view.viewport().grab().toImage()
    qtbot.mouseMove(view.viewport(), place(view, 3))
    qtbot.waitUntil(lambda: hovered == ["d"])
    assert view.viewport().grab().toImage() != before
    qtbot.mouseMove(view.viewport(), QPoint(250, 150))
    qtbot.waitUntil(lambda: hovered == ["d", None])


def test_arrow_keys_step_to_the_neighbour_in_that_direction(view: ScatterView, qtbot: QtBot) -> None:
    view.point_chosen.connect(view.set_current)
    view.set_current("a")
    view.setFocus()
    keys = (Qt.Key.Key_Right, Qt.Key.Key_Up, Qt.Key.Key_Left, Qt.Key.Key_Down)
    for key, expected in zip(keys, "bdca", strict=True):
        qtbot.keyClick(view, key)
        assert view.current == expected
    qtbot.keyClick(view, Qt.Key.Key_Left)
    assert view.current == "a"  # nothing lies there


def test_keys_zoom_and_fit(view: ScatterView, qtbot: QtBot) -> None:
    def width() -> float:
        left, right = view.getPlotItem().getViewBox().viewRange()[0]
        return float(right - left)

    fitted = width()
    qtbot.keyClick(view, Qt.Key.Key_Plus)
    assert width() < fitted
    qtbot.keyClick(view, Qt.Key.Key_0)
    assert width() == pytest.approx(fitted)


def test_all_points_stay_in_view_until_the_user_moves_them(view: ScatterView, qtbot: QtBot) -> None:
    view.resize(700, 160)
    qtbot.wait(20)
    inside = view.viewport().rect().adjusted(20, 20, -20, -20)
    assert all(inside.contains(place(view, index)) for index in range(4))
    qtbot.keyClick(view, Qt.Key.Key_Plus)
    zoomed = view.getPlotItem().getViewBox().viewRange()
    view.resize(720, 160)
    qtbot.wait(20)
    assert view.getPlotItem().getViewBox().viewRange() == zoomed


def test_lines_lead_to_the_nearest(view: ScatterView, qtbot: QtBot) -> None:
    view.set_current("a", [("b", 0.9), ("gone", 0.8)])
    qtbot.wait(20)
    middle = (view.pixels()[0] + view.pixels()[1]) / 2
    picture = view.viewport().grab().toImage()
    ground = view.palette().base().color()
    y = round(middle[1])
    columns = range(round(middle[0]) - 30, round(middle[0]) + 30)
    row = [picture.pixelColor(x, y + dy) for x in columns for dy in (-1, 0)]
    assert any(colour != ground for colour in row)


def test_pictures_are_painted_in_place(view: ScatterView, qtbot: QtBot) -> None:
    red = QImage(40, 40, QImage.Format.Format_RGB32)
    red.fill(QColor("red"))
    view.set_pictures(lambda item_id: red if item_id == "d" else None)
    qtbot.wait(20)
    spot = place(view, 3) + QPoint(10, 10)
    assert view.viewport().grab().toImage().pixelColor(spot) == QColor("red")


@pytest.mark.parametrize("points", [np.zeros((1, 2), np.float32), np.zeros((3, 2), np.float32)])
def test_one_point_and_equal_points(qtbot: QtBot, points: np.ndarray) -> None:
    view = ScatterView()
    qtbot.addWidget(view)
    names = tuple("abc"[: len(points)])
    view.set_plane(Plane(names, names, ("image",) * len(points), points))
    view.show()
    assert np.isfinite(view.pixels()).all()
    qtbot.mouseClick(view.viewport(), Qt.MouseButton.LeftButton, pos=place(view, 0))
    view.set_plane(Plane())
    qtbot.mouseClick(view.viewport(), Qt.MouseButton.LeftButton, pos=QPoint(5, 5))


def test_a_hundred_thousand_points_become_a_density(qtbot: QtBot) -> None:
    view = ScatterView()
    qtbot.addWidget(view)
    view.resize(600, 300)
    view.show()
    count = 100_000
    points = np.random.default_rng(0).normal(size=(count, 2)).astype(np.float32)
    ids = tuple(str(number) for number in range(count))
    view.set_plane(Plane(ids, ids, ("image",) * count, points))
    qtbot.wait(100)
    assert not view.viewport().grab().isNull()
    view.index_at(QPointF(300, 150))
    box = view.getPlotItem().getViewBox()
    box.setRange(xRange=(0, 0.01), yRange=(0, 0.01))
    qtbot.waitUntil(lambda: not view._density.isVisible())  # few in view: points again


def test_plane_of_uneven_parts_is_refused() -> None:
    with pytest.raises(ValueError, match="one name"):
        Plane(("a",), (), (), np.zeros((1, 2), np.float32))


# --- thumbnails ------------------------------------------------------------------------------------
@pytest.mark.parametrize("shape", [(1, 1, 3), (1, 5000, 3), (3000, 2000, 3)])
def test_thumbnails_of_any_picture(qtbot: QtBot, shape: tuple[int, int, int]) -> None:
    media = Media("x", Modality.IMAGE, "x", pixels=np.full(shape, 200, np.uint8))
    picture = Thumbnails().of(media)
    assert picture is not None
    assert max(picture.width(), picture.height()) <= SIDE


def test_thumbnails_of_sound_and_text(qtbot: QtBot) -> None:
    thumbnails = Thumbnails()
    silent = Media("s", Modality.AUDIO, "s", samples=np.zeros(0, np.float32))
    for item in (sound("bell"), LibraryItem(silent, "s")):
        assert thumbnails.of(item.media) is not None
    assert thumbnails.of(text("a word").media) is None
    thumbnails.keep(["bell"])
    assert set(thumbnails._made) == {"bell"}


# --- panel -----------------------------------------------------------------------------------------
@pytest.fixture
def jobs(qtbot: QtBot) -> HandJobs:
    return HandJobs()


@pytest.fixture
def panel(jobs: HandJobs, qtbot: QtBot):  # type: ignore[no-untyped-def]
    workbench = Workbench(jobs)  # type: ignore[arg-type]
    panel = SpacePanel(workbench)
    qtbot.addWidget(panel)
    panel.resize(900, 320)
    panel.show()
    yield panel
    panel.release()
    workbench.release()


ITEMS = [image(f"pic{number}", number * 20) for number in range(8)] + [text("a dog"), sound("bell")]


def answer(jobs: HandJobs) -> Embeddings:
    """Embed as random directions and place them by the projection that was asked for."""
    asked = jobs.last(Project)
    request = asked.request
    assert isinstance(request, Project)
    vectors = np.random.default_rng(3).normal(size=(len(request.items), 8)).astype(np.float32)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    ids = tuple(item.id for item in request.items)
    embeddings = Embeddings(ids, tuple(item.modality for item in request.items), vectors, "clip")
    asked.done((embeddings, project(embeddings, request.method)))
    return embeddings


def fill_library(panel: SpacePanel, jobs: HandJobs, qtbot: QtBot) -> Embeddings:
    panel.state.set_items(ITEMS)
    panel.state.set_model(model())
    panel.workbench.choose("pic3")
    qtbot.waitUntil(lambda: jobs.count(Project) == 1)
    return answer(jobs)


def test_panel_says_what_to_do(panel: SpacePanel) -> None:
    assert "Load a model" in panel.stack.message
    panel.state.set_model(model())
    assert "Add items" in panel.stack.message


def test_items_are_placed_by_pca_with_lines_to_the_true_nearest(
    panel: SpacePanel, jobs: HandJobs, qtbot: QtBot
) -> None:
    embeddings = fill_library(panel, jobs, qtbot)
    request = jobs.last(Project).request
    assert isinstance(request, Project)
    assert request.method == "pca"
    assert "bell" not in panel.scatter.plane.ids  # the model embeds no sound
    assert panel.scatter.plane.kinds.count("text") == 1
    row = embeddings.items.index("pic3")
    cosines = embeddings.vectors @ embeddings.vectors[row]
    expected = [index for index in np.argsort(-cosines) if index != row][:5]
    drawn = panel.scatter._nearest
    assert [index for index, _ in drawn] == expected
    assert [cosine for _, cosine in drawn] == pytest.approx(sorted(cosines[expected], reverse=True))
    for words in ("PCA of 9 items", "8 images ●, 1 text ▲", "variance", "image–text gap"):
        assert words in panel.summary.text


def test_click_chooses_the_item_everywhere(panel: SpacePanel, jobs: HandJobs, qtbot: QtBot) -> None:
    fill_library(panel, jobs, qtbot)
    view = panel.scatter
    qtbot.mouseClick(view.viewport(), Qt.MouseButton.LeftButton, pos=place(view, 5))
    assert panel.state.current is not None
    assert panel.state.current.id == view.current == panel.state.selection[0]
    embeddings = panel.state.embeddings
    assert embeddings is not None
    rows, _ = nearest(embeddings.vectors, embeddings.items.index(panel.state.current.id), 5)
    assert [index for index, _ in view._nearest] == rows.tolist()


def test_umap_runs_beside_the_plane_shows_progress_and_can_be_cancelled(
    panel: SpacePanel, jobs: HandJobs, qtbot: QtBot
) -> None:
    fill_library(panel, jobs, qtbot)
    panel.method.setCurrentIndex(panel.method.findData("umap"))
    asked = jobs.last(Project)
    assert asked.request.method == "umap"  # type: ignore[attr-defined]
    asked.progress(ProgressEvent(1, 50, 200, "epoch 50 of 200"))
    assert panel.progress.value() / panel.progress.maximum() == pytest.approx(0.25)
    assert panel.progress_text.text == "epoch 50 of 200"
    assert panel.stack.message == ""  # the plane stays
    qtbot.mouseClick(panel.stop, Qt.MouseButton.LeftButton)
    assert asked.cancelled
    assert not panel.progress.isVisible()
    assert "PCA" in panel.summary.text


def test_new_items_are_placed_at_once_then_by_the_chosen_method(
    panel: SpacePanel, jobs: HandJobs, qtbot: QtBot
) -> None:
    fill_library(panel, jobs, qtbot)
    panel.method.setCurrentIndex(panel.method.findData("umap"))
    before = jobs.count(Project)
    panel.state.set_items([*ITEMS, text("a cat")])
    qtbot.waitUntil(lambda: jobs.count(Project) == before + 1)
    assert jobs.last(Project).request.method == "pca"  # type: ignore[attr-defined]
    answer(jobs)
    assert jobs.last(Project).request.method == "umap"  # type: ignore[attr-defined]
    assert "a cat" in panel.scatter.plane.names


def test_rename_embeds_nothing_anew(panel: SpacePanel, jobs: HandJobs, qtbot: QtBot) -> None:
    fill_library(panel, jobs, qtbot)
    before = jobs.count(Project)
    panel.state.set_items([LibraryItem(ITEMS[0].media, "another name"), *ITEMS[1:]])
    qtbot.wait(300)
    assert jobs.count(Project) == before
    assert panel.scatter.plane.names[0] == "another name"


def test_typed_text_becomes_an_item(panel: SpacePanel, jobs: HandJobs, qtbot: QtBot) -> None:
    qtbot.keyClicks(panel.text, "a red bicycle")
    qtbot.keyClick(panel.text, Qt.Key.Key_Return)
    request = jobs.last(OpenText).request
    assert isinstance(request, OpenText)
    assert request.text == "a red bicycle"
    assert panel.text.text() == ""


def test_failures_are_said_in_place(panel: SpacePanel, jobs: HandJobs, qtbot: QtBot) -> None:
    panel.state.set_items(ITEMS)
    panel.state.set_model(model())
    qtbot.waitUntil(lambda: jobs.count(Project) == 1)
    jobs.last(Project).failed(ErrorReport("DeviceError", "Out of memory; remove items.", "trace"))
    assert panel.stack.message == "Out of memory; remove items."
    panel.stack.acted.emit()
    answer(jobs)
    assert panel.stack.message == ""
    panel.method.setCurrentIndex(panel.method.findData("umap"))
    jobs.last(Project).failed(ErrorReport("InputError", "UMAP needs more items."))
    assert panel.progress_text.text == "UMAP needs more items."
    assert panel.stack.message == ""


def test_cosines_have_a_real_minus_and_no_negative_zero():
    assert scatter_paint._cosine(np.float32(-0.004)) == "0.00"
    assert scatter_paint._cosine(-0.1) == "\N{MINUS SIGN}0.10"
