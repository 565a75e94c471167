"""One side of a split view: which model, the item with its map, its tokens, and how the map is made."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from PySide6.QtCore import QSize, Qt, Signal
from PySide6.QtGui import QPalette
from PySide6.QtWidgets import QComboBox, QHBoxLayout, QSizePolicy, QStackedWidget, QVBoxLayout, QWidget

from mmviewer.gui.widgets.cost_note import CostNote
from mmviewer.gui.widgets.elided_label import ElidedLabel
from mmviewer.gui.widgets.image_view import ImageView
from mmviewer.gui.widgets.inline_note import InlineNote
from mmviewer.gui.widgets.map_controls import ElidingCombo, MapChooser
from mmviewer.gui.widgets.sound_view import SoundView
from mmviewer.gui.widgets.state_stack import StateStack
from mmviewer.gui.widgets.token_strip import TokenStrip

_STRIP_HEIGHT = 96
"""Two rows of chips; more are scrolled to, so that both pictures keep their size."""
_WIDEST_MODEL = 240


@dataclass(frozen=True, slots=True)
class ModelChoice:
    """A model one can choose: its `key`, its `label`, what more the tooltip says, whether it is loaded."""

    key: str
    label: str
    tip: str = ""
    loaded: bool = True


class SideView(QWidget):
    """Shows one model's view of an item; holds no truth of its own.

    Parameters
    ----------
    name : str
        Which side, for screen readers: "Left", "Right".
    """

    model_chosen = Signal(str)
    """Key of a `ModelChoice`."""

    def __init__(self, name: str, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.model: QComboBox = ElidingCombo()
        self.model.setAccessibleName(f"{name} model")
        self.model.setToolTip(f"Which model the {name.lower()} side shows; others are loaded beside it.")
        self.model.setMinimumHeight(26)
        self.model.setSizeAdjustPolicy(QComboBox.SizeAdjustPolicy.AdjustToContents)
        self.model.setMaximumWidth(_WIDEST_MODEL)
        self.model.setPlaceholderText("Choose a model…")
        self.about = ElidedLabel("", QPalette.ColorRole.PlaceholderText)
        self.image, self.sound = ImageView(), SoundView()
        for shown in (self.image, self.sound):
            shown.card.fold()  # open it would hide most of a small picture
        self.image.setAccessibleName(f"{name} picture with its map")
        self.sound.setAccessibleName(f"{name} sound with its map")
        self._pages = QStackedWidget()
        self._pages.addWidget(self.image)
        self._pages.addWidget(self.sound)
        self.stack = StateStack(self._pages)
        self.strip = TokenStrip()
        self.strip.setAccessibleName(f"{name} tokens")
        self.strip.setMaximumHeight(_STRIP_HEIGHT)
        self.strip.setSizePolicy(QSizePolicy.Policy.Expanding, QSizePolicy.Policy.Preferred)
        self.text = StateStack(self.strip)
        self.text.setMaximumHeight(_STRIP_HEIGHT)
        self.text.setSizePolicy(QSizePolicy.Policy.Expanding, QSizePolicy.Policy.Preferred)
        self.note = InlineNote()
        self.cost = CostNote()
        self.chooser = MapChooser()
        self._choosers = QWidget()  # keeps its height while there is nothing to choose
        inside = QVBoxLayout(self._choosers)
        inside.setContentsMargins(0, 0, 0, 0)
        inside.addWidget(self.chooser, 0, Qt.AlignmentFlag.AlignTop)
        self._choices: tuple[ModelChoice, ...] = ()
        self.model.activated.connect(lambda row: self.model_chosen.emit(str(self.model.itemData(row))))
        self._lay_out()

    def minimumSizeHint(self) -> QSize:
        """Narrow enough for two of them in a small window."""
        return QSize(260, 300)

    def _lay_out(self) -> None:
        head = QHBoxLayout()
        head.setSpacing(8)
        head.addWidget(self.model)
        head.addWidget(self.about, 1)
        column = QVBoxLayout(self)
        column.setContentsMargins(0, 0, 0, 0)
        column.setSpacing(6)
        column.addLayout(head)
        column.addWidget(self.stack, 1)
        column.addWidget(self.text)
        column.addWidget(self.note)
        column.addWidget(self.cost)
        column.addWidget(self._choosers)

    def show_models(self, choices: Sequence[ModelChoice], chosen: str) -> None:
        """Offer models, the loaded ones first; `chosen` is the key of the one that is shown."""
        if tuple(choices) != self._choices:
            self._choices = tuple(choices)
            self.model.clear()
            for choice in choices:
                label = choice.label if choice.loaded else f"Load {choice.label}"
                self.model.addItem(label, choice.key)
                tip = choice.tip or choice.label
                self.model.setItemData(self.model.count() - 1, tip, Qt.ItemDataRole.ToolTipRole)
            first = next((row for row, each in enumerate(choices) if not each.loaded), 0)
            if first:
                self.model.insertSeparator(first)
        self.model.setCurrentIndex(self.model.findData(chosen))

    def show_page(self, *, sound: bool) -> None:
        """Show the picture or the sound."""
        self._pages.setCurrentWidget(self.sound if sound else self.image)

    def set_heights(self, heights: tuple[int, int]) -> None:
        """Give the strip and the choosers so much room, as the other side has."""
        self.text.setFixedHeight(heights[0])
        self._choosers.setFixedHeight(heights[1])

    @property
    def wanted_heights(self) -> tuple[int, int]:
        """Room that the strip would like, at most two rows, and the choosers."""
        strip = max(self.strip.sizeHint().height(), self.strip.minimumSizeHint().height())
        return min(strip, _STRIP_HEIGHT), self.chooser.heightForWidth(self.width())
