"""How far a map can be believed: measured on the very input that it explains.

Deletion and insertion (Petsiuk, Das and Saenko 2018) take away or give back the positions that a map ranks
first and watch the score; the same for random orders is the baseline. The check with randomised weights
(Adebayo et al. 2018) asks whether a map would look the same if the model knew nothing. What needs no model,
such as pointing into boxes and agreement between maps, is in `mmviewer.core.explain.measures`.
"""

from __future__ import annotations

import copy
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from mmviewer.core.errors import InputError, UnsupportedError
from mmviewer.core.explain.base import Question, explain
from mmviewer.core.explain.forward import MapStore, store_key
from mmviewer.core.explain.measures import Curves, RandomisedCheck, Scale, agreement
from mmviewer.core.explain.objective import Objective, as_query
from mmviewer.core.explain.perturb import INPUT, Masking
from mmviewer.core.explain.scores import ClassProbability, LogProbabilities, Similarities
from mmviewer.core.explain.selection import content, show
from mmviewer.core.media.geometry import ImageGeometry
from mmviewer.core.models.base import LoadedModel, Prepared
from mmviewer.core.models.device import ensure_fits
from mmviewer.core.progress import SILENT, Progress
from mmviewer.core.targets import Removal, SequenceTarget, score_of_shown
from mmviewer.core.types import FloatArray, Geometry, TokenMaps, TokenSequence

_SEED = 0
STEPS = 50
RANDOM_MAPS = 5


def curves(
    model: LoadedModel,
    prepared: Prepared,
    sequence: TokenSequence,
    maps: TokenMaps,
    tokens: tuple[int, ...] = (),
    *,
    removal: Removal | None = None,
    steps: int = STEPS,
    random_maps: int = RANDOM_MAPS,
    patience: float | None = None,
    progress: Progress = SILENT,
    store: MapStore | None = None,
) -> Curves:
    """Deletion and insertion curves of one map, with the mean of random orders beside them.

    Parameters
    ----------
    maps : TokenMaps
        Of `sequence`. Their target and contrast are what is scored; without a target, the tokens shown.
    tokens : tuple of int
        Whose mean map it is; by default the map of the whole text, else the mean over its content.
    removal : {"mean", "blur", "noise"}, optional
        What stands in for positions that are taken away; by default that of the maps.
    steps : int
        Into how many steps the positions are cut; at most one position per step.
    random_maps : int
        Orders of the baseline, with a fixed seed.
    patience : float, optional
        Seconds that one batch may take, where others wait for the model.
    progress : Progress
    store : MapStore, optional
        Keeps the scores of the random orders, which are the same for every map of a text.

    Raises
    ------
    InputError
        The map is of another item, a token does not exist, or there are no steps.
    UnsupportedError
        Parts of the input cannot be hidden for this model.
    """
    if steps < 1 or random_maps < 1:
        raise InputError("Curves need at least one step and one random order; choose larger numbers.")
    if maps.media_id != prepared.media_id or maps.tokens != sequence.tokens:
        raise InputError("The map belongs to another item or text; compute it again for this one.")
    grid = show(maps, tokens).grid
    question = _question(model, prepared, sequence, maps, removal, progress)
    scored = _scored(question, tokens)
    ranked = _on_positions(grid, prepared.geometry)  # [P]
    plan = _Plan(_hideable(prepared.geometry), len(ranked), steps)
    masking = _Masks(question, scored, plan, random_maps, patience, store)
    own = ranked[plan.heard].argsort(descending=True, stable=True)
    deletion, insertion, random = masking.measured(own)
    return Curves(
        shares=plan.shares,
        deletion=deletion,
        insertion=insertion,
        random_deletion=random.mean(0),
        # given back in the opposite order, an input goes through the same masks the other way
        random_insertion=random.mean(0)[::-1].copy(),
        random_areas=np.asarray(np.trapezoid(random, plan.shares, axis=1), np.float32),
        score=scored.told_words,
        scale=scored.scale,
        removal=question.spec.removal,
    )


