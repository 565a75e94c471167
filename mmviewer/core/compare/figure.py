"""From maps side by side to one figure with the provenance of every cell (NumPy)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from mmviewer.core.cautions import applying
from mmviewer.core.compare.plan import (
    WHOLE,
    AxisKind,
    CellMap,
    CellQuestion,
    Entry,
    Place,
    Unit,
    scale_words,
    scales,
    units,
)
from mmviewer.core.explain.selection import text_of
from mmviewer.core.figures.provenance import build_provenance
from mmviewer.core.figures.spec import MapStyle, MatrixCell, MatrixFigure, MatrixItem, Pixels
from mmviewer.core.media.geometry import ImageGeometry
from mmviewer.core.types import MapKind, Media, ModelInfo, Provenance

_LONGEST_SIDE = 1400  # pixels of a picture that is printed two inches wide
_CAVEATS = 2
_PLAIN = MapStyle()


@dataclass(frozen=True, slots=True, eq=False)
class Matrix:
    """Maps side by side, as far as they are made.

    Parameters
    ----------
    rows, columns : tuple of Entry
    questions : mapping of Place to CellQuestion
        What each cell is of.
    cells : mapping of Place to CellMap
        Those that are made.
    failures : mapping of Place to str
        Why others are not.
    items : mapping of item id to Media
    models : mapping of model id to ModelInfo
    """

    rows: tuple[Entry, ...]
    columns: tuple[Entry, ...]
    questions: Mapping[Place, CellQuestion]
    cells: Mapping[Place, CellMap]
    failures: Mapping[Place, str]
    items: Mapping[str, Media]
    models: Mapping[str, ModelInfo]

    @property
    def places(self) -> tuple[Place, ...]:
        """All cells, row by row."""
        return tuple((row, column) for row in range(len(self.rows)) for column in range(len(self.columns)))


def matrix_figure(matrix: Matrix, *, shared_scale: bool = True, style: MapStyle = _PLAIN) -> MatrixFigure:
    """Bring a matrix into the form that is drawn; texts stay texts, numbers stay what they are."""
    ids = tuple(dict.fromkeys(question.item_id for question in matrix.questions.values()))
    ends = scales(matrix.cells, shared=shared_scale)
    names = unit_names(matrix)
    cells = tuple(
        tuple(
            _cell(matrix, (row, column), ids, ends, names)
            for column in range(len(matrix.columns))
        )
        for row in range(len(matrix.rows))
    )  # fmt: skip
    return MatrixFigure(
        rows=tuple(entry.label for entry in matrix.rows),
        columns=tuple(entry.label for entry in matrix.columns),
        cells=cells,
        items=tuple(_item(matrix.items[item_id]) for item_id in ids),
        title=title_of(matrix),
        subject=subject_of(matrix),
        notes=_notes(matrix, shared_scale),
        style=style,
        shared_scale=shared_scale,
    )


def matrix_provenance(matrix: Matrix, *, shared_scale: bool = True) -> Provenance:
    """Where the figure comes from, with every cell's own provenance under ``extra["cells"]``."""
    ends = scales(matrix.cells, shared=shared_scale)
    facts = [cell_facts(matrix, place, ends.get(place)) for place in matrix.places]
    models = {question.model_id for question in matrix.questions.values()}
    items = {question.item_id for question in matrix.questions.values()}
    info = matrix.models.get(next(iter(models))) if len(models) == 1 else None
    media = matrix.items.get(next(iter(items))) if len(items) == 1 else None
    return build_provenance(
        info,
        media,
        rows=matrix.rows[0].kind.value if matrix.rows else "",
        columns=matrix.columns[0].kind.value if matrix.columns else "",
        scale="shared by maps of one unit" if shared_scale else "each map its own",
        cells=facts,
    )


def title_of(matrix: Matrix) -> str:
    """What is compared with what."""
    kinds = [entries[0].kind.value for entries in (matrix.rows, matrix.columns) if entries]
    return " × ".join(kinds).capitalize() if kinds else "Comparison"


def subject_of(matrix: Matrix) -> str:
    """What all cells have in common: the item, the word, the model."""
    questions = list(matrix.questions.values())
    parts = []
    items = {question.item_id for question in questions}
    if len(items) == 1:
        parts.append(matrix.items[items.pop()].name)
    texts = {cell.maps.model_id + _text(cell) for cell in matrix.cells.values()}
    if len(texts) == 1:
        parts.append(f"“{_text(next(iter(matrix.cells.values())))}”")
    words = {question.word for question in questions}
    if len(words) == 1 and AxisKind.WORDS not in {matrix.rows[0].kind, matrix.columns[0].kind}:
        word = words.pop()
        parts.append("whole text" if word == WHOLE else f"word “{word}”")
    models = {question.model_id for question in questions}
    if len(models) == 1:
        info = matrix.models.get(models.pop())
        parts.append(info.label if info else "")
    return " · ".join(part for part in parts if part)


