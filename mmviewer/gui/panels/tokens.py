"""Which words? The tokens of the caption, transcript or query: the control everything hangs on."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import ClassVar

from PySide6.QtCore import QPoint, Qt
from PySide6.QtGui import QPalette, QResizeEvent
from PySide6.QtWidgets import QHBoxLayout, QLabel, QMenu, QVBoxLayout, QWidget

from mmviewer.core.session.state import LibraryItem
from mmviewer.core.targets import Contrast, RunnerUp
from mmviewer.core.types import Capability, HeadChoice, Modality, ModelInfo
from mmviewer.gui.activities import Activity
from mmviewer.gui.panels.base import PANELS, Area, Panel
from mmviewer.gui.region_model import percent, token_shares
from mmviewer.gui.target_model import (
    Choice,
    contrast_choices,
    summary,
    takes_target,
    target_choices,
    typed_contrast,
    with_target,
)
from mmviewer.gui.view_model import (
    STRIP_TITLES,
    chip_values,
    lit_floor,
    lit_shares,
    method_labels,
    used_place,
)
from mmviewer.gui.widgets.chips import Chip
from mmviewer.gui.widgets.cost_note import CostNote
from mmviewer.gui.widgets.elided_label import ElidedLabel
from mmviewer.gui.widgets.inline_note import InlineNote
from mmviewer.gui.widgets.map_controls import MapChooser, PointChoice
from mmviewer.gui.widgets.state_stack import StateStack
from mmviewer.gui.widgets.target_chooser import TargetChooser
from mmviewer.gui.widgets.token_strip import TokenStrip
from mmviewer.gui.workbench import Workbench

_ROOMY = 520
"""Width from which the choosers need not be short."""
_MOST_ROWS = 2 * 26 + 6
"""Height of two rows of choosers; more would push the picture out of a small window."""
_HINT = (
    "← → step through tokens · Shift or Ctrl+click to combine · "
    "hover the picture to see which tokens looked there"
)


@PANELS.add("tokens")
class TokensPanel(Panel):
    """The token strip with the choosers of method, place, layer and heads."""

    key: ClassVar[str] = "tokens"
    title: ClassVar[str] = "Tokens"
    area: ClassVar[Area] = Area.BELOW
    order: ClassVar[int] = 10
    icon: ClassVar[str] = "tokens"
    help: ClassVar[str] = "The caption, transcript or query token by token; hover one to see where it looked."
    help_page: ClassVar[str] = "attention"

    def __init__(self, workbench: Workbench, parent: QWidget | None = None) -> None:
        super().__init__(workbench, parent)
        self.title_row: QWidget = QWidget(self)
        self.heading = QLabel("Tokens")
        self.heading.setObjectName("heading")
        self.hint = ElidedLabel(_HINT, QPalette.ColorRole.PlaceholderText)
        self.chooser = MapChooser()
        self.targets = TargetChooser()
        self._aims: list[Choice] = []
        self._others: list[Choice] = []
        self.chooser.add(self.targets)
        self.strip = TokenStrip()
        self.stack = StateStack(self.strip)
        self.note = InlineNote()
        self.cost = CostNote()
        self._action = ""
        self._lay_out()
        self._connect()
        self._show_sequence()
        self._show_choices()

    # --- construction ----------------------------------------------------------------------------------
    def _lay_out(self) -> None:
        head = QHBoxLayout(self.title_row)
        head.setContentsMargins(2, 0, 0, 0)
        head.setSpacing(12)
        head.addWidget(self.heading)
        head.addWidget(self.hint, 1)
        column = QVBoxLayout(self)
        column.setContentsMargins(12, 6, 12, 8)
        column.setSpacing(4)
        column.addWidget(self.stack, 1)
        column.addWidget(self.note)
        column.addWidget(self.cost)
        column.addWidget(self.chooser)

    def _connect(self) -> None:
        state, bench = self.state, self.workbench
        self.watch(state.sequence_changed, lambda _sequence: self._on_model())
        self.watch(state.current_changed, lambda _item: self._show_sequence())
        self.watch(state.model_changed, lambda _model: self._on_model())
        self.watch(state.speech_model_changed, lambda _model: self._on_model())
        self.watch(state.tokens_changed, self.strip.set_chosen)
        for signal in (state.hovered_cell_changed, state.region_changed, state.maps_changed):
            self.watch(signal, lambda _value: self._light())
        self.watch(state.spec_changed, lambda _spec: self._show_choices())
        self.watch(state.tokens_changed, lambda _tokens: self._show_targets())
        self.watch(state.labels_changed, lambda _labels, _templates: self._show_targets())
        self.watch(state.maps_changed, lambda _maps: self._show_choices())
        bench.activities.changed.connect(self._on_activity)
        self.strip.hovered.connect(state.set_hovered_token)
        self.strip.chosen.connect(state.set_tokens)
        self.strip.menu_wanted.connect(self._offer_branches)
        self.chooser.chosen.connect(self._choose)
        self.targets.target_chosen.connect(self._choose_target)
        self.targets.contrast_chosen.connect(self._choose_contrast)
        self.targets.contrast_typed.connect(self._type_contrast)
        self.targets.sinks_switched.connect(
            lambda out: state.set_spec(replace(state.spec, without_sinks=out))
        )
        self.stack.acted.connect(self._act)
        self.stack.cancelled.connect(lambda: bench.cancel("sequence"))
        self.note.cancelled.connect(lambda: bench.cancel("sequence"))
        self.note.retried.connect(bench.ask_again)
        bench.sequences.costs.offer_changed.connect(self._show_offer)
        self.cost.accepted.connect(bench.sequences.make_dear_maps)

    def resizeEvent(self, event: QResizeEvent) -> None:
        """The choosers take as many rows as they need, and the dock with them."""
        super().resizeEvent(event)
        self._keep_rows()

    def _keep_rows(self) -> None:
        layout = self.layout()
        if layout is None:
            return
        margins, width = layout.contentsMargins(), self.width()
        self.targets.set_short(width < _ROOMY)
        rows = self.chooser.heightForWidth(width - margins.left() - margins.right())
        least = self.strip.minimumSizeHint().height() + layout.spacing() + margins.top() + margins.bottom()
        self.setMinimumHeight(least + (min(rows, _MOST_ROWS) if not self.chooser.isHidden() else 0))

    # --- from the state --------------------------------------------------------------------------------
    def _on_model(self) -> None:
        self._show_sequence()
        self._show_choices()

    def _show_sequence(self) -> None:
        sequence = self.state.sequence
        tokens = sequence.tokens if sequence is not None else ()
        self.heading.setText(STRIP_TITLES[sequence.kind] if sequence is not None else "Tokens")
        self.strip.setAccessibleName(f"Tokens of the {sequence.kind}" if sequence is not None else "Tokens")
        self.strip.set_chips([Chip(*values) for values in chip_values(tokens)])
        self.strip.set_chosen(self.state.tokens)
        self._light()
        if sequence is not None and sequence.finished:
            self.strip.show_start()
        self.hint.setVisible(bool(tokens))
        self._show_state()

    def _show_state(self) -> None:
        """Show the strip, or why it is empty."""
        activity = self.workbench.activity("sequence")
        sequence = self.state.sequence
        has_tokens = sequence is not None and bool(sequence.tokens)
        self.chooser.setVisible(has_tokens and sequence is not None and sequence.finished)
        if has_tokens:
            self._show_beside(activity)
            return
        self.note.clear()
        model = self.workbench.model_for(self.state.current)
        loading = self.workbench.activity("model")
        if activity.running:
            self.stack.show_waiting(f"{activity.label}… {activity.message}".strip(), activity.fraction)
        elif model is None and loading.running:
            self.stack.show_empty("", f"{loading.label}…")
        elif activity.error is not None:
            self._action = "again"
            self.stack.show_failed(activity.error.message, activity.error.details, "Try again")
        else:
            item = self.state.current
            text, label, self._action = _invitation(item, model)
            self.stack.show_empty("", text, label)

    def _show_beside(self, activity: Activity) -> None:
        """Keep the tokens in sight while others are made, with a cancel, and when that failed."""
        self.stack.show_content()
        if activity.running:
            self.note.show_waiting(f"{activity.label}… {activity.message}".strip())
        elif activity.error is not None:
            self.note.show_failed(activity.error.message, activity.error.details)
        else:
            self.note.clear()

    def _light(self) -> None:
        """Show which tokens looked at the patch pointed at, else into the chosen region."""
        state = self.state
        inside, region = token_shares(state), state.region
        if state.hovered_cell is None and inside is not None and region is not None:
            where = f"in “{region.label}”; chance would give {percent(inside.chance)}"
            self.strip.set_lit(inside.shares, min(1.0, 2 * inside.chance), where)
        else:
            shares = lit_shares(state.sequence, state.maps, state.hovered_cell)
            self.strip.set_lit(shares, lit_floor(state.maps))

    def _show_choices(self) -> None:
        model = self.workbench.model_for(self.state.current)
        points = (*model.points, *model.features) if model is not None else ()
        choices = [
            PointChoice(p.name, p.label, p.layers, p.heads, f"{p.label}: {p.queries} look at {p.keys}")
            for p in points
        ]
        kind = self.state.sequence.kind if self.state.sequence is not None else None
        self.chooser.set_choices(method_labels(model, kind), choices)
        spec = self.state.spec
        used = used_place(self.state.maps, spec)
        self.chooser.show_spec(spec.method, spec.point, spec.layer, spec.head, used)
        self._show_targets()

    def _show_targets(self) -> None:
        """Offer what can be explained and left out, where the chosen method and map have it."""
        state = self.state
        model, spec, chooser = self.workbench.model_for(state.current), state.spec, self.targets
        scored = takes_target(model, spec)
        self._aims = target_choices(state, model)
        self._others = contrast_choices(state, model)
        aims, others = ([choice.value for choice in each] for each in (self._aims, self._others))
        chooser.show_targets(
            _entries(self._aims),
            _place(aims, spec.target),
            _entries(self._others),
            _place(others, spec.contrast),
            scored=scored,
        )
        chooser.show_sinks(spec.without_sinks)
        tokens = state.sequence.tokens if state.sequence is not None else ()
        chooser.show_summary(summary(spec, tokens, scored=scored))
        self.chooser.fit()
        self._keep_rows()

    # --- from the engine -----------------------------------------------------------------------------
    def _on_activity(self, key: str, _activity: Activity) -> None:
        if key in ("sequence", "model"):
            self._show_state()

    # --- to the state ----------------------------------------------------------------------------------
    def _choose(self, method: str, point: str | None, layer: int | None, head: HeadChoice) -> None:
        kept = replace(self.state.spec, method=method, point=point, layer=layer, head=head)
        model = self.workbench.model_for(self.state.current)
        self.state.set_spec(kept if takes_target(model, kept) else replace(kept, target=None, contrast=None))

    def _choose_target(self, place: int) -> None:
        target = self._aims[place].value
        if not isinstance(target, RunnerUp):
            self.state.set_spec(with_target(self.state.spec, target))

    def _choose_contrast(self, place: int) -> None:
        self.state.set_spec(replace(self.state.spec, contrast=self._others[place].value))

    def _type_contrast(self, text: str) -> None:
        spec = typed_contrast(self.state, text)
        if spec is not None:
            self.state.set_spec(spec)
            return
        self.workbench.notice.emit(
            "Choose one word above first, then type what it shall be contrasted with; a label can only be "
            "contrasted with another label.",
            "info",
        )
        self._show_targets()

    def _offer_branches(self, index: int, at: QPoint) -> None:
        """Offer what the model could have written in place of a token, and the way back."""
        sequence, branches = self.state.sequence, self.workbench.branches
        if sequence is None or not 0 <= index < len(sequence.tokens):
            return
        menu = QMenu(self)
        menu.setAttribute(Qt.WidgetAttribute.WA_DeleteOnClose)
        menu.setToolTipsVisible(True)
        token = sequence.tokens[index]
        if branches.can_branch(index):
            menu.addSection(f"Write on from another token than “{token.text.strip()}”")
            for row, (text, logprob) in enumerate(token.alternatives):
                shown = (text.strip() or repr(text)).replace("&", "&&")
                action = menu.addAction(f"{shown}\t{math.exp(logprob):.3f}")
                action.setEnabled(token.alternative_ids[row] != token.id)
                action.triggered.connect(lambda _=False, row=row: branches.branch(index, row))
        if branches.depth:
            menu.addSeparator()
            menu.addAction("Back to the original text").triggered.connect(branches.original)
        if menu.isEmpty():
            menu.addAction("Nothing else to write here: the token was given").setEnabled(False)
        menu.popup(at)

    def _show_offer(self) -> None:
        offer = self.workbench.sequences.costs.offer
        self.cost.offer(*((offer.words, offer.button) if offer is not None else ("", "")))

    def _act(self) -> None:
        if self._action == "generate":
            self.workbench.generate()
        elif self._action == "again":
            self.workbench.ask_again()
        elif self._action in ("models", "caption"):
            self.workbench.panel_requested.emit(self._action)


def _entries(choices: list[Choice]) -> list[tuple[str, str]]:
    return [(choice.label, choice.explained) for choice in choices]


def _place(values: list[Contrast | None], chosen: Contrast | None) -> int:
    return values.index(chosen) if chosen in values else 0


def _invitation(item: LibraryItem | None, model: ModelInfo | None) -> tuple[str, str, str]:
    """Sentence, button and action of the empty strip."""
    if item is None:
        return "Choose an image or a sound; its caption or transcript appears here, token by token.", "", ""
    if item.media.modality is Modality.TEXT:
        return "This is a text. Choose an image, then type this text at the top to look for it there.", "", ""
    if item.media.modality is Modality.AUDIO:
        if model is not None and model.can(Capability.EMBED_AUDIO):
            text = "Type a word in the field at the top to see when it is heard, or transcribe the sound."
        else:
            text = "Transcribe the sound to see when each word was heard."
        return text, "Transcribe", "generate"
    if model is None:
        return "No model is loaded yet, so there are no tokens.", "Choose a model", "models"
    looks = model.can(Capability.EMBED_TEXT)
    if not model.can(Capability.CAPTION):
        if model.about.questions is not None:
            return "Ask about the picture to see where the model looked for its answer.", "Ask", "caption"
        return "Describe the picture in the field at the top to see where each word is found.", "", ""
    text = "Caption the picture, or describe it in the field at the top." if looks else "Caption the picture."
    return text, "Caption", "generate"
