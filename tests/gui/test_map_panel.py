"""The Map panel over a real collection on the disk; the engine's answers are given by hand."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from helpers_space import HandJobs, image, model, sound
from PySide6.QtCore import QEvent, QMimeData, QPoint, QPointF, Qt
from PySide6.QtGui import QDragEnterEvent, QDropEvent
from PySide6.QtWidgets import QApplication
from pytestqt.qtbot import QtBot

from mmviewer.core.session.annotations import Annotation
from mmviewer.core.space.class_table import ClassTable
from mmviewer.core.space.collection import Catalogue, FolderSource, Thumbnails
from mmviewer.core.space.indexing.pace import IndexReport
from mmviewer.core.space.patches import PatchHits
from mmviewer.core.types import MediaRef, Modality
from mmviewer.engine import protocol_collection as collection
from mmviewer.engine.protocol import EngineStatus, ErrorReport, OpenFailure, OpenMedia
from mmviewer.engine.protocol_layers import (
    EstimatePatches,
    IndexPatches,
    LayerPaths,
    LayerWays,
    PatchCost,
    SearchPatches,
)
from mmviewer.engine.protocol_space import MeasureSpace, PlacedSpace, PlaceSpace, SearchSpace, SpaceAnswer
from mmviewer.engine.protocol_structure import ClusterSpace, Duplicates, FindDuplicates, SpaceClusters
from mmviewer.gui.map_drawer import sort_keys
from mmviewer.gui.panels.map import MapPanel
from mmviewer.gui.questions import Part, Thing, parts_of
from mmviewer.gui.widgets.point_drag import QUERY_MIME
from mmviewer.gui.workbench import Workbench

COUNT = 60
LEFT = Qt.MouseButton.LeftButton


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A collection with vectors, labels by hand, pictures, a failed item, and one that is not indexed."""
    files = tmp_path / "files"
    files.mkdir()
    for number in range(COUNT):
        (files / f"{number:03d}.txt").write_text(f"text {number}")
    rng = np.random.default_rng(0)
    place = tmp_path / "things"
    with Catalogue.open(place, create=True) as catalogue, Thumbnails(place) as thumbnails:
        catalogue.scan(catalogue.add_source(FolderSource(str(files))).id)
        info = catalogue.add_space(model_id="m", label="model", width=8, weights_hash="w", preprocessing="p")
        names = [f"{row:064x}" for row in range(COUNT - 2)]
        kinds = [(Modality.IMAGE, Modality.AUDIO, Modality.TEXT)[row % 3] for row in range(COUNT - 2)]
        with catalogue.begin_batch() as batch:
            batch.set_content(range(COUNT - 2), names, kinds)
            batch.append_vectors(info.id, names, rng.normal(size=(COUNT - 2, 8)))
            batch.fail([COUNT - 2], ["058.txt is broken; make it again."])
        catalogue.set_labels(range(10), "early")
        catalogue.set_labels(range(10, 30), "late")
        for row in range(COUNT):
            thumbnails.put(row, np.full((20, 30, 3), row * 4, np.uint8))
        xy = rng.normal(size=(COUNT, 2))
        xy[COUNT - 2 :] = np.nan
        catalogue.save_coordinates("pca:first", info.id, "pca", {}, xy)
    return place


@pytest.fixture
def jobs() -> HandJobs:
    return HandJobs()


@pytest.fixture
def bench(jobs: HandJobs) -> Iterator[Workbench]:
    bench = Workbench(jobs)
    yield bench
    bench.release()


@pytest.fixture
def panel(qtbot: QtBot, bench: Workbench) -> Iterator[MapPanel]:
    widget = MapPanel(bench)
    qtbot.addWidget(widget)
    widget.resize(1100, 800)
    widget.show()
    qtbot.waitExposed(widget)
    bench.collections.show()
    yield widget
    widget.release()


@pytest.fixture
def opened(panel: MapPanel, bench: Workbench, folder: Path, qtbot: QtBot) -> MapPanel:
    assert bench.collections.open(folder)
    qtbot.waitUntil(lambda: panel.map.count == COUNT and panel.bar.colour.count() > 2)
    return panel


