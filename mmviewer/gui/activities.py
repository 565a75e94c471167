"""Work under way, by what it is for, so that a panel can show its own waiting and failed state.

An activity has a key: a newer run with the same key replaces the older. Work that was cut off because the
engine died is kept and run again once when a new engine is there.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from PySide6.QtCore import QObject, Signal

if TYPE_CHECKING:
    from mmviewer.engine.protocol import EngineStatus, ErrorReport, ProgressEvent, Request
    from mmviewer.gui.jobs import Job, Jobs


@dataclass(frozen=True, slots=True)
class Activity:
    """What is known of the work for one purpose.

    Parameters
    ----------
    label : str
        What is being done, for people: "Captioning rabbit.png".
    running : bool
    fraction : float or None
        How far, 0..1; None while unknown.
    message : str
        The step that runs, from the engine.
    error : ErrorReport or None
        Why the last run failed.
    visible : bool
        Whether the status bar names it; work that answers at once would only flicker there.
    """

    label: str = ""
    running: bool = False
    fraction: float | None = None
    message: str = ""
    error: ErrorReport | None = None
    visible: bool = True


IDLE = Activity()


@dataclass(slots=True, eq=False)
class _Run:
    """One run of an activity: enough to start it again."""

    key: str
    activity: Activity
    request: Request
    done: Callable[[Any], None]
    partial: Callable[[Any], None] | None
    failed: Callable[[ErrorReport], None] | None
    job: Job | None = None
    retried: bool = False


class Activities(QObject):
    """Runs requests as activities over the job facade."""

    changed = Signal(str, object)
    """Key and `Activity`."""

    def __init__(self, jobs: Jobs, parent: QObject | None = None) -> None:
        super().__init__(parent)
        self._jobs = jobs
        self._activities: dict[str, Activity] = {}
        self._runs: dict[str, _Run] = {}
        self._interrupted: dict[str, _Run] = {}
        self._engine_gone = False
        jobs.status_changed.connect(self._on_status)

    def get(self, key: str) -> Activity:
        """The activity called `key`; idle if it never ran."""
        return self._activities.get(key, IDLE)

    def running(self) -> dict[str, Activity]:
        """What runs now, oldest first."""
        return {key: activity for key, activity in self._activities.items() if activity.running}

    def run(
        self,
        key: str,
        label: str,
        request: Request,
        done: Callable[[Any], None],
        *,
        partial: Callable[[Any], None] | None = None,
        failed: Callable[[ErrorReport], None] | None = None,
        visible: bool = True,
    ) -> None:
        """Run `request`; a run with the same key that has not ended is cancelled and silenced."""
        self._interrupted.pop(key, None)
        activity = Activity(label=label, running=True, visible=visible)
        self._start(_Run(key, activity, request, done, partial, failed))

    def cancel(self, key: str) -> None:
        """Stop the run called `key`, if any; its callbacks are not called any more."""
        run = self._runs.pop(key, None) or self._interrupted.pop(key, None)
        if run is None:
            return
        if run.job is not None:
            run.job.cancel()
        self._set(key, IDLE)

    def clear_error(self, key: str) -> None:
        """Forget why the last run failed."""
        if self.get(key).error is not None:
            self._set(key, IDLE)

    def resume(self, prepare: Callable[[], None]) -> None:
        """Go on with a new engine: `prepare` it, then start what the death of the old one cut off.

        What was handed to the new engine before it was prepared is started again as well.
        """
        unfinished = {**self._interrupted, **self._runs}
        self._interrupted, self._runs = {}, {}
        for run in unfinished.values():
            if run.job is not None:
                run.job.cancel()
        prepare()
        for key, run in unfinished.items():
            if key not in self._runs:
                self._start(run)

    def _start(self, run: _Run) -> None:
        self._activities.pop(run.key, None)  # the newest run comes last in `running`
        self._set(run.key, run.activity)
        if self._engine_gone:
            self._hold(run)
            return
        self._runs[run.key] = run
        run.job = self._jobs.run(
            run.request,
            done=lambda value: self._on_done(run, value),
            failed=lambda error: self._on_failed(run, error),
            partial=run.partial,
            progress=lambda event: self._on_progress(run, event),
            owner=self,
            key=run.key,
        )

    def _on_done(self, run: _Run, value: Any) -> None:
        if self._ends(run):
            self._set(run.key, IDLE)
            run.done(value)

    def _on_failed(self, run: _Run, error: ErrorReport) -> None:
        if not self._ends(run):
            return
        if self._engine_gone and not run.retried:  # the job failed because the engine died
            run.retried = True
            self._hold(run)
            return
        self._set(run.key, replace(run.activity, running=False, error=error))
        if run.failed is not None:
            run.failed(error)

    def _hold(self, run: _Run) -> None:
        self._interrupted[run.key] = run
        self._set(run.key, replace(run.activity, fraction=None, message="waiting for the engine"))

    def _on_status(self, status: EngineStatus) -> None:
        """The engine tells of its death before its jobs fail, and of its rebirth after."""
        self._engine_gone = status.phase == "gone"

    def _on_progress(self, run: _Run, event: ProgressEvent) -> None:
        if self._runs.get(run.key) is run:
            fraction = min(event.done / event.total, 1.0) if event.total else None
            self._set(run.key, replace(run.activity, fraction=fraction, message=event.message))

    def _ends(self, run: _Run) -> bool:
        """Forget `run`; False when a newer one took its place."""
        if self._runs.get(run.key) is not run:
            return False
        del self._runs[run.key]
        return True

    def _set(self, key: str, activity: Activity) -> None:
        if self._activities.get(key, IDLE) != activity:
            self._activities[key] = activity
            self.changed.emit(key, activity)
