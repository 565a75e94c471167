"""Scores as differentiable functions of what one forward gives."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from mmviewer.core.errors import InputError


class Score(ABC):
    """N scores [..., N] of unit embeddings [..., D], or of logits [..., T, V]: row t predicts token t."""

    @property
    @abstractmethod
    def count(self) -> int:
        """N."""

    @abstractmethod
    def __call__(self, output: Tensor) -> Tensor:
        """Return the scores [..., N]."""

    @abstractmethod
    def only(self, index: int) -> Score:
        """One of the scores by itself, which costs no more than it needs."""


@dataclass(frozen=True, slots=True, eq=False)
class Similarities(Score):
    """Products of the input's embedding with `directions` [N, D]; with unit ones, cosine similarities."""

    directions: Tensor

    @property
    def count(self) -> int:
        """How many texts there are."""
        return len(self.directions)

    def __call__(self, output: Tensor) -> Tensor:
        """Return the products [..., N]."""
        return output @ self.directions.to(output.dtype).T

    def only(self, index: int) -> Score:
        """The product with one direction."""
        return Similarities(self.directions[index : index + 1])


@dataclass(frozen=True, slots=True, eq=False)
class ClassProbability(Score):
    """Log-probability of the class at `place` under a softmax over `classes` [M, D].

    `logits` turns cosine similarities [..., M] into logits as the model was trained.
    """

    classes: Tensor
    place: int
    logits: Callable[[Tensor], Tensor]

    @property
    def count(self) -> int:
        """One."""
        return 1

    def __call__(self, output: Tensor) -> Tensor:
        """Return the log-probability [..., 1]."""
        logits = self.logits(output @ self.classes.to(output.dtype).T)  # [..., M]
        return logits.float().log_softmax(-1)[..., self.place : self.place + 1]

    def only(self, index: int) -> Score:
        """Itself."""
        return self


@dataclass(frozen=True, slots=True, eq=False)
class LogProbabilities(Score):
    """Log-probability of ``ids[t]`` at step t, summed over the steps of each score."""

    steps: tuple[tuple[int, ...], ...]
    ids: tuple[int, ...]

    @property
    def count(self) -> int:
        """How many sums there are."""
        return len(self.steps)

    def __call__(self, output: Tensor) -> Tensor:
        """Return the sums [..., N]; only the rows of steps that count are looked at."""
        vocabulary = output.shape[-1]
        wrong = next((token for token in self.ids if not 0 <= token < vocabulary), None)
        if wrong is not None:
            raise InputError(
                f"There is no token {wrong}; the vocabulary has the tokens 0 to {vocabulary - 1}."
            )
        rows = sorted({step for each in self.steps for step in each})
        tokens = torch.tensor([self.ids[row] for row in rows], device=output.device)
        read = output[..., rows, :].float()  # [..., R, V]
        chosen = read.gather(-1, tokens.expand(read.shape[:-1])[..., None])[..., 0] - read.logsumexp(-1)
        places = [[rows.index(step) for step in each] for each in self.steps]
        return torch.stack([chosen[..., each].sum(-1) for each in places], -1)

    def only(self, index: int) -> Score:
        """One of the sums."""
        return LogProbabilities(self.steps[index : index + 1], self.ids)


@dataclass(frozen=True, slots=True, eq=False)
class Difference(Score):
    """One score minus another: "cat, not dog"; the other may be one for all."""

    of: Score
    less: Score

    @property
    def count(self) -> int:
        """How many differences there are."""
        return self.of.count

    def __call__(self, output: Tensor) -> Tensor:
        """Return the differences [..., N]."""
        return self.of(output) - self.less(output)

    def only(self, index: int) -> Score:
        """One of the differences."""
        less = self.less if self.less.count == 1 else self.less.only(index)
        return Difference(self.of.only(index), less)
