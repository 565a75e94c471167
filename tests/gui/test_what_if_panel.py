"""The What if panel: recipes with undo, both sides, what is stale, and the real engine end to end."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from helpers_space import HandJobs
from helpers_viewer import MODEL, image_maps, picture, sequence, time_maps, tone
from PySide6.QtCore import Qt
from PySide6.QtWidgets import QApplication
from pytestqt.qtbot import QtBot

from mmviewer import paths
from mmviewer.core.interventions.outcome import TokenChange, WhatIf
from mmviewer.core.interventions.recipe import (
    ChangeWord,
    HideRegion,
    Region,
    ScaleGate,
    SwitchOff,
    recipe_json,
)
from mmviewer.core.interventions.shown import total_words
from mmviewer.core.interventions.suggest import strongest_region
from mmviewer.core.media.geometry import ImageGeometry, TimeGeometry
from mmviewer.core.session.annotations import Annotation
from mmviewer.core.types import ModelInfo
from mmviewer.engine.protocol import ErrorReport, Intervene
from mmviewer.gui.panels.whatif import WhatIfPanel
from mmviewer.gui.whatif_view import marked_texts, words_offered
from mmviewer.gui.workbench import Workbench

BOX = Region("box", ((0, 0), (80, 60)), "dog")


@pytest.fixture
def desk(qtbot: QtBot) -> Iterator[tuple[Workbench, HandJobs, WhatIfPanel]]:
    jobs = HandJobs()
    bench = Workbench(jobs)  # type: ignore[arg-type]
    bench.state.set_model(MODEL)
    panel = WhatIfPanel(bench)
    qtbot.addWidget(panel)
    panel.resize(340, 800)
    panel.show()
    qtbot.waitExposed(panel)
    yield bench, jobs, panel
    panel.release()
    bench.release()


def show(bench: Workbench) -> None:
    """Open a picture with its caption and maps."""
    item = picture()
    bench.state.set_items((item,))
    bench.choose(item.id)
    bench.state.set_sequence(sequence(item))
    bench.state.set_maps(image_maps(item))
    QApplication.processEvents()


def outcome(request: Intervene) -> WhatIf:
    """An answer in which "bicycle" became unlikely and the text another."""
    before = request.sequence
    assert before is not None
    changes = tuple(
        TokenChange(token.index, token.text, -0.7, -3.0 if token.text == "bicycle" else -0.7, token.index)
        for token in before.tokens
    )
    maps = image_maps(picture())
    return WhatIf(
        request.steps,
        request.media.id,
        request.model_id,
        before=before,
        after=replace(before, text="a red car <end>"),
        changes=changes,
        maps_before=maps,
        maps_after=replace(maps, values=2 * maps.values),
    )


def test_an_empty_panel_explains_itself_and_its_button_hides_a_marked_thing(desk):
    bench, jobs, panel = desk
    assert "Hide a part" in panel.stack.message
    asked_for: list[str] = []
    bench.help_requested.connect(asked_for.append)
    panel.help_button.click()
    assert asked_for == ["what-if"]
    assert (paths.help_pages() / "what-if.md").is_file()
    show(bench)
    bench.state.set_annotations("picture", [Annotation("dog", "box", ((0, 0), (80, 60)))])
    QApplication.processEvents()
    panel.stack.acted.emit()
    QApplication.processEvents()
    assert bench.what_if.recipe == (HideRegion(BOX),)
    asked = jobs.last(Intervene).request
    assert asked.steps == bench.what_if.recipe
    assert asked.sequence == bench.state.sequence
    assert panel.chips.words == ("hide “dog” · its mean",)


def test_both_sides_are_shown_as_they_come_and_a_row_chooses_its_token(desk):
    bench, jobs, panel = desk
    show(bench)
    bench.what_if.add(HideRegion(BOX))
    QApplication.processEvents()
    asked = jobs.last(Intervene)
    bench.what_if._take(replace(outcome(asked.request), after=None, maps_before=None, maps_after=None))
    bench.what_if._take(replace(asked.request.sequence, text="a re", finished=False))
    assert "<b><u>re</u></b>" in panel.after.text()
    asked.done(outcome(asked.request))
    QApplication.processEvents()
    assert "<s>bicycle</s>" in panel.before.text()
    assert "<b><u>car</u></b>" in panel.after.text()
    assert [row.label for row in panel.tokens.rows] == ["a", "red", "bicycle", "<end>"]
    assert panel.tokens.rows[2].numbers == "−2.30 · 50 % → 5.0 %"
    assert "10 times less likely" in panel.total.text()
    panel.tokens.activated.emit(2)
    assert bench.state.tokens == (2,)
    first, second = panel.pair.tiles
    assert first.scale == second.scale == (0, 2)
    assert "bicycle" in panel.pair_title.text


def test_every_change_is_undone_and_an_empty_recipe_asks_nothing(desk, qtbot: QtBot):
    bench, jobs, panel = desk
    show(bench)
    bench.what_if.add(ChangeWord("red", "blue"))
    bench.what_if.add(SwitchOff("decoder.cross", 1, (0,)))
    bench.what_if.add(ChangeWord("red", "blue"))  # there already
    QApplication.processEvents()
    assert jobs.count(Intervene) == 1
    assert panel.chips.words == ("“red” → “blue”", "decoder cross-attention, layer 2, head 1 off")
    qtbot.mouseClick(panel.chips.button(0), Qt.MouseButton.LeftButton)
    QApplication.processEvents()
    assert panel.chips.words == ("decoder cross-attention, layer 2, head 1 off",)
    bench.undo_stack.undo()
    assert len(bench.what_if.recipe) == 2
    bench.undo_stack.undo()
    bench.undo_stack.undo()
    QApplication.processEvents()
    assert bench.what_if.recipe == ()
    assert jobs.last(Intervene).cancelled
    assert not panel.clear.isVisible()


def test_another_item_is_tried_only_on_demand(desk):
    bench, jobs, panel = desk
    show(bench)
    bench.what_if.add(HideRegion(BOX))
    QApplication.processEvents()
    asked = jobs.last(Intervene)
    asked.done(outcome(asked.request))
    other = picture(item_id="other")
    bench.state.set_items((*bench.state.items, other))
    bench.choose("other")
    QApplication.processEvents()
    assert jobs.count(Intervene) == 1
    assert panel.stale.isVisible()
    panel.again.click()
    assert jobs.last(Intervene).request.media.id == "other"
    assert not panel.stale.isVisible()


def test_a_step_that_does_not_fit_says_why_and_leaves_the_chips(desk):
    bench, jobs, panel = desk
    show(bench)
    bench.what_if.add(ChangeWord("zebra"))
    QApplication.processEvents()
    jobs.last(Intervene).failed(ErrorReport("InputError", "There is no “zebra” in the caption."))
    assert panel.stack.message == "There is no “zebra” in the caption."
    assert panel.chips.words == ("without “zebra”",)


def test_forms_offer_what_item_text_and_model_have(desk):
    bench, _, panel = desk
    show(bench)
    bench.state.set_labels(("red car",), ("a {}",))
    bench.state.set_tokens((2,))
    QApplication.processEvents()
    assert panel.maker.region.currentText() == "where “bicycle” looked"
    words = [panel.maker.word.itemText(row) for row in range(panel.maker.word.count())]
    assert words == ["a · caption", "red · caption", "bicycle · caption", "end · caption", *words[4:]]
    assert words[4:] == ["red · labels", "car · labels"]
    assert [panel.maker.layer.itemText(row) for row in range(5)][-1] == "layer 4"
    panel.maker.word.setCurrentIndex(4)
    panel.maker.instead.setText("blue")
    panel.maker.adds[1].click()
    assert bench.what_if.recipe == (ChangeWord("red", "blue", "labels"),)
    panel.maker.layer.setCurrentIndex(3)
    panel.maker.head.setCurrentIndex(1)
    panel.maker.how.setCurrentIndex(1)
    panel.maker.adds[2].click()
    assert bench.what_if.recipe[-1] == SwitchOff("decoder.cross", 2, (0,), "uniform")
    assert panel.maker.how.count() == 2
    gated = replace(MODEL, points=tuple(replace(point, gates=(0.5,) * 4) for point in MODEL.points))
    bench.state.set_model(gated)
    QApplication.processEvents()
    panel.maker.how.setCurrentIndex(3)
    assert not panel.maker.head.isEnabled()
    panel.maker.adds[2].click()
    assert bench.what_if.recipe[-1] == ScaleGate("decoder.cross", 2, 0.5)


def test_a_region_just_drawn_is_suggested(desk):
    bench, _, panel = desk
    show(bench)
    bench.annotations.add("box", ((0, 0), (40, 40)), "cat")
    QApplication.processEvents()
    bench.annotations.add("box", ((50, 50), (90, 90)))
    QApplication.processEvents()
    assert panel.maker.region.currentText() == "box at 50, 50 to 90, 90"
    panel.maker.action.setCurrentIndex(2)
    panel.maker.adds[0].click()
    assert bench.what_if.recipe == (HideRegion(Region("box", ((50, 50), (90, 90))), "blur"),)


def test_recipes_are_opened_from_files_and_broken_ones_reported(desk, tmp_path: Path):
    bench, _, _ = desk
    show(bench)
    saved = tmp_path / "recipe.json"
    bench.what_if.add(ChangeWord("red"))
    bench.what_if.save_file(saved)
    assert json.loads(saved.read_text())["steps"][0]["word"] == "red"
    bench.what_if.clear()
    bench.what_if.open_file(saved)
    assert bench.what_if.recipe == (ChangeWord("red"),)
    told: list[ErrorReport] = []
    bench.error.connect(told.append)
    saved.write_bytes(b"\xff\xfe\x00")
    bench.what_if.open_file(saved)
    saved.write_text(recipe_json(()).replace("1", "9"))
    bench.what_if.open_file(saved)
    bench.what_if.open_file(tmp_path / "gone.json")
    assert len(told) == 3
    assert bench.what_if.recipe == (ChangeWord("red"),)


def test_a_strong_place_is_surrounded_and_a_second_one_left_out():
    values = np.zeros((4, 6), np.float32)
    values[1, 1], values[2, 2], values[0, 5] = 1, 0.6, 0.9
    geometry = ImageGeometry.for_resize((400, 600), (32, 48), "squash", (4, 6))
    region = strongest_region(values, geometry, "it")
    assert region == Region("box", ((100, 100), (300, 300)), "it")
    assert strongest_region(np.zeros((4, 6), np.float32), geometry, "it") is None
    heard = np.array([0, 0.2, 1, 0.7, 0.1, 5], np.float32)
    assert strongest_region(heard, TimeGeometry(0.5, 0.1, 6), "it").points == ((0.2, 0.4),)


def test_words_are_marked_and_offered_by_place():
    assert marked_texts("a <b> dog", "a dog here") == ("a <s>&lt;b&gt;</s> dog", "a dog <b><u>here</u></b>")
    offers = words_offered(sequence(picture(), ("a", "dog", "a")), ())
    assert [offer.label for offer in offers] == ["a · caption", "dog · caption", "a (2.) · caption"]
    assert offers[2].step("the") == ChangeWord("a", "the", "text", 1)
    assert total_words(WhatIf((), "i", "m", changes=(TokenChange(0, "a", -1.0, -1.0),))).endswith(
        "as it was."
    )


def test_a_sound_offers_silence(desk):
    bench, _, panel = desk
    item = tone()
    bench.state.set_items((item,))
    bench.state.set_speech_model(MODEL)
    bench.choose(item.id)
    bench.state.set_sequence(sequence(item))
    bench.state.set_maps(time_maps(item))
    bench.state.set_tokens((1,))
    QApplication.processEvents()
    assert panel.maker.action.itemText(0) == "silence"
    panel.maker.adds[0].click()
    assert bench.what_if.recipe[0].region.shape == "span"
    assert panel.chips.words[0].startswith("silence")


def test_the_real_engine_tries_a_recipe(bench: Workbench, starter: ModelInfo, qtbot: QtBot):
    bench.state.set_model(starter)
    bench.open_paths([str(paths.samples() / "scene-owl-guitar.png")])
    qtbot.waitUntil(lambda: bench.state.maps is not None, timeout=60_000)
    panel = WhatIfPanel(bench)
    qtbot.addWidget(panel)
    panel.show()
    bench.what_if.add(HideRegion(Region("box", ((0, 0), (448, 224)), "owl")))

    def ready() -> bool:
        found = bench.what_if.result
        return found is not None and found.maps_after is not None and not bench.activity("whatif").running

    qtbot.waitUntil(ready, timeout=60_000)
    owl = next(row for row in panel.tokens.rows if row.label == "owl")
    assert owl.value < -1
    assert "<s>" in panel.before.text()
    assert len(panel.pair.tiles) == 2
    panel.release()