def unit_names(matrix: Matrix) -> dict[Unit, str]:
    """Units in words; the model is named where two have the same words."""
    found = units(matrix.cells.values())
    names = {}
    for unit in found:
        alike = [other for other in found if other.words == unit.words]
        info = matrix.models.get(unit.model_id)
        named = len(alike) > 1 and info is not None
        names[unit] = f"{unit.words} ({info.label})" if named and info is not None else unit.words
    return names


def place_words(cell: CellMap) -> str:
    """Layer and heads of a map in a few words."""
    spec = cell.maps.spec
    parts = [
        part
        for part in cell.maps.description.split(" · ")
        if part.startswith(("layer", "all", "mean of all"))
    ]
    if isinstance(spec.head, tuple):
        parts.append(f"heads {', '.join(str(head + 1) for head in spec.head)}")
    elif isinstance(spec.head, int):
        parts.append(f"head {spec.head + 1}")
    return ", ".join(part.split(" (")[0] for part in parts[:2])


def cell_facts(matrix: Matrix, place: Place, ends: tuple[float, float] | None) -> dict[str, Any]:
    """What is needed to make one cell again, and how it is painted."""
    question, cell = matrix.questions[place], matrix.cells.get(place)
    media, info = matrix.items.get(question.item_id), matrix.models.get(question.model_id)
    facts: dict[str, Any] = {
        "row": matrix.rows[place[0]].label,
        "column": matrix.columns[place[1]].label,
        "item": media.name if media else "",
        "item_id": question.item_id,
        "model": info.label if info else "",
        "weights_hash": info.weights_hash if info else "",
        "text": question.text,
        "word": question.word or "whole text",
        "spec": asdict(cell.maps.spec if cell else question.spec),
    }
    if cell is None:
        return {**facts, "failure": matrix.failures.get(place, "not computed")}
    maps = cell.maps
    low, high = ends if ends is not None else (None, None)
    geometry = {
        "of": "image" if isinstance(maps.geometry, ImageGeometry) else "time",
        **asdict(maps.geometry),
    }
    return {
        **facts,
        "text": _text(cell),
        "tokens": list(cell.shown.tokens),
        "kind": maps.kind.value,
        "description": maps.description,
        "score": maps.score,
        "caveat": maps.caveat,
        "cautions": [caution.text for caution in applying(maps.cautions, cell.shown.tokens)],
        "signed": maps.signed,
        "unit": cell.unit.words,
        "scale": [low, high],
        "geometry": geometry,
    }


def reduced(pixels: Pixels) -> Pixels:
    """A copy that is fine enough for a small multiple, by whole factors."""
    factor = max(1, max(pixels.shape[:2]) // _LONGEST_SIDE)
    return pixels if factor == 1 else pixels[::factor, ::factor]


def _cell(
    matrix: Matrix,
    place: Place,
    ids: Sequence[str],
    ends: Mapping[Place, tuple[float, float]],
    names: Mapping[Unit, str],
) -> MatrixCell:
    item = ids.index(matrix.questions[place].item_id)
    cell = matrix.cells.get(place)
    facts = cell_facts(matrix, place, ends.get(place))
    if cell is None:
        return MatrixCell(item, failure=matrix.failures.get(place, "not computed"), facts=facts)
    low, high = ends[place]
    return MatrixCell(
        item=item,
        values=cell.shown.grid,
        geometry=cell.maps.geometry,
        low=low,
        high=high,
        signed=cell.maps.signed,
        unit=names[cell.unit],
        place=place_words(cell),
        facts=facts,
    )


def _item(media: Media) -> MatrixItem:
    pixels = None if media.pixels is None else reduced(media.pixels)
    return MatrixItem(media.name, pixels, media.samples, media.sample_rate)


def _notes(matrix: Matrix, shared_scale: bool) -> tuple[str, ...]:
    """How the scales relate, which kinds of map there are, and their caveats, each once."""
    kinds = {cell.maps.kind for cell in matrix.cells.values()}
    mixed = (
        "Attention is what a layer weighted; attribution is what a score depended on."
        if {MapKind.ATTENTION, MapKind.ATTRIBUTION} <= kinds
        else ""
    )
    scores = dict.fromkeys(cell.maps.score for cell in matrix.cells.values() if cell.maps.score)
    of = f"Attribution of the {'; of the '.join(scores)}." if scores and len(scores) <= _CAVEATS else ""
    caveats = dict.fromkeys(cell.maps.caveat for cell in matrix.cells.values() if cell.maps.caveat)
    common = next(iter(caveats)) if len(caveats) == 1 else ""
    notes = (scale_words(matrix.cells, shared=shared_scale), mixed, of, common)
    return tuple(note for note in notes if note)


def _text(cell: CellMap) -> str:
    return text_of(cell.maps.tokens).strip()
