"""What a map explains, chosen in the window: choices that fit, typed contrasts, words on the card."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import pytest
from helpers_viewer import MODEL, image_maps, picture, sequence
from PySide6.QtCore import Qt
from pytestqt.qtbot import QtBot

from mmviewer.core.session.state import SessionState, ViewOptions
from mmviewer.core.targets import (
    ClassTarget,
    RunnerUp,
    SequenceTarget,
    SimilarityTarget,
    TokenTarget,
    WordTarget,
)
from mmviewer.core.types import Capability, MapKind, MapSpec, ModelInfo
from mmviewer.gui.panels.tokens import TokensPanel
from mmviewer.gui.target_model import (
    contrast_choices,
    fitting,
    summary,
    target_choices,
    typed_contrast,
    with_target,
)
from mmviewer.gui.view_model import resolve
from mmviewer.gui.workbench import Workbench

BOTH = replace(
    MODEL,
    capabilities=frozenset({Capability.CAPTION, Capability.EMBED_TEXT}),
    methods=("attention", "gradient_attention"),
    scored=("gradient_attention",),
)


@pytest.fixture
def state() -> SessionState:
    state = SessionState()
    item = picture()
    state.set_items([item])
    state.set_current(item)
    state.set_sequence(sequence(item))
    state.set_labels(("cat", "dog"), ("a {}",))
    state.set_spec(MapSpec("gradient_attention"))
    return state


def test_choices_fit_the_text_and_the_model(state: SessionState) -> None:
    assert [choice.value for choice in target_choices(state, BOTH)] == [
        None,
        SequenceTarget(),
        ClassTarget("cat", ("cat", "dog")),
        ClassTarget("dog", ("cat", "dog")),
    ]
    without = replace(BOTH, capabilities=frozenset({Capability.CAPTION}))
    assert [choice.value for choice in target_choices(state, without)] == [None, SequenceTarget()]
    state.set_tokens((2,))
    assert TokenTarget(2) in [choice.value for choice in target_choices(state, BOTH)]
    assert [choice.value for choice in contrast_choices(state, BOTH)] == [None, RunnerUp()]
    state.set_spec(with_target(state.spec, ClassTarget("cat", ("cat", "dog"))))
    assert [choice.label for choice in contrast_choices(state, BOTH)] == ["nothing", "“dog”"]
    assert state.sequence is not None
    state.set_sequence(replace(state.sequence, kind="query"))
    state.set_spec(MapSpec("gradient_attention"))
    offered = [choice.value for choice in contrast_choices(state, BOTH)]
    assert offered == [None, SimilarityTarget("cat"), SimilarityTarget("dog")]


def test_a_typed_word_is_contrasted_with_the_chosen_one(state: SessionState) -> None:
    assert typed_contrast(state, "car") is None  # with which word?
    state.set_tokens((2,))
    spec = typed_contrast(state, " “car” ")
    assert spec is not None
    assert (spec.target, spec.contrast) == (TokenTarget(2), WordTarget(2, "car"))
    assert summary(spec, state.sequence.tokens, scored=True) == "for “bicycle”, not “car”"  # type: ignore[union-attr]
    state.set_spec(spec)
    cleared = typed_contrast(state, "")
    assert cleared is not None
    assert cleared.contrast is None
    assert fitting(spec) == MapSpec("gradient_attention")
    state.set_spec(MapSpec("gradient_attention", target=ClassTarget("cat", ("cat", "dog"))))
    assert typed_contrast(state, "horse") is None
    other = typed_contrast(state, "dog")
    assert other is not None
    assert other.contrast == ClassTarget("dog", ("cat", "dog"))


def test_the_card_says_for_and_against(state: SessionState) -> None:
    item = picture()
    maps = replace(image_maps(item), kind=MapKind.ATTRIBUTION)

    def title(spec: MapSpec, hovered: int | None = None) -> str:
        shown = replace(maps, spec=spec)
        return resolve(item, sequence(item), shown, (), hovered, ViewOptions()).title

    word = MapSpec("gradient_attention", target=TokenTarget(2), contrast=WordTarget(2, "car"))
    assert title(word) == "“bicycle”, not “car” · attribution"
    label = ClassTarget("dog", ("cat", "dog"))
    against = MapSpec("gradient_attention", target=label, contrast=replace(label, label="cat"))
    assert title(against, hovered=1) == "label “dog”, not label “cat” · attribution"
    assert (
        title(MapSpec("gradient_attention", contrast=RunnerUp()), 1)
        == "“red”, not the runner-up · attribution"
    )


@pytest.fixture
def panel(qtbot: QtBot, bench: Workbench, starter: ModelInfo) -> Iterator[TokensPanel]:
    panel = TokensPanel(bench)
    qtbot.addWidget(panel)
    panel.resize(700, 160)
    panel.show()
    bench.settings.generate_on_choose = False
    item = picture()
    bench.state.set_model(replace(starter, id=MODEL.id))
    bench.state.set_items([item])
    bench.choose(item.id)
    bench.state.set_sequence(sequence(item))
    yield panel
    panel.release()


@pytest.mark.qt_log_ignore("This plugin does not support", extend=True)  # of popups, without a screen
def test_the_button_opens_the_choices_and_says_them(qtbot: QtBot, panel: TokensPanel) -> None:
    state, chooser = panel.state, panel.targets
    state.set_spec(MapSpec("attention"))
    assert chooser.text() == "more ▾"
    qtbot.mouseClick(chooser, Qt.MouseButton.LeftButton)
    assert chooser.popup.isVisible()
    assert not chooser.target.isEnabled()
    assert not chooser.reason.isHidden()
    chooser.without_sinks.click()
    assert state.spec.without_sinks
    assert chooser.text() == "no sinks ▾"
    state.set_tokens((2,))
    state.set_spec(MapSpec("gradient_attention"))
    assert chooser.target.isEnabled()
    assert chooser.reason.isHidden()
    field = chooser.contrast.lineEdit()
    field.setFocus()
    field.selectAll()
    qtbot.keyClicks(field, "car")
    qtbot.keyClick(field, Qt.Key.Key_Return)
    assert state.spec.contrast == WordTarget(2, "car")
    assert chooser.text() == "for “bicycle”, not “car” ▾"
    chooser.popup.hide()
    panel._choose("attention", None, None, "mean")
    assert state.spec == MapSpec("attention")  # weights explain no score
    state.set_spec(MapSpec("gradient_attention", target=TokenTarget(2)))
    state.set_sequence(sequence(picture(), ("another", "text")))
    assert state.spec.target is None  # token 2 is another one now
