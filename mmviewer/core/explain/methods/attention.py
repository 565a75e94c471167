"""Raw attention: the weights after the softmax, as the model computed them."""

from __future__ import annotations

from mmviewer.core.explain.base import (
    METHODS,
    Method,
    Question,
    Relevance,
    choose_head,
    head_words,
    layer_words,
    reads_text,
)
from mmviewer.core.explain.forward import chain_of, position_rows, row_words
from mmviewer.core.models.base import LoadedModel
from mmviewer.core.types import CapturePoint, MapKind, PointRole, SequenceKind


class RawAttention(Method):
    """Weights A[l, h, q, k] of one layer (else the mean over all) and one head (else mean or maximum)."""

    key = "attention"
    label = "Raw attention"
    explanation = "How a layer and its heads distributed their weight over the input, exactly as computed."
    kind = MapKind.ATTENTION

    def points(self, model: LoadedModel, kind: SequenceKind) -> tuple[CapturePoint, ...]:
        """Cross-attention first for a generated text; for a query pooling, then the encoder."""
        chain = chain_of(model, kind)
        usable = (chain.cross, model.point(PointRole.POOL), chain.encoder)
        if kind != "query" and chain.cross is None:
            return ()
        return tuple(point for point in usable if point is not None)

    def relevance(self, question: Question) -> Relevance:
        """Pick layer and heads from the recorded weights; no forward when they are kept in the store."""
        point, spec, sequence = question.point, question.spec, question.sequence
        rows = position_rows(
            question.model, question.prepared, sequence, point, question.store
        )  # [L, H, T|1, P]
        layers = rows if spec.layer is None else rows[spec.layer : spec.layer + 1]
        values = choose_head(layers, spec.head).mean(0)  # [T|1, P]
        parts = (
            "attention",
            point.label,
            layer_words(point, spec),
            head_words(point, spec.head),
            row_words(point),
        )
        shared = not reads_text(point)
        return Relevance(
            values=values.expand(len(sequence.tokens), -1) if shared else values,
            spec=spec,
            description=" · ".join(parts),
            caveat=_caveat(question, shared=shared),
            whole=values[0] if shared else None,
        )


def _caveat(question: Question, *, shared: bool) -> str:
    if shared:
        return (
            f"The {question.point.label} never reads the text: this map is the same for every word. "
            "Use gradient x attention to see what a word depends on."
        )
    return (
        "Attention is where the layer looked, not what the token depended on; borders and a few strong "
        "positions often collect weight that means nothing."
    )


METHODS.add(RawAttention.key)(RawAttention())
