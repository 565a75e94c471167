"""Measured inside the application itself, in a process of its own; prints one JSON object.

``python app_probe.py bare`` opens an empty Qt window; ``window`` opens mmviewer; ``stall`` also loads the
starter, captions the samples and reports the longest time in which the event loop did not turn.
"""

from __future__ import annotations

import json
import os
import sys
import time

from PySide6.QtCore import QElapsedTimer, QTimer
from PySide6.QtTest import QTest
from PySide6.QtWidgets import QApplication, QWidget

TICK_MS = 2
PATIENCE = 120.0


class Stall:
    """The longest pause between turns of the event loop, beyond the timer's own interval."""

    def __init__(self) -> None:
        self.longest = 0.0
        self._clock = QElapsedTimer()
        self._timer = QTimer(interval=TICK_MS)
        self._timer.timeout.connect(self._tick)
        self._clock.start()
        self._timer.start()

    def _tick(self) -> None:
        self.longest = max(self.longest, self._clock.nsecsElapsed() / 1e6 - TICK_MS)
        self._clock.restart()


def seconds_since_start() -> float:
    """Wall-clock seconds since the caller, who gives the moment in STARTED, made this process."""
    return time.time() - float(os.environ["STARTED"])


def bare() -> dict[str, float]:
    """An empty window."""
    qt = QApplication([])
    window = QWidget()
    window.show()
    QTest.qWaitForWindowExposed(window)
    qt.processEvents()
    return {"seconds": seconds_since_start()}


def application(*, work: bool) -> dict[str, float]:
    """The real application, alone or at work."""
    from mmviewer.gui.app import App

    qt = QApplication([])
    app = App(qt)
    app.start([], samples=work)
    QTest.qWaitForWindowExposed(app.window)
    qt.processEvents()
    result = {"seconds": seconds_since_start()}
    if work:
        stall, state = Stall(), app.bench.state
        until = time.monotonic() + PATIENCE
        seen = 0
        while seen < 4 and time.monotonic() < until:
            QTest.qWait(50)
            if state.maps is None or state.current is None or state.maps.media_id != state.current.id:
                continue
            seen += 1
            app.bench.choose(state.items[seen % len(state.items)].id)
        result |= {"stall_ms": stall.longest, "items": seen}
    app.close()
    return result


if __name__ == "__main__":
    kind = sys.argv[1]
    print(json.dumps(bare() if kind == "bare" else application(work=kind == "stall")))
