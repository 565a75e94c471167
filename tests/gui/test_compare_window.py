"""Maps side by side: what is compared, in which order it is made, and how all maps are looked at together."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from helpers_space import HandJobs
from helpers_viewer import MODEL, image_maps, picture, sequence, time_maps, tone
from PySide6.QtCore import QPointF, Qt
from PySide6.QtTest import QTest
from pytestqt.qtbot import QtBot

from mmviewer import paths
from mmviewer.core.compare.plan import AxisKind
from mmviewer.core.session.settings import Settings
from mmviewer.core.types import Capability, MapSpec, ModelInfo
from mmviewer.engine.protocol import (
    ErrorReport,
    EstimateMaps,
    Explain,
    Generate,
    MapEstimate,
    Tokenize,
)
from mmviewer.gui.compare_model import CompareChoice
from mmviewer.gui.controllers.compare import UNASKED_SECONDS
from mmviewer.gui.figures import comparison_figure
from mmviewer.gui.panels.compare import ComparePanel
from mmviewer.gui.widgets.check_picker import CheckPicker, Tick
from mmviewer.gui.widgets.small_multiples import SmallMultiples
from mmviewer.gui.widgets.tile import Tile, TileState
from mmviewer.gui.widgets.time_map import TimeMap
from mmviewer.gui.workbench import Workbench

LEFT = Qt.MouseButton.LeftButton
PATIENCE = 60_000
WORDS, METHODS, LAYERS, ITEMS = AxisKind.WORDS, AxisKind.METHODS, AxisKind.LAYERS, AxisKind.ITEMS
ABLE = replace(MODEL, capabilities=frozenset({Capability.CAPTION, Capability.EMBED_IMAGE}))


@pytest.fixture
def hand(tmp_path: Path) -> Iterator[Workbench]:
    """A workbench without an engine, two pictures, and the first one's caption."""
    settings = Settings.load(tmp_path / "settings.json")
    settings.generate_on_choose = False
    bench = Workbench(HandJobs(), settings=settings)  # type: ignore[arg-type]
    bench.state.set_model(ABLE)
    bench.state.set_items((picture(item_id="one"), picture(item_id="two")))
    bench.choose("one")
    bench.state.set_sequence(spaced(sequence(bench.state.items[0])))
    yield bench
    bench.release()


def spaced(made):
    """The tokens where they stand in the text."""
    tokens, at = [], 0
    for token in made.tokens:
        start = made.text.index(token.text, at)
        at = start + len(token.text)
        tokens.append(replace(token, start=start, end=start if token.special else at))
    return replace(made, tokens=tuple(tokens))


def asked(bench: Workbench):
    """The comparison's newest request, not yet answered or cancelled."""
    return bench.jobs.asked[-1]  # type: ignore[attr-defined]


def estimates(request: EstimateMaps, **seconds: float) -> tuple[MapEstimate, ...]:
    return tuple(
        MapEstimate(spec, 1 if seconds.get(spec.method, 0) < 1 else 200, 0, seconds.get(spec.method, 0.1))
        for spec in request.specs
    )


def test_cheap_maps_come_first_and_dear_ones_wait_for_a_click(hand: Workbench):
    compare = hand.compare
    compare.open()
    assert [entry.key for entry in compare.plan.rows] == ["red", "bicycle"]  # not “a”
    assert [entry.key for entry in compare.plan.columns] == ["attention", "rollout"]
    ask = asked(hand)
    assert isinstance(ask.request, EstimateMaps)
    ask.done(estimates(ask.request, attention=0.5, rollout=UNASKED_SECONDS + 40))
    explain = asked(hand)
    assert isinstance(explain.request, Explain)
    assert explain.request.spec.method == "attention"
    explain.done(image_maps(hand.state.items[0]))
    assert compare.running is None  # the other one waits
    assert compare.waits_for_click((0, 1))
    assert compare.progress() == (2, 4)
    np.testing.assert_array_equal(compare.cell((1, 0)).shown.grid, image_maps(hand.state.items[0]).values[2])
    compare.want((0, 1))
    assert asked(hand).request.spec.method == "rollout"
    asked(hand).failed(ErrorReport("EngineError", "It broke."))
    assert compare.cell((0, 1)) == compare.cell((1, 1)) == "It broke."
    assert compare.can_retry((0, 1))
    compare.want((1, 1))
    assert isinstance(asked(hand).request, Explain)
    compare.close()
    assert asked(hand).cancelled


def test_stopping_keeps_what_is_there_and_going_on_makes_the_rest(hand: Workbench, qtbot: QtBot):
    compare = hand.compare
    compare.open()
    asked(hand).done(estimates(asked(hand).request))
    hand.cancel("compare")  # as the status bar does
    qtbot.waitUntil(lambda: compare.stopped)
    count = len(hand.jobs.asked)  # type: ignore[attr-defined]
    compare.go_on()
    assert len(hand.jobs.asked) == count + 1  # type: ignore[attr-defined]
    assert not compare.stopped


