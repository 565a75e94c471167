"""A tour of a collection as a map: made from a folder, looked at, encircled, asked, measured, labelled.

Runs in a process of its own like `drive.py` (see `test_map_tour.py`):

    python tests/tour/drive_map.py MODELS_FOLDER SCREENSHOTS_FOLDER
"""

from __future__ import annotations

import shutil
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
from drive import LEFT, SIZE, Tour, main
from PIL import Image
from PySide6.QtCore import QEvent, QMimeData, QPoint, QPointF, Qt, QUrl
from PySide6.QtGui import QDragEnterEvent, QDropEvent
from PySide6.QtTest import QTest
from PySide6.QtWidgets import QApplication, QInputDialog, QWidget

from mmviewer import paths
from mmviewer.core.space.collection import Status
from mmviewer.gui.widgets.point_map import Tool

SMALL = (1000, 640)
CROPS = 12  # of each scene
TEXTS = (
    "a cat",
    "a dog",
    "an owl",
    "a guitar",
    "a car",
    "a banana",
    "a butterfly",
    "a mouse",
    "a fox",
    "a boat",
)
NO_KEYS = Qt.KeyboardModifier.NoModifier


def make_items(folder: Path) -> int:
    """Parts of the sample scenes, texts and sounds, and one file that is no picture; how many are good."""
    rng = np.random.default_rng(0)
    count = 0
    for scene in sorted(paths.samples().glob("scene-*.png")):
        (folder / scene.stem).mkdir(parents=True)
        with Image.open(scene) as whole:
            picture = whole.convert("RGB")
        for number in range(CROPS):
            side = int(rng.integers(180, min(picture.size)))
            left, top = (int(rng.integers(0, extent - side + 1)) for extent in picture.size)
            picture.crop((left, top, left + side, top + side)).save(folder / scene.stem / f"{number}.png")
            count += 1
    for sound in paths.samples().glob("*.wav"):
        (folder / sound.name).write_bytes(sound.read_bytes())
        count += 1
    for text in TEXTS:
        (folder / f"{text}.txt").write_text(text)
        count += 1
    (folder / "broken.png").write_bytes(b"this is no picture")
    return count


