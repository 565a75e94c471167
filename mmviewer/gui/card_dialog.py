"""A model's card in a window of its own: Markdown from a local file that anyone may have written."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from PySide6.QtCore import Qt, QUrl
from PySide6.QtGui import QDesktopServices, QTextCursor, QTextDocument
from PySide6.QtWidgets import QDialog, QHBoxLayout, QTextBrowser, QVBoxLayout, QWidget

from mmviewer.gui.buttons import push_button

# Beyond these, laying out a text made for it takes longer than anyone waits.
_MOST_BYTES = 128 * 1024
_MOST_LINES = 1500
_LONGEST_LINE = 4000
_MOST_NESTED = 12
_FRONT_MATTER = re.compile(r"\A---\n.*?\n---\n", re.DOTALL)
_NESTING = re.compile(rf"^[ \t>*+-]{{{4 * _MOST_NESTED},}}(?=[^ \t>*+-])", re.MULTILINE)
_FEATURES = QTextDocument.MarkdownFeature.MarkdownDialectGitHub | QTextDocument.MarkdownFeature.MarkdownNoHTML


class CardDialog(QDialog):
    """Shows the card; loads nothing that it refers to."""

    def __init__(self, title: str, path: Path, parent: QWidget) -> None:
        super().__init__(parent)
        self.setWindowTitle(f"Model card · {title}")
        self.setAttribute(Qt.WidgetAttribute.WA_DeleteOnClose)
        self.text = _Card()
        self.text.setAccessibleName(f"Model card of {title}")
        self.text.document().setDocumentMargin(16)
        self.text.document().setMarkdown(read_card(path), _FEATURES)
        self.text.moveCursor(QTextCursor.MoveOperation.Start)
        close = push_button("Close", "Close this window.", primary=True)
        close.clicked.connect(self.close)
        row = QHBoxLayout()
        row.addStretch(1)
        row.addWidget(close)
        column = QVBoxLayout(self)
        column.addWidget(self.text, 1)
        column.addLayout(row)
        self.resize(760, 640)


def read_card(path: Path) -> str:
    """The card's Markdown without settings at its head; a sentence instead where it cannot be read."""
    try:
        with path.open("rb") as file:
            data = file.read(_MOST_BYTES + 1)
    except OSError as error:
        return f"The card {path.name} cannot be read: {error.strerror or 'the file is gone'}."
    text = data[:_MOST_BYTES].decode("utf-8", errors="replace").replace("\r\n", "\n").replace("\0", "")
    lines = _NESTING.sub("", _FRONT_MATTER.sub("", text)).split("\n")
    shown = [line[:_LONGEST_LINE] for line in lines[:_MOST_LINES]]
    if len(data) > _MOST_BYTES or shown != lines:
        shown += ["", "*The rest of this card is too long to show.*"]
    return "\n".join(shown)


class _Card(QTextBrowser):
    """Opens web links outside, when they are clicked, and nothing else ever."""

    def __init__(self) -> None:
        super().__init__()
        self.setOpenLinks(False)
        self.anchorClicked.connect(_open_outside)

    def loadResource(self, kind: int, name: QUrl | str) -> Any:
        """Pictures and styles that the text names stay where they are."""
        return None


def _open_outside(url: QUrl) -> None:
    if url.scheme() in ("http", "https"):
        QDesktopServices.openUrl(url)
