"""The client with real child processes: answers, cancels, deaths and rebirths."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time

import engine_child as child
import numpy as np
import psutil
import pytest

from mmviewer.engine.client import EngineClient
from mmviewer.engine.protocol import (
    Done,
    EngineStatus,
    Failed,
    PartialResult,
    Ping,
    ProgressEvent,
    StatusEvent,
    Stopped,
)


def test_a_job_streams_and_ends(engine):
    quick = engine(entry=child.quick)
    job = quick.client.submit(child.Count(5))
    assert quick.heard.end(job) == Done(job, 10)
    assert [event.value for event in quick.heard.of(job, PartialResult)] == [0, 1, 2, 3, 4]
    first = quick.heard.of(job, ProgressEvent)[0]
    assert (first.done, first.total, first.message) == (0, 5, "step 0")


def test_arrays_travel_whole_and_writable(engine):
    quick = engine(entry=child.quick)
    sent = {
        "a": np.arange(3_000_000, dtype=np.float32).reshape(1000, -1),
        "empty": np.zeros((0, 3)),
        "b": b"x",
    }
    value = quick.ask(child.Echo(sent)).value
    np.testing.assert_array_equal(value["a"], sent["a"])
    assert value["empty"].shape == (0, 3)
    assert value["b"] == b"x"
    value["a"][0, 0] = 7


def test_phases_of_a_start(engine):
    slow = engine(entry=child.slow)
    ready = slow.heard.phase("ready")
    phases = [event.status.phase for event in slow.heard.events if isinstance(event, StatusEvent)]
    assert phases[:3] == ["starting", "warming up", "ready"]
    assert (ready.device, ready.dtype, ready.reason) == ("cpu", "float32", "because")
    assert 0 < ready.memory_used < ready.memory_total
    assert ready.pid in {process.pid for process in psutil.Process().children()}
    assert slow.client.status.phase == "ready"


def test_the_first_figure_is_prepared_when_there_is_nothing_to_do(engine):
    idle = engine(entry=child.idle)
    idle.heard.phase("ready")
    assert idle.ask(child.Drawn()).value is False
    deadline = time.monotonic() + 30
    while not idle.ask(child.Drawn()).value and time.monotonic() < deadline:
        time.sleep(0.5)
    assert idle.ask(child.Drawn()).value is True
    phases = [event.status.phase for event in idle.heard.events if isinstance(event, StatusEvent)]
    assert "busy" not in phases  # nobody asked for it


def test_media_is_answered_during_warm_up(engine):
    slow = engine(entry=child.slow)
    status = slow.ask(Ping()).value
    assert status.phase == "warming up"
    assert slow.ask(child.Count(3)).value == 3
    assert slow.client.status.phase == "warming up"


def test_other_lanes_wait_for_the_warm_up_and_hear_a_cancel(engine):
    slow = engine(entry=child.slow)
    slow.ask(Ping())
    cancelled, late = slow.client.submit(child.Late()), slow.client.submit(child.Late())
    slow.client.cancel(cancelled)
    assert slow.heard.end(cancelled) == Stopped(cancelled)
    assert slow.client.status.phase == "warming up"
    assert slow.heard.end(late) == Done(late, True)


def test_lanes_run_side_by_side_and_status_says_busy(engine):
    quick = engine(entry=child.quick)
    quick.heard.phase("ready")
    long = quick.client.submit(child.Sleep(1.5))
    assert quick.ask(child.Count(3)).value == 3
    assert not quick.heard.of(long, Done)
    quick.heard.phase("busy")
    assert quick.heard.end(long) == Done(long, None)


def test_cancel_between_steps(engine):
    quick = engine(entry=child.quick)
    job = quick.client.submit(child.Count(10_000, pause=0.01))
    quick.heard.wait(lambda event: isinstance(event, PartialResult))
    quick.client.cancel(job)
    assert quick.heard.end(job, timeout=2) == Stopped(job)
    quick.client.cancel(job)
    assert quick.ask(child.Count(2)).value == 1


def test_cancelled_jobs_in_the_queue_go_at_once(engine):
    quick = engine(entry=child.quick)
    long = quick.client.submit(child.Sleep(2))
    waiting = [quick.client.submit(child.Sleep(60)) for _ in range(3)]
    for job in waiting:
        quick.client.cancel(job)
    assert quick.heard.end(long) == Done(long, None)
    before = quick.heard.events[: quick.heard.events.index(Done(long, None))]
    assert [event for event in before if isinstance(event, Stopped)] == [Stopped(job) for job in waiting]


def test_a_disobeyed_cancel_ends_the_engine(engine):
    quick = engine(entry=child.quick, cancel_grace=0.3)
    quick.heard.phase("ready")
    job = quick.client.submit(child.Sleep(60))
    other = quick.client.submit(child.Sleep(61))
    quick.heard.phase("busy")
    quick.client.cancel(job)
    assert quick.heard.end(job, timeout=5) == Stopped(job)
    report = quick.heard.end(other).error
    assert report.kind == "EngineError"
    assert "did not stop within 0.3 s" in report.message
    assert quick.ask(child.Count(3)).value == 3


@pytest.mark.parametrize(
    ("number", "words"),
    [(signal.SIGKILL, "killed by signal 9, perhaps out of memory"), (signal.SIGSEGV, "native code, SIGSEGV")],
)
def test_death_and_rebirth(engine, number, words):
    quick = engine(entry=child.quick)
    first = quick.ask(Ping()).value.pid
    quick.client.submit(child.Sleep(60))
    fatal = quick.client.submit(child.Die(number))
    report = quick.heard.end(fatal).error
    assert (
        report.message
        == f"The engine stopped ({'crashed in ' if 'native' in words else ''}{words}); it is starting again."
    )
    assert quick.heard.phase("gone").reason == report.message
    second = quick.ask(Ping()).value.pid
    assert second != first
    assert not psutil.pid_exists(first)


def test_a_kill_from_outside_loses_no_later_job(engine):
    quick = engine(entry=child.quick)
    os.kill(quick.ask(Ping()).value.pid, signal.SIGKILL)
    quick.heard.phase("gone")
    assert quick.ask(child.Count(4)).value == 6


def test_a_crash_loop_stops_and_restart_revives(engine):
    quick = engine(entry=child.stillborn)
    gone = quick.heard.wait(lambda e: isinstance(e, StatusEvent) and "too often" in e.status.reason).status
    assert gone.phase == "gone"
    assert "Restart engine" in gone.reason
    assert sum(e.status.phase == "starting" for e in quick.heard.events if isinstance(e, StatusEvent)) == 3
    assert quick.ask(Ping(), timeout=2).error.message == gone.reason

    quick.client._entry = child.quick
    quick.client.restart()
    assert quick.ask(child.Count(3)).value == 3


def test_restart_by_hand(engine):
    quick = engine(entry=child.quick)
    first = quick.ask(Ping()).value.pid
    job = quick.client.submit(child.Sleep(60))
    quick.heard.wait(lambda event: isinstance(event, StatusEvent) and event.status.phase == "busy")
    quick.client.restart()
    assert "was restarted" in quick.heard.end(job).error.message
    assert quick.ask(Ping()).value.pid != first


@pytest.mark.parametrize(
    ("request_", "kind", "words"),
    [
        (child.Raise("media"), "MediaError", "cat.jpg is broken; copy it again."),
        (child.Raise("odd"), "EngineError", "inside the engine while failing: please report it"),
        (child.Raise("exit"), "EngineError", "inside the engine while failing: please report it"),
        (child.Lost(), "InputError", "no request called Lost"),
        (child.Hostile(), "EngineError", "while reading a request"),
        (child.Unsendable(), "EngineError", "while sending a request"),
        (child.Unanswerable(), "EngineError", "while sending an answer"),
        (child.Echo(threading.Lock()), "EngineError", "while sending a request"),
        ("no request at all", "InputError", "no request called str"),
    ],
)
def test_hostile_requests_cost_only_themselves(engine, request_, kind, words):
    quick = engine(entry=child.quick)
    answer = quick.ask(request_)
    assert isinstance(answer, Failed)
    assert answer.error.kind == kind
    assert words in answer.error.message
    assert "Traceback" in answer.error.details or kind == "InputError"
    assert quick.ask(child.Count(3)).value == 3


def test_memory_ran_out_once(engine):
    quick = engine(entry=child.quick)
    assert quick.ask(child.Greedy(1)).value == 2


def test_memory_ran_out_for_good(engine):
    quick = engine(entry=child.quick)
    report = quick.ask(child.Greedy(10)).error
    assert report.kind == "DeviceError"
    assert report.message.startswith("Memory ran out while eating")


def test_a_failed_device_ends_the_engine_after_its_report(engine):
    quick = engine(entry=child.quick)
    waiting = quick.client.submit(child.Sleep(60))
    assert quick.ask(child.Raise("assert")).error.message.startswith("The device failed while failing")
    assert quick.heard.end(waiting).error.message == (
        "The engine stopped (the device failed); it is starting again."
    )
    assert quick.ask(child.Count(3)).value == 3


def test_close_leaves_nothing_behind(engine):
    before = set(threading.enumerate())
    quick = engine(entry=child.quick)
    pid = quick.ask(Ping()).value.pid
    quick.client.submit(child.Count(1000, pause=0.01))
    begun = time.monotonic()
    quick.client.close()
    assert time.monotonic() - begun < 1000 * 0.01 / 2  # the job was not waited for
    heard = len(quick.heard.events)
    assert not psutil.pid_exists(pid)
    assert set(threading.enumerate()) == before
    time.sleep(0.1)
    assert len(quick.heard.events) == heard


def test_close_during_start(engine):
    before = set(threading.enumerate())
    engine(entry=child.slow).client.close()
    assert set(threading.enumerate()) == before


def test_close_without_start():
    EngineClient(print).close()


def test_output_goes_to_the_log(engine, log_folder):
    quick = engine(entry=child.quick)
    quick.ask(child.Raise("odd"))
    quick.client.close()
    assert "KeyError: 'odd'" in (log_folder / "engine.log").read_text()


def test_no_orphan_when_the_window_is_killed(tmp_path):
    script = tmp_path / "window.py"
    script.write_text(
        "import sys, threading\n"
        "from pathlib import Path\n"
        "from mmviewer import paths\n"
        "from mmviewer.engine.client import EngineClient\n"
        "import engine_child\n"
        "def main():\n"
        "    paths.log_dir = lambda: Path(sys.argv[1])\n"
        "    def hear(event):\n"
        "        status = getattr(event, 'status', None)\n"
        "        if status is not None and status.phase == 'ready':\n"
        "            print(status.pid, flush=True)\n"
        "    client = EngineClient(hear, entry=engine_child.quick)\n"
        "    client.start()\n"
        "    client.submit(engine_child.Sleep(600))\n"
        "    threading.Event().wait()\n"
        "if __name__ == '__main__':\n"
        "    main()\n"
    )
    window = subprocess.Popen(
        [sys.executable, script, tmp_path],
        stdout=subprocess.PIPE,
        text=True,
        env=os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)},
    )
    try:
        pid = int(window.stdout.readline())
        engine_process = psutil.Process(pid)
    finally:
        window.kill()
        window.wait()
        window.stdout.close()
    assert engine_process.wait(timeout=5) is None or not engine_process.is_running()


def test_the_client_imports_no_torch_and_no_qt():
    code = (
        "import sys, mmviewer.engine.client, mmviewer.engine.protocol\n"
        "heavy = {'torch', 'transformers', 'open_clip', 'matplotlib', 'PySide6', 'PIL'}\n"
        "print(sorted(heavy & set(sys.modules)))"
    )
    result = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60
    )
    assert result.stdout.strip() == "[]"


def test_status_is_a_plain_value():
    assert EngineStatus("gone") == EngineStatus("gone")
