"""Raw attention: the weights after the softmax, as the model computed them."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import torch
from torch import Tensor

from mmviewer.core.cautions import Caution, on_words
from mmviewer.core.explain.base import (
    METHODS,
    Cost,
    Method,
    Question,
    Relevance,
    reads_text,
)
from mmviewer.core.explain.forward import chain_of, position_rows, recorded_bytes, row_words, rows_needed
from mmviewer.core.explain.heads import choose_head, head_words, last_layer_for_head, layer_words
from mmviewer.core.models.base import LoadedModel
from mmviewer.core.models.device import room
from mmviewer.core.types import CapturePoint, MapKind, MapSpec, PointRole, SequenceKind, TokenSpan


class RawAttention(Method):
    """Weights A[l, h, q, k] of one layer, and one head or their mean or maximum.

    Without a layer given, the one known to point best is chosen, else the one whose maps tell the tokens
    apart best; where all tokens share one map, the mean over layers is taken.
    """

    key = "attention"
    label = "Raw attention"
    explanation = "How a layer and its heads distributed their weight over the input, exactly as computed."
    kind = MapKind.ATTENTION

    def points(self, model: LoadedModel, kind: SequenceKind) -> tuple[CapturePoint, ...]:
        """Cross-attention first for a generated text; for a query pooling, then the encoder."""
        chain = chain_of(model, kind)
        usable = (chain.cross, model.point(PointRole.POOL), model.point(PointRole.ENCODER_SELF))
        if kind != "query" and chain.cross is None:
            return ()
        return tuple(point for point in usable if point is not None)

    def cost(self, question: Question) -> Cost:
        """Weights of all layers, or of one where they do not fit; one forward."""
        layers = _layers(question)
        note = ""
        if layers is not None and question.spec.layer is None:
            note = f"To save memory, only layer {layers[0] + 1} of {question.point.layers} was recorded."
        return Cost(_bytes(question, layers), 1, note)

    def relevance(self, question: Question) -> Relevance:
        """Pick layer and heads from the recorded weights; no forward when they are kept in the store."""
        point, spec, tokens = question.point, question.spec, question.sequence.tokens
        recorded = _layers(question)
        rows = position_rows(
            question.model, question.prepared, question.sequence, point, question.store, recorded
        )  # [L, H, T|1, P]
        if recorded is not None:
            spec = replace(spec, layer=recorded[0])
            rows = rows.expand(point.layers, -1, -1, -1)
        layers = choose_head(rows, spec.head)  # [L, T|1, P]
        shared = not reads_text(point)
        chosen = last_layer_for_head(point, spec) if shared else spec
        why = ""
        if spec.layer is None and not shared and point.layers > 1:
            chosen, why = _choose_layer(point, spec, layers, tokens)
        values = layers.mean(0) if chosen.layer is None else layers[chosen.layer]  # [T|1, P]
        mean = "mean of " if chosen.layer is None and point.layers > 1 else ""
        parts = (
            "attention",
            point.label,
            f"{mean}{layer_words(point, chosen)}{why}",
            head_words(point, spec.head),
            row_words(question.model, point),
        )
        return Relevance(
            values=values.expand(len(tokens), -1) if shared else values,
            spec=chosen,
            description=" · ".join(parts),
            caveat=_caveat(question, chosen.layer, shared=shared),
            whole=values[0] if shared else None,
            cautions=tuple(_beside_the_input(point, spec, values)),
        )


def _beside_the_input(point: CapturePoint, spec: MapSpec, values: Tensor) -> Iterator[Caution]:
    """Warn of rows over picture and words whose weight lies on words: what is shown is the small rest."""
    if point.role is PointRole.JOINT and spec.head != "max":
        yield from on_words([float(share) for share in values.sum(-1)])


def _layers(question: Question) -> tuple[int] | None:
    """All layers (None), or where these do not fit the one that is wanted, known to point best, or last."""
    if _bytes(question, None) <= room(question.model.placement.device):
        return None
    point, wanted = question.point, question.spec.layer
    if wanted is None:
        wanted = point.layers - 1 if point.best_layer is None else point.best_layer
    return (wanted,)


def _bytes(question: Question, layers: tuple[int] | None) -> int:
    model, point = question.model, question.point
    chosen = None if layers is None else {point.name: layers}
    needed = model.needed_points(point)
    sequence = question.sequence
    last_rows = rows_needed(model, sequence, point)
    return recorded_bytes(model, question.prepared, sequence, needed, layers=chosen, last_rows=last_rows)


def _choose_layer(
    point: CapturePoint, spec: MapSpec, layers: Tensor, tokens: tuple[TokenSpan, ...]
) -> tuple[MapSpec, str]:
    """Fill in the layer, and say why it is that one."""
    if point.best_layer is not None:
        return replace(spec, layer=point.best_layer), " (known to point best)"
    return replace(spec, layer=most_telling(layers, tokens)), " (its maps tell the tokens apart best)"


def most_telling(layers: Tensor, tokens: tuple[TokenSpan, ...]) -> int:
    """Return the layer whose maps share most information with the tokens.

    A sink that draws the weight of every token says nothing about any of them, so neither the strongest nor
    the sharpest layer is meant, but the one with the largest mutual information between token and position,
    ``H(mean over tokens) - mean over tokens of H``, over tokens that are not special.

    Parameters
    ----------
    layers : Tensor [L, T, P]
    tokens : tuple of TokenSpan
        T of them.
    """
    content = [token.index for token in tokens if not token.special]
    rows = layers[:, content] if len(content) > 1 else layers
    shares = rows / rows.sum(-1, keepdim=True).clamp(min=torch.finfo(rows.dtype).tiny)
    information = _entropy(shares.mean(1)) - _entropy(shares).mean(1)  # [L]
    return int(information.nan_to_num().argmax())


def _entropy(shares: Tensor) -> Tensor:
    entropy: Tensor = torch.special.entr(shares).sum(-1)
    return entropy


def _caveat(question: Question, layer: int | None, *, shared: bool) -> str:
    if shared:
        return (
            f"The {question.point.label} never reads the text: this map is the same for every word. "
            "Use gradient x attention to see what a word depends on."
        )
    if layer is not None and layer == question.point.guided_layer:
        return (
            "This layer was trained with boxes to look at what a word names; the other layers were not. "
            "Attention is where it looked, not what the token depended on."
        )
    return (
        "Attention is where the layer looked, not what the token depended on; borders and a few strong "
        "positions often collect weight that means nothing."
    )


METHODS.add(RawAttention.key)(RawAttention())
