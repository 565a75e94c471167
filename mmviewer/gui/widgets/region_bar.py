"""Buttons that draw regions over a picture or sound."""

from __future__ import annotations

from PySide6.QtCore import QSize, Signal
from PySide6.QtGui import QIcon
from PySide6.QtWidgets import QHBoxLayout, QToolButton, QWidget

_SIZE = 26

_BOX = (
    "Draw a rectangle (R): the words below then say how much of their maps lies in it. "
    "On a sound, drag along the time."
)
_LASSO = "Draw around something by hand (L): the words below then say how much of their maps lies in it."
_SHOW = "Show all regions of this item, not only the chosen one."


class RegionBar(QWidget):
    """Two tools, of which at most one is on, and whether all regions are shown."""

    tool_wanted = Signal(str)
    """"box", "polygon", or empty to leave the tool."""
    shown = Signal(bool)
    """Whether all regions shall be shown."""

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.box = _tool("Draw a rectangle", _BOX)
        self.lasso = _tool("Draw by hand", _LASSO)
        self.show_all = _tool("Show all regions", _SHOW)
        self.box.clicked.connect(lambda on: self.tool_wanted.emit("box" if on else ""))
        self.lasso.clicked.connect(lambda on: self.tool_wanted.emit("polygon" if on else ""))
        self.show_all.toggled.connect(self.shown)
        row = QHBoxLayout(self)
        row.setContentsMargins(0, 0, 0, 0)
        row.setSpacing(2)
        for button in (self.box, self.lasso, self.show_all):
            row.addWidget(button)

    def set_icons(self, box: QIcon, lasso: QIcon, regions: QIcon) -> None:
        """Give the tools their faces."""
        self.show_all.setIcon(regions)
        self.box.setIcon(box)
        self.lasso.setIcon(lasso)

    def show_state(self, tool: str, *, all_shown: bool, hand: bool) -> None:
        """Show which tool is on; by `hand` can be drawn on a picture only."""
        self.box.setChecked(tool == "box")
        self.lasso.setChecked(tool == "polygon")
        self.lasso.setVisible(hand)
        self.show_all.blockSignals(True)
        self.show_all.setChecked(all_shown)
        self.show_all.blockSignals(False)


def _tool(name: str, tip: str) -> QToolButton:
    button = QToolButton()
    button.setCheckable(True)
    button.setProperty("flat-button", True)
    button.setIconSize(QSize(16, 16))
    button.setFixedSize(_SIZE, _SIZE)
    button.setAccessibleName(name)
    button.setToolTip(tip)
    return button
