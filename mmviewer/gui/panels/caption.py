"""What does it write: how tokens are chosen, the text, how sure it was, and what else it weighed."""

from __future__ import annotations

import math
from contextlib import ExitStack
from typing import ClassVar

from PySide6.QtCore import QSignalBlocker, Qt
from PySide6.QtGui import QGuiApplication, QPalette, QPixmap
from PySide6.QtWidgets import (
    QComboBox,
    QFormLayout,
    QHBoxLayout,
    QLabel,
    QLineEdit,
    QPlainTextEdit,
    QVBoxLayout,
    QWidget,
)

from mmviewer.core.session.state import LibraryItem
from mmviewer.core.types import Capability, Modality, ModelInfo, Sampling, TokenSequence, TokenSpan
from mmviewer.gui.activities import Activity
from mmviewer.gui.answer_rows import answer_rows, answer_subject
from mmviewer.gui.buttons import flat_button, icon_button, push_button
from mmviewer.gui.controllers.drafts import Draft
from mmviewer.gui.panels.base import PANELS, Area, Panel
from mmviewer.gui.thumbnails import Thumbnails
from mmviewer.gui.widgets.alternatives import Alternatives
from mmviewer.gui.widgets.answer_bars import AnswerBars
from mmviewer.gui.widgets.ask_line import AskLine
from mmviewer.gui.widgets.elided_label import ElidedLabel
from mmviewer.gui.widgets.fold import Fold
from mmviewer.gui.widgets.score_bars import ScoreRow
from mmviewer.gui.widgets.scrolled import scrolled
from mmviewer.gui.widgets.shot_editor import ShotEditor, ShotRow
from mmviewer.gui.widgets.spin import DoubleSpinBox, SpinBox
from mmviewer.gui.widgets.turn_list import TurnList
from mmviewer.gui.widgets.wrapped_label import WrappedLabel
from mmviewer.gui.workbench import Workbench

_WRITES = (Capability.CAPTION, Capability.ANSWER, Capability.TRANSCRIBE)
_GREEDY, _SAMPLED = "the most likely token", "drawn at random"
_TIPS = {
    "Next token": "Greedy decoding takes the most likely token; sampling draws one from the distribution.",
    "Temperature": "Below 1 sharpens the distribution before drawing, above 1 flattens it.",
    "Top k": "Draw only among the k most likely tokens; 0 sets no such limit.",
    "Top p": "Draw only among the most likely tokens that together hold this probability.",
    "Seed": "The same seed draws the same text again.",
    "Longest": "Stop after so many tokens, even without an end.",
    "Begins with": "The beginning of a caption, from which the model writes on; its tokens count as given.",
}


