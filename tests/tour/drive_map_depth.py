"""A tour of what a collection tells beyond its map: pairs, likeness, average maps, patches, a second model.

Runs in a process of its own like `drive.py` (see `test_map_tour.py`):

    python tests/tour/drive_map_depth.py MODELS_FOLDER SCREENSHOTS_FOLDER
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
from drive import LEFT, SIZE, main
from drive_map import SMALL, MapTour
from PySide6.QtCore import QPoint, QRectF
from PySide6.QtTest import QTest

from mmviewer import paths

TOGETHER = {"cat": ("scene-cat-dog/", "a cat.txt"), "guitar": ("scene-owl-guitar/", "a guitar.txt")}
"""What gets one label, and so belongs together: pictures and the word for them, by parts of their paths."""


class MapDepthTour(MapTour):
    """The steps of this tour."""

    def steps(self) -> tuple[Callable[[], None], ...]:
        """All steps, in order."""
        return (
            self.open_the_empty_map,
            self.drop_a_folder,
            self.label_what_belongs_together,
            self.measure_pairs,
            self.see_all_likenesses,
            self.average_the_maps_of_a_selection,
            self.open_the_one_that_differs_most,
            self.follow_items_through_the_layers,
            self.find_a_region_by_its_patches,
            self.index_with_a_second_model,
            self.lay_two_maps_side_by_side,
            self.look_small_and_light,
        )

    # --- steps -------------------------------------------------------------------------------------------
    def label_what_belongs_together(self) -> None:
        """Give pictures and the word for them one label, twice."""
        self.until(lambda: self.map.count > 0, "the points")
        labelled = 0
        for label, parts in TOGETHER.items():
            rows = np.unique(np.concatenate([self.collections.find(part) for part in parts]))
            self.collections.select(rows)
            self.give_label(label)
            labelled += len(rows)
            self.until(lambda: self.has_labels(labelled), "the labels")  # noqa: B023
        self.map.clear_selection()

    def measure_pairs(self) -> None:
        """By the labels, how well pictures are found by words, beside chance."""
        side, pairs = self.panel.side, self.panel.measuring.pairs  # type: ignore[attr-defined]
        side.bring(pairs)
        self.until(lambda: pairs.column.findData("label") >= 0, "a column that tells pairs")
        pairs.column.setCurrentIndex(pairs.column.findData("label"))
        QTest.mouseClick(pairs.measure, LEFT)
        measures = self.bench.collection_measures
        self.until(lambda: measures.pairs is not None, "the pairs")
        assert measures.pairs is not None
        for way in measures.pairs.measures.retrieval:
            assert way.at[0][1] > way.by_chance[0][1], way
        self.shoot("map-pairs-dark")

    def see_all_likenesses(self) -> None:
        """Open the matrix of a selection, click a cell: its item is picked on the map."""
        rows = np.concatenate([self.collections.find(parts[0])[:8] for parts in TOGETHER.values()])
        self.collections.select(np.sort(rows))
        measuring = self.panel.measuring  # type: ignore[attr-defined]
        self.panel.side.measures.ensureWidgetVisible(measuring.open_matrix)  # type: ignore[attr-defined]
        QTest.mouseClick(measuring.open_matrix, LEFT)
        dialog, asking = measuring.matrix, self.bench.collection_matrix
        self.until(lambda: asking.matrix is not None and len(asking.matrix.names) == len(rows), "the matrix")
        cell = dialog.matrix.cell_rect(3, 3).center().toPoint()
        QTest.mouseClick(dialog.matrix, LEFT, pos=cell)
        assert self.collections.picked in rows.tolist()
        self.shoot("map-matrix-dark", dialog)
        dialog.close()

    def average_the_maps_of_a_selection(self) -> None:
        """Of the cat's pictures, where "cat" lies on the average, and which picture differs most."""
        page, average = self.panel.side.average, self.bench.collection_average  # type: ignore[attr-defined]
        self.collections.select(self.collections.find("scene-cat-dog/"))
        self.panel.side.bring(page)  # type: ignore[attr-defined]
        self.until(lambda: page.word.text() == "cat", "the word, which is the label")
        self.until(page.run.isEnabled, "the button")
        QTest.mouseClick(page.run, LEFT)
        self.until(lambda: average.result is not None and len(average.result.maps) > 0, "the average")
        assert average.result is not None
        assert len(average.result.maps) == len(self.collections.selection)
        self.until(lambda: not self.bench.activities.running(), "its end")
        self.pause(0.5)
        self.shoot("map-average-dark")
        page.ensureWidgetVisible(page.strip)
        self.shoot("map-average-strip-dark")

    def open_the_one_that_differs_most(self) -> None:
        """Click it twice: it is the current item."""
        page = self.panel.side.average  # type: ignore[attr-defined]
        most = self.collections.item(int(page.strip.rows[0]))
        QTest.mouseDClick(page.strip.viewport(), LEFT, pos=page.strip.rect_of(0).center())
        self.until(lambda: self.state.current is not None, "the item")
        assert most is not None
        assert self.state.current.media.name == Path(most.path).name  # type: ignore[union-attr]

    def follow_items_through_the_layers(self) -> None:
        """Go back to the map, take a few items: their ways through the layers are lines on it."""
        QTest.mouseClick(self.app.window.top_bar.map, LEFT)
        self.until(lambda: self.collections.is_shown, "the map")
        rows = [self.row_named(part) for part in ("scene-cat-dog/", "scene-owl-guitar/", "scene-harbour/")]
        self.collections.select(np.sort(np.array(rows)))
        structure = self.bench.collection_structure
        QTest.mouseClick(self.panel.drawer.layers, LEFT)  # type: ignore[attr-defined]
        self.until(lambda: structure.ways is not None, "their ways")
        assert structure.ways is not None
        assert len(structure.ways.xy) == len(rows)
        self.until(lambda: not self.bench.activities.running(), "the end")
        self.shoot("map-layers-dark")
        QTest.mouseClick(self.app.window.top_bar.map, LEFT)

    def find_a_region_by_its_patches(self) -> None:
        """Draw around the owl's head in the viewer; the collection's images are ranked by their patches."""
        self.bench.open_paths([paths.samples() / "scene-owl-guitar.png"])
        self.until(lambda: self.state.current.media.name == "scene-owl-guitar.png", "the scene")  # type: ignore[union-attr]
        view = self.panels["viewer"].image  # type: ignore[attr-defined]
        self.until(view.isVisible, "the viewer")
        height, width = self.state.current.media.size[:2]  # type: ignore[union-attr]
        self.draw_box(view, view.to_view(QRectF(0.35 * width, 0.1 * height, 0.3 * width, 0.3 * height)))
        self.app.window.docks.bring("regions")
        seek = self.panels["regions"].seek  # type: ignore[attr-defined]
        self.until(seek.isEnabled, "the button")
        asking, before = self.bench.collection_asking, self.bench.collection_asking.result
        QTest.mouseClick(seek, LEFT)
        self.until(lambda: asking.result not in (None, before), "items like the region")
        assert self.collections.is_shown
        QTest.mouseClick(self.panel.question.by_patches, LEFT)  # type: ignore[attr-defined]
        cost = self.panel.cost  # type: ignore[attr-defined]
        self.until(cost.isVisible, "what indexing patches takes")
        self.shoot("map-patches-offer-dark")
        whole = asking.result
        self.bench.collection_patches.accept()
        self.until(lambda: asking.result is not whole, "images by their patches")
        found = asking.result
        assert found is not None
        assert found.boxes
        best = self.collections.item(int(found.rows[0]))
        assert best is not None
        assert "scene-owl-guitar" in str(best.path)
        self.point_at(self.app.window.top_bar, QPoint(2, 2))
        self.shoot("map-patches-dark")

    def index_with_a_second_model(self) -> None:
        """Load the model for photographs and index: the collection has two spaces."""
        self.bench.load_model("starter-photo")
        self.until(lambda: "photo" in self.state.model.label.lower(), "the other model")  # type: ignore[union-attr]
        actions = {action.text(): action for action in self.panel.bar.menu.actions()}  # type: ignore[attr-defined]
        actions["Look for changes and index"].trigger()
        self.until(
            lambda: self.collections.view is not None and len(self.collections.view.spaces) == 2,
            "vectors of the second model",
        )
        self.until(lambda: not self.bench.activities.running(), "its end")

    def lay_two_maps_side_by_side(self) -> None:
        """Choose the other model under Find: its map comes beside, with what both agree on."""
        self.panel.bar.find_menu.aboutToShow.emit()  # type: ignore[attr-defined]
        actions = self.panel.findings._compare.actions()  # type: ignore[attr-defined]
        assert len(actions) == 1
        actions[0].trigger()
        beside = self.panel.beside  # type: ignore[attr-defined]
        self.until(beside.isVisible, "the second map")
        self.until(lambda: not self.bench.activities.running() and beside.map.count > 0, "its points")
        agreement = self.bench.collection_structure.agreement
        assert agreement is not None
        assert agreement.mean > agreement.by_chance
        row = self.row_named("scene-cat-dog/")
        QTest.mouseClick(beside.map, LEFT, pos=beside.map.place_of(row).toPoint())
        assert self.collections.picked is not None
        assert self.map.picked_row == self.collections.picked
        self.point_at(self.app.window.top_bar, QPoint(2, 2))
        self.shoot("map-two-models-dark")

    def look_small_and_light(self) -> None:
        """The same in light colours and a small window, then one map again."""
        window, beside = self.app.window, self.panel.beside  # type: ignore[attr-defined]
        window.set_theme("light")
        self.shoot("map-two-models-light")
        window.resize(*SMALL)
        self.shoot("map-two-models-light-small")
        QTest.mouseClick(beside.close_button, LEFT)
        assert beside.isHidden()
        self.panel.side.bring(self.panel.side.average)  # type: ignore[attr-defined]
        self.shoot("map-average-light-small")
        window.resize(*SIZE)
        self.panel.side.bring(self.panel.measuring.pairs)  # type: ignore[attr-defined]
        self.shoot("map-pairs-light")


if __name__ == "__main__":
    sys.exit(main(MapDepthTour))
