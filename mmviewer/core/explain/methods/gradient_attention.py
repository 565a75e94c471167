"""Gradient x attention with the bimodal propagation rules of Chefer, Gur and Wolf (ICCV 2021)."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
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
    chain_of,
    first_row,
    over_encoder,
    own_rows,
    record,
    recorded_bytes,
    store_key,
)
from mmviewer.core.explain.gradients import at_once, each_row_gradient, gradient_bytes
from mmviewer.core.explain.heads import choose_head, head_words, last_layer_for_head, layer_words
from mmviewer.core.explain.objective import Objective
from mmviewer.core.models.base import LoadedModel
from mmviewer.core.models.device import room
from mmviewer.core.types import Capability, CapturePoint, MapKind, PointRole, SequenceKind

_LARGEST_ENCODER = 40_000_000
"""Weights of an encoder's attention up to which it is followed; those of CLIP ViT-L/14 are 25 million."""

_LEFT_OUT = "The {label} is too large to be followed: places are those of its output."

_JOINT_COPIES = 2.5
"""Measured at 870 tokens: all rows of every layer stay on the graph, in the steps of the softmax too."""

Positives = Mapping[str, Sequence[Tensor]]
"""Point name to (dA * A)+ of each layer, each [n, H, Q, K] for n targets."""


class GradientAttention(Method):
    """Relevance R propagated through the attention layers, each weighted by the gradient of the score.

    With Abar = mean over heads of (dA * A)+, self-attention adds Abar R; cross-attention adds
    Rhat_ss^T Abar Rhat_qq, with Rhat = rownorm(R - I) + I. A pooler is a cross-attention whose queries start
    without relevance. Layers of a text tower below the decoder mix tokens before any sees the input; they are
    left out. With a layer given, (dA * A)+ of that layer alone is shown.
    """

    key = "gradient_attention"
    label = "Gradient x attention"
    explanation = "Attention that would raise the score of the token or word, followed through all layers."
    kind = MapKind.ATTRIBUTION
    needs_gradient = True
    first_order = True

    def points(self, model: LoadedModel, kind: SequenceKind) -> tuple[CapturePoint, ...]:
        """Cross-attention for a generated text; for a query the points before the embedding."""
        chain = chain_of(model, kind)
        if kind != "query":
            return () if chain.cross is None else (chain.cross,)
        if not model.info.can(Capability.EMBED_TEXT):
            return ()
        return tuple(point for point in (chain.pool, chain.encoder) if point is not None)

    def cost(self, question: Question) -> Cost:
        """Weights, their gradients and products of all points on the way; one forward."""
        chain, left_out = _followed(question)
        return Cost(_bytes(question, chain.points), 1, _LEFT_OUT.format(label=left_out) if left_out else "")

    def relevance(self, question: Question) -> Relevance:
        """Propagate each target's gradient; one forward, and one backward for many tokens at once."""
        point, sequence = question.point, question.sequence
        spec = last_layer_for_head(point, question.spec)
        objective = question.objective()
        through, layers = _relevances(question, objective)  # [N, P], [N, L, H, P]
        if spec.layer is None and spec.head == "mean":
            rows, extent = through, "all layers and heads"
        else:
            chosen = layers if spec.layer is None else layers[:, spec.layer : spec.layer + 1]
            rows = choose_head(chosen.movedim(0, 2), spec.head).mean(0)  # [L, H, N, P] -> [N, P]
            extent = f"{layer_words(point, spec)} without propagation · {head_words(point, spec.head)}"
        values, whole = objective.spread(rows, len(sequence.tokens))
        return Relevance(
            values=values,
            whole=whole,
            spec=spec,
            description=f"gradient x attention · {point.label} · {extent}",
            score=objective.words,
            caveat="First-order: with several things present it may point to more than the one meant.",
        )


def _relevances(question: Question, objective: Objective) -> tuple[Tensor, Tensor]:
    """Relevance through all layers [N, P] and of each layer and head alone [N, L, H, P]."""
    what = (GradientAttention.key, question.spec.target, question.spec.contrast)
    key = store_key(what, question.model, question.prepared, question.sequence, question.point)
    kept = question.store.get(key) if question.store is not None else None
    if kept is not None:
        through, layers = (torch.from_numpy(np.array(array, dtype=np.float32)) for array in kept)
        return through, layers
    found = [found for batch in _batches(question, objective) for found in _carried(*batch)]
    through = torch.cat([row for row, _ in found])
    layers = torch.stack([each for _, each in found])
    if question.store is not None:
        question.store.put(key, [through.numpy(), layers.numpy()])
    return through, layers


def _followed(question: Question) -> tuple[Chain, str]:
    """The points that relevance is followed through, and the name of an encoder that was left out.

    Every token needs a backward through all the attention of the encoder, which for 30 s of sound takes far
    longer than anyone waits, or more memory than there is; its output positions then stand for the input's.
    """
    model, sequence = question.model, question.sequence
    chain = chain_of(model, sequence.kind)
    if chain.encoder is None or chain.cross is None:
        return chain, ""
    queries, keys = model.attention_size(chain.encoder, len(sequence.tokens))
    large = chain.encoder.layers * chain.encoder.heads * queries * keys > _LARGEST_ENCODER
    if large or _bytes(question, chain.points) > room(model.placement.device):
        return replace(chain, encoder=None), chain.encoder.label
    return chain, ""


