"""What a panel is: one question, one file in this folder, found by scanning it.

A panel reads the session state, asks the workbench to do things, and shows its own state (empty, waiting,
done, failed) through a `StateStack`. It starts no thread and knows no other panel.
"""

from __future__ import annotations

from collections.abc import Callable
from enum import StrEnum
from typing import Any, ClassVar

from psygnal import SignalInstance
from PySide6.QtWidgets import QWidget

from mmviewer.core.registry import Registry
from mmviewer.core.session.state import SessionState
from mmviewer.gui.workbench import Workbench


class Area(StrEnum):
    """Where a panel lies before the user moves it."""

    CENTRE = "centre"
    LEFT = "left"
    RIGHT = "right"
    BELOW = "below"  # under the centre, between left and right
    BOTTOM = "bottom"


class Panel(QWidget):
    """Root of all panels.

    Subclasses set the class attributes, register with ``@PANELS.add(key)`` and build their widgets in
    ``__init__(workbench, parent)`` after calling this one.

    Attributes
    ----------
    key : str
        Stable name; remembers geometry in the settings.
    title : str
        Shown on the tab or title bar.
    area : Area
    order : int
        Position among the panels of the same area, small first.
    icon : str
        Name of a picture in ``resources/icons`` without its ending.
    help : str
        One sentence on what the panel answers, shown as tooltip.
    help_page : str
        Key of the help page that Shift+F1 opens while the panel is in use; empty for the first page.
    """

    title_row: QWidget | None = None
    """Shown in the dock's title bar in place of the title, where the panel has more to say there."""

    key: ClassVar[str]
    title: ClassVar[str]
    area: ClassVar[Area] = Area.RIGHT
    order: ClassVar[int] = 100
    icon: ClassVar[str] = ""
    help: ClassVar[str] = ""
    help_page: ClassVar[str] = ""

    def __init__(self, workbench: Workbench, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.workbench = workbench
        self.state: SessionState = workbench.state
        self._watched: list[tuple[SignalInstance, Callable[..., Any]]] = []
        self.setObjectName(f"panel-{self.key}")
        self.setAccessibleName(self.title)
        self.setAccessibleDescription(self.help)

    def watch(self, signal: SignalInstance, slot: Callable[..., Any]) -> None:
        """Call `slot` on a signal of the state until the panel is closed for good (`release`)."""
        signal.connect(slot)
        self._watched.append((signal, slot))

    def release(self) -> None:
        """Let go of the state and of anything that outlives the widget; the window calls it before the end.

        A panel with more to end (playback) extends this and calls it.
        """
        for signal, slot in self._watched:
            signal.disconnect(slot, missing_ok=True)
        self._watched.clear()


PANELS: Registry[type[Panel]] = Registry("panel", "mmviewer.gui.panels")


def panels_in_order() -> list[type[Panel]]:
    """All panels, sorted by area and order."""
    return sorted(PANELS, key=lambda panel: (panel.area, panel.order, panel.key))
