"""What does it write: how tokens are chosen, the text, how sure it was, and what else it weighed."""

from __future__ import annotations

import math
from contextlib import ExitStack
from typing import ClassVar

from PySide6.QtCore import QSignalBlocker
from PySide6.QtGui import QGuiApplication
from PySide6.QtWidgets import (
    QComboBox,
    QDoubleSpinBox,
    QFormLayout,
    QHBoxLayout,
    QLabel,
    QPlainTextEdit,
    QSpinBox,
    QVBoxLayout,
    QWidget,
)

from mmviewer.core.session.state import LibraryItem
from mmviewer.core.types import Modality, Sampling, TokenSequence, TokenSpan
from mmviewer.gui.activities import Activity
from mmviewer.gui.buttons import icon_button, push_button
from mmviewer.gui.panels.base import PANELS, Area, Panel
from mmviewer.gui.widgets.elided_label import ElidedLabel
from mmviewer.gui.widgets.score_bars import ScoreBars, ScoreRow
from mmviewer.gui.widgets.wrapped_label import WrappedLabel
from mmviewer.gui.workbench import Workbench

_GREEDY, _SAMPLED = "the most likely token", "drawn at random"
_TIPS = {
    "Next token": "Greedy decoding takes the most likely token; sampling draws one from the distribution.",
    "Temperature": "Below 1 sharpens the distribution before drawing, above 1 flattens it.",
    "Top k": "Draw only among the k most likely tokens; 0 sets no such limit.",
    "Top p": "Draw only among the most likely tokens that together hold this probability.",
    "Seed": "The same seed draws the same text again.",
    "Longest": "Stop after so many tokens, even without an end.",
}