def test_a_question_is_read_into_its_parts() -> None:
    assert parts_of("a cat", None) == (Part(1.0, "a cat"),)
    assert parts_of("this + snow − a dog", 7) == (Part(1.0, row=7), Part(1.0, "snow"), Part(-1.0, "a dog"))
    assert parts_of("- night + “black-and-white”", None) == (
        Part(-1.0, "night"),
        Part(1.0, "black-and-white"),
    )
    assert parts_of("this", 3) == (Part(1.0, "this"),)  # alone it is a word
    with pytest.raises(ValueError, match="nothing is picked"):
        parts_of("this + snow", None)
    with pytest.raises(ValueError, match="Type what"):
        parts_of("+ ", None)


def test_this_is_what_stands_before_the_line() -> None:
    ref = MediaRef("i", Modality.IMAGE, "cat.png", "/cat.png")
    file = Part(1.0, media=ref, name="cat.png")
    thing = Thing("cat.png", (file, Part(-1.0, "night")))
    taken = (Part(-1.0, media=ref), Part(1.0, "night"))
    assert parts_of("", None, thing) == thing.parts
    assert parts_of("+ snow", None, thing) == (*thing.parts, Part(1.0, "snow"))
    assert parts_of("snow - this", 7, thing) == (Part(1.0, "snow"), *taken)  # its signs turn with its own
    assert parts_of("picked", 7, thing) == (*thing.parts, Part(1.0, row=7))
    assert not thing.is_region
    with pytest.raises(ValueError, match="“picked” means the picked item"):
        parts_of("picked + snow", None)


def test_words_are_sorted_as_the_alphabet_says_and_none_comes_last() -> None:
    codes = np.array([0, 1, -1, 2], np.int32)
    keys = sort_keys((codes, ("pear", "Apple", "fig")), np.arange(4))
    assert np.argsort(keys).tolist() == [1, 3, 0, 2]
    numbers = np.array([3.0, np.nan, 1.0])
    assert sort_keys(numbers, np.array([2, 1])).tolist()[0] == 1


def test_without_a_collection_it_says_what_to_do_and_makes_one(
    panel: MapPanel, bench: Workbench, jobs: HandJobs, folder: Path, qtbot: QtBot
) -> None:
    qtbot.waitUntil(lambda: "drop one here" in panel.stack.message)
    bench.state.set_model(model())
    bench.collection_work.create(folder.parent / "files")
    asked = jobs.last(collection.CreateCollection)
    assert Path(asked.request.folder).name == "files"
    asked.done(str(folder))
    assert bench.collections.view is not None
    added = jobs.last(collection.AddSource)
    assert added.request.spec.path == str(folder.parent / "files")
    added.done((None, _Report()))
    run = jobs.last(collection.IndexCollection)
    assert run.request.model_id == bench.state.model.id
    assert panel.pause.isVisible()
    qtbot.mouseClick(panel.pause, LEFT)
    assert jobs.last(collection.PauseIndexing).request.held
    run.done(IndexReport(bench.collections.view.spaces[0].id, total=2, embedded=2))
    assert jobs.count(PlaceSpace) == 1


class _Report:
    notes = ("one folder could not be read",)


def test_map_table_strip_and_card_show_the_same_items(
    opened: MapPanel, bench: Workbench, qtbot: QtBot
) -> None:
    assert opened.map._index.count == COUNT - 2
    assert "1 failed" in opened.note.text
    qtbot.mouseClick(opened.map, LEFT, pos=opened.map.place_of(5).toPoint())
    picked = bench.collections.picked
    assert picked is not None
    assert opened.map.picked_row == picked
    assert opened.drawer.table.collection.rows[opened.drawer.table.currentIndex().row()] == picked
    bench.collections.select(np.array([4, 9, 2]))
    assert opened.map.selection.tolist() == [2, 4, 9]
    assert opened.drawer.strip.rows.tolist() == [4, 9, 2]
    assert opened.drawer.heading.text == "3 selected"
    names = [opened.drawer.table.collection.index(row, 0).data() for row in range(3)]
    assert names == ["004.txt", "009.txt", "002.txt"]
    qtbot.mouseClick(opened.drawer.clear, LEFT)
    assert len(bench.collections.selection) == 0


