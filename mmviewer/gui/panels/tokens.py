"""Which words? The tokens of the caption, transcript or query: the control everything hangs on."""

from __future__ import annotations

from typing import ClassVar

from PySide6.QtGui import QPalette
from PySide6.QtWidgets import QHBoxLayout, QLabel, QVBoxLayout, QWidget

from mmviewer.core.session.state import LibraryItem
from mmviewer.core.types import Capability, HeadChoice, MapSpec, Modality, ModelInfo
from mmviewer.gui.activities import Activity
from mmviewer.gui.panels.base import PANELS, Area, Panel
from mmviewer.gui.view_model import (
    STRIP_TITLES,
    chip_values,
    lit_floor,
    lit_shares,
    method_labels,
    used_place,
)
from mmviewer.gui.widgets.chips import Chip
from mmviewer.gui.widgets.elided_label import ElidedLabel
from mmviewer.gui.widgets.inline_note import InlineNote
from mmviewer.gui.widgets.map_controls import MapChooser, PointChoice
from mmviewer.gui.widgets.state_stack import StateStack
from mmviewer.gui.widgets.token_strip import TokenStrip
from mmviewer.gui.workbench import Workbench

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

    def __init__(self, workbench: Workbench, parent: QWidget | None = None) -> None:
        super().__init__(workbench, parent)
        self.title_row: QWidget = QWidget(self)
        self.heading = QLabel("Tokens")
        self.heading.setObjectName("heading")
        self.hint = ElidedLabel(_HINT, QPalette.ColorRole.PlaceholderText)
        self.chooser = MapChooser()
        self.strip = TokenStrip()
        self.stack = StateStack(self.strip)
        self.note = InlineNote()
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
        column.addWidget(self.chooser)

    def _connect(self) -> None:
        state, bench = self.state, self.workbench
        self.watch(state.sequence_changed, lambda _sequence: self._show_sequence())
        self.watch(state.current_changed, lambda _item: self._show_sequence())
        self.watch(state.model_changed, lambda _model: self._on_model())
        self.watch(state.speech_model_changed, lambda _model: self._on_model())
        self.watch(state.tokens_changed, self.strip.set_chosen)
        self.watch(state.hovered_cell_changed, self._light)
        self.watch(state.spec_changed, lambda _spec: self._show_choices())
        self.watch(state.maps_changed, lambda _maps: self._show_choices())
        bench.activities.changed.connect(self._on_activity)
        self.strip.hovered.connect(state.set_hovered_token)
        self.strip.chosen.connect(state.set_tokens)
        self.chooser.chosen.connect(self._choose)
        self.stack.acted.connect(self._act)
        self.stack.cancelled.connect(lambda: bench.cancel("sequence"))
        self.note.cancelled.connect(lambda: bench.cancel("sequence"))
        self.note.retried.connect(bench.ask_again)

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

    def _light(self, cell: tuple[int, ...] | None) -> None:
        self.strip.set_lit(lit_shares(self.state.sequence, self.state.maps, cell), lit_floor(self.state.maps))

    def _show_choices(self) -> None:
        model = self.workbench.model_for(self.state.current)
        points = model.points if model is not None else ()
        choices = [
            PointChoice(p.name, p.label, p.layers, p.heads, f"{p.label}: {p.queries} look at {p.keys}")
            for p in points
        ]
        self.chooser.set_choices(method_labels(model), choices)
        spec = self.state.spec
        used = used_place(self.state.maps, spec)
        self.chooser.show_spec(spec.method, spec.point, spec.layer, spec.head, used)

    # --- from the engine -----------------------------------------------------------------------------
    def _on_activity(self, key: str, _activity: Activity) -> None:
        if key in ("sequence", "model"):
            self._show_state()

    # --- to the state ----------------------------------------------------------------------------------
    def _choose(self, method: str, point: str | None, layer: int | None, head: HeadChoice) -> None:
        self.state.set_spec(MapSpec(method, point, layer, head))

    def _act(self) -> None:
        if self._action == "generate":
            self.workbench.generate()
        elif self._action == "again":
            self.workbench.ask_again()
        elif self._action == "models":
            self.workbench.panel_requested.emit("models")


def _invitation(item: LibraryItem | None, model: ModelInfo | None) -> tuple[str, str, str]:
    """Sentence, button and action of the empty strip."""
    if item is None:
        return "Choose an image or a sound; its caption or transcript appears here, token by token.", "", ""
    if item.media.modality is Modality.TEXT:
        return "This is a text. Choose an image, then type this text at the top to look for it there.", "", ""
    if item.media.modality is Modality.AUDIO:
        return "Transcribe the sound to see when each word was heard.", "Transcribe", "generate"
    if model is None:
        return "No model is loaded yet, so there are no tokens.", "Choose a model", "models"
    if not model.can(Capability.CAPTION):
        return "Describe the picture in the field at the top to see where each word is found.", "", ""
    return "Caption the picture, or describe it in the field at the top.", "Caption", "generate"
