"""The window's end of the engine: starts the child, hands requests over, tells of its death, revives it.

No Qt and no torch. All work is done in two threads, so no method waits for the child.
"""

from __future__ import annotations

import itertools
import logging
import multiprocessing
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from multiprocessing.connection import Connection, wait
from multiprocessing.context import SpawnProcess
from queue import SimpleQueue
from threading import Event, Lock, Thread
from typing import Any

from mmviewer import paths
from mmviewer.engine import child, faults
from mmviewer.engine.protocol import (
    Cancel,
    Done,
    EngineStatus,
    Envelope,
    ErrorReport,
    Failed,
    PartialResult,
    ProgressEvent,
    Request,
    Shutdown,
    StatusEvent,
    Stopped,
)
from mmviewer.engine.wire import NO_JOB, Unreadable, Wire

EngineEvent = ProgressEvent | PartialResult | Done | Failed | Stopped | StatusEvent
EntryPoint = Callable[[Connection, str], None]
_Outbox = SimpleQueue[tuple[int, Any] | None]  # (job, message); None ends the writer

_log = logging.getLogger(__name__)

_POLL = 0.25  # seconds between looks at deadlines
_LAST_WORDS = 2.0  # seconds a process may take to end after it closed the pipe
_REMEDY = "restart it with Model > Restart engine; the log (Help > Show log) says what happened"


@dataclass(slots=True)
class _Life:
    """One child process from birth to death."""

    process: SpawnProcess
    wire: Wire
    outbox: _Outbox
    writer: Thread


