"""One forward of a model, recorded at capture points, for all tokens of a sequence."""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from mmviewer.core.capture.collector import capture, estimate_bytes
from mmviewer.core.errors import InputError, UnsupportedError
from mmviewer.core.media.geometry import TimeGeometry
from mmviewer.core.models.base import LoadedModel, Prepared
from mmviewer.core.models.device import ensure_fits, memory_errors
from mmviewer.core.types import (
    CapturePoint,
    Modality,
    PointRole,
    SequenceKind,
    TokenSequence,
)


class MapStore(Protocol):
    """Where recorded weights stay between questions; see `mmviewer.core.capture.store.CaptureStore`."""

    def get(self, key: Hashable) -> Sequence[NDArray[np.floating]] | None:
        """Return what was kept under `key`, or None."""

    def put(self, key: Hashable, arrays: Sequence[NDArray[np.floating]]) -> object:
        """Keep `arrays` under `key`, dropping old ones when memory is short."""


@dataclass(frozen=True, slots=True, eq=False)
class Recording:
    """Weights of one forward and what it gave.

    Parameters
    ----------
    weights : mapping
        Point name to one tensor [1, H, Q, K] per layer.
    output : Tensor
        Logits [T, V] of a caption or transcript, row t predicting token t; or the unit embedding [D] of the
        input for a query.
    """

    weights: Mapping[str, Sequence[Tensor]]
    output: Tensor


@dataclass(frozen=True, slots=True)
class Chain:
    """The points on the way from the input to what a sequence depends on; None where the model has none."""

    encoder: CapturePoint | None
    pool: CapturePoint | None
    decoder: CapturePoint | None = None
    cross: CapturePoint | None = None

    @property
    def points(self) -> tuple[CapturePoint, ...]:
        """Those that exist, input first."""
        every = (self.encoder, self.pool, self.decoder, self.cross)
        return tuple(point for point in every if point is not None)


def chain_of(model: LoadedModel, kind: SequenceKind) -> Chain:
    """Return the points between input and text: through the decoder, or for a query to the embedding."""
    encoder, pool = model.point(PointRole.ENCODER_SELF), model.point(PointRole.POOL)
    if kind == "query":
        return Chain(encoder, pool)
    cross = model.point(PointRole.CROSS)
    if cross is None:
        return Chain(encoder, pool)
    needed = [point for point in model.needed_points(cross) if point.role is PointRole.POOL]
    return Chain(encoder, needed[0] if needed else None, model.point(PointRole.DECODER_SELF), cross)


def record(
    model: LoadedModel,
    prepared: Prepared,
    sequence: TokenSequence,
    points: Sequence[CapturePoint],
    *,
    grad: bool = False,
) -> Recording:
    """Run the model once on the whole sequence (teacher forcing) and keep the weights of `points`.

    Parameters
    ----------
    grad : bool
        Keep the graph from the first recorded weights on, so that they can be differentiated.
    """
    _ensure_memory(model, prepared, sequence, points, grad=grad)
    wanted = {point.name: None for point in points}
    with (
        memory_errors(model.placement.device, "Recording attention"),
        capture(model, wanted, grad=grad) as weights,
    ):
        if sequence.kind == "query":
            output = encode(model, prepared)
        else:
            output = _predicting_logits(model, prepared, sequence)
    return Recording({point.name: weights[point.name] for point in points}, output)


def _ensure_memory(
    model: LoadedModel,
    prepared: Prepared,
    sequence: TokenSequence,
    points: Sequence[CapturePoint],
    *,
    grad: bool,
) -> None:
    """Refuse before the work what would not fit, instead of slowing the machine to a halt."""
    tokens = len(sequence.prompt_ids) + len(sequence.tokens)
    size = 0
    for point in points:
        queries, keys = model.attention_size(point, tokens)
        if point.role is PointRole.CROSS and isinstance(prepared.geometry, TimeGeometry):
            keys = max(keys, prepared.geometry.positions)  # a long sound has several windows
        size += estimate_bytes(point, queries, keys, grad=grad)
    ensure_fits(size, model.placement.device, "Recording attention")


