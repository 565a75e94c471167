"""A button that unfolds a list to tick, for choosing several of some."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from PySide6.QtCore import QPoint, QSignalBlocker, Qt, Signal
from PySide6.QtWidgets import (
    QFrame,
    QHBoxLayout,
    QListWidget,
    QListWidgetItem,
    QPushButton,
    QVBoxLayout,
    QWidget,
)

from mmviewer.gui.widgets.elided_label import plain_tooltip

_ROWS_SEEN = 12
_WIDTH = 240


@dataclass(frozen=True, slots=True)
class Tick:
    """One line of the list; `usual` lines are those that the second button chooses."""

    key: str
    label: str
    tip: str = ""
    usual: bool = True


class CheckPicker(QPushButton):
    """Says how many are chosen; a press unfolds the list.

    Parameters
    ----------
    what : str
        What is chosen, in the plural: "words".
    usual : str
        Name of the button that chooses the usual ones; empty for none.
    """

    picked = Signal(tuple)
    """Keys that are ticked, in the order of the list."""

    def __init__(self, what: str = "", usual: str = "", parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._what = what
        self._ticks: tuple[Tick, ...] = ()
        self.setMinimumHeight(26)
        self.popup = QFrame(self, Qt.WindowType.Popup)
        self.popup.setObjectName("card")
        self.list = QListWidget()
        self.list.setMinimumWidth(_WIDTH)
        self.all = QPushButton("All")
        self.all.setToolTip("Tick all of them")
        self.usual = QPushButton()
        self.none = QPushButton("None")
        self.none.setToolTip("Tick none of them")
        self._lay_out()
        self.set_subject(what, usual)
        self.clicked.connect(self.unfold)
        self.list.itemChanged.connect(lambda _item: self._tell())
        self.all.clicked.connect(lambda: self._tick_where(lambda tick: True))
        self.usual.clicked.connect(lambda: self._tick_where(lambda tick: tick.usual))
        self.none.clicked.connect(lambda: self._tick_where(lambda tick: False))

    def set_subject(self, what: str, usual: str) -> None:
        """Name what is chosen, and the usual ones."""
        self._what = what
        self.usual.setText(usual)
        self.usual.setToolTip(f"Tick {usual.lower()}")
        self.usual.setVisible(bool(usual))
        self.list.setAccessibleName(f"Choose {what}")
        self.setToolTip(f"Choose which {what} are shown")
        self._name()

    def set_ticks(self, ticks: Sequence[Tick], chosen: Iterable[str]) -> None:
        """Show other lines; emits nothing."""
        keys = set(chosen)
        if tuple(ticks) == self._ticks and keys == set(self.chosen):
            return
        self._ticks = tuple(ticks)
        with QSignalBlocker(self.list):
            self.list.clear()
            for tick in self._ticks:
                item = QListWidgetItem(tick.label)
                item.setFlags(item.flags() | Qt.ItemFlag.ItemIsUserCheckable)
                item.setToolTip(plain_tooltip(tick.tip or tick.label))
                item.setCheckState(_state(tick.key in keys))
                self.list.addItem(item)
        height = self.list.sizeHintForRow(0) * min(max(len(ticks), 3), _ROWS_SEEN) + 8
        self.list.setFixedHeight(max(height, 60))
        self._name()

    @property
    def chosen(self) -> tuple[str, ...]:
        """Keys that are ticked."""
        ticked = [
            self.list.item(row).checkState() is Qt.CheckState.Checked for row in range(self.list.count())
        ]
        return tuple(tick.key for tick, on in zip(self._ticks, ticked, strict=True) if on)

    def unfold(self) -> None:
        """Show the list below the button, or above it where there is no room."""
        self.popup.adjustSize()
        screen = self.screen().availableGeometry()
        at = self.mapToGlobal(QPoint(0, self.height() + 2))
        if at.y() + self.popup.height() > screen.bottom():
            at = self.mapToGlobal(QPoint(0, -self.popup.height() - 2))
        at.setX(max(screen.left(), min(at.x(), screen.right() - self.popup.width())))
        self.popup.move(at)
        self.popup.show()
        self.list.setFocus()
        if self.list.currentRow() < 0:
            self.list.setCurrentRow(0)

    def _lay_out(self) -> None:
        buttons = QHBoxLayout()
        for button in (self.all, self.usual, self.none):
            button.setMinimumHeight(24)
            buttons.addWidget(button)
        buttons.addStretch(1)
        column = QVBoxLayout(self.popup)
        column.setContentsMargins(8, 8, 8, 8)
        column.addLayout(buttons)
        column.addWidget(self.list)

    def _tick_where(self, wanted: Callable[[Tick], bool]) -> None:
        with QSignalBlocker(self.list):
            for row, tick in enumerate(self._ticks):
                self.list.item(row).setCheckState(_state(wanted(tick)))
        self._tell()

    def _tell(self) -> None:
        self._name()
        self.picked.emit(self.chosen)

    def _name(self) -> None:
        count, whole = len(self.chosen), len(self._ticks)
        self.setText(f"{count} of {whole} ▾")
        self.setAccessibleName(f"{count} of {whole} {self._what}")


def _state(ticked: bool) -> Qt.CheckState:
    return Qt.CheckState.Checked if ticked else Qt.CheckState.Unchecked