class EngineClient:
    """Owns the engine process.

    Parameters
    ----------
    on_event : callable
        Receives every event, in order, in a thread of the client; must be quick and must not raise.
    entry : callable
        What the child runs; receives its end of the pipe and the log file's path.
    cancel_grace : float
        Seconds a cancelled job may take to stop before the engine is ended.
    max_deaths, death_window : int, float
        So many unasked deaths within so many seconds end the automatic revival.
    """

    def __init__(
        self,
        on_event: Callable[[EngineEvent], None],
        *,
        entry: EntryPoint = child.main,
        cancel_grace: float = 5.0,
        max_deaths: int = 3,
        death_window: float = 60.0,
    ) -> None:
        self._on_event = on_event
        self._entry = entry
        self._cancel_grace = cancel_grace
        self._max_deaths = max_deaths
        self._death_window = death_window
        self._numbers = itertools.count(1)
        self._lock = Lock()
        self._jobs: dict[int, float | None] = {}  # running job -> time at which its cancel is overdue
        self._outbox: _Outbox = SimpleQueue()
        self._deaths: deque[float] = deque(maxlen=max_deaths)
        self._status = EngineStatus("starting")
        self._verdict = ""  # why this side ended the child, for the report
        self._kill_wanted = Event()
        self._revive = Event()
        self._closing = Event()
        self._supervisor = Thread(target=self._supervise, name="engine client", daemon=True)

    # --- what the window calls, none of it waits ----------------------------------------------------
    @property
    def status(self) -> EngineStatus:
        """The last status."""
        return self._status

    def start(self) -> None:
        """Start the child in the background."""
        self._supervisor.start()

    def submit(self, request: Request) -> int:
        """Hand a request over and return the number that its events carry."""
        job = next(self._numbers)
        with self._lock:
            self._jobs[job] = None
            self._outbox.put((job, Envelope(job, request)))
        return job

    def cancel(self, job: int) -> None:
        """Ask a job to stop; it ends with `Stopped`, or with `Done` if it was quicker."""
        with self._lock:
            if job in self._jobs and self._jobs[job] is None:
                self._jobs[job] = time.monotonic() + self._cancel_grace
                self._outbox.put((NO_JOB, Cancel(job)))

    def restart(self) -> None:
        """End the engine, if it lives, and start a new one, also after a crash loop."""
        with self._lock:
            self._deaths.clear()
            self._verdict = "The engine was restarted"
            self._revive.set()
            self._kill_wanted.set()

    def close(self, timeout: float = 2.0) -> None:
        """End the child in order, by force after `timeout` seconds; no event comes after this returns."""
        self._closing.set()
        self._revive.set()
        with self._lock:
            self._outbox.put((NO_JOB, Shutdown()))
        if self._supervisor.is_alive():
            self._supervisor.join(timeout)
            self._kill_wanted.set()
            self._supervisor.join()

    # --- the supervising thread ---------------------------------------------------------------------
    def _supervise(self) -> None:
        while not self._closing.is_set():
            try:
                life = self._bear()
            except (OSError, RuntimeError) as error:  # no process, no thread, no log folder
                _log.exception("the engine cannot be started")
                cause, asked = f"The engine cannot be started ({_first_line(error)})", False
            else:
                self._attend(life)
                cause, asked = self._bury(life)
            if not self._closing.is_set():
                self._mourn(cause, asked=asked)

    def _bear(self) -> _Life:
        self._forget_orders()
        context = multiprocessing.get_context("spawn")  # fork would copy Qt's threads and locks
        ours, theirs = context.Pipe(duplex=True)
        log_path = str(paths.log_dir() / "engine.log")
        process = context.Process(
            target=self._entry, args=(theirs, log_path), name="mmviewer engine", daemon=True
        )
        self._tell(StatusEvent(EngineStatus("starting")))
        process.start()
        theirs.close()  # the child's copy is then the only one: its death closes the pipe
        wire, outbox = Wire(ours), self._outbox
        writer = Thread(target=self._write, args=(wire, outbox), name="engine writer", daemon=True)
        writer.start()
        return _Life(process, wire, outbox, writer)

    def _attend(self, life: _Life) -> None:
        """Hand events on until the child is dead or must be."""
        connection, process = life.wire.connection, life.process
        while True:
            ready = wait([connection, process.sentinel], timeout=_POLL)
            if connection in ready:
                try:
                    self._take(*life.wire.receive())
                except (EOFError, OSError):
                    return
            elif ready or not process.is_alive():
                return
            if self._kill_wanted.is_set():
                process.kill()
                return
            self._enforce_cancels(process)

    def _take(self, job: int, event: Any) -> None:
        if isinstance(event, Unreadable):
            report = faults.report(event.cause, "reading an answer")
            event = Failed(job, report)
        if isinstance(event, StatusEvent):
            self._status = event.status
        elif isinstance(event, (Done, Failed, Stopped)):
            with self._lock:
                if job not in self._jobs:
                    return
                del self._jobs[job]
        self._tell(event)

    def _enforce_cancels(self, process: SpawnProcess) -> None:
        # Importing torch can hold the interpreter for seconds; a job queued behind it is not disobedient.
        if self._status.phase in {"starting", "warming up"}:
            return
        now = time.monotonic()
        with self._lock:
            overdue = any(deadline is not None and deadline < now for deadline in self._jobs.values())
            if overdue:
                self._verdict = (
                    f"A cancelled job did not stop within {self._cancel_grace:g} s, so the engine was ended"
                )
        if overdue:
            self._kill_wanted.set()
            process.kill()

    def _bury(self, life: _Life) -> tuple[str, bool]:
        """Free what the dead child used; return why it died and whether this side wanted that."""
        process = life.process
        process.join(_LAST_WORDS)
        if process.is_alive():
            process.kill()
            process.join()
        code = process.exitcode
        process.close()
        life.outbox.put(None)
        life.writer.join()
        life.wire.connection.close()
        with self._lock:
            verdict = self._verdict
        return verdict or f"The engine stopped ({faults.describe_exit(code)})", bool(verdict)

    def _mourn(self, cause: str, *, asked: bool) -> None:
        """End the jobs of the dead engine; wait for a restart by hand if it died too often."""
        if not asked:
            self._deaths.append(time.monotonic())
        given_up = self._given_up()
        sentence = (
            f"{cause}; it stopped too often: {_REMEDY}." if given_up else f"{cause}; it is starting again."
        )
        self._status = EngineStatus("gone", reason=sentence)
        self._tell(StatusEvent(self._status))
        self._end_jobs(sentence)
        while given_up and not self._revive.wait(_POLL):
            self._end_jobs(sentence)

    def _given_up(self) -> bool:
        deaths = self._deaths
        return len(deaths) == self._max_deaths and time.monotonic() - deaths[0] < self._death_window

    def _end_jobs(self, sentence: str) -> None:
        with self._lock:
            jobs, self._jobs = self._jobs, {}
            self._outbox = SimpleQueue()
        for job, cancelled in jobs.items():
            if cancelled is None:
                self._tell(Failed(job, ErrorReport("EngineError", sentence)))
            else:
                self._tell(Stopped(job))

    def _forget_orders(self) -> None:
        with self._lock:
            self._verdict = ""
            self._kill_wanted.clear()
            self._revive.clear()

    def _tell(self, event: EngineEvent) -> None:
        if not self._closing.is_set():
            self._on_event(event)

    # --- the writing thread ----------------------------------------------------------------------------
    def _write(self, wire: Wire, outbox: _Outbox) -> None:
        while (item := outbox.get()) is not None:
            job, message = item
            try:
                wire.send(job, message)
            except OSError:
                return  # the child is dead; the supervising thread ends its jobs
            except Exception as error:  # noqa: BLE001 - pickling runs code of any value
                self._take(job, Failed(job, faults.report(error, "sending a request")))


def _first_line(error: BaseException) -> str:
    """What a notice has room for; the log has the whole."""
    return next((line.strip() for line in str(error).splitlines() if line.strip()), type(error).__name__)