def encode(model: LoadedModel, prepared: Prepared) -> Tensor:
    """Return the unit embedding [D] of an image or sound."""
    if prepared.modality is Modality.AUDIO:
        return model.audio_features([prepared])[0]
    return model.image_features([prepared])[0]


def _predicting_logits(model: LoadedModel, prepared: Prepared, sequence: TokenSequence) -> Tensor:
    ids = [*sequence.prompt_ids, *(token.id for token in sequence.tokens)]
    if not sequence.prompt_ids or min(ids) < 0:
        raise InputError(f"The {sequence.kind} does not come from a generation; generate it again.")
    logits = model.sequence_logits(prepared, ids[:-1])  # [prompt + T - 1, V]
    return logits[first_row(sequence) :]  # [T, V]


def first_row(sequence: TokenSequence) -> int:
    """The query row that predicts the first token: that of the last prompt token."""
    return len(sequence.prompt_ids) - 1


def own_rows(model: LoadedModel, point: CapturePoint, weights: Tensor, sequence: TokenSequence) -> Tensor:
    """Pick from [..., Q, P] the query rows that belong to the sequence.

    Cross-attention has one row per token. Elsewhere one row stands for the whole input: the mean of those
    whose outputs become the embedding.
    """
    if point.role is PointRole.CROSS:
        start = first_row(sequence)
        return weights[..., start : start + len(sequence.tokens), :]
    return weights[..., model.embedding_rows(point), :].mean(-2, keepdim=True)


def row_words(model: LoadedModel, point: CapturePoint) -> str:
    """Say which query row a map shows."""
    if point.role is PointRole.CROSS:
        return "at the step that predicts the token"
    if point.role is PointRole.POOL:
        return "from the pooling query"
    return "from the class token" if model.embedding_rows(point) == slice(0, 1) else "mean over all places"


def over_encoder(weights: Tensor, outputs: int) -> Tensor:
    """Widen weights [Q, K] to all `outputs` of the encoder, of which their keys are the last K.

    A reader may leave out the encoder's first outputs: class and register tokens.
    """
    extra = outputs - weights.shape[-1]
    if extra < 0:
        raise UnsupportedError(
            f"The text reads {weights.shape[-1]} positions, but the encoder gives only {outputs}, so this "
            "method cannot follow it to the input; choose raw attention."
        )
    return torch.nn.functional.pad(weights, (extra, 0))


def position_rows(
    model: LoadedModel,
    prepared: Prepared,
    sequence: TokenSequence,
    point: CapturePoint,
    store: MapStore | None = None,
) -> Tensor:
    """Return raw attention carried to input positions, [L, H, T, P]; T is 1 where all tokens share it."""
    key = store_key("attention", model, prepared, sequence, point)
    kept = store.get(key) if store is not None else None
    if kept is not None:
        return torch.from_numpy(np.array(kept[0], dtype=np.float32))
    recording = record(model, prepared, sequence, model.needed_points(point))
    carried = model.position_weights(point, recording.weights)  # [L, H, Q, P]
    rows = own_rows(model, point, carried, sequence).float().cpu().contiguous()
    if store is not None:
        store.put(key, [rows.numpy()])
    return rows


def store_key(
    what: str, model: LoadedModel, prepared: Prepared, sequence: TokenSequence, point: CapturePoint
) -> Hashable:
    """Name of what is kept, the model's id first: equal only for the same weights, input, text and place."""
    info = model.info
    spans = tuple((token.id, token.start, token.end) for token in sequence.tokens)
    text = (sequence.kind, sequence.text, sequence.prompt_ids, spans)
    return (info.id, info.weights_hash, info.dtype, what, point.name, prepared.media_id, text)
