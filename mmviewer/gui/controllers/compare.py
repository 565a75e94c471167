"""Maps side by side: makes the texts and maps of a comparison one after the other, the cheap ones first.

Nothing is computed while the comparison is closed. What is expensive waits until it is asked for.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from PySide6.QtCore import QObject, QTimer, Signal

from mmviewer.core.compare.figure import Matrix
from mmviewer.core.compare.plan import AxisKind, CellMap, CellQuestion, MapSource, Place, cell_map
from mmviewer.core.errors import InputError
from mmviewer.core.session.state import LibraryItem
from mmviewer.core.types import TokenMaps, TokenSequence
from mmviewer.engine.protocol import (
    ErrorReport,
    EstimateMaps,
    Explain,
    Generate,
    MapEstimate,
    Request,
    Tokenize,
)
from mmviewer.gui.activities import Activity
from mmviewer.gui.compare_model import CompareChoice, ComparePlan, SequenceKey, plan_of, setting_of

if TYPE_CHECKING:
    from mmviewer.gui.workbench import Workbench

KEY = "compare"
UNASKED_SECONDS = 1.5
"""Maps that take longer wait for a click."""

_KEPT_BYTES = 256 * 2**20
_Step = MapSource | SequenceKey


class CompareController(QObject):
    """Holds what is compared and drives the engine towards it."""

    changed = Signal()
    """Rows, columns, a cell or the progress changed."""
    opened = Signal(bool)
    """The comparison was opened or closed."""

    def __init__(self, workbench: Workbench) -> None:
        super().__init__(workbench)
        self._workbench = workbench
        self._state = workbench.state
        self._activities = workbench.activities
        self.is_open = False
        self.choice = CompareChoice()
        self.plan = ComparePlan()
        self.running: _Step | None = None
        self.stopped = False
        self._sequences: dict[SequenceKey, TokenSequence] = {}
        self._maps: OrderedDict[MapSource, TokenMaps] = OrderedDict()
        self._estimates: dict[MapSource, MapEstimate] = {}
        self._errors: dict[_Step, ErrorReport] = {}
        self._accepted: set[MapSource] = set()
        self._soon = QTimer(self, singleShot=True, interval=0)
        self._soon.timeout.connect(self._replan)
        for signal in self._signals():
            signal.connect(self._on_session)
        for signal in self._model_signals():
            signal.connect(self._on_models)
        self._activities.changed.connect(self._on_activity)

    def release(self) -> None:
        """Stop watching the state."""
        self._soon.stop()
        for signal in self._signals():
            signal.disconnect(self._on_session)
        for signal in self._model_signals():
            signal.disconnect(self._on_models)

    def _signals(self) -> tuple[Any, ...]:
        state = self._state
        return (
            state.items_changed,
            state.current_changed,
            state.selection_changed,
            state.sequence_changed,
            state.spec_changed,
        )

    def _model_signals(self) -> tuple[Any, ...]:
        return self._state.model_changed, self._state.speech_model_changed, self._state.others_changed

    # --- what a user does --------------------------------------------------------------------------------
    def open(self) -> None:
        """Compare maps of the current item; a description that is being looked for is compared too."""
        if self.is_open:
            return
        self.is_open = True
        shown = self._state.sequence
        text = shown.text if shown is not None and shown.kind == "query" else ""
        self.choice = replace(self.choice, text=text)
        self.stopped = False
        self._replan()
        self.opened.emit(True)

    def close(self) -> None:
        """Stop computing and show the viewer again; what is made is kept."""
        if self.is_open:
            self.is_open = False
            self._soon.stop()
            self._halt()
            self.opened.emit(False)

    def choose(self, choice: CompareChoice) -> None:
        """Compare something else."""
        if choice != self.choice:
            self.choice = choice
            self.stopped = False
            self._replan()

    def stop(self) -> None:
        """Compute no more; a click on a cell or `go_on` continues."""
        self.stopped = True
        self._halt()
        self.changed.emit()

    def go_on(self) -> None:
        """Compute what is still missing."""
        self.stopped = False
        self._next()
        self.changed.emit()

    def want(self, place: Place) -> None:
        """Compute a cell although it takes long, or once more after it failed."""
        source = self.plan.questions[place].source
        self._accepted.add(source)
        self._errors.pop(source, None)
        self._errors.pop(_key(source), None)
        self.go_on()

    def show(self, place: Place) -> None:
        """Open a cell in the viewer: its item, its words, its method."""
        question = self.plan.questions[place]
        cell = self.cell(place)
        item = self._state.item(question.item_id)
        sequence = self._sequences.get(_key(question.source))
        if isinstance(cell, CellMap) and item is not None and sequence is not None:
            self.close()
            self._workbench.sequences.show_map(item, sequence, question.spec, cell.maps)
            self._state.set_tokens(cell.shown.tokens if question.word else ())

    # --- what is there -----------------------------------------------------------------------------------
    def cell(self, place: Place) -> CellMap | str | None:
        """The map of a cell, why there is none, or None while it is not made."""
        question = self.plan.questions[place]
        error = self._error_of(question)
        if error is not None:
            return error.message
        sequence = self._sequences.get(_key(question.source))
        maps = self._maps.get(question.source)
        if sequence is None or maps is None:
            return None
        try:
            return cell_map(maps, sequence, question.word)
        except InputError as absent:
            return absent.message

    def estimate(self, place: Place) -> MapEstimate | None:
        """What a cell will take, once that is known."""
        return self._estimates.get(self.plan.questions[place].source)

    def waits_for_click(self, place: Place) -> bool:
        """Whether a cell is so expensive that it is only computed when asked for."""
        return self._is_expensive(self.plan.questions[place].source)

    def can_retry(self, place: Place) -> bool:
        """Whether a cell failed while it was computed, and not because there can be no such map."""
        error = self._error_of(self.plan.questions[place])
        return error is not None and error.kind not in ("UnsupportedError", "InputError")

    def obstacle_error(self) -> ErrorReport | None:
        """Why a text that the comparison needs could not be made."""
        return next((self._errors[key] for key in self.plan.missing if key in self._errors), None)

    def shown_text(self) -> str:
        """The text whose words are compared, where it is one for all cells."""
        keys = {_key(question.source) for question in self.plan.questions.values()}
        texts = {self._sequences[key].text.strip() for key in keys if key in self._sequences}
        return texts.pop() if len(texts) == 1 else ""

    def progress(self) -> tuple[int, int]:
        """How many cells are settled, of how many."""
        settled = sum(self.cell(place) is not None for place in self.plan.questions)
        return settled, len(self.plan.questions)

    def matrix(self) -> Matrix:
        """All that is there, as it is exported; raises `InputError` while there is no map at all."""
        cells: dict[Place, CellMap] = {}
        failures: dict[Place, str] = {}
        for place in self.plan.questions:
            cell = self.cell(place)
            if isinstance(cell, CellMap):
                cells[place] = cell
            else:
                failures[place] = cell or "not computed"
        if not self.is_open or not cells:
            raise InputError("There is no comparison yet: press Compare and wait for the first map.")
        items = {item.id: replace(item.media, name=item.name) for item in self._state.items}
        models = {model.id: model for model in self._state.models}
        return Matrix(self.plan.rows, self.plan.columns, self.plan.questions, cells, failures, items, models)

    # --- planning --------------------------------------------------------------------------------------
    def _on_session(self, _changed: object) -> None:
        if self.is_open:
            self._soon.start()

    def _on_models(self, _model: object) -> None:
        """A model that is loaded anew may be another one under the same name."""
        ids = {model.id for model in self._state.models}
        self._sequences = {key: value for key, value in self._sequences.items() if key[1] in ids}
        for kept in (self._maps, self._estimates):
            for source in [each for each in kept if each.model_id not in ids]:
                del kept[source]
        self._errors.clear()
        self._on_session(None)

    def _replan(self) -> None:
        self._learn_sequences()
        item = self._state.current
        writer = self._workbench.model_for(item)
        setting = setting_of(self._state, self.choice, self._sequences, writer)
        self.plan = plan_of(setting)
        if self.running is not None and self.running not in self._steps_wanted():
            self._halt()
        self.changed.emit()
        self._next()

    def _learn_sequences(self) -> None:
        """Take up the texts that the session has already; what is shown counts most."""
        for sequence in self._workbench.sequences.written():
            self._learn(sequence)
        shown = self._state.sequence
        if shown is not None and shown.finished and shown.tokens:
            self._learn(shown)

    def _learn(self, sequence: TokenSequence) -> None:
        text = sequence.text if sequence.kind == "query" else ""
        key = (sequence.media_id, sequence.model_id, text)
        former = self._sequences.get(key)
        self._sequences[key] = sequence
        if former is not None and former.tokens != sequence.tokens:
            for kept in (self._maps, self._estimates, self._errors):
                for source in [each for each in kept if isinstance(each, MapSource) and _key(each) == key]:
                    del kept[source]

    def _steps_wanted(self) -> set[_Step]:
        return {*self.plan.missing, *(question.source for question in self.plan.questions.values())}

    # --- computing -------------------------------------------------------------------------------------
    def _next(self) -> None:
        """Start the next step unless one is under way."""
        if self.running is not None or self.stopped or not self.is_open:
            return
        for key in self.plan.missing:
            if key not in self._errors and key not in self._sequences:
                self._make_sequence(key)
                return
        sources = dict.fromkeys(question.source for question in self.plan.questions.values())
        open_ones = [source for source in sources if self._is_open(source)]
        unknown = [source for source in open_ones if source not in self._estimates]
        if unknown:
            self._estimate([source for source in unknown if _key(source) == _key(unknown[0])])
            return
        ready = [source for source in open_ones if not self._is_expensive(source)]
        if ready:
            self._explain(min(ready, key=lambda source: self._estimates[source].seconds))

    def _is_open(self, source: MapSource) -> bool:
        """Whether the maps are still to be made, and can be."""
        known = source in self._maps or source in self._errors
        return not known and _key(source) in self._sequences

    def _is_expensive(self, source: MapSource) -> bool:
        estimate = self._estimates.get(source)
        late = estimate is not None and estimate.seconds > UNASKED_SECONDS
        return late and source not in self._accepted and source not in self._maps

    def _make_sequence(self, key: SequenceKey) -> None:
        item_id, model_id, text = key
        item = self._state.item(item_id)
        if item is None:
            return

        def done(sequence: TokenSequence) -> None:
            self._sequences[key] = sequence
            self._replan()

        request: Request
        if text:
            request = Tokenize(model_id, item.ref, text)
            label = f"Reading the text for {item.name}"
        else:
            request = Generate(model_id, item.ref, self._state.sampling)
            label = f"Letting the model write about {item.name}"
        self._run(key, label, request, done)

    def _estimate(self, sources: list[MapSource]) -> None:
        first = sources[0]
        item, sequence = self._state.item(first.item_id), self._sequences[_key(first)]
        if item is None:
            return

        def done(estimates: tuple[MapEstimate, ...]) -> None:
            for source, estimate in zip(sources, estimates, strict=True):
                self._estimates[source] = estimate
                if estimate.error is not None:
                    self._errors[source] = estimate.error

        specs = tuple(source.spec for source in sources)
        request = EstimateMaps(first.model_id, item.ref, sequence, specs)
        self._run(first, "Estimating what the maps take", request, done)

    def _explain(self, source: MapSource) -> None:
        item, sequence = self._state.item(source.item_id), self._sequences[_key(source)]
        if item is None:
            return

        def done(maps: TokenMaps) -> None:
            self._keep(source, maps)

        left = [question.source for question in self.plan.questions.values()]
        made = len({each for each in left if each in self._maps})
        label = f"Comparing: {self._name(source, item)}, {made + 1} of {len(set(left))}"
        self._run(source, label, Explain(source.model_id, item.ref, sequence, source.spec), done)

    def _name(self, source: MapSource, item: LibraryItem) -> str:
        options = self.plan.options.get(AxisKind.METHODS, ())
        labels = {option.entry.key: option.entry.label for option in options}
        method = labels.get(source.spec.method, source.spec.method)
        several = len({question.item_id for question in self.plan.questions.values()}) > 1
        return f"{method} of {item.name}" if several else method

    def _run(self, step: _Step, label: str, request: Request, done: Callable[[Any], None]) -> None:
        def finished(value: Any) -> None:
            self.running = None
            done(value)
            self._next()
            self.changed.emit()

        def failed(error: ErrorReport) -> None:
            self.running = None
            self._errors[step] = error
            self._activities.clear_error(KEY)  # the cell says it
            self._next()
            self.changed.emit()

        self.running = step
        self._activities.run(KEY, label, request, finished, failed=failed)
        self.changed.emit()

    def _halt(self) -> None:
        if self.running is not None:
            self.running = None
            self._activities.cancel(KEY)

    def _on_activity(self, key: str, activity: Activity) -> None:
        if key != KEY:
            return
        if activity.running:
            self.changed.emit()
        elif self.running is not None:
            step = self.running
            QTimer.singleShot(0, self, lambda: self._check_cancelled(step))

    def _check_cancelled(self, step: _Step) -> None:
        """An activity that ended without an answer was cancelled elsewhere, as by the status bar."""
        if self.running == step and not self._activities.get(KEY).running:
            self.running = None
            self.stopped = True
            self.changed.emit()

    def _keep(self, source: MapSource, maps: TokenMaps) -> None:
        self._maps[source] = maps
        size = sum(kept.values.nbytes for kept in self._maps.values())
        wanted = {question.source for question in self.plan.questions.values()}
        for oldest in [each for each in self._maps if each not in wanted]:
            if size <= _KEPT_BYTES:
                break
            size -= self._maps.pop(oldest).values.nbytes

    def _error_of(self, question: CellQuestion) -> ErrorReport | None:
        return self._errors.get(question.source) or self._errors.get(_key(question.source))


def _key(source: MapSource) -> SequenceKey:
    return source.item_id, source.model_id, source.text
