"""What if? Hide a part, change a word, switch heads off, and see what the model makes of it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import ClassVar

from PySide6.QtCore import Qt, QTimer
from PySide6.QtGui import QPalette
from PySide6.QtWidgets import QFileDialog, QFrame, QHBoxLayout, QLabel, QScrollArea, QVBoxLayout, QWidget

from mmviewer.core.interventions.recipe import HideRegion, Region, step_words
from mmviewer.core.interventions.shown import (
    ShownPair,
    label_rows,
    shown_changes,
    shown_pair,
    token_rows,
    total_words,
)
from mmviewer.core.media.geometry import ImageGeometry
from mmviewer.core.session.annotations import Annotation
from mmviewer.core.session.state import LibraryItem
from mmviewer.core.types import FloatArray, Modality
from mmviewer.gui.activities import Activity
from mmviewer.gui.buttons import flat_button, icon_button, push_button
from mmviewer.gui.icons import icon
from mmviewer.gui.map_style import map_style, picture_of
from mmviewer.gui.panels.base import PANELS, Area, Panel
from mmviewer.gui.view_model import enlarge, grid_box
from mmviewer.gui.whatif_view import (
    WordOffer,
    change_rows,
    example,
    example_words,
    heads_offered,
    marked_texts,
    region_step,
    regions_offered,
    step_of_heads,
    words_offered,
)
from mmviewer.gui.widgets.change_bars import ChangeBars
from mmviewer.gui.widgets.elided_label import ElidedLabel
from mmviewer.gui.widgets.inline_note import InlineNote
from mmviewer.gui.widgets.map_layer import GridMap
from mmviewer.gui.widgets.map_pair import MapPair
from mmviewer.gui.widgets.recipe_chips import RecipeChips
from mmviewer.gui.widgets.state_stack import StateStack
from mmviewer.gui.widgets.step_maker import StepMaker
from mmviewer.gui.widgets.tile import Tile, TileState
from mmviewer.gui.widgets.time_map import TimeMap
from mmviewer.gui.widgets.wrapped_label import WrappedLabel
from mmviewer.gui.workbench import Workbench

_FILES = "What if recipe (*.json)"
_SIDES = ("before", "after")
_HELP = "what-if"
_EXPLAINED = (
    "Hide a part of the item, change a word or switch attention heads off: the text, the scores and the maps "
    "before and after stand side by side here."
)
_NO_REGION = "Draw a region in the picture (R), or caption the item: then there is a place to try."
_NO_WORD = "Caption the item, describe it, or type labels: then there are words to change."
_NO_HEADS = "The loaded model has no attention heads."


@PANELS.add("whatif")
class WhatIfPanel(Panel):
    """The recipe as chips, a form for the next step, and both sides."""

    key: ClassVar[str] = "whatif"
    title: ClassVar[str] = "What if"
    area: ClassVar[Area] = Area.RIGHT
    order: ClassVar[int] = 40
    icon: ClassVar[str] = "whatif"
    help: ClassVar[str] = (
        "What the model would say if a part were hidden, a word changed or a head switched off."
    )
    help_page: ClassVar[str] = "what-if"

    def __init__(self, workbench: Workbench, parent: QWidget | None = None) -> None:
        super().__init__(workbench, parent)
        self._act = workbench.what_if
        self._regions: tuple[Region, ...] = ()
        self._words: tuple[WordOffer, ...] = ()
        self._points: tuple[str, ...] = ()
        self._region: Annotation | None = None
        self._point_words: dict[str, str] = {}
        self._example: Region | None = None
        self.maker = StepMaker()
        self.chips = RecipeChips()
        self.chips.set_icon(icon("close"))
        self.clear = flat_button("Clear", "Take all changes back; Undo brings them again")
        self.load = flat_button("Open recipe…", "Apply a recipe that was saved as JSON")
        self.save = flat_button(
            "Save recipe…", "Save the recipe as JSON; mmviewer what-if --recipe applies it too"
        )
        self.help_button = icon_button(
            "info", "How What if is computed", "How this is computed, and when it misleads"
        )
        self.stale = QWidget()
        self.stale_text = WrappedLabel()
        self.again = push_button("Try it here", "Apply the recipe to what is shown now", primary=True)
        self.note = InlineNote()
        self._make_results()
        self.stack = StateStack(self._scroll)
        self._soon = QTimer(self, singleShot=True, interval=0)  # one look for changes that come together
        self._lay_out()
        self._connect()
        self._offer()
        self._show()

    def release(self) -> None:
        """Stop the timer and let go of the workbench."""
        self._soon.stop()
        self._act.changed.disconnect(self._show)
        self.workbench.activities.changed.disconnect(self._on_activity)
        super().release()

    # --- construction ----------------------------------------------------------------------------------
    def _make_results(self) -> None:
        self.before, self.after = _text_label(), _text_label()
        self.total = WrappedLabel()
        self.total.setToolTip(
            "Sum over the tokens of the text before, each with what stands before it given (teacher forcing)."
        )
        self.tokens = ChangeBars("Change of each token's log-probability")
        self.labels = ChangeBars("Change of each label's probability")
        self.pair_title = ElidedLabel(bold=True)
        self.pair = MapPair()
        self.notes = WrappedLabel()
        self.notes.setObjectName("faint")
        self._results = QWidget()
        self._titles: dict[str, QLabel] = {}
        column = QVBoxLayout(self._results)
        column.setContentsMargins(12, 4, 12, 8)
        column.setSpacing(4)
        for title, tip, widgets in (
            ("Text", "What the model writes; changed words are marked.", (self.before, self.after)),
            (
                "Each token of the text before",
                "How the log-probability of each token changes; choose one to see its maps.",
                (self.total, self.tokens),
            ),
            ("Labels", "Zero-shot probabilities of your labels, before and after.", (self.labels,)),
        ):
            self._titles[title] = heading = QLabel(title)
            heading.setObjectName("heading")
            heading.setToolTip(tip)
            heading.setContentsMargins(0, 6, 0, 0)
            column.addWidget(heading)
            for widget in widgets:
                column.addWidget(widget)
        for below in (self.pair_title, self.pair, self.notes):
            column.addWidget(below)
        column.addStretch(1)
        self._scroll = QScrollArea()
        self._scroll.setWidgetResizable(True)
        self._scroll.setFrameShape(QFrame.Shape.NoFrame)
        self._scroll.setHorizontalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAlwaysOff)
        self._scroll.setWidget(self._results)

    def _lay_out(self) -> None:
        files = QHBoxLayout()
        files.setSpacing(2)
        files.addWidget(self.help_button)
        files.addWidget(self.clear)
        files.addStretch(1)
        files.addWidget(self.load)
        files.addWidget(self.save)
        fresh = QHBoxLayout(self.stale)
        fresh.setContentsMargins(0, 0, 0, 0)
        fresh.addWidget(self.stale_text, 1)
        fresh.addWidget(self.again)
        top = QVBoxLayout()
        top.setContentsMargins(12, 8, 12, 0)
        top.setSpacing(6)
        for widget in (self.maker, self.chips):
            top.addWidget(widget)
        top.addLayout(files)
        top.addWidget(self.stale)
        top.addWidget(self.note)
        whole = QVBoxLayout(self)
        whole.setContentsMargins(0, 0, 0, 0)
        whole.setSpacing(4)
        whole.addLayout(top)
        whole.addWidget(self.stack, 1)

    def _connect(self) -> None:
        state, bench = self.state, self.workbench
        for signal in (
            state.current_changed,
            state.sequence_changed,
            state.tokens_changed,
            state.maps_changed,
            state.labels_changed,
            state.model_changed,
            state.speech_model_changed,
            state.annotations_changed,
            state.region_changed,
        ):
            self.watch(signal, lambda *_values: self._soon.start())
        self.watch(state.tokens_changed, lambda _tokens: self._show_pair())
        self.watch(state.view_changed, lambda _view: self._show_pair())
        self.watch(state.spec_changed, lambda _spec: self._suggest_heads())
        self._soon.timeout.connect(self._offer)
        self._act.changed.connect(self._show)
        bench.activities.changed.connect(self._on_activity)
        self.maker.region_wanted.connect(self._add_region)
        self.maker.word_wanted.connect(self._add_word)
        self.maker.heads_wanted.connect(self._add_heads)
        self.chips.removed.connect(self._act.remove)
        self.help_button.clicked.connect(lambda: bench.help_requested.emit(_HELP))
        self.clear.clicked.connect(self._act.clear)
        self.load.clicked.connect(self._open)
        self.save.clicked.connect(self._save)
        self.again.clicked.connect(self._act.run)
        self.tokens.activated.connect(self._choose_token)
        self.note.cancelled.connect(self._cancel)
        self.note.retried.connect(self._act.run)
        self.stack.cancelled.connect(self._cancel)
        self.stack.acted.connect(self._try_example)

    # --- what can be added -----------------------------------------------------------------------------
    def _offer(self) -> None:
        """Offer what the item, the text and the model have."""
        state, model = self.state, self._act.model()
        item = state.current
        sound = item is not None and item.media.modality is Modality.AUDIO
        self._regions = regions_offered(state)
        self.maker.set_regions(
            [region.name or region.words for region in self._regions], _NO_REGION, sound=sound
        )
        if state.region is not self._region:
            self._region = state.region
            self.maker.choose_region(0)  # the one that was drawn or chosen just now
        sequence = state.sequence if state.sequence is not None and state.sequence.finished else None
        self._words = words_offered(sequence, state.labels)
        self.maker.set_words([offer.label for offer in self._words], _NO_WORD)
        points = heads_offered(model)
        self._points = tuple(name for name, _ in points)
        self._point_words = {name: place.label for name, place in points}
        self.maker.set_heads([place for _, place in points], _NO_HEADS)
        self._example = example(state)
        if not self._act.recipe:
            self._show()

    def _suggest_heads(self) -> None:
        """Head and layer whose map is shown are those one most likely wants to switch off."""
        spec = self.state.spec
        if spec.point in self._points and isinstance(spec.head, int):
            self.maker.choose_heads(self._points.index(spec.point), spec.layer, spec.head)

    def _add_region(self, place: int, action: str) -> None:
        if 0 <= place < len(self._regions):
            self._act.add(region_step(self._regions[place], action))

    def _add_word(self, place: int, into: str) -> None:
        if 0 <= place < len(self._words):
            self._act.add(self._words[place].step(into))

    def _add_heads(self, place: int, layer: int, head: int, how: str) -> None:
        if 0 <= place < len(self._points):
            self._act.add(step_of_heads(self._points[place], layer, head, how))

    def _try_example(self) -> None:
        if self._example is not None:
            self._act.add(HideRegion(self._example))

    # --- showing ---------------------------------------------------------------------------------------
    def _show(self) -> None:
        act = self._act
        self.chips.set_icon(icon("close"))  # in the colours of the theme as it is now
        self.chips.set_words([step_words(step, self._point_words) for step in act.recipe])
        for button in (self.clear, self.save):
            button.setVisible(bool(act.recipe))
        running = self.workbench.activity("whatif").running
        self.stale.setVisible(bool(act.recipe) and not act.fits and not running)
        if not self.stale.isHidden():
            about = f"This is about {act.asked_item}." if act.asked_item else "Not tried yet."
            self.stale_text.setText(f"{about} Something else is shown now.")
        if not act.recipe:
            self._show_empty()
        elif act.result is None:
            self._show_missing()
        else:
            self._show_results()
            self.stack.show_content()
        self._show_activity(self.workbench.activity("whatif"))

    def _show_empty(self) -> None:
        item = self.state.current
        if item is None or item.media.modality is Modality.TEXT:
            self.stack.show_empty("What if …", f"{_EXPLAINED} Choose an image or a sound to begin.")
        else:
            self.stack.show_empty("What if …", _EXPLAINED, example_words(self._example, item.media.modality))

    def _show_missing(self) -> None:
        activity = self.workbench.activity("whatif")
        if activity.running:
            self.stack.show_waiting(_waiting_words(activity), activity.fraction)
        elif activity.error is not None:
            self.stack.show_failed(activity.error.message, activity.error.details)
        else:
            self.stack.show_empty("", "Choose an image or a sound, and load a model that takes it.")

    def _show_results(self) -> None:
        found = self._act.result
        assert found is not None
        written = self._act.writing or found.after
        before = found.before.text.strip() if found.before is not None else ""
        old, new = marked_texts(before, written.text.strip()) if written is not None else (before, "")
        self.before.setText(_line("before", old))
        self.after.setText(_line("after", new or "…" if written is not None else ""))
        for label, text in ((self.before, before), (self.after, written.text if written else "")):
            label.setAccessibleDescription(text)
            label.setVisible(bool(text))
        self._titles["Text"].setVisible(bool(before))
        self.total.setText(total_words(found))
        self.total.setVisible(bool(self.total.text()))
        self.tokens.set_rows(change_rows(token_rows(found)), 0.0 if found.unit == "similarity" else 1.0)
        self.tokens.setVisible(bool(self.tokens.rows))
        query = found.unit == "similarity"
        title = "Similarity with each word" if query else "Each token of the text before"
        self._titles["Each token of the text before"].setText(title)
        self._titles["Each token of the text before"].setVisible(bool(self.tokens.rows))
        self.labels.set_rows(change_rows(label_rows(found)), 0.1)
        for widget in (self.labels, self._titles["Labels"]):
            widget.setVisible(bool(self.labels.rows))
        self.notes.setText("\n".join(found.notes))
        self.notes.setVisible(bool(found.notes))
        self._show_pair()

    def _show_pair(self) -> None:
        """Show maps of the chosen token on both sides, else what was hidden."""
        found, item = self._act.result, self._asked_item()
        if found is None or item is None:
            return
        chosen = self.state.tokens if self._act.fits else ()
        rows = [change.index for change in shown_changes(found)]
        self.tokens.set_chosen(rows.index(chosen[0]) if len(chosen) == 1 and chosen[0] in rows else None)
        pair = shown_pair(found, chosen)
        changed = LibraryItem(found.media, item.name) if found.media is not None else item
        style = map_style(self.state.view, pair.signed if pair is not None else False)
        if pair is None:
            tiles = tuple(_bare_tile(each) for each in (item, changed)) if found.media is not None else ()
            self.pair_title.set_text("The item, before and after" if tiles else "")
        else:
            tiles = (_map_tile(item, pair, pair.before), _map_tile(changed, pair, pair.after))
            self.pair_title.set_text(f"Where it looked for {pair.subject}")
        self.pair_title.setVisible(bool(tiles))
        self.pair.setVisible(bool(tiles))
        self.pair.set_tiles(tiles, _SIDES, style)

    def _asked_item(self) -> LibraryItem | None:
        found = self._act.result
        return self.state.item(found.media_id) if found is not None else None

    # --- from the engine -------------------------------------------------------------------------------
    def _on_activity(self, key: str, activity: Activity) -> None:
        if key == "whatif":
            self._show_activity(activity)
            if self._act.result is None and self._act.recipe:
                self._show_missing()

    def _show_activity(self, activity: Activity) -> None:
        if activity.error is not None and self._act.result is not None:
            self.note.show_failed(activity.error.message, activity.error.details)
        elif activity.running and self._act.result is not None:
            self.note.show_waiting(_waiting_words(activity))
        else:
            self.note.clear()

    # --- to the session --------------------------------------------------------------------------------
    def _choose_token(self, row: int) -> None:
        found = self._act.result
        if found is not None and self._act.fits:
            self.state.set_tokens((shown_changes(found)[row].index,))

    def _cancel(self) -> None:
        self.workbench.cancel("whatif")
        self._show()

    def _open(self) -> None:
        self._ask_for_file(QFileDialog.AcceptMode.AcceptOpen, self._act.open_file)

    def _save(self) -> None:
        self._ask_for_file(QFileDialog.AcceptMode.AcceptSave, self._act.save_file)

    def _ask_for_file(self, mode: QFileDialog.AcceptMode, then: Callable[[Path], None]) -> None:
        dialog = QFileDialog(self, "What if recipe", "", _FILES)
        dialog.setAcceptMode(mode)
        dialog.setDefaultSuffix("json")
        dialog.setAttribute(Qt.WidgetAttribute.WA_DeleteOnClose)
        dialog.fileSelected.connect(lambda name: then(Path(name)))
        dialog.open()


def _waiting_words(activity: Activity) -> str:
    return f"{activity.label} … {activity.message}".strip()


def _text_label() -> QLabel:
    label = QLabel()
    label.setWordWrap(True)
    label.setTextFormat(Qt.TextFormat.RichText)
    label.setTextInteractionFlags(Qt.TextInteractionFlag.TextSelectableByMouse)
    label.setBackgroundRole(QPalette.ColorRole.Base)
    return label


def _line(side: str, markup: str) -> str:
    return f"<i>{side}</i>&nbsp; {markup}"


def _bare_tile(item: LibraryItem) -> Tile:
    """The item without a map."""
    return Tile(TileState.WAITING, picture_of(item), words="" if item.media.pixels is not None else "sound")


def _map_tile(item: LibraryItem, pair: ShownPair, values: FloatArray) -> Tile:
    """A map over the item as it was on its side."""
    tip = f"{item.name}: {pair.subject}"
    if isinstance(pair.geometry, ImageGeometry):
        grid = GridMap(values, grid_box(pair.geometry), pair.low, pair.high, enlarge)
        return Tile(TileState.MAP, picture_of(item), grid, signed=pair.signed, tip=tip)
    curve = TimeMap(values, pair.geometry.start, pair.geometry.step, pair.low, pair.high)
    return Tile(TileState.MAP, None, None, curve, item.media.duration, pair.signed, tip=tip)
