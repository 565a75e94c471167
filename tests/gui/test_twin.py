"""Two models side by side: what the second is asked, which words agree, what is pointed at on both sides."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pytest
from helpers_space import HandJobs
from helpers_viewer import MODEL, image_maps, picture, sequence, tone
from PySide6.QtCore import QPointF, Qt
from PySide6.QtTest import QTest
from pytestqt.qtbot import QtBot

from mmviewer import paths
from mmviewer.core.errors import InputError
from mmviewer.core.session.settings import Settings
from mmviewer.core.types import Capability, ModelAbout, ModelInfo, QuestionForm, TokenSequence
from mmviewer.engine.protocol import (
    EstimateMaps,
    Explain,
    Generate,
    LoadModel,
    MapEstimate,
    Tokenize,
    UnloadModel,
)
from mmviewer.gui import twin_model
from mmviewer.gui.figures import twin_figure
from mmviewer.gui.panels.twin import TwinPanel
from mmviewer.gui.workbench import Workbench

LEFT = Qt.MouseButton.LeftButton
PATIENCE = 120_000
WRITER = replace(
    MODEL, capabilities=frozenset({Capability.CAPTION, Capability.EMBED_IMAGE, Capability.EMBED_TEXT})
)
OTHER = replace(WRITER, id="o", label="Another CoCa", source="other")
LOOKER = replace(
    OTHER, id="l", label="A CLIP", capabilities=frozenset({Capability.EMBED_IMAGE, Capability.EMBED_TEXT})
)
ASKED = replace(OTHER, about=ModelAbout(questions=QuestionForm("{question} ?", ("what is it",))))
NO_WORDS = replace(OTHER, capabilities=MODEL.capabilities)
EARS = replace(OTHER, capabilities=frozenset({Capability.EMBED_AUDIO}))
OTHER_WORDS = ("one", "bicycle", "is", "red", "<end>")


@dataclass
class Desk:
    """A workbench without an engine, and the split view."""

    bench: Workbench
    jobs: HandJobs
    panel: TwinPanel


@pytest.fixture
def desk(tmp_path: Path, qtbot: QtBot) -> Iterator[Desk]:
    settings = Settings.load(tmp_path / "settings.json")
    settings.generate_on_choose = False
    jobs = HandJobs()
    bench = Workbench(jobs, settings=settings)  # type: ignore[arg-type]
    bench.state.set_model(WRITER)
    bench.state.set_others((OTHER, LOOKER, replace(ASKED, id="a")))
    bench.state.set_items((picture(), tone()))
    bench.choose("picture")
    panel = TwinPanel(bench)
    qtbot.addWidget(panel)
    panel.resize(1000, 640)
    panel.show()
    qtbot.waitExposed(panel)
    yield Desk(bench, jobs, panel)
    panel.release()
    bench.release()


def spaced(made: TokenSequence) -> TokenSequence:
    """The tokens where they stand in the text."""
    tokens, at = [], 0
    for token in made.tokens:
        start = made.text.index(token.text, at)
        at = start + len(token.text)
        tokens.append(replace(token, start=start, end=start if token.special else at))
    return replace(made, tokens=tuple(tokens))


def captions() -> tuple[TokenSequence, TokenSequence]:
    """“a red bicycle” by one model, “one bicycle is red” by the other."""
    item = picture()
    return spaced(sequence(item)), replace(spaced(sequence(item, OTHER_WORDS)), model_id="o")


def answer_estimates(desk: Desk, qtbot: QtBot, count: int) -> None:
    """Let `count` waiting requests for estimates be cheap."""
    qtbot.waitUntil(lambda: desk.jobs.count(EstimateMaps) >= count, timeout=PATIENCE)
    for asked in [each for each in desk.jobs.asked if isinstance(each.request, EstimateMaps)]:
        asked.done(tuple(MapEstimate(spec, 1, 0, 0.1) for spec in asked.request.specs))


def both_sides(desk: Desk, qtbot: QtBot) -> None:
    """Open the view and give both sides their caption and maps."""
    first, second = captions()
    desk.bench.state.set_sequence(first)
    desk.bench.twin.open("o")
    qtbot.waitUntil(lambda: desk.jobs.count(Generate) == 1, timeout=PATIENCE)
    assert desk.jobs.last(Generate).request.model_id == "o"  # type: ignore[attr-defined]
    desk.jobs.last(Generate).done(second)
    answer_estimates(desk, qtbot, 2)
    qtbot.waitUntil(lambda: desk.jobs.count(Explain) >= 2, timeout=PATIENCE)
    for asked in [each for each in desk.jobs.asked if isinstance(each.request, Explain)]:
        words = tuple(token.text for token in asked.request.sequence.tokens)
        made = image_maps(picture(), words=words)
        asked.done(replace(made, tokens=asked.request.sequence.tokens, model_id=asked.request.model_id))
    assert desk.bench.twin.beside.state.maps is not None


def test_words_are_linked_where_they_agree() -> None:
    links = twin_model.link(*captions())
    assert links.words == ("red", "bicycle")  # content words, in the order of the first text
    assert links.over(0, (1,)) == (3,)
    assert links.over(0, (0, 1, 2)) == (1, 3)  # “a” has no fellow
    assert links.over(1, (1, 4)) == (2,)
    assert twin_model.link(captions()[0], None) == twin_model.Links()
    twice = spaced(sequence(picture(), ("dog", "and", "dog", "<end>")))
    once = spaced(sequence(picture(), ("the", "dog", "<end>")))
    assert twin_model.link(twice, once).over(0, (2,)) == ()  # the second dog is not the first
    assert twin_model.link(twice, twice).over(0, (2,)) == (2,)


@pytest.mark.parametrize(
    ("first", "model", "kind", "text", "said"),
    [
        (captions()[0], OTHER, "caption", "", ""),
        (captions()[0], LOOKER, "query", "a red bicycle <end>", "looks for the words of the other side"),
        (None, LOOKER, None, "", "type at the top"),
        (replace(captions()[0], kind="query", text="a bell"), LOOKER, "query", "a bell", ""),
        (replace(captions()[0], kind="query"), NO_WORDS, None, "", "typed"),
        (replace(captions()[0], kind="answer", question="Why?"), ASKED, "answer", "Why?", ""),
        (replace(captions()[0], kind="answer", question="Why?"), OTHER, None, "", "answers no questions"),
        (captions()[0], None, None, "", "Choose a second model"),
        (captions()[0], EARS, None, "", "no pictures"),
    ],
)  # fmt: skip
def test_the_second_model_is_asked_the_same(first, model, kind, text, said) -> None:
    found = twin_model.errand(picture(), first, model)
    assert (found.kind, found.text) == (kind, text)
    assert said in found.words
    assert bool(said) == bool(found.words)


def test_pointing_at_a_word_shows_both_maps(desk: Desk, qtbot: QtBot) -> None:
    both_sides(desk, qtbot)
    left, right = desk.panel.sides
    assert "“red”, “bicycle”" in desk.panel.agreement.text
    assert left.model.currentText() == WRITER.label
    assert right.model.currentText() == OTHER.label
    QTest.mouseMove(left.strip.viewport(), left.strip.chip_rect(2).center().toPoint())
    assert desk.bench.state.hovered_token == 2
    assert right.strip.linked == (1,)  # “bicycle”
    assert right.image.card.content.title == "“bicycle” · attention"
    # token t of the helper's maps looks at row t % 4
    np.testing.assert_array_equal(np.argwhere(right.image._map.values == 1), [[1, 1]])
    np.testing.assert_array_equal(np.argwhere(left.image._map.values == 1), [[2, 1]])
    QTest.mouseMove(right.strip.viewport(), right.strip.chip_rect(3).center().toPoint())
    assert left.strip.linked == () or desk.bench.state.hovered_token is None
    QTest.mouseMove(left.strip.viewport(), left.strip.chip_rect(0).center().toPoint())
    assert right.strip.linked == ()  # “a” stands on one side only
    desk.bench.twin.close()


def test_choosing_a_word_chooses_it_on_both_sides(desk: Desk, qtbot: QtBot) -> None:
    both_sides(desk, qtbot)
    left, right = desk.panel.sides
    qtbot.mouseClick(right.strip.viewport(), LEFT, pos=right.strip.chip_rect(3).center().toPoint())
    assert desk.bench.state.tokens == (1,)
    assert left.strip.picked == (1,)
    qtbot.mouseClick(left.strip.viewport(), LEFT, pos=left.strip.chip_rect(2).center().toPoint())
    assert right.strip.picked == (1,)
    desk.bench.twin.close()


def test_pointing_at_a_patch_marks_the_same_place_and_lights_both_strips(desk: Desk, qtbot: QtBot) -> None:
    both_sides(desk, qtbot)
    left, right = desk.panel.sides
    box = left.image.to_view(left.image._map.cell_rect((2, 1)))
    QTest.mouseMove(left.image, box.center().toPoint())
    assert desk.bench.state.hovered_cell == (2, 1)
    assert right.image.cell == (2, 1)
    assert left.strip._lit[2] == right.strip._lit[2] == 1  # token 2 looks there on either side
    QTest.mouseMove(left.image, left.image.rect().bottomLeft())
    assert right.image.cell is None
    assert right.strip._lit is None
    desk.bench.twin.close()


def test_zoom_and_pan_are_common(desk: Desk, qtbot: QtBot) -> None:
    both_sides(desk, qtbot)
    left, right = desk.panel.sides
    whole = right.image.zoom
    left.image.zoom_by(3.0, QPointF(40, 40))
    assert right.image.zoom == pytest.approx(3 * whole, rel=1e-3)
    middle = [view.image.to_source(QPointF(view.image.width() / 2, 100)) for view in (left, right)]
    assert (middle[0] - middle[1]).manhattanLength() < 1.0
    right.image.fit()
    assert left.image.zoom == pytest.approx(whole, rel=1e-3)
    desk.bench.twin.close()


def test_each_side_has_a_method_of_its_own(desk: Desk, qtbot: QtBot) -> None:
    both_sides(desk, qtbot)
    left, right = desk.panel.sides
    row = right.chooser.method.findData("rollout")
    right.chooser.method.setCurrentIndex(row)
    right.chooser.method.activated.emit(row)
    assert desk.bench.twin.beside.state.spec.method == "rollout"
    assert desk.bench.state.spec.method == "attention"
    assert left.chooser.method.currentData() == "attention"
    qtbot.waitUntil(
        lambda: desk.jobs.last(EstimateMaps).request.specs[0].method == "rollout", timeout=PATIENCE
    )
    assert desk.jobs.last(EstimateMaps).request.model_id == "o"  # type: ignore[attr-defined]
    desk.bench.twin.close()


def test_a_typed_description_is_looked_for_by_both(desk: Desk, qtbot: QtBot) -> None:
    both_sides(desk, qtbot)
    desk.bench.query("a bell")
    asked = desk.jobs.last(Tokenize)
    assert asked.request.model_id == "m"  # type: ignore[attr-defined]
    asked.done(replace(captions()[0], kind="query", text="a bell", sampling=None))
    qtbot.waitUntil(lambda: desk.jobs.last(Tokenize).request.model_id == "o", timeout=PATIENCE)
    count = desk.jobs.count(Tokenize)
    desk.bench.twin.beside.state.set_current(desk.bench.state.current)
    desk.bench.twin.changed.emit()
    qtbot.wait(50)
    assert desk.jobs.count(Tokenize) == count  # not twice
    desk.bench.twin.close()


def test_the_figure_has_a_row_for_each_common_word(desk: Desk, qtbot: QtBot) -> None:
    desk.bench.twin.open("o")
    with pytest.raises(InputError, match="wait until both sides"):
        twin_figure(desk.bench)
    desk.bench.twin.close()
    desk.jobs.asked.clear()
    desk.bench.state.set_sequence(None)
    both_sides(desk, qtbot)
    made = twin_figure(desk.bench)
    assert made.figure.rows == ("red", "bicycle")
    assert made.figure.columns == (WRITER.label, OTHER.label)
    left, right = made.figure.cells[1]
    np.testing.assert_array_equal(np.argwhere(left.values == 1), [[2, 1]])
    np.testing.assert_array_equal(np.argwhere(right.values == 1), [[1, 1]])
    assert [fact["model"] for fact in made.provenance.extra["cells"][:2]] == [WRITER.label, OTHER.label]
    desk.bench.state.set_tokens((0,))  # “a” is no word of the other
    made = twin_figure(desk.bench)
    assert made.figure.rows == ("a",)
    assert "has no word “a”" in made.figure.cells[0][1].failure
    desk.bench.twin.close()


def test_closed_it_asks_for_nothing(desk: Desk, qtbot: QtBot) -> None:
    both_sides(desk, qtbot)
    desk.bench.twin.close()
    count = len(desk.jobs.asked)
    desk.bench.state.set_sequence(replace(captions()[0], text="another caption"))
    qtbot.wait(50)
    new = [each.request for each in desk.jobs.asked[count:]]
    assert all(getattr(request, "model_id", "m") == "m" for request in new)


def test_a_text_or_no_model_says_what_to_do(desk: Desk, qtbot: QtBot) -> None:
    desk.bench.state.set_others(())
    desk.bench.twin.open()
    qtbot.waitUntil(lambda: "second model" in desk.panel.sides[1].stack.message, timeout=PATIENCE)
    right = desk.panel.sides[1].model
    assert [right.itemText(row) for row in range(right.count())] == [WRITER.label]
    desk.bench.choose(None)
    qtbot.waitUntil(lambda: "Choose a picture" in desk.panel.sides[0].stack.message, timeout=PATIENCE)
    desk.bench.twin.close()


def test_loading_beside_keeps_what_is_loaded_and_using_it_is_instant(tmp_path: Path, qtbot: QtBot) -> None:
    jobs = HandJobs()
    settings = Settings.load(tmp_path / "settings.json")
    settings.generate_on_choose = False
    bench = Workbench(jobs, settings=settings)  # type: ignore[arg-type]
    bench.load_model("one")
    jobs.last(LoadModel).done(replace(WRITER, source="one"))
    bench.state.set_items((picture(),))
    bench.choose("picture")
    bench.twin.load("other")
    assert jobs.last(LoadModel).request == LoadModel("other", keep=("m",))
    jobs.last(LoadModel).done(OTHER)
    assert [info.id for info in bench.state.models] == ["m", "o"]
    assert bench.state.model is not None
    assert bench.state.model.id == "m"
    assert bench.twin.beside.model == OTHER
    count = jobs.count(LoadModel)
    bench.twin.load("other")  # it is there
    bench.twin.open()
    bench.twin.swap()
    assert jobs.count(LoadModel) == count
    assert (bench.state.model, bench.twin.beside.model) == (OTHER, replace(WRITER, source="one"))
    bench.load_model("third")
    assert jobs.last(LoadModel).request.keep == ("m",)  # type: ignore[attr-defined]
    jobs.last(LoadModel).done(LOOKER)
    assert [info.id for info in bench.state.models] == ["l", "m"]
    bench.models.load("fourth", keep=True)
    assert jobs.last(LoadModel).request.keep == ("l", "m")  # type: ignore[attr-defined]
    jobs.last(LoadModel).done(replace(OTHER, id="f"))
    assert [info.id for info in bench.state.models] == ["f", "m", "l"]
    bench.unload("m")
    assert jobs.last(UnloadModel).request == UnloadModel("m")
    assert [info.id for info in bench.state.models] == ["f", "l"]
    qtbot.waitUntil(lambda: bench.twin.beside.model is None, timeout=PATIENCE)  # it was shown there
    bench.twin.close()
    bench.release()


def test_with_the_real_engine_two_models_look_at_one_picture(
    bench: Workbench, starter: ModelInfo, shared_models: Path, qtbot: QtBot, tmp_path: Path
) -> None:
    bench.settings.generate_on_choose = False
    bench.state.set_model(starter)
    bench.open_paths([paths.samples() / "scene-owl-guitar.png"])
    qtbot.waitUntil(lambda: bench.state.current is not None, timeout=PATIENCE)
    bench.twin.open()
    bench.query("an owl")
    qtbot.waitUntil(lambda: bench.state.maps is not None, timeout=PATIENCE)
    bench.twin.load(str(shared_models / "starter-prototype"))
    qtbot.waitUntil(lambda: bench.twin.beside.state.maps is not None, timeout=PATIENCE)
    second = bench.twin.beside.model
    assert second is not None
    assert second.id != starter.id
    assert bench.twin.links.words == ("owl",)
    alone: list = []
    item, shown = bench.state.current, bench.twin.beside.state
    assert item is not None
    assert shown.sequence is not None
    bench.jobs.run(Explain(second.id, item.ref, shown.sequence, shown.spec), done=alone.append)
    qtbot.waitUntil(lambda: bool(alone), timeout=PATIENCE)
    np.testing.assert_array_equal(alone[0].values, shown.maps.values)
    assert abs(alone[0].values - bench.state.maps.values).max() > 1e-4  # not the first model's
    target = tmp_path / "twins.svg"
    made = twin_figure(bench)
    bench.export_figure(made.figure, target, made.provenance)
    qtbot.waitUntil(target.is_file, timeout=PATIENCE)
    assert starter.label in target.read_text("utf-8")
    bench.twin.close()
    bench.unload(second.id)
    qtbot.waitUntil(lambda: not bench.activities.running(), timeout=PATIENCE)
