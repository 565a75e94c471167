"""What the comparison shows, worked out from the session and what is made: plain values and functions."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

from mmviewer.core.compare.plan import (
    WHOLE,
    AxisKind,
    CellQuestion,
    Entry,
    Place,
    question_at,
    with_method,
    words_of,
)
from mmviewer.core.session.state import LibraryItem, SessionState
from mmviewer.core.types import (
    Capability,
    CapturePoint,
    MapSpec,
    Modality,
    ModelInfo,
    PointRole,
    SequenceKind,
    TokenSequence,
)
from mmviewer.gui.controllers.sequences import DEFAULT_METHODS
from mmviewer.gui.view_model import method_labels

_FEW_ITEMS = 6
_MOST_WORDS = 8
_READING: tuple[PointRole, ...] = (PointRole.CROSS, PointRole.ENCODER_SELF, PointRole.POOL)
"""Places in the order in which methods choose them, where no map has told yet."""

AXIS_WORDS: Mapping[AxisKind, tuple[str, str]] = {
    AxisKind.WORDS: ("Words", "One for each word of the caption, the transcript or the text you type."),
    AxisKind.METHODS: (
        "Methods",
        "One for each way to find out what counted: attention, gradients, hiding ...",
    ),
    AxisKind.LAYERS: ("Layers", "One for each layer of the place where the method looks."),
    AxisKind.ITEMS: ("Items", "One for each picture or sound of the library."),
    AxisKind.MODELS: ("Models", "One for each loaded model; needs two that take the same item."),
}

SequenceKey = tuple[str, str, str]
"""Item id, model id and the text that was typed, empty for what the model writes itself."""


@dataclass(frozen=True, slots=True)
class CompareChoice:
    """What the user chose to compare.

    Parameters
    ----------
    rows, columns : AxisKind
    text : str
        What to look for; empty for what each model writes itself.
    word : str
        The one word that is meant where words are neither rows nor columns.
    method : str
        The one method that is meant where methods are neither rows nor columns; empty for the session's.
    shared : bool
        One colour scale for maps of one kind of number.
    picked : mapping of AxisKind to tuple of str
        Keys of the rows or columns of a kind, where they were chosen by hand.
    """

    rows: AxisKind = AxisKind.WORDS
    columns: AxisKind = AxisKind.METHODS
    text: str = ""
    word: str = WHOLE
    method: str = ""
    shared: bool = True
    picked: Mapping[AxisKind, tuple[str, ...]] = field(default_factory=dict)

    @property
    def axes(self) -> tuple[AxisKind, AxisKind]:
        """Rows and columns."""
        return self.rows, self.columns

    def with_axis(self, axis: int, kind: AxisKind) -> CompareChoice:
        """Choose other rows (0) or columns (1); the other axis gives way where the two do not go together."""
        rows, columns = (kind, self.columns) if axis == 0 else (self.rows, kind)
        if not _go_together(rows, columns):
            other = self.rows if axis == 0 else self.columns
            fits = next(each for each in (other, *AxisKind) if _go_together(kind, each))
            rows, columns = (kind, fits) if axis == 0 else (fits, kind)
        return replace(self, rows=rows, columns=columns)

    def with_picked(self, kind: AxisKind, keys: tuple[str, ...]) -> CompareChoice:
        """Choose rows or columns by hand."""
        return replace(self, picked={**self.picked, kind: keys})


@dataclass(frozen=True, slots=True)
class Option:
    """A row or column that can be chosen; `content` ones are meant by “all content words”."""

    entry: Entry
    tip: str = ""
    content: bool = True


@dataclass(frozen=True, slots=True)
class ComparePlan:
    """Rows, columns and what each cell is of; `missing` are the texts that must be made first.

    `options` holds what can be chosen of each kind; `obstacle` says why there is nothing to compare.
    """

    rows: tuple[Entry, ...] = ()
    columns: tuple[Entry, ...] = ()
    questions: Mapping[Place, CellQuestion] = field(default_factory=dict)
    options: Mapping[AxisKind, tuple[Option, ...]] = field(default_factory=dict)
    missing: tuple[SequenceKey, ...] = ()
    obstacle: str = ""


@dataclass(frozen=True, slots=True)
class Setting:
    """The part of the session that a comparison depends on, with the models that take each item."""

    choice: CompareChoice
    item: LibraryItem | None
    items: tuple[LibraryItem, ...]
    selection: tuple[str, ...]
    spec: MapSpec
    models: Mapping[str, tuple[ModelInfo, ...]]
    sequences: Mapping[SequenceKey, TokenSequence]
    point: str | None = None


def setting_of(
    state: SessionState,
    choice: CompareChoice,
    sequences: Mapping[SequenceKey, TokenSequence],
    writer: ModelInfo | None,
) -> Setting:
    """Take from the session what a comparison depends on; `writer` is the model of the current item."""
    models = {item.id: _models_for(item, state.models, choice, writer) for item in state.items}
    point = state.maps.spec.point if state.maps and state.maps.spec.method == state.spec.method else None
    return Setting(choice, state.current, state.items, state.selection, state.spec, models, sequences, point)


def plan_of(setting: Setting) -> ComparePlan:
    """Work out rows, columns and cells."""
    choice = setting.choice
    obstacle = _obstacle(setting)
    if obstacle or setting.item is None:
        return ComparePlan(obstacle=obstacle)
    items = _picked(choice, _item_options(setting)) if AxisKind.ITEMS in choice.axes else ()
    ids = [entry.key for entry in items] or [setting.item.id]
    by_models = AxisKind.MODELS in choice.axes
    keys = [
        (item_id, model.id, choice.text)
        for item_id in ids
        for model in (setting.models[item_id] if by_models else setting.models[item_id][:1])
    ]
    missing = tuple(key for key in keys if key not in setting.sequences)
    known = [setting.sequences[key] for key in keys if key in setting.sequences]
    model = setting.models[ids[0]][0] if setting.models[ids[0]] else setting.models[setting.item.id][0]
    kind = known[0].kind if known else _kind(setting, ids[0])
    spec = fitting_spec(setting.spec, model, kind, choice.method)
    options = {
        AxisKind.ITEMS: _item_options(setting),
        AxisKind.MODELS: _model_options(setting),
        AxisKind.METHODS: _method_options(model, kind),
        AxisKind.WORDS: _word_options(known),
        AxisKind.LAYERS: _layer_options(model, kind, setting.point),
    }
    rows, columns = (_picked(choice, options[axis]) for axis in choice.axes)
    rest = CellQuestion(setting.item.id, model.id, choice.text, choice.word, spec)
    questions = {
        (r, c): _with_model(question_at(row, column, rest), setting, by_models=by_models)
        for r, row in enumerate(rows)
        for c, column in enumerate(columns)
    }
    return ComparePlan(rows, columns, questions, options, missing)


def fitting_spec(spec: MapSpec, model: ModelInfo, kind: SequenceKind, method: str = "") -> MapSpec:
    """The session's question as far as `model` can answer it for such a text, by `method` if one is named.

    An image encoder never reads a typed text, so its raw attention is the same for every word: where nothing
    else is asked for, words of such a text are shown by a method that tells them apart.
    """
    methods = model.methods_for(kind)
    if method in methods:
        return with_method(spec, method)
    wanted = DEFAULT_METHODS.get(kind, ()) if spec.method == MapSpec().method else (spec.method,)
    fits = [each for each in (*wanted, spec.method, *methods) if each in methods]
    return with_method(spec, fits[0]) if fits else spec


def _go_together(rows: AxisKind, columns: AxisKind) -> bool:
    return rows is not columns and {rows, columns} != {AxisKind.METHODS, AxisKind.LAYERS}


def _obstacle(setting: Setting) -> str:
    item = setting.item
    if item is None:
        return "Choose a picture or a sound in the library; its maps are laid out side by side here."
    if item.media.modality is Modality.TEXT:
        return "This is a text. Choose a picture or a sound; its maps are laid out side by side here."
    if not setting.models[item.id]:
        what = "picture" if item.media.modality is Modality.IMAGE else "sound"
        return f"No model that takes this {what} is loaded: load one in the Model panel."
    return ""


def _models_for(
    item: LibraryItem, loaded: Sequence[ModelInfo], choice: CompareChoice, writer: ModelInfo | None
) -> tuple[ModelInfo, ...]:
    """Models that can show where words of the text lie in an item, the usual one first."""
    needed = _needed(item.media.modality, typed=bool(choice.text))
    sides = [model.side(item.media.modality) for model in loaded]
    able = [side for side in sides if any(side.can(each) for each in needed)]
    return tuple(sorted(able, key=lambda side: writer is None or side.id != writer.id))


def _needed(modality: Modality, *, typed: bool) -> tuple[Capability, ...]:
    if modality is Modality.IMAGE:
        return (Capability.EMBED_IMAGE,) if typed else (Capability.CAPTION,)
    if modality is Modality.AUDIO:
        return (Capability.EMBED_AUDIO,) if typed else (Capability.TRANSCRIBE,)
    return ()


def _kind(setting: Setting, item_id: str) -> SequenceKind:
    if setting.choice.text:
        return "query"
    item = next(each for each in setting.items if each.id == item_id)
    return "caption" if item.media.modality is Modality.IMAGE else "transcript"


def _with_model(question: CellQuestion, setting: Setting, *, by_models: bool) -> CellQuestion:
    """Each item is looked at by the model that takes it, unless models are compared."""
    able = setting.models.get(question.item_id, ())
    if by_models or not able:
        return question
    return replace(question, model_id=able[0].id)


def _picked(choice: CompareChoice, options: Sequence[Option]) -> tuple[Entry, ...]:
    """The rows or columns chosen by hand, else those that are chosen at first."""
    if not options:
        return ()
    kind = options[0].entry.kind
    keys = choice.picked.get(kind)
    if keys is not None:
        found = tuple(option.entry for option in options if option.entry.key in keys)
        if found or not keys:
            return found
    first = tuple(option.entry for option in options if option.content)
    return first or tuple(option.entry for option in options)


def _item_options(setting: Setting) -> tuple[Option, ...]:
    """Pictures and sounds that a model takes; at first the selected ones, else some like the current one."""
    able = [item for item in setting.items if setting.models.get(item.id)]
    chosen = {item.id for item in able if item.id in setting.selection}
    if len(chosen) < 2 and setting.item is not None:
        like = [item for item in able if item.media.modality is setting.item.media.modality]
        like.sort(key=lambda item: item is not setting.item)
        chosen = {item.id for item in like[:_FEW_ITEMS]}
    return tuple(
        Option(Entry(AxisKind.ITEMS, item.id, item.name), item.name, item.id in chosen) for item in able
    )


def _model_options(setting: Setting) -> tuple[Option, ...]:
    assert setting.item is not None
    models = setting.models[setting.item.id]
    return tuple(Option(Entry(AxisKind.MODELS, model.id, model.label)) for model in models)


def _method_options(model: ModelInfo, kind: SequenceKind) -> tuple[Option, ...]:
    labels = method_labels(model, kind)
    return tuple(Option(Entry(AxisKind.METHODS, key, label)) for key, label in labels.items())


def _word_options(sequences: Sequence[TokenSequence]) -> tuple[Option, ...]:
    """Words of all texts, each once, and the text as a whole."""
    whole = Option(
        Entry(AxisKind.WORDS, WHOLE, "whole text"), "The map of the whole text at once, or the mean.", False
    )
    found = {word.key: word for sequence in sequences for word in words_of(sequence)}
    kept = [word.key for word in found.values() if word.content][:_MOST_WORDS]
    words = [Option(Entry(AxisKind.WORDS, key, key), "", key in kept) for key in found]
    return (whole, *words) if sequences else ()


def _layer_options(model: ModelInfo, kind: SequenceKind, point: str | None) -> tuple[Option, ...]:
    place = _place(model, kind, point)
    if place is None:
        return ()
    own = Option(
        Entry(AxisKind.LAYERS, "", "method's choice"), "The layer or layers it takes by itself.", False
    )
    layers = [
        Option(Entry(AxisKind.LAYERS, str(layer), f"layer {layer + 1}"), f"{place.label}, {layer + 1}")
        for layer in range(place.layers)
    ]
    return (own, *layers)


def _place(model: ModelInfo, kind: SequenceKind, point: str | None) -> CapturePoint | None:
    places = [*model.points, *model.features]
    named = [place for place in places if place.name == point]
    roles = _READING if kind != "query" else _READING[1:]
    ranked = [place for role in roles for place in model.points if place.role is role]
    return next(iter((*named, *ranked)), None)
