"""Steps of a recipe as chips, each of which can be taken away."""

from __future__ import annotations

from collections.abc import Sequence

from PySide6.QtCore import Qt, Signal
from PySide6.QtGui import QIcon
from PySide6.QtWidgets import QHBoxLayout, QSizePolicy, QToolButton, QWidget

from mmviewer.gui.widgets.elided_label import ElidedLabel, plain_tooltip
from mmviewer.gui.widgets.flow_layout import FlowLayout

_HEIGHT = 26
_TARGET = 24
_WIDEST = 330


class RecipeChips(QWidget):
    """Chips in the order in which the steps are applied."""

    removed = Signal(int)
    """The chip at this place shall go."""

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._icon = QIcon()
        self._chips: list[_Chip] = []
        self._words: tuple[str, ...] = ()
        self._flow = FlowLayout(self, spacing=4)
        policy = QSizePolicy(QSizePolicy.Policy.Expanding, QSizePolicy.Policy.Minimum)
        policy.setHeightForWidth(True)
        self.setSizePolicy(policy)
        self.setAccessibleName("What is changed")

    @property
    def words(self) -> tuple[str, ...]:
        """What the chips say."""
        return self._words

    def set_icon(self, icon: QIcon) -> None:
        """Give the buttons of the chips their face."""
        self._icon = icon
        for chip in self._chips:
            chip.close_button.setIcon(icon)

    def set_words(self, words: Sequence[str]) -> None:
        """Show other steps; nothing is rebuilt while they are the same."""
        if tuple(words) == self._words:
            return
        self._words = tuple(words)
        for chip in self._chips:
            self._flow.removeWidget(chip)
            chip.hide()
            chip.deleteLater()
        self._chips = []
        for place, text in enumerate(words):
            chip = _Chip(text, self._icon, self)
            chip.close_button.clicked.connect(lambda _=False, at=place: self.removed.emit(at))
            self._flow.addWidget(chip)
            self._chips.append(chip)
            chip.show()
        self.setVisible(bool(words))
        self.updateGeometry()

    def button(self, place: int) -> QToolButton:
        """The button that removes a chip."""
        return self._chips[place].close_button


class _Chip(QWidget):
    def __init__(self, text: str, icon: QIcon, parent: QWidget) -> None:
        super().__init__(parent)
        self.setObjectName("card")
        self.setAttribute(Qt.WidgetAttribute.WA_StyledBackground)
        self.setMaximumWidth(_WIDEST)
        label = ElidedLabel(text)
        self.close_button = QToolButton()
        self.close_button.setProperty("flat-button", True)
        self.close_button.setProperty("icon-name", "close")  # the window paints it anew in another theme
        self.close_button.setIcon(icon)
        self.close_button.setFixedSize(_TARGET, _TARGET)
        self.close_button.setToolTip(plain_tooltip(f"Undo this step: {text}"))
        self.close_button.setAccessibleName(f"Remove {text}")
        row = QHBoxLayout(self)
        row.setContentsMargins(8, 0, 1, 0)
        row.setSpacing(2)
        row.addWidget(label, 1)
        row.addWidget(self.close_button)
        self.setFixedHeight(_HEIGHT)
