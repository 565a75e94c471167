"""Jobs in the window's thread, with a real engine process."""

from __future__ import annotations

import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import pytest
from PySide6.QtCore import QObject

from mmviewer import paths
from mmviewer.engine.client import EngineClient
from mmviewer.engine.protocol import Ping
from mmviewer.gui.jobs import Jobs

sys.path.insert(0, str(Path(__file__).parents[1] / "engine"))
import engine_child as child


@pytest.fixture
def jobs(qtbot, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Jobs]:
    monkeypatch.setattr(paths, "log_dir", lambda: tmp_path)
    jobs = Jobs(make_client=partial(EngineClient, entry=child.quick))
    jobs.start()
    yield jobs
    jobs.close()


class Calls:
    """Records what was called back, and in which thread."""

    def __init__(self) -> None:
        self.done: list = []
        self.failed: list = []
        self.partial: list = []
        self.progress: list = []
        self.threads: set[str] = set()

    def options(self) -> dict:
        return {name: partial(self._take, name) for name in ("done", "failed", "partial", "progress")}

    def _take(self, name: str, value: object) -> None:
        self.threads.add(threading.current_thread().name)
        getattr(self, name).append(value)


def test_callbacks_come_later_and_in_the_windows_thread(jobs, qtbot):
    calls = Calls()
    jobs.run(child.Count(4), **calls.options())
    assert not calls.done
    qtbot.waitUntil(lambda: calls.done == [6])
    assert calls.partial == [0, 1, 2, 3]
    assert calls.progress[0].total == 4
    assert calls.threads == {threading.main_thread().name}
    assert jobs.running == ()


def test_signals_for_the_status_bar(jobs, qtbot):
    heard: list = []
    jobs.job_started.connect(lambda job: heard.append(("started", job.label)))
    jobs.job_progressed.connect(lambda job, event: heard.append(("progressed", event.message)))
    jobs.job_ended.connect(lambda job: heard.append(("ended", job.active)))
    jobs.run(child.Count(1), label="Counting")
    qtbot.waitUntil(lambda: heard and heard[-1][0] == "ended")
    assert heard == [("started", "Counting"), ("progressed", "step 0"), ("ended", False)]


def test_a_newer_job_of_the_same_key_silences_the_older(jobs, qtbot):
    stale, fresh = Calls(), Calls()
    older = jobs.run(child.Count(500, pause=0.01), key="scores", **stale.options())
    newer = jobs.run(child.Count(3), key="scores", **fresh.options())
    other = jobs.run(child.Count(2), key="maps")
    assert (older.active, newer.active, other.active) == (False, True, True)
    qtbot.waitUntil(lambda: fresh.done == [3], timeout=3000)
    assert (stale.done, stale.partial, stale.failed) == ([], [], [])


def test_an_answer_under_way_is_dropped_after_cancel(jobs, qtbot):
    calls, later = Calls(), Calls()
    job = jobs.run(child.Count(3), **calls.options())
    time.sleep(1.0)  # the answer waits in this thread's queue
    job.cancel()
    job.cancel()
    jobs.run(child.Count(2), **later.options())
    qtbot.waitUntil(lambda: later.done == [1])
    assert (calls.done, calls.partial, calls.failed) == ([], [], [])


def test_a_cancelled_job_is_no_error(jobs, qtbot):
    errors: list = []
    ended: list = []
    jobs.error.connect(errors.append)
    jobs.job_ended.connect(ended.append)
    job = jobs.run(child.Count(1000, pause=0.01))
    job.cancel()
    assert ended == [job]
    qtbot.wait(300)
    assert not errors


def test_failure_goes_to_its_callback_or_to_the_signal(jobs, qtbot):
    errors: list = []
    jobs.error.connect(errors.append)
    calls = Calls()
    jobs.run(child.Raise("media"), **calls.options())
    qtbot.waitUntil(lambda: len(calls.failed) == 1)
    assert not errors
    jobs.run(child.Raise("media"))
    qtbot.waitUntil(lambda: len(errors) == 1)
    assert errors[0].message == "cat.jpg is broken; copy it again."


def test_no_callback_after_the_owner_is_gone(jobs, qtbot):
    owner = QObject()
    calls, other = Calls(), Calls()
    jobs.run(child.Count(3), owner=owner, **calls.options())
    owner.deleteLater()
    qtbot.waitSignal(owner.destroyed, timeout=1000).wait()
    jobs.run(child.Count(3), owner=jobs, **other.options())
    qtbot.waitUntil(lambda: other.done == [3])
    assert (calls.done, calls.partial) == ([], [])


def test_an_exception_in_a_callback_costs_no_other_job(jobs, qtbot):
    def explode(value: object) -> None:
        raise RuntimeError("in a callback")

    calls = Calls()
    with qtbot.captureExceptions() as caught:
        jobs.run(child.Count(1), done=explode)
        jobs.run(child.Count(3), **calls.options())
        qtbot.waitUntil(lambda: calls.done == [3])
    assert [str(value) for _, value, _ in caught] == ["in a callback"]
    assert jobs.running == ()


def test_death_is_told_once_per_job_and_the_next_job_runs(jobs, qtbot):
    phases: list[str] = []
    jobs.status_changed.connect(lambda status: phases.append(status.phase))
    calls, next_ = Calls(), Calls()
    jobs.run(child.Die(9), **calls.options())
    qtbot.waitUntil(lambda: len(calls.failed) == 1)
    assert "starting again" in calls.failed[0].message
    jobs.run(Ping(), **next_.options())
    qtbot.waitUntil(lambda: len(next_.done) == 1)
    assert phases[phases.index("gone") + 1] == "starting"
    assert jobs.status.pid == next_.done[0].pid


def test_jobs_import_no_torch():
    code = (
        "import sys, mmviewer.gui.jobs\n"
        "heavy = {'torch', 'transformers', 'open_clip', 'matplotlib', 'sklearn', 'umap'}\n"
        "print(sorted(heavy & set(sys.modules)))"
    )
    result = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60
    )
    assert result.stdout.strip() == "[]"
