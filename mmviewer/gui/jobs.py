"""Background work of the window: hand a request to the engine, be called back in the window's thread.

The only threading code of the GUI. A callback is never called from within `run`, never after its owner is
gone, never with a stale answer, and never for a cancelled job.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import shiboken6
from PySide6.QtCore import QObject, Qt, Signal, Slot

from mmviewer.engine import protocol as ask
from mmviewer.engine.client import EngineClient, EngineEvent
from mmviewer.engine.protocol import (
    Done,
    EngineStatus,
    ErrorReport,
    Failed,
    PartialResult,
    ProgressEvent,
    Request,
    StatusEvent,
)

_LABELS: dict[type[Request], str] = {
    ask.OpenMedia: "Opening files",
    ask.OpenText: "Taking the text in",
    ask.Spectrogram: "Computing the spectrogram",
    ask.ListModels: "Looking for models",
    ask.LoadModel: "Loading the model",
    ask.UnloadModel: "Unloading the model",
    ask.Generate: "Generating",
    ask.Tokenize: "Reading the query",
    ask.Explain: "Computing maps",
    ask.MeasureMap: "Measuring the map",
    ask.CompareMethods: "Comparing methods",
    ask.CheckRandomised: "Shuffling the model's weights",
    ask.ExploreHeads: "Computing the maps of all heads",
    ask.Classify: "Scoring labels",
    ask.Embed: "Embedding",
    ask.Project: "Placing items in the plane",
    ask.RenderFigure: "Drawing the figure",
}


@dataclass(eq=False)
class Job:
    """A request on its way; made by `Jobs.run`.

    Parameters
    ----------
    id : int
        The engine's number of it.
    label : str
        What it does, for the status bar.
    active : bool
        False once it ended, was cancelled, or was replaced by a newer job of the same key.
    """

    id: int
    label: str
    request: Request
    key: str | None
    done: Callable[[Any], None] | None
    failed: Callable[[ErrorReport], None] | None
    partial: Callable[[Any], None] | None
    progress: Callable[[ProgressEvent], None] | None
    owner: QObject | None
    _jobs: Jobs = field(repr=False)
    active: bool = True

    def cancel(self) -> None:
        """Stop the work and call nobody back; harmless when it has ended."""
        self._jobs.cancel(self)


class Jobs(QObject):
    """Runs requests in the engine.

    Signals
    -------
    status_changed (EngineStatus)
        The engine started, warmed up, is busy, died, or its memory changed.
    job_started, job_ended (Job)
        For the status bar; a cancelled job ends at once.
    job_progressed (Job, ProgressEvent)
    error (ErrorReport)
        A job without a `failed` callback failed.
    """

    status_changed = Signal(object)
    job_started = Signal(object)
    job_ended = Signal(object)
    job_progressed = Signal(object, object)
    error = Signal(object)
    _event = Signal(object)

    def __init__(
        self,
        parent: QObject | None = None,
        *,
        make_client: Callable[[Callable[[EngineEvent], None]], EngineClient] = EngineClient,
    ) -> None:
        super().__init__(parent)
        self._event.connect(self._dispatch, Qt.ConnectionType.QueuedConnection)
        self._client = make_client(self._event.emit)
        self._running: dict[int, Job] = {}
        self._newest: dict[str, Job] = {}

    # --- the engine ----------------------------------------------------------------------------------
    @property
    def status(self) -> EngineStatus:
        """The engine's last status."""
        return self._client.status

    def start(self) -> None:
        """Start the engine in the background."""
        self._client.start()

    def restart_engine(self) -> None:
        """End the engine and start a new one; running jobs fail with a sentence."""
        self._client.restart()

    def close(self) -> None:
        """Cancel all and end the engine; waits a few seconds at most."""
        for job in self.running:
            job.cancel()
        self._client.close()

    # --- jobs -----------------------------------------------------------------------------------------
    @property
    def running(self) -> tuple[Job, ...]:
        """Active jobs, oldest first."""
        return tuple(self._running.values())

    def run(
        self,
        request: Request,
        *,
        done: Callable[[Any], None] | None = None,
        failed: Callable[[ErrorReport], None] | None = None,
        partial: Callable[[Any], None] | None = None,
        progress: Callable[[ProgressEvent], None] | None = None,
        owner: QObject | None = None,
        key: str | None = None,
        label: str = "",
    ) -> Job:
        """Start `request`; callbacks come later, in this thread.

        Parameters
        ----------
        done, failed, partial, progress : callable, optional
            Receive the value, the `ErrorReport`, each partial value, each `ProgressEvent`. Without `failed`
            the signal `error` tells of a failure.
        owner : QObject, optional
            No callback comes after it was destroyed.
        key : str, optional
            A newer job with the same key cancels this one.
        label : str, optional
            What the status bar shows; by default after the kind of the request.
        """
        older = self._newest.get(key) if key is not None else None
        if older is not None:
            older.cancel()
        label = label or _LABELS.get(type(request), type(request).__name__)
        number = self._client.submit(request)
        job = Job(number, label, request, key, done, failed, partial, progress, owner, self)
        self._running[number] = job
        if key is not None:
            self._newest[key] = job
        self.job_started.emit(job)
        return job

    def cancel(self, job: Job) -> None:
        """Stop a job and silence it; the same as ``job.cancel()``."""
        if job.active:
            self._client.cancel(job.id)
            self._end(job)

    # --- events, in the window's thread ---------------------------------------------------------------
    @Slot(object)
    def _dispatch(self, event: EngineEvent) -> None:
        if isinstance(event, StatusEvent):
            self.status_changed.emit(event.status)
            return
        job = self._running.get(event.job)
        if job is None:  # cancelled, replaced or already ended
            return
        match event:
            case ProgressEvent():
                self.job_progressed.emit(job, event)
                _call(job, job.progress, event)
            case PartialResult(value=value):
                _call(job, job.partial, value)
            case Done(value=value):
                self._end(job)
                _call(job, job.done, value)
            case Failed(error=report):
                self._end(job)
                if job.failed is None:
                    self.error.emit(report)
                else:
                    _call(job, job.failed, report)
            case _:
                self._end(job)

    def _end(self, job: Job) -> None:
        job.active = False
        self._running.pop(job.id, None)
        if job.key is not None and self._newest.get(job.key) is job:
            del self._newest[job.key]
        self.job_ended.emit(job)


def _call(job: Job, callback: Callable[[Any], None] | None, value: Any) -> None:
    if callback is not None and (job.owner is None or shiboken6.isValid(job.owner)):
        callback(value)
