"""A line inside a panel that says what is awaited or what failed, while the last result stays in sight."""

from __future__ import annotations

from PySide6.QtCore import QTimer, Signal
from PySide6.QtGui import QGuiApplication
from PySide6.QtWidgets import QHBoxLayout, QPushButton, QSizePolicy, QWidget

from mmviewer.gui.widgets.wrapped_label import WrappedLabel

_PATIENCE_MS = 300


class InlineNote(QWidget):
    """Hidden while there is nothing to say."""

    cancelled = Signal()
    """Cancel was pressed."""
    retried = Signal()
    """Try again was pressed."""

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._details = ""
        self.text = WrappedLabel()
        self.text.setSizePolicy(QSizePolicy.Policy.Expanding, QSizePolicy.Policy.Preferred)
        self.cancel = QPushButton("Cancel")
        self.cancel.setToolTip("Stop this work; what is shown stays")
        self.cancel.clicked.connect(self.cancelled)
        self.retry = QPushButton("Try again")
        self.retry.setToolTip("Ask once more")
        self.retry.clicked.connect(self.retried)
        self.copy = QPushButton("Copy details")
        self.copy.setToolTip("Copy the sentence and the technical details")
        self.copy.clicked.connect(
            lambda: QGuiApplication.clipboard().setText(f"{self.text.text()}\n\n{self._details}")
        )
        row = QHBoxLayout(self)
        row.setContentsMargins(0, 2, 0, 2)
        row.addWidget(self.text, 1)
        for button in (self.cancel, self.retry, self.copy):
            button.setMinimumHeight(26)
            row.addWidget(button)
        self._patience = QTimer(self, singleShot=True, interval=_PATIENCE_MS)
        self._patience.timeout.connect(self.show)
        self.hide()

    def show_waiting(self, text: str) -> None:
        """Say what is awaited, unless it is there in a moment."""
        self._fill(text, waiting=True)
        if self.isHidden() and not self._patience.isActive():
            self._patience.start()

    def show_failed(self, message: str, details: str = "") -> None:
        """Say what failed and what to do."""
        self._patience.stop()
        self._details = details
        self._fill(f"⚠ {message}", waiting=False)
        self.show()

    def clear(self) -> None:
        """Say nothing."""
        self._patience.stop()
        self.hide()

    def _fill(self, text: str, waiting: bool) -> None:
        self.text.setText(text)
        self.cancel.setVisible(waiting)
        self.retry.setVisible(not waiting)
        self.copy.setVisible(not waiting and bool(self._details))
