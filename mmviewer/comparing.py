"""Maps side by side, for scripts and the command line: `compare` makes them, `Comparison` writes them."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from mmviewer.core.compare.compute import MakeSequence, check_axes, compute
from mmviewer.core.compare.figure import Matrix, matrix_figure, matrix_provenance
from mmviewer.core.compare.plan import WHOLE, AxisKind, CellQuestion, Entry, cell_words, words_of
from mmviewer.core.errors import InputError
from mmviewer.core.explain.base import METHODS, estimate, method_infos
from mmviewer.core.models.base import LoadedModel, Prepared
from mmviewer.core.progress import SILENT, Progress
from mmviewer.core.targets import Contrast, SimilarityTarget
from mmviewer.core.tasks.generate import generate
from mmviewer.core.tasks.query import query_sequence
from mmviewer.core.types import FloatArray, HeadChoice, MapSpec, Media, TokenMaps, TokenSequence

_QUICK = 8
"""Passes through the model up to which a method is taken unasked."""


@dataclass(frozen=True, slots=True, eq=False)
class Comparison:
    """A matrix of maps.

    `matrix` holds rows, columns, the maps of all cells and why others failed.
    """

    matrix: Matrix

    @property
    def rows(self) -> tuple[str, ...]:
        """Names of the rows."""
        return tuple(entry.label for entry in self.matrix.rows)

    @property
    def columns(self) -> tuple[str, ...]:
        """Names of the columns."""
        return tuple(entry.label for entry in self.matrix.columns)

    @property
    def failures(self) -> dict[tuple[str, str], str]:
        """Why cells have no map, by names of row and column."""
        return {
            (self.rows[row], self.columns[column]): words
            for (row, column), words in self.matrix.failures.items()
        }

    def grid(self, row: str, column: str) -> FloatArray:
        """Return the map of a cell, [R, C] over an image or [P] along a sound; `InputError` without one."""
        return self.matrix.cells[self._place(row, column)].shown.grid

    def maps(self, row: str, column: str) -> TokenMaps:
        """Return all that is known of a cell's map: score, caveat, layer, geometry, other words' maps."""
        return self.matrix.cells[self._place(row, column)].maps

    def figure(
        self,
        path: str | os.PathLike[str],
        *,
        shared_scale: bool = True,
        dpi: int = 200,
        caption: bool = True,
    ) -> Path:
        """Draw all maps as one figure, or write their arrays; the path's ending says how.

        With `shared_scale`, maps whose numbers are of one kind share a colour scale; maps of different kinds
        never do. Raises `ExportError` if the file cannot be written.
        """
        # matplotlib is imported only where a figure is drawn
        from mmviewer.core.figures.render import render

        figure = matrix_figure(self.matrix, shared_scale=shared_scale)
        provenance = matrix_provenance(self.matrix, shared_scale=shared_scale)
        render(figure, provenance, Path(path), dpi=dpi, caption=caption)
        return Path(path)

    def _place(self, row: str, column: str) -> tuple[int, int]:
        for name, names, what in ((row, self.rows, "row"), (column, self.columns, "column")):
            if name not in names:
                raise InputError(f"There is no {what} “{name}”; there are: {', '.join(names)}.")
        place = (self.rows.index(row), self.columns.index(column))
        if place not in self.matrix.cells:
            raise InputError(f"“{row}” has no map under “{column}”: {self.matrix.failures[place]}")
        return place


def compare(
    model: LoadedModel | Sequence[LoadedModel],
    media: Media | Sequence[Media],
    about: str = "",
    *,
    rows: str = "words",
    columns: str = "methods",
    words: Sequence[str] | None = None,
    methods: Sequence[str] | None = None,
    layers: Sequence[int] | None = None,
    word: str = WHOLE,
    method: str = "attention",
    point: str | None = None,
    layer: int | None = None,
    head: HeadChoice = "mean",
    contrast: Contrast | str | None = None,
    without_sinks: bool = False,
    progress: Progress = SILENT,
) -> Comparison:
    """Make maps side by side: words by methods, items by words, words by layers, models by items ...

    Parameters
    ----------
    model : LoadedModel or sequence of LoadedModel
    media : Media or sequence of Media
    about : str
        A text to look for; by default each model's own caption or transcript of each item.
    rows, columns : {"words", "methods", "layers", "items", "models"}
        What differs from row to row and from column to column.
    words, methods, layers : sequence, optional
        Which of them; by default all content words of the first text, all methods that take a few passes,
        all layers of the method's own place. Layers count from 0.
    word, method, point, layer, head, contrast, without_sinks
        What holds for all cells, as in `mmviewer.explain`; the whole text where no word is named.

    Returns
    -------
    Comparison
        A cell that cannot be made says why in ``failures``; the others are there.

    Raises
    ------
    InputError
        Rows and columns are of one kind, or there is nothing to choose from.
    """
    models = [model] if isinstance(model, LoadedModel) else list(model)
    items = [media] if isinstance(media, Media) else list(media)
    if not models or not items:
        raise InputError("There is nothing to compare; give at least one model and one item.")
    other = SimilarityTarget(contrast) if isinstance(contrast, str) else contrast
    spec = MapSpec(method, point, layer, head, contrast=other, without_sinks=without_sinks)
    rest = CellQuestion(items[0].id, models[0].info.id, about, cell_words(word), spec)
    choice = _Choice(models, items, rest, _remembering(progress), words, methods, layers)
    row_entries, column_entries = choice.entries(rows), choice.entries(columns)
    check_axes(row_entries, column_entries)
    matrix = compute(
        row_entries,
        column_entries,
        rest,
        {item.id: item for item in items},
        {each.info.id: each for each in models},
        choice.make_sequence,
        progress,
    )
    return Comparison(matrix)


@dataclass(frozen=True, slots=True, eq=False)
class _Choice:
    """What there is to choose from, and what is chosen where nothing is said."""

    models: Sequence[LoadedModel]
    items: Sequence[Media]
    rest: CellQuestion
    make_sequence: MakeSequence
    words: Sequence[str] | None
    methods: Sequence[str] | None
    layers: Sequence[int] | None

    def entries(self, kind: str) -> tuple[Entry, ...]:
        """Rows or columns of a kind."""
        try:
            axis = AxisKind(kind)
        except ValueError as error:
            known = ", ".join(each.value for each in AxisKind)
            raise InputError(f"There are no rows or columns of {kind!r}; choose two of: {known}.") from error
        match axis:
            case AxisKind.WORDS:
                return tuple(Entry(axis, word, word or "whole text") for word in self._words())
            case AxisKind.METHODS:
                return tuple(Entry(axis, key, _label(key)) for key in self._methods())
            case AxisKind.LAYERS:
                return tuple(Entry(axis, str(layer), f"layer {layer + 1}") for layer in self._layers())
            case AxisKind.ITEMS:
                return tuple(Entry(axis, item.id, item.name) for item in self.items)
            case AxisKind.MODELS:
                return tuple(Entry(axis, model.info.id, model.info.label) for model in self.models)

    def _first(self) -> tuple[LoadedModel, Prepared, TokenSequence]:
        model = self.models[0]
        prepared = model.prepare(self.items[0])
        return model, prepared, self.make_sequence(model, prepared, self.rest.text)

    def _words(self) -> tuple[str, ...]:
        if self.words is not None:
            return tuple(cell_words(word) for word in self.words)
        found = words_of(self._first()[2])
        return tuple(word.key for word in found if word.content) or tuple(word.key for word in found)

    def _methods(self) -> tuple[str, ...]:
        if self.methods is not None:
            return tuple(METHODS.get(key).key for key in self.methods)
        model, prepared, sequence = self._first()
        side = model.side(prepared.modality)
        offered = [info.key for info in method_infos(side) if info.points_for(sequence.kind)]
        costs = {key: estimate(model, prepared, sequence, MapSpec(key)).forwards for key in offered}
        return tuple(key for key in offered if costs[key] <= _QUICK)

    def _layers(self) -> tuple[int, ...]:
        if self.layers is not None:
            return tuple(self.layers)
        model, prepared, sequence = self._first()
        spec = self.rest.spec
        points = METHODS.get(spec.method).points(model.side(prepared.modality), sequence.kind)
        named = [each for each in points if spec.point in (None, each.name)]
        return tuple(range(named[0].layers)) if named else ()


def _label(method: str) -> str:
    return METHODS.get(method).label


def _remembering(progress: Progress) -> MakeSequence:
    """Make each text once."""
    made: dict[tuple[str, str, str], TokenSequence] = {}

    def make(model: LoadedModel, prepared: Prepared, text: str) -> TokenSequence:
        key = (model.info.id, prepared.media_id, text)
        if key not in made:
            made[key] = (
                query_sequence(model.side(prepared.modality), prepared.media_id, text)
                if text
                else generate(model, prepared, progress=progress)
            )
        return made[key]

    return make
