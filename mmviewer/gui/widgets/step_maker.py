"""Three small forms to make a step of a recipe: a region, a word, heads."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from PySide6.QtCore import QSignalBlocker, Qt, Signal
from PySide6.QtWidgets import (
    QButtonGroup,
    QComboBox,
    QHBoxLayout,
    QLineEdit,
    QPushButton,
    QSizePolicy,
    QStackedWidget,
    QVBoxLayout,
    QWidget,
)

from mmviewer.gui.widgets.wrapped_label import WrappedLabel

_TARGET = 26
_LONGEST = 200

ACTIONS = {
    "hide mean": ("hide: its mean colour", "Put the mean colour of the whole picture in its place."),
    "hide noise": ("hide: noise", "Put noise of the picture's colours in its place."),
    "hide blur": ("blur", "Blur it so strongly that things lose their shape."),
    "keep mean": ("keep only this", "Put the mean colour in place of everything else."),
    "keep blur": ("keep, blur the rest", "Blur everything else."),
}
"""What can be done with a region of a picture: words and a tooltip."""

SOUND_ACTIONS = {
    "hide mean": ("silence", "Put silence in its place."),
    "hide noise": ("hide: noise", "Put noise as loud as the whole sound in its place."),
    "keep mean": ("keep only this", "Silence everything else."),
}
"""And of a sound."""

HOW = {
    "zero": ("off", "They add nothing to their layer."),
    "uniform": ("uniform", "They look at everything alike: they add the mean of all values."),
}
"""What heads can do instead."""

GATES = {
    "gate 0": ("gate × 0", "Shut the gate through which this attention passes; all heads of the layer."),
    "gate 0.5": ("gate × 0.5", "Half of what passes the gate; all heads of the layer."),
    "gate 2": ("gate × 2", "Twice what passes the gate; all heads of the layer."),
}
"""And what can be done with the gate of a gated layer, a factor behind the blank."""

_PAGES = {
    "Region": "Hide, blur or keep a part of the item: one that you marked, or where a word looked",
    "Word": "Change or leave out a word that the model reads",
    "Heads": "Switch attention heads or whole layers off",
}


@dataclass(frozen=True, slots=True)
class HeadPlace:
    """Attention whose heads can be switched off: words, number of layers, number of heads, whether gated."""

    label: str
    layers: int
    heads: int
    gated: bool = False


class StepMaker(QWidget):
    """Emits what shall be added; places are counted as they were given to the setters."""

    region_wanted = Signal(int, str)
    """Place of the region, key of `ACTIONS`."""
    word_wanted = Signal(int, str)
    """Place of the word, what stands there instead (empty: nothing)."""
    heads_wanted = Signal(int, int, int, str)
    """Place of the attention, layer and head from 0 (-1: all), key of `HOW`."""

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._heads: tuple[HeadPlace, ...] = ()
        self.region = _box("Region", "Which part of the item")
        self.action = _box("What to do with the region", "What to do with it")
        self.word = _box(
            "Word", "Which word; texts that the model wrote, what is looked for, and your labels"
        )
        self.instead = QLineEdit()
        self.place = _box("Attention", "Which attention of the model")
        self.layer = _box("Layer", "Which layer, counted from 1")
        self.head = _box("Head", "Which head, counted from 1")
        self.how = _box("How", "What the heads do instead")
        self.hints = tuple(WrappedLabel() for _ in _PAGES)
        self.adds = tuple(QPushButton("Try") for _ in _PAGES)
        self.tabs = QButtonGroup(self)
        self._pages = QStackedWidget()
        self._fill()
        self._lay_out()
        self._connect()
        self.set_regions((), "")
        self.set_words((), "")
        self.set_heads((), "")

    # --- what can be chosen ----------------------------------------------------------------------------
    def set_regions(self, regions: Sequence[str], hint: str, *, sound: bool = False) -> None:
        """Offer regions; `hint` says what to do where there is none."""
        _fill_keys(self.action, SOUND_ACTIONS if sound else ACTIONS)
        self._offer(0, self.region, regions, hint)
        self.action.setEnabled(bool(regions))

    def set_words(self, words: Sequence[str], hint: str) -> None:
        """Offer words."""
        self._offer(1, self.word, words, hint)
        self.instead.setEnabled(bool(words))

    def set_heads(self, places: Sequence[HeadPlace], hint: str) -> None:
        """Offer attention with its layers and heads."""
        if tuple(places) != self._heads or not places:
            self._heads = tuple(places)
            self._offer(2, self.place, [place.label for place in places], hint)
            for box in (self.layer, self.head, self.how):
                box.setEnabled(bool(places))
            self._fill_layers()

    def choose_region(self, place: int) -> None:
        """Suggest a region, such as the one that was drawn last."""
        if 0 <= place < self.region.count():
            self.region.setCurrentIndex(place)

    def choose_heads(self, place: int, layer: int | None, head: int | None) -> None:
        """Suggest heads, such as those whose map is shown."""
        if 0 <= place < len(self._heads):
            self.place.setCurrentIndex(place)
            self._fill_layers()
            self.layer.setCurrentIndex(0 if layer is None else layer + 1)
            self.head.setCurrentIndex(0 if head is None else head + 1)

    # --- inside ----------------------------------------------------------------------------------------
    def _fill(self) -> None:
        _fill_keys(self.how, HOW)
        self.instead.setPlaceholderText("instead: nothing")
        self.instead.setMaxLength(_LONGEST)
        self.instead.setClearButtonEnabled(True)
        self.instead.setMinimumHeight(_TARGET)
        self.instead.setAccessibleName("Words to put there instead")
        self.instead.setToolTip("What the model reads instead; leave it empty to drop the word")

    def _lay_out(self) -> None:
        switch = QHBoxLayout()
        switch.setSpacing(4)
        for number, (name, tip) in enumerate(_PAGES.items()):
            button = QPushButton(name)
            button.setCheckable(True)
            button.setChecked(number == 0)
            button.setMinimumHeight(_TARGET)
            button.setToolTip(tip)
            self.tabs.addButton(button, number)
            switch.addWidget(button)
        switch.addStretch(1)
        rows: tuple[tuple[tuple[QWidget, ...], ...], ...] = (
            ((self.region,), (self.action, self.adds[0])),
            ((self.word,), (self.instead, self.adds[1])),
            ((self.place,), (self.layer, self.head, self.how, self.adds[2])),
        )
        for page_rows, hint in zip(rows, self.hints, strict=True):
            self._pages.addWidget(_page(page_rows, hint))
        for button, what in zip(self.adds, _PAGES, strict=True):
            button.setMinimumHeight(_TARGET)
            button.setToolTip("Add this to what is changed, and see what the model makes of it")
            button.setAccessibleName(f"Try this change: {what.lower()}")
        column = QVBoxLayout(self)
        column.setContentsMargins(0, 0, 0, 0)
        column.setSpacing(6)
        column.addLayout(switch)
        column.addWidget(self._pages)
        self._turn_to(0)

    def _connect(self) -> None:
        self.tabs.idClicked.connect(self._turn_to)
        self.place.currentIndexChanged.connect(self._fill_layers)
        self.how.currentIndexChanged.connect(self._enable_head)
        self.adds[0].clicked.connect(
            lambda: self.region_wanted.emit(self.region.currentIndex(), self.action.currentData())
        )
        self.adds[1].clicked.connect(self._want_word)
        self.instead.returnPressed.connect(self._want_word)
        self.adds[2].clicked.connect(
            lambda: self.heads_wanted.emit(
                self.place.currentIndex(),
                self.layer.currentIndex() - 1,
                self.head.currentIndex() - 1,
                self.how.currentData(),
            )
        )

    def _turn_to(self, number: int) -> None:
        """Show a page; the others ask for no room."""
        for place in range(self._pages.count()):
            wanted = QSizePolicy.Policy.Fixed if place == number else QSizePolicy.Policy.Ignored
            page = self._pages.widget(place)
            assert page is not None
            page.setSizePolicy(QSizePolicy.Policy.Ignored, wanted)
        self._pages.setCurrentIndex(number)

    def _want_word(self) -> None:
        if self.word.currentIndex() >= 0:
            self.word_wanted.emit(self.word.currentIndex(), self.instead.text().strip())

    def _offer(self, page: int, box: QComboBox, texts: Sequence[str], hint: str) -> None:
        """Fill a list, keeping what was chosen where it is still there."""
        if [box.itemText(row) for row in range(box.count())] != list(texts):
            chosen = box.currentText()
            with QSignalBlocker(box):
                box.clear()
                box.addItems(list(texts))
                box.setCurrentIndex(max(box.findText(chosen), 0) if texts else -1)
        box.setEnabled(bool(texts))
        self.adds[page].setEnabled(bool(texts))
        self.hints[page].setText("" if texts else hint)
        self.hints[page].setVisible(not texts and bool(hint))

    def _fill_layers(self) -> None:
        index = self.place.currentIndex()
        place = self._heads[index] if 0 <= index < len(self._heads) else HeadPlace("", 0, 0)
        for box, what, count in ((self.layer, "layer", place.layers), (self.head, "head", place.heads)):
            texts = [f"all {what}s", *(f"{what} {number + 1}" for number in range(count))] if count else []
            if [box.itemText(row) for row in range(box.count())] != texts:
                box.clear()
                box.addItems(texts)
        _fill_keys(self.how, HOW | (GATES if place.gated else {}))
        self._enable_head()

    def _enable_head(self) -> None:
        """A gate is that of a whole layer."""
        self.head.setEnabled(bool(self._heads) and self.how.currentData() not in GATES)


def _fill_keys(box: QComboBox, choices: Mapping[str, tuple[str, str]]) -> None:
    """Offer keys by their words, each with a tooltip, unless they are there already."""
    if [box.itemData(row) for row in range(box.count())] != list(choices):
        box.clear()
        for row, (key, (words, tip)) in enumerate(choices.items()):
            box.addItem(words, key)
            box.setItemData(row, tip, Qt.ItemDataRole.ToolTipRole)


def _box(name: str, tip: str) -> QComboBox:
    box = QComboBox()
    box.setAccessibleName(name)
    box.setToolTip(tip)
    box.setMinimumHeight(_TARGET)
    box.setSizeAdjustPolicy(QComboBox.SizeAdjustPolicy.AdjustToMinimumContentsLengthWithIcon)
    box.setMinimumContentsLength(4)
    return box


def _page(rows: tuple[tuple[QWidget, ...], ...], hint: WrappedLabel) -> QWidget:
    page = QWidget()
    column = QVBoxLayout(page)
    column.setContentsMargins(0, 0, 0, 0)
    column.setSpacing(4)
    for widgets in rows:
        line = QHBoxLayout()
        line.setSpacing(4)
        for place, widget in enumerate(widgets):
            line.addWidget(widget, 0 if place and place == len(widgets) - 1 else 1)
        column.addLayout(line)
    hint.setObjectName("faint")
    column.addWidget(hint)
    return page
