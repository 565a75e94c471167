"""The model manager over a real engine and a hub on loopback: plan, download, pause, go on, load, delete."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from PySide6.QtCore import Qt
from PySide6.QtWidgets import QMessageBox, QPushButton
from pytestqt.qtbot import QtBot

from mmviewer import paths
from mmviewer.core.types import ModelInfo
from mmviewer.engine.protocol_hub import HubModel, HubState
from mmviewer.gui.jobs import Jobs
from mmviewer.gui.manager_model import Wish, rows
from mmviewer.gui.model_manager import ModelManager
from mmviewer.gui.workbench import Workbench

sys.path.insert(0, str(Path(__file__).parents[1] / "hub"))

from fake_hub import COMMIT, FakeHub, FakeModel, model

PATIENCE = 60_000
REPO = "fake/photo"


@pytest.fixture(scope="module")
def hub() -> Iterator[FakeHub]:
    """Holds a real little model, the shipped one for photographs, and a large random one."""
    hub = FakeHub()
    shipped = paths.shipped_models() / "starter-photo"
    files = {path.name: path.read_bytes() for path in shipped.iterdir() if path.is_file()}
    weights = frozenset(name for name in files if name.endswith(".safetensors"))
    hub.models[REPO] = FakeModel(files, large=weights)
    hub.models["fake/large"] = model(40)
    yield hub
    hub.close()


@pytest.fixture(scope="module")
def own_engine(
    start_engine: Callable[[], Jobs], hub: FakeHub, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Jobs]:
    """An engine that knows the hub on loopback; its environment is set before its birth."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("HF_ENDPOINT", hub.address)
        patch.setenv("HF_HUB_CACHE", str(tmp_path_factory.mktemp("hub-cache")))
        patch.delenv("HF_HUB_OFFLINE", raising=False)
        patch.setenv("MMVIEWER_ONLINE", "0")
        jobs = start_engine()
    yield jobs
    jobs.close()


@pytest.fixture
def bench(own_engine: Jobs) -> Iterator[Workbench]:
    bench = Workbench(own_engine)
    yield bench
    for key in list(bench.activities.running()):
        bench.cancel(key)
    bench.release()
    bench.deleteLater()


@pytest.fixture
def manager(qtbot: QtBot, bench: Workbench) -> Iterator[ModelManager]:
    manager = ModelManager(bench)
    manager.setAttribute(Qt.WidgetAttribute.WA_DeleteOnClose, False)
    qtbot.addWidget(manager)
    with qtbot.waitExposed(manager):
        manager.show()
    qtbot.waitUntil(lambda: bench.hub.state is not None, timeout=PATIENCE)
    yield manager
    manager.close()


def confirm_delete(qtbot: QtBot, manager: ModelManager) -> None:
    box = manager.findChildren(QMessageBox)[-1]
    assert "MB" in box.informativeText()
    delete = next(each for each in box.findChildren(QPushButton) if each.text().startswith("Delete"))
    qtbot.mouseClick(delete, Qt.MouseButton.LeftButton)


def press(qtbot: QtBot, manager: ModelManager, name: str) -> None:
    button = manager.details.buttons[name]
    qtbot.waitUntil(lambda: button.isVisible() and button.isEnabled(), timeout=PATIENCE)
    qtbot.mouseClick(button, Qt.MouseButton.LeftButton)


def test_from_a_pasted_address_to_a_loaded_model_and_away(manager, bench, qtbot, hub) -> None:
    notices: list[str] = []
    bench.notice.connect(lambda words, _level: notices.append(words))
    manager.field.setText(f"{hub.address}/{REPO}")
    assert manager.row is not None
    assert manager.row.repo == REPO
    requests = len(hub.requests)
    press(qtbot, manager, "allow")
    press(qtbot, manager, "plan")
    qtbot.waitUntil(lambda: "still to come" in manager.details.words.text(), timeout=PATIENCE)
    assert len(hub.requests) == requests + 1  # a plan fetches nothing
    press(qtbot, manager, "download")
    qtbot.waitUntil(lambda: any("is here" in words for words in notices), timeout=PATIENCE)
    qtbot.waitUntil(lambda: manager.row is not None and manager.row.is_whole, timeout=PATIENCE)
    loaded: list[ModelInfo] = []
    bench.state.model_changed.connect(loaded.append)
    press(qtbot, manager, "load")
    qtbot.waitUntil(lambda: bool(loaded), timeout=PATIENCE)
    assert loaded[0].revision == COMMIT
    press(qtbot, manager, "delete")
    confirm_delete(qtbot, manager)
    qtbot.waitUntil(lambda: "unload it" in manager.details.words.text(), timeout=PATIENCE)
    bench.unload(loaded[0].id)
    press(qtbot, manager, "verify")
    qtbot.waitUntil(lambda: any("right checksum" in words for words in notices), timeout=PATIENCE)
    press(qtbot, manager, "delete")
    confirm_delete(qtbot, manager)
    qtbot.waitUntil(lambda: any(words.startswith(f"Deleted {REPO}") for words in notices), timeout=PATIENCE)


