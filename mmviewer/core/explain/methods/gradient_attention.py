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
    Method,
    Question,
    Relevance,
    choose_head,
    head_words,
    last_layer_for_head,
    layer_words,
)
from mmviewer.core.explain.forward import (
    Chain,
    chain_of,
    first_row,
    over_encoder,
    own_rows,
    record,
    store_key,
)
from mmviewer.core.models.base import LoadedModel
from mmviewer.core.types import Capability, CapturePoint, MapKind, PointRole, SequenceKind, TokenSequence

_LARGEST_ENCODER = 40_000_000
"""Weights of an encoder's attention up to which it is followed; those of CLIP ViT-L/14 are 25 million."""

Positives = Mapping[str, Sequence[Tensor]]
"""Point name to (dA * A)+ of each layer, each [H, Q, K]."""


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

    def points(self, model: LoadedModel, kind: SequenceKind) -> tuple[CapturePoint, ...]:
        """Cross-attention for a generated text; for a query the points before the embedding."""
        chain = chain_of(model, kind)
        if kind != "query":
            return () if chain.cross is None else (chain.cross,)
        if not model.info.can(Capability.EMBED_TEXT):
            return ()
        return tuple(point for point in (chain.pool, chain.encoder) if point is not None)

    def relevance(self, question: Question) -> Relevance:
        """Propagate each target's gradient; one forward, and one backward for each token."""
        point, sequence = question.point, question.sequence
        spec = last_layer_for_head(point, question.spec)
        through, layers = _relevances(question)  # [N, P], [N, L, H, P]
        if spec.layer is None and spec.head == "mean":
            rows, extent = through, "all layers and heads"
        else:
            chosen = layers if spec.layer is None else layers[:, spec.layer : spec.layer + 1]
            rows = choose_head(chosen.movedim(0, 2), spec.head).mean(0)  # [L, H, N, P] -> [N, P]
            extent = f"{layer_words(point, spec)} without propagation · {head_words(point, spec.head)}"
        is_query = sequence.kind == "query"
        return Relevance(
            values=rows[1:] if is_query else rows,
            whole=rows[0] if is_query else None,
            spec=spec,
            description=f"gradient x attention · {point.label} · {extent}",
            score=_score_words(sequence),
            caveat=_caveat(question),
        )


def _relevances(question: Question) -> tuple[Tensor, Tensor]:
    """Relevance through all layers [N, P] and of each layer and head alone [N, L, H, P]."""
    key = store_key(
        GradientAttention.key, question.model, question.prepared, question.sequence, question.point
    )
    kept = question.store.get(key) if question.store is not None else None
    if kept is not None:
        through, layers = (torch.from_numpy(np.array(array, dtype=np.float32)) for array in kept)
        return through, layers
    found = [(_propagated(*target), _alone(*target)) for target in _targets(question)]
    through = torch.cat([row for row, _ in found])
    layers = torch.stack([each for _, each in found])
    if question.store is not None:
        question.store.put(key, [through.numpy(), layers.numpy()])
    return through, layers


def _followed(model: LoadedModel, sequence: TokenSequence) -> Chain:
    """The points that relevance is followed through: a very large encoder is left out where others remain.

    Every token would need a backward through all its attention, which for 30 s of sound takes far longer than
    anyone waits; its output positions then stand for the input's.
    """
    chain = chain_of(model, sequence.kind)
    if chain.encoder is None or chain.cross is None:
        return chain
    queries, keys = model.attention_size(chain.encoder, len(sequence.tokens))
    large = chain.encoder.layers * chain.encoder.heads * queries * keys > _LARGEST_ENCODER
    return replace(chain, encoder=None) if large else chain


@dataclass(frozen=True, slots=True, eq=False)
class _Way:
    """What stays the same for all targets of one forward."""

    question: Question
    chain: Chain
    weights: Mapping[str, Sequence[Tensor]]


def _targets(question: Question) -> Iterator[tuple[_Way, Positives, int]]:
    """Yield for each target its (dA * A)+ and its query row, one backward at a time."""
    model, sequence = question.model, question.sequence
    chain = _followed(model, sequence)
    recording = record(model, question.prepared, sequence, chain.points, grad=True)
    scores = _scores(question, recording.output)  # [N]
    if not scores.requires_grad:
        raise UnsupportedError(
            f"The score of {model.info.label} does not depend on its {question.point.label}, so it has no "
            "gradient there; choose raw attention."
        )
    names = [(point.name, layer) for point in chain.points for layer in range(point.layers)]
    flat = [recording.weights[name][layer] for name, layer in names]
    way = _Way(
        question, chain, {name: [each.detach() for each in recording.weights[name]] for name, _ in names}
    )
    for index in range(len(scores)):
        question.progress.report(index, len(scores), "gradients")
        last = index == len(scores) - 1
        gradients = torch.autograd.grad(scores[index], flat, retain_graph=not last, allow_unused=True)
        yield way, _positives(names, flat, gradients), first_row(sequence) + index


def _scores(question: Question, output: Tensor) -> Tensor:
    """Scores to differentiate, [N]: log-probability of each token, or similarity of text and words."""
    sequence = question.sequence
    if sequence.kind != "query":
        ids = torch.tensor([token.id for token in sequence.tokens], device=output.device)
        return output.float().log_softmax(-1).gather(-1, ids[:, None])[:, 0]
    texts = [sequence.text, *(token.text.strip() for token in sequence.tokens)]
    with torch.no_grad():
        embedded = question.model.text_features(texts)  # [1 + W, D]
    return embedded.to(output.dtype) @ output


