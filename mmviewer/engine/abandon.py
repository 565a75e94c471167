"""Leaving work alone that looks at its cancel too rarely: decoding, loading, numba's compiler."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Future, wait
from threading import Thread
from typing import TypeVar

from mmviewer.core.progress import Progress

_POLL = 0.05  # seconds between looks at a cancel
T = TypeVar("T")


def abandonable(work: Callable[[], T], progress: Progress) -> T:
    """Run `work` in a thread of its own and return its value; raise `Cancelled` soon after a cancel.

    Abandoned work goes on until it looks at its cancel or ends, and its value is dropped: better than to end
    the engine, and every loaded model with it, because one library cannot be interrupted.
    """
    outcome: Future[T] = Future()

    def run() -> None:
        try:
            outcome.set_result(work())
        except BaseException as error:  # noqa: BLE001 - carried over to the waiting thread
            outcome.set_exception(error)

    Thread(target=run, name="abandonable", daemon=True).start()
    while not wait([outcome], timeout=_POLL).done:
        progress.check()
    return outcome.result()
