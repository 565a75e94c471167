"""Which of a gallery is nearest: pictures, texts and sounds asked for each other."""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from dataclasses import dataclass

import torch


@dataclass(frozen=True, slots=True)
class Retrieval:
    """How often something that belongs to a query is the nearest, or among the five nearest.

    ``*_chance`` is what a gallery in random order reaches.
    """

    queries: int
    gallery: int
    r1: float
    r5: float
    r1_chance: float
    r5_chance: float


def retrieval(
    queries: torch.Tensor,
    gallery: torch.Tensor,
    of_query: Sequence[Hashable],
    of_gallery: Sequence[Hashable],
) -> Retrieval:
    """Rank the gallery for every query by cosine.

    Parameters
    ----------
    queries, gallery
        Unit vectors [Q, D] and [G, D].
    of_query, of_gallery
        What each is of; equal ones belong together.
    """
    order = (queries @ gallery.T).argsort(1, descending=True)
    belongs = torch.tensor([[a == b for b in of_gallery] for a in of_query])
    hits = belongs.gather(1, order)  # [Q, G], nearest first
    right = belongs.sum(1).tolist()
    size = len(of_gallery)
    return Retrieval(
        len(of_query),
        size,
        float(hits[:, :1].any(1).float().mean()),
        float(hits[:, :5].any(1).float().mean()),
        sum(_by_chance(size, count, 1) for count in right) / len(right),
        sum(_by_chance(size, count, 5) for count in right) / len(right),
    )


def _by_chance(size: int, right: int, drawn: int) -> float:
    """Probability that one of `drawn` things of a gallery is among the `right` ones."""
    none = 1.0
    for i in range(min(drawn, size)):
        none *= max(0, size - right - i) / (size - i)
    return 1 - none
