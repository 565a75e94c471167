"""What a matrix of maps is: rows and columns, the question of each cell, the scales of its maps (NumPy)."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from enum import StrEnum

from mmviewer.core.errors import InputError
from mmviewer.core.explain.selection import ShownMap, show
from mmviewer.core.figures.overlay import colour_range
from mmviewer.core.media.geometry import TimeGeometry
from mmviewer.core.types import FloatArray, MapKind, MapSpec, TokenMaps, TokenSequence

WHOLE = ""
"""The word that stands for the whole text."""

_WORD = re.compile(r"\w+(?:[-'’]\w+)*")
_LONGEST_WORD = 6  # tokens; a longer run is a script without spaces, whose tokens are taken one by one
_FUNCTION_WORDS = re.compile(
    r"(an?|the|and|or|but|of|in|on|at|to|from|by|with|for|into|onto|over|under|above|below|behind|beside|between"
    r"|near|next|left|right|is|are|was|were|be|been|its?|this|that|these|those|there|his|her|their|what|where"
    r"|which|who|how|many|does|do|some|one|two|three|four|five)"
)


class AxisKind(StrEnum):
    """What differs from row to row, or from column to column."""

    WORDS = "words"
    METHODS = "methods"
    LAYERS = "layers"
    ITEMS = "items"
    MODELS = "models"


@dataclass(frozen=True, slots=True)
class Entry:
    """One row or column.

    `key` is a word, the key of a method, a layer counted from 0 ("" for the method's own choice), or the id
    of an item or model; `label` is what people call it.
    """

    kind: AxisKind
    key: str
    label: str


@dataclass(frozen=True, slots=True)
class CellQuestion:
    """What one map is of.

    Parameters
    ----------
    item_id, model_id : str
    text : str
        A text to look for; empty for what the model writes itself.
    word : str
        A word of the text as `Word.key` has it; `WHOLE` for the whole text.
    spec : MapSpec
    """

    item_id: str
    model_id: str
    text: str = ""
    word: str = WHOLE
    spec: MapSpec = MapSpec()

    @property
    def source(self) -> MapSource:
        """The maps that the cell is taken from: all words of a text are mapped at once."""
        return MapSource(self.item_id, self.model_id, self.text, self.spec)


@dataclass(frozen=True, slots=True)
class MapSource:
    """One computation: the maps of all words of a text over an item."""

    item_id: str
    model_id: str
    text: str
    spec: MapSpec


@dataclass(frozen=True, slots=True)
class Word:
    """A word of a text and the tokens that make it up; `key` tells its second occurrence from its first."""

    key: str
    tokens: tuple[int, ...]
    content: bool


Place = tuple[int, int]
"""Row and column of a cell."""


@dataclass(frozen=True, slots=True)
class Unit:
    """What the numbers of a map are, in words, and under which model where they compare within one only."""

    words: str
    model_id: str = ""


@dataclass(frozen=True, slots=True, eq=False)
class CellMap:
    """The map of a cell, with all that is known of it."""

    maps: TokenMaps
    shown: ShownMap

    @property
    def unit(self) -> Unit:
        """What its numbers are; only maps of one unit may share a scale."""
        return unit_of(self.maps)


def question_at(row: Entry, column: Entry, rest: CellQuestion) -> CellQuestion:
    """Return what the cell of `row` and `column` is of; what neither says is as in `rest`."""
    question = rest
    # a layer belongs to a method, so methods are set first
    for entry in sorted((row, column), key=lambda each: each.kind is AxisKind.LAYERS):
        question = _with(question, entry)
    return question


def words_of(sequence: TokenSequence) -> tuple[Word, ...]:
    """Return the words of a text in order, each with its tokens."""
    spans = [token for token in sequence.tokens if not token.special and token.end > token.start]
    found: list[Word] = []
    seen: dict[str, int] = {}

    def add(text: str, tokens: tuple[int, ...]) -> None:
        key = cell_words(text)
        seen[key] = seen.get(key, 0) + 1
        named = key if seen[key] == 1 else f"{key} ({seen[key]})"
        found.append(Word(named, tokens, _FUNCTION_WORDS.fullmatch(key) is None))

    for match in _WORD.finditer(sequence.text):
        inside = [token for token in spans if token.start < match.end() and token.end > match.start()]
        if len(inside) > _LONGEST_WORD:
            for token in inside:
                add(token.text, (token.index,))
        elif inside:
            add(match.group(), tuple(token.index for token in inside))
    return tuple(found)


def cell_words(word: str) -> str:
    """Bring a word as people type it into the form of `Word.key`."""
    return " ".join(word.split()).lower()


def tokens_of(sequence: TokenSequence, word: str) -> tuple[int, ...]:
    """Return the tokens of a word; none for the whole text; `InputError` if the text has no such word."""
    if word == WHOLE:
        return ()
    for each in words_of(sequence):
        if each.key == word:
            return each.tokens
    text = sequence.text.strip()
    shown = text if len(text) <= 60 else f"{text[:59]}…"
    raise InputError(f"The {sequence.kind} “{shown}” has no word “{word}”.")


def cell_map(maps: TokenMaps, sequence: TokenSequence, word: str) -> CellMap:
    """Take the map of one word, or of the whole text, from those of all words."""
    return CellMap(maps, show(maps, tokens_of(sequence, word)))


def unit_of(maps: TokenMaps) -> Unit:
    """Say what the numbers of a map are.

    Weights of raw attention are shares of one and compare across words, layers, items and models. Everything
    else compares only within a method, a score and a model.
    """
    if maps.kind is MapKind.ATTENTION and maps.spec.method == "attention":
        return Unit("attention weight")
    method = maps.description.split(" · ")[0] or maps.spec.method
    if maps.kind is MapKind.ATTENTION:
        return Unit(f"{method} weight", maps.model_id)
    return Unit(f"{method} of the {maps.score.split(';')[0]}", maps.model_id)


def scales(cells: Mapping[Place, CellMap], *, shared: bool) -> dict[Place, tuple[float, float]]:
    """Ends of the colour scale of each cell: its own, or one for all cells of a unit.

    Signed maps have zero in the middle. What lies in padding sets no scale.
    """
    own = {place: colour_range(_seen(cell), cell.maps.signed) for place, cell in cells.items()}
    if not shared:
        return own
    ends: dict[Unit, tuple[float, float]] = {}
    for place, (low, high) in own.items():
        unit = cells[place].unit
        least, most = ends.get(unit, (low, high))
        ends[unit] = (min(least, low), max(most, high))
    return {place: ends[cell.unit] for place, cell in cells.items()}


def units(cells: Iterable[CellMap]) -> tuple[Unit, ...]:
    """The units of some cells, each once, in order."""
    return tuple(dict.fromkeys(cell.unit for cell in cells))


def scale_words(cells: Mapping[Place, CellMap], *, shared: bool) -> str:
    """One sentence on which maps may be compared by colour."""
    if not shared:
        return "Each map has its own colour scale: compare places, not colours."
    found = units(cells.values())
    if len(found) <= 1:
        return "One colour scale for all maps: the same colour is the same number."
    return (
        f"{len(found)} colour scales, one for each kind of number: colours compare only between maps of the "
        "same kind."
    )


def _with(question: CellQuestion, entry: Entry) -> CellQuestion:
    spec = question.spec
    match entry.kind:
        case AxisKind.WORDS:
            return replace(question, word=entry.key)
        case AxisKind.METHODS:
            return replace(question, spec=with_method(spec, entry.key))
        case AxisKind.LAYERS:
            return replace(question, spec=replace(spec, layer=int(entry.key) if entry.key else None))
        case AxisKind.ITEMS:
            return replace(question, item_id=entry.key)
        case AxisKind.MODELS:
            return replace(question, model_id=entry.key)


def with_method(spec: MapSpec, method: str) -> MapSpec:
    """Ask another method the same; place, layer and heads belonged to the former, so it chooses its own."""
    if method == spec.method:
        return spec
    return replace(spec, method=method, point=None, layer=None, head="mean")


def _seen(cell: CellMap) -> FloatArray:
    grid, geometry = cell.shown.grid, cell.maps.geometry
    return grid[: max(1, geometry.valid)] if isinstance(geometry, TimeGeometry) else grid
