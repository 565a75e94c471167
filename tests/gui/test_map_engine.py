"""The Map panel with the real engine: pairs, matrices, two models' maps, watched folders."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from PySide6.QtGui import QAction
from pytestqt.qtbot import QtBot

from mmviewer.core.types import ModelInfo
from mmviewer.engine.protocol import ErrorReport
from mmviewer.gui.controllers import collection_watch
from mmviewer.gui.panels.map import MapPanel
from mmviewer.gui.workbench import Workbench

_PATIENCE_MS = 120_000


@pytest.fixture
def errors(bench: Workbench) -> list[ErrorReport]:
    found: list[ErrorReport] = []
    bench.error.connect(found.append)
    return found


@pytest.fixture
def panel(qtbot: QtBot, bench: Workbench, errors: list[ErrorReport]) -> Iterator[MapPanel]:
    widget = MapPanel(bench)
    qtbot.addWidget(widget)
    widget.resize(1200, 800)
    widget.show()
    qtbot.waitExposed(widget)
    bench.collections.show()
    yield widget
    assert errors == []
    widget.release()


def until(qtbot: QtBot, condition) -> None:
    qtbot.waitUntil(condition, timeout=_PATIENCE_MS)


def menu_action(panel: MapPanel, text: str) -> QAction:
    return next(action for action in panel.bar.menu.actions() if action.text() == text)


@pytest.mark.slow
def test_a_watched_folder_is_indexed_and_placed_as_files_come(
    panel: MapPanel,
    bench: Workbench,
    starter: ModelInfo,
    qtbot: QtBot,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(collection_watch, "PERIOD", 0.1)
    bench.state.set_model(starter)
    for words in ("a cat", "a dog", "a guitar", "an owl"):
        (tmp_path / f"{words}.txt").write_text(words, "utf-8")
    bench.collection_work.create(tmp_path)
    until(qtbot, lambda: panel.map.count == 4 and not bench.activities.running())
    assert "watching" not in panel.note.text
    watch = menu_action(panel, "Watch for changes")
    assert watch.isEnabled()
    assert not watch.isChecked()
    watch.trigger()
    until(qtbot, lambda: "watching for changes" in panel.note.text)
    before = bench.collections.coordinates.xy.copy()
    bench.collections.select(np.array([1, 2]))
    bench.collections.pick(2)
    (tmp_path / "a fox.txt").write_text("a fox", "utf-8")
    until(qtbot, lambda: panel.map.count == 5 and np.isfinite(panel.map._xy).all())
    np.testing.assert_array_equal(panel.map._xy[:4], before)  # the others stay where they were
    assert bench.collections.names(np.array([4])) == ["a fox.txt"]
    assert "5 items" in panel.note.text
    assert (panel.map.selection.tolist(), panel.map.picked_row) == ([1, 2], 2)

    until(qtbot, lambda: menu_action(panel, "Watch for changes").isChecked())
    folder = bench.collections.view.folder
    bench.collections.close()
    assert not bench.collection_watch.watching
    bench.collections.open(folder)  # the wish is kept with the collection
    assert bench.collection_watch.watching
    until(qtbot, lambda: menu_action(panel, "Watch for changes").isChecked())
    menu_action(panel, "Watch for changes").trigger()
    until(qtbot, lambda: not bench.collection_watch.watching)
    until(qtbot, lambda: "watching" not in panel.note.text)
