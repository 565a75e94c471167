"""Regions in the window: drawn, moved, named, undone, kept; shares of words in the strip and the table."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from helpers_viewer import image_maps, picture, sequence, time_maps, tone
from PySide6.QtCore import QPoint, Qt
from PySide6.QtWidgets import QWidget
from pytestqt.qtbot import QtBot

from mmviewer import paths
from mmviewer.core.session.settings import Settings
from mmviewer.core.session.state import LibraryItem
from mmviewer.core.targets import SequenceTarget
from mmviewer.core.types import MapSpec, Media, Modality
from mmviewer.engine.protocol import EngineStatus
from mmviewer.gui.jobs import Jobs
from mmviewer.gui.panels.regions import RegionsPanel
from mmviewer.gui.panels.tokens import TokensPanel
from mmviewer.gui.panels.viewer import ViewerPanel
from mmviewer.gui.workbench import Workbench


@pytest.fixture
def remembering(engine: Jobs, user_folders: Path) -> Iterator[Workbench]:
    """A workbench whose settings came from a file, so that it keeps what is drawn."""
    bench = Workbench(engine, settings=Settings.load(paths.config_dir() / "settings.json"))
    bench.engine_status = EngineStatus("ready")
    yield bench
    for key in list(bench.activities.running()):
        bench.cancel(key)
    bench.release()
    bench.deleteLater()


def shown(qtbot: QtBot, panel: QWidget, size: tuple[int, int] = (640, 480)) -> None:
    qtbot.addWidget(panel)
    panel.resize(*size)
    panel.show()
    qtbot.waitExposed(panel)


def with_maps(bench: Workbench, item: LibraryItem, maps: object) -> None:
    bench.settings.generate_on_choose = False
    bench.state.set_items([item])
    bench.choose(item.id)
    bench.state.set_sequence(sequence(item))
    bench.state.set_maps(maps)


def drag(qtbot: QtBot, widget: QWidget, start: QPoint, *points: QPoint) -> None:
    qtbot.mousePress(widget, Qt.MouseButton.LeftButton, pos=start)
    for point in points:
        qtbot.mouseMove(widget, point)
    qtbot.mouseRelease(widget, Qt.MouseButton.LeftButton, pos=points[-1])


@pytest.fixture
def viewer(qtbot: QtBot, remembering: Workbench) -> Iterator[ViewerPanel]:
    panel = ViewerPanel(remembering)
    shown(qtbot, panel)
    item = picture()
    with_maps(remembering, item, image_maps(item))
    yield panel
    panel.release()


def at(viewer: ViewerPanel, x: float, y: float) -> QPoint:
    """A point of the original in the view."""
    from PySide6.QtCore import QRectF

    return viewer.image.to_view(QRectF(x, y, 0, 0)).topLeft().toPoint()


def test_a_rectangle_is_drawn_chosen_moved_and_undone(qtbot: QtBot, viewer: ViewerPanel) -> None:
    bench, state = viewer.workbench, viewer.state
    qtbot.keyClick(viewer.image, Qt.Key.Key_R)
    assert viewer.region_bar.box.isChecked()
    drag(qtbot, viewer.image, at(viewer, 40, 30), at(viewer, 60, 50), at(viewer, 80, 90))
    (drawn,) = state.annotations_of("picture")
    np.testing.assert_allclose(drawn.box, (30, 40, 90, 80), atol=0.5)
    assert state.region == drawn
    qtbot.keyClick(viewer.image, Qt.Key.Key_Escape)
    assert viewer.image.regions.tool == ""
    assert not viewer.region_bar.box.isChecked()
    drag(qtbot, viewer.image, at(viewer, 40, 60), at(viewer, 50, 65), at(viewer, 60, 70))  # by its left edge
    np.testing.assert_allclose(state.annotations_of("picture")[0].box, (40, 60, 100, 100), atol=1)
    drag(qtbot, viewer.image, at(viewer, 100, 100), at(viewer, 120, 110), at(viewer, 130, 110))  # by a corner
    np.testing.assert_allclose(state.annotations_of("picture")[0].box, (40, 60, 110, 130), atol=1)
    assert state.region == state.annotations_of("picture")[0]
    qtbot.keyClick(viewer.image, Qt.Key.Key_Right, Qt.KeyboardModifier.AltModifier)
    assert state.annotations_of("picture")[0].box[1] == pytest.approx(61.6, abs=1)
    for _ in range(3):
        bench.undo_stack.undo()
    assert state.annotations_of("picture") == (drawn,)
    qtbot.keyClick(viewer.image, Qt.Key.Key_Delete)
    assert state.annotations_of("picture") == ()
    assert state.region is None
    bench.undo_stack.undo()
    bench.annotations.choose(drawn.id)
    qtbot.keyClick(viewer.image, Qt.Key.Key_Escape)
    assert state.region is None


def test_lasso_and_keyboard_box(qtbot: QtBot, viewer: ViewerPanel) -> None:
    state = viewer.state
    qtbot.keyClick(viewer.image, Qt.Key.Key_L)
    corners = [at(viewer, 20, 20), at(viewer, 100, 20), at(viewer, 100, 80), at(viewer, 20, 80)]
    drag(qtbot, viewer.image, *corners)
    assert state.annotations_of("picture")[0].kind == "polygon"
    assert state.annotations_of("picture")[0].area == pytest.approx(4800, rel=0.03)
    qtbot.keyClick(viewer.image, Qt.Key.Key_R)
    state.set_maps(image_maps(picture()))  # without a model nothing else makes them
    viewer.image.mark(None)
    for key in (Qt.Key.Key_Right, Qt.Key.Key_Return, Qt.Key.Key_Right, Qt.Key.Key_Down, Qt.Key.Key_Return):
        qtbot.keyClick(viewer.image, key)
    boxes = [each.box for each in state.annotations_of("picture") if each.kind == "box"]
    row, column = 2, 2  # the middle of 4 x 4 patches of 40 x 30 pixels, and the next on both axes
    assert boxes == [(row * 30, column * 40, (row + 2) * 30, (column + 2) * 40)]
    qtbot.mouseClick(viewer.image, Qt.MouseButton.LeftButton, pos=at(viewer, 10, 10))  # no drag, no region
    assert len(state.annotations_of("picture")) == 2


def test_a_stretch_of_sound(qtbot: QtBot, remembering: Workbench) -> None:
    panel = ViewerPanel(remembering)
    shown(qtbot, panel)
    item = tone()
    with_maps(remembering, item, time_maps(item))
    view, y = panel.sound, panel.sound.lanes()[1].center().y()
    qtbot.keyClick(view, Qt.Key.Key_R)
    start, end = (QPoint(round(view.x_of(second)), round(y)) for second in (0.5, 1.2))
    drag(qtbot, view, start, end)
    (drawn,) = remembering.state.annotations_of("tone")
    assert drawn.kind == "span"
    np.testing.assert_allclose(drawn.points[0], (0.5, 1.2), atol=0.01)
    assert panel.region_bar.lasso.isHidden()
    qtbot.keyClick(view, Qt.Key.Key_Escape)
    drag(qtbot, view, end, QPoint(round(view.x_of(1.5)), round(y)))  # its end
    np.testing.assert_allclose(remembering.state.annotations_of("tone")[0].points[0], (0.8, 1.5), atol=0.02)
    panel.release()


def test_words_say_how_much_of_their_maps_lies_in_the_region(qtbot: QtBot, remembering: Workbench) -> None:
    strip, table = TokensPanel(remembering), RegionsPanel(remembering)
    shown(qtbot, strip)
    shown(qtbot, table, (320, 500))
    item = picture()
    with_maps(remembering, item, image_maps(item))  # token t looks at patch (t, 1) alone
    remembering.annotations.add("box", ((40, 0), (80, 45)), "upper")
    assert strip.strip._lit is not None
    np.testing.assert_allclose(strip.strip._lit, [1, 0.5, 0, 0], atol=1e-6)
    rows = [table.table.item(row, 0).text() for row in range(table.table.rowCount())]
    assert rows[:2] == ["a", "red"]
    assert [table.table.item(row, 2).text() for row in range(2)] == ["10.67 ×", "5.33 ×"]
    assert "“upper” covers 9.4 %" in table.summary.text()
    assert table.summary.text().startswith("50 %")  # of the mean over three words
    table.table.selectRow(1)
    assert remembering.state.tokens == (1,)
    assert table.summary.text().startswith("50 % of the map of “red”")
    assert "upper\t" not in table.table.as_text()
    assert "red\t50 %\t5.33 ×" in table.table.as_text()
    remembering.state.set_hovered_cell((1, 1))
    np.testing.assert_allclose(strip.strip._lit, [0, 1, 0, 0])
    remembering.state.set_hovered_cell(None)
    one_map = replace(image_maps(item), spec=MapSpec("occlusion", target=SequenceTarget()))
    remembering.state.set_maps(one_map)  # of the whole text: no word has a share of its own
    assert strip.strip._lit is None
    assert not table.table.isVisible()
    assert "of the map of the whole text" in table.summary.text()
    remembering.state.set_maps(image_maps(item))
    remembering.annotations.choose(None)
    assert strip.strip._lit is None
    assert not table.table.isVisible()
    for panel in (strip, table):
        panel.release()


def test_named_coloured_and_removed_in_the_list(qtbot: QtBot, remembering: Workbench) -> None:
    panel = RegionsPanel(remembering)
    shown(qtbot, panel, (320, 500))
    assert "Choose an image" in panel.stack.message
    item = picture()
    with_maps(remembering, item, image_maps(item))
    assert "Press R" in panel.stack.message
    remembering.annotations.add("box", ((10, 10), (50, 50)))
    entry = panel.regions.item(0)
    entry.setText("  the   dog ")
    (named,) = remembering.state.annotations_of("picture")
    assert named.name == "the dog"
    panel.regions.recoloured.emit(named.id, "#009e73")
    assert remembering.state.annotations_of("picture")[0].colour == "#009e73"
    qtbot.keyClick(panel.regions, Qt.Key.Key_Escape)
    assert remembering.state.region is None
    panel.regions.setCurrentRow(0)
    assert remembering.state.region is not None
    qtbot.keyClick(panel.regions, Qt.Key.Key_Delete)
    assert remembering.state.annotations_of("picture") == ()
    panel.release()


def test_regions_come_back_with_the_item_and_through_files(
    engine: Jobs, remembering: Workbench, tmp_path: Path
) -> None:
    item = picture()
    with_maps(remembering, item, image_maps(item))
    remembering.annotations.add("box", ((-20, 10), (50, 500)), "dog")
    kept = remembering.state.annotations_of("picture")
    assert kept[0].box == (10, 0, 120, 50)  # cut at the edges
    remembering.annotations.export_file(tmp_path / "regions.json")

    again = Workbench(engine, settings=Settings.load(paths.config_dir() / "settings.json"))
    again.settings.generate_on_choose = False
    said: list[str] = []
    again.notice.connect(lambda words, _level: said.append(words))
    again.state.set_items([item])
    assert again.state.annotations_of("picture") == kept
    again.annotations.import_file(tmp_path / "regions.json")
    assert "are there already" in said[-1]
    again.choose(item.id)
    again.annotations.remove(kept[0].id)
    again.annotations.import_file(tmp_path / "regions.json")
    assert "Added 1 region" in said[-1]
    assert [each.box for each in again.state.annotations_of("picture")] == [kept[0].box]
    again.undo_stack.undo()
    assert again.state.annotations_of("picture") == ()
    errors: list[str] = []
    again.error.connect(lambda report: errors.append(report.message))
    (tmp_path / "broken.json").write_text("{")
    again.annotations.import_file(tmp_path / "broken.json")
    assert "broken.json is no JSON file" in errors[-1]
    again.release()
    again.deleteLater()


def test_things_of_samples_are_ready_regions(remembering: Workbench) -> None:
    path = paths.samples() / "scene-owl-guitar.png"
    if not path.is_file():
        pytest.skip("the samples are not there")
    media = Media("a1", Modality.IMAGE, path.name, str(path), np.zeros((448, 448, 3), np.uint8))
    remembering.state.set_items([LibraryItem(media, path.name)])
    things = remembering.state.annotations_of("a1")
    assert [each.name for each in things] == ["owl", "guitar"]
    top, left, bottom, right = things[0].box
    assert 0 < left < right < 448
    assert bottom < things[1].box[2]
    assert top < bottom
