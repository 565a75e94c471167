"""What an attribution method is, and how one is asked.

A method is one file in `mmviewer.core.explain.methods`. It says for which models and sequences it works and
turns one forward of the model, recorded at its capture points, into one map per token. `explain` checks the
question, asks the method and brings the answer into the shape of the input.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from mmviewer.core.errors import InputError, UnsupportedError
from mmviewer.core.explain.forward import MapStore, position_rows
from mmviewer.core.media.geometry import ImageGeometry
from mmviewer.core.models.base import LoadedModel, Prepared
from mmviewer.core.progress import SILENT, Progress
from mmviewer.core.registry import Registry
from mmviewer.core.types import (
    CapturePoint,
    FloatArray,
    Geometry,
    HeadChoice,
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
    """What a method is asked: everything checked, `spec.point` filled in."""

    model: LoadedModel
    prepared: Prepared
    sequence: TokenSequence
    point: CapturePoint
    spec: MapSpec
    progress: Progress = SILENT
    store: MapStore | None = None


@dataclass(frozen=True, slots=True, eq=False)
class Relevance:
    """A method's answer: `values` [T, P] follow the tokens, `whole` [P] is the map of the whole text."""

    values: Tensor
    spec: MapSpec
    description: str
    score: str = ""
    caveat: str = ""
    whole: Tensor | None = None


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
    """

    key: str
    label: str
    explanation: str
    kind: MapKind
    signed: bool = False
    needs_gradient: bool = False

    @abstractmethod
    def points(self, model: LoadedModel, kind: SequenceKind) -> tuple[CapturePoint, ...]:
        """Return the points a map may be read from, the default first; empty where the method cannot work."""

    @abstractmethod
    def relevance(self, question: Question) -> Relevance:
        """Compute the maps of all tokens of ``question.sequence``."""

    def offers(self, model: LoadedModel, kind: SequenceKind) -> bool:
        """Whether the method works for sequences of `kind` under `model`."""
        return bool(self.points(model, kind))


METHODS: Registry[Method] = Registry("attribution method", "mmviewer.core.explain.methods")


def available_methods(model: LoadedModel) -> tuple[str, ...]:
    """Return the keys of all methods that work for some kind of sequence under `model`, attention first."""
    kinds: tuple[SequenceKind, ...] = ("caption", "transcript", "query")
    offered = [method for method in METHODS if any(method.offers(model, kind) for kind in kinds)]
    return tuple(sorted((method.key for method in offered), key=lambda key: (key != "attention", key)))


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
    method = METHODS.get(spec.method)
    _check_sequence(model, prepared, sequence)
    point = _choose_point(method, model, sequence.kind, spec.point)
    spec = _checked(point, spec)
    progress.report(0, None, f"{method.label} of {len(sequence.tokens)} tokens")
    answer = method.relevance(Question(model, prepared, sequence, point, spec, progress, store))
    return _token_maps(method, model, prepared, sequence, point, answer)


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
    _check_sequence(model, prepared, sequence)
    chosen = tuple(tokens)
    count = len(sequence.tokens)
    if not chosen or not all(0 <= index < count for index in chosen):
        raise InputError(f"Choose tokens from 0 to {count - 1} to see their heads.")
    place = _choose_point(METHODS.get("attention"), model, sequence.kind, point)
    progress.report(0, None, f"heads of the {place.label}")
    rows = position_rows(model, prepared, sequence, place, store)  # [L, H, T, P], or one row for all tokens
    values = rows.mean(2) if rows.shape[2] == 1 else rows[:, :, list(chosen)].mean(2)
    _check_finite(values, model, place)
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


def choose_head(weights: Tensor, head: HeadChoice) -> Tensor:
    """Reduce [..., H, Q, K] to [..., Q, K] by the mean, the maximum or one head."""
    if head == "mean":
        return weights.mean(-3)
    if head == "max":
        return weights.amax(-3)
    return weights[..., head, :, :]


def last_layer_for_head(point: CapturePoint, spec: MapSpec) -> MapSpec:
    """Without a layer for one head, take the last: heads of different layers have nothing in common."""
    if isinstance(spec.head, int) and spec.layer is None:
        return replace(spec, layer=point.layers - 1)
    return spec


def layer_words(point: CapturePoint, spec: MapSpec) -> str:
    """Say which layer is meant, counted from 1 as people do."""
    if spec.layer is None:
        return "its only layer" if point.layers == 1 else f"all {point.layers} layers"
    return f"layer {spec.layer + 1} of {point.layers}"


def head_words(point: CapturePoint, head: HeadChoice) -> str:
    """Say which heads are meant, counted from 1."""
    if isinstance(head, int):
        return f"head {head + 1} of {point.heads}"
    return "its only head" if point.heads == 1 else f"{head} of {point.heads} heads"


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
            f"{method.label} cannot explain a {kind} with {model.info.label}, which has no attention "
            "from text to its input that this method could use; choose another method or model."
        )
    if name is None:
        return points[0]
    for point in points:
        if point.name == name:
            return point
    usable = ", ".join(point.name for point in points)
    if any(point.name == name for point in model.info.points):
        raise UnsupportedError(
            f"{method.label} of a {kind} cannot be read at {name}; choose one of: {usable}."
        )
    raise InputError(f"{model.info.label} has no capture point called {name!r}; choose one of: {usable}.")


def _checked(point: CapturePoint, spec: MapSpec) -> MapSpec:
    if isinstance(spec.head, int):
        _check_range("head", spec.head, point.heads, point)
    elif spec.head not in ("mean", "max"):
        raise InputError(f"Head {spec.head!r} does not exist; choose mean, max or a number.")
    if spec.layer is not None:
        _check_range("layer", spec.layer, point.layers, point)
    return replace(spec, point=point.name)


def _check_range(what: str, index: int, count: int, point: CapturePoint) -> None:
    if not 0 <= index < count:
        raise InputError(f"The {point.label} has {what}s 0 to {count - 1}; {what} {index} does not exist.")


def _check_finite(values: Tensor, model: LoadedModel, point: CapturePoint) -> None:
    if not bool(torch.isfinite(values).all()):
        raise UnsupportedError(
            f"{model.info.label} gave values that are not numbers in its {point.label} "
            f"({model.info.dtype}); load it with dtype float32."
        )


def _token_maps(
    method: Method,
    model: LoadedModel,
    prepared: Prepared,
    sequence: TokenSequence,
    point: CapturePoint,
    answer: Relevance,
) -> TokenMaps:
    _check_finite(answer.values, model, point)
    return TokenMaps(
        values=on_grid(answer.values, prepared.geometry),
        tokens=sequence.tokens,
        geometry=prepared.geometry,
        kind=method.kind,
        spec=answer.spec,
        description=answer.description,
        score=answer.score,
        caveat=" ".join(
            part for part in (answer.caveat, _empty_rows(method, prepared, sequence, answer)) if part
        ),
        signed=method.signed,
        whole=None if answer.whole is None else on_grid(answer.whole, prepared.geometry),
        media_id=prepared.media_id,
        model_id=model.info.id,
    )


def _empty_rows(method: Method, prepared: Prepared, sequence: TokenSequence, answer: Relevance) -> str:
    """Name the tokens whose map is zero everywhere; raise if none is left."""
    alive = (answer.values != 0).any(-1).tolist()
    what = "image" if prepared.modality is Modality.IMAGE else "sound"
    if not any(alive):
        raise UnsupportedError(
            f"{method.label} found nothing: every value over the {what} is zero, because the gradient "
            "vanished or the weights are masked; choose another layer or method."
        )
    empty = [span.text.strip() for span, lives in zip(sequence.tokens, alive, strict=True) if not lives]
    if not empty:
        return ""
    shown = ", ".join(f"“{text}”" for text in empty[:5]) + (" and others" if len(empty) > 5 else "")
    return f"No part of the {what} counts for {shown}."


def reads_text(point: CapturePoint) -> bool:
    """Whether the point's query rows belong to tokens of the text, so that its maps differ by token."""
    return point.role is PointRole.CROSS
