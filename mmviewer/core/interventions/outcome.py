"""What an intervention changed: plain frozen values (NumPy only)."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

from mmviewer.core.interventions.recipe import Recipe
from mmviewer.core.types import Media, Scores, TokenMaps, TokenSequence

Unit = Literal["log-probability", "similarity"]


@dataclass(frozen=True, slots=True)
class TokenChange:
    """A token of the original text under both conditions.

    Parameters
    ----------
    index : int
        Its place in the original text.
    text : str
    before, after : float or None
        Natural logarithm of its probability, the text before it given; of a word of a query the cosine
        similarity of the item with it. None where it was given and not predicted; `after` also where the word
        itself was changed.
    after_index : int or None
        Its place in the changed text, or that of what stands there instead.
    special : bool
    """

    index: int
    text: str
    before: float | None = None
    after: float | None = None
    after_index: int | None = None
    special: bool = False

    @property
    def difference(self) -> float | None:
        """After minus before; None where one of them is not known."""
        return None if self.before is None or self.after is None else self.after - self.before

    @property
    def ratio(self) -> float | None:
        """By what the probability was multiplied; only for log-probabilities."""
        difference = self.difference
        return None if difference is None else math.exp(min(difference, 700.0))


@dataclass(frozen=True, slots=True, eq=False)
class WhatIf:
    """An item, a text and what became of them under a recipe; parts that are not there yet are None.

    Parameters
    ----------
    recipe : tuple of steps
    media : Media or None
        The changed item, reduced for display; None where the input stays as it is.
    before, after : TokenSequence or None
        What the model wrote about the item, and what it writes under the recipe; of a query the words.
    changes : tuple of TokenChange
        One for each token of `before`.
    unit : {"log-probability", "similarity"}
        Of `changes`.
    similarity : tuple of float or None
        Of the item with the whole query, before and after.
    scores_before, scores_after : Scores or None
        Of one item; labels in the same order, also where they were changed.
    maps_before, maps_after : TokenMaps or None
        Maps of the original text and of the changed one; `TokenChange.after_index` pairs their rows.
    notes : tuple of str
        What could not be had and why.
    """

    recipe: Recipe
    media_id: str
    model_id: str
    media: Media | None = None
    before: TokenSequence | None = None
    after: TokenSequence | None = None
    changes: tuple[TokenChange, ...] = ()
    unit: Unit = "log-probability"
    similarity: tuple[float, float] | None = None
    scores_before: Scores | None = None
    scores_after: Scores | None = None
    maps_before: TokenMaps | None = None
    maps_after: TokenMaps | None = None
    notes: tuple[str, ...] = ()

    @property
    def total(self) -> tuple[float, float] | None:
        """Sums of `before` and `after` over all tokens that have both; None where there is none."""
        pairs = [
            (change.before, change.after)
            for change in self.changes
            if change.before is not None and change.after is not None
        ]
        return (sum(pair[0] for pair in pairs), sum(pair[1] for pair in pairs)) if pairs else None
