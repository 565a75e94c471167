"""What a map explains, against what, and what it leaves out: a button that says so and opens the choices."""

from __future__ import annotations

from collections.abc import Sequence

from PySide6.QtCore import QPoint, QSignalBlocker, Qt, Signal
from PySide6.QtWidgets import (
    QCheckBox,
    QComboBox,
    QFormLayout,
    QFrame,
    QLabel,
    QPushButton,
    QSizePolicy,
    QVBoxLayout,
    QWidget,
)

_HEIGHT = 26
_WIDE = 320
_LONGEST, _SHORTEST = 34, 9  # letters on the button

_TIP = "What the map explains, what it is contrasted with, and whether attention sinks are left out."
_TARGET_TIP = "Which score the map explains: that of each word, of the whole text, of one word or of a label."
_CONTRAST_TIP = (
    "With another word, a label or the runner-up here, the map shows what speaks for the one rather than for "
    "the other. Type a word and press Enter, or choose one."
)
_SINKS_TIP = (
    "Attention sinks are places that draw weight whatever the word. They are found in the encoder, and the "
    "card says where they are."
)
_NO_SCORE = (
    "This method shows weights and explains no score, so it can be asked neither for nor against anything; "
    "choose an attribution such as gradient × attention."
)

Entry = tuple[str, str]
"""A label and what it means."""


class TargetChooser(QPushButton):
    """Holds no truth of its own: `show_targets` says what there is and what is chosen."""

    target_chosen = Signal(int)
    """Place among the targets."""
    contrast_chosen = Signal(int)
    """Place among the contrasts."""
    contrast_typed = Signal(str)
    """A word or text that was typed."""
    sinks_switched = Signal(bool)
    """Whether sinks are left out."""

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._short, self._summary = False, ""
        self.setFixedHeight(_HEIGHT)
        self.setToolTip(_TIP)
        self.target = _combo("What the map explains", _TARGET_TIP)
        self.contrast = _combo("What it is contrasted with", _CONTRAST_TIP)
        self.contrast.setEditable(True)
        self.contrast.setInsertPolicy(QComboBox.InsertPolicy.NoInsert)
        self.contrast.setCompleter(None)  # type: ignore[arg-type]
        self.without_sinks = QCheckBox("Leave out attention sinks")
        self.without_sinks.setToolTip(_SINKS_TIP)
        self.without_sinks.setMinimumHeight(_HEIGHT)
        self.reason = QLabel(_NO_SCORE)
        self.reason.setWordWrap(True)
        self.popup = self._make_popup()
        self._connect()

    # --- what is shown ---------------------------------------------------------------------------------
    def show_targets(
        self,
        targets: Sequence[Entry],
        target: int,
        contrasts: Sequence[Entry],
        contrast: int,
        *,
        scored: bool,
    ) -> None:
        """Offer targets and contrasts; a method that is not `scored` takes none. What is typed is kept."""
        _fill(self.target, targets, target)
        field = self.contrast.lineEdit()
        if not (field is not None and field.hasFocus() and field.isModified()):
            _fill(self.contrast, contrasts, contrast)
        for combo in (self.target, self.contrast):
            combo.setEnabled(scored and combo.count() > 0)
        self.reason.setVisible(not scored)

    def show_sinks(self, left_out: bool) -> None:
        """Show whether sinks are left out; emits nothing."""
        with QSignalBlocker(self.without_sinks):
            self.without_sinks.setChecked(left_out)

    def show_summary(self, text: str) -> None:
        """Say on the button what is chosen."""
        self._summary = text
        longest = _SHORTEST if self._short else _LONGEST
        shown = text if len(text) <= longest else f"{text[: longest - 1].rstrip()}…"
        self.setText(f"{shown} ▾")
        self.setToolTip(f"{_TIP}\nNow: {text}.")
        self.setAccessibleName(f"What the map explains: {text}")

    def set_short(self, short: bool) -> None:
        """Say it in a few letters where there is little room."""
        if short != self._short:
            self._short = short
            self.show_summary(self._summary)

    # --- inside ----------------------------------------------------------------------------------------
    def _make_popup(self) -> QFrame:
        popup = QFrame(self, Qt.WindowType.Popup)
        popup.setObjectName("popup")
        popup.setFrameShape(QFrame.Shape.StyledPanel)
        form = QFormLayout()
        form.addRow("Explain", self.target)
        form.addRow("and not", self.contrast)
        column = QVBoxLayout(popup)
        column.setContentsMargins(12, 10, 12, 10)
        column.addLayout(form)
        column.addWidget(self.reason)
        column.addWidget(self.without_sinks)
        popup.setFixedWidth(_WIDE)
        return popup

    def _connect(self) -> None:
        self.clicked.connect(self._open)
        self.target.activated.connect(self.target_chosen)
        self.contrast.activated.connect(self.contrast_chosen)
        field = self.contrast.lineEdit()
        if field is not None:
            field.returnPressed.connect(self._take_typed)
        self.without_sinks.toggled.connect(self.sinks_switched)

    def _open(self) -> None:
        """Show the choices above the button, where the picture is; below where there is no room."""
        size = self.popup.sizeHint()
        at = self.mapToGlobal(QPoint(0, -size.height() - 4))
        room = self.screen().availableGeometry()
        if at.y() < room.top():
            at = self.mapToGlobal(QPoint(0, self.height() + 4))
        at.setX(max(room.left(), min(at.x(), room.right() - _WIDE)))
        self.popup.move(at)
        self.popup.show()
        (self.target if self.target.isEnabled() else self.without_sinks).setFocus()

    def _take_typed(self) -> None:
        field = self.contrast.lineEdit()
        if field is None:
            return
        text = field.text()
        field.setModified(False)
        place = self.contrast.findText(text, Qt.MatchFlag.MatchExactly)
        if place >= 0:
            self.contrast_chosen.emit(place)
        else:
            self.contrast_typed.emit(text)


def _combo(name: str, tip: str) -> QComboBox:
    combo = QComboBox()
    combo.setAccessibleName(name)
    combo.setToolTip(tip)
    combo.setMinimumHeight(_HEIGHT)
    combo.setSizePolicy(QSizePolicy.Policy.Expanding, QSizePolicy.Policy.Fixed)
    combo.setSizeAdjustPolicy(QComboBox.SizeAdjustPolicy.AdjustToMinimumContentsLengthWithIcon)
    return combo


def _fill(combo: QComboBox, entries: Sequence[Entry], chosen: int) -> None:
    """Offer other entries; nothing happens while they are the same, so that an open list stays open."""
    if [combo.itemText(place) for place in range(combo.count())] != [label for label, _ in entries]:
        combo.clear()
        for place, (label, explained) in enumerate(entries):
            combo.addItem(label)
            combo.setItemData(place, explained or label, Qt.ItemDataRole.ToolTipRole)
    combo.setCurrentIndex(chosen)
    if combo.isEditable():
        combo.setEditText(combo.itemText(chosen) if chosen >= 0 else "")
