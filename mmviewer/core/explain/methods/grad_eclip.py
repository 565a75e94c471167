"""Grad-ECLIP (Zhao et al., ICML 2024): gradient of the attended output, times values, times a loose match."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

import torch
from torch import Tensor
from torch.nn import functional

from mmviewer.core.capture.collector import capture, estimate_bytes
from mmviewer.core.capture.mechanism import Inside
from mmviewer.core.errors import UnsupportedError
from mmviewer.core.explain.base import METHODS, Cost, Method, Question, Relevance
from mmviewer.core.explain.forward import chain_of, first_row, scored_output
from mmviewer.core.explain.gradients import at_once, each_row_gradient
from mmviewer.core.explain.heads import layer_words
from mmviewer.core.models.base import LoadedModel
from mmviewer.core.models.device import memory_errors
from mmviewer.core.types import Capability, CapturePoint, MapKind, PointRole, SequenceKind


class GradEclip(Method):
    """ReLU of sum over channels c of g_c v_p,c, times cos(q, k_p) stretched to 0..1 over all positions p.

    q is the query that makes the embedding (the class token, or the first pooling query) or that predicts the
    token; g is the gradient of the score with respect to what the attention makes of it, all heads side by
    side. The cosine in place of the softmax keeps places that the softmax made sparse.
    """

    key = "grad_eclip"
    label = "Grad-ECLIP"
    explanation = "Patches whose content, as the attention passes it on, pushes the score up."
    kind = MapKind.ATTRIBUTION
    needs_gradient = True
    first_order = True
    picks_heads = False

    def points(self, model: LoadedModel, kind: SequenceKind) -> tuple[CapturePoint, ...]:
        """Cross-attention for a generated text; for a query the attention with a row for the embedding."""
        chain = chain_of(model, kind)
        if kind != "query":
            cross = chain.cross
            if cross is None or cross.role is PointRole.JOINT or model.recurrent:
                return ()
            return (cross,)
        if not model.info.can(Capability.EMBED_TEXT):
            return ()
        places = [chain.pool]
        if chain.encoder is not None and model.embedding_rows(chain.encoder) == slice(0, 1):
            places.append(chain.encoder)
        return tuple(point for point in places if point is not None)

    def cost(self, question: Question) -> Cost:
        """Attention of one layer with its gradient; one forward."""
        queries, keys = question.model.attention_size(question.point, len(question.sequence.tokens))
        return Cost(estimate_bytes(question.point, queries, keys, layers=(0,), grad=True), 1)

    def relevance(self, question: Question) -> Relevance:
        """One forward recorded at one layer, and one backward for many tokens at once."""
        objective, model, point = question.objective(), question.model, question.point
        layer = point.layers - 1 if question.spec.layer is None else question.spec.layer
        spec = replace(question.spec, layer=layer)
        wanted: dict[str, Sequence[int] | None] = {
            each.name: None for each in model.needed_points(point) if each is not point
        }
        with (
            memory_errors(model.placement.device, self.label),
            capture(model, {**wanted, point.name: (layer,)}, grad=True, inside=True) as captured,
        ):
            output, hidden = scored_output(model, question.prepared, question.sequence)
            scores = objective.score(output)  # [N]
            inside = captured.inside(point.name)[0]
            rows = _query_rows(question, objective.steps, len(scores))
            gradient = _gradient(question, scores, rows, hidden, inside.mixed)
        if gradient is None:
            raise UnsupportedError(
                f"The score of {model.info.label} does not depend on {layer_words(point, spec)} of its "
                f"{point.label}; choose another layer."
            )
        given = {name: [each.detach() for each in captured[name]] for name in wanted}
        places = _places(question, given, inside.key.shape[-2])
        maps = []
        for each, own in zip(gradient[:, 0], rows, strict=True):
            question.progress.check()
            maps.append(_match(inside, each, own, places))
        found = torch.stack(maps)  # [N, K]
        carried = model.position_weights(
            point, {**given, point.name: [found[None, None]]}, question.prepared
        )  # [1, 1, N, P]
        values, whole = objective.spread(carried[0, 0].detach().cpu(), len(question.sequence.tokens))
        return Relevance(
            values=values,
            whole=whole,
            spec=spec,
            description=f"Grad-ECLIP · {point.label} · {layer_words(point, spec)} · all heads",
            score=objective.words,
            caveat=(
                "First-order: with several things present it may point to more than the one meant; it knows "
                "one layer only."
            ),
        )


def _gradient(
    question: Question,
    scores: Tensor,
    rows: list[list[int]],
    hidden: Tensor | None,
    mixed: Tensor,
) -> Tensor | None:
    """Gradient [N, *shape of mixed] of every score, as many at once as fit; None where there is none."""
    if not mixed.requires_grad:
        return None
    size = at_once(mixed.nbytes + (0 if hidden is None else hidden.nbytes))
    found = []
    for first in range(0, len(scores), size):
        question.progress.report(first, len(scores), "gradients")
        part = slice(first, first + size)
        more = first + size < len(scores)
        (gradient,) = each_row_gradient(scores[part], rows[part], hidden, [mixed], keep=more)
        if gradient is None:
            return None
        found.append(gradient)
    return torch.cat(found)


def _query_rows(question: Question, steps: tuple[tuple[int, ...], ...], count: int) -> list[list[int]]:
    """Rows of the attention that each score is read from."""
    if question.point.role is PointRole.CROSS:
        start = first_row(question.sequence)
        return [[start + step for step in each] for each in steps]
    return [[0]] * count


def _places(question: Question, given: Mapping[str, Sequence[Tensor]], keys: int) -> Tensor:
    """Which of the keys [K] lead to positions of the input: class and register tokens do not."""
    model, point = question.model, question.point
    with torch.enable_grad():
        probe = torch.ones(1, 1, 1, keys, device=model.placement.device, requires_grad=True)
        carried = model.position_weights(point, {**given, point.name: [probe]}, question.prepared)
        (reach,) = torch.autograd.grad(carried.sum(), probe)
    leads = reach[0, 0, 0] != 0
    return leads if bool(leads.any()) else torch.ones_like(leads)


def _match(inside: Inside, gradient: Tensor, rows: list[int], places: Tensor) -> Tensor:
    """Map [K] of one score: mean over its query rows; `gradient` [H, Q, D] is that of the mixed values."""
    value, key = _channels(inside.value[0]), functional.normalize(_channels(inside.key[0]), dim=-1)  # [K, C]
    found = torch.zeros_like(key[:, 0])
    for row in rows:
        query = functional.normalize(_channels(inside.query[0, :, row : row + 1]), dim=-1)  # [1, C]
        weight = value @ gradient[:, row].flatten().to(value.dtype)  # [K]
        found = found + (weight * _stretched(key @ query[0], places)).clamp(min=0)
    return found / len(rows)


def _channels(heads: Tensor) -> Tensor:
    """Heads side by side: [H, K, D] to [K, H * D]."""
    return heads.transpose(0, 1).flatten(1).float()


def _stretched(values: Tensor, places: Tensor) -> Tensor:
    """Stretch values so that those of `places` span 0..1; all 1 where they are equal: they choose nothing."""
    low, high = values[places].min(), values[places].max()
    return (values - low) / (high - low) if high > low else torch.ones_like(values)


METHODS.add(GradEclip.key)(GradEclip())
