"""Feature ablation: what the score loses without each part of the input, one part at a time."""

from __future__ import annotations

import torch
from torch import Tensor

from mmviewer.core.cautions import HIDDEN
from mmviewer.core.explain.base import METHODS, Cost, Method, Question, Relevance
from mmviewer.core.explain.perturb import (
    INPUT,
    Masking,
    affordable,
    batch_size,
    blocks_of,
    can_score,
    item_bytes,
    removal_words,
)
from mmviewer.core.models.base import LoadedModel
from mmviewer.core.types import CapturePoint, MapKind, SequenceKind


class FeatureAblation(Method):
    """Score of the whole input minus its score without one position, for each position, through Captum."""

    key = "feature_ablation"
    label = "Feature ablation"
    explanation = "What the score loses when a single patch or moment is taken out, one after the other."
    kind = MapKind.ATTRIBUTION
    signed = True
    picks_layer = False
    picks_heads = False

    def points(self, model: LoadedModel, kind: SequenceKind) -> tuple[CapturePoint, ...]:
        """The input itself, wherever the model gives a score."""
        return (INPUT,) if can_score(model, kind) else ()

    def cost(self, question: Question) -> Cost:
        """One forward per part, and one of the whole input."""
        blocks = blocks_of(question.prepared.geometry, affordable(question))
        note = ""
        if blocks.side > 1:
            note = f"To save time, {blocks.side} neighbouring positions of each axis were hidden as one."
        return Cost(batch_size(question) * item_bytes(question), blocks.count + 1, note)

    def relevance(self, question: Question) -> Relevance:
        """Take out each part."""
        from captum.attr import FeatureAblation as CaptumAblation  # takes a second to import

        objective = question.objective()
        blocks = blocks_of(question.prepared.geometry, affordable(question))
        masking = Masking(question, objective, blocks.count + 1)

        def score(keep: Tensor) -> Tensor:
            return masking.scores(blocks.keep(keep))  # [B, N]

        lost: Tensor = CaptumAblation(score).attribute(
            torch.ones(1, blocks.count), baselines=0.0, perturbations_per_eval=batch_size(question)
        )  # [N, M]
        values, whole = objective.spread(blocks.spread(lost), len(question.sequence.tokens))
        hidden = removal_words(question.spec.removal, question.prepared.modality)
        return Relevance(
            values=values,
            whole=whole,
            spec=question.spec,
            description=f"feature ablation · each of {blocks.count} parts replaced by {hidden}",
            score=objective.words,
            caveat=(
                "A thing that covers several parts loses little with one of them: small values do not mean "
                "that it does not count. Occlusion hides more at once."
            ),
            cautions=(HIDDEN,),
        )


METHODS.add(FeatureAblation.key)(FeatureAblation())
