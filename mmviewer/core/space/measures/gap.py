"""The modality gap: how far the kinds of items lie apart, and the space with it closed.

Liang et al. 2022, "Mind the gap" (distance of centroids); Shi et al. 2023, "Towards understanding the
modality gap in CLIP" (linear separability).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import combinations

import numpy as np
from numpy.typing import NDArray

from mmviewer.core.progress import SILENT, Progress
from mmviewer.core.space.unit_rows import CentredRows, UnitRows
from mmviewer.core.types import FloatArray

UNKNOWN_KIND = 255
_JUDGED = 2000  # rows of each kind that separability is measured on
_FOLDS = 5


@dataclass(frozen=True, slots=True)
class Gap:
    """How two kinds lie to each other.

    Parameters
    ----------
    first, second : int
        Codes of the kinds.
    distance : float
        Between the centroids of their unit vectors: 0 to 2.
    separability : float or None
        Accuracy by which a linear rule tells the two apart on items that it has not seen, both kinds counting
        alike: 0.5 not at all, 1 always. None where a kind has too few items.
    judged : int
        Items of each kind that it was measured on.
    """

    first: int
    second: int
    distance: float
    separability: float | None
    judged: int


def centres_of(
    rows: UnitRows, kinds: NDArray[np.uint8], progress: Progress = SILENT
) -> dict[int, FloatArray]:
    """Mean of the unit vectors of each known kind with items, summed in float64."""
    sums: dict[int, NDArray[np.float64]] = {}
    counts: dict[int, int] = {}
    for part, vectors in rows.blocks(None, progress, "Finding the centres of the kinds"):
        known = rows.usable[part]
        for kind in np.unique(kinds[part][known]):
            chosen = vectors[known & (kinds[part] == kind)]
            sums[int(kind)] = sums.get(int(kind), 0) + chosen.sum(axis=0, dtype=np.float64)
            counts[int(kind)] = counts.get(int(kind), 0) + len(chosen)
    return {
        kind: (total / counts[kind]).astype(np.float32)
        for kind, total in sorted(sums.items())
        if kind != UNKNOWN_KIND
    }


def closed(
    rows: UnitRows, kinds: NDArray[np.uint8], centres: Mapping[int, FloatArray] | None = None
) -> CentredRows:
    """The space with each kind centred on its own mean: the gap closed, and what is common to a kind gone."""
    return CentredRows(rows, kinds, centres_of(rows, kinds) if centres is None else centres)


def modality_gaps(
    rows: UnitRows,
    kinds: NDArray[np.uint8],
    progress: Progress = SILENT,
    seed: int = 0,
    centres: Mapping[int, FloatArray] | None = None,
) -> tuple[Gap, ...]:
    """Measure the gap between every two kinds that have items.

    Parameters
    ----------
    rows : UnitRows
    kinds : uint8 array [N]
        Code of each row's kind; 255 if unknown.
    progress : Progress
    seed : int
        Of the items that separability is measured on.
    centres : mapping, optional
        As `centres_of` gives them, if they are known already.
    """
    centres = centres_of(rows, kinds, progress) if centres is None else centres
    samples = {kind: rows.take(rows.sample(_JUDGED, seed, np.flatnonzero(kinds == kind))) for kind in centres}
    gaps = []
    for first, second in combinations(centres, 2):
        progress.report(0, None, "Telling the kinds apart")
        distance = float(np.linalg.norm(centres[first] - centres[second]))
        judged = min(len(samples[first]), len(samples[second]))
        accuracy = separability(samples[first], samples[second], seed) if judged >= _FOLDS else None
        gaps.append(Gap(first, second, distance, accuracy, judged))
    return tuple(gaps)


def separability(first: FloatArray, second: FloatArray, seed: int = 0) -> float:
    """Balanced accuracy of logistic regression on two sets of vectors, in five-fold cross-validation."""
    from sklearn.linear_model import LogisticRegression
    from sklearn.model_selection import StratifiedKFold, cross_val_predict

    vectors = np.concatenate([first, second])
    is_second = np.repeat([False, True], [len(first), len(second)])
    folds = StratifiedKFold(_FOLDS, shuffle=True, random_state=seed)
    rule = LogisticRegression(C=100.0, max_iter=1000, class_weight="balanced")
    said = cross_val_predict(rule, vectors, is_second, cv=folds)
    return float(np.mean([(said[is_second == side] == side).mean() for side in (False, True)]))
