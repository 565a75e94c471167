"""Pairs of regions and words: second-order interactions from masked forwards."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

from mmviewer.core.cautions import Caution
from mmviewer.core.errors import InputError
from mmviewer.core.explain.base import METHODS, Cost, Method, Question, Relevance
from mmviewer.core.explain.objective import Objective, text_vectors
from mmviewer.core.explain.perturb import (
    INPUT,
    Blocks,
    Masking,
    affordable,
    batch_size,
    blocks_of,
    can_score,
    item_bytes,
    removal_words,
)
from mmviewer.core.explain.scores import Similarities
from mmviewer.core.models.base import LoadedModel
from mmviewer.core.targets import EACH_PAIR_OR_WHOLE, SimilarityTarget
from mmviewer.core.tasks.query import query_sequence
from mmviewer.core.types import CapturePoint, MapKind, SequenceKind

_REGIONS = 64
_TEXT_MASKS = 64
_MASKS_PER_REGION = 4
_SEED = 0
_GOOD_FIT = 0.7
"""Share of the variance that pairs should explain."""


class SecondOrder(Method):
    """Least-squares interactions b_ij of region i and word j in the similarity of the masked pair.

    Regions of the input and words of the text are kept or taken out at random (one half, fixed seed, each
    mask together with its opposite). To the similarities of all masked inputs with all masked texts the model

        s(x, y) = b_00 + sum_i b_i0 x_i + sum_j b_0j y_j + sum_ij b_ij x_i y_j

    is fitted; since every input meets every text, this costs a forward per mask, not per pair, and the fit is
    exact by two small least squares. The map of word j is b_ij: what the region adds because the word is
    there, averaged over the presence of all others. The kind of FIxLIP (Baniecki et al., NeurIPS 2025) with
    Banzhaf weights.
    """

    key = "second_order"
    label = "Regions x words"
    explanation = "Which regions belong to which word, from how hiding both together changes the similarity."
    kind = MapKind.ATTRIBUTION
    signed = True
    picks_layer = False
    picks_heads = False

    def points(self, model: LoadedModel, kind: SequenceKind) -> tuple[CapturePoint, ...]:
        """The input, for texts that can be compared with it."""
        return (INPUT,) if kind == "query" and can_score(model, kind) else ()

    def cost(self, question: Question) -> Cost:
        """A forward of the encoder for each mask."""
        blocks, masks = _plan(question)
        note = ""
        if blocks.side > 1:
            note = f"Regions are squares of {blocks.side} positions on each axis."
        return Cost(batch_size(question) * item_bytes(question), masks, note)

    def relevance(self, question: Question) -> Relevance:
        """Mask, compare and fit."""
        words = _words(question)
        blocks, count = _plan(question)
        regions = random_masks(count, blocks.count)  # [m, M]
        present = text_masks(len(words))  # [t, W]
        texts = [" ".join(word for word, on in zip(words, row, strict=True) if on) for row in present]
        vectors = text_vectors(question.model, texts)  # [t, D]
        objective = Objective(Similarities(vectors), "", "one")
        scores = Masking(question, objective, count).scores(blocks.keep(regions))  # [m, t]
        fit = fitted(regions, present, scores)
        pairs = fit.coefficients[1:, 1:].T.float()  # [W, M]
        whole = fit.coefficients[1:, 0] + fit.coefficients[1:, 1:].sum(1)  # with all words there, [M]
        values, all_words = blocks.spread(pairs), blocks.spread(whole[None].float())[0]
        hidden = removal_words(question.spec.removal, question.prepared.modality)
        return Relevance(
            values=values if question.spec.target is None else all_words[None],
            whole=all_words,
            spec=question.spec,
            description=(
                f"regions x words · {blocks.count} regions, {len(words)} words · {count} x {len(present)} "
                f"masks, replaced by {hidden}"
            ),
            score=EACH_PAIR_OR_WHOLE,
            caveat=(
                f"The pairs explain {100 * fit.share:.0f} % of how the similarity varies under the masks; "
                "what three or more parts do together is spread over them."
            ),
            cautions=tuple(_cautions(fit)),
            extra={
                "pairs": pairs.T.numpy(),
                "regions": blocks.of.float().numpy(),
                "regions alone": fit.coefficients[1:, 0].float().numpy(),
                "words alone": fit.coefficients[0, 1:].float().numpy(),
            },
        )


def _cautions(fit: Fit) -> Iterator[Caution]:
    if fit.share < _GOOD_FIT:
        words = f"Pairs explain only {100 * fit.share:.0f} % of how the similarity varies."
        yield Caution(words, "method-second_order")


@dataclass(frozen=True, slots=True, eq=False)
class Fit:
    """`coefficients` [1 + M, 1 + W] of regions by words, and the share of variance that they explain."""

    coefficients: Tensor
    share: float


def fitted(regions: Tensor, words: Tensor, scores: Tensor) -> Fit:
    """Least squares over all pairs of region masks [m, M] and word masks [t, W], scores [m, t].

    The design of all pairs is a Kronecker product, so its least squares are those of its factors.
    """
    left, right = (torch.cat((torch.ones(len(each), 1), each), 1).double() for each in (regions, words))
    scores = scores.double()
    half = torch.linalg.lstsq(left, scores, driver="gelsd").solution  # [1 + M, t]
    coefficients = torch.linalg.lstsq(right, half.T, driver="gelsd").solution.T
    error = scores - left @ coefficients @ right.T
    spread = (scores - scores.mean()).square().sum()
    share = 1 - float(error.square().sum() / spread) if spread > 0 else 1.0
    return Fit(coefficients, share)


def random_masks(count: int, size: int) -> Tensor:
    """Masks [count, size] of zeros and ones: all, none, then random ones each with its opposite."""
    generator = torch.Generator().manual_seed(_SEED)
    half = torch.randint(0, 2, (max(count // 2 - 1, 0), size), generator=generator).float()
    whole = torch.ones(1, size)
    return torch.cat((whole, 1 - whole, half, 1 - half))[:count]


def text_masks(words: int) -> Tensor:
    """All masks of a few words, else random ones and those that lack one word."""
    if 2**words <= _TEXT_MASKS:
        numbers = torch.arange(2**words)
        return ((numbers[:, None] >> torch.arange(words)) & 1).float()
    return torch.cat((1 - torch.eye(words), random_masks(max(_TEXT_MASKS, 2 * words), words)))


def _words(question: Question) -> list[str]:
    target = question.spec.target
    if question.spec.contrast is not None or not (target is None or isinstance(target, SimilarityTarget)):
        raise InputError(
            "Pairs of regions and words explain the similarity with a whole text; choose no other target and "
            "no contrast."
        )
    sequence = question.sequence
    if target is not None:
        sequence = query_sequence(question.model, sequence.media_id, target.text)
    return [token.text.strip() for token in sequence.tokens]


def _plan(question: Question) -> tuple[Blocks, int]:
    """Regions, and how many masks of them: several for each region, as many as are affordable."""
    most = min(_REGIONS, affordable(question) // 4)
    blocks = blocks_of(question.prepared.geometry, most)
    masks = min(max(_MASKS_PER_REGION * (blocks.count + 1), 32), affordable(question))
    return blocks, 2 * (masks // 2)


METHODS.add(SecondOrder.key)(SecondOrder())
