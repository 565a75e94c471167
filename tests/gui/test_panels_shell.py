"""The caption and model panels with real events over a real engine."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from PIL import Image
from PySide6.QtCore import Qt
from PySide6.QtGui import QGuiApplication
from PySide6.QtWidgets import QLabel, QPushButton
from pytestqt.qtbot import QtBot

from mmviewer.core.types import ModelInfo, Sampling
from mmviewer.engine.protocol import ModelListing, UnloadModel
from mmviewer.gui.panels.caption import CaptionPanel
from mmviewer.gui.panels.models import ModelsPanel
from mmviewer.gui.workbench import Workbench

PATIENCE = 60_000


def shown(qtbot: QtBot, panel):
    qtbot.addWidget(panel)
    panel.resize(340, 700)
    with qtbot.waitExposed(panel):
        panel.show()
    return panel


@pytest.fixture
def caption(qtbot: QtBot, bench: Workbench) -> Iterator[CaptionPanel]:
    panel = shown(qtbot, CaptionPanel(bench))
    yield panel
    panel.release()


@pytest.fixture
def models(qtbot: QtBot, bench: Workbench) -> Iterator[ModelsPanel]:
    panel = shown(qtbot, ModelsPanel(bench))
    yield panel
    panel.release()


def open_picture(bench: Workbench, qtbot: QtBot, folder: Path) -> None:
    Image.new("RGB", (64, 64), (200, 40, 40)).save(folder / "red.png")
    bench.settings.generate_on_choose = False
    bench.open_paths([folder / "red.png"])
    qtbot.waitUntil(lambda: bench.state.current is not None, timeout=PATIENCE)


def test_a_caption_streams_in_with_its_sureness(caption, bench, qtbot, starter, tmp_path):
    bench.state.set_model(starter)
    open_picture(bench, qtbot, tmp_path)
    qtbot.mouseClick(caption.run, Qt.MouseButton.LeftButton)
    qtbot.waitUntil(
        lambda: bench.state.sequence is not None and bench.state.sequence.finished, timeout=PATIENCE
    )
    assert caption.text.toPlainText() == bench.state.sequence.text.strip()
    assert "mean log-probability" in caption.sureness.text()
    qtbot.mouseClick(caption.copy, Qt.MouseButton.LeftButton)
    assert QGuiApplication.clipboard().text() == caption.text.toPlainText()


def test_alternatives_of_the_chosen_token_are_its_probabilities(caption, bench, qtbot, starter, tmp_path):
    bench.state.set_model(starter)
    open_picture(bench, qtbot, tmp_path)
    bench.generate()
    qtbot.waitUntil(
        lambda: bench.state.sequence is not None and bench.state.sequence.finished, timeout=PATIENCE
    )
    bench.state.set_tokens((1,))
    token = bench.state.sequence.tokens[1]
    rows = caption.alternatives.rows()
    assert len(rows) == len(token.alternatives) > 1
    assert rows[0].value == pytest.approx(2.718281828 ** token.alternatives[0][1], rel=1e-6)
    assert token.text.strip() in caption.chosen.text


def test_sampling_options_reach_the_state_and_come_back(
    caption: CaptionPanel, bench: Workbench, qtbot: QtBot
):
    assert not caption.temperature.isEnabled()
    caption.mode.setCurrentIndex(1)
    assert caption.temperature.isEnabled()
    caption.temperature.setValue(0.7)
    caption.top_k.setValue(5)
    caption.seed.setValue(9)
    assert bench.state.sampling == Sampling(0.7, 5, 1.0, bench.state.sampling.max_tokens, 9)
    bench.state.set_sampling(Sampling(max_tokens=12))
    assert caption.mode.currentIndex() == 0
    assert caption.longest.value() == 12


def test_the_same_seed_samples_the_same_text(
    bench: Workbench, qtbot: QtBot, starter: ModelInfo, tmp_path: Path
):
    bench.state.set_model(starter)
    open_picture(bench, qtbot, tmp_path)
    texts = []
    for _ in range(2):
        bench.state.set_sequence(None)
        bench.state.set_sampling(Sampling(temperature=1.5, max_tokens=8, seed=3))
        bench.generate()
        qtbot.waitUntil(
            lambda: bench.state.sequence is not None and bench.state.sequence.finished, timeout=PATIENCE
        )
        texts.append(bench.state.sequence.text)
    assert texts[0] == texts[1]


def test_a_card_says_what_the_model_is_and_unloads_it(
    models: ModelsPanel,
    bench: Workbench,
    qtbot: QtBot,
    starter: ModelInfo,
    monkeypatch: pytest.MonkeyPatch,
):
    bench.state.set_model(starter)
    words = " ".join(label.text() for label in models.findChildren(QLabel))
    for part in (starter.weights_hash[:16], starter.preprocessing, "caption", "CPU fp32"):
        assert part in words
    unload = next(button for button in models.findChildren(QPushButton) if button.text() == "Unload")
    sent: list[object] = []
    with monkeypatch.context() as patch:  # looked at, not sent: other tests need the model
        patch.setattr(bench.jobs, "run", lambda request, **_callbacks: sent.append(request))
        qtbot.mouseClick(unload, Qt.MouseButton.LeftButton)
    assert sent == [UnloadModel(starter.id)]
    assert bench.state.model is None


def test_a_known_model_is_picked_from_the_list(models: ModelsPanel, bench: Workbench):
    bench.models.listings_changed.emit(
        (
            ModelListing("/models/one", "one", "OpenCLIP", 40_000_000),
            ModelListing("x/y", "y", "Whisper", present=False),
        )
    )
    assert models.known.item(0).text() == "one · OpenCLIP · 40 MB"
    assert "not downloaded" in models.known.item(1).text()
    models.known.setCurrentRow(0)
    assert models.source.text() == "/models/one"
    assert models.load.isEnabled()


def test_a_failed_load_is_said_in_place(models: ModelsPanel, bench: Workbench, qtbot: QtBot, tmp_path: Path):
    qtbot.keyClicks(models.source, str(tmp_path / "no-model"))
    qtbot.keyClick(models.source, Qt.Key.Key_Return)
    qtbot.waitUntil(
        lambda: "no-model" in models.message.text() and not models.cancel.isVisible(), timeout=PATIENCE
    )
    assert models.message.isVisible()


def test_a_device_that_is_not_there_is_said(
    models: ModelsPanel,
    bench: Workbench,
    qtbot: QtBot,
    starter: ModelInfo,
    monkeypatch: pytest.MonkeyPatch,
):
    models.device.setCurrentText("xpu")
    models.source.setText(starter.source)
    qtbot.mouseClick(models.load, Qt.MouseButton.LeftButton)
    qtbot.waitUntil(lambda: bench.activity("model").error is not None, timeout=PATIENCE)
    assert bench.activity("model").error.kind == "DeviceError"
    assert "xpu" in models.message.text().lower()
