"""Windows beside the main one; none of them is modal."""

from __future__ import annotations

import platform
from pathlib import Path

import numpy as np
import PySide6
from PySide6.QtCore import Qt, qVersion
from PySide6.QtGui import QFontDatabase, QGuiApplication
from PySide6.QtWidgets import (
    QComboBox,
    QDialog,
    QHBoxLayout,
    QLabel,
    QPlainTextEdit,
    QVBoxLayout,
    QWidget,
)

from mmviewer import __version__
from mmviewer.core.types import ModelInfo
from mmviewer.gui.buttons import push_button
from mmviewer.gui.icons import app_icon
from mmviewer.gui.words import bytes_in_words, device_in_words
from mmviewer.gui.workbench import Workbench

_TAIL_BYTES = 200_000
_OWN = {"mmviewer", "python", "numpy"}
"""Versions that the window knows of itself."""


def details_text(workbench: Workbench) -> str:
    """Versions, device and models, as one copies them into a report."""
    status = workbench.engine_status
    lines = [
        f"mmviewer {__version__}",
        f"Python {platform.python_version()} on {platform.platform()}",
        f"Qt {qVersion()}, PySide6 {PySide6.__version__}, NumPy {np.__version__}",
        *(f"{name} {version}" for name, version in status.versions if name.lower() not in _OWN),
        f"engine: {status.phase}, {device_in_words(status.device, status.dtype)}".rstrip(", "),
    ]
    if status.reason:
        lines.append(f"device: {status.reason}")
    lines.extend(_model_line(info) for info in workbench.state.models)
    return "\n".join(lines)


def _model_line(info: ModelInfo) -> str:
    place = f"{device_in_words(info.device, info.dtype)}, {bytes_in_words(info.memory_bytes)}"
    weights = f"revision {info.revision or 'none'}, weights {info.weights_hash[:12]}"
    return f"model: {info.label} ({info.source}, {weights}, {place})"


class AboutDialog(QDialog):
    """Name, version, licence, and the details of the machine."""

    def __init__(self, workbench: Workbench, parent: QWidget) -> None:
        super().__init__(parent)
        self.setWindowTitle("About mmviewer")
        self.setAttribute(Qt.WidgetAttribute.WA_DeleteOnClose)
        picture = QLabel()
        picture.setPixmap(app_icon().pixmap(64, 64))
        title = QLabel(f"mmviewer {__version__}")
        title.setObjectName("state-title")
        words = QLabel("See what multimodal transformers do with an image, a sound and a text.\nMIT licence.")
        words.setWordWrap(True)
        text = QVBoxLayout()
        text.addWidget(title)
        text.addWidget(words)
        head = QHBoxLayout()
        head.addWidget(picture, alignment=Qt.AlignmentFlag.AlignTop)
        head.addLayout(text, 1)
        self.details = _fixed_text(details_text(workbench), "Details")
        copy = push_button("Copy details", "Copy versions, device and models, to put into a report.")
        copy.clicked.connect(lambda: QGuiApplication.clipboard().setText(self.details.toPlainText()))
        close = push_button("Close", "Close this window.", primary=True)
        close.clicked.connect(self.close)
        column = QVBoxLayout(self)
        column.addLayout(head)
        column.addWidget(self.details, 1)
        column.addLayout(_buttons(copy, close))
        self.resize(560, 360)


class LogDialog(QDialog):
    """The end of the log files of the window and the engine."""

    def __init__(self, folder: Path, parent: QWidget) -> None:
        super().__init__(parent)
        self.setWindowTitle("Log")
        self.setAttribute(Qt.WidgetAttribute.WA_DeleteOnClose)
        self._folder = folder
        self._choice = QComboBox()
        self._choice.addItems([path.name for path in sorted(folder.glob("*.log"))] or ["no log yet"])
        self._choice.setAccessibleName("Log file")
        self.text = _fixed_text("", "Log")
        self.text.setLineWrapMode(QPlainTextEdit.LineWrapMode.NoWrap)
        again = push_button("Read again", "Read the file again.")
        copy = push_button("Copy", "Copy what is shown.")
        close = push_button("Close", "Close this window.", primary=True)
        again.clicked.connect(self._read)
        copy.clicked.connect(lambda: QGuiApplication.clipboard().setText(self.text.toPlainText()))
        close.clicked.connect(self.close)
        self._choice.currentIndexChanged.connect(lambda _index: self._read())
        column = QVBoxLayout(self)
        column.addWidget(self._choice)
        column.addWidget(self.text, 1)
        column.addLayout(_buttons(again, copy, close))
        self.resize(820, 480)
        self._read()

    def _read(self) -> None:
        self.text.setPlainText(_tail(self._folder / self._choice.currentText()))
        bar = self.text.verticalScrollBar()
        bar.setValue(bar.maximum())


def _tail(path: Path) -> str:
    try:
        with path.open("rb") as file:
            file.seek(0, 2)
            file.seek(max(0, file.tell() - _TAIL_BYTES))
            return file.read().decode("utf-8", errors="replace")
    except OSError as error:
        return f"{path} cannot be read: {error.strerror or error}"


def _fixed_text(text: str, name: str) -> QPlainTextEdit:
    edit = QPlainTextEdit(text)
    edit.setReadOnly(True)
    edit.setAccessibleName(name)
    edit.setFont(QFontDatabase.systemFont(QFontDatabase.SystemFont.FixedFont))
    return edit


def _buttons(*widgets: QWidget) -> QHBoxLayout:
    row = QHBoxLayout()
    row.addStretch(1)
    for widget in widgets:
        row.addWidget(widget)
    return row