def test_colours_mean_what_is_chosen_and_a_class_selects_its_items(
    opened: MapPanel, bench: Workbench, qtbot: QtBot
) -> None:
    def colour(key: str) -> None:
        box = opened.bar.colour
        box.setCurrentIndex(box.findData(key))
        box.activated.emit(box.currentIndex())

    colour("column:label")
    legend = opened.side.legend
    qtbot.waitUntil(lambda: legend.list.model().rowCount() == 2)
    assert legend.list.model().index(0, 0).data().split() == ["late", "20"]
    legend.chosen.emit(1)
    assert bench.collections.selection.tolist() == list(range(10, 30))
    assert opened.map.colour_of(12) != opened.map.colour_of(2) != opened.map.colour_of(40)
    colour("status")
    texts = [legend.list.model().index(row, 0).data() for row in range(3)]
    assert [" ".join(text.split()) for text in texts] == ["ready 58", "not indexed yet 1", "failed 1"]


def test_an_answer_ranks_draws_lines_and_colours(
    opened: MapPanel, bench: Workbench, jobs: HandJobs, qtbot: QtBot
) -> None:
    bench.collections.pick(5)
    qtbot.mouseClick(opened.like, LEFT)
    asked = jobs.last(SearchSpace)
    assert [(part.row, part.weight) for part in asked.request.parts] == [(5, 1.0)]
    similarity = np.linspace(0, 1, COUNT).astype(np.float32)
    asked.done(SpaceAnswer(np.array([5, 7, 8]), np.array([1, 0.5, 0.25], np.float32), similarity))
    assert opened.side.near.rows.tolist() == [5, 7, 8]
    assert opened.map._near == ((7, 0.5), (8, 0.25))
    assert "every vector was compared" in opened.side.near_note.text()
    qtbot.waitUntil(lambda: opened.bar.colour.findData("similarity") >= 0)
    assert [chip.text for chip in opened.chips.chips] == ["like 005.txt"]
    bench.collections.pick(6)  # the lines belong to the answer
    assert opened.map._near == ()
    before = opened.map._pins
    moved = replace(bench.collections.coordinates, xy=bench.collections.coordinates.xy + 5)
    bench.collections.set_coordinates(moved)  # on another map the question lies elsewhere
    assert [(pin.x, pin.y) for pin in opened.map._pins] == [
        pytest.approx((pin.x + 5, pin.y + 5), abs=1e-4) for pin in before
    ]


def test_words_need_a_model_and_a_failure_is_told_once(
    opened: MapPanel, bench: Workbench, jobs: HandJobs, qtbot: QtBot
) -> None:
    notices: list[str] = []
    bench.notice.connect(lambda text, _level: notices.append(text))
    qtbot.keyClicks(opened.ask, "snow")
    qtbot.keyClick(opened.ask, Qt.Key.Key_Return)
    assert "load the model" in notices[-1]
    bench.state.set_model(model())
    qtbot.keyClick(opened.ask, Qt.Key.Key_Return)
    errors: list[object] = []
    bench.error.connect(errors.append)
    jobs.last(SearchSpace).failed(ErrorReport("InputError", "another space", ""))
    assert len(errors) == 1
    assert opened.stack.currentWidget() is opened.stack.content  # the map stays


