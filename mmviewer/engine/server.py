"""The engine process: reads requests, runs them in lanes, sends answers.

Nothing here imports torch; the model lane does so first of all, while the media lane already answers.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Mapping
from dataclasses import replace
from functools import partial
from multiprocessing.connection import Connection
from threading import Event, Lock, Thread
from typing import Any

from mmviewer.core.errors import Cancelled, InputError, out_of_memory
from mmviewer.core.progress import Progress, ReportFunction
from mmviewer.engine import faults
from mmviewer.engine.ending import leave
from mmviewer.engine.idle import idle_seconds
from mmviewer.engine.lanes import Lane, Task
from mmviewer.engine.protocol import (
    Cancel,
    Done,
    EngineStatus,
    Envelope,
    Failed,
    PartialResult,
    Ping,
    ProgressEvent,
    Request,
    Shutdown,
    StatusEvent,
    Stopped,
)
from mmviewer.engine.routes import (
    EARLY_LANES,
    FIGURE_LANE,
    FIRST_FIGURE,
    MODEL_LANE,
    ROUTES,
    WARM_UP,
    WATCH_LANE,
    Call,
    Route,
    lane_of,
)
from mmviewer.engine.status import Monitor
from mmviewer.engine.wire import NO_JOB, Unreadable, Wire
from mmviewer.engine.workspace import Workspace

_log = logging.getLogger(__name__)

_STATUS_PERIOD = 0.5  # seconds between looks at the phase; memory is measured less often, see Monitor
_QUIET_LOOKS = 6  # looks in a row that find nothing to do before the first figure is prepared
_CANCEL_PERIOD = 0.05  # seconds between looks at a cancel while waiting
_PROGRESS_PERIOD = 0.04  # seconds: more reports than a screen can show only cost time


class Server:
    """Answers one client.

    Parameters
    ----------
    connection : Connection
        The child's end of the duplex pipe.
    routes : mapping
        Request type to route.
    warm_up : Route or None
        Run first in the model lane; returns an `EngineStatus` with device, dtype, reason, versions.
    first_figure : Route or None
        Run in the figure lane once there has been nothing to do for a while.
    """

    def __init__(
        self,
        connection: Connection,
        routes: Mapping[type[Request], Route] = ROUTES,
        warm_up: Route | None = WARM_UP,
        first_figure: Route | None = FIRST_FIGURE,
    ) -> None:
        self._wire = Wire(connection)
        self._routes = routes
        self._warm_up = warm_up
        self._first_figure = first_figure
        self._drawn = False
        self._workspace = Workspace()
        self._monitor = Monitor(self._workspace)
        self._lanes: dict[str, Lane] = {}
        self._tasks: dict[int, Task] = {}
        self._lock = Lock()
        self._telling = Lock()
        self._warm = Event()
        self._ended = Event()

    def serve(self) -> None:
        """Read messages until `Shutdown` or the end of the pipe."""
        self._tell_news()
        self._lane(MODEL_LANE).put(Task(NO_JOB, None, MODEL_LANE))
        self._lane(FIGURE_LANE)  # exists before the status thread may use it
        Thread(target=self._watch, name="status", daemon=True).start()
        try:
            while self._receive():
                pass
        except (EOFError, OSError):
            _log.info("the window's process has gone")
        self._ended.set()

    # --- messages in -----------------------------------------------------------------------------------
    def _receive(self) -> bool:
        job, message = self._wire.receive()
        match message:
            case Shutdown():
                return False
            case Cancel(job=number):
                self._cancel(number)
            case Envelope(job=number, request=request):
                self._accept(number, request)
            case Unreadable(cause=cause):
                self._fail(job, cause, "reading a request")
            case _:
                self._fail(job, _unknown(message), "reading a request")
        return True

    def _accept(self, job: int, request: Any) -> None:
        if isinstance(request, Ping):
            self._send(job, Done(job, self._monitor.status(self._phase())))
            return
        route = self._routes.get(type(request))
        if route is None:
            self._fail(job, _unknown(request), "reading a request")
            return
        speech = self._workspace.is_speech(getattr(request, "model_id", ""))
        task = Task(job, request, lane_of(request, route, speech=speech))
        with self._lock:
            self._tasks[job] = task
        self._lane(task.lane).put(task)

    def _cancel(self, job: int) -> None:
        with self._lock:
            task = self._tasks.get(job)
        if task is None:  # it ended while the cancel was on its way
            return
        task.cancelled.set()
        if self._lane(task.lane).withdraw(task):
            self._end(task, Stopped(job))

    def _lane(self, name: str) -> Lane:
        if name not in self._lanes:  # only the reading thread makes lanes
            self._lanes[name] = Lane(name, self._run)
        return self._lanes[name]

    # --- work, in lanes ----------------------------------------------------------------------------------
    def _run(self, task: Task) -> None:
        if task.job == NO_JOB:
            own_work = {MODEL_LANE: self._prepare_models, FIGURE_LANE: self._prepare_figures}
            own_work[task.lane]()
            return
        route = self._routes[type(task.request)]
        try:
            answer: Any = Done(task.job, self._work(task, route))
        except Cancelled:
            answer = Stopped(task.job)
        except BaseException as error:  # noqa: BLE001 - a job may fail in any way; its lane must live on
            if task.cancelled.is_set():
                _log.info("job %d failed after its cancel", task.job, exc_info=error)
                answer = Stopped(task.job)
            else:
                answer = Failed(task.job, self._report(error, route.doing))
            if faults.is_fatal(error):
                self._end(task, answer)
                leave(faults.DEVICE_LOST)
        self._end(task, answer)

    def _work(self, task: Task, route: Route) -> Any:
        progress = Progress(_Throttle(partial(self._send_progress, task.job)), task.cancelled)
        call = Call(self._workspace, progress, partial(self._send_partial, task.job))
        self._await_warm_up(task, progress)
        handler = route.handler()
        progress.check()
        try:
            return handler(task.request, call)
        except Exception as error:
            if not (route.retry and out_of_memory(error)):
                raise
            _log.warning("memory ran out while %s; trying again without caches", route.doing)
        self._workspace.free_caches()  # outside the handler above, whose frame holds tensors
        progress.report(0, None, "Memory ran out; trying again with the caches freed")
        return handler(task.request, call)

    def _await_warm_up(self, task: Task, progress: Progress) -> None:
        """Keep a lane that needs torch from importing it while another does: cyclic imports would break."""
        while task.lane not in EARLY_LANES and not self._warm.wait(_CANCEL_PERIOD):
            progress.check()

    def _prepare_models(self) -> None:
        if self._warm_up is not None:
            try:
                found = self._warm_up.handler()(None, Call(self._workspace, Progress(), lambda value: None))
                self._monitor.adopt(found)
            except Exception as error:  # noqa: BLE001 - a broken torch must not keep pictures from opening
                _log.exception("the warm-up failed")
                self._monitor.adopt(replace(EngineStatus("ready"), reason=f"PyTorch cannot be used: {error}"))
        self._warm.set()
        self._tell_news("ready")

    def _prepare_figures(self) -> None:
        assert self._first_figure is not None
        try:
            self._first_figure.handler()(None, Call(self._workspace, Progress(), lambda value: None))
        except Exception:  # noqa: BLE001 - a broken matplotlib is told when a figure is asked for
            _log.exception("no figure can be drawn")

    # --- messages out ---------------------------------------------------------------------------------
    def _end(self, task: Task, answer: Any) -> None:
        with self._lock:
            if self._tasks.pop(task.job, None) is None:
                return
        self._send(task.job, answer)

    def _fail(self, job: int, error: Exception, doing: str) -> None:
        self._send(job, Failed(job, self._report(error, doing)))

    def _report(self, error: BaseException, doing: str) -> Any:
        _log.info("failed while %s", doing, exc_info=error)
        return faults.report(error, doing)

    def _send_progress(self, job: int, done: float, total: float | None, message: str) -> None:
        if job in self._tasks:  # a library may go on for a while after the end of the job that called it
            self._send(job, ProgressEvent(job, done, total, message))

    def _send_partial(self, job: int, value: Any) -> None:
        self._send(job, PartialResult(job, value))

    def _send(self, job: int, message: Any) -> None:
        try:
            self._wire.send(job, message)
        except OSError:
            self._ended.set()  # the reading thread sees the end of the pipe and leaves
        except Exception as error:  # noqa: BLE001 - pickling runs code of any value
            _log.exception("an answer of job %d cannot be sent", job)
            self._wire.send(job, Failed(job, faults.report(error, "sending an answer")))

    # --- status ---------------------------------------------------------------------------------------
    def _phase(self) -> str:
        if not self._warm.is_set():
            return "warming up"
        lanes = [lane for lane in list(self._lanes.values()) if not lane.name.startswith(WATCH_LANE)]
        return "busy" if any(lane.busy for lane in lanes) else "ready"

    def _watch(self) -> None:
        quiet, idle = 0, idle_seconds()
        while not self._ended.wait(_STATUS_PERIOD):
            self._workspace.rest_idle(idle)
            self._tell_news()
            quiet = quiet + 1 if self._phase() == "ready" else 0
            if quiet == _QUIET_LOOKS and self._first_figure is not None and not self._drawn:
                self._drawn = True
                self._lane(FIGURE_LANE).put(Task(NO_JOB, None, FIGURE_LANE))

    def _tell_news(self, phase: str = "") -> None:
        with self._telling:
            status = self._monitor.news(phase or self._phase())
            if status is not None:
                self._send(NO_JOB, StatusEvent(status))


class _Throttle:
    """Lets progress through at the rate of a screen; the last step and each new message always."""

    def __init__(self, send: ReportFunction) -> None:
        self._send = send
        self._sent_at = 0.0
        self._message = ""

    def __call__(self, done: float, total: float | None, message: str) -> None:
        now = time.monotonic()
        if now - self._sent_at < _PROGRESS_PERIOD and message == self._message and done != total:
            return
        self._sent_at, self._message = now, message
        self._send(done, total, message)


def _unknown(request: Any) -> InputError:
    return InputError(f"The engine knows no request called {type(request).__name__}; restart mmviewer.")
