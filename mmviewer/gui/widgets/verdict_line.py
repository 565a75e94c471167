"""A sentence with a dot before it that says how it is meant."""

from __future__ import annotations

from PySide6.QtCore import QPointF
from PySide6.QtGui import QPainter, QPaintEvent
from PySide6.QtWidgets import QHBoxLayout, QSizePolicy, QWidget

from mmviewer.gui.widgets.trust_badge import Level, paint_dot
from mmviewer.gui.widgets.wrapped_label import WrappedLabel


class VerdictLine(QWidget):
    """Wraps; hidden while it has nothing to say."""

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._level = Level.WAITING
        self.text = WrappedLabel()
        self.text.setSizePolicy(QSizePolicy.Policy.Expanding, QSizePolicy.Policy.Minimum)
        row = QHBoxLayout(self)
        row.setContentsMargins(20, 0, 0, 0)
        row.addWidget(self.text)
        self.hide()

    def say(self, sentence: str, level: Level) -> None:
        """Say something else; nothing hides it."""
        self._level = level
        self.text.setText(sentence)
        self.setAccessibleName(sentence)
        self.setVisible(bool(sentence))
        self.update()

    def paintEvent(self, event: QPaintEvent) -> None:
        with QPainter(self) as painter:
            painter.setRenderHint(QPainter.RenderHint.Antialiasing)
            middle = QPointF(8, self.fontMetrics().height() / 2 + 1)
            paint_dot(painter, middle, self._level, self.palette())
