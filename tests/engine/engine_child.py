"""Children for the tests of the client: a real server with a few requests of its own."""

from __future__ import annotations

import os
import signal
import sys
import time
from dataclasses import dataclass
from multiprocessing.connection import Connection
from threading import Event
from types import MappingProxyType
from typing import Any

from mmviewer.core.errors import MediaError
from mmviewer.engine import child, server
from mmviewer.engine.ending import leave
from mmviewer.engine.protocol import EngineStatus, Request
from mmviewer.engine.routes import Call, Route
from mmviewer.engine.server import Server


@dataclass(frozen=True, slots=True)
class Count(Request):
    """Count to `steps`, one partial value a step. Done: the sum."""

    steps: int
    pause: float = 0.0


@dataclass(frozen=True, slots=True)
class Echo(Request):
    """Done: the value."""

    value: Any


@dataclass(frozen=True, slots=True)
class Sleep(Request):
    """Ignore every cancel for `seconds`."""

    seconds: float


@dataclass(frozen=True, slots=True)
class Late(Request):
    """Done: whether the warm-up was over when it ran."""


@dataclass(frozen=True, slots=True)
class Raise(Request):
    """Fail in the way named."""

    kind: str


@dataclass(frozen=True, slots=True)
class Greedy(Request):
    """Run out of memory `failures` times, then answer how often it was asked. Done: number of tries."""

    failures: int


@dataclass(frozen=True, slots=True)
class Die(Request):
    """End the process by a signal."""

    signal: int


@dataclass(frozen=True, slots=True)
class Drawn(Request):
    """Done: whether the first figure has been prepared."""


@dataclass(frozen=True, slots=True)
class Unanswerable(Request):
    """Done: a value that cannot be pickled."""


@dataclass(frozen=True, slots=True)
class Lost(Request):
    """Has no route."""


class Hostile(Request):
    """Cannot be unpickled."""

    def __reduce__(self) -> Any:
        return _explode, ()


class Unsendable(Request):
    """Cannot be pickled."""

    def __reduce__(self) -> Any:
        raise TypeError("no")


def _explode() -> None:
    raise ValueError("unpickled")


def count(request: Count, call: Call) -> int:
    for step in range(request.steps):
        call.progress.report(step, request.steps, f"step {step}")
        call.partial(step)
        time.sleep(request.pause)
    return sum(range(request.steps))


def echo(request: Echo, call: Call) -> Any:
    return request.value


def sleep(request: Sleep, call: Call) -> None:
    time.sleep(request.seconds)


def late(request: Late, call: Call) -> bool:
    return _warm.is_set()


def fail(request: Raise, call: Call) -> None:
    if request.kind == "media":
        raise MediaError("cat.jpg is broken; copy it again.") from OSError("truncated")
    if request.kind == "assert":
        raise RuntimeError("CUDA error: device-side assert triggered")
    if request.kind == "exit":
        sys.exit(3)
    raise KeyError(request.kind)


_warm = Event()
_tries = {"greedy": 0}


def greedy(request: Greedy, call: Call) -> int:
    _tries["greedy"] += 1
    if _tries["greedy"] <= request.failures:
        raise RuntimeError("[enforce fail at alloc_cpu.cpp] DefaultCPUAllocator: can't allocate memory")
    return _tries["greedy"]


def die(request: Die, call: Call) -> None:
    os.kill(os.getpid(), request.signal)
    time.sleep(60)


def unanswerable(request: Unanswerable, call: Call) -> Any:
    return lambda: None


def slow_warm_up(request: None, call: Call) -> EngineStatus:
    time.sleep(1.0)
    _warm.set()
    return EngineStatus("ready", device="cpu", dtype="float32", reason="because", versions=(("torch", "2"),))


_drawn = Event()


def first_figure(request: None, call: Call) -> None:
    time.sleep(0.7)  # longer than the time between two looks at the phase
    _drawn.set()


def drawn(request: Drawn, call: Call) -> bool:
    return _drawn.is_set()


_HERE = __name__

ROUTES = MappingProxyType(
    {
        Count: Route("media", f"{_HERE}:count", "counting"),
        Echo: Route("media", f"{_HERE}:echo", "echoing"),
        Late: Route("plane", f"{_HERE}:late", "being late"),
        Sleep: Route("model", f"{_HERE}:sleep", "sleeping"),
        Raise: Route("media", f"{_HERE}:fail", "failing"),
        Greedy: Route("media", f"{_HERE}:greedy", "eating", retry=True),
        Die: Route("media", f"{_HERE}:die", "dying"),
        Drawn: Route("media", f"{_HERE}:drawn", "looking"),
        Unanswerable: Route("media", f"{_HERE}:unanswerable", "answering"),
    }
)


def quick(connection: Connection, log_path: str) -> None:
    """A server that is ready at once."""
    child.prepare(log_path)
    Server(connection, ROUTES, warm_up=None, first_figure=None).serve()
    leave()


def idle(connection: Connection, log_path: str) -> None:
    """A server that prepares the first figure when it has nothing to do."""
    child.prepare(log_path)
    server._QUIET_LOOKS = 1
    Server(connection, ROUTES, None, Route("figure", f"{_HERE}:first_figure", "preparing")).serve()
    leave()


def slow(connection: Connection, log_path: str) -> None:
    """A server whose model lane takes a second to warm up."""
    child.prepare(log_path)
    Server(connection, ROUTES, Route("model", f"{_HERE}:slow_warm_up", "warming up"), None).serve()
    leave()


def stillborn(connection: Connection, log_path: str) -> None:
    """Dies at once."""
    os.kill(os.getpid(), signal.SIGSEGV)
