"""Make the maps of a matrix in this process. Imports torch."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from mmviewer.core.capture.store import CaptureStore
from mmviewer.core.compare.figure import Matrix
from mmviewer.core.compare.plan import (
    AxisKind,
    CellMap,
    CellQuestion,
    Entry,
    MapSource,
    Place,
    cell_map,
    question_at,
)
from mmviewer.core.errors import InputError, MMViewerError
from mmviewer.core.explain.base import estimate, explain
from mmviewer.core.models.base import LoadedModel, Prepared
from mmviewer.core.progress import SILENT, Progress
from mmviewer.core.types import Media, TokenMaps, TokenSequence

MakeSequence = Callable[[LoadedModel, Prepared, str], TokenSequence]
"""Gives the words to look for: of a text, or those that the model writes where the text is empty."""


def compute(
    rows: Sequence[Entry],
    columns: Sequence[Entry],
    rest: CellQuestion,
    items: Mapping[str, Media],
    models: Mapping[str, LoadedModel],
    make_sequence: MakeSequence,
    progress: Progress = SILENT,
) -> Matrix:
    """Make every map of a matrix, the cheap ones first; a cell that cannot be made says why.

    Raises `InputError` where rows and columns are of one kind, or there are none.
    """
    check_axes(rows, columns)
    questions = {
        (r, c): question_at(row, column, rest)
        for r, row in enumerate(rows)
        for c, column in enumerate(columns)
    }
    maker = _Maker(items, models, make_sequence, progress)
    maker.make({question.source for question in questions.values()})
    cells: dict[Place, CellMap] = {}
    failures: dict[Place, str] = {}
    for place, question in questions.items():
        try:
            cells[place] = maker.cell(question)
        except MMViewerError as error:
            failures[place] = error.message
    infos = {model_id: model.info for model_id, model in models.items()}
    return Matrix(tuple(rows), tuple(columns), questions, cells, failures, items, infos)


def check_axes(rows: Sequence[Entry], columns: Sequence[Entry]) -> None:
    """Raise `InputError` unless rows and columns are there and differ in kind."""
    if not rows or not columns:
        raise InputError("There is nothing to compare; choose at least one row and one column.")
    if rows[0].kind is columns[0].kind:
        raise InputError(f"Rows and columns are both {rows[0].kind}; choose two different ones.")
    kinds = {rows[0].kind, columns[0].kind}
    if kinds == {AxisKind.METHODS, AxisKind.LAYERS}:
        raise InputError("Layers belong to a method; compare layers of one method with words or items.")


class _Maker:
    """Makes each sequence and each set of maps once."""

    def __init__(
        self,
        items: Mapping[str, Media],
        models: Mapping[str, LoadedModel],
        make_sequence: MakeSequence,
        progress: Progress,
    ) -> None:
        self._items, self._models = items, models
        self._make_sequence, self._progress = make_sequence, progress
        self._store = CaptureStore()
        self._prepared: dict[tuple[str, str], Prepared] = {}
        self._sequences: dict[tuple[str, str, str], TokenSequence] = {}
        self._maps: dict[MapSource, TokenMaps] = {}
        self._errors: dict[object, MMViewerError] = {}

    def make(self, sources: set[MapSource]) -> None:
        """Make all maps, the cheap ones first."""
        asked = {source: self._forwards(source) for source in sources}
        ordered = sorted(asked, key=lambda source: (asked[source], str(source)))
        for number, source in enumerate(ordered):
            self._progress.report(number, len(ordered), f"map {number + 1} of {len(ordered)}")
            self._explain(source)

    def cell(self, question: CellQuestion) -> CellMap:
        """Take a cell from the maps; raises why there are none."""
        error = self._errors.get(question.source)
        if error is not None:
            raise error
        return cell_map(self._maps[question.source], self._sequence(question.source), question.word)

    def _forwards(self, source: MapSource) -> int:
        try:
            model, prepared, sequence = self._inputs(source)
            return estimate(model, prepared, sequence, source.spec).forwards
        except MMViewerError as error:
            self._errors[source] = error
            return 0

    def _explain(self, source: MapSource) -> None:
        if source in self._errors:
            return
        try:
            model, prepared, sequence = self._inputs(source)
            self._maps[source] = explain(model, prepared, sequence, source.spec, self._progress, self._store)
        except MMViewerError as error:
            self._errors[source] = error

    def _inputs(self, source: MapSource) -> tuple[LoadedModel, Prepared, TokenSequence]:
        key = (source.model_id, source.item_id)
        model = self._models[source.model_id]
        if key not in self._prepared:
            self._prepared[key] = model.prepare(self._items[source.item_id])
        return model, self._prepared[key], self._sequence(source)

    def _sequence(self, source: MapSource) -> TokenSequence:
        key = (source.model_id, source.item_id, source.text)
        if key not in self._sequences:
            model, prepared = self._models[source.model_id], self._prepared[source.model_id, source.item_id]
            self._sequences[key] = self._make_sequence(model, prepared, source.text)
        return self._sequences[key]
