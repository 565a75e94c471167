"""A client of a real engine process, and what it heard."""

from __future__ import annotations

import time
from collections.abc import Callable
from threading import Condition
from typing import Any

from mmviewer.engine.client import EngineClient
from mmviewer.engine.protocol import Done, EngineStatus, Failed, Request, StatusEvent, Stopped


class Listener:
    """Keeps events and waits for those a test wants."""

    def __init__(self) -> None:
        self.events: list[Any] = []
        self._heard = Condition()

    def __call__(self, event: Any) -> None:
        with self._heard:
            self.events.append(event)
            self._heard.notify_all()

    def wait(self, wanted: Callable[[Any], bool], timeout: float = 30.0, after: int = 0) -> Any:
        """The first wanted event past the first `after` ones; fails the test when none comes in time."""
        deadline = time.monotonic() + timeout
        with self._heard:
            while True:
                found = next((event for event in self.events[after:] if wanted(event)), None)
                if found is not None:
                    return found
                if not self._heard.wait(deadline - time.monotonic()):
                    raise AssertionError(f"waited {timeout} s in vain; heard {self._summary()}")

    def _summary(self) -> str:
        return ", ".join(
            f"{type(event).__name__} {getattr(event, 'job', event)}" for event in self.events[-30:]
        )

    def end(self, job: int, timeout: float = 30.0) -> Any:
        """How a job ended."""
        ends = (Done, Failed, Stopped)
        return self.wait(lambda event: isinstance(event, ends) and event.job == job, timeout)

    def phase(self, phase: str, after: int = 0) -> EngineStatus:
        """The first status of a phase."""
        event = self.wait(lambda e: isinstance(e, StatusEvent) and e.status.phase == phase, after=after)
        return event.status

    def of(self, job: int, kind: type) -> list[Any]:
        """All events of a kind that a job sent."""
        return [event for event in self.events if isinstance(event, kind) and event.job == job]


class Engine:
    """A client, its listener, and short ways to use them."""

    def __init__(self, **options: Any) -> None:
        self.heard = Listener()
        self.client = EngineClient(self.heard, **options)
        self.client.start()

    def ask(self, request: Request, timeout: float = 30.0) -> Any:
        """How a request ended."""
        return self.heard.end(self.client.submit(request), timeout)

    def settle(self, phase: str, timeout: float = 30.0) -> None:
        """Wait until a phase is told as the last one, which is some time after it began."""
        deadline = time.monotonic() + timeout
        while self.client.status.phase != phase:
            assert time.monotonic() < deadline, f"waited {timeout} s in vain for {phase}"
            time.sleep(0.02)
