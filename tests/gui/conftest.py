"""Hygiene and real parts for tests of the window: nothing outlives a test or touches the user's folders."""

from __future__ import annotations

import multiprocessing
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from PySide6.QtCore import QCoreApplication, QEvent, QTimer
from PySide6.QtGui import QPalette
from PySide6.QtWidgets import QApplication

from mmviewer import paths
from mmviewer.core.types import ModelInfo
from mmviewer.engine.protocol import LoadModel, Ping, Request
from mmviewer.gui.jobs import Jobs
from mmviewer.gui.workbench import Workbench

sys.path.insert(0, str(Path(__file__).parent))

_PATIENCE = 5.0
_kept_threads: set[threading.Thread] = set()
_kept_children: set[int] = set()


@pytest.fixture(autouse=True)
def user_folders(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Settings, caches and logs of a test live in a folder of their own."""
    root = tmp_path_factory.mktemp("user")
    for name in ("config_dir", "cache_dir", "log_dir", "models_dir", "collections_dir"):
        folder = root / name
        folder.mkdir()
        monkeypatch.setattr(paths, name, lambda folder=folder: folder)
    return root


@pytest.fixture(autouse=True)
def nothing_outlives(qapp: QApplication) -> Iterator[None]:
    """Fail a test that leaves a window, timer, thread or child process behind; undo its theme."""
    windows_before = set(map(id, QApplication.topLevelWidgets()))
    threads_before = set(threading.enumerate())
    font, style = qapp.font(), qapp.style().name()
    yield
    _delete_what_is_due()
    qapp.setStyleSheet("")
    qapp.setStyle(style)
    qapp.setPalette(QPalette())
    qapp.setFont(font)
    windows = [w for w in QApplication.topLevelWidgets() if id(w) not in windows_before and w.isVisible()]
    assert not windows, f"windows left open: {windows}"
    timers = [t for w in QApplication.topLevelWidgets() for t in w.findChildren(QTimer) if t.isActive()]
    assert not timers, f"timers left running: {[t.parent() for t in timers]}"
    leftover = _settled(lambda: [t for t in threading.enumerate() if t not in threads_before | _kept_threads])
    assert not leftover, f"threads left running: {leftover}"
    children = _settled(lambda: [c for c in multiprocessing.active_children() if c.pid not in _kept_children])
    assert not children, f"processes left running: {children}"


@pytest.fixture(scope="session")
def start_engine(qapp: QApplication, tmp_path_factory: pytest.TempPathFactory) -> Callable[[], Jobs]:
    """Starts a real engine that may outlive a test; whoever calls it closes it."""

    def start() -> Jobs:
        folder = tmp_path_factory.mktemp("engine")
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(paths, "log_dir", lambda: folder)
            before = set(threading.enumerate())
            jobs = Jobs()
            jobs.start()
            _wait(lambda: jobs.status.phase == "ready", 120, "the engine to get ready")
            _kept_threads.update(set(threading.enumerate()) - before)
            _kept_children.update(child.pid for child in multiprocessing.active_children() if child.pid)
        return jobs

    return start


@pytest.fixture(scope="session")
def engine(start_engine: Callable[[], Jobs]) -> Iterator[Jobs]:
    """One real engine for all tests that do not end it."""
    jobs = start_engine()
    yield jobs
    jobs.close()


@pytest.fixture
def starter(engine: Jobs) -> ModelInfo:
    """The shipped captioning model, loaded once, and again where another test put one in its place."""
    return _loaded(engine, str(paths.starter_model()))


@pytest.fixture
def speech(engine: Jobs, shared_models: Path) -> ModelInfo:
    """A real speech model, loaded like `starter`."""
    return _loaded(engine, str(shared_models / "whisper-tiny.en"))


@pytest.fixture
def bench(engine: Jobs) -> Iterator[Workbench]:
    """A workbench over the real engine, without a model."""
    bench = Workbench(engine)
    yield bench
    for key in list(bench.activities.running()):
        bench.cancel(key)
    bench.release()
    bench.deleteLater()


_infos: dict[str, ModelInfo] = {}


def _loaded(jobs: Jobs, source: str) -> ModelInfo:
    known = _infos.get(source)
    if known is None or known.label not in _answer(jobs, Ping()).models:
        _infos[source] = _answer(jobs, LoadModel(source))
    return _infos[source]


def _answer(jobs: Jobs, request: Request) -> Any:
    answers: list[Any] = []
    errors: list[object] = []
    jobs.run(request, done=answers.append, failed=errors.append)
    _wait(lambda: bool(answers or errors), 120, f"the answer to {request}")
    assert not errors, errors
    return answers[0]


def _wait(condition: Callable[[], bool], seconds: float, what: str) -> None:
    until = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < until, f"waited {seconds} s in vain for {what}"
        QCoreApplication.processEvents()
        time.sleep(0.01)


def _settled(found: Callable[[], list]) -> list:
    """What is still found after a while: ends are not instant."""
    until = time.monotonic() + _PATIENCE
    while (rest := found()) and time.monotonic() < until:
        QCoreApplication.processEvents()
        time.sleep(0.02)
    return rest


def _delete_what_is_due() -> None:
    QCoreApplication.sendPostedEvents(None, QEvent.Type.DeferredDelete)
    QCoreApplication.processEvents()
