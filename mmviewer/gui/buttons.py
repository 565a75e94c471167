"""Buttons of the shell: each with a tooltip, an accessible name and a visible focus."""

from __future__ import annotations

from PySide6.QtCore import QSize, Qt
from PySide6.QtWidgets import QPushButton, QToolButton

from mmviewer.gui.icons import icon

_TARGET = 26
"""Height and least width of what can be pressed, pixels."""


def push_button(text: str, tip: str, *, primary: bool = False, icon_name: str = "") -> QPushButton:
    """A button with text; `primary` gives it the accent."""
    button = QPushButton(text)
    button.setToolTip(tip)
    button.setProperty("primary", primary)
    button.setMinimumHeight(_TARGET)
    if icon_name:
        button.setProperty("icon-name", icon_name)
        button.setIcon(icon(icon_name))
    return button


def flat_button(text: str, tip: str) -> QPushButton:
    """A button with text and no ground until pointed at."""
    button = push_button(text, tip)
    button.setProperty("flat-button", True)
    return button


def icon_button(icon_name: str, name: str, tip: str, *, size: int = _TARGET) -> QToolButton:
    """A flat button with an icon; `name` is what a screen reader says."""
    button = QToolButton()
    button.setProperty("flat-button", True)
    button.setProperty("icon-name", icon_name)
    button.setIcon(icon(icon_name))
    button.setIconSize(QSize(16, 16))
    button.setFixedSize(max(size, 24), max(size, 24))
    button.setToolTip(tip)
    button.setAccessibleName(name)
    button.setFocusPolicy(Qt.FocusPolicy.TabFocus)
    return button
