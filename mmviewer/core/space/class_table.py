"""Classes of a collection's items: counts, thresholds, confusion with the truth.

NumPy only: the window uses it. An item has its likeliest class, if that reaches the class's threshold; see
`mmviewer.core.tasks.classify_collection` for where probabilities come from.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from mmviewer.core.errors import InputError
from mmviewer.core.types import FloatArray

Codes = NDArray[np.int32]
MOST_TRUTHS = 2_000
"""Classes that a column of truths may have; a table of more is no table."""


@dataclass(frozen=True, slots=True, eq=False)
class ClassTable:
    """The likeliest class of every item, by row.

    Parameters
    ----------
    labels : tuple of str
        M classes.
    winners : int32 array [N]
        Class of each item by place in `labels`; -1 where it has no vector.
    probabilities : float32 array [N]
        Of the winner, by the model's own rule (`activation`); NaN where it has no vector.
    margins : float32 array [N]
        By how much the winner's probability exceeds the second's: small where the model is unsure.
    thresholds : float32 array [M]
        Least probability for each class; 0 takes every winner.
    activation : str
        "softmax" or "sigmoid".
    templates : tuple of str
    space_id, model_id : str
    """

    labels: tuple[str, ...]
    winners: Codes
    probabilities: FloatArray
    margins: FloatArray
    thresholds: FloatArray
    activation: str
    templates: tuple[str, ...]
    space_id: str
    model_id: str = ""

    @property
    def codes(self) -> Codes:
        """Class of each item [N]; -1 where it has no vector, or its winner stays below its threshold."""
        has = self.winners >= 0
        needed = np.where(has, self.thresholds[np.where(has, self.winners, 0)], np.inf)
        with np.errstate(invalid="ignore"):
            return np.where(self.probabilities >= needed, self.winners, -1).astype(np.int32)

    @property
    def counts(self) -> NDArray[np.int64]:
        """Items of each class [M]."""
        codes = self.codes
        return np.bincount(codes[codes >= 0], minlength=len(self.labels))

    @property
    def below(self) -> NDArray[np.int64]:
        """Items that a class won below its threshold [M]."""
        won = np.bincount(self.winners[self.winners >= 0], minlength=len(self.labels))
        return won - self.counts

    def with_thresholds(self, thresholds: Mapping[str, float] | float) -> ClassTable:
        """The same with other thresholds, of all classes or of some by name.

        Raises
        ------
        InputError
            There is no such class, or a threshold is not between 0 and 1.
        """
        given = thresholds if isinstance(thresholds, Mapping) else dict.fromkeys(self.labels, thresholds)
        changed = self.thresholds.copy()
        for label, value in given.items():
            if label not in self.labels:
                raise InputError(f"There is no class “{label[:80]}”; choose one of those that were scored.")
            if not 0 <= value <= 1:
                raise InputError(f"The threshold of “{label}” is {value:g}; choose one from 0 to 1.")
            changed[self.labels.index(label)] = value
        return replace(self, thresholds=changed)


@dataclass(frozen=True, slots=True, eq=False)
class Confusion:
    """How often items of a true class were given which class.

    Parameters
    ----------
    truths : tuple of str
        T true classes.
    labels : tuple of str
        M classes that were given; the last column of `counts` is for items that got none.
    counts : int64 array [T, M + 1]
        Items with a truth and a vector.
    right : int
        Those whose class is called like their truth, whatever the case.
    """

    truths: tuple[str, ...]
    labels: tuple[str, ...]
    counts: NDArray[np.int64]
    right: int

    @property
    def total(self) -> int:
        """Items in the table."""
        return int(self.counts.sum())

    @property
    def accuracy(self) -> float:
        """Share of items that were given their true class; NaN without any."""
        return self.right / self.total if self.total else float("nan")

    @property
    def recall(self) -> FloatArray:
        """Share of each true class that was found [T]; NaN where its name is none of the labels."""
        return self._share(1)

    @property
    def precision(self) -> FloatArray:
        """For each true class, the share of items given its name that are of it [T]; NaN as in `recall`."""
        return self._share(0)

    def _share(self, axis: int) -> FloatArray:
        shares = np.full(len(self.truths), np.nan, np.float32)
        places = {label.casefold(): column for column, label in enumerate(self.labels)}
        for row, truth in enumerate(self.truths):
            column = places.get(truth.casefold())
            if column is not None:
                whole = self.counts[row].sum() if axis else self.counts[:, column].sum()
                shares[row] = self.counts[row, column] / whole if whole else np.nan
        return shares


def confusion(table: ClassTable, truth: Codes, names: Sequence[str]) -> Confusion:
    """Count classes against a column that holds the truth.

    Parameters
    ----------
    table : ClassTable
    truth : int32 array [N]
        True class by place in `names`, -1 where unknown; as `Catalogue.column` gives it.
    names : sequence of str

    Raises
    ------
    InputError
        The column is of another collection, or has too many classes for a table.
    """
    if len(truth) != len(table.winners):
        raise InputError("The column and the classes are of different states of the collection; score again.")
    if len(names) > MOST_TRUTHS:
        raise InputError(
            f"The column has {len(names):,} different values, more than the {MOST_TRUTHS:,} of a table; "
            "choose one that holds classes."
        )
    known = (truth >= 0) & (table.winners >= 0)
    codes = table.codes[known]
    width = len(table.labels) + 1
    flat = truth[known].astype(np.int64) * width + np.where(codes < 0, width - 1, codes)
    counts = np.bincount(flat, minlength=len(names) * width).reshape(len(names), width)
    places = {label.casefold(): column for column, label in enumerate(table.labels)}
    same = [(row, places[name.casefold()]) for row, name in enumerate(names) if name.casefold() in places]
    right = int(sum(counts[row, column] for row, column in same))
    return Confusion(tuple(names), table.labels, counts, right)
