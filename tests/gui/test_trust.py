"""How far a map can be believed: what is said of it, the badge, the panel, and costs told first."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import asdict, replace
from pathlib import Path

import numpy as np
import pytest
from helpers_viewer import image_maps, picture
from PySide6.QtCore import QObject, Qt
from PySide6.QtGui import QGuiApplication
from pytestqt.qtbot import QtBot

from mmviewer import paths
from mmviewer.core.explain.measures import Curves, Scale, Verdict, in_region
from mmviewer.core.figures.provenance import build_provenance
from mmviewer.core.session.annotations import Annotation
from mmviewer.core.types import MapSpec, ModelInfo
from mmviewer.engine.protocol import ErrorReport, MapEstimate
from mmviewer.gui.controllers.faithfulness import Phase, shown_badge
from mmviewer.gui.controllers.map_costs import MapCosts
from mmviewer.gui.panels.faithfulness import FaithfulnessPanel
from mmviewer.gui.panels.tokens import TokensPanel
from mmviewer.gui.trust_model import as_csv, badge_of, facts, measured_regions, sentence
from mmviewer.gui.widgets.trust_badge import Level
from mmviewer.gui.workbench import Workbench

PATIENCE = 120_000


def curves(deletion: float, insertion: float, random: tuple[float, ...] = (0.3, 0.4, 0.5)) -> Curves:
    """Even curves of these heights."""
    shares = np.linspace(0, 1, 5, dtype=np.float32)
    flat = np.ones(5, np.float32)
    areas = np.array(random, np.float32)
    mean = flat * areas.mean()
    return Curves(
        shares,
        flat * deletion,
        flat * insertion,
        mean,
        mean,
        areas,
        "probability of “dog”",
        Scale.PROBABILITY,
    )


def test_verdicts_need_to_beat_every_random_order():
    assert curves(0.2, 0.6).verdict is Verdict.BETTER
    assert curves(0.2, 0.45).verdict is Verdict.PARTLY
    assert curves(0.35, 0.6).verdict is Verdict.PARTLY
    assert curves(0.35, 0.45).verdict is Verdict.CHANCE
    assert curves(0.4, 0.4, (0.4, 0.4)).verdict is Verdict.SILENT
    for found in (curves(0.2, 0.6), curves(0.2, 0.4), curves(0.35, 0.6), curves(0.35, 0.45)):
        assert sentence(found).lower().startswith(str(found.verdict))


def test_the_badge_says_it_in_words_and_numbers():
    item = picture()
    maps = image_maps(item)  # token 2, "bicycle", has its weight at patch (2, 1)
    box = Annotation("the bicycle", "box", ((40, 60), (80, 90)))
    other = Annotation("a lamp", "box", ((0, 0), (40, 30)))
    regions = measured_regions(maps, (2,), (other, box), None)
    assert [region.annotation.name for region in regions] == ["the bicycle", "a lamp"]
    assert regions[0].measure == in_region(maps.values[2], box.mask(maps.geometry))
    assert regions[0].measure.mass == pytest.approx(1)
    badge = badge_of(curves(0.12, 0.9, (0.41, 0.41)), regions)
    assert badge.text == "better than chance · in box 1.00 · deletion 0.12 (random 0.41)"
    assert badge.level is Level.GOOD
    assert "in box" not in badge_of(curves(0.12, 0.9), measured_regions(maps, (1,), (other, box), None)).text
    chosen = measured_regions(maps, (1,), (other, box), other)
    assert chosen[0].annotation is other
    assert chosen[0].meant
    bad = badge_of(curves(0.45, 0.35), ())
    assert (bad.level, bad.text.split(" · ")[0]) == (Level.BAD, "not better than chance")


def test_numbers_leave_as_json_and_csv():
    found = curves(0.2, 0.6)
    known = json.loads(json.dumps(facts(found, (), (), None)))
    assert known["deletion"] == pytest.approx(0.2)
    assert known["verdict"] == "better than chance"
    rows = as_csv(found).splitlines()
    assert rows[0].startswith("shares,deletion,insertion")
    assert len(rows) == 6


def test_dear_maps_are_offered_and_quick_ones_made(qapp):
    parent = QObject()
    costs = MapCosts(parent)
    quick, dear = MapSpec("attention"), MapSpec("integrated_gradients")
    assert not costs.is_settled("a", "m", "attention", "caption")
    assert costs.weigh("a", "m", "caption", "raw attention", 9, MapEstimate(quick, 1, 10**6, 0.1))
    assert costs.is_settled("b", "m", "attention", "caption")
    assert not costs.weigh(
        "c", "m", "caption", "integrated gradients", 9, MapEstimate(dear, 288, 8 * 10**8, 40)
    )
    assert costs.offer is not None
    assert costs.offer.button == "Compute (about 40.0 s)"
    assert costs.offer.words == (
        "Integrated gradients of 9 tokens: 288 passes through the model, about 40.0 s, 800 MB."
    )
    costs.accept()
    assert costs.offer is None
    assert costs.is_settled("c", "m", "integrated_gradients", "caption")
    broken = MapEstimate(dear, error=ErrorReport("InputError", "no"))
    assert costs.weigh("d", "m", "caption", "x", 1, broken)
    parent.deleteLater()


@pytest.fixture
def panel(qtbot: QtBot, bench: Workbench) -> Iterator[FaithfulnessPanel]:
    panel = FaithfulnessPanel(bench)
    qtbot.addWidget(panel)
    panel.resize(340, 700)
    with qtbot.waitExposed(panel):
        panel.show()
    yield panel
    panel.release()


def test_a_map_is_measured_while_it_is_looked_at(
    panel: FaithfulnessPanel, bench: Workbench, qtbot: QtBot, starter: ModelInfo, tmp_path: Path
):
    """Through the real engine: measured by itself, kept, remeasured otherwise, checked, written."""
    state, trust = bench.state, bench.faithfulness
    assert "Caption a picture" in panel.stack.message
    state.set_model(starter)
    bench.settings.generate_on_choose = False
    bench.open_paths([paths.samples() / "scene-unseen-style.png"])
    qtbot.waitUntil(lambda: state.current is not None, timeout=PATIENCE)
    bench.query("a penguin")
    qtbot.waitUntil(lambda: trust.phase is Phase.MEASURING, timeout=PATIENCE)
    assert "measuring" in shown_badge(trust).text
    qtbot.waitUntil(lambda: trust.phase is Phase.DONE, timeout=PATIENCE)
    whole = trust.curves
    assert "penguin" in whole.score
    assert str(whole.verdict) in shown_badge(trust).text
    assert panel.deletion.data is not None
    assert "peak" in panel._numbers.measures[2].value  # the sample's own boxes

    word = next(token.index for token in state.sequence.tokens if "penguin" in token.text)
    state.set_tokens((word,))
    qtbot.waitUntil(lambda: trust.phase is Phase.MEASURING, timeout=PATIENCE)
    assert panel.deletion.data is None
    qtbot.waitUntil(lambda: trust.phase is Phase.DONE, timeout=PATIENCE)
    assert "in box" in shown_badge(trust).text
    provenance = build_provenance(
        starter, state.current.media, state.maps, [state.sequence.tokens[word].text]
    )
    assert trust.noted(provenance).extra["faithfulness"]["deletion"] == pytest.approx(
        trust.curves.deletion_area, abs=1e-6
    )
    assert trust.noted(replace(provenance, tokens="other")).extra == provenance.extra
    assert provenance.extra["spec"] == asdict(state.maps.spec)
    state.set_tokens(())
    qtbot.waitUntil(lambda: trust.curves is whole, timeout=1_000)  # kept

    trust.set_live(False)
    panel.removal.setCurrentIndex(panel.removal.findData("blur"))
    panel.removal.activated.emit(1)
    assert trust.phase is Phase.OFF
    assert shown_badge(trust) is None
    assert panel.measure.isVisible()
    qtbot.mouseClick(panel.measure, Qt.MouseButton.LeftButton)
    qtbot.waitUntil(lambda: trust.phase is Phase.DONE, timeout=PATIENCE)
    assert trust.curves.removal == "blur"

    qtbot.mouseClick(panel.shuffle, Qt.MouseButton.LeftButton)
    qtbot.waitUntil(lambda: trust.check is not None, timeout=PATIENCE)
    assert "shuffled weights" in panel.check.text.text()
    qtbot.mouseClick(panel.compare, Qt.MouseButton.LeftButton)
    qtbot.waitUntil(lambda: len(trust.agreements) >= 2, timeout=PATIENCE)
    bench.cancel("agreement")
    assert len(panel._others.measures) == len(trust.agreements)

    panel.copy.click()
    assert json.loads(QGuiApplication.clipboard().text())["removal"] == "blur"
    panel.write(tmp_path / "numbers.csv")
    assert (tmp_path / "numbers.csv").read_text().startswith("shares")
    problems = []
    bench.error.connect(problems.append)
    panel.write(tmp_path / "missing" / "numbers.json")
    assert len(problems) == 1


def test_a_dear_map_waits_for_a_word(bench: Workbench, qtbot: QtBot, starter: ModelInfo):
    """Integrated gradients of a caption take long: said first, made when wanted, let go when not."""
    tokens = TokensPanel(bench)
    qtbot.addWidget(tokens)
    with qtbot.waitExposed(tokens):
        tokens.show()
    state = bench.state
    bench.faithfulness.set_live(False)
    state.set_model(starter)
    bench.open_paths([paths.samples() / "scene-breakfast.png"])
    qtbot.waitUntil(lambda: state.maps is not None, timeout=PATIENCE)
    made = state.maps
    state.set_spec(MapSpec("integrated_gradients"))
    qtbot.waitUntil(lambda: bench.sequences.costs.offer is not None, timeout=PATIENCE)
    assert tokens.cost.isVisible()
    assert "Integrated gradients of" in tokens.cost.text.text()
    assert "about" in tokens.cost.button.text()
    assert state.maps is made
    assert not bench.activity("maps").running
    qtbot.mouseClick(tokens.cost.button, Qt.MouseButton.LeftButton)
    qtbot.waitUntil(lambda: bench.activity("maps").running, timeout=PATIENCE)
    assert not tokens.cost.isVisible()
    bench.cancel("maps")
    state.set_spec(MapSpec("attention"))
    qtbot.waitUntil(lambda: not bench.activity("maps").running, timeout=PATIENCE)
    assert bench.sequences.costs.offer is None
    tokens.release()
