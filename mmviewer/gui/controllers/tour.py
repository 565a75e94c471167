"""Leads through the guided tour: places the bubble, notices what the user did, and leaves no trace."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from PySide6.QtCore import QObject, QPoint, QRect, Qt, QTimer, Signal
from PySide6.QtGui import QKeySequence, QShortcut

from mmviewer.core.types import Modality
from mmviewer.gui.tour_steps import STEPS, Step
from mmviewer.gui.widgets.callout import Callout

if TYPE_CHECKING:
    from mmviewer.gui.main_window import MainWindow

_FOLLOW_MS = 150  # how often the bubble looks where its target is: docks are moved and resized
_SAVOUR_MS = 1600  # time to see what one has done, before the next step


class Tour(QObject):
    """One tour through one window, from `start` to `finished`."""

    finished = Signal()

    def __init__(self, window: MainWindow) -> None:
        super().__init__(window)
        self._window = window
        self._state = window.bench.state
        self._at = 0
        self._before: Any = None
        self._watched: Any = None
        self.callout = Callout(window)
        self.callout.advanced.connect(self.forward)
        self.callout.returned.connect(self.backward)
        self.callout.left.connect(self.leave)
        self._escape = QShortcut(QKeySequence(Qt.Key.Key_Escape), window)
        self._escape.activated.connect(self.leave)
        self._follow = QTimer(self, interval=_FOLLOW_MS)
        self._follow.timeout.connect(self._place)
        self._savour = QTimer(self, singleShot=True, interval=_SAVOUR_MS)
        self._savour.timeout.connect(self._go_on)

    @property
    def step(self) -> Step:
        """The step that is shown."""
        return STEPS[self._at]

    def start(self) -> None:
        """Bring something to look at, and show the first step."""
        bench = self._window.bench
        items = self._state.items
        if not items:
            bench.samples.open()
        elif self._state.current is None or self._state.current.media.modality is not Modality.IMAGE:
            picture = next((item for item in items if item.media.modality is Modality.IMAGE), None)
            if picture is not None:
                bench.choose(picture.id)
        self._follow.start()
        self._show(0)
        self.callout.next.setFocus(Qt.FocusReason.OtherFocusReason)

    def forward(self) -> None:
        """Go to the next step that applies; after the last, end."""
        self._move(1)

    def backward(self) -> None:
        """Go to the step before."""
        self._move(-1)

    def leave(self) -> None:
        """End the tour, wherever it is."""
        self._unwatch()
        self._follow.stop()
        self._savour.stop()
        self._escape.setEnabled(False)
        self._escape.deleteLater()
        self.callout.put_away()
        self.finished.emit()
        self.deleteLater()

    # --- steps -----------------------------------------------------------------------------------------
    def _move(self, direction: int) -> None:
        focused = self.callout.isAncestorOf(self._window.focusWidget() or self._window)
        applying = self._applying()
        place = applying.index(self._at) + direction if self._at in applying else 0
        if place >= len(applying):
            self.leave()
            return
        self._show(applying[max(0, place)])
        if focused:
            self.callout.next.setFocus(Qt.FocusReason.OtherFocusReason)

    def _applying(self) -> list[int]:
        return [
            number for number, step in enumerate(STEPS) if step.applies(self._state) or number == self._at
        ]

    def _show(self, number: int) -> None:
        self._unwatch()
        self._savour.stop()
        self._at = number
        step, applying = self.step, self._applying()
        if step.panel and step.panel in self._window.docks.docks:
            dock = self._window.docks.docks[step.panel]
            dock.show()
            dock.raise_()
        self.callout.show_step(step.title, step.text, applying.index(number) + 1, len(applying))
        self._before = step.before(self._state)
        if step.signal:
            self._watched = getattr(self._state, step.signal)
            self._watched.connect(self._on_changed)
        self._place()

    def _on_changed(self, *_values: object) -> None:
        """Go on some time after the user did it for the last time, so that nobody is hurried."""
        if self.step.done(self._state, self._before):
            self.callout.show_done()
            self._savour.start()

    def _go_on(self) -> None:
        if self.step is not STEPS[-1]:
            self.forward()

    def _unwatch(self) -> None:
        if self._watched is not None:
            self._watched.disconnect(self._on_changed, missing_ok=True)
            self._watched = None

    def _place(self) -> None:
        """Point at the target, where it is now."""
        widget = self.step.target(self._window.top_bar, self._window.docks.panels)
        target = None
        if widget is not None and widget.isVisible() and widget.window() is self._window:
            target = QRect(widget.mapTo(self._window, QPoint(0, 0)), widget.size())
        self.callout.point_at(target, self.step.sides)