@PANELS.add("caption")
class CaptionPanel(Panel):
    """Questions and examples, how the model writes, the text, and what it could have written instead."""

    key: ClassVar[str] = "caption"
    title: ClassVar[str] = "Caption"
    area: ClassVar[Area] = Area.RIGHT
    order: ClassVar[int] = 30
    icon: ClassVar[str] = "caption"
    help: ClassVar[str] = (
        "Ask about the picture; how captions, answers and transcripts are made, and how sure the model was."
    )

    def __init__(self, workbench: Workbench, parent: QWidget | None = None) -> None:
        super().__init__(workbench, parent)
        self.turns = TurnList()
        self.ask = AskLine()
        self.shots = ShotEditor()
        self.examples = Fold(
            "Examples before the question",
            self.shots,
            "Pictures with texts that show the model what is wanted (few-shot); it reads them first.",
        )
        self.answers = AnswerBars()
        self.scoring = Fold(
            "Score given answers",
            self.answers,
            "Type answers or captions; bars show how likely the model would write each of them.",
        )
        self._make_options()
        self.run = push_button(
            "Caption", "Let the model write, with these options (Ctrl+Return).", primary=True
        )
        self.cancel = push_button("Cancel", "Stop after the token that is being made.")
        self.copy = icon_button("copy", "Copy the text", "Copy the caption or transcript.")
        self.mark = push_button(
            "Mark boxes", "Draw the boxes that the model gave for its phrases as regions of the picture."
        )
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
        self.alternatives = Alternatives()
        self.alternatives.setToolTip("What the model held most likely at this place, and how likely.")
        self.branch_note = ElidedLabel("", QPalette.ColorRole.PlaceholderText)
        self.back = flat_button("Back one", "Show the text that this one was branched from.")
        self.original = flat_button("Original", "Show the text as the model wrote it at first.")
        self._thumbnails = Thumbnails()
        self._lay_out()
        self._connect()
        self._show_sampling(self.state.sampling)
        self._show_sequence(self.state.sequence)
        self._on_current(self.state.current)
        self._show_examples()
        self._show_activity(workbench.activity("sequence"))

    def ask_something(self) -> None:
        """Go to the line for questions."""
        self.ask.setFocus(Qt.FocusReason.ShortcutFocusReason)
        self.ask.field.selectAll()

    # --- layout ---------------------------------------------------------------------------------------
    def _make_options(self) -> None:
        self.mode = QComboBox()
        self.mode.addItems([_GREEDY, _SAMPLED])
        self.mode.setSizeAdjustPolicy(QComboBox.SizeAdjustPolicy.AdjustToMinimumContentsLengthWithIcon)
        self.mode.setMinimumContentsLength(8)
        self.temperature = DoubleSpinBox()
        self.temperature.setRange(0.05, 5.0)
        self.temperature.setSingleStep(0.1)
        self.temperature.setValue(1.0)
        self.top_k = SpinBox()
        self.top_k.setRange(0, 100_000)
        self.top_k.setSpecialValueText("no limit")
        self.top_p = DoubleSpinBox()
        self.top_p.setRange(0.01, 1.0)
        self.top_p.setSingleStep(0.05)
        self.top_p.setValue(1.0)
        self.seed = SpinBox()
        self.seed.setRange(0, 2**31 - 1)
        self.longest = SpinBox()
        self.longest.setRange(1, 4096)
        self.longest.setSuffix(" tokens")
        self.beginning = QLineEdit()
        self.beginning.setMaxLength(500)
        self.beginning.setClearButtonEnabled(True)
        self.beginning.setPlaceholderText("nothing: it writes from the start")

    def _lay_out(self) -> None:
        tip = "How the next token is chosen, how the text begins, and where it stops."
        self.options = Fold("How it writes", self._make_form(), tip)
        buttons = QHBoxLayout()
        buttons.addWidget(self.run)
        buttons.addWidget(self.cancel)
        buttons.addStretch(1)
        buttons.addWidget(self.mark)
        buttons.addWidget(self.copy)
        ways = QHBoxLayout()
        ways.addWidget(self.branch_note, 1)
        ways.addWidget(self.back)
        ways.addWidget(self.original)
        inner = QWidget()
        column = QVBoxLayout(inner)
        column.setContentsMargins(10, 10, 10, 10)
        column.setSpacing(8)
        for part in (self.turns, self.ask, self.examples, self.scoring, self.options):
            column.addWidget(part)
        column.addLayout(buttons)
        column.addWidget(self.error)
        column.addWidget(self.text)
        column.addWidget(self.sureness)
        column.addLayout(ways)
        column.addWidget(self.chosen)
        column.addWidget(self.alternatives)
        column.addStretch(1)
        whole = QVBoxLayout(self)
        whole.setContentsMargins(0, 0, 0, 0)
        whole.addWidget(scrolled(inner))

    def _make_form(self) -> QWidget:
        form_widget = QWidget()
        form = QFormLayout(form_widget)
        form.setContentsMargins(0, 0, 0, 0)
        form.setVerticalSpacing(6)
        boxes = (self.mode, self.temperature, self.top_k, self.top_p, self.seed, self.longest)
        rows: tuple[QWidget, ...] = (*boxes, self.beginning)
        for (name, tip), widget in zip(_TIPS.items(), rows, strict=True):
            label = QLabel(name)
            label.setToolTip(tip)
            widget.setToolTip(tip)
            widget.setAccessibleName(name)
            form.addRow(label, widget)
        return form_widget

    def _connect(self) -> None:
        bench = self.workbench
        self.mode.currentIndexChanged.connect(self._take_sampling)
        for box in (self.temperature, self.top_k, self.top_p, self.seed, self.longest):
            box.valueChanged.connect(self._take_sampling)
        self.beginning.textEdited.connect(self._take_beginning)
        self.beginning.textChanged.connect(self._take_beginning)
        self.beginning.returnPressed.connect(bench.generate)
        self.ask.asked.connect(bench.ask)
        self.turns.chosen.connect(bench.sequences.show_turn)
        self.turns.ended.connect(lambda: bench.ask(""))
        self.shots.pictures_wanted.connect(bench.drafts.add_selected)
        self.shots.changed.connect(self._take_examples)
        bench.drafts.changed.connect(self._show_examples)
        self.answers.wanted.connect(lambda answers: bench.answers.score(answers, self.ask.field.text()))
        self.answers.shown.connect(bench.answers.show)
        self.answers.per_token_changed.connect(lambda _on: self._show_answers())
        bench.answers.changed.connect(self._show_answers)
        self.alternatives.wanted.connect(self._branch)
        self.back.clicked.connect(bench.branches.back)
        self.original.clicked.connect(bench.branches.original)
        bench.branches.changed.connect(self._show_ways_back)
        self.run.clicked.connect(bench.generate)
        self.cancel.clicked.connect(lambda: bench.cancel("sequence"))
        self.copy.clicked.connect(self._copy)
        self.mark.clicked.connect(self._mark)
        bench.activities.changed.connect(self._on_activity)
        self.watch(self.state.sampling_changed, self._show_sampling)
        self.watch(self.state.sequence_changed, self._show_sequence)
        self.watch(self.state.tokens_changed, lambda _tokens: self._show_alternatives())
        self.watch(self.state.current_changed, self._on_current)
        self.watch(self.state.model_changed, lambda _model: self._show_asking())

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
        sampled = self.mode.currentIndex() == 1
        how = f"drawn, temperature {self.temperature.value():g}" if sampled else _GREEDY
        self.options.set_title(f"How it writes: {how}")
        for box in (self.temperature, self.top_k, self.top_p, self.seed):
            box.setEnabled(self.mode.currentIndex() == 1)

    # --- showing --------------------------------------------------------------------------------------
    def _on_current(self, item: LibraryItem | None) -> None:
        sound = item is not None and item.media.modality is Modality.AUDIO
        self.run.setText("Transcribe" if sound else "Caption")
        self.run.setEnabled(item is not None and item.media.modality is not Modality.TEXT)
        self._show_asking()

    def _show_asking(self) -> None:
        """Offer the line for questions, or say why it takes none, and what else the model can."""
        item, model = self.state.current, self.state.model
        taken = self.workbench.model_for(item)
        self.examples.setVisible(taken is not None and taken.can(Capability.EXAMPLES))
        self.scoring.setVisible(taken is not None and any(taken.can(each) for each in _WRITES))
        reason, tip = _why_not_ask(item, model)
        if reason or model is None or model.about.questions is None:
            self.ask.refuse(reason, tip)
        else:
            self.ask.offer(model.about.questions.examples, tip)

    def _on_activity(self, key: str, activity: Activity) -> None:
        if key == "sequence":
            self._show_activity(activity)
            self._show_ways_back()
            self._show_alternatives()
        elif key == "answers":
            self._show_answers()

    def _show_activity(self, activity: Activity) -> None:
        self.cancel.setVisible(activity.running)
        self.error.setText(activity.error.message if activity.error else "")
        self.error.setVisible(activity.error is not None)

    def _show_sequence(self, sequence: TokenSequence | None) -> None:
        self.text.setPlainText(_shown_text(sequence))
        self.ask.show_question(sequence.question if sequence else "")
        self.copy.setEnabled(sequence is not None)
        self.mark.setVisible(bool(sequence and sequence.phrases))
        self.sureness.setText(_sureness(sequence))
        self._show_turns()
        self._show_ways_back()
        self._show_alternatives()

    def _show_turns(self) -> None:
        turns, model = self.workbench.sequences.turns(), self.state.model
        form = model.about.questions if model is not None else None
        self.turns.set_turns(
            [(turn.question, turn.written) for turn in turns],
            turns.index(self.state.sequence) if self.state.sequence in turns else -1,
            remembered=form is not None and form.remembers,
        )

    def _show_alternatives(self) -> None:
        token = self._chosen_token()
        if token is None or not token.alternatives:
            given = token is not None and token.given
            self.chosen.set_text("Given with the question, not predicted" if given else "Alternatives")
            self.chosen.setVisible(token is not None)
            self._set_alternatives([])
            return
        self.chosen.setVisible(True)
        can = self.workbench.branches.can_branch(token.index) and not self.cancel.isVisibleTo(self)
        how = " (click one)" if can else ""
        self.chosen.set_text(f"Instead of “{token.text.strip() or token.text}”{how}")
        rows = [
            ScoreRow(text.strip() or repr(text), math.exp(logprob), f"log-probability {logprob:.3f}")
            for text, logprob in token.alternatives
        ]
        ids = token.alternative_ids
        self.alternatives.offer(ids.index(token.id) if token.id in ids else -1, takes_clicks=can)
        self._set_alternatives(rows)

    def _set_alternatives(self, rows: list[ScoreRow]) -> None:
        self.alternatives.set_rows(rows)
        self.alternatives.setVisible(bool(rows))
        self.alternatives.setFixedHeight(self.alternatives.row_height() * max(1, len(rows)) + 4)

    def _branch(self, row: int) -> None:
        token = self._chosen_token()
        if token is not None:
            self.workbench.branches.branch(token.index, row)

    def _show_ways_back(self) -> None:
        """Say that the text was branched, and lead back."""
        depth = self.workbench.branches.depth
        sequence = self.state.sequence
        words = [token.text.strip() for token in (sequence.tokens if sequence else ()) if token.chosen]
        self.branch_note.set_text("Branched at " + ", ".join(f"“{word}”" for word in words) if words else "")
        self.branch_note.setVisible(depth > 0)
        self.back.setVisible(depth > 1)
        self.original.setVisible(depth > 0)

    def _chosen_token(self) -> TokenSpan | None:
        sequence, tokens = self.state.sequence, self.state.tokens
        if sequence is None or not tokens:
            return None
        return next((token for token in sequence.tokens if token.index == tokens[-1]), None)

    # --- examples and given answers ------------------------------------------------------------------------
    def _show_examples(self) -> None:
        drafts = self.workbench.drafts.examples
        whole = sum(draft.is_whole for draft in drafts)
        count = f": {whole} of {len(drafts)} with an answer" if whole < len(drafts) else f": {whole}"
        self.examples.set_title(f"Examples before the question{count if drafts else ''}")
        rows, pictures = [], {}
        for draft in drafts:
            item = draft.item
            rows.append(
                ShotRow(
                    item.id if item is not None else "",
                    item.name if item is not None else "text only",
                    draft.question,
                    draft.answer,
                )
            )
            image = self._thumbnails.of(item.media) if item is not None else None
            if item is not None and image is not None:
                pictures[item.id] = QPixmap.fromImage(image)
        self.shots.set_rows(rows, pictures)

    def _take_examples(self, rows: tuple[ShotRow, ...]) -> None:
        known = {draft.item.id: draft.item for draft in self.workbench.drafts.examples if draft.item}
        made = tuple(Draft(known.get(row.key), row.question, row.answer) for row in rows)
        self.workbench.drafts.set_examples(made)

    def _take_beginning(self, text: str) -> None:
        self.workbench.drafts.prompt = text

    def _show_answers(self) -> None:
        activity, scores = self.workbench.activity("answers"), self.workbench.answers.scores
        if activity.error is not None:
            self.answers.show_rows([], f"⚠ {activity.error.message}")
        elif scores is None:
            words = (
                f"{activity.label}…" if activity.running else "Double-click a bar for its tokens and maps."
            )
            self.answers.show_rows([], words)
        else:
            per_token = self.answers.per_token.isChecked()
            self.answers.show_rows(answer_rows(scores, per_token=per_token), answer_subject(scores))

    def _copy(self) -> None:
        QGuiApplication.clipboard().setText(self.text.toPlainText())
        self.workbench.notice.emit("Copied the text.", "info")

    def _mark(self) -> None:
        """Add the boxes of grounded phrases to the regions, those that are there already left as they are."""
        sequence = self.state.sequence
        if sequence is None:
            return
        known = {(each.name, each.points) for each in self.state.annotations_of(sequence.media_id)}
        for phrase in sequence.phrases:
            for top, left, bottom, right in phrase.boxes:
                corners = ((left, top), (right, bottom))
                if (phrase.text, corners) not in known:
                    self.workbench.annotations.add("box", corners, phrase.text)

    def release(self) -> None:
        """Let go of the workbench."""
        bench = self.workbench
        bench.activities.changed.disconnect(self._on_activity)
        bench.drafts.changed.disconnect(self._show_examples)
        bench.answers.changed.disconnect(self._show_answers)
        bench.branches.changed.disconnect(self._show_ways_back)
        super().release()