def test_items_get_their_texts_first_and_a_missing_word_says_so(hand: Workbench):
    compare, state = hand.compare, hand.state
    compare.open()
    compare.choose(CompareChoice(ITEMS, WORDS))
    asked(hand).done(estimates(asked(hand).request))  # of the maps that both comparisons want
    caption = asked(hand)
    assert isinstance(caption.request, Generate)
    assert caption.request.media.id == "two"
    caption.done(spaced(sequence(state.items[1], ("a", "green", "bicycle", "<end>"))))
    assert [entry.key for entry in compare.plan.columns] == ["red", "bicycle", "green"]
    asked(hand).done(estimates(asked(hand).request))
    for _ in range(2):
        item = next(item for item in state.items if item.id == asked(hand).request.media.id)
        words = tuple(token.text for token in asked(hand).request.sequence.tokens)
        asked(hand).done(image_maps(item, words=words))
    assert "has no word “green”" in compare.cell((0, 2))
    assert compare.cell((1, 2)).maps.media_id == "two"
    compare.choose(replace(compare.choice, text="a bell"))
    assert isinstance(asked(hand).request, Tokenize)


def test_rows_and_columns_that_do_not_go_together_give_way():
    choice = CompareChoice(WORDS, METHODS)
    assert choice.with_axis(0, METHODS).axes == (METHODS, WORDS)
    assert choice.with_axis(0, LAYERS).axes == (LAYERS, WORDS)
    assert choice.with_axis(1, LAYERS).axes == (WORDS, LAYERS)


def test_models_that_are_kept_loaded_can_be_compared(hand: Workbench):
    other = replace(ABLE, id="other", label="Another CoCa")
    hand.state.set_others((other,))
    compare = hand.compare
    compare.open()
    compare.choose(CompareChoice(WORDS, AxisKind.MODELS))
    assert [entry.label for entry in compare.plan.columns] == [ABLE.label, "Another CoCa"]
    assert [key[:2] for key in compare.plan.missing] == [("one", "other")]  # its own caption first
    hand.state.set_others(())
    compare.close()


def test_a_cell_opens_in_the_viewer_without_another_request(hand: Workbench):
    compare, state = hand.compare, hand.state
    compare.open()
    asked(hand).done(estimates(asked(hand).request))
    made = image_maps(state.items[0])
    asked(hand).done(made)
    rolled = replace(made, spec=MapSpec("rollout"), values=made.values[:, ::-1].copy())
    asked(hand).done(rolled)
    compare.show((1, 1))
    assert not compare.is_open
    assert state.spec.method == "rollout"
    assert state.tokens == (2,)
    assert state.maps is rolled


def test_the_panel_follows_and_says_what_is_missing(hand: Workbench, qtbot: QtBot):
    panel = ComparePanel(hand)
    qtbot.addWidget(panel)
    panel.resize(700, 500)
    panel.show()
    qtbot.waitExposed(panel)
    compare = hand.compare
    compare.open()
    asked(hand).done(estimates(asked(hand).request, rollout=120))
    asked(hand).done(image_maps(hand.state.items[0]))
    qtbot.waitUntil(lambda: panel.grid.tiles.get((0, 0)) is not None and not panel._soon.isActive())
    tiles = panel.grid.tiles
    assert tiles[0, 0].state is TileState.MAP
    assert "decoder cross-attention" in tiles[0, 0].tip
    assert tiles[0, 1].state is TileState.OFFERED
    assert "About 2 min" in tiles[0, 1].words
    assert "about 2 min" in panel.costly.text()
    assert panel.pickers[0].text() == "2 of 4 ▾"
    kept = tiles[0, 0]
    compare.changed.emit()
    qtbot.wait(120)
    assert panel.grid.tiles[0, 0] is kept  # not painted anew
    QTest.mouseClick(panel.swap, LEFT)
    assert compare.choice.axes == (METHODS, WORDS)
    layers = panel.axes[0].findData(LAYERS)
    panel.axes[0].setCurrentIndex(layers)
    panel.axes[0].activated.emit(layers)
    assert compare.choice.axes == (LAYERS, WORDS)
    assert all(isinstance(kind, AxisKind) for kind in compare.choice.axes)  # a box makes texts of them
    panel.pickers[1].none.click()
    qtbot.waitUntil(lambda: "at least one row" in panel.stack.message)
    panel.release()
    compare.close()