def test_what_cannot_be_asked_by_patches_says_so(
    opened: MapPanel, bench: Workbench, jobs: HandJobs, folder: Path, qtbot: QtBot
) -> None:
    notices: list[str] = []
    bench.notice.connect(lambda text, _level: notices.append(text))
    asking = bench.collection_asking
    asking.ask_region(sound("hum"), Annotation("", "span", ((0, 1),)))
    assert "Only a region of a picture" in notices[-1]
    asking.ask_region(image("owl"), Annotation("eye", "polygon", ((1, 1), (9, 1), (9, 9))))
    assert "load the model that made the vectors" in notices[-1]
    bench.state.set_model(model())
    qtbot.mouseClick(opened.question.by_patches, LEFT)
    cost = jobs.last(EstimatePatches)
    cost.done(PatchCost(20, 1000, 16_000, 7.0, indexed=3))
    assert "20 images (1,000 vectors, " in opened.cost.text.text()
    assert "3 of them are indexed already" in opened.cost.text.text()
    qtbot.mouseClick(opened.cost.later, LEFT)
    assert not opened.cost.isVisible()
    assert not opened.question.by_patches.isChecked()
    qtbot.mouseClick(opened.question.by_patches, LEFT)
    jobs.last(EstimatePatches).done(PatchCost(20, 1000, 16_000, 7.0))
    qtbot.mouseClick(opened.cost.button, LEFT)
    assert opened.question.by_patches.isChecked()
    assert jobs.last(IndexPatches).request.rows == ()
    qtbot.mouseClick(opened.stop, LEFT)
    assert jobs.last(IndexPatches).cancelled
    qtbot.waitUntil(lambda: not opened.question.by_patches.isChecked())
    (folder / "patches").mkdir()
    (folder / "patches" / f"{bench.collections.space_id}.f16.head").write_bytes(b"")
    qtbot.mouseClick(opened.question.by_patches, LEFT)
    asked = jobs.last(SearchPatches).request
    assert (asked.box, asked.outline) == ((1, 1, 9, 9), ((1, 1), (9, 1), (9, 9)))
    hits = PatchHits(
        np.array([3, 6]), np.array([0.9, 0.8], np.float32), np.array([[0, 5, 10, 10]] * 2, np.float32),
        np.array([[20, 10]] * 2, np.float32), images=2, patches=50,
    )  # fmt: skip
    jobs.last(SearchPatches).done(hits)
    assert asking.result.boxes == {3: (0, 0.5, 0.5, 1), 6: (0, 0.5, 0.5, 1)}
    assert "18 images have no patches there" in opened.side.near_note.text()  # 20 of 58 are images
    qtbot.keyClicks(opened.ask, "+ snow")
    qtbot.keyClick(opened.ask, Qt.Key.Key_Return)
    assert "asked alone" in notices[-1]
    qtbot.mouseClick(opened.question.by_patches, LEFT)
    whole = jobs.last(SearchSpace).request.parts
    assert (whole[0].box, whole[0].outline) == (asked.box, asked.outline)


def test_a_file_that_cannot_be_read_is_told_and_a_question_is_taken_on(
    opened: MapPanel, bench: Workbench, jobs: HandJobs, qtbot: QtBot
) -> None:
    errors: list[ErrorReport] = []
    bench.error.connect(errors.append)
    bench.state.set_model(model())
    asking = bench.collection_asking
    asking.ask_file("/nowhere/cat.png")
    opening = jobs.last(OpenMedia)
    opening.partial(OpenFailure("/nowhere/cat.png", ErrorReport("MediaError", "cat.png is gone.", "")))
    assert [error.message for error in errors] == ["cat.png is gone."]
    assert asking.thing is None
    bench.collections.pick(5)
    asking.ask_like_picked()
    mime = QMimeData()
    mime.setData(QUERY_MIME, asking.history[0].key.encode())
    copy, no_keys = Qt.DropAction.CopyAction, Qt.KeyboardModifier.NoModifier
    for event in (
        QDragEnterEvent(QPoint(5, 5), copy, mime, LEFT, no_keys),
        QDropEvent(QPointF(5, 5), copy, mime, LEFT, no_keys, QEvent.Type.Drop),
    ):
        QApplication.sendEvent(opened.question, event)
    qtbot.keyClicks(opened.ask, "- snow")
    qtbot.keyClick(opened.ask, Qt.Key.Key_Return)
    assert [(part.weight, part.row, part.text) for part in jobs.last(SearchSpace).request.parts] == [
        (1.0, 5, ""),
        (-1.0, None, "snow"),
    ]
    assert opened.chips.chips[0].text == "005.txt − snow"
    bench.collections.close()  # the rows of another collection are other items
    assert asking.thing is None


