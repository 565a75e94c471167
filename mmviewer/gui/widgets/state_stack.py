"""A widget that is its content, or says why it is not there: empty, waiting or failed."""

from __future__ import annotations

from PySide6.QtCore import QSize, Qt, QTimer, Signal
from PySide6.QtGui import QGuiApplication
from PySide6.QtWidgets import (
    QHBoxLayout,
    QPlainTextEdit,
    QProgressBar,
    QPushButton,
    QSizePolicy,
    QStackedWidget,
    QVBoxLayout,
    QWidget,
)

from mmviewer.gui.widgets.wrapped_label import WrappedLabel

_STEPS = 1000
_SMALLEST = QSize(80, 40)
_PATIENCE_MS = 250
"""Work that ends sooner shows no waiting page, so that nothing flickers."""


class StateStack(QStackedWidget):
    """Shows `content`, or a page that says what to do, what is awaited, or what failed.

    Parameters
    ----------
    content : QWidget
        What is shown when there is something to show.
    """

    acted = Signal()
    """The button of the empty or failed page was pressed."""
    also_acted = Signal()
    """The second button of the empty page was pressed."""
    cancelled = Signal()
    """The cancel button of the waiting page was pressed."""

    def __init__(self, content: QWidget, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.content = content
        self._page = _MessagePage()
        self._page.action.clicked.connect(self.acted)
        self._page.second.clicked.connect(self.also_acted)
        self._page.cancel.clicked.connect(self.cancelled)
        self._patience = QTimer(self, singleShot=True, interval=_PATIENCE_MS)
        self._patience.timeout.connect(lambda: self.setCurrentWidget(self._page))
        self.addWidget(content)
        self.addWidget(self._page)

    @property
    def message(self) -> str:
        """The sentence of the page that is shown; empty while the content is."""
        return self._page.text.text() if self.currentWidget() is self._page else ""

    def show_content(self) -> None:
        """Show the content."""
        self._patience.stop()
        self.setCurrentWidget(self.content)

    def show_empty(self, title: str, text: str = "", action: str = "", second: str = "") -> None:
        """Say what to do; `action` and `second` are buttons that emit `acted` and `also_acted`."""
        self._show_now(title, text, action=action, second=second)

    def show_waiting(self, text: str, fraction: float | None = None) -> None:
        """Say what is awaited, how far it is (0..1 or unknown), with a cancel button.

        The content stays for a moment first: work that ends at once shows no other page.
        """
        self._page.fill("", text, waiting=True)
        self._page.set_fraction(fraction)
        if self.currentWidget() is not self._page and not self._patience.isActive():
            self._patience.start()

    def show_failed(self, message: str, details: str = "", action: str = "") -> None:
        """Say what failed and what to do, with details to unfold and copy."""
        self._show_now("", message, action=action, details=details)

    def _show_now(self, title: str, text: str, action: str = "", second: str = "", details: str = "") -> None:
        self._patience.stop()
        self._page.fill(title, text, action=action, second=second, details=details)
        self.setCurrentWidget(self._page)


class _MessagePage(QWidget):
    """Title, sentence, progress, buttons and details, centred."""

    def __init__(self) -> None:
        super().__init__()
        self.title = _centred_label("state-title")
        self.text = _centred_label("state-text")
        self.progress = QProgressBar(textVisible=False)
        self.progress.setMaximumWidth(220)
        self.action = QPushButton()
        self.action.setObjectName("state-action")
        self.second = QPushButton()
        self.cancel = QPushButton("Cancel")
        self.unfold = QPushButton("Details")
        self.unfold.setCheckable(True)
        self.copy = QPushButton("Copy")
        self.details = QPlainTextEdit(readOnly=True)
        self.details.setAccessibleName("Details of the error")
        self.unfold.toggled.connect(self.details.setVisible)
        self.unfold.toggled.connect(self.copy.setVisible)
        self.copy.clicked.connect(
            lambda: QGuiApplication.clipboard().setText(f"{self.text.text()}\n\n{self.details.toPlainText()}")
        )
        column = QVBoxLayout(self)
        column.setContentsMargins(12, 0, 12, 0)
        column.setSpacing(6)
        column.addStretch(1)
        column.addWidget(self.title)
        column.addWidget(self.text)
        column.addWidget(self.progress, alignment=Qt.AlignmentFlag.AlignHCenter)
        column.addLayout(_centred_row(self.action, self.second, self.cancel, self.unfold, self.copy))
        column.addWidget(self.details, 2)
        column.addStretch(1)
        self.fill("", "")

    def minimumSizeHint(self) -> QSize:
        """Small: a panel must not grow because it has something to say for a moment."""
        return _SMALLEST

    def fill(
        self,
        title: str,
        text: str,
        *,
        action: str = "",
        second: str = "",
        details: str = "",
        waiting: bool = False,
    ) -> None:
        """Show the given parts and hide the others."""
        self.title.setText(title)
        self.title.setVisible(bool(title))
        self.text.setText(text)
        self.text.setVisible(bool(text))
        self.action.setText(action)
        self.action.setVisible(bool(action))
        self.second.setText(second)
        self.second.setVisible(bool(second))
        self.progress.setVisible(waiting)
        self.cancel.setVisible(waiting)
        self.unfold.setVisible(bool(details))
        self.unfold.setChecked(False)
        self.copy.setVisible(False)
        self.details.setPlainText(details)
        self.details.setVisible(False)

    def set_fraction(self, fraction: float | None) -> None:
        """Show how far; None for unknown."""
        self.progress.setRange(0, 0 if fraction is None else _STEPS)
        if fraction is not None:
            self.progress.setValue(round(fraction * _STEPS))


def _centred_label(name: str) -> WrappedLabel:
    label = WrappedLabel()
    label.setObjectName(name)
    label.setAlignment(Qt.AlignmentFlag.AlignCenter)
    label.setSizePolicy(QSizePolicy.Policy.Expanding, QSizePolicy.Policy.Minimum)
    return label


def _centred_row(*widgets: QWidget) -> QHBoxLayout:
    row = QHBoxLayout()
    row.addStretch(1)
    for widget in widgets:
        row.addWidget(widget)
    row.addStretch(1)
    return row