def test_pointing_and_zoom_are_common_to_all_maps(hand: Workbench, qtbot: QtBot):
    panel = ComparePanel(hand)
    qtbot.addWidget(panel)
    grid = panel.grid
    hand.compare.open()
    asked(hand).done(estimates(asked(hand).request))
    asked(hand).done(image_maps(hand.state.items[0]))
    panel.resize(800, 600)
    panel.show()
    qtbot.waitUntil(lambda: bool(grid.tiles))
    where = grid.cell_rect((1, 0))
    # token 2 has all its weight in row 2, column 1 of 4 by 4
    spot = QPointF(where.left() + 0.375 * where.width(), where.top() + 0.625 * where.height()).toPoint()
    QTest.mouseMove(grid.viewport(), spot)
    qtbot.waitUntil(lambda: grid.point is not None)
    assert grid.tiles[1, 0].value_at(grid.point) == 1
    assert grid.tiles[0, 0].value_at(grid.point) == 0
    grid.zoom_by(2.0, QPointF(0.375, 0.625))
    assert grid.zoom == 2
    grid.fit()
    grid.setFocus()
    QTest.keyClick(grid, Qt.Key.Key_Down)
    assert grid.tiles[1, 0].value_at(grid.point) == 1  # the strongest patch of the cell under the cursor
    with qtbot.waitSignal(grid.opened) as opened:
        QTest.keyClick(grid, Qt.Key.Key_Return)
    assert opened.args == [1, 0]
    panel.release()
    hand.compare.close()


def test_sounds_and_cells_without_maps_are_painted(qtbot: QtBot):
    item = tone()
    maps = time_maps(item)
    heard = Tile(TileState.MAP, curve=TimeMap(maps.values[1], 0, 0.1, 0, 1), duration=item.media.duration)
    said = Tile(
        TileState.FAILED, words="There is no such word in this text at all. " * 20, button="Try again"
    )
    grid = SmallMultiples()
    qtbot.addWidget(grid)
    grid.resize(360, 200)
    grid.set_matrix([("row", "")], [("one", ""), ("two", "why")], {(0, 0): heard, (0, 1): said})
    grid.show()
    qtbot.waitExposed(grid)
    assert heard.strongest().x() == pytest.approx(0.45 / item.media.duration)
    assert heard.value_at(heard.strongest()) == 1
    with qtbot.waitSignal(grid.wanted) as wanted:
        QTest.mouseClick(grid.viewport(), LEFT, pos=grid.cell_rect((0, 1)).center().toPoint())
    assert wanted.args == [0, 1]
    assert grid.grab().toImage().pixelColor(5, 5).isValid()


def test_a_picker_ticks_what_is_usual(qtbot: QtBot):
    picker = CheckPicker("words", "All content words")
    qtbot.addWidget(picker)
    picker.set_ticks([Tick("a", "a", usual=False), Tick("owl", "owl"), Tick("bell", "bell")], ["a"])
    assert picker.text() == "1 of 3 ▾"
    with qtbot.waitSignal(picker.picked) as picked:
        picker.usual.click()
    assert picked.args == [("owl", "bell")]
    with qtbot.waitSignal(picker.picked):
        picker.list.item(0).setCheckState(Qt.CheckState.Checked)
    assert picker.chosen == ("a", "owl", "bell")


def test_with_the_real_engine_every_map_is_the_one_asked_for_alone(
    bench: Workbench, starter: ModelInfo, qtbot: QtBot, tmp_path: Path
):
    bench.settings.generate_on_choose = False
    bench.state.set_model(starter)
    bench.open_paths([paths.samples() / "scene-owl-guitar.png"])
    qtbot.waitUntil(lambda: bool(bench.state.items), timeout=PATIENCE)
    bench.choose(bench.state.items[0].id)
    compare = bench.compare
    compare.open()
    qtbot.waitUntil(lambda: bool(compare.plan.questions), timeout=PATIENCE)
    compare.choose(compare.choice.with_picked(METHODS, ("attention", "integrated_gradients", "rollout")))
    qtbot.waitUntil(lambda: compare.progress()[0] == 4, timeout=PATIENCE)
    assert compare.waits_for_click((0, 1))
    assert compare.estimate((0, 1)).seconds > UNASKED_SECONDS
    alone, shown = [], compare.cell((1, 2))
    caption = bench.sequences.written() or tuple(compare._sequences.values())
    request = Explain(starter.id, bench.state.items[0].ref, caption[0], MapSpec("rollout"))
    bench.jobs.run(request, done=alone.append)
    qtbot.waitUntil(lambda: bool(alone), timeout=PATIENCE)
    np.testing.assert_array_equal(alone[0].values, shown.maps.values)
    target = tmp_path / "comparison.svg"
    made = comparison_figure(bench)
    bench.export_figure(made.figure, target, made.provenance)
    qtbot.waitUntil(target.is_file, timeout=PATIENCE)
    assert ">guitar<" in target.read_text("utf-8")
    compare.close()
