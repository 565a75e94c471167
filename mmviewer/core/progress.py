"""Progress and cooperative cancel, one small object passed into long work."""

from __future__ import annotations

from collections.abc import Callable
from threading import Event

from mmviewer.core.errors import Cancelled

ReportFunction = Callable[[float, float | None, str], None]


class Progress:
    """Reports steps of long work and tells it when to stop.

    Parameters
    ----------
    report : callable, optional
        Receives ``(done, total, message)``; `total` is None while unknown.
    cancelled : threading.Event, optional
        Set by whoever wants the work to stop.
    """

    def __init__(self, report: ReportFunction | None = None, cancelled: Event | None = None) -> None:
        self._report = report
        self._cancelled = cancelled

    def report(self, done: float, total: float | None = None, message: str = "") -> None:
        """Tell how far the work is, then `check` for a cancel."""
        if self._report is not None:
            self._report(done, total, message)
        self.check()

    def check(self) -> None:
        """Raise `Cancelled` if the work shall stop."""
        if self._cancelled is not None and self._cancelled.is_set():
            raise Cancelled


SILENT = Progress()
"""A `Progress` that reports to nobody and is never cancelled."""
