"""A label that breaks its text wherever it must: a path or a hash without a space never widens its panel."""

from __future__ import annotations

import re

from PySide6.QtCore import Qt
from PySide6.QtWidgets import QLabel, QWidget

_LONG_WORD = re.compile(r"\S{25,}")
_BREAK = "\u200b"
_PIECE = 12


class WrappedLabel(QLabel):
    """Plain text over several lines, selectable by mouse; `text` is what was set."""

    def __init__(self, text: str = "", parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._whole = ""
        self.setWordWrap(True)
        self.setTextFormat(Qt.TextFormat.PlainText)
        self.setTextInteractionFlags(Qt.TextInteractionFlag.TextSelectableByMouse)
        self.setText(text)

    def setText(self, text: str) -> None:
        """Show another text, with places to break in words that are too long for a line."""
        self._whole = text
        super().setText(_LONG_WORD.sub(_with_breaks, text))

    def text(self) -> str:
        """The text as it was set."""
        return self._whole


def _with_breaks(word: re.Match[str]) -> str:
    letters = word.group()
    return _BREAK.join(letters[start : start + _PIECE] for start in range(0, len(letters), _PIECE))