def randomised_check(
    model: LoadedModel,
    prepared: Prepared,
    sequence: TokenSequence,
    maps: TokenMaps,
    tokens: tuple[int, ...] = (),
    *,
    seeds: Sequence[int] = (0, 1),
    progress: Progress = SILENT,
) -> RandomisedCheck:
    """Compute the same map with randomised weights and compare ranks.

    All weight matrices are shuffled within themselves, which keeps their distribution and norms. The model
    itself is not touched.

    Raises `UnsupportedError` for a model that cannot be copied, and the errors of `explain`.
    """
    found = []
    for index, seed in enumerate(seeds):
        progress.report(index, len(seeds), "randomising weights")
        found.append(survival(randomised(model, seed), prepared, sequence, maps, tokens, progress))
    return RandomisedCheck(tuple(found))


def survival(
    other: LoadedModel,
    prepared: Prepared,
    sequence: TokenSequence,
    maps: TokenMaps,
    tokens: tuple[int, ...] = (),
    progress: Progress = SILENT,
) -> float:
    """Rank correlation of a map with the same map by a randomised model; 0 where nothing is left of it."""
    # a fresh item, for a model remembers by items what it computed with its own weights
    own = sequence if sequence.kind == "query" else replace(sequence, model_id=other.info.id)
    try:
        values = explain(other, replace(prepared), own, maps.spec, progress)
    except UnsupportedError:
        return 0.0
    return float(agreement([show(maps, tokens).grid, show(values, tokens).grid])[0, 1])


def randomised(model: LoadedModel, seed: int = 0) -> LoadedModel:
    """Return a copy of a model in which every weight matrix is shuffled within itself."""
    ensure_fits(model.info.memory_bytes, model.placement.device, "A copy of the model with other weights")
    other = copy.deepcopy(model)
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in other.module.parameters():
            if parameter.dim() > 1:
                order = torch.randperm(parameter.numel(), generator=generator).to(parameter.device)
                parameter.copy_(parameter.flatten()[order].view_as(parameter))
    name = f"randomised {seed}"
    other.info = replace(model.info, id=f"{model.info.id} {name}", weights_hash=name)
    return other


@dataclass(frozen=True, slots=True, eq=False)
class _Scored:
    """Which of an objective's scores a map is judged by, and in what they are told."""

    objective: Objective
    columns: tuple[int, ...]
    summed: int
    words: str

    @property
    def scale(self) -> Scale:
        if isinstance(self.objective.score, LogProbabilities | ClassProbability):
            return Scale.PROBABILITY
        return Scale.SIMILARITY if isinstance(self.objective.score, Similarities) else Scale.DIFFERENCE

    @property
    def told_words(self) -> str:
        """The score by its name, as it is told."""
        if self.scale is not Scale.PROBABILITY:
            return self.words
        several = self.summed > 1 or len(self.columns) > 1
        return self.words.replace("log-prob", "prob") + (", geometric mean per token" if several else "")

    def told(self, scores: Tensor) -> FloatArray:
        """Scores [M, N] as one number per mask, [M]."""
        mean = scores[:, list(self.columns)].mean(1) / self.summed
        told: FloatArray = (mean.exp() if self.scale is Scale.PROBABILITY else mean).numpy()
        return told


@dataclass(frozen=True, slots=True, eq=False)
class _Plan:
    """How many of the `heard` positions [M] out of P are taken away at each step."""

    heard: Tensor
    positions: int
    steps: int

    @property
    def counts(self) -> Tensor:
        """Positions taken away after each step, [S + 1]."""
        heard = len(self.heard)
        return torch.linspace(0, heard, min(self.steps, heard) + 1).round().long()

    @property
    def shares(self) -> FloatArray:
        """The same as shares of the input."""
        shares: FloatArray = (self.counts / len(self.heard)).numpy().astype(np.float32)
        return shares

    def taken(self, order: Tensor) -> Tensor:
        """Masks [S + 1, P] that hide the first so many positions of an order."""
        rank = torch.full((self.positions,), self.positions, dtype=torch.long)
        rank[self.heard[order]] = torch.arange(len(order))
        return (rank[None] >= self.counts[:, None]).float()

    def given(self, order: Tensor) -> Tensor:
        """Masks [S + 1, P] that show only the first so many positions of an order."""
        outside = torch.ones(self.positions).index_fill(0, self.heard, 0)
        return 1 - self.taken(order) + outside


