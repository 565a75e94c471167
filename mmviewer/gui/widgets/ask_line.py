"""A line to ask a question in, with examples to choose from."""

from __future__ import annotations

from collections.abc import Sequence

from PySide6.QtCore import Qt, Signal
from PySide6.QtGui import QKeyEvent
from PySide6.QtWidgets import QHBoxLayout, QLineEdit, QMenu, QToolButton, QWidget

from mmviewer.gui.widgets.elided_label import plain_tooltip

_HEIGHT = 26
_LONGEST = 500  # characters; far more than a question needs


class AskLine(QWidget):
    """Return asks; the button at its side lists examples, which ask at once.

    A model that answers no questions leaves it disabled, with the reason in it.
    """

    asked = Signal(str)
    """The question as typed; empty when the line was cleared with Return."""

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.field = _Field()
        self.field.setMaxLength(_LONGEST)
        self.field.setClearButtonEnabled(True)
        self.field.setMinimumHeight(_HEIGHT)
        self.field.setAccessibleName("Question about the picture")
        self.examples = QToolButton()
        self.examples.setText("Examples")
        self.examples.setToolTip("Questions of the kinds that this model was trained on.")
        self.examples.setAccessibleName("Example questions")
        self.examples.setPopupMode(QToolButton.ToolButtonPopupMode.InstantPopup)
        self.examples.setMinimumHeight(_HEIGHT)
        self._menu = QMenu(self.examples)
        self.examples.setMenu(self._menu)
        row = QHBoxLayout(self)
        row.setContentsMargins(0, 0, 0, 0)
        row.setSpacing(6)
        row.addWidget(self.field, 1)
        row.addWidget(self.examples)
        self.setFocusProxy(self.field)
        self.field.returnPressed.connect(lambda: self.asked.emit(self.field.text()))

    def offer(self, examples: Sequence[str], help_text: str) -> None:
        """Take questions; `help_text` says which kinds are understood."""
        self._menu.clear()
        for example in examples:
            action = self._menu.addAction(example.replace("&", "&&"))
            action.triggered.connect(lambda _=False, question=example: self._ask(question))
        self.examples.setVisible(bool(examples))
        self._set_up(True, f"Ask: {examples[0]}" if examples else "Ask a question…", help_text)

    def refuse(self, reason: str, help_text: str) -> None:
        """Take no questions, and say why."""
        self.examples.setVisible(False)
        self._set_up(False, reason, help_text)

    def show_question(self, question: str) -> None:
        """Show what was asked, unless the user is typing something else."""
        if not self.field.hasFocus() or not self.field.isModified():
            self.field.setText(question)

    def _ask(self, question: str) -> None:
        self.field.setText(question)
        self.asked.emit(question)

    def _set_up(self, takes: bool, placeholder: str, help_text: str) -> None:
        self.field.setEnabled(takes)
        self.field.setPlaceholderText(placeholder)
        self.field.setToolTip(plain_tooltip(help_text))
        if not takes:
            self.field.clear()


class _Field(QLineEdit):
    """Escape empties it; a second one is the window's."""

    def keyPressEvent(self, event: QKeyEvent) -> None:
        if event.key() == Qt.Key.Key_Escape and self.text():
            self.clear()
        else:
            super().keyPressEvent(event)
