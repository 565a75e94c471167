"""Questions that were asked, each with its answer: one click shows it again."""

from __future__ import annotations

from collections.abc import Sequence

from PySide6.QtCore import QSignalBlocker, QSize, Qt, Signal
from PySide6.QtGui import QPalette, QResizeEvent
from PySide6.QtWidgets import QHBoxLayout, QListWidget, QListWidgetItem, QPushButton, QVBoxLayout, QWidget

from mmviewer.gui.widgets.elided_label import ElidedLabel, plain_tooltip

_HIGHEST = 150
_PADDING = 10


class TurnList(QWidget):
    """Oldest first; hidden while there are none."""

    chosen = Signal(int)
    """Number of the turn that was clicked."""
    ended = Signal()
    """The conversation shall begin anew."""

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.heading = ElidedLabel("Asked so far", QPalette.ColorRole.PlaceholderText)
        self.end = QPushButton("Begin anew")
        self.end.setProperty("flat-button", True)
        self.end.setMinimumHeight(26)
        self.end.setToolTip("Forget these questions and answers, and show the caption again.")
        self.end.clicked.connect(self.ended)
        self.list = QListWidget()
        self.list.setWordWrap(True)
        self.list.setTextElideMode(Qt.TextElideMode.ElideNone)
        self.list.setHorizontalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAlwaysOff)
        self.list.setVerticalScrollMode(QListWidget.ScrollMode.ScrollPerPixel)
        self.list.setAccessibleName("Questions and answers")
        self.list.setToolTip("Click one to see its tokens and maps again.")
        self.list.itemClicked.connect(lambda item: self.chosen.emit(self.list.row(item)))
        self.list.itemActivated.connect(lambda item: self.chosen.emit(self.list.row(item)))
        head = QHBoxLayout()
        head.addWidget(self.heading, 1)
        head.addWidget(self.end)
        column = QVBoxLayout(self)
        column.setContentsMargins(0, 0, 0, 0)
        column.setSpacing(2)
        column.addLayout(head)
        column.addWidget(self.list)
        self.hide()

    def set_turns(self, turns: Sequence[tuple[str, str]], shown: int, *, remembered: bool) -> None:
        """Show questions with their answers.

        Parameters
        ----------
        turns : sequence of (str, str)
        shown : int
            The turn whose tokens are shown; -1 for none.
        remembered : bool
            Whether the model is told of them.
        """
        told = "The model is told" if remembered else "The model is not told"
        words = "Asked in conversation" if remembered else "Asked, each by itself"
        self.heading.set_text(words, f"{told} of these when you ask further.")
        with QSignalBlocker(self.list):
            self.list.clear()
            for question, answer in turns:
                item = QListWidgetItem(f"{question}\n{answer or '∅'}")
                item.setToolTip(plain_tooltip(f"{question}\n{answer}"))
                self.list.addItem(item)
            self.list.setCurrentRow(shown)
        self.setVisible(bool(turns))
        self._fit()
        if 0 <= shown < len(turns):
            self.list.scrollToItem(self.list.item(shown))

    def resizeEvent(self, event: QResizeEvent) -> None:
        super().resizeEvent(event)
        self._fit()

    def _fit(self) -> None:
        """As high as the turns, up to a few of them."""
        room = max(60, self.list.viewport().width() - 2 * _PADDING)
        whole = 4
        for row in range(self.list.count()):
            item = self.list.item(row)
            flags = int(Qt.TextFlag.TextWordWrap)
            height = self.fontMetrics().boundingRect(0, 0, room, 2000, flags, item.text()).height()
            item.setSizeHint(QSize(room, height + _PADDING))
            whole += height + _PADDING
        self.list.setFixedHeight(min(whole, _HIGHEST))
