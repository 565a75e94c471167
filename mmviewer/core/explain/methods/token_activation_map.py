"""Token activation map (Li et al., 2025): what the tokens of the picture would say, cleaned of context."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional

from mmviewer.core.errors import UnsupportedError
from mmviewer.core.explain.base import METHODS, Cost, Method, Question, Relevance
from mmviewer.core.explain.scores import Difference, LogProbabilities, Score
from mmviewer.core.media.geometry import ImageGeometry
from mmviewer.core.models.base import LoadedModel
from mmviewer.core.models.device import memory_errors
from mmviewer.core.types import CapturePoint, MapKind, PointRole, SequenceKind

_WINDOW = 3
_VOCABULARY = 152_000
"""Words of the largest vocabulary in use; what a model has is known only after its forward."""


class TokenActivationMap(Method):
    """Logits of the picture's tokens for the id in question, less what earlier words account for.

    With z[p, c] the logit at position p of the sequence for id c, and (.)+ clipped below 0:

    - A_i = z[picture, c_i]+, the activation of the picture for token i;
    - B_i = sum_j w_ij A_j / sum_j w_ij over the words j before i that are not the same word, with
      w_ij = z[j, c_i]+: the maps of earlier words, as far as these activate token i themselves;
    - M_i = (A_i - s_i B_i)+ with s_i = <A_i, B_i> / <B_i, B_i>, the least-squares fit of the blend;
    - the map is M_i filtered in windows of 3 x 3: sorted values weighted by a Gaussian around the median
      rank, as wide as the window's coefficient of variation.

    All comes from one teacher-forced forward, without gradients.
    """

    key = "token_activation_map"
    label = "Token activation map"
    explanation = (
        "How strongly each part of the picture itself calls for the word, less what earlier words explain."
    )
    kind = MapKind.ATTRIBUTION
    picks_layer = False
    picks_heads = False

    def points(self, model: LoadedModel, kind: SequenceKind) -> tuple[CapturePoint, ...]:
        """The joint sequence of a decoder whose picture tokens have logits of their own."""
        joint = model.point(PointRole.JOINT)
        return () if kind == "query" or joint is None or not model.reads_picture_tokens else (joint,)

    def cost(self, question: Question) -> Cost:
        """Logits of the whole sequence; one forward."""
        rows = len(question.sequence.prompt_ids) + len(question.sequence.tokens)
        return Cost(2 * 4 * rows * _VOCABULARY, 1)

    def relevance(self, question: Question) -> Relevance:
        """One forward over picture and text; everything else is sums of its logits."""
        objective, model = question.objective(), question.model
        sequence = question.sequence
        ids = [*sequence.prompt_ids, *(token.id for token in sequence.tokens)]
        with torch.no_grad(), memory_errors(model.placement.device, self.label):
            logits = model.sequence_logits(question.prepared, ids[:-1])  # [T, V]
        question.progress.check()
        wanted = _wanted(objective.score, len(sequence.prompt_ids))
        aims = sorted({aim for each in wanted for aim in each}, key=lambda aim: aim.place)
        maps = dict(zip(aims, _cleaned(question, logits, ids, aims), strict=True))
        rows = torch.stack([torch.stack([maps[aim] for aim in each]).mean(0) for each in wanted])
        values, whole = objective.spread(_filtered(question, rows).cpu(), len(sequence.tokens))
        return Relevance(
            values=values,
            whole=whole,
            spec=question.spec,
            description="token activation map · logits of the picture's tokens · earlier words subtracted",
            score=objective.words,
            caveat=(
                "It reads what each part of the picture would say next, which is not all that the word "
                "depended on; a word that an earlier one called for may be left with little."
            ),
        )


@dataclass(frozen=True, slots=True)
class _Aim:
    """A token at a place of the sequence, and the one whose logit is subtracted (-1 for none)."""

    place: int
    token: int
    less: int = -1


def _wanted(score: Score, start: int) -> list[list[_Aim]]:
    """For each score the tokens that it asks for; `start` is the place of the text's first token."""
    if isinstance(score, LogProbabilities):
        return [[_Aim(start + step, score.ids[step]) for step in steps] for steps in score.steps]
    if isinstance(score, Difference) and isinstance(score.of, LogProbabilities):
        other = score.less
        if isinstance(other, LogProbabilities) and other.steps == score.of.steps:
            return [
                [_Aim(start + step, score.of.ids[step], other.ids[step]) for step in steps]
                for steps in score.of.steps
            ]
    raise UnsupportedError(
        "A token activation map can set a token only against another at the same step; choose the runner-up "
        "or another method."
    )


