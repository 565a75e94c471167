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
    hidden : Tensor [1, prompt + T - 1, W] or None
        What the logits were made of, row by row, where the model tells.
    """

    weights: Mapping[str, Sequence[Tensor]]
    output: Tensor
    hidden: Tensor | None = None


@dataclass(frozen=True, slots=True)
class Chain:
    """The points on the way from the input to what a sequence depends on; None where the model has none.

    `cross` is the joint self-attention of a model that reads image and text as one sequence.
    """

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
    cross = model.point(PointRole.CROSS) or model.point(PointRole.JOINT)
    if cross is None:
        return Chain(encoder, pool)
    needed = [point for point in model.needed_points(cross) if point.role is PointRole.POOL]
    pool = needed[0] if needed else None
    if cross.role is PointRole.JOINT:
        return Chain(None, pool, None, cross)  # its image positions are what the encoder gave
    return Chain(encoder, pool, model.point(PointRole.DECODER_SELF), cross)


def record(
    model: LoadedModel,
    prepared: Prepared,
    sequence: TokenSequence,
    points: Sequence[CapturePoint],
    *,
    grad: bool = False,
    layers: Mapping[str, Sequence[int]] | None = None,
    last_rows: int | None = None,
) -> Recording:
    """Run the model once on the whole sequence (teacher forcing) and keep the weights of `points`.

    Parameters
    ----------
    grad : bool
        Keep the graph from the first recorded weights on, so that they can be differentiated.
    layers : mapping, optional
        Layers to keep of a point, by its name; all of those that are not named.
    last_rows : int, optional
        Keep only so many of the last query rows, where the attention is not written out by the model itself.
    """
    chosen = layers or {}
    size = recorded_bytes(model, prepared, sequence, points, grad=grad, layers=chosen, last_rows=last_rows)
    ensure_fits(size, model.placement.device, "Recording attention")
    wanted = {point.name: chosen.get(point.name) for point in points}
    with (
        memory_errors(model.placement.device, "Recording attention"),
        capture(model, wanted, grad=grad, rows=_last(last_rows)) as weights,
    ):
        output, hidden = scored_output(model, prepared, sequence)
    return Recording({point.name: weights[point.name] for point in points}, output, hidden)


def scored_output(
    model: LoadedModel, prepared: Prepared, sequence: TokenSequence
) -> tuple[Tensor, Tensor | None]:
    """What scores are read from (see `Recording.output`), and what logits were made of."""
    if sequence.kind == "query":
        return encode(model, [prepared])[0], None
    seen: list[Tensor] = []
    norm = model.before_vocabulary()
    hook = None if norm is None else norm.register_forward_hook(lambda _, __, output: seen.append(output))
    try:
        logits = predicting_logits(model, [prepared], sequence)[0]
    finally:
        if hook is not None:
            hook.remove()
    return logits, seen[0] if len(seen) == 1 else None


def recorded_bytes(
    model: LoadedModel,
    prepared: Prepared,
    sequence: TokenSequence,
    points: Sequence[CapturePoint],
    *,
    grad: bool = False,
    layers: Mapping[str, Sequence[int]] | None = None,
    last_rows: int | None = None,
) -> int:
    """Memory of recording `points`, told before the work; `layers` and `last_rows` as in `record`."""
    tokens = len(sequence.prompt_ids) + len(sequence.tokens)
    size = 0
    for point in points:
        queries, keys = model.attention_size(point, tokens)
        queries = queries if last_rows is None else min(queries, last_rows)
        if point.role is PointRole.CROSS and isinstance(prepared.geometry, TimeGeometry):
            keys = max(keys, prepared.geometry.positions)  # a long sound has several windows
        chosen = (layers or {}).get(point.name)
        size += estimate_bytes(point, queries, keys, layers=chosen, grad=grad)
    return size


def encode(model: LoadedModel, batch: Sequence[Prepared]) -> Tensor:
    """Return the unit embeddings [B, D] of images or sounds."""
    if batch[0].modality is Modality.AUDIO:
        return model.audio_features(batch)
    return model.image_features(batch)


def free_logits(model: LoadedModel, prepared: Prepared, sequence: TokenSequence) -> Tensor:
    """Logits [T, V] that predict the tokens of a sequence, without recording or gradients."""
    with torch.no_grad():
        return predicting_logits(model, [prepared], sequence)[0]


def predicting_logits(model: LoadedModel, batch: Sequence[Prepared], sequence: TokenSequence) -> Tensor:
    """Logits [B, T, V] of several inputs under one text, row t predicting token t."""
    ids = [*sequence.prompt_ids, *(token.id for token in sequence.tokens)]
    if not sequence.prompt_ids or min(ids) < 0:
        raise InputError(f"The {sequence.kind} does not come from a generation; generate it again.")
    if len(batch) == 1:
        logits = model.sequence_logits(batch[0], ids[:-1])[None]
    else:
        logits = model.sequence_logits_of(batch, ids[:-1])  # [B, prompt + T - 1, V]
    return logits[:, first_row(sequence) :]


def first_row(sequence: TokenSequence) -> int:
    """The query row that predicts the first token: that of the last prompt token."""
    return len(sequence.prompt_ids) - 1


def own_rows(model: LoadedModel, point: CapturePoint, weights: Tensor, sequence: TokenSequence) -> Tensor:
    """Pick from [..., Q, P] the query rows that belong to the sequence.

    Cross-attention and joint attention have one row per token. Elsewhere one row stands for the whole input:
    the mean of those whose outputs become the embedding.
    """
    if point.role is PointRole.JOINT and not model.text_first:
        return weights[..., -len(sequence.tokens) :, :]  # the rows before may not have been recorded
    if point.role in (PointRole.CROSS, PointRole.JOINT):
        start = first_row(sequence)
        return weights[..., start : start + len(sequence.tokens), :]
    return weights[..., model.embedding_rows(point), :].mean(-2, keepdim=True)


def rows_needed(model: LoadedModel, sequence: TokenSequence, point: CapturePoint) -> int | None:
    """How many of the last query rows maps are read from, where that saves memory; None for all.

    Of the attention over picture and text, which is large, only the rows of the text's own tokens.
    """
    last = point.role is PointRole.JOINT and not model.text_first
    return len(sequence.tokens) if last and model.needed_points(point) == (point,) else None


def _last(count: int | None) -> slice | None:
    return None if count is None else slice(-count, None)


def row_words(model: LoadedModel, point: CapturePoint) -> str:
    """Say which query row a map shows."""
    if point.role in (PointRole.CROSS, PointRole.JOINT):
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


def check_finite(values: Tensor, model: LoadedModel, point: CapturePoint) -> None:
    """Raise `UnsupportedError` for values that are NaN or infinite."""
    if not bool(torch.isfinite(values).all()):
        raise UnsupportedError(
            f"{model.info.label} gave values that are not numbers in its {point.label} "
            f"({model.info.dtype}); load it with dtype float32."
        )


def position_rows(
    model: LoadedModel,
    prepared: Prepared,
    sequence: TokenSequence,
    point: CapturePoint,
    store: MapStore | None = None,
    layers: Sequence[int] | None = None,
) -> Tensor:
    """Return raw attention carried to input positions, [L, H, T, P]; T is 1 where all tokens share it.

    L follows `layers`, by default all of the point's.
    """
    kept_layers = None if layers is None else tuple(layers)
    key = store_key(("attention", kept_layers), model, prepared, sequence, point)
    kept = store.get(key) if store is not None else None
    if kept is not None:
        return torch.from_numpy(np.array(kept[0], dtype=np.float32))
    chosen = None if kept_layers is None else {point.name: kept_layers}
    needed, last_rows = model.needed_points(point), rows_needed(model, sequence, point)
    recording = record(model, prepared, sequence, needed, layers=chosen, last_rows=last_rows)
    carried = model.position_weights(point, recording.weights, prepared)  # [L, H, Q, P]
    rows = own_rows(model, point, carried, sequence).float().cpu().contiguous()
    if store is not None:
        store.put(key, [rows.numpy()])
    return rows


def store_key(
    what: Hashable, model: LoadedModel, prepared: Prepared, sequence: TokenSequence, point: CapturePoint
) -> Hashable:
    """Name of what is kept, the model's id first: equal only for the same weights, input, text and place.

    `what` names the kind of array, with the target where it has one.
    """
    info = model.info
    spans = tuple((token.id, token.start, token.end) for token in sequence.tokens)
    text = (sequence.kind, sequence.text, sequence.prompt_ids, spans, prepared.shots)
    return (info.id, info.weights_hash, info.dtype, what, point.name, prepared.media_id, text)
