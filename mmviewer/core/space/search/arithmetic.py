"""Queries made of others: "this photo + snow - dog"."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from mmviewer.core.errors import InputError
from mmviewer.core.space.unit_rows import unit
from mmviewer.core.types import FloatArray, Modality

MOST_TERMS = 32


@dataclass(frozen=True, slots=True, eq=False)
class Term:
    """A part of a query.

    Parameters
    ----------
    vector : float32 array [D]
    weight : float
        Negative to take it away.
    modality : Modality or None
        What it came from; None if unknown.
    """

    vector: FloatArray
    weight: float = 1.0
    modality: Modality | None = None


def combine(terms: Sequence[Term], centroids: Mapping[Modality, FloatArray] | None = None) -> FloatArray:
    """Weighted sum of unit vectors, at length one again.

    Parameters
    ----------
    terms : sequence of Term
    centroids : mapping of Modality to float32 array [D], optional
        Mean of the unit vectors of each modality. With them each term is first moved by its modality's mean
        and made a unit vector again, which is how a space whose modality gap was closed sees it.

    Returns
    -------
    float32 array [D]

    Raises
    ------
    InputError
        There are no terms or too many, one has no direction, a weight is not finite, widths differ, or all
        cancel out.
    """
    if not 0 < len(terms) <= MOST_TERMS:
        raise InputError(f"A query has between 1 and {MOST_TERMS} parts; add or remove some.")
    if len({np.shape(term.vector) for term in terms}) > 1:
        raise InputError("The parts of the query come from spaces of different width; use one model for all.")
    if not all(np.isfinite(term.weight) for term in terms):
        raise InputError("A weight of the query is no number; type one, such as 1 or -0.5.")
    total = np.zeros(np.shape(terms[0].vector), np.float64)
    for term in terms:
        total += term.weight * _directed(term, centroids or {})
    length = float(np.linalg.norm(total))
    if not length > 1e-6 * sum(abs(term.weight) for term in terms):
        raise InputError("The parts of the query cancel each other; change or remove one of them.")
    return (total / length).astype(np.float32)


def _directed(term: Term, centroids: Mapping[Modality, FloatArray]) -> FloatArray:
    vector = unit(np.asarray(term.vector, np.float32))
    centre = None if term.modality is None else centroids.get(term.modality)
    if centre is not None:
        vector = unit(np.subtract(vector, centre))
    if not np.isfinite(vector).all() or not vector.any():
        raise InputError("A part of the query has no direction; remove it.")
    return vector