@dataclass(frozen=True, slots=True, eq=False)
class _Masks:
    """Asks the model for each mask once."""

    question: Question
    scored: _Scored
    plan: _Plan
    random_maps: int
    patience: float | None
    store: MapStore | None

    def measured(self, order: Tensor) -> tuple[FloatArray, FloatArray, FloatArray]:
        """Deletion and insertion [S + 1] in `order`, and deletion in random orders [R, S + 1]."""
        plan, key = self.plan, self._key()
        kept = None if self.store is None else self.store.get(key)
        own = torch.cat((plan.taken(order), plan.given(order)))
        keep = own if kept is not None else torch.cat((own, self._random()))
        # the whole and the empty input are in every order: each mask is asked for once
        masks, places = torch.unique(keep, dim=0, return_inverse=True)
        masking = Masking(self.question, self.scored.objective, len(masks), self.patience)
        scores = masking.scores(masks)[places]
        if kept is not None:
            random = torch.from_numpy(np.array(kept[0]))
        else:
            random = scores[len(own) :]
            if self.store is not None:
                self.store.put(key, [random.numpy()])
        lost, given = self.scored.told(scores[: len(own)]).reshape(2, -1)
        return lost, given, self.scored.told(random).reshape(self.random_maps, -1)

    def _random(self) -> Tensor:
        generator = torch.Generator().manual_seed(_SEED)
        count = len(self.plan.heard)
        orders = [torch.randperm(count, generator=generator) for _ in range(self.random_maps)]
        return torch.cat([self.plan.taken(order) for order in orders])

    def _key(self) -> object:
        question, spec = self.question, self.question.spec
        what = ("random orders", spec.target, spec.contrast, spec.removal, self.plan.steps, self.random_maps)
        return store_key(what, question.model, question.prepared, question.sequence, INPUT)


def _question(
    model: LoadedModel,
    prepared: Prepared,
    sequence: TokenSequence,
    maps: TokenMaps,
    removal: Removal | None,
    progress: Progress,
) -> Question:
    """What the map explains; attention is judged by the score of its token or text."""
    target = maps.spec.target
    spec = replace(maps.spec, point=INPUT.name, layer=None, head="mean", removal=removal or maps.spec.removal)
    side = model.side(prepared.modality)
    return Question(side, prepared, as_query(sequence, target), INPUT, spec, progress)


def _scored(question: Question, tokens: tuple[int, ...]) -> _Scored:
    """Judge the map of a target by its score, one of tokens by theirs, and that of the text by the text's."""
    objective = question.objective()
    if objective.layout == "one":
        steps = objective.steps[0] if isinstance(objective.score, LogProbabilities) else (0,)
        return _Scored(objective, (0,), len(steps), objective.words)
    spans = question.sequence.tokens
    chosen = tokens or content(spans) or tuple(range(len(spans)))
    words = tuple(index + 1 for index in tokens) or (0,)  # the first score is that of the whole query
    columns = words if objective.layout == "words" else chosen
    return _Scored(objective, columns, 1, _words(question, objective, tokens))


def _words(question: Question, objective: Objective, tokens: tuple[int, ...]) -> str:
    """Name the score by the tokens that it is of."""
    if not tokens:
        whole = replace(question, spec=replace(question.spec, target=SequenceTarget()))
        return whole.objective().words
    named = [question.sequence.tokens[index].text for index in tokens]
    words = score_of_shown(objective.words, named)
    listed = ", ".join(f"“{name.strip()}”" for name in named)
    return words if len(named) == 1 else f"{words}, mean over {listed}"


def _on_positions(grid: FloatArray, geometry: Geometry) -> Tensor:
    """A map as ranks for the positions [P] of the input that is masked, which some methods see coarser."""
    values = torch.from_numpy(np.array(grid, np.float32))
    if isinstance(geometry, ImageGeometry):
        if tuple(values.shape) != tuple(geometry.grid):
            size = (geometry.grid[0], geometry.grid[1])
            values = functional.interpolate(values[None, None], size, mode="bilinear")[0, 0]
    elif len(values) != geometry.positions:
        values = functional.interpolate(values[None, None], geometry.positions, mode="linear")[0, 0]
    return values.flatten()


def _hideable(geometry: Geometry) -> Tensor:
    """Positions that are part of the input: not the padding of a sound."""
    if isinstance(geometry, ImageGeometry):
        return torch.arange(geometry.grid[0] * geometry.grid[1])
    return torch.arange(max(geometry.valid, 1))