class MapTour(Tour):
    """The steps of this tour."""

    def run(self) -> None:
        """Take all steps."""
        self.app.start([], samples=False)
        self.app.window.resize(*SIZE)
        self.app.window.set_theme("dark")
        self.until(self.app.window.isVisible, "the window")
        self.panel = self.panels["map"]
        self.map = self.panel.map  # type: ignore[attr-defined]
        self.collections = self.bench.collections
        self.take(*self.steps())

    def steps(self) -> tuple[Callable[[], None], ...]:
        """All steps, in order."""
        return (
            self.open_the_empty_map,
            self.drop_a_folder,
            self.see_the_map,
            self.pick_and_ask_what_is_near,
            self.ask_in_words,
            self.ask_for_a_sum,
            self.ask_with_a_file,
            self.encircle_and_label,
            self.colour_by_folder_state_and_similarity,
            self.measure_and_close_the_gap,
            self.find_groups_and_classes,
            self.make_another_map,
            self.look_closely,
            self.look_small_and_light,
            self.open_an_item,
        )

    # --- steps -------------------------------------------------------------------------------------------
    def open_the_empty_map(self) -> None:
        """Press Map: nothing is there yet, and it says what to do."""
        QTest.mouseClick(self.app.window.top_bar.map, LEFT)
        self.until(self.panel.isVisible, "the panel")
        assert "drop one here" in self.panel.stack.message  # type: ignore[attr-defined]
        self.until(lambda: self.state.model is not None, "the starter model")
        self.shoot("map-empty-dark")

    def drop_a_folder(self) -> None:
        """Drop a folder on the panel: it becomes a collection and is indexed."""
        folder = self.shots / "things"
        shutil.rmtree(folder, ignore_errors=True)  # of an earlier tour
        self.good = make_items(folder)
        self.drop_on(self.panel, folder)
        self.until(lambda: self.bench.collection_work.indexing, "the run")
        self.until(lambda: not self.bench.collection_work.indexing, "its end")
        self.until(lambda: self.collections.coordinates is not None, "a map")
        status = self.collections.view.table.status  # type: ignore[union-attr]
        assert int((status == Status.FAILED).sum()) == 1
        assert self.collections.coordinates is not None

    def see_the_map(self) -> None:
        """All that was embedded is on the map, and the broken file is told."""
        placed = np.isfinite(self.collections.coordinates.xy).all(axis=1)  # type: ignore[union-attr]
        self.until(lambda: self.map.count == len(placed), "the points")
        assert int(placed.sum()) >= len(TEXTS) + CROPS * 9
        assert "1 failed" in self.panel.note.text  # type: ignore[attr-defined]
        self.shoot("map-dark")

    def pick_and_ask_what_is_near(self) -> None:
        """Click a point; its nearest come as pictures and as lines."""
        row = self.row_named("scene-owl-guitar/")
        QTest.mouseClick(self.map, LEFT, pos=self.map.place_of(row).toPoint())
        picked = self.collections.picked
        assert picked is not None
        QTest.mouseClick(self.panel.like, LEFT)  # type: ignore[attr-defined]
        asking = self.bench.collection_asking
        self.until(lambda: asking.result is not None, "an answer")
        assert asking.result is not None
        assert asking.result.rows[0] == picked
        self.shoot("map-near-dark")

    def ask_in_words(self) -> None:
        """Type a text: the cat's pictures and words come first."""
        self.type_question("a cat")
        found = self.bench.collection_asking.result
        assert found is not None
        names = self.collections.names(found.rows[:5])
        assert any("cat" in name for name in names), names
        self.shoot("map-text-dark")

    def ask_for_a_sum(self) -> None:
        """Ask for the picked item plus a word minus another; chips bring questions back."""
        self.type_question("this + a dog - a guitar")
        found = self.bench.collection_asking.result
        assert found is not None
        assert [part.weight for part in found.query.parts] == [1.0, 1.0, -1.0]
        chips = self.panel.chips  # type: ignore[attr-defined]
        assert len(chips.chips) == 3
        before = found
        QTest.mouseClick(chips.chip(chips.chips[1].key), LEFT)
        self.until(lambda: self.bench.collection_asking.result is not before, "the answer again")

    def ask_with_a_file(self) -> None:
        """Drop a file on the line: it stands before the words, and its likes are found."""
        question = self.panel.question  # type: ignore[attr-defined]
        self.panel.ask.clear()  # type: ignore[attr-defined]
        before = self.bench.collection_asking.result
        self.drop_on(question, paths.samples() / "scene-owl-guitar.png")
        self.until(lambda: self.bench.collection_asking.result is not before, "its likes")
        found = self.bench.collection_asking.result
        assert found is not None
        paths_found = [self.collections.item(row).path for row in found.rows[:5].tolist()]  # type: ignore[union-attr]
        assert all("scene-owl-guitar" in str(path) for path in paths_found), paths_found
        self.shoot("map-file-dark")
        QTest.mouseClick(question.thing.close_button, LEFT)
        assert not question.thing.isVisible()

    def encircle_and_label(self) -> None:
        """Draw a line around points; strip and table follow; label them, and take that back."""
        QTest.mouseClick(self.panel.bar.tools[Tool.LASSO], LEFT)  # type: ignore[attr-defined]
        middle = self.map.place_of(self.row_named("scene-owl-guitar/")).toPoint()
        corners = [middle + QPoint(x, y) for x, y in ((-90, -90), (90, -90), (90, 90), (-90, 90), (-90, -80))]
        QTest.mousePress(self.map, LEFT, NO_KEYS, corners[0])
        for corner in corners[1:]:
            QTest.mouseMove(self.map, corner)
        QTest.mouseRelease(self.map, LEFT, NO_KEYS, corners[-1])
        rows = self.collections.selection
        assert len(rows) > 0
        drawer = self.panel.drawer  # type: ignore[attr-defined]
        assert drawer.strip.rows.tolist() == rows.tolist()
        drawer.tabs.setCurrentIndex(1)
        self.give_label("music")
        self.until(lambda: self.has_labels(len(rows)), "the labels")
        self.shoot("map-selection-dark")
        self.until(drawer.undo.isEnabled, "a step to take back")
        QTest.mouseClick(drawer.undo, LEFT)
        self.until(lambda: self.has_labels(0), "no labels")
        self.until(drawer.redo.isEnabled, "a step to bring back")
        QTest.mouseClick(drawer.redo, LEFT)
        self.until(lambda: self.has_labels(len(rows)), "the labels again")
        drawer.tabs.setCurrentIndex(0)
        QTest.mouseClick(self.panel.bar.tools[Tool.MOVE], LEFT)  # type: ignore[attr-defined]

    def colour_by_folder_state_and_similarity(self) -> None:
        """What colours mean is chosen above, and said in the legend."""
        self.colour("column:label")
        assert "music" in self.panel.side.legend.list.model().index(0, 0).data()  # type: ignore[attr-defined]
        self.colour("status")
        self.shoot("map-state-dark")
        self.map.clear_selection()
        self.colour("similarity")
        assert self.panel.side.legend.bar.isVisible()  # type: ignore[attr-defined]
        self.shoot("map-similarity-dark")

    def measure_and_close_the_gap(self) -> None:
        """Measure the space, close its gap, and see how far the map is to be trusted."""
        page = self.panel.side.measures  # type: ignore[attr-defined]
        self.panel.side.bring(page)  # type: ignore[attr-defined]
        QTest.mouseClick(page.measure, LEFT)
        self.until(lambda: bool(page.lines), "measures")
        before = dict(page.lines)
        gap = next(name for name in before if name.startswith("Gap, images"))
        self.shoot("map-measures-dark")
        QTest.mouseClick(page.gap, LEFT)
        self.until(lambda: dict(page.lines).get(gap) != before[gap], "other measures")
        assert float(dict(page.lines)[gap]) < float(before[gap])
        self.until(lambda: self.collections.closed and not self.bench.activities.running(), "its map")  # type: ignore[union-attr]
        QTest.mouseClick(page.trust, LEFT)
        self.until(lambda: self.panel.colouring.key == "trust", "trust")  # type: ignore[attr-defined]
        self.shoot("map-trust-dark")
        self.panel.side.bring(page)  # type: ignore[attr-defined]
        QTest.mouseClick(page.gap, LEFT)
        self.until(lambda: not self.bench.activities.running(), "the map as it was")  # type: ignore[union-attr]

    def find_groups_and_classes(self) -> None:
        """Groups get names on the map; classes are scored, counted, and given a threshold."""
        actions = {action.text(): action for action in self.panel.bar.find_menu.actions()}  # type: ignore[attr-defined]
        actions["Groups"].trigger()
        structure = self.bench.collection_structure
        self.until(lambda: structure.groups is not None, "groups")
        assert structure.group_labels()
        self.shoot("map-groups-dark")
        actions["Near-duplicates"].trigger()
        self.until(lambda: structure.duplicates is not None, "duplicates")
        assert len(self.collections.selection) > 0
        self.map.clear_selection()
        page = self.panel.side.classes  # type: ignore[attr-defined]
        self.panel.side.bring(page)  # type: ignore[attr-defined]
        QTest.keyClicks(page.labels, "cat, dog, owl, car, butterfly, boat")
        QTest.keyClick(page.labels, Qt.Key.Key_Return)
        classes = self.bench.collection_classes
        self.until(lambda: classes.table is not None, "classes")
        assert classes.table is not None
        counts = classes.table.counts.sum()
        page.table.item(0, 2).setText("0.9")
        assert classes.table.counts.sum() < counts
        self.shoot("map-classes-dark")

    def make_another_map(self) -> None:
        """Choose another projection; it comes in the background."""
        box = self.panel.bar.map  # type: ignore[attr-defined]
        box.setCurrentIndex(box.findData("place:umap"))
        box.activated.emit(box.currentIndex())
        self.until(lambda: self.collections.coordinates.method == "umap", "UMAP")  # type: ignore[union-attr]
        self.colour("kind")
        self.shoot("map-umap-dark")

    def look_closely(self) -> None:
        """Zoom in until pictures and words stand where points were; point at one for its card."""
        row = self.row_named("scene-cat-dog/")
        self.map.look_at(np.array([row]))
        self.map._zoom(0.1, QPointF(self.map.width() / 2, self.map.height() / 2))
        self.point_at(self.map, self.map.place_of(row).toPoint())
        self.pause(0.5)
        self.shoot("map-close-dark")
        QTest.keyClick(self.map, Qt.Key.Key_0)

    def look_small_and_light(self) -> None:
        """The same in a small window, and in light colours."""
        self.app.window.set_theme("light")
        self.shoot("map-light")
        self.app.window.resize(*SMALL)
        self.shoot("map-light-small")
        self.app.window.set_theme("dark")
        self.app.window.resize(*SIZE)

    def open_an_item(self) -> None:
        """Click a point twice: the viewer comes back with that item."""
        row = self.row_named("scene-cat-dog/")
        self.collections.open_item(row)
        self.until(lambda: self.state.current is not None, "the item in the viewer")
        assert not self.collections.is_shown
        assert self.panels["viewer"].isVisible()

    # --- helpers ------------------------------------------------------------------------------------------
    def row_named(self, part: str) -> int:
        """The first item with `part` in its path that is on the map."""
        xy = self.collections.coordinates.xy  # type: ignore[union-attr]
        rows = self.collections.find(part)
        return int(next(row for row in rows if np.isfinite(xy[row]).all()))

    def drop_on(self, widget: QWidget, path: Path) -> None:
        """Drag a file or folder over a widget, and let it go."""
        mime = QMimeData()
        mime.setUrls([QUrl.fromLocalFile(str(path))])
        where, copy = QPointF(20, 10), Qt.DropAction.CopyAction
        QApplication.sendEvent(widget, QDragEnterEvent(where.toPoint(), copy, mime, LEFT, NO_KEYS))
        QApplication.sendEvent(widget, QDropEvent(where, copy, mime, LEFT, NO_KEYS, QEvent.Type.Drop))

    def type_question(self, text: str) -> None:
        """Type a question and press Return."""
        before = self.bench.collection_asking.result
        line = self.panel.ask  # type: ignore[attr-defined]
        line.clear()
        QTest.keyClicks(line, text)
        QTest.keyClick(line, Qt.Key.Key_Return)
        self.until(lambda: self.bench.collection_asking.result not in (None, before), "an answer")

    def give_label(self, label: str) -> None:
        """Press Label, type it into the dialog, and wait until that is gone."""
        QTest.mouseClick(self.panel.drawer.label, LEFT)  # type: ignore[attr-defined]
        self.until(lambda: bool(self.panel.findChildren(QInputDialog)), "the dialog")
        dialog = self.panel.findChildren(QInputDialog)[0]
        dialog.setTextValue(label)
        dialog.accept()
        self.until(lambda: not self.panel.findChildren(QInputDialog), "the dialog's end")

    def has_labels(self, count: int) -> bool:
        """Whether so many items are labelled, as the window sees it."""
        view = self.collections.view
        if view is None or "label" not in [info.name for info in view.columns]:
            return count == 0
        column = self.collections.column("label")
        return isinstance(column, tuple) and int((column[0] >= 0).sum()) == count

    def colour(self, key: str) -> None:
        """Choose what colours mean."""
        box = self.panel.bar.colour  # type: ignore[attr-defined]
        self.until(lambda: box.findData(key) >= 0, f"{key} to colour by")
        box.setCurrentIndex(box.findData(key))
        box.activated.emit(box.currentIndex())
        self.panel.side.bring(self.panel.side.legend)  # type: ignore[attr-defined]


if __name__ == "__main__":
    sys.exit(main(MapTour))
