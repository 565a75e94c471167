"""Given answers, separated by commas, and how likely a model holds each of them."""

from __future__ import annotations

from collections.abc import Sequence

from PySide6.QtCore import Signal
from PySide6.QtWidgets import QCheckBox, QHBoxLayout, QLineEdit, QPushButton, QVBoxLayout, QWidget

from mmviewer.gui.widgets.score_bars import ScoreBars, ScoreRow
from mmviewer.gui.widgets.wrapped_label import WrappedLabel

MOST = 64
"""Answers that are scored at once."""
_LONGEST = 4_000  # characters


class AnswerBars(QWidget):
    """A line to type answers in, and their bars."""

    wanted = Signal(tuple)
    """Answers as typed, each once."""
    shown = Signal(int)
    """Number of the answer whose tokens and maps are wanted."""
    per_token_changed = Signal(bool)

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.field = QLineEdit()
        self.field.setPlaceholderText("yes, no, a dog")
        self.field.setMaxLength(_LONGEST)
        self.field.setClearButtonEnabled(True)
        self.field.setMinimumHeight(26)
        self.field.setAccessibleName("Answers to score, separated by commas")
        self.field.setToolTip("Answers separated by commas; Return scores how likely the model holds each.")
        self.score = QPushButton("Score")
        self.score.setMinimumHeight(26)
        self.score.setToolTip("How likely would the model write each of these answers?")
        self.per_token = QCheckBox("Per token")
        self.per_token.setToolTip(
            "Compare the mean log-probability of each answer's tokens: without it, long answers lose against "
            "short ones."
        )
        self.subject = WrappedLabel()
        self.subject.setObjectName("faint")
        self.bars = ScoreBars()
        self.bars.setAccessibleName("Log-probability of each answer")
        self.bars.activated.connect(self._on_activated)
        self.field.returnPressed.connect(self._ask)
        self.score.clicked.connect(self._ask)
        self.per_token.toggled.connect(self.per_token_changed)
        row = QHBoxLayout()
        row.setSpacing(6)
        row.addWidget(self.field, 1)
        row.addWidget(self.score)
        foot = QHBoxLayout()
        foot.addWidget(self.subject, 1)
        foot.addWidget(self.per_token)
        column = QVBoxLayout(self)
        column.setContentsMargins(0, 0, 0, 0)
        column.setSpacing(4)
        column.addLayout(row)
        column.addLayout(foot)
        column.addWidget(self.bars)
        self.show_rows([], "")

    @property
    def answers(self) -> tuple[str, ...]:
        """What is typed: each answer once, in order, at most `MOST`."""
        parts = (" ".join(part.split()) for part in self.field.text().split(","))
        return tuple(dict.fromkeys(part for part in parts if part))[:MOST]

    def show_rows(self, rows: Sequence[ScoreRow], subject: str) -> None:
        """Show scores; `subject` says what they are of."""
        self.bars.set_rows(rows)
        self.bars.setVisible(bool(rows))
        self.bars.setFixedHeight(self.bars.row_height() * min(max(len(rows), 1), 8) + 4)
        self.subject.setText(subject)
        self.per_token.setVisible(bool(rows))

    def _ask(self) -> None:
        if self.answers:
            self.wanted.emit(self.answers)

    def _on_activated(self, label: str) -> None:
        labels = [row.label for row in self.bars.rows()]
        if label in labels:
            self.shown.emit(labels.index(label))