def _why_not_ask(item: LibraryItem | None, model: ModelInfo | None) -> tuple[str, str]:
    """Reason why no question can be asked, empty where it can; and the line's tooltip."""
    if model is None:
        return "No model that looks at images is loaded", "Load one in the Model panel."
    form = model.about.questions
    if form is None:
        return (
            "This model answers no questions",
            f"{model.label} was not trained on questions. It can still be asked where a description lies: "
            "type it in the field at the top.",
        )
    if item is not None and item.media.modality is not Modality.IMAGE:
        return "Questions are about pictures", "Choose a picture."
    kinds = "; ".join(form.examples)
    trained = f"It was trained on questions such as: {kinds}. " if kinds else ""
    memory = (
        " Earlier questions about the picture are told to it; an empty one begins anew."
        if form.remembers
        else ""
    )
    return (
        "",
        f"{trained}It answers whatever is asked, also when it is wrong: look at the probability.{memory}",
    )


def _shown_text(sequence: TokenSequence | None) -> str:
    if sequence is None:
        return ""
    if sequence.kind == "answer":
        return f"{sequence.question}\n{sequence.written}"
    return sequence.text.strip()


def _sureness(sequence: TokenSequence | None) -> str:
    if sequence is None:
        return ""
    logprobs = [token.logprob for token in sequence.tokens if token.logprob is not None]
    if not logprobs:
        return "A typed description: nothing was predicted." if sequence.kind == "query" else ""
    mean = sum(logprobs) / len(logprobs)
    count = "1 token" if len(logprobs) == 1 else f"{len(logprobs)} tokens"
    return f"{count} · mean log-probability {mean:.2f} (typical probability {math.exp(mean):.2f})"
