"""Which panel stands in the middle of the window: the viewer, or one of those that take its place."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

from mmviewer.gui.docks import Docks
from mmviewer.gui.workbench import Workbench


class Middle:
    """Lets one panel at a time stand in place of the viewer.

    Parameters
    ----------
    bench : Workbench
    docks : Docks
    changed : callable
        Called after another panel took the place.
    """

    def __init__(self, bench: Workbench, docks: Docks, changed: Callable[[], None]) -> None:
        self._docks = docks
        self._changed = changed
        self._leave: dict[str, Callable[[], None]] = {
            "compare": bench.compare.close,
            "twin": bench.twin.close,
            "map": partial(bench.collections.show, False),
        }
        bench.compare.opened.connect(partial(self._show, "compare"))
        bench.twin.opened.connect(partial(self._show, "twin"))
        bench.collections.shown.connect(partial(self._show, "map"))

    def clear(self) -> None:
        """Give the place back to the viewer, and their rooms to the docks that made way."""
        for leave in self._leave.values():
            leave()

    def _show(self, key: str, opened: bool) -> None:
        """Show a panel in place of the viewer and of what else stood there, or the viewer again."""
        if opened:
            for other, leave in self._leave.items():
                if other != key:
                    leave()
        self._docks.show_centre(key if opened else "viewer")
        self._docks.bring(key if opened else "viewer")
        self._changed()
