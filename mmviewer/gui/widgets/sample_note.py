"""A line under the viewer: what to see in a sample, and something to try; it can be closed."""

from __future__ import annotations

from PySide6.QtCore import Qt, Signal
from PySide6.QtGui import QIcon
from PySide6.QtWidgets import QFrame, QHBoxLayout, QLabel, QPushButton, QSizePolicy, QToolButton, QWidget

from mmviewer.gui.widgets.wrapped_label import WrappedLabel

_ICON = 16
_TARGET = 26


class SampleNote(QFrame):
    """Hidden while there is nothing to say."""

    tried = Signal()
    """The button that tries something was pressed."""
    closed = Signal()
    """The note was closed."""

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.setObjectName("card")
        self._picture = QLabel()
        self.text = WrappedLabel()
        self.text.setSizePolicy(QSizePolicy.Policy.Expanding, QSizePolicy.Policy.Preferred)
        self.text.setAccessibleName("What to see in this sample")
        self.button = QPushButton()
        self.button.setMinimumHeight(_TARGET)
        self.button.clicked.connect(self.tried)
        self.close_button = QToolButton()
        self.close_button.setProperty("flat-button", True)
        self.close_button.setFixedSize(_TARGET, _TARGET)
        self.close_button.setToolTip("Hide the notes on samples; Help brings them back.")
        self.close_button.setAccessibleName("Hide the notes on samples")
        self.close_button.setFocusPolicy(Qt.FocusPolicy.TabFocus)
        self.close_button.clicked.connect(self.closed)
        row = QHBoxLayout(self)
        row.setContentsMargins(10, 4, 4, 4)
        row.setSpacing(8)
        row.addWidget(self._picture, 0, Qt.AlignmentFlag.AlignVCenter)
        row.addWidget(self.text, 1)
        row.addWidget(self.button)
        row.addWidget(self.close_button)
        self.hide()

    def set_icons(self, info: QIcon, close: QIcon) -> None:
        """Take the pictures in the colours of the theme."""
        self._picture.setPixmap(info.pixmap(_ICON, _ICON))
        self.close_button.setIcon(close)

    def show_note(self, text: str, action: str = "", tip: str = "") -> None:
        """Say `text`; `action` names what the button tries, none without it."""
        self.text.setText(text)
        self.button.setText(action)
        self.button.setToolTip(tip)
        self.button.setVisible(bool(action))
        self.setVisible(bool(text))
