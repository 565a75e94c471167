"""Integrated gradients (Sundararajan, Taly and Yan, ICML 2017) of pixels or spectrogram frames."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from mmviewer.core.explain.base import METHODS, Cost, Method, Question, Relevance
from mmviewer.core.explain.objective import Objective
from mmviewer.core.explain.perturb import (
    INPUT,
    Canvas,
    affordable,
    batch_size,
    can_score,
    canvas_of,
    filling,
    item_bytes,
    output_of,
    removal_words,
)
from mmviewer.core.explain.scores import Score
from mmviewer.core.models.base import LoadedModel
from mmviewer.core.models.device import memory_errors
from mmviewer.core.types import Capability, CapturePoint, MapKind, SequenceKind

_STEPS, _FEWEST = 32, 8
_WORTH_SAYING = 0.02
"""Share of the score's change by which the values may miss it unsaid."""
_GRADIENT_SHARE = 4
"""Inputs of a forward without gradients that need the memory of one with them."""


class IntegratedGradients(Method):
    """Gradient of the score along the straight way from a baseline to the input, times their difference.

    The baseline is the input with everything removed. Values of the pixels or bands of a position are added,
    so that all positions add up to the score of the input minus that of the baseline, as far as the steps
    follow the way's curves; the result says where they do not. Through Captum, by Gauss-Legendre quadrature.
    """

    key = "integrated_gradients"
    label = "Integrated gradients"
    explanation = "How much each patch adds to the score on the way from an empty input to this one."
    kind = MapKind.ATTRIBUTION
    signed = True
    needs_gradient = True
    first_order = True
    picks_layer = False
    picks_heads = False

    def points(self, model: LoadedModel, kind: SequenceKind) -> tuple[CapturePoint, ...]:
        """The input, where the score can be differentiated by it: no feature extractor stands between."""
        through = not model.info.can(Capability.TRANSCRIBE)
        return (INPUT,) if through and can_score(model, kind) else ()

    def cost(self, question: Question) -> Cost:
        """Forwards and backwards along the way for each token or word, and a forward of both its ends."""
        steps = _steps(question)
        note = f"To save time, the way was taken in {steps} steps." if steps < _STEPS else ""
        return Cost(batch_size(question) * item_bytes(question), steps * question.scores + 2, note)

    def relevance(self, question: Question) -> Relevance:
        """Integrate for one score after the other."""
        from captum.attr import IntegratedGradients as CaptumGradients  # takes a second to import

        objective, steps = question.objective(), _steps(question)
        canvas = canvas_of(question.prepared)
        baseline = filling(canvas, question.spec.removal)
        rows = []
        with torch.enable_grad(), memory_errors(question.model.placement.device, self.label):
            for index in range(objective.count):
                question.progress.report(index, objective.count, "integrating gradients")
                one = _along(question, canvas, objective.score.only(index))
                found = CaptumGradients(one).attribute(
                    canvas.values,
                    baselines=baseline,
                    n_steps=steps,
                    internal_batch_size=max(batch_size(question) // _GRADIENT_SHARE, 1),
                )
                rows.append(_by_position(canvas, found.detach()))
        sums = torch.stack([row.sum() for row in rows])
        missed = _missed(question, canvas, baseline, objective, sums)
        values, whole = objective.spread(torch.stack(rows).cpu(), len(question.sequence.tokens))
        start = removal_words(question.spec.removal, question.prepared.modality)
        return Relevance(
            values=values,
            whole=whole,
            spec=question.spec,
            description=f"integrated gradients · {steps} steps from {start}",
            score=objective.words,
            caveat=(
                "The baseline decides what counts as nothing: what looks like it gets no value. Gradients of "
                f"the input are noisy; sums over a patch or moment keep the sign, not the detail.{missed}"
            ),
        )


def _along(question: Question, canvas: Canvas, score: Score) -> Callable[[Tensor], Tensor]:
    """One score [B] as a function of canvases [B, ...]; can be cancelled at each call."""

    def of(values: Tensor) -> Tensor:
        question.progress.check()
        return score(output_of(question, canvas.inputs(values)))[:, 0]

    return of


def _missed(question: Question, canvas: Canvas, baseline: Tensor, objective: Objective, sums: Tensor) -> str:
    """Say how far the sums [N] of the values are from the change of the scores, where it is worth saying."""
    ends = canvas.inputs(torch.cat((canvas.values, baseline)))
    with torch.no_grad():
        full, empty = objective.score(output_of(question, ends)).float()  # [N] each
    change = full - empty
    gap = float((sums.to(change) - change).abs().sum() / change.abs().sum().clamp(min=1e-12))
    if gap < _WORTH_SAYING:
        return ""
    return f" Taken in steps, the values add up to the score's change only within {100 * gap:.0f} % of it."


def _by_position(canvas: Canvas, values: Tensor) -> Tensor:
    """Sum values [1, C, ...] over channels and over the places of each position: [P]."""
    flat = values[0].float().sum(0).flatten()
    geometry = canvas.prepared.geometry
    count = geometry.positions if hasattr(geometry, "positions") else geometry.grid[0] * geometry.grid[1]
    return flat.new_zeros(count).index_add(0, canvas.positions.flatten(), flat)


def _steps(question: Question) -> int:
    """Fewer steps for large models: a backward takes about twice as long as a forward."""
    return max(min(affordable(question) // (3 * question.scores), _STEPS), _FEWEST)


METHODS.add(IntegratedGradients.key)(IntegratedGradients())
