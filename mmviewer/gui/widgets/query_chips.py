"""The questions that were asked, newest first: click one to ask again, drag it, drop one here to keep it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from PySide6.QtCore import QPointF, QSize, Qt, Signal
from PySide6.QtGui import QDragEnterEvent, QDropEvent, QIcon, QImage, QMouseEvent, QPixmap
from PySide6.QtWidgets import QHBoxLayout, QPushButton, QWidget

from mmviewer.gui.widgets.flow_layout import FlowLayout
from mmviewer.gui.widgets.point_drag import QUERY_MIME, drag_query

_DRAG = 8.0  # pixels
_LETTERS = 28
_PICTURE = 20  # pixels


@dataclass(frozen=True, slots=True)
class QueryChip:
    """A question: its key, what its chip says and shows, and whether it was kept."""

    key: str
    text: str
    tip: str = ""
    kept: bool = False
    picture: QImage | None = field(default=None, compare=False)


class QueryChips(QWidget):
    """Chips of questions.

    Signals
    -------
    chosen(str)
        The key of the question that is to be asked again.
    removed(str)
        The key of the question that is to be forgotten.
    dropped(str)
        The key of the question that was dropped here, to be kept.
    """

    chosen = Signal(str)
    removed = Signal(str)
    dropped = Signal(str)

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._flow = FlowLayout(self, spacing=4)
        self._chips: list[_Chip] = []
        self._shown: tuple[QueryChip, ...] = ()
        self.setAcceptDrops(True)
        self.setAccessibleName("Questions asked before")

    @property
    def chips(self) -> tuple[QueryChip, ...]:
        """What is shown."""
        return self._shown

    def set_chips(self, chips: Sequence[QueryChip]) -> None:
        """Show other questions."""
        if tuple(chips) == self._shown:
            return
        self._shown = tuple(chips)
        while self._flow.count():
            item = self._flow.takeAt(0)
            widget = item.widget() if item is not None else None
            if widget is not None:
                widget.hide()
                widget.deleteLater()
        self._chips = [_Chip(chip, self) for chip in chips]
        for chip in self._chips:
            self._flow.addWidget(chip)
            chip.show()
        self.updateGeometry()

    def chip(self, key: str) -> QPushButton:
        """The button of a question."""
        return next(chip.button for chip in self._chips if chip.key == key)

    def dragEnterEvent(self, event: QDragEnterEvent) -> None:
        if event.mimeData().hasFormat(QUERY_MIME):
            event.acceptProposedAction()

    def dropEvent(self, event: QDropEvent) -> None:
        event.acceptProposedAction()
        self.dropped.emit(bytes(event.mimeData().data(QUERY_MIME).data()).decode())


class _Chip(QWidget):
    """A question as a button, with a small one to forget it."""

    def __init__(self, chip: QueryChip, chips: QueryChips) -> None:
        super().__init__(chips)
        self.key = chip.key
        self.button = _ChipButton(chip, chips)
        forget = QPushButton("×")
        forget.setProperty("flat-button", True)
        forget.setFixedSize(24, 26)
        forget.setStyleSheet("padding: 0")
        forget.setAccessibleName(f"Forget {chip.text}")
        forget.setToolTip("Forget this question")
        forget.clicked.connect(lambda: chips.removed.emit(chip.key))
        row = QHBoxLayout(self)
        row.setContentsMargins(0, 0, 0, 0)
        row.setSpacing(0)
        row.addWidget(self.button)
        row.addWidget(forget)


class _ChipButton(QPushButton):
    """Asks again when it is clicked, and lets itself be dragged."""

    def __init__(self, chip: QueryChip, chips: QueryChips) -> None:
        short = chip.text if len(chip.text) <= _LETTERS else f"{chip.text[: _LETTERS - 1]}…"
        super().__init__(f"★ {short}" if chip.kept else short)
        self._chip = chip
        self._pressed = QPointF()
        if chip.picture is not None:
            self.setIcon(QIcon(QPixmap.fromImage(chip.picture)))
            self.setIconSize(QSize(_PICTURE, _PICTURE))
            self.setText(f" {self.text()}")  # the style sets them close
        self.setMinimumHeight(26)
        self.setToolTip(f"{chip.text}\n{chip.tip}".strip())
        self.clicked.connect(lambda: chips.chosen.emit(chip.key))

    def mousePressEvent(self, event: QMouseEvent) -> None:
        self._pressed = event.position()
        super().mousePressEvent(event)

    def mouseMoveEvent(self, event: QMouseEvent) -> None:
        far = (event.position() - self._pressed).manhattanLength() > _DRAG
        if event.buttons() & Qt.MouseButton.LeftButton and far:
            self.setDown(False)
            drag_query(self, self._chip.key, self._chip.text)
        else:
            super().mouseMoveEvent(event)
