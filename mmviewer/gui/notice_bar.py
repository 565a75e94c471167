"""Sentences for the user, over the lower edge of the window: never a modal dialog, never a moved layout."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable

from PySide6.QtCore import QEvent, QObject, Qt, QTimer
from PySide6.QtGui import QColor, QGuiApplication
from PySide6.QtWidgets import QFrame, QHBoxLayout, QLabel, QPlainTextEdit, QToolButton, QVBoxLayout, QWidget

from mmviewer.engine.protocol import ErrorReport
from mmviewer.gui.buttons import flat_button, icon_button, push_button
from mmviewer.gui.icons import icon
from mmviewer.gui.theme import Theme
from mmviewer.gui.widgets.wrapped_label import WrappedLabel

_INFO_MS = 6000
_WIDEST = 760
_MARGIN = 12
_BELOW = 38  # the status bar stays readable
_KEPT = 20


class NoticeBar(QFrame):
    """Shows the newest sentence; what only informs leaves by itself, errors stay until dismissed.

    Parameters
    ----------
    over : QWidget
        The widget whose lower edge it floats over.
    """

    def __init__(self, over: QWidget, theme: Theme) -> None:
        super().__init__(over)
        self.setObjectName("notice")
        self._over = over
        self._theme = theme
        self._waiting: deque[ErrorReport] = deque(maxlen=_KEPT)
        self._level = "info"
        self._picture = QLabel()
        self._text = WrappedLabel()
        self._text.setTextInteractionFlags(
            Qt.TextInteractionFlag.TextSelectableByMouse | Qt.TextInteractionFlag.TextSelectableByKeyboard
        )
        self._text.setAccessibleName("Notice")
        self._act = push_button("", "", primary=True)
        self._run: Callable[[], None] | None = None
        self._unfold = flat_button("Details", "Show what happened in technical words.")
        self._unfold.setCheckable(True)
        self._copy = flat_button("Copy", "Copy the sentence and its details.")
        self._close: QToolButton = icon_button("close", "Dismiss", "Dismiss this notice.")
        self._details = QPlainTextEdit()
        self._details.setReadOnly(True)
        self._details.setMaximumHeight(180)
        self._details.setAccessibleName("Details")
        self._timer = QTimer(self, singleShot=True, interval=_INFO_MS)

        row = QHBoxLayout()
        row.addWidget(self._picture)
        row.addWidget(self._text, 1)
        for button in (self._act, self._unfold, self._copy, self._close):
            row.addWidget(button)
        column = QVBoxLayout(self)
        column.setContentsMargins(12, 8, 8, 8)
        column.addLayout(row)
        column.addWidget(self._details)

        self._unfold.toggled.connect(self._on_unfold)
        self._copy.clicked.connect(lambda: QGuiApplication.clipboard().setText(self.full_text()))
        self._close.clicked.connect(self.dismiss)
        self._act.clicked.connect(self._accept)
        self._timer.timeout.connect(self.dismiss)
        theme.changed.connect(self._paint_picture)
        over.installEventFilter(self)
        self.hide()

    @property
    def text(self) -> str:
        """The sentence that is shown; empty when nothing is."""
        return "" if self.isHidden() else self._text.text()

    def full_text(self) -> str:
        """Sentence and details, as copied."""
        return "\n\n".join(part for part in (self._text.text(), self._details.toPlainText()) if part)

    def show_notice(self, message: str, level: str = "info") -> None:
        """Show a sentence; one that is no error does not push an error away."""
        if level == "error":
            self.show_error(ErrorReport("", message))
        elif self.isHidden() or self._level != "error":
            self._fill(message, level, "")
            if level == "info":
                self._timer.start()
            else:
                self._timer.stop()

    def show_offer(self, message: str, action: str, run: Callable[[], None]) -> None:
        """Offer something: it stays until it is taken, dismissed, or something else is said."""
        if self.isHidden() or self._level != "error":
            self._timer.stop()
            self._fill(message, "info", "", action)
            self._run = run

    def show_error(self, error: ErrorReport) -> None:
        """Show an error until it is dismissed; further ones wait their turn."""
        if not self.isHidden() and self._level == "error":
            repeated = error.message == self._text.text() or any(
                error.message == e.message for e in self._waiting
            )
            if not repeated:
                self._waiting.append(error)
                self._close.setToolTip(f"Dismiss this notice; {len(self._waiting)} more wait.")
            return
        self._timer.stop()
        self._fill(error.message, "error", error.details)

    def dismiss(self) -> None:
        """Put the notice away; show the next waiting error."""
        self._timer.stop()
        self.hide()
        self._close.setToolTip("Dismiss this notice.")
        if self._waiting:
            self.show_error(self._waiting.popleft())

    def _accept(self) -> None:
        run = self._run
        self.dismiss()
        if run is not None:
            run()

    def eventFilter(self, watched: QObject, event: QEvent) -> bool:
        if watched is self._over and event.type() == QEvent.Type.Resize:
            self._place()
        return super().eventFilter(watched, event)

    def _fill(self, message: str, level: str, details: str, action: str = "") -> None:
        self._level = level
        self._run = None
        self._act.setText(action)
        self._act.setVisible(bool(action))
        self._text.setText(message)
        self._details.setPlainText(details)
        self._unfold.setVisible(bool(details))
        self._unfold.setChecked(False)
        self._details.setVisible(False)
        self._copy.setVisible(level == "error")
        self._paint_picture()
        self.show()
        self.raise_()
        self._place()

    def _on_unfold(self, unfolded: bool) -> None:
        self._details.setVisible(unfolded)
        self._place()

    def _paint_picture(self) -> None:
        colours = self._theme.colours
        colour = {"error": colours.bad, "warning": colours.warning}.get(self._level, colours.text)
        self._picture.setPixmap(icon(self._level, QColor(colour)).pixmap(18, 18))

    def _place(self) -> None:
        if self.isHidden():
            return
        layout = self.layout()
        if layout is not None:
            layout.activate()  # what it knows of the height is of the former text
        width = min(_WIDEST, self._over.width() - 2 * _MARGIN)
        height = self.heightForWidth(width) if self.hasHeightForWidth() else self.sizeHint().height()
        height = min(max(height, self.minimumSizeHint().height()), self._over.height() - _BELOW)
        left, top = (self._over.width() - width) // 2, self._over.height() - height - _BELOW
        self.setGeometry(left, top, width, height)