def test_another_map_and_the_gap(opened: MapPanel, bench: Workbench, jobs: HandJobs, qtbot: QtBot) -> None:
    box = opened.bar.map
    box.setCurrentIndex(box.findData("place:umap"))
    box.activated.emit(box.currentIndex())
    asked = jobs.last(PlaceSpace)
    assert (asked.request.method, asked.request.closed) == ("umap", False)
    xy = np.random.default_rng(1).normal(size=(COUNT, 2)).astype(np.float32)
    asked.done(PlacedSpace("umap", xy, "fine"))
    assert bench.collections.coordinates.method == "umap"
    assert opened.map._xy.tolist() == xy.tolist()
    opened.side.measures.gap.click()
    assert jobs.last(PlaceSpace).request.closed
    qtbot.mouseClick(opened.side.measures.measure, LEFT) if opened.side.measures.isVisible() else (
        opened.side.measures.measure.click()
    )
    assert jobs.last(MeasureSpace).request.closed


def test_labels_go_through_the_engine_and_come_back_from_the_disk(
    opened: MapPanel, bench: Workbench, jobs: HandJobs, folder: Path, qtbot: QtBot
) -> None:
    bench.collections.select(np.array([40, 41]))
    bench.collection_work.label_selection("new")
    asked = jobs.last(collection.LabelItems)
    assert (asked.request.rows.tolist(), asked.request.label) == ([40, 41], "new")
    with Catalogue.open(folder) as catalogue:
        catalogue.set_labels([40, 41], "new")
    asked.done(asked.request.rows)
    codes, names = bench.collections.column("label")
    assert names[codes[40]] == "new"
    assert opened.drawer.undo.isEnabled()


def test_an_item_is_opened_in_the_library(opened: MapPanel, bench: Workbench, qtbot: QtBot) -> None:
    paths: list[list[str]] = []
    bench.open_paths = lambda names: paths.append(list(names))  # type: ignore[method-assign]
    qtbot.mouseDClick(opened.map, LEFT, pos=opened.map.place_of(5).toPoint())
    assert len(paths) == 1
    assert not bench.collections.is_shown


def test_a_broken_collection_is_told_and_the_window_lives(
    panel: MapPanel, bench: Workbench, tmp_path: Path
) -> None:
    errors: list[ErrorReport] = []
    bench.error.connect(errors.append)
    assert not bench.collections.open(tmp_path / "nowhere")
    broken = tmp_path / "broken"
    broken.mkdir()
    (broken / "catalogue.sqlite").write_bytes(b"this is no database" * 100)
    assert not bench.collections.open(broken)
    assert len(errors) == 2
    assert bench.collections.view is None


def test_groups_are_named_on_the_map_and_duplicates_selected(
    opened: MapPanel, bench: Workbench, jobs: HandJobs, qtbot: QtBot
) -> None:
    actions = {action.text(): action for action in opened.bar.find_menu.actions()}
    actions["Groups"].trigger()
    asked = jobs.last(ClusterSpace)
    assert asked.request.column == "label"  # hand labels name groups
    groups = np.array([0] * 30 + [1] * 20 + [-1] * 10, np.int32)
    asked.done(SpaceClusters(groups, ("boats", "cats"), (30, 20), "found by hand"))
    names = [name for _, _, name in bench.collection_structure.group_labels()]
    assert names == ["boats", "cats"]
    xy = bench.collections.coordinates.xy
    assert bench.collection_structure.group_labels()[1][:2] == pytest.approx(np.median(xy[30:50], axis=0))
    assert opened.colouring.key == "groups"
    actions["Near-duplicates"].trigger()
    jobs.last(FindDuplicates).done(
        Duplicates((np.array([3, 9, 12]), np.array([5, 6])), np.array([1.0, 0.98]))
    )
    assert bench.collections.selection.tolist() == [6, 9, 12]  # the first of each group stays
    assert opened.side.near.rows.tolist() == [3, 9, 12, 5, 6]


