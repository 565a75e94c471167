"""Labels, space and export with the real engine and the shipped model."""

from __future__ import annotations

from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import pytest
from PySide6.QtCore import QPointF, Qt
from pytestqt.qtbot import QtBot

from mmviewer import paths
from mmviewer.core.types import ModelInfo
from mmviewer.gui.export import ExportDialog
from mmviewer.gui.figures import FigureKind
from mmviewer.gui.panels.labels import LabelsPanel
from mmviewer.gui.panels.space import SpacePanel
from mmviewer.gui.workbench import Workbench

_PATIENCE_MS = 120_000


@pytest.mark.slow
def test_label_scores_agree_with_the_space_and_are_exported(
    bench: Workbench, starter: ModelInfo, qtbot: QtBot, tmp_path: Path
) -> None:
    state = bench.state
    labels, space = LabelsPanel(bench), SpacePanel(bench)
    for panel in (labels, space):
        qtbot.addWidget(panel)
        panel.resize(700, 400)
        panel.show()
    failures: list[str] = []
    bench.error.connect(lambda report: failures.append(f"{report.message}\n{report.details}"))
    pictures = sorted(paths.samples().glob("*.png"))
    bench.open_paths(pictures)
    bench.open_text("a guitar")
    qtbot.waitUntil(lambda: len(state.items) == len(pictures) + 1, timeout=_PATIENCE_MS)
    state.set_model(starter)
    bench.choose(next(item.id for item in state.items if item.media.pixels is not None))

    qtbot.keyClicks(labels.editor, "guitar, rabbit")
    qtbot.waitUntil(
        lambda: state.scores is not None and state.scores.labels == ("guitar", "rabbit"), timeout=_PATIENCE_MS
    )
    qtbot.waitUntil(
        lambda: state.embeddings is not None and len(state.embeddings.items) == len(state.items),
        timeout=_PATIENCE_MS,
    )
    scores, embeddings = state.scores, state.embeddings
    assert scores is not None
    assert embeddings is not None
    np.testing.assert_allclose(scores.probabilities.sum(axis=1), 1, atol=1e-5)
    text = next(index for index, kind in enumerate(embeddings.modalities) if kind == "text")
    rows = [embeddings.items.index(item_id) for item_id in scores.items]
    cosines = embeddings.vectors[rows] @ embeddings.vectors[text]  # of "a guitar", two ways
    np.testing.assert_allclose(scores.similarities[:, 0], cosines, atol=1e-4)

    view = space.scatter
    there = next(index for index, kind in enumerate(view.plane.kinds) if kind == "text")
    place = view.pixels()[there]
    qtbot.mouseClick(view.viewport(), Qt.MouseButton.LeftButton, pos=QPointF(*place).toPoint())
    assert state.current is not None
    assert state.current.media.text == "a guitar"

    bench.choose(scores.items[0])
    dialog = ExportDialog(bench)
    dialog.show()
    dialog.kind.setCurrentIndex(dialog.kind.findData(FigureKind.SCORES))
    dialog.format.setCurrentIndex(dialog.format.findData("svg"))
    with qtbot.waitSignal(bench.notice, timeout=_PATIENCE_MS):
        dialog.write(tmp_path / "scores.svg")
    words = "".join(ElementTree.parse(tmp_path / "scores.svg").getroot().itertext())
    assert "guitar" in words
    assert f"{scores.probabilities[0, 0]:.3f}" in words
    dialog.close()
    assert failures == []
    for panel in (labels, space):
        panel.release()
