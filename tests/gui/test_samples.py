"""Notes on samples: shown under the viewer, tried, hidden and brought back, and never in the way."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from helpers_space import HandJobs
from helpers_viewer import MODEL, picture
from PySide6.QtCore import Qt
from pytestqt.qtbot import QtBot

from mmviewer import paths
from mmviewer.core.session.samples import Trial, sample_of, sample_session
from mmviewer.core.session.settings import Settings
from mmviewer.core.session.state import LibraryItem
from mmviewer.engine.protocol import Generate, LoadModel, OpenMedia, Tokenize
from mmviewer.gui.controllers.samples import trial_words
from mmviewer.gui.panels.viewer import ViewerPanel
from mmviewer.gui.workbench import Workbench

LEFT = Qt.MouseButton.LeftButton
FILE = "scene-owl-guitar.png"


@pytest.fixture
def bench(tmp_path: Path) -> Iterator[Workbench]:
    """A workbench without an engine whose settings lie in a file."""
    settings = Settings.load(tmp_path / "settings.json")
    settings.generate_on_choose = False
    bench = Workbench(HandJobs(), settings=settings)  # type: ignore[arg-type]
    bench.state.set_model(MODEL)
    yield bench
    bench.release()


@pytest.fixture
def viewer(bench: Workbench, qtbot: QtBot) -> Iterator[ViewerPanel]:
    panel = ViewerPanel(bench)
    qtbot.addWidget(panel)
    panel.resize(560, 520)
    panel.show()
    qtbot.waitExposed(panel)
    yield panel
    panel.release()


def sample_item(file: str = FILE) -> LibraryItem:
    item = picture(item_id=file)
    return LibraryItem(replace(item.media, path=str(paths.samples() / file), name=file), file)


def choose(bench: Workbench, *items: LibraryItem) -> None:
    bench.state.set_items(items)
    bench.choose(items[0].id)


def test_a_sample_is_shown_with_its_note_and_nothing_else_is(viewer, bench):
    choose(bench, sample_item(), picture())
    assert viewer.sample_note.isVisible()
    assert viewer.sample_note.text.text() == sample_of(sample_item().media.path, paths.samples()).note
    bench.choose("picture")
    assert not viewer.sample_note.isVisible()


def test_the_button_tries_what_the_note_proposes(viewer, bench, qtbot):
    choose(bench, sample_item("scene-two-mice.png"))
    assert viewer.sample_note.button.text() == "Find “a mouse”"
    qtbot.mouseClick(viewer.sample_note.button, LEFT)
    assert bench.jobs.last(Tokenize).request.text == "a mouse"


def test_hidden_notes_stay_hidden_until_they_are_wanted_again(viewer, bench, qtbot, tmp_path):
    said: list[str] = []
    bench.notice.connect(lambda words, _level: said.append(words))
    choose(bench, sample_item())
    qtbot.mouseClick(viewer.sample_note.close_button, LEFT)
    assert not viewer.sample_note.isVisible()
    assert "Help" in said[0]
    assert json.loads((tmp_path / "settings.json").read_text("utf-8"))["sample_notes"] is False
    bench.samples.show_notes(True)
    assert viewer.sample_note.isVisible()


def test_the_library_calls_a_sample_by_its_own_name(bench, qtbot):
    bench.library.take(sample_item().media, choose=True)
    assert bench.state.current.name == "owl and guitar"
    bench.library.take(picture().media, choose=True)
    assert bench.state.current.name == "grey.png"


def test_the_session_opens_in_its_order(bench):
    bench.samples.open()
    names = [Path(path).name for path in bench.jobs.last(OpenMedia).request.paths]
    listed = [sample.file for sample in sample_session(paths.samples())]
    assert names == [file for file in listed if (paths.samples() / file).is_file()]
    assert len(names) >= 12


@pytest.mark.parametrize(
    ("trial", "kind", "attribute", "value"),
    [
        (Trial(does="ask", text="where is it"), Generate, "question", "where is it"),
        (Trial(does="find", text="an owl"), Tokenize, "text", "an owl"),
        (Trial(does="load", text="starter-photo"), LoadModel, "source", "starter-photo"),
    ],
)
def test_trials(bench, qtbot, trial, kind, attribute, value):
    choose(bench, picture())
    bench.samples.attempt(trial)
    qtbot.waitUntil(lambda: bench.jobs.count(kind) == 1)
    assert getattr(bench.jobs.last(kind).request, attribute) == value
    words, tip = trial_words(trial)
    assert words
    assert tip


def test_labels_can_be_proposed(bench):
    bench.samples.attempt(Trial(does="labels", text="owl, dog"))
    assert bench.state.labels == ("owl", "dog")


def test_a_panel_can_be_proposed(bench, qtbot):
    with qtbot.waitSignal(bench.panel_requested) as asked:
        bench.samples.attempt(Trial(does="panel", text="space"))
    assert asked.args == ["space"]
    assert trial_words(Trial(does="panel", text="space"))[0] == "Open Space"
    assert trial_words(None) == ("", "")


@pytest.mark.parametrize("text", ["{broken", "[]", '{"samples": [{"file": 3}]}', '{"samples": [{}]}', None])
def test_a_broken_list_leaves_the_window_usable(tmp_path, bench, monkeypatch, text):
    if text is not None:
        (tmp_path / "session.json").write_text(text, "utf-8")
    monkeypatch.setattr(paths, "samples", lambda: tmp_path)
    said: list[str] = []
    bench.notice.connect(lambda words, _level: said.append(words))
    bench.samples.open()
    assert "install mmviewer again" in said[0]
    assert bench.samples.note_of(picture()) is None