@PANELS.add("caption")
class CaptionPanel(Panel):
    """Sampling options, Run and Cancel, the text, and alternatives of the chosen token."""

    key: ClassVar[str] = "caption"
    title: ClassVar[str] = "Caption"
    area: ClassVar[Area] = Area.RIGHT
    order: ClassVar[int] = 30
    icon: ClassVar[str] = "caption"
    help: ClassVar[str] = "How the model's caption or transcript is made, and how sure it was."

    def __init__(self, workbench: Workbench, parent: QWidget | None = None) -> None:
        super().__init__(workbench, parent)
        self._make_options()
        self.run = push_button(
            "Caption", "Let the model write, with these options (Ctrl+Return).", primary=True
        )
        self.cancel = push_button("Cancel", "Stop after the token that is being made.")
        self.copy = icon_button("copy", "Copy the text", "Copy the caption or transcript.")
        self.text = QPlainTextEdit()
        self.text.setReadOnly(True)
        self.text.setAccessibleName("Caption or transcript")
        self.text.setPlaceholderText("The text appears here, token by token.")
        self.text.setMaximumHeight(110)
        self.sureness = QLabel()
        self.sureness.setObjectName("faint")
        self.sureness.setWordWrap(True)
        self.sureness.setToolTip(
            "Mean of the tokens' log-probabilities; its exponential is the typical probability."
        )
        self.error = WrappedLabel()
        self.chosen = ElidedLabel("Alternatives", bold=True)
        self.alternatives = ScoreBars()
        self.alternatives.setToolTip("What the model held most likely at this place, and how likely.")
        self._lay_out()
        self._connect()
        self._show_sampling(self.state.sampling)
        self._show_sequence(self.state.sequence)
        self._on_current(self.state.current)
        self._show_activity(workbench.activity("sequence"))

    # --- layout ---------------------------------------------------------------------------------------
    def _make_options(self) -> None:
        self.mode = QComboBox()
        self.mode.addItems([_GREEDY, _SAMPLED])
        self.mode.setSizeAdjustPolicy(QComboBox.SizeAdjustPolicy.AdjustToMinimumContentsLengthWithIcon)
        self.mode.setMinimumContentsLength(8)
        self.temperature = QDoubleSpinBox()
        self.temperature.setRange(0.05, 5.0)
        self.temperature.setSingleStep(0.1)
        self.temperature.setValue(1.0)
        self.top_k = QSpinBox()
        self.top_k.setRange(0, 100_000)
        self.top_k.setSpecialValueText("no limit")
        self.top_p = QDoubleSpinBox()
        self.top_p.setRange(0.01, 1.0)
        self.top_p.setSingleStep(0.05)
        self.top_p.setValue(1.0)
        self.seed = QSpinBox()
        self.seed.setRange(0, 2**31 - 1)
        self.longest = QSpinBox()
        self.longest.setRange(1, 4096)
        self.longest.setSuffix(" tokens")

    def _lay_out(self) -> None:
        form = QFormLayout()
        form.setVerticalSpacing(6)
        rows = (self.mode, self.temperature, self.top_k, self.top_p, self.seed, self.longest)
        for (name, tip), widget in zip(_TIPS.items(), rows, strict=True):
            label = QLabel(name)
            label.setToolTip(tip)
            widget.setToolTip(tip)
            widget.setAccessibleName(name)
            form.addRow(label, widget)
        buttons = QHBoxLayout()
        buttons.addWidget(self.run)
        buttons.addWidget(self.cancel)
        buttons.addStretch(1)
        buttons.addWidget(self.copy)
        column = QVBoxLayout(self)
        column.setContentsMargins(10, 10, 10, 10)
        column.setSpacing(8)
        column.addLayout(form)
        column.addLayout(buttons)
        column.addWidget(self.error)
        column.addWidget(self.text)
        column.addWidget(self.sureness)
        column.addWidget(self.chosen)
        column.addWidget(self.alternatives, 1)

    def _connect(self) -> None:
        bench = self.workbench
        self.mode.currentIndexChanged.connect(self._take_sampling)
        for box in (self.temperature, self.top_k, self.top_p, self.seed, self.longest):
            box.valueChanged.connect(self._take_sampling)
        self.run.clicked.connect(bench.generate)
        self.cancel.clicked.connect(lambda: bench.cancel("sequence"))
        self.copy.clicked.connect(self._copy)
        bench.activities.changed.connect(self._on_activity)
        self.watch(self.state.sampling_changed, self._show_sampling)
        self.watch(self.state.sequence_changed, self._show_sequence)
        self.watch(self.state.tokens_changed, lambda _tokens: self._show_alternatives())
        self.watch(self.state.current_changed, self._on_current)

    # --- sampling -------------------------------------------------------------------------------------
    def _take_sampling(self) -> None:
        sampled = self.mode.currentIndex() == 1
        self.state.set_sampling(
            Sampling(
                temperature=self.temperature.value() if sampled else 0.0,
                top_k=self.top_k.value() if sampled else 0,
                top_p=self.top_p.value() if sampled else 1.0,
                max_tokens=self.longest.value(),
                seed=self.seed.value(),
            )
        )
        self._enable_options()

    def _show_sampling(self, sampling: Sampling) -> None:
        """Show options that came from elsewhere; those that greedy decoding ignores keep their values."""
        sampled = sampling.temperature > 0
        with ExitStack() as quiet:
            for box in (self.mode, self.temperature, self.top_k, self.top_p, self.seed, self.longest):
                quiet.enter_context(QSignalBlocker(box))
            self.mode.setCurrentIndex(int(sampled))
            if sampled:
                self.temperature.setValue(sampling.temperature)
                self.top_k.setValue(sampling.top_k)
                self.top_p.setValue(sampling.top_p)
            self.seed.setValue(sampling.seed)
            self.longest.setValue(sampling.max_tokens)
        self._enable_options()

    def _enable_options(self) -> None:
        for box in (self.temperature, self.top_k, self.top_p, self.seed):
            box.setEnabled(self.mode.currentIndex() == 1)

    # --- showing --------------------------------------------------------------------------------------
    def _on_current(self, item: LibraryItem | None) -> None:
        sound = item is not None and item.media.modality is Modality.AUDIO
        self.run.setText("Transcribe" if sound else "Caption")
        self.run.setEnabled(item is not None and item.media.modality is not Modality.TEXT)

    def _on_activity(self, key: str, activity: Activity) -> None:
        if key == "sequence":
            self._show_activity(activity)

    def _show_activity(self, activity: Activity) -> None:
        self.cancel.setVisible(activity.running)
        self.error.setText(activity.error.message if activity.error else "")
        self.error.setVisible(activity.error is not None)

    def _show_sequence(self, sequence: TokenSequence | None) -> None:
        self.text.setPlainText(sequence.text.strip() if sequence else "")
        self.copy.setEnabled(sequence is not None)
        self.sureness.setText(_sureness(sequence))
        self._show_alternatives()

    def _show_alternatives(self) -> None:
        token = self._chosen_token()
        if token is None or not token.alternatives:
            self.chosen.set_text("Alternatives")
            self.chosen.setVisible(token is not None)
            self.alternatives.set_rows([])
            return
        self.chosen.setVisible(True)
        self.chosen.set_text(f"Instead of “{token.text.strip() or token.text}”")
        self.alternatives.set_rows(
            [
                ScoreRow(text.strip() or repr(text), math.exp(logprob), f"log-probability {logprob:.3f}")
                for text, logprob in token.alternatives
            ]
        )

    def _chosen_token(self) -> TokenSpan | None:
        sequence, tokens = self.state.sequence, self.state.tokens
        if sequence is None or not tokens:
            return None
        return next((token for token in sequence.tokens if token.index == tokens[-1]), None)

    def _copy(self) -> None:
        QGuiApplication.clipboard().setText(self.text.toPlainText())
        self.workbench.notice.emit("Copied the text.", "info")

    def release(self) -> None:
        """Let go of the workbench."""
        self.workbench.activities.changed.disconnect(self._on_activity)
        super().release()


def _sureness(sequence: TokenSequence | None) -> str:
    if sequence is None:
        return ""
    logprobs = [token.logprob for token in sequence.tokens if token.logprob is not None]
    if not logprobs:
        return "A typed description: nothing was predicted." if sequence.kind == "query" else ""
    mean = sum(logprobs) / len(logprobs)
    return (
        f"{len(logprobs)} tokens · mean log-probability {mean:.2f} (typical probability {math.exp(mean):.2f})"
    )
