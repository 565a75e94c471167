"""Attention rollout: attention followed through all layers, the residual path counted as half of each."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from mmviewer.core.errors import UnsupportedError
from mmviewer.core.explain.base import (
    METHODS,
    Cost,
    Method,
    Question,
    Relevance,
    reads_text,
)
from mmviewer.core.explain.forward import (
    Chain,
    Recording,
    chain_of,
    over_encoder,
    own_rows,
    record,
    recorded_bytes,
    row_words,
)
from mmviewer.core.explain.heads import choose_head, head_words, last_layer_for_head, names_heads
from mmviewer.core.models.base import LoadedModel
from mmviewer.core.types import CapturePoint, HeadChoice, MapKind, MapSpec, PointRole, SequenceKind


class Rollout(Method):
    """Product over layers of rownorm(A + I), with A the mean or maximum over heads.

    In a decoder the rows of tokens mix with each other by self-attention and take half of themselves from
    the encoder at each cross-attention; what reaches an encoder position is followed down to the input by the
    encoder's own rollout, through the attentional pooler where the model has one.

    Where image and text are one sequence, its self-attention is rolled out as a whole.

    With a layer given, the rollout ends at that layer of the chosen point; a head given is the one through
    which it enters that layer.
    """

    key = "rollout"
    label = "Attention rollout"
    explanation = (
        "Attention multiplied through all layers, so that mixing on the way to the input is followed."
    )
    kind = MapKind.ATTENTION

    def points(self, model: LoadedModel, kind: SequenceKind) -> tuple[CapturePoint, ...]:
        """The last attention before the text: cross-attention, or for a query pooling or the encoder."""
        chain = chain_of(model, kind)
        if kind != "query":
            return () if chain.cross is None or model.recurrent else (chain.cross,)
        return tuple(point for point in (chain.pool, chain.encoder) if point is not None)

    def cost(self, question: Question) -> Cost:
        """Weights of all layers on the way; one forward."""
        points = chain_of(question.model, question.sequence.kind).points
        return Cost(recorded_bytes(question.model, question.prepared, question.sequence, points), 1)

    def relevance(self, question: Question) -> Relevance:
        """Roll the attention out from the chosen point down to the input."""
        point, sequence = question.point, question.sequence
        spec = last_layer_for_head(point, question.spec)
        chain = chain_of(question.model, sequence.kind)
        recording = record(question.model, question.prepared, sequence, chain.points)
        question.progress.check()
        flow = _flow(question, spec, chain, recording)  # [L=1, H=1, Q, P]
        values = own_rows(question.model, point, flow, sequence)[0, 0]  # [T|1, P]
        shared = not reads_text(point)
        parts = ("rollout", _route(chain, point), _extent(point, spec), row_words(question.model, point))
        return Relevance(
            values=values.expand(len(sequence.tokens), -1) if shared else values,
            spec=spec,
            description=" · ".join(parts),
            caveat=_caveat(point, shared=shared),
            whole=values[0] if shared else None,
        )


def _flow(question: Question, spec: MapSpec, chain: Chain, recording: Recording) -> Tensor:
    """Rollout from every query row of the chosen point to the input positions, [1, 1, Q, P]."""
    model, point = question.model, question.point
    ends = spec.layer if point.role is PointRole.ENCODER_SELF else None
    head = spec.head if point.role is PointRole.ENCODER_SELF else _merging(spec.head)
    given: dict[str, list[Tensor]] = {}
    encoder = None
    if chain.encoder is not None:
        encoder = roll_out(_matrices(recording, chain.encoder, ends, head))  # [N, N]
        given[chain.encoder.name] = [_as_captured(encoder)]
    if chain.pool is not None and point.role is not PointRole.ENCODER_SELF:
        at_pool = point.role is PointRole.POOL
        pools = _matrices(
            recording, chain.pool, spec.layer if at_pool else None, spec.head if at_pool else "mean"
        )
        encoder = _through(pools[-1], encoder)  # [Nq, N]
        given[chain.pool.name] = [_as_captured(encoder)]
    if chain.cross is not None and chain.cross.role is PointRole.JOINT:
        joint = roll_out(_matrices(recording, chain.cross, spec.layer, spec.head))  # [T, T]
        given[chain.cross.name] = [_as_captured(joint)]
    elif chain.cross is not None:
        crosses = _matrices(recording, chain.cross, spec.layer, spec.head)
        decoder = _decoder_matrices(recording, chain, len(crosses), spec)
        tokens = roll_out_decoder(decoder, crosses)  # [T, K]
        # through a pooler the family composes both; else the encoder's rollout is applied here
        given[chain.cross.name] = [_as_captured(tokens if chain.pool else _through(tokens, encoder))]
    return model.position_weights(point, given, question.prepared)


def residual(attention: Tensor) -> Tensor:
    """Half attention, half the row itself: rownorm(A + I)."""
    identity = torch.eye(attention.shape[-1], dtype=attention.dtype, device=attention.device)
    summed = attention + identity
    return summed / summed.sum(-1, keepdim=True)


def roll_out(layers: Sequence[Tensor]) -> Tensor:
    """Product of ``residual(A)`` over layers [N, N], the first layer applied first."""
    product = residual(layers[0])
    for attention in layers[1:]:
        product = residual(attention) @ product
    return product


def roll_out_decoder(self_layers: Sequence[Tensor], cross_layers: Sequence[Tensor]) -> Tensor:
    """Share of each token's row [T] that comes from each encoder position [K].

    In each layer self-attention [T, T] mixes the rows, then half of a row is taken from the encoder by
    cross-attention [T, K]; whatever is not from the encoder stays with the tokens. A further layer of
    self-attention comes after the last.
    """
    received = torch.zeros_like(cross_layers[0])  # [T, K]
    for self_attention, cross_attention in zip(self_layers, cross_layers, strict=False):
        total = 1.0 + cross_attention.sum(-1, keepdim=True)
        received = (residual(self_attention) @ received + cross_attention) / total
    for self_attention in self_layers[len(cross_layers) :]:
        received = residual(self_attention) @ received
    return received


def _matrices(recording: Recording, point: CapturePoint, end: int | None, head: HeadChoice) -> list[Tensor]:
    """Attention [Q, K] of the layers up to `end`; a single head counts in the last of them only."""
    layers = recording.weights[point.name] if end is None else recording.weights[point.name][: end + 1]
    below = [choose_head(weights[0].float(), _merging(head)) for weights in layers[:-1]]
    return [*below, choose_head(layers[-1][0].float(), head)]


def _merging(head: HeadChoice) -> HeadChoice:
    return "mean" if names_heads(head) else head


def _decoder_matrices(recording: Recording, chain: Chain, layers: int, spec: MapSpec) -> list[Tensor]:
    own, cross = chain.decoder, chain.cross
    if own is None or cross is None or own.layers - cross.layers not in (0, 1):
        raise UnsupportedError(
            "Rollout needs one self-attention beside every cross-attention of the decoder, which this model "
            "does not have; choose another method."
        )
    end = None if layers == cross.layers else layers - 1
    return _matrices(recording, own, end, _merging(spec.head))


def _through(weights: Tensor, encoder: Tensor | None) -> Tensor:
    """Follow weights [Q, K] over the encoder's output down to its input."""
    return weights if encoder is None else over_encoder(weights, len(encoder)) @ encoder


def _as_captured(matrix: Tensor) -> Tensor:
    return matrix[None, None]  # [B, H, Q, K]


def _route(chain: Chain, point: CapturePoint) -> str:
    parts = []
    if point.role is PointRole.JOINT:
        parts.append(point.label)
    if point.role is PointRole.CROSS:
        parts.append("cross-attention and decoder self-attention")
    if chain.pool is not None and point.role is not PointRole.ENCODER_SELF:
        parts.append("pooling")
    if chain.encoder is not None:
        parts.append("encoder self-attention")
    return " x ".join(parts)


def _extent(point: CapturePoint, spec: MapSpec) -> str:
    end = "all layers" if spec.layer is None else f"up to layer {spec.layer + 1} of {point.layers}"
    if names_heads(spec.head):
        return f"{end}, entered by {head_words(point, spec.head)}"
    return f"{end}, {spec.head} of heads"


def _caveat(point: CapturePoint, *, shared: bool) -> str:
    limits = "Rollout follows attention alone: it knows neither signs nor values nor the layers between."
    if not shared:
        return limits
    return f"The {point.label} never reads the text: this map is the same for every word. {limits}"


METHODS.add(Rollout.key)(Rollout())
