"""Occlusion: what the score loses while a window slides over the input (Zeiler and Fergus, ECCV 2014)."""

from __future__ import annotations

from collections.abc import Sequence

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

_PARTS = 6
"""Windows that fit side by side along an axis."""


class Occlusion(Method):
    """Score of the whole input minus its score with a window hidden, averaged over the windows at a place.

    The window spans about a sixth of each axis, at least two positions, and moves by one position; all tokens
    are read from the same forwards. Captum moves the window and averages.
    """

    key = "occlusion"
    label = "Occlusion"
    explanation = "What the score loses when a window that slides over the input hides what is there."
    kind = MapKind.ATTRIBUTION
    signed = True
    picks_layer = False
    picks_heads = False

    def points(self, model: LoadedModel, kind: SequenceKind) -> tuple[CapturePoint, ...]:
        """The input itself, wherever the model gives a score."""
        return (INPUT,) if can_score(model, kind) else ()

    def cost(self, question: Question) -> Cost:
        """One forward per place of the window, and one of the whole input."""
        blocks = blocks_of(question.prepared.geometry, affordable(question))
        note = ""
        if blocks.side > 1:
            note = f"To save time, {blocks.side} neighbouring positions of each axis were hidden as one."
        forwards = 1
        for length, window in zip(blocks.shape, _window(blocks.shape), strict=True):
            forwards *= length - window + 1
        return Cost(batch_size(question) * item_bytes(question), forwards + 1, note)

    def relevance(self, question: Question) -> Relevance:
        """Slide the window."""
        from captum.attr import Occlusion as CaptumOcclusion  # takes a second to import

        objective = question.objective()
        blocks = blocks_of(question.prepared.geometry, affordable(question))
        masking = Masking(question, objective, self.cost(question).forwards)

        def score(keep: Tensor) -> Tensor:
            return masking.scores(blocks.keep(keep.flatten(1)))  # [B, N]

        lost: Tensor = CaptumOcclusion(score).attribute(
            torch.ones(1, *blocks.shape),
            sliding_window_shapes=_window(blocks.shape),
            baselines=0.0,
            perturbations_per_eval=batch_size(question),
        )  # [N, rows, columns] or [N, n]
        values, whole = objective.spread(blocks.spread(lost.flatten(1)), len(question.sequence.tokens))
        size = " x ".join(str(side * blocks.side) for side in _window(blocks.shape))
        hidden = removal_words(question.spec.removal, question.prepared.modality)
        return Relevance(
            values=values,
            whole=whole,
            spec=question.spec,
            description=f"occlusion · window of {size} positions replaced by {hidden}",
            score=objective.words,
            caveat=(
                "Hidden parts make inputs that the model was not trained on, and what is said twice in the "
                "input counts for nothing, for the other part stays."
            ),
            cautions=(HIDDEN,),
        )


def _window(shape: Sequence[int]) -> tuple[int, ...]:
    """Blocks that the window spans on each axis."""
    return tuple(min(length, max(2, round(length / _PARTS))) for length in shape)


METHODS.add(Occlusion.key)(Occlusion())