def _cleaned(question: Question, logits: Tensor, ids: Sequence[int], aims: Sequence[_Aim]) -> Tensor:
    """Activations of the picture for each aim less those of earlier words, [n, P]."""
    behind = _behind_picture(question, len(ids) - 1)
    words = list(range(behind, len(ids) - 1))  # places of words that something can follow
    tokens = torch.tensor([ids[place] for place in words], device=logits.device)  # [w]
    context = _on_picture(question, logits[:, tokens].T.clamp(min=0))  # [w, P], A_j
    called = torch.stack([_logit(logits, aim) for aim in aims])  # [n, T]
    own = _on_picture(question, called.clamp(min=0))  # [n, P], A_i
    earlier = torch.tensor(
        [[place < aim.place and ids[place] != aim.token for place in words] for aim in aims],
        device=logits.device,
    )  # [n, w]
    weights = called[:, behind : len(ids) - 1].clamp(min=0) * earlier.reshape(len(aims), len(words))
    blend = weights @ context / weights.sum(-1, keepdim=True).clamp(min=torch.finfo(weights.dtype).tiny)
    power = (blend * blend).sum(-1, keepdim=True)  # [n, 1]
    fit = torch.where(power > 0, (own * blend).sum(-1, keepdim=True) / power, torch.zeros_like(power))
    return (own - fit * blend).clamp(min=0)


def _logit(logits: Tensor, aim: _Aim) -> Tensor:
    """What each place of the sequence says for an aim, [T]."""
    own = logits[:, aim.token]
    return own if aim.less < 0 else own - logits[:, aim.less]


def _behind_picture(question: Question, length: int) -> int:
    """The first of the `length` places of the sequence from which on there is text only."""
    reached = _on_picture(question, torch.eye(length)).sum(-1)  # [T]
    return int(reached.nonzero().max()) + 1


def _on_picture(question: Question, rows: Tensor) -> Tensor:
    """Carry values at the places of the sequence [n, T] to positions of the picture [n, P]."""
    point = question.point
    carried = question.model.position_weights(point, {point.name: [rows[None, None]]}, question.prepared)
    return carried[0, 0]


def _filtered(question: Question, rows: Tensor) -> Tensor:
    geometry = question.prepared.geometry
    assert isinstance(geometry, ImageGeometry)
    return rank_gaussian(rows.reshape(len(rows), *geometry.grid)).flatten(1)


def rank_gaussian(maps: Tensor) -> Tensor:
    """Filter maps [n, R, C] without negative values by rank in windows of 3 x 3, reflected at the borders.

    The nine values are sorted, and weighted by ``exp(-(rank - 4)**2 / (2 v**2))`` with v their standard
    deviation over their mean: the median where they differ little, towards the mean where they differ much.
    """
    edge = _WINDOW // 2
    mode = "reflect" if min(maps.shape[1:]) > edge else "replicate"
    padded = functional.pad(maps.float()[:, None], (edge,) * 4, mode=mode)
    windows = functional.unfold(padded, _WINDOW).sort(dim=1).values  # [n, 9, P]
    mean, deviation = windows.mean(1), windows.std(1, correction=0)
    variation = deviation / mean.clamp(min=torch.finfo(mean.dtype).tiny)
    ranks = torch.arange(_WINDOW**2, device=maps.device) - _WINDOW**2 // 2
    width = variation.clamp(min=1e-3)[:, None]  # at the limit only the median is left
    weights = torch.exp(-(ranks[None, :, None] ** 2) / (2 * width**2))
    filtered = (windows * weights).sum(1) / weights.sum(1)
    return filtered.reshape(maps.shape)


METHODS.add(TokenActivationMap.key)(TokenActivationMap())
