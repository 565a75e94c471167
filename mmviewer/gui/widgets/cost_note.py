"""A line that says what something dear would take, with a button to have it all the same."""

from __future__ import annotations

from PySide6.QtCore import Signal
from PySide6.QtWidgets import QHBoxLayout, QPushButton, QSizePolicy, QWidget

from mmviewer.gui.widgets.wrapped_label import WrappedLabel


class CostNote(QWidget):
    """Hidden while nothing is on offer."""

    accepted = Signal()
    """The button was pressed."""
    declined = Signal()
    """It is not wanted now."""

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.text = WrappedLabel()
        self.text.setSizePolicy(QSizePolicy.Policy.Expanding, QSizePolicy.Policy.Preferred)
        self.button = QPushButton()
        self.button.setProperty("primary", True)
        self.button.setMinimumHeight(26)
        self.button.setToolTip("Start it; what is shown now stays until it is done, and it can be cancelled.")
        self.button.clicked.connect(self.accepted)
        self.later = QPushButton("Not now")
        self.later.setMinimumHeight(26)
        self.later.setToolTip("Leave it; it can be had later")
        self.later.clicked.connect(self.declined)
        self.later.hide()
        row = QHBoxLayout(self)
        row.setContentsMargins(0, 2, 0, 2)
        row.addWidget(self.text, 1)
        row.addWidget(self.button)
        row.addWidget(self.later)
        self.hide()

    def offer(self, words: str, button: str, *, may_decline: bool = False) -> None:
        """Offer something, and a button to decline it; empty words hide the line."""
        self.later.setVisible(may_decline)
        self.text.setText(words)
        self.button.setText(button)
        self.setVisible(bool(words))
