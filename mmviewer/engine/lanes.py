"""Lanes: worker threads that run jobs one after the other, so that a picture never waits for a model."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from threading import Condition, Event, Thread
from typing import Any

from mmviewer.engine.wire import NO_JOB


@dataclass(slots=True, eq=False)
class Task:
    """A job on its way through a lane."""

    job: int
    request: Any
    lane: str
    cancelled: Event = field(default_factory=Event)


class Lane:
    """One worker thread and its queue.

    Parameters
    ----------
    name : str
        Also names the thread in stack dumps.
    run : callable
        Receives each task in order; must not raise.
    """

    def __init__(self, name: str, run: Callable[[Task], None]) -> None:
        self.name = name
        self._run = run
        self._queue: deque[Task] = deque()
        self._changed = Condition()
        self._running: Task | None = None
        self._thread = Thread(target=self._work, name=f"lane {name}", daemon=True)
        self._thread.start()

    @property
    def busy(self) -> bool:
        """Whether a client's task runs or waits; what the server does for itself is not shown."""
        with self._changed:
            tasks = [*self._queue, *([self._running] if self._running else [])]
            return any(task.job != NO_JOB for task in tasks)

    def put(self, task: Task) -> None:
        """Queue a task behind the others."""
        with self._changed:
            self._queue.append(task)
            self._changed.notify()

    def withdraw(self, task: Task) -> bool:
        """Take a task back that has not begun; False if it runs or is done."""
        with self._changed:
            try:
                self._queue.remove(task)
            except ValueError:
                return False
            return True

    def _work(self) -> None:
        while True:
            with self._changed:
                self._running = None
                self._changed.wait_for(lambda: bool(self._queue))
                self._running = self._queue.popleft()
            self._run(self._running)
