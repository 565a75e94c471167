"""The photo model in the window: Grad-CAM, its stages to choose from, a sentence in place of heads."""

from __future__ import annotations

from pathlib import Path

import pytest
from PySide6.QtWidgets import QLabel
from pytestqt.qtbot import QtBot

from mmviewer import paths
from mmviewer.core.models.builtin import BUILT_IN, PHOTO_MODEL
from mmviewer.gui.panels.heads import HeadsPanel
from mmviewer.gui.panels.tokens import TokensPanel
from mmviewer.gui.workbench import Workbench

_SECONDS = 120_000


@pytest.fixture
def looking(bench: Workbench, qtbot: QtBot) -> Workbench:
    """The workbench with the photo model and the sample photograph."""
    photo: Path = paths.samples() / "photo-cat.png"
    if not (BUILT_IN[PHOTO_MODEL].folder / "open_clip_model.safetensors").is_file() or not photo.is_file():
        pytest.skip("the photo model or its sample is not in this checkout")
    bench.models.load(PHOTO_MODEL)
    qtbot.waitUntil(lambda: bench.state.model is not None, timeout=_SECONDS)
    bench.open_paths([photo])
    qtbot.waitUntil(lambda: bool(bench.state.items), timeout=_SECONDS)
    bench.choose(bench.state.items[0].id)
    return bench


def test_a_word_is_shown_by_gradcam_and_a_stage_can_be_chosen(looking: Workbench, qtbot: QtBot) -> None:
    tokens, heads = TokensPanel(looking), HeadsPanel(looking)
    for panel in (tokens, heads):
        qtbot.addWidget(panel)
        panel.show()
    looking.query("a cat")
    state = looking.state
    qtbot.waitUntil(lambda: state.maps is not None, timeout=_SECONDS)
    assert state.spec.method == "gradcam"
    assert state.maps is not None
    assert state.maps.geometry.grid == (7, 7)
    state.set_spec(type(state.spec)("gradcam", "vision.stages", 3))
    qtbot.waitUntil(lambda: state.maps is not None and state.maps.geometry.grid == (14, 14), timeout=_SECONDS)
    assert "stage 4 of 6" in state.maps.description

    def said() -> str:
        return " ".join(label.text() for label in heads.findChildren(QLabel) if label.isVisible())

    qtbot.waitUntil(lambda: "no heads" in said(), timeout=5_000)
    assert state.heads is None
    for panel in (tokens, heads):
        panel.release()
