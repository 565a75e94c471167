"""A tour of what explains a map in depth: heads, regions, trust, what if, maps side by side.

Runs in a process of its own like `drive.py` (see `test_depth_tour.py`). All is looked at in a large and a
small window, dark and light:

    python tests/tour/drive_depth.py MODELS_FOLDER SCREENSHOTS_FOLDER
"""

from __future__ import annotations

import sys
from dataclasses import replace

from drive import LEFT, SIZE, Tour, main
from PySide6.QtCore import QPoint, QPointF, QRectF, Qt
from PySide6.QtTest import QTest

from mmviewer import paths
from mmviewer.core.compare.plan import AxisKind, CellMap
from mmviewer.gui.controllers.faithfulness import Phase
from mmviewer.gui.widgets.small_multiples import SmallMultiples
from mmviewer.gui.widgets.tile import TileState

SMALL = (1000, 640)


class DepthTour(Tour):
    """The steps of this tour."""

    def run(self) -> None:
        """Take all steps."""
        self.app.start([], samples=False)
        self.app.window.resize(*SIZE)
        self.app.window.set_theme("dark")
        self.until(self.app.window.isVisible, "the window")
        self.take(
            self.choose_a_word,
            self.explore_the_heads,
            self.mark_a_region,
            self.see_how_far_to_trust_it,
            self.hide_what_was_marked,
            self.compare_words_and_methods,
            self.compare_layers_then_items,
            self.take_the_comparison_home,
            self.open_a_cell,
            self.look_again_small_and_light,
        )

    # --- steps -------------------------------------------------------------------------------------------
    def choose_a_word(self) -> None:
        """Open two scenes, caption the first, choose its longest word."""
        names = ("scene-owl-guitar.png", "scene-cat-dog.png", "scene-car-banana.png")
        self.bench.open_paths([paths.samples() / name for name in names])
        self.until(lambda: len(self.state.items) == 3 and self.state.model is not None, "items and model")
        self.bench.choose(self.state.items[0].id)
        self.until(self.captioned, "a caption and its maps")
        self.state.set_tokens((self.content_token(),))

    def explore_the_heads(self) -> None:
        """Sort the heads, open one, pin it, go back to the mean."""
        window, heads = self.app.window, self.panels["heads"]
        window.docks.bring("heads")
        self.until(lambda: self.state.heads is not None, "the maps of all heads")
        for row in range(heads.ordering.count()):  # type: ignore[attr-defined]
            heads.ordering.setCurrentIndex(row)  # type: ignore[attr-defined]
            heads.ordering.activated.emit(row)  # type: ignore[attr-defined]
            self.pause(0.1)
        heads.ordering.setCurrentIndex(0)  # type: ignore[attr-defined]
        heads.ordering.activated.emit(0)  # type: ignore[attr-defined]
        grid = heads.grid  # type: ignore[attr-defined]
        QTest.mouseClick(grid.viewport(), LEFT, pos=grid.cell_rect((2, 1)).center().toPoint())
        self.until(lambda: self.state.maps.spec.head == 1, "the map of one head")  # type: ignore[union-attr]
        QTest.mouseClick(heads.pin, LEFT)  # type: ignore[attr-defined]
        assert self.state.pins
        self.shoot("depth-heads-dark")
        self.state.set_spec(type(self.state.spec)())
        self.until(lambda: self.state.maps.spec.head == "mean", "the mean again")  # type: ignore[union-attr]

    def mark_a_region(self) -> None:
        """Draw a rectangle over the lower half with R and the mouse: tokens and heads get their shares."""
        view, docks = self.panels["viewer"].image, self.app.window.docks  # type: ignore[attr-defined]
        before = len(self.state.annotations_of(self.state.current.id))  # type: ignore[union-attr]
        height, width = self.state.current.media.size[:2]  # type: ignore[union-attr]
        self.draw_box(view, view.to_view(QRectF(0.28 * width, 0.5 * height, 0.44 * width, 0.46 * height)))
        assert len(self.state.annotations_of(self.state.current.id)) == before + 1  # type: ignore[union-attr]
        docks.bring("regions")
        self.point_at(self.app.window.top_bar, QPoint(2, 2))
        self.shoot("depth-regions-dark")

    def see_how_far_to_trust_it(self) -> None:
        """Wait for the badge, then read the numbers behind it."""
        trust = self.bench.faithfulness
        self.app.window.docks.bring("faithfulness")
        self.until(lambda: trust.phase is Phase.DONE, "deletion and insertion")
        assert trust.curves is not None
        assert 0 <= trust.curves.deletion_area <= 1
        self.shoot("depth-trust-dark")

    def hide_what_was_marked(self) -> None:
        """Hide the region: the caption before and after; undo brings the picture back."""
        self.app.window.docks.bring("whatif")
        panel, what_if = self.panels["whatif"], self.bench.what_if
        self.shoot("depth-whatif-empty-dark")
        panel.stack.acted.emit()  # type: ignore[attr-defined]
        self.until(lambda: what_if.result is not None and what_if.fits, "before and after")
        self.until(lambda: not self.bench.activity("whatif").running, "the end of the trial")
        assert what_if.recipe
        self.shoot("depth-whatif-dark")
        self.bench.undo_stack.undo()
        assert not what_if.recipe

    def compare_words_and_methods(self) -> None:
        """Press Compare: quick maps come by themselves, dear ones on a click, pointing links them."""
        window, compare, grid = self.app.window, self.bench.compare, self.grid
        QTest.mouseClick(window.top_bar.compare, LEFT)
        assert compare.is_open
        self.until(self.settled, "the quick maps")
        waiting = [place for place in compare.plan.questions if compare.waits_for_click(place)]
        assert waiting
        methods = [entry.key for entry in compare.plan.columns]
        assert {"attention", "gradient_attention", "occlusion"} <= set(methods)
        self.shoot("depth-compare-dark")
        occlusion = (0, methods.index("occlusion"))
        if compare.waits_for_click(occlusion):
            QTest.mouseClick(grid.viewport(), LEFT, pos=grid.cell_rect(occlusion).center().toPoint())
        self.until(lambda: isinstance(compare.cell(occlusion), CellMap), "the map that was asked for")
        self.until(lambda: grid.tiles[occlusion].state is TileState.MAP, "its tile")
        place = (len(compare.plan.rows) - 1, 0)
        self.point_at(grid.viewport(), grid.cell_rect(place).center().toPoint() + QPoint(8, 24))
        assert grid.point is not None
        grid.zoom_by(1.6, QPointF(0.5, 0.6))
        self.shoot("depth-compare-linked-dark")
        grid.fit()
        self.point_at(window.top_bar, QPoint(2, 2))

    def compare_layers_then_items(self) -> None:
        """Words by layers of attention, then items by the words of a typed text."""
        compare = self.bench.compare
        panel = self.panels["compare"]
        box = panel.axes[1]  # type: ignore[attr-defined]
        box.setCurrentIndex(box.findData(AxisKind.LAYERS))
        box.activated.emit(box.currentIndex())
        self.until(self.settled, "all layers")
        assert {cell.maps.spec.layer for cell in self.cells()} == {0, 1, 2, 3}
        self.shoot("depth-layers-dark")
        compare.choose(compare.choice.with_axis(0, AxisKind.ITEMS).with_axis(1, AxisKind.WORDS))
        QTest.mouseClick(panel.text, LEFT)  # type: ignore[attr-defined]
        QTest.keyClicks(panel.text, "a dog and a guitar")  # type: ignore[attr-defined]
        QTest.keyClick(panel.text, Qt.Key.Key_Return)  # type: ignore[attr-defined]
        self.until(lambda: compare.choice.text == "a dog and a guitar" and self.settled(), "all items")
        assert len(compare.plan.rows) == 3
        assert all(cell.maps.spec.method == "gradient_attention" for cell in self.cells())
        self.point_at(self.app.window.top_bar, QPoint(2, 2))
        self.shoot("depth-items-dark")

    def take_the_comparison_home(self) -> None:
        """Write the matrix as one figure and as numbers."""
        from mmviewer.gui.figures import comparison_figure

        made = comparison_figure(self.bench)
        for ending in ("svg", "png", "npz"):
            target = self.shots / f"comparison.{ending}"
            target.unlink(missing_ok=True)
            self.bench.export_figure(made.figure, target, made.provenance)
            self.until(lambda: target.is_file() and target.stat().st_size > 0, str(target))  # noqa: B023

    def open_a_cell(self) -> None:
        """Click a map: the viewer shows it, with its words."""
        grid, compare = self.grid, self.bench.compare
        place = (1, 0)
        wanted = compare.plan.questions[place]
        self.until(lambda: grid.tiles[place].state is TileState.MAP, "the tile")
        QTest.mouseClick(grid.viewport(), LEFT, pos=grid.cell_rect(place).center().toPoint())
        assert not compare.is_open
        self.until(lambda: self.has_maps_of(wanted.item_id), "the cell's map in the viewer")
        assert self.state.sequence is not None
        assert self.state.sequence.text == "a dog and a guitar"
        assert self.state.spec.method == "gradient_attention"
        self.shoot("depth-opened-dark")
        QTest.keyClick(self.app.window.top_bar.query, Qt.Key.Key_Escape)

    def look_again_small_and_light(self) -> None:
        """The same panels where there is little room, and in light."""
        window, compare = self.app.window, self.bench.compare
        self.bench.choose(self.state.items[0].id)
        self.until(self.captioned, "the first caption")
        self.state.set_tokens((self.content_token(),))
        for theme in ("light", "dark"):
            window.set_theme(theme)
            for size, name in ((SIZE, "large"), (SMALL, "small")):
                if (theme, name) == ("dark", "large"):
                    continue  # seen already
                window.resize(*size)
                window.docks.reset()
                for key in ("heads", "regions", "faithfulness", "whatif"):
                    window.docks.bring(key)
                    if key == "faithfulness":
                        trust = self.bench.faithfulness
                        self.until(lambda: trust.phase is Phase.DONE, "the measures")  # noqa: B023
                    self.shoot(f"depth-{key}-{theme}-{name}")
                compare.open()
                choice = replace(compare.choice.with_axis(0, AxisKind.WORDS), text="")
                compare.choose(choice.with_axis(1, AxisKind.METHODS))
                self.until(self.settled, "the quick maps")
                self.shoot(f"depth-compare-{theme}-{name}")
                compare.close()

    # --- help ----------------------------------------------------------------------------------------------
    @property
    def grid(self) -> SmallMultiples:
        """The table of maps."""
        found: SmallMultiples = self.panels["compare"].grid  # type: ignore[attr-defined]
        return found

    def captioned(self) -> bool:
        """Whether the current item's caption and its maps are shown."""
        item, sequence = self.state.current, self.state.sequence
        known = item is not None and sequence is not None and sequence.kind == "caption"
        return known and self.has_maps_of(item.id)  # type: ignore[union-attr]

    def settled(self) -> bool:
        """Whether every map is there that comes by itself, and painted."""
        compare = self.bench.compare
        if compare.running is not None or not compare.plan.questions or compare._soon.isActive():
            return False
        return all(
            compare.cell(place) is not None or compare.waits_for_click(place)
            for place in compare.plan.questions
        )

    def cells(self) -> list[CellMap]:
        """The maps that are compared."""
        compare = self.bench.compare
        found = [compare.cell(place) for place in compare.plan.questions]
        assert all(isinstance(cell, CellMap) for cell in found), found
        return [cell for cell in found if isinstance(cell, CellMap)]


if __name__ == "__main__":
    sys.exit(main(DepthTour))
