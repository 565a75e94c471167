"""Figures and the card of a model in the window, also from a folder of strangers."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from helpers_space import HandJobs
from helpers_viewer import MODEL
from PySide6.QtCore import Qt, QUrl
from PySide6.QtGui import QDesktopServices, QImage, QTextDocument
from PySide6.QtWidgets import QPushButton, QWidget
from pytestqt.qtbot import QtBot

from mmviewer.core.types import ModelAbout, ModelFigure
from mmviewer.gui.card_dialog import CardDialog, read_card
from mmviewer.gui.panels.models import ModelsPanel
from mmviewer.gui.widgets.measures import Measure, MeasureList
from mmviewer.gui.widgets.wrapped_label import WrappedLabel
from mmviewer.gui.words import share_in_words
from mmviewer.gui.workbench import Workbench

FIGURES = (
    ModelFigure("zero-shot top-1", 0.538, 0.0037, "share", "273 labels, Twemoji, never trained on"),
    ModelFigure("calibration error", 0.071, None, "", "expected calibration error"),
)


@pytest.fixture
def bench() -> Iterator[Workbench]:
    """A workbench without an engine."""
    bench = Workbench(HandJobs())  # type: ignore[arg-type]
    yield bench
    bench.release()


@pytest.fixture
def panel(bench: Workbench, qtbot: QtBot) -> Iterator[ModelsPanel]:
    panel = ModelsPanel(bench)
    qtbot.addWidget(panel)
    panel.resize(340, 700)
    panel.show()
    qtbot.waitExposed(panel)
    yield panel
    panel.release()


def test_the_panel_shows_figures_beside_chance_limits_and_licence(panel, bench, qtbot):
    about = ModelAbout(figures=FIGURES, licence="MIT", limits="Knows drawings only.")
    bench.state.set_model(replace(MODEL, about=about))
    (measured,) = panel.findChildren(MeasureList)
    rows = [measured.layout().itemAt(i).widget() for i in range(measured.layout().count())]
    assert [row.accessibleName() for row in rows] == ["zero-shot top-1: 54 %", "calibration error: 0.071"]
    assert "chance 0.4 %" in rows[0].accessibleDescription()
    assert "Twemoji" in rows[0].toolTip()
    said = {label.text() for label in panel.findChildren(WrappedLabel)}
    assert {"Knows drawings only.", "MIT"} <= said
    assert not [button for button in panel.findChildren(QPushButton) if button.text() == "Model card"]


def test_a_model_that_tells_nothing_has_a_plain_card(panel, bench):
    bench.state.set_model(MODEL)
    assert not panel.findChildren(MeasureList)


def test_the_card_opens_from_the_panel(panel, bench, qtbot, tmp_path):
    (tmp_path / "README.md").write_text(
        "---\nlicense: mit\n---\n# A small model\n\n| a | b |\n|-|-|\n| 1 | 2 |\n"
    )
    bench.state.set_model(replace(MODEL, about=ModelAbout(card=str(tmp_path / "README.md"))))
    (button,) = [button for button in panel.findChildren(QPushButton) if button.text() == "Model card"]
    qtbot.mouseClick(button, Qt.MouseButton.LeftButton)
    (dialog,) = panel.findChildren(CardDialog)
    text = dialog.text.toPlainText()
    assert text.startswith("A small model")
    assert "license" not in text
    dialog.close()


def test_a_bar_is_as_long_as_its_share_and_chance_is_marked(qtbot):
    measured = MeasureList([Measure("x", "50 %", share=0.5, chance=0.25)])
    qtbot.addWidget(measured)
    room = measured.fontMetrics().horizontalAdvance("chance 100.0%") + 10
    measured.resize(200 + room, 40)  # 200 for the bar
    measured.show()
    image = measured.grab().toImage().convertToFormat(QImage.Format.Format_RGB32)
    row = measured.layout().itemAt(0).widget()
    text = row.fontMetrics().height()
    line = row.y() + text + 2 + text // 2
    colours = [image.pixelColor(x, line).name() for x in range(200)]
    changes = [x for x in range(1, 200) if colours[x] != colours[x - 1]]
    assert colours[20] == colours[80] != colours[150]
    assert any(abs(x - 100) <= 1 for x in changes)
    assert colours[51] not in (colours[20], colours[150])


@pytest.mark.parametrize(
    "text",
    [
        ">" * 50_000 + " x",
        "\n".join("  " * depth + "- x" for depth in range(500)),
        "*" * 50_000 + "a" + "*" * 50_000,
        "[" * 50_000,
        "|a|b|\n|-|-|\n" + "|x|y|\n" * 30_000,
        "x" * 1_000_000,
        "\0\ud7ff\ufffe",
        "",
    ],
    ids=["quotes", "lists", "stars", "links", "table", "word", "odd", "empty"],
)
@pytest.mark.timeout(60)
def test_a_strange_card_neither_hangs_nor_falls(qtbot, tmp_path, text):
    path = tmp_path / "README.md"
    path.write_bytes(text.encode("utf-8") + b"\xff\xfe")
    parent = QWidget()
    qtbot.addWidget(parent)
    dialog = CardDialog("strange", path, parent)
    dialog.show()
    dialog.grab()
    dialog.close()


def test_a_card_loads_nothing_and_opens_web_links_only(qtbot, tmp_path, monkeypatch):
    (tmp_path / "secret.png").write_bytes(b"x")
    path = tmp_path / "README.md"
    path.write_text(f"![p]({(tmp_path / 'secret.png').as_uri()}) <img src='http://127.0.0.1/x.png'> [a](b)")
    parent = QWidget()
    qtbot.addWidget(parent)
    dialog = CardDialog("linked", path, parent)
    kind = QTextDocument.ResourceType.ImageResource.value
    assert dialog.text.loadResource(kind, QUrl.fromLocalFile(str(tmp_path / "secret.png"))) is None
    assert "<img src='http" in dialog.text.toPlainText()  # markup is text
    opened: list[str] = []
    monkeypatch.setattr(QDesktopServices, "openUrl", lambda url: opened.append(url.toString()))
    for address in ("https://example.org/", path.as_uri(), "javascript:alert(1)", "b"):
        dialog.text.anchorClicked.emit(QUrl(address))
    assert opened == ["https://example.org/"]
    dialog.close()


def test_a_card_that_is_gone_or_endless_says_so(tmp_path: Path):
    assert "cannot be read" in read_card(tmp_path / "none.md")
    (tmp_path / "long.md").write_text("word " * 100_000)
    assert read_card(tmp_path / "long.md").endswith("too long to show.*")


@pytest.mark.parametrize(
    ("share", "words"), [(0.538, "54 %"), (0.0037, "0.4 %"), (1.0, "100 %"), (0.0, "0 %"), (0.0996, "10 %")]
)
def test_shares_in_words(share, words):
    assert share_in_words(share) == words
