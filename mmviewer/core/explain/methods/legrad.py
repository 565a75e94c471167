"""LeGrad (Bousselham et al., 2024): gradients of every layer's own score with respect to its attention."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from mmviewer.core.capture.collector import capture, estimate_bytes
from mmviewer.core.explain.base import METHODS, Cost, Method, Question, Relevance
from mmviewer.core.explain.gradients import at_once, each_gradient, gradient_bytes
from mmviewer.core.explain.heads import choose_head, head_words, last_layer_for_head, layer_words
from mmviewer.core.models.base import LoadedModel
from mmviewer.core.models.device import memory_errors, room
from mmviewer.core.models.tower import Tower
from mmviewer.core.types import Capability, CapturePoint, MapKind, PointRole, SequenceKind


class LeGrad(Method):
    """Sum over layers of the positive part of d s_l / d A_l, averaged over heads and queries.

    Every layer l has a score of its own: s_l compares the text with the mean of the layer's output, taken
    through the model's final norm and projection; only the attention of that same layer is differentiated.
    Where a pooling head makes the embedding, s_l is what the head makes of the layer's output, and the head's
    attention is differentiated. The weights themselves are not multiplied in.
    """

    key = "legrad"
    label = "LeGrad"
    explanation = "Where more attention would raise the score of each layer's own output, added over layers."
    kind = MapKind.ATTRIBUTION
    needs_gradient = True
    first_order = True

    def points(self, model: LoadedModel, kind: SequenceKind) -> tuple[CapturePoint, ...]:
        """The pooling head where there is one, else the encoder; only what a text can be compared with."""
        if kind != "query" or model.tower() is None or not model.info.can(Capability.EMBED_TEXT):
            return ()
        point = model.point(PointRole.POOL) or model.point(PointRole.ENCODER_SELF)
        return () if point is None else (point,)

    def cost(self, question: Question) -> Cost:
        """Attention of all layers that are used, its gradients for some words at a time; one forward."""
        layers = _layers(question)
        left_out = _depth(question) - len(layers)
        note = ""
        if question.spec.layer is None and left_out:
            note = f"To save memory, the first {left_out} layers were left out."
        return Cost(_bytes(question, len(layers)), 1, note)

    def relevance(self, question: Question) -> Relevance:
        """One forward cut between layers, and one backward for many words at once."""
        objective, model, point = question.objective(), question.model, question.point
        spec = last_layer_for_head(point, question.spec) if point.layers > 1 else question.spec
        layers = _layers(question)
        with memory_errors(model.placement.device, self.label):
            cut = _cut_forward(question, layers)
            scores = objective.score(cut.embeddings).sum(
                0
            )  # [L, N] -> [N]: layers do not depend on each other
            size = at_once(sum(each.nbytes for each in cut.weights))
            rows = []
            for first in range(0, len(scores), size):
                question.progress.report(first, len(scores), "gradients")
                last = first + size >= len(scores)
                gradients = each_gradient(scores[first : first + size], cut.weights, keep=not last)
                rows.append(_over_layers(question, gradients))
        values, whole = objective.spread(torch.cat(rows), len(question.sequence.tokens))
        shown = point if point.layers > 1 else None
        extent = layer_words(shown, spec) if shown else f"outputs of {len(layers)} encoder layers"
        return Relevance(
            values=values,
            whole=whole,
            spec=spec,
            description=f"LeGrad · {point.label} · {extent} · {head_words(point, spec.head)}",
            score=objective.words,
            caveat="First-order: with several things present it may point to more than the one meant.",
        )


@dataclass(frozen=True, slots=True, eq=False)
class _Cut:
    """Unit embeddings [L, D] of layers cut off from each other, and the weights that they depend on.

    `weights` are one [1, H, Q, K] per layer, or the pooling head's for all layers at once [L, H, Q, K].
    """

    embeddings: Tensor
    weights: Sequence[Tensor]


def _cut_forward(question: Question, layers: Sequence[int]) -> _Cut:
    model, point = question.model, question.point
    tower = model.tower()
    assert tower is not None
    if point.role is PointRole.POOL:
        outputs = [output for output in _outputs(tower, question) if output[0] in layers]
        with capture(model, {point.name: None}, grad=True) as weights:
            embeddings = tower.embed(torch.cat([hidden for _, hidden in outputs]))
        return _Cut(embeddings, [weights[point.name][-1]])
    with torch.no_grad():
        hidden = tower.start([question.prepared])
        for index in range(layers[0]):
            hidden = tower.layer(index, hidden)
    means = []
    with capture(model, {point.name: layers}, grad=True) as weights:
        for index in layers:
            hidden, mean = tower.layer_and_mean(index, hidden)
            means.append(mean)  # [1, W], over all tokens
    with torch.enable_grad():
        embeddings = tower.embed_vectors(torch.cat(means))
    return _Cut(embeddings, weights[point.name])


def _outputs(tower: Tower, question: Question) -> list[tuple[int, Tensor]]:
    """Outputs [1, N, W] of all encoder layers."""
    found = []
    with torch.no_grad():
        hidden = tower.start([question.prepared])
        for index in range(tower.layers):
            hidden = tower.layer(index, hidden)
            found.append((index, hidden))
    return found


def _over_layers(question: Question, gradients: Sequence[Tensor | None]) -> Tensor:
    """Positive gradients [n, L, H, Q, K] over heads, queries and layers: [n, P]."""
    model, point = question.model, question.point
    found = [each for each in gradients if each is not None]
    stacked = torch.cat(found, dim=1).float().clamp(min=0)  # [n, L, H, Q, K]
    rows = choose_head(stacked, question.spec.head)  # [n, L, Q, K]
    # a pooling head has many queries, of which only its own make the embedding
    own = rows[:, :, model.embedding_rows(point)] if point.role is PointRole.POOL else rows
    given = {point.name: [each[None, None] for each in own.mean(2)]}  # n "layers" of [1, 1, L, K]
    carried = model.position_weights(point, given, question.prepared)  # [n, 1, L, P]
    return carried[:, 0].sum(1).detach().cpu()


def _depth(question: Question) -> int:
    tower = question.model.tower()
    return 0 if tower is None else tower.layers


def _layers(question: Question) -> range:
    """Layers that are added: the one chosen, else the last that memory has room for."""
    depth, point = _depth(question), question.point
    if point.role is PointRole.ENCODER_SELF:
        if question.spec.layer is not None:
            return range(question.spec.layer, question.spec.layer + 1)
        if question.spec.head not in ("mean", "max"):
            return range(depth - 1, depth)
    free, count = room(question.model.placement.device), depth
    while count > 1 and _bytes(question, count) > free:
        count -= 1
    return range(depth - count, depth)


def _bytes(question: Question, layers: int) -> int:
    model, point = question.model, question.point
    queries, keys = model.attention_size(point, len(question.sequence.tokens))
    size = estimate_bytes(point, queries, keys, layers=range(layers), grad=True)
    return size + gradient_bytes(size // 3, question.scores)


METHODS.add(LeGrad.key)(LeGrad())
