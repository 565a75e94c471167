"""What an attribution method is, and how one is asked.

A method is one file in `mmviewer.core.explain.methods`. It says for which models and sequences it works and
turns one forward of the model, recorded at its capture points, into one map per token. `explain` checks the
question, asks the method and brings the answer into the shape of the input.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace

import torch
from torch import Tensor

from mmviewer.core.cautions import SEVERAL, SHARED, Caution, of_certain, on_sinks, things_named
from mmviewer.core.errors import InputError, UnsupportedError
from mmviewer.core.explain.forward import MapStore, check_finite, free_logits, position_rows
from mmviewer.core.explain.heads import check_heads, check_range
from mmviewer.core.explain.objective import Objective, as_query, objective_of
from mmviewer.core.explain.sinks import Sinks, find_sinks, leave_out
from mmviewer.core.media.geometry import ImageGeometry
from mmviewer.core.method_info import MethodInfo
from mmviewer.core.models.base import LoadedModel, Prepared
from mmviewer.core.models.device import ensure_fits
from mmviewer.core.progress import SILENT, Progress
from mmviewer.core.registry import Registry
from mmviewer.core.types import (
    CapturePoint,
    FloatArray,
    Geometry,
    HeadMaps,
    MapKind,
    MapSpec,
    Modality,
    PointRole,
    SequenceKind,
    TokenMaps,
    TokenSequence,
)


@dataclass(frozen=True, slots=True, eq=False)
class Question:
    """What a method is asked: everything checked, `spec.point` filled in.

    Where the target is a similarity, `sequence` is a query of its text even if a caption is being looked at.
    """

    model: LoadedModel
    prepared: Prepared
    sequence: TokenSequence
    point: CapturePoint
    spec: MapSpec
    progress: Progress = SILENT
    store: MapStore | None = None

    @property
    def scores(self) -> int:
        """How many scores are to be explained: one for a target, else one for each token or word."""
        if self.spec.target is not None:
            return 1
        return len(self.sequence.tokens) + (self.sequence.kind == "query")

    def objective(self) -> Objective:
        """Resolve the scores to explain; encodes the texts that they need."""
        return objective_of(
            self.model,
            self.sequence,
            self.spec,
            lambda: free_logits(self.model, self.prepared, self.sequence),
        )


@dataclass(frozen=True, slots=True)
class Cost:
    """What a map will take, told before it is made.

    `bytes` is the most memory at once, `forwards` the passes of one input through the model, and `note` what
    had to be left out to fit.
    """

    bytes: int = 0
    forwards: int = 1
    note: str = ""


@dataclass(frozen=True, slots=True, eq=False)
class Relevance:
    """A method's answer: `values` [T, P] follow the tokens, `whole` [P] is the map of the whole text.

    `geometry` is given where the P positions are not those of the prepared input; `cautions` are those that
    only the method can know.
    """

    values: Tensor
    spec: MapSpec
    description: str
    score: str = ""
    caveat: str = ""
    whole: Tensor | None = None
    extra: Mapping[str, FloatArray] = field(default_factory=dict)
    geometry: Geometry | None = None
    cautions: tuple[Caution, ...] = ()


class Method(ABC):
    """A way to get from a forward pass to a map over the input.

    Attributes
    ----------
    key, label : str
        Name in a `MapSpec`, and name for people.
    explanation : str
        One sentence for a tooltip.
    kind : MapKind
    signed : bool
        Whether values below zero mean "against".
    needs_gradient : bool
        Whether the forward keeps its graph, which costs about three times the memory.
    first_order : bool
        Whether it adds up what each place does alone, so that several things can be taken for each other.
    picks_layer, picks_heads : bool
        Whether a layer, or heads, can be chosen; else the spec's choice is dropped, and the result says so.
    """

    key: str
    label: str
    explanation: str
    kind: MapKind
    signed: bool = False
    needs_gradient: bool = False
    first_order: bool = False
    picks_layer: bool = True
    picks_heads: bool = True

    @abstractmethod
    def points(self, model: LoadedModel, kind: SequenceKind) -> tuple[CapturePoint, ...]:
        """Return the points a map may be read from, the default first; empty where the method cannot work."""

    @abstractmethod
    def relevance(self, question: Question) -> Relevance:
        """Compute the maps of all tokens of ``question.sequence``."""

    def cost(self, question: Question) -> Cost:
        """Estimate what `relevance` will take; it is refused before the work if it does not fit."""
        return Cost()

    def offers(self, model: LoadedModel, kind: SequenceKind) -> bool:
        """Whether the method works for sequences of `kind` under `model`."""
        return bool(self.points(model, kind))


METHODS: Registry[Method] = Registry("attribution method", "mmviewer.core.explain.methods")


def available_methods(model: LoadedModel) -> tuple[str, ...]:
    """Return the keys of all methods that work for some kind of sequence under `model`, attention first."""
    return tuple(info.key for info in method_infos(model))


def method_infos(model: LoadedModel) -> tuple[MethodInfo, ...]:
    """Describe every method that works for some kind of sequence under `model`, attention first."""
    kinds: tuple[SequenceKind, ...] = ("caption", "answer", "transcript", "query")
    found = []
    for method in sorted(METHODS, key=lambda each: (each.key != "attention", each.key)):
        places = tuple((kind, method.points(model, kind)) for kind in kinds)
        offered = tuple((kind, tuple(point.name for point in points)) for kind, points in places if points)
        if offered:
            words = (method.key, method.label, method.explanation)
            flags = (method.signed, method.picks_layer, method.picks_heads)
            found.append(MethodInfo(*words, method.kind, *flags, offered))
    return tuple(found)


def explain(
    model: LoadedModel,
    prepared: Prepared,
    sequence: TokenSequence,
    spec: MapSpec = MapSpec(),
    progress: Progress = SILENT,
    store: MapStore | None = None,
) -> TokenMaps:
    """Map every token of a sequence to the input it looked at or depended on.

    All tokens come from one teacher-forced forward: the token at place p is shown with row p - 1, the step
    that predicted it.

    Parameters
    ----------
    model : LoadedModel
    prepared : Prepared
        The image or sound the sequence belongs to.
    sequence : TokenSequence
        A caption or transcript of this model, or a query split into words.
    spec : MapSpec
        ``layer`` None lets the method choose, or combine all layers; the result says which.
    progress : Progress
    store : MapStore, optional
        Keeps recorded weights, so that another layer or head costs no forward.

    Raises
    ------
    InputError
        The sequence is empty or of another item, or the point, layer or head does not exist.
    UnsupportedError
        The model has nothing the method could use, or its values vanish or are not numbers.
    """
    method, question = _asked(model, prepared, sequence, spec, progress, store)
    progress.report(0, None, f"{method.label} of {len(sequence.tokens)} tokens")
    cost = method.cost(question)
    ensure_fits(cost.bytes, model.placement.device, method.label)
    return _token_maps(method, question, sequence, spec, method.relevance(question), cost)


def estimate(
    model: LoadedModel, prepared: Prepared, sequence: TokenSequence, spec: MapSpec = MapSpec()
) -> Cost:
    """Say what `explain` would take for the same question, without computing the map; raises its errors."""
    method, question = _asked(model, prepared, sequence, spec, SILENT, None)
    return method.cost(question)


def explore_heads(
    model: LoadedModel,
    prepared: Prepared,
    sequence: TokenSequence,
    tokens: Sequence[int],
    point: str | None = None,
    progress: Progress = SILENT,
    store: MapStore | None = None,
) -> HeadMaps:
    """Return the raw attention of every layer and head, averaged over the chosen `tokens`.

    Raises the errors of `explain`; also `InputError` when no token is chosen or one does not exist.
    """
    model = model.side(prepared.modality)
    _check_sequence(model, prepared, sequence)
    chosen = tuple(tokens)
    count = len(sequence.tokens)
    if not chosen or not all(0 <= index < count for index in chosen):
        raise InputError(f"Choose tokens from 0 to {count - 1} to see their heads.")
    place = _choose_point(METHODS.get("attention"), model, sequence.kind, point)
    progress.report(0, None, f"heads of the {place.label}")
    rows = position_rows(model, prepared, sequence, place, store)  # [L, H, T, P], or one row for all tokens
    values = rows.mean(2) if rows.shape[2] == 1 else rows[:, :, list(chosen)].mean(2)
    check_finite(values, model, place)
    return HeadMaps(
        values=on_grid(values, prepared.geometry),
        point=place,
        tokens=chosen,
        geometry=prepared.geometry,
        media_id=prepared.media_id,
        model_id=model.info.id,
    )


def on_grid(values: Tensor, geometry: Geometry) -> FloatArray:
    """Bring [..., P] into the shape of the input: [..., R, C] for images, [..., P] for sound."""
    array: FloatArray = values.detach().to("cpu", torch.float32).numpy()
    if isinstance(geometry, ImageGeometry):
        return array.reshape(*array.shape[:-1], *geometry.grid)
    return array


def _asked(
    model: LoadedModel,
    prepared: Prepared,
    sequence: TokenSequence,
    spec: MapSpec,
    progress: Progress,
    store: MapStore | None,
) -> tuple[Method, Question]:
    """Check everything that can be checked before any work."""
    method = METHODS.get(spec.method)
    model = model.side(prepared.modality)
    _check_sequence(model, prepared, sequence)
    if method.kind is MapKind.ATTENTION:
        spec = replace(spec, target=None, contrast=None)
    asked = as_query(sequence, spec.target)
    point = _choose_point(method, model, asked.kind, spec.point)
    spec = replace(
        spec,
        layer=spec.layer if method.picks_layer else None,
        head=spec.head if method.picks_heads else "mean",
    )
    return method, Question(model, prepared, asked, point, _checked(point, spec), progress, store)


def _check_sequence(model: LoadedModel, prepared: Prepared, sequence: TokenSequence) -> None:
    if not sequence.tokens:
        raise InputError(f"The {sequence.kind} has no tokens to explain; write or generate some text first.")
    if sequence.media_id != prepared.media_id:
        raise InputError(f"The {sequence.kind} belongs to another item; make it again for this one.")
    if sequence.kind != "query" and sequence.model_id != model.info.id:
        raise InputError(
            f"The {sequence.kind} was made by another model; make it again with {model.info.label}."
        )


def _choose_point(method: Method, model: LoadedModel, kind: SequenceKind, name: str | None) -> CapturePoint:
    points = method.points(model, kind)
    if not points:
        raise UnsupportedError(
            f"{method.label} cannot explain {_a(kind)} with {model.info.label}, which has nothing there that "
            "this method could use; choose another method or model."
        )
    if name is None:
        return points[0]
    for point in points:
        if point.name == name:
            return point
    known = any(point.name == name for point in model.info.points)
    if known and points[0].role is PointRole.INPUT:
        return points[0]  # such a method looks at no place; the result says so
    usable = ", ".join(point.name for point in points)
    if known:
        raise UnsupportedError(
            f"{method.label} of {_a(kind)} cannot be read at {name}; choose one of: {usable}."
        )
    raise InputError(f"{model.info.label} has no capture point called {name!r}; choose one of: {usable}.")


def _a(kind: SequenceKind) -> str:
    return f"an {kind}" if kind == "answer" else f"a {kind}"


def _checked(point: CapturePoint, spec: MapSpec) -> MapSpec:
    check_heads(point, spec.head)
    if spec.removal not in ("mean", "blur", "noise"):
        raise InputError(f"Nothing can be removed by {spec.removal!r}; choose mean, blur or noise.")
    if spec.layer is not None:
        check_range("layer", spec.layer, point.layers, point)
    return replace(spec, point=point.name)


def _token_maps(
    method: Method,
    question: Question,
    sequence: TokenSequence,
    wanted: MapSpec,
    answer: Relevance,
    cost: Cost,
) -> TokenMaps:
    model, prepared, point = question.model, question.prepared, question.point
    count = len(sequence.tokens)
    values = answer.values if len(answer.values) == count else answer.values[:1].expand(count, -1)
    check_finite(values, model, point)
    looked_for = method.kind is MapKind.ATTENTION or answer.spec.without_sinks
    sinks = find_sinks(model, prepared, question.sequence, question.store) if looked_for else Sinks()
    whole = answer.whole
    if answer.spec.without_sinks:
        values = leave_out(values, sinks)
        whole = None if whole is None else leave_out(whole, sinks)
    geometry = answer.geometry or prepared.geometry
    caveats = (
        f"The model saw {prepared.origin}." if prepared.origin else "",
        answer.caveat,
        cost.note,
        _dropped(method, point, wanted),
        _empty_rows(method, prepared, sequence, values),
        sinks.sentence(geometry, left_out=answer.spec.without_sinks),
    )
    return TokenMaps(
        values=on_grid(values, geometry),
        tokens=sequence.tokens,
        geometry=geometry,
        kind=method.kind,
        spec=answer.spec,
        description=answer.description + (sinks.words if answer.spec.without_sinks else ""),
        score=answer.score,
        caveat=" ".join(part for part in caveats if part),
        signed=method.signed,
        whole=None if whole is None else on_grid(whole, geometry),
        media_id=prepared.media_id,
        model_id=model.info.id,
        sinks=sinks.positions,
        extra=answer.extra,
        cautions=tuple(_cautions(method, question, answer, values, sinks)),
    )


def _cautions(
    method: Method, question: Question, answer: Relevance, values: Tensor, sinks: Sinks
) -> Iterator[Caution]:
    """What to beware of in these very maps, the most important first."""
    sequence, spec = question.sequence, answer.spec
    if method.kind is MapKind.ATTENTION and not reads_text(question.point):
        yield SHARED
    if sinks.positions and not spec.without_sinks:
        yield from on_sinks(values.detach().cpu().numpy(), sinks.positions)
    if method.first_order and sequence.kind != "transcript" and things_named(sequence.text) > 1:
        yield SEVERAL
    local = method.needs_gradient and question.point.role is not PointRole.INPUT  # a way does not saturate
    if local and sequence.kind != "query" and spec.target is None and spec.contrast is None:
        yield from of_certain([token.logprob for token in sequence.tokens])
    yield from answer.cautions


def _dropped(method: Method, point: CapturePoint, spec: MapSpec) -> str:
    """Say which part of the question does not apply to the method."""
    if method.kind is MapKind.ATTENTION and (spec.target is not None or spec.contrast is not None):
        return "Attention has no score, so the chosen target does not change it."
    unused = [
        *(["place"] if spec.point is not None and spec.point != point.name else []),
        *(["layer"] if spec.layer is not None and not method.picks_layer else []),
        *(["heads"] if spec.head != "mean" and not method.picks_heads else []),
    ]
    if not unused:
        return ""
    return f"{method.label} uses all there is: the choice of {' and '.join(unused)} does not apply."


def _empty_rows(method: Method, prepared: Prepared, sequence: TokenSequence, values: Tensor) -> str:
    """Name the tokens whose map is zero everywhere; raise if none is left."""
    alive = (values != 0).any(-1).tolist()
    what = "image" if prepared.modality is Modality.IMAGE else "sound"
    if not any(alive):
        raise UnsupportedError(
            f"{method.label} found nothing: every value over the {what} is zero, because nothing speaks for "
            "the score, the gradient vanished or the weights are masked; choose another layer or method."
        )
    empty = [span for span, lives in zip(sequence.tokens, alive, strict=True) if not lives]
    if not empty:
        return ""
    names = (span.text.strip() for span in empty[:5])
    shown = ", ".join(f"“{text}”" if text else "a token without letters" for text in names) + (
        " and others" if len(empty) > 5 else ""
    )
    return f"No part of the {what} counts for {shown}."


def reads_text(point: CapturePoint) -> bool:
    """Whether the point's query rows belong to tokens of the text, so that its maps differ by token."""
    return point.role in (PointRole.CROSS, PointRole.JOINT)