def _bytes(question: Question, points: Sequence[CapturePoint]) -> int:
    """Memory of the recorded weights and of one batch of gradients."""
    model, sequence = question.model, question.sequence
    weights = recorded_bytes(model, question.prepared, sequence, points, grad=True)  # three copies
    size = weights + gradient_bytes(weights // 3, question.scores)
    joint = any(point.role is PointRole.JOINT for point in points)
    return int(size * _JOINT_COPIES) if joint else size


@dataclass(frozen=True, slots=True, eq=False)
class _Way:
    """What stays the same for all targets of one forward."""

    question: Question
    chain: Chain
    weights: Mapping[str, Sequence[Tensor]]


def _batches(question: Question, objective: Objective) -> Iterator[tuple[_Way, Positives, list[list[int]]]]:
    """Yield for some targets at a time their (dA * A)+ and the query rows that each of them reads."""
    model, sequence = question.model, question.sequence
    chain, _ = _followed(question)
    recording = record(model, question.prepared, sequence, chain.points, grad=True)
    scores = objective.score(recording.output)  # [N]
    if not scores.requires_grad:
        raise UnsupportedError(
            f"The score of {model.info.label} does not depend on its {question.point.label}, so it has no "
            "gradient there; choose raw attention."
        )
    names = [(point.name, layer) for point in chain.points for layer in range(point.layers)]
    flat = [recording.weights[name][layer] for name, layer in names]
    kept = {point.name: [each.detach() for each in recording.weights[point.name]] for point in chain.points}
    way, start = _Way(question, chain, kept), first_row(sequence)
    rows = [[start + step for step in steps] for steps in objective.steps] or [[] for _ in scores]
    size = at_once(sum(each.nbytes for each in flat))
    for first in range(0, len(scores), size):
        question.progress.report(first, len(scores), "gradients")
        last = first + size >= len(scores)
        own = rows[first : first + size]
        part = scores[first : first + size]
        gradients = each_row_gradient(part, own, recording.hidden, flat, keep=not last)
        yield way, _positives(names, flat, gradients), own


def _positives(
    names: Sequence[tuple[str, int]], weights: Sequence[Tensor], gradients: Sequence[Tensor | None]
) -> Positives:
    found: dict[str, list[Tensor]] = {}
    count = next(len(gradient) for gradient in gradients if gradient is not None)
    for (name, _), weight, gradient in zip(names, weights, gradients, strict=True):
        if gradient is None:  # layers off the score's path have no gradient, and so no relevance
            product = weight.new_zeros(count, *weight.shape[1:])
        else:
            product = (gradient[:, 0] * weight.detach()[0]).clamp(min=0)
        found.setdefault(name, []).append(product.float())
    return found


def _carried(way: _Way, positives: Positives, rows: list[list[int]]) -> Iterator[tuple[Tensor, Tensor]]:
    """Relevance of input positions for each target: through all layers [1, P], and alone [L, H, P]."""
    through = _propagated(way, positives, rows)
    end = way.chain.cross or way.chain.pool or way.chain.encoder
    assert end is not None
    for index, (given, own) in enumerate(zip(through, rows, strict=True)):
        carried = way.question.model.position_weights(end, given, way.question.prepared)  # [1, 1, R, P]
        yield carried[0].mean(1).cpu(), _alone(way, positives, index, own)


def _propagated(way: _Way, positives: Positives, rows: list[list[int]]) -> list[dict[str, list[Tensor]]]:
    """Relevance through all layers, for each target as weights that the family carries to positions."""
    chain = way.chain
    mean = {name: [layer.mean(1) for layer in layers] for name, layers in positives.items()}  # [n, Q, K]
    encoder = SelfRelevance(mean[chain.encoder.name]) if chain.encoder else None
    pooled = None
    if chain.pool is not None:
        pooled = mean[chain.pool.name][-1]  # [n, Nq, N]
        pooled = encoder.normalised_after(pooled) if encoder else pooled
    if chain.cross is not None and chain.cross.role is PointRole.JOINT:
        joint = SelfRelevance(mean[chain.cross.name]).mean_of(rows)[:, None]  # [n, 1, T]
        return [_given(chain, each, None if pooled is None else pooled[i]) for i, each in enumerate(joint)]
    if chain.cross is not None:
        own = mean[chain.decoder.name] if chain.decoder else []
        tokens = cross_relevance(own, mean[chain.cross.name])  # [n, T, K]
        read = torch.stack([each[chosen].mean(0) for each, chosen in zip(tokens, rows, strict=True)])[:, None]
        if pooled is None:
            read = encoder.normalised_after(read) if encoder else read
        return [_given(chain, each, None if pooled is None else pooled[i]) for i, each in enumerate(read)]
    place = chain.pool or chain.encoder
    assert place is not None
    if pooled is None:
        assert encoder is not None
        read = encoder.rows(way.question.model.embedding_rows(place))
    else:
        read = pooled[:, way.question.model.embedding_rows(place)]
    return [{place.name: [_as_captured(each)]} for each in read]


def _given(chain: Chain, read: Tensor, pooled: Tensor | None) -> dict[str, list[Tensor]]:
    """Relevance at the last point [R, K], and at the pooler on the way, as the family takes them."""
    assert chain.cross is not None
    given = {chain.cross.name: [_as_captured(read)]}
    if pooled is not None:
        assert chain.pool is not None
        given[chain.pool.name] = [_as_captured(pooled)]
    return given


def _alone(way: _Way, positives: Positives, index: int, rows: list[int]) -> Tensor:
    """(dA * A)+ of every layer and head of the chosen point, carried to positions: [L, H, P]."""
    question, point = way.question, way.question.point
    given: dict[str, Sequence[Tensor]] = {
        point.name: [layer[index : index + 1] for layer in positives[point.name]]
    }
    if reads_text(point) and way.chain.pool is not None:
        given[way.chain.pool.name] = way.weights[way.chain.pool.name]
    carried = question.model.position_weights(point, given, question.prepared)  # [L, H, Q, P]
    if reads_text(point):
        return carried[:, :, rows].mean(2).cpu()
    return own_rows(question.model, point, carried, question.sequence)[:, :, 0].cpu()


class SelfRelevance:
    """R of a stack of self-attention layers [..., N, N], R <- R + Abar R from R = I, without building R.

    R is the product of (I + Abar) over layers, so rows times R, and the sums of its rows, need only products
    of a vector with a matrix.
    """

    def __init__(self, layers: Sequence[Tensor]) -> None:
        self._layers = layers

    def after(self, rows: Tensor) -> Tensor:
        """Return ``rows @ R`` for rows [..., Q, N]."""
        for attention in reversed(self._layers):
            rows = rows + rows @ attention
        return rows

    def mean_of(self, rows: Sequence[Sequence[int]]) -> Tensor:
        """Return for each of the n stacks the mean of its own `rows` of R - I, [n, N]."""
        first = self._layers[0]
        start = torch.zeros_like(first[:, 0])  # [n, N]
        for index, own in enumerate(rows):
            start[index, list(own)] = 1 / max(len(own), 1)
        return (self.after(start[:, None]) - start[:, None])[:, 0]

    def row_sums(self) -> Tensor:
        """Sums of the rows of R - I, [..., N]."""
        ones = torch.ones_like(self._layers[0][..., 0])
        sums = ones
        for attention in self._layers:
            sums = sums + (attention @ sums[..., None])[..., 0]
        return sums - ones

    def normalised_after(self, rows: Tensor) -> Tensor:
        """Return ``rows @ (rownorm(R - I) + I)`` for rows [..., Q, K] over the encoder's last K outputs."""
        rows = over_encoder(rows, self._layers[0].shape[-1])
        scaled = rows / _nonzero(self.row_sums())[..., None, :]
        return self.after(scaled) - scaled + rows

    def rows(self, wanted: slice) -> Tensor:
        """Rows of R - I: what reached these positions from others and themselves, [..., Q, N]."""
        first = self._layers[0]
        identity = torch.eye(first.shape[-1], device=first.device)[wanted]
        return self.after(identity.expand(*first.shape[:-2], -1, -1)) - identity


def cross_relevance(self_layers: Sequence[Tensor], cross_layers: Sequence[Tensor]) -> Tensor:
    """Relevance of encoder outputs for tokens, R_sq [..., T, K], before the encoder's own part is applied.

    Each layer: R_ss += Abar_ss R_ss and R_sq += Abar_ss R_sq, then R_sq += Rhat_ss^T Abar_sq. Further layers
    of self-attention come after the last.
    """
    tokens = cross_layers[0].shape[-2]
    to_self = torch.eye(tokens, device=cross_layers[0].device)
    to_encoder = torch.zeros_like(cross_layers[0])
    for layer, cross in enumerate(cross_layers):
        if layer < len(self_layers):
            to_encoder = to_encoder + self_layers[layer] @ to_encoder
            to_self = to_self + self_layers[layer] @ to_self
        to_encoder = to_encoder + _normalised(to_self).transpose(-1, -2) @ cross
    for own in self_layers[len(cross_layers) :]:
        to_encoder = to_encoder + own @ to_encoder
    return to_encoder


def _normalised(relevance: Tensor) -> Tensor:
    """Rhat = rownorm(R - I) + I."""
    identity = torch.eye(relevance.shape[-1], device=relevance.device)
    added = relevance - identity
    return added / _nonzero(added.sum(-1, keepdim=True)) + identity


def _nonzero(sums: Tensor) -> Tensor:
    """Rows without relevance are left as they are: nothing divided by one."""
    return torch.where(sums > 0, sums, torch.ones_like(sums))


def _as_captured(matrix: Tensor) -> Tensor:
    return matrix[None, None]  # [B, H, Q, K]


METHODS.add(GradientAttention.key)(GradientAttention())