def _positives(
    names: Sequence[tuple[str, int]], weights: Sequence[Tensor], gradients: Sequence[Tensor | None]
) -> Positives:
    found: dict[str, list[Tensor]] = {}
    for (name, _), weight, gradient in zip(names, weights, gradients, strict=True):
        # layers off the score's path have no gradient, and so no relevance
        product = torch.zeros_like(weight) if gradient is None else (gradient * weight.detach()).clamp(min=0)
        found.setdefault(name, []).append(product[0].float())
    return found


def _propagated(way: _Way, positives: Positives, row: int) -> Tensor:
    """Relevance of the input positions through all layers, [1, P]."""
    chain, given = way.chain, dict[str, list[Tensor]]()
    mean = {name: [layer.mean(0) for layer in layers] for name, layers in positives.items()}
    encoder = SelfRelevance(mean[chain.encoder.name]) if chain.encoder else None
    if chain.cross is not None:
        tokens = cross_relevance(mean[chain.decoder.name] if chain.decoder else [], mean[chain.cross.name])
        end, rows = chain.cross, tokens[row : row + 1]  # [1, K]
        if chain.pool is None:
            given[end.name] = [_as_captured(encoder.normalised_after(rows) if encoder else rows)]
        else:
            pooled = mean[chain.pool.name][-1]  # [Nq, N]
            given[end.name] = [_as_captured(rows)]
            given[chain.pool.name] = [_as_captured(encoder.normalised_after(pooled) if encoder else pooled)]
        return way.question.model.position_weights(end, given)[0, 0].cpu()
    return _embedding_relevance(way, mean, encoder)


def _embedding_relevance(way: _Way, mean: Positives, encoder: SelfRelevance | None) -> Tensor:
    chain, question = way.chain, way.question
    if chain.pool is not None:
        pooled = mean[chain.pool.name][-1]  # [Nq, N]
        end, matrix = chain.pool, encoder.normalised_after(pooled) if encoder else pooled
    else:
        assert chain.encoder is not None
        assert encoder is not None
        end, matrix = chain.encoder, encoder.matrix()  # [N, N]
    carried = question.model.position_weights(end, {end.name: [_as_captured(matrix)]})
    return own_rows(question.model, end, carried, question.sequence)[0, 0].cpu()


def _alone(way: _Way, positives: Positives, row: int) -> Tensor:
    """(dA * A)+ of every layer and head of the chosen point, carried to positions: [L, H, P]."""
    question, point = way.question, way.question.point
    given: dict[str, Sequence[Tensor]] = {point.name: [layer[None] for layer in positives[point.name]]}
    if point.role is PointRole.CROSS and way.chain.pool is not None:
        given[way.chain.pool.name] = way.weights[way.chain.pool.name]
    carried = question.model.position_weights(point, given)  # [L, H, Q, P]
    if point.role is PointRole.CROSS:
        return carried[:, :, row].cpu()
    return own_rows(question.model, point, carried, question.sequence)[:, :, 0].cpu()


class SelfRelevance:
    """R of a stack of self-attention layers, R <- R + Abar R from R = I, without building R [N, N].

    R is the product of (I + Abar) over layers, so rows times R, and the sums of its rows, need only products
    of a vector with a matrix.
    """

    def __init__(self, layers: Sequence[Tensor]) -> None:
        self._layers = layers

    def after(self, rows: Tensor) -> Tensor:
        """Return ``rows @ R`` for rows [Q, N]."""
        for attention in reversed(self._layers):
            rows = rows + rows @ attention
        return rows

    def row_sums(self) -> Tensor:
        """Sums of the rows of R - I, [N]."""
        ones = torch.ones_like(self._layers[0][0])
        sums = ones
        for attention in self._layers:
            sums = sums + attention @ sums
        return sums - ones

    def normalised_after(self, rows: Tensor) -> Tensor:
        """Return ``rows @ (rownorm(R - I) + I)`` for rows [Q, K] over the encoder's last K outputs."""
        rows = over_encoder(rows, self._layers[0].shape[-1])
        scaled = rows / _nonzero(self.row_sums())
        return self.after(scaled) - scaled + rows

    def matrix(self) -> Tensor:
        """R - I as a whole: what reached each position from others and itself, [N, N]."""
        identity = torch.eye(self._layers[0].shape[-1], device=self._layers[0].device)
        return self.after(identity) - identity


def cross_relevance(self_layers: Sequence[Tensor], cross_layers: Sequence[Tensor]) -> Tensor:
    """Relevance of encoder outputs for tokens, R_sq [T, K], before the encoder's own part is applied.

    Each layer: R_ss += Abar_ss R_ss and R_sq += Abar_ss R_sq, then R_sq += Rhat_ss^T Abar_sq.
    """
    tokens, keys = cross_layers[0].shape
    to_self = torch.eye(tokens, device=cross_layers[0].device)
    to_encoder = cross_layers[0].new_zeros(tokens, keys)
    for layer, cross in enumerate(cross_layers):
        if layer < len(self_layers):
            to_encoder = to_encoder + self_layers[layer] @ to_encoder
            to_self = to_self + self_layers[layer] @ to_self
        to_encoder = to_encoder + _normalised(to_self).T @ cross
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


def _caveat(question: Question) -> str:
    first_order = "First-order: with several things present it may point to more than the one meant."
    encoder = chain_of(question.model, question.sequence.kind).encoder
    if encoder is None or _followed(question.model, question.sequence).encoder is not None:
        return first_order
    return f"{first_order} The {encoder.label} is too large to be followed: places are those of its output."


def _score_words(sequence: TokenSequence) -> str:
    if sequence.kind == "query":
        return "cosine similarity with the word alone; for the whole text, with the whole text"
    return "log-probability of the token at its step"


METHODS.add(GradientAttention.key)(GradientAttention())