def test_pause_keeps_what_came_and_going_on_finishes(manager, bench, qtbot, hub) -> None:
    bench.set_network(True)
    hub.pause = 0.004
    hub.requests.clear()
    manager.field.setText("fake/large")
    press(qtbot, manager, "plan")
    press(qtbot, manager, "download")
    qtbot.waitUntil(lambda: "MB/s" in manager.details.words.text(), timeout=PATIENCE)
    qtbot.waitUntil(lambda: bench.jobs.status.network == ("127.0.0.1",), timeout=PATIENCE)
    press(qtbot, manager, "pause")
    qtbot.waitUntil(lambda: manager.row is not None and manager.row.is_begun, timeout=PATIENCE)
    assert "its download is not finished" in manager.details.words.text()
    assert not manager.details.buttons["load"].isVisible()
    hub.pause = 0.0
    press(qtbot, manager, "plan")
    press(qtbot, manager, "download")
    qtbot.waitUntil(lambda: manager.row is not None and manager.row.is_whole, timeout=PATIENCE)
    ranges = [asked for path, asked, _ in hub.requests if path.endswith("model.safetensors")]
    assert len(ranges) == 2
    assert ranges[1] is not None


def test_a_failure_stays_beside_the_model(manager, bench, qtbot) -> None:
    bench.set_network(True)
    manager.field.setText("no/thing")
    press(qtbot, manager, "plan")
    qtbot.waitUntil(lambda: "no model no/thing" in manager.details.words.text(), timeout=PATIENCE)


STATE = HubState(
    folder="/models",
    free=10**10,
    models=(
        HubModel("openai/whisper-base", 10**8, 0, spec="openai/whisper-base"),
        HubModel("own/thing", 0, 5, "its download is not finished"),
    ),
    kinds=("openclip", "whisper"),
    device="cpu",
    dtype="float32",
    room=10**9,
    online=True,
    endpoint="https://huggingface.co",
    has_token=False,
)


def test_what_is_here_comes_first_and_filters_are_honest() -> None:
    listed = rows(STATE, Wish())
    assert [row.repo for row in listed[:2]] == ["openai/whisper-base", "own/thing"]
    assert {row.entry.kind for row in listed if row.entry} == {"openclip", "whisper"}
    assert [row.repo for row in rows(STATE, Wish(here=True))] == ["openai/whisper-base", "own/thing"]
    fitting = [row.entry for row in rows(STATE, Wish(fits=True)) if row.entry]
    assert fitting
    assert all(entry.memory_bytes("float32") <= 10**9 for entry in fitting)
    assert [row.repo for row in rows(STATE, Wish("OWN"))][:1] == ["own/thing"]
    assert all("transcribe" in row.entry.can for row in rows(STATE, Wish(task="transcribe")) if row.entry)


def test_what_is_pasted_becomes_a_row(tmp_path: Path) -> None:
    assert [row.spec for row in rows(STATE, Wish("some/model@v1"))] == ["some/model@v1"]
    address = rows(STATE, Wish("https://huggingface.co/some/model/tree/main"))
    assert [(row.repo, row.typed) for row in address] == [("some/model", True)]
    local = rows(STATE, Wish(str(tmp_path)))
    assert [(row.spec, row.is_whole, row.repo) for row in local] == [(str(tmp_path), True, "")]
    assert rows(STATE, Wish("\0/\n")) == []
    assert rows(None, Wish("x" * 5000)) == []
