"""A line that says what something dear would take, with a button to have it all the same."""

from __future__ import annotations

from PySide6.QtCore import Signal
from PySide6.QtWidgets import QHBoxLayout, QPushButton, QSizePolicy, QWidget

from mmviewer.gui.widgets.wrapped_label import WrappedLabel


class CostNote(QWidget):
    """Hidden while nothing is on offer."""

    accepted = Signal()
    """The button was pressed."""

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.text = WrappedLabel()
        self.text.setSizePolicy(QSizePolicy.Policy.Expanding, QSizePolicy.Policy.Preferred)
        self.button = QPushButton()
        self.button.setProperty("primary", True)
        self.button.setMinimumHeight(26)
        self.button.setToolTip("Start it; what is shown now stays until it is done, and it can be cancelled.")
        self.button.clicked.connect(self.accepted)
        row = QHBoxLayout(self)
        row.setContentsMargins(0, 2, 0, 2)
        row.addWidget(self.text, 1)
        row.addWidget(self.button)
        self.hide()

    def offer(self, words: str, button: str) -> None:
        """Offer something; empty words hide the line."""
        self.text.setText(words)
        self.button.setText(button)
        self.setVisible(bool(words))
