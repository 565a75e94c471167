"""What a model could have written in place of a token: bars to choose from with one click."""

from __future__ import annotations

from PySide6.QtCore import Qt, Signal
from PySide6.QtGui import QKeyEvent, QMouseEvent
from PySide6.QtWidgets import QWidget

from mmviewer.gui.widgets.score_bars import ScoreBars


class Alternatives(ScoreBars):
    """Bars of the likeliest tokens; a click or Enter on another one than the written one wants it."""

    wanted = Signal(int)
    """Row that was clicked."""

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._written = -1
        self._takes_clicks = False
        self.viewport().setMouseTracking(True)
        self.setAccessibleName("Most likely tokens at this place")

    def offer(self, written: int, *, takes_clicks: bool) -> None:
        """Say which row is the token that was written, and whether another can be chosen."""
        self._written, self._takes_clicks = written, takes_clicks
        self.viewport().unsetCursor()

    def can_take(self, row: int) -> bool:
        """Whether a row can be chosen."""
        return self._takes_clicks and 0 <= row < len(self.rows()) and row != self._written

    def tooltip(self, row: int) -> str:
        """What the tooltip of a row says."""
        if row == self._written:
            return f"{super().tooltip(row)}\nthis is what was written"
        what = "\nclick to write on from this token; the way back stays open" if self.can_take(row) else ""
        return f"{super().tooltip(row)}{what}"

    def mouseMoveEvent(self, event: QMouseEvent) -> None:
        """Show what can be clicked."""
        can = self.can_take(self.row_at(event.position().toPoint()))
        self.viewport().setCursor(Qt.CursorShape.PointingHandCursor if can else Qt.CursorShape.ArrowCursor)

    def mouseReleaseEvent(self, event: QMouseEvent) -> None:
        """Want the row under the pointer."""
        if event.button() == Qt.MouseButton.LeftButton:
            self._want(self.row_at(event.position().toPoint()))

    def mouseDoubleClickEvent(self, event: QMouseEvent) -> None:
        """The first click has done it."""
        event.accept()

    def keyPressEvent(self, event: QKeyEvent) -> None:
        """Want the row that the keyboard is on."""
        if event.key() in (Qt.Key.Key_Return, Qt.Key.Key_Enter):
            self._want(self.current_row)
        else:
            super().keyPressEvent(event)

    def _want(self, row: int) -> None:
        if self.can_take(row):
            self.wanted.emit(row)
