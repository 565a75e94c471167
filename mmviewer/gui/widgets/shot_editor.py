"""Examples that stand before a question: pictures with what is asked and what should be answered."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from PySide6.QtCore import Signal
from PySide6.QtGui import QPixmap
from PySide6.QtWidgets import (
    QFrame,
    QHBoxLayout,
    QLabel,
    QLineEdit,
    QPushButton,
    QToolButton,
    QVBoxLayout,
    QWidget,
)

from mmviewer.gui.widgets.elided_label import ElidedLabel
from mmviewer.gui.widgets.wrapped_label import WrappedLabel

_PICTURE = 36
_LONGEST = 500  # characters of a field


@dataclass(frozen=True, slots=True)
class ShotRow:
    """One example as it is edited: its picture's `key` (empty for none) and name, and the two texts."""

    key: str
    name: str
    question: str = ""
    answer: str = ""


class ShotEditor(QWidget):
    """A card for each example, in the order in which the model reads them."""

    changed = Signal(tuple)
    """tuple of `ShotRow`, as edited."""
    pictures_wanted = Signal()
    """The selected pictures of the library shall become examples."""

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._rows: tuple[ShotRow, ...] = ()
        self.cards: list[ShotCard] = []
        self.hint = WrappedLabel(
            "The model reads these before the picture: select pictures in the library, add them here, and "
            "type what it should say of each."
        )
        self.hint.setObjectName("faint")
        self.add_pictures = _button("Add selected pictures", "The pictures selected in the library.")
        self.add_text = _button("Add a text", "An example without a picture.")
        self.add_pictures.clicked.connect(self.pictures_wanted)
        self.add_text.clicked.connect(lambda: self._take((*self._rows, ShotRow("", "text only"))))
        buttons = QHBoxLayout()
        buttons.addWidget(self.add_pictures)
        buttons.addWidget(self.add_text)
        buttons.addStretch(1)
        self._column = QVBoxLayout()
        self._column.setSpacing(6)
        whole = QVBoxLayout(self)
        whole.setContentsMargins(0, 0, 0, 0)
        whole.setSpacing(6)
        whole.addWidget(self.hint)
        whole.addLayout(self._column)
        whole.addLayout(buttons)

    @property
    def rows(self) -> tuple[ShotRow, ...]:
        """The examples as they are now."""
        return self._rows

    def set_rows(self, rows: Sequence[ShotRow], pictures: dict[str, QPixmap]) -> None:
        """Show examples; `pictures` by key. Fields that are being typed into stay as they are."""
        if [(row.key, row.name) for row in rows] != [(row.key, row.name) for row in self._rows]:
            self._rebuild(rows, pictures)
        self._rows = tuple(rows)
        for card, row in zip(self.cards, rows, strict=True):
            card.show_row(row)
        self.hint.setVisible(not rows)

    def _rebuild(self, rows: Sequence[ShotRow], pictures: dict[str, QPixmap]) -> None:
        for card in self.cards:
            self._column.removeWidget(card)
            card.hide()
            card.deleteLater()
        self.cards = []
        for number, row in enumerate(rows):
            card = ShotCard(number, row, pictures.get(row.key))
            card.edited.connect(self._edit)
            card.removed.connect(self._remove)
            card.raised.connect(self._raise)
            self._column.addWidget(card)
            self.cards.append(card)

    def _edit(self, number: int, question: str, answer: str) -> None:
        rows = list(self._rows)
        rows[number] = replace(rows[number], question=question, answer=answer)
        self._take(tuple(rows))

    def _remove(self, number: int) -> None:
        self._take((*self._rows[:number], *self._rows[number + 1 :]))

    def _raise(self, number: int) -> None:
        rows = list(self._rows)
        rows[number - 1], rows[number] = rows[number], rows[number - 1]
        self._take(tuple(rows))

    def _take(self, rows: tuple[ShotRow, ...]) -> None:
        self.changed.emit(rows)


class ShotCard(QFrame):
    """One example."""

    edited = Signal(int, str, str)
    """Number, question and answer."""
    removed = Signal(int)
    raised = Signal(int)
    """It shall be read one earlier."""

    def __init__(self, number: int, row: ShotRow, picture: QPixmap | None) -> None:
        super().__init__()
        self.setObjectName("card")
        self._number = number
        where = f"example {number + 1}"
        self.question = _field(f"Question of {where}", "What is asked; empty: for a caption")
        self.answer = _field(f"Answer of {where}", "What it should say")
        up = _small("↑", f"Move {where} up", "Let the model read this example one earlier.")
        up.setEnabled(number > 0)
        away = _small("✕", f"Remove {where}", "Take this example away; the picture stays in the library.")
        up.clicked.connect(lambda: self.raised.emit(number))
        away.clicked.connect(lambda: self.removed.emit(number))
        for field in (self.question, self.answer):
            field.textEdited.connect(
                lambda _text: self.edited.emit(number, self.question.text(), self.answer.text())
            )
        shown = QLabel()
        if picture is not None:
            shown.setPixmap(picture)
            shown.setFixedSize(_PICTURE, _PICTURE)
            shown.setScaledContents(True)
        shown.setVisible(picture is not None)
        head = QHBoxLayout()
        head.addWidget(shown)
        head.addWidget(ElidedLabel(row.name), 1)
        head.addWidget(up)
        head.addWidget(away)
        column = QVBoxLayout(self)
        column.setContentsMargins(8, 6, 6, 8)
        column.setSpacing(4)
        column.addLayout(head)
        column.addWidget(self.question)
        column.addWidget(self.answer)

    def show_row(self, row: ShotRow) -> None:
        """Show the texts; nothing happens to a field that has them already."""
        for field, text in ((self.question, row.question), (self.answer, row.answer)):
            if field.text() != text:
                field.setText(text)


def _button(text: str, tip: str) -> QPushButton:
    button = QPushButton(text)
    button.setToolTip(tip)
    button.setMinimumHeight(26)
    return button


def _small(text: str, name: str, tip: str) -> QToolButton:
    button = QToolButton()
    button.setText(text)
    button.setProperty("flat-button", True)
    button.setFixedSize(26, 26)
    button.setAccessibleName(name)
    button.setToolTip(tip)
    return button


def _field(name: str, placeholder: str) -> QLineEdit:
    field = QLineEdit()
    field.setAccessibleName(name)
    field.setPlaceholderText(placeholder)
    field.setToolTip(placeholder)
    field.setMaxLength(_LONGEST)
    field.setMinimumHeight(26)
    return field
