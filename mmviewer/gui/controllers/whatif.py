"""What if: the recipe of interventions, with undo, and what the model makes of it."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from PySide6.QtCore import QObject, QTimer, Signal

from mmviewer.core.errors import ExportError, InputError, MMViewerError
from mmviewer.core.interventions.outcome import WhatIf
from mmviewer.core.interventions.recipe import (
    MOST_STEPS,
    Recipe,
    Step,
    read_recipe,
    recipe_json,
    step_words,
    without,
)
from mmviewer.core.media.files import write_atomically
from mmviewer.core.session.state import LibraryItem
from mmviewer.core.types import Modality, ModelInfo, TokenSequence
from mmviewer.engine.protocol import ErrorReport, Intervene
from mmviewer.gui.controllers.library import Change

if TYPE_CHECKING:
    from mmviewer.gui.workbench import Workbench

_KEY = "whatif"
_RECIPE_BYTES = 2**20


class WhatIfController(QObject):
    """Keeps the recipe and its last result; a change of the recipe asks the model again.

    The recipe stays when another item or model is chosen, but nothing is computed for it unasked.
    """

    changed = Signal()
    """Recipe or result changed, or whether the result still fits what is shown."""

    def __init__(self, workbench: Workbench) -> None:
        super().__init__(workbench)
        self._workbench = workbench
        self._state = workbench.state
        self.recipe: Recipe = ()
        self.result: WhatIf | None = None
        self.writing: TokenSequence | None = None
        self._asked: Intervene | None = None
        self._soon = QTimer(self, singleShot=True, interval=0)  # one run for changes that come together
        self._soon.timeout.connect(self.run)
        self._signals = (
            self._state.current_changed,
            self._state.model_changed,
            self._state.speech_model_changed,
            self._state.sequence_changed,
        )
        for signal in self._signals:
            signal.connect(self._on_place_changed)

    def release(self) -> None:
        """Stop watching the state."""
        self._soon.stop()
        for signal in self._signals:
            signal.disconnect(self._on_place_changed)

    # --- the recipe ------------------------------------------------------------------------------------
    def add(self, step: Step) -> None:
        """Add a step at the end, with undo."""
        if len(self.recipe) >= MOST_STEPS:
            self._workbench.notice.emit(f"A recipe has at most {MOST_STEPS} steps; remove one.", "warning")
        elif step in self.recipe:
            self._workbench.notice.emit(f"That is in the recipe already: {step_words(step)}.", "info")
        else:
            self._change(f"What if: {step_words(step)}", (*self.recipe, step))

    def remove(self, index: int) -> None:
        """Remove a step, with undo."""
        if 0 <= index < len(self.recipe):
            self._change(f"Without: {step_words(self.recipe[index])}", without(self.recipe, index))

    def clear(self) -> None:
        """Remove all steps, with undo."""
        if self.recipe:
            self._change("Clear What if", ())

    def open_file(self, path: Path) -> None:
        """Take the recipe of a JSON file, with undo."""
        try:
            if path.stat().st_size > _RECIPE_BYTES:
                raise InputError(f"{path.name} is too large for a recipe; choose one that What if has saved.")
            recipe = read_recipe(path.read_text("utf-8"))
        except (OSError, UnicodeDecodeError):
            self._fail(InputError(f"{path.name} cannot be read; choose a recipe that What if has saved."))
        except MMViewerError as error:
            self._fail(error)
        else:
            self._change(f"Open {path.name}", recipe)

    def save_file(self, path: Path) -> None:
        """Write the recipe as JSON, which the command line takes too."""
        try:
            write_atomically(path, recipe_json(self.recipe).encode(), ExportError)
        except MMViewerError as error:
            self._fail(error)
        else:
            self._workbench.notice.emit(f"Wrote {path}", "info")

    # --- asking ----------------------------------------------------------------------------------------
    def run(self) -> None:
        """Ask the model about what is shown now, under the recipe."""
        request = self._request()
        if not self.recipe or request is None:
            return
        item = self._state.current
        self._asked, self.result, self.writing = request, None, None
        name = item.name if item is not None else "the item"
        self._workbench.activities.run(
            _KEY, f"Trying what if on {name}", request, done=self._take, partial=self._take
        )
        self.changed.emit()

    @property
    def fits(self) -> bool:
        """Whether the result, or what is under way, is about what is shown now."""
        now = self._request()
        return self._asked is not None and now is not None and _subject(self._asked) == _subject(now)

    @property
    def asked_item(self) -> str:
        """Name of the item that the result is about; empty where there is none."""
        return self._asked.media.name if self._asked is not None else ""

    def model(self) -> ModelInfo | None:
        """The model that is asked: that of the text that is shown, else the one for the item."""
        item, sequence = self._state.current, self._state.sequence
        known = (self._state.model, self._state.speech_model)
        own = next((m for m in known if m is not None and sequence and m.id == sequence.model_id), None)
        if own is not None and item is not None:
            return own.side(item.media.modality)
        return self._workbench.model_for(item)

    # --- inside ----------------------------------------------------------------------------------------
    def _request(self) -> Intervene | None:
        item, model = self._state.current, self.model()
        if item is None or model is None or item.media.modality is Modality.TEXT:
            return None
        sequence = self._sequence_of(item, model)
        dear = self._workbench.sequences.costs.offer is not None  # maps that nobody wanted for their price
        has_maps = sequence is not None and bool(model.methods_for(sequence.kind)) and not dear
        return Intervene(
            model.id,
            item.ref,
            self.recipe,
            sequence,
            self._state.labels,
            self._state.templates,
            self._state.spec if has_maps else None,
        )

    def _sequence_of(self, item: LibraryItem, model: ModelInfo) -> TokenSequence | None:
        sequence = self._state.sequence
        if sequence is None or not sequence.finished or not sequence.tokens:
            return None
        return sequence if (sequence.media_id, sequence.model_id) == (item.id, model.id) else None

    def _take(self, part: WhatIf | TokenSequence) -> None:
        if isinstance(part, WhatIf):
            self.result = part
            self.writing = None
        else:
            self.writing = part
        self.changed.emit()

    def _change(self, words: str, recipe: Recipe) -> None:
        before = self.recipe
        self._workbench.undo_stack.push(Change(words, lambda: self._set(recipe), lambda: self._set(before)))

    def _set(self, recipe: Recipe) -> None:
        self.recipe = recipe
        self._workbench.activities.cancel(_KEY)
        self._workbench.activities.clear_error(_KEY)
        self.result = self.writing = self._asked = None
        if recipe:
            self._soon.start()
        self.changed.emit()

    def _fail(self, error: MMViewerError) -> None:
        self._workbench.report(ErrorReport(type(error).__name__, error.message))

    def _on_place_changed(self, _value: object) -> None:
        if self.recipe:
            self.changed.emit()


def _subject(request: Intervene) -> tuple[object, ...]:
    """What a result is about; other maps or labels do not make it wrong."""
    return request.model_id, request.media.id, request.steps, request.sequence