def test_classes_are_counted_thresholds_act_and_the_truth_is_compared(
    opened: MapPanel, bench: Workbench, jobs: HandJobs, folder: Path, qtbot: QtBot
) -> None:
    bench.state.set_model(model())
    page = opened.side.classes
    opened.side.bring(page)
    qtbot.keyClicks(page.labels, "early, late,, early")
    qtbot.keyClick(page.labels, Qt.Key.Key_Return)
    asked = jobs.last(collection.ClassifyCollection)
    assert asked.request.labels == ("early", "late")
    winners = np.array([0] * 12 + [1] * 46 + [-1] * 2, np.int32)
    probabilities = np.where(winners < 0, np.nan, np.linspace(0.5, 1, COUNT)).astype(np.float32)
    asked.done(
        ClassTable(
            ("early", "late"), winners, probabilities, probabilities / 2, np.zeros(2, np.float32), "softmax",
            ("a {}",), bench.collections.space_id,
        )
    )  # fmt: skip
    assert [page.table.item(row, 1).text() for row in range(2)] == ["12", "46"]
    page.truth.setCurrentIndex(page.truth.findData("label"))
    page.truth.activated.emit(page.truth.currentIndex())
    assert "93% of 30 agree" in page.note.text()  # 28 of the 30 that have a label
    assert "2 × late taken for early" in page.note.text()
    page.table.item(1, 2).setText("0.8")
    kept = int(((winners == 1) & (probabilities >= 0.8)).sum())
    assert page.table.item(1, 1).text() == str(kept)
    assert f"{46 - kept} stay below" in page.note.text()
    page.chosen.emit("early")
    assert bench.collections.selection.tolist() == list(range(12))
    bench.collection_classes.export(folder / "classes.csv", "label")
    assert jobs.last(collection.ExportClasses).request.truth == "label"


def test_ways_through_the_layers_are_drawn_and_gone_with_the_map(
    opened: MapPanel, bench: Workbench, jobs: HandJobs, qtbot: QtBot
) -> None:
    bench.state.set_model(model())
    bench.collections.select(np.array([1, 2]))
    before = opened.map.grab().toImage()
    qtbot.mouseClick(opened.drawer.layers, LEFT)
    asked = jobs.last(LayerPaths)
    assert (asked.request.rows, asked.request.map) == ((1, 2), "pca:first")
    xy = np.random.default_rng(0).normal(size=(2, 5, 2)).astype(np.float32)
    asked.done(LayerWays(np.array([1, 2]), xy, np.ones((2, 5), np.float32), "not as trained"))
    assert opened.map.grab().toImage() != before
    bench.collections.show_map("pca:first")
    assert opened.map._paths == ()


def test_watching_goes_on_with_a_new_engine_however_often_one_dies(
    opened: MapPanel, bench: Workbench, jobs: HandJobs, folder: Path
) -> None:
    with Catalogue.open(folder) as catalogue:
        catalogue.watch_source(catalogue.sources[0].id)
    bench.collections.look_again()
    assert bench.collection_watch.watching
    told: list[object] = []
    bench.error.connect(told.append)
    for _ in range(3):
        before = jobs.last(collection.WatchCollection)
        jobs.status_changed.emit(EngineStatus("gone", reason="it died"))
        before.failed(ErrorReport("EngineError", "it died", ""))
        assert jobs.last(collection.WatchCollection) is before
        jobs.status_changed.emit(EngineStatus("ready"))
        assert jobs.last(collection.WatchCollection) is not before
        assert bench.collection_watch.watching
    assert told == []
    last = jobs.last(collection.WatchCollection)
    assert (last.request.folder, last.request.model_id) == (str(folder), "")
    assert "load the model" in bench.collection_watch.words
    bench.state.set_model(replace(model(), id="m"))  # that made the vectors
    assert jobs.last(collection.WatchCollection).request.model_id == "m"
    bench.collections.close()
    assert jobs.last(collection.WatchCollection).cancelled


def test_without_a_column_that_tells_pairs_it_says_what_is_missing(
    panel: MapPanel, bench: Workbench, folder: Path, qtbot: QtBot
) -> None:
    with Catalogue.open(folder) as catalogue:  # each has a word of its own
        catalogue.set_labels(range(30), None)
        catalogue.set_labels([1], "one")
        catalogue.set_labels([2], "two")
    bench.collections.open(folder)
    box = panel.measuring.pairs
    assert box.measure.isHidden()
    assert "belong together" in box.note.text()
    with Catalogue.open(folder) as catalogue:
        catalogue.set_labels([3], "two")
    bench.collections.look_again()
    assert not box.measure.isHidden()
    assert box.note.text() == ""
