"""The whole application with its real engine: start, look, lose the engine, go on, end."""

from __future__ import annotations

import multiprocessing
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from PySide6.QtWidgets import QApplication
from pytestqt.qtbot import QtBot

from mmviewer import paths
from mmviewer.gui.app import App

PATIENCE = 120_000


@pytest.fixture
def app(qapp: QApplication, shared_models: Path) -> Iterator[App]:
    app = App(qapp)
    app.bench.settings.model = str(
        paths.starter_model() if paths.starter_model().is_dir() else shared_models / "starter-prototype"
    )
    yield app
    app.close()


def test_samples_are_seen_captioned_and_survive_the_engines_death(app: App, qtbot: QtBot):
    app.start([], samples=True)
    state = app.bench.state
    qtbot.waitUntil(lambda: state.maps is not None, timeout=PATIENCE)
    assert state.sequence.kind == "caption"
    assert len(state.items) >= 8
    items, maps = state.items, state.maps
    app.bench.rename(state.current.id, "still here")

    phases: list[str] = []
    app.bench.engine_status_changed.connect(lambda status: phases.append(status.phase))
    os.kill(app.bench.engine_status.pid, signal.SIGKILL)
    qtbot.waitUntil(lambda: "gone" in phases, timeout=PATIENCE)
    assert [item.id for item in state.items] == [item.id for item in items]
    assert state.current.name == "still here"
    assert state.maps is maps
    assert "session is untouched" in app.window.notices.text

    other = next(
        item for item in state.items if item.media.pixels is not None and item.id != state.current.id
    )
    app.bench.choose(other.id)
    qtbot.waitUntil(lambda: state.maps is not None and state.maps.media_id == other.id, timeout=PATIENCE)
    assert state.sequence.media_id == other.id


def test_closing_ends_the_engine_and_remembers(app: App, qtbot: QtBot):
    app.start([], samples=False)
    qtbot.waitUntil(lambda: app.bench.engine_status.pid > 0, timeout=PATIENCE)
    pid = app.bench.engine_status.pid
    app.window.set_theme("dark")
    app.close()
    assert not any(child.pid == pid for child in multiprocessing.active_children())
    assert (paths.config_dir() / "window.ini").is_file()
    assert '"theme": "dark"' in (paths.config_dir() / "settings.json").read_text(encoding="utf-8")


_TIMED = """
import sys
from PySide6.QtWidgets import QApplication
from mmviewer.gui.app import App
if __name__ == "__main__":
    qt = QApplication(["mmviewer"])
    app = App(qt)
    app.start([], samples=False)
    qt.processEvents()
    app.close()
    late = ("mmviewer.gui.controllers.tour", "mmviewer.gui.card_dialog", "mmviewer.gui.export")
    heavy = [n for n in ("torch", "transformers", "open_clip", "matplotlib", *late) if n in sys.modules]
    print(heavy)
"""


def test_nothing_heavy_is_imported_until_the_window_is_shown(tmp_path: Path):
    script = tmp_path / "timed.py"
    script.write_text(_TIMED, encoding="utf-8")
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])}
    environment |= {f"XDG_{kind}_HOME": str(tmp_path) for kind in ("CONFIG", "CACHE", "STATE", "DATA")}
    done = subprocess.run(
        [sys.executable, str(script)],
        env=environment,
        capture_output=True,
        text=True,
        timeout=120,
        check=True,
    )
    assert done.stdout.strip() == "[]"


@pytest.mark.skipif(sys.platform == "win32", reason="POSIX signals")
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_ends_the_process_in_order(number: signal.Signals, tmp_path: Path):
    environment = {f"XDG_{kind}_HOME": str(tmp_path) for kind in ("CONFIG", "CACHE", "STATE", "DATA")}
    process = subprocess.Popen(
        [sys.executable, "-m", "mmviewer.gui.app"],
        cwd=Path(__file__).parents[2],
        env={**os.environ, **environment},
        stderr=subprocess.PIPE,
        text=True,
    )
    log = tmp_path / "mmviewer" / "log" / "engine.log"
    deadline = time.monotonic() + 60
    while not log.is_file() and time.monotonic() < deadline:  # the engine is being born: the window is up
        time.sleep(0.1)
    process.send_signal(number)
    _, errors = process.communicate(timeout=60)
    assert process.returncode == 0
    assert "Traceback" not in errors
    assert (tmp_path / "mmviewer" / "window.ini").is_file()
