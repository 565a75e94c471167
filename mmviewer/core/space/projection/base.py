"""What a projection is: a way to place embeddings in the plane. A method imports its library late."""

from __future__ import annotations

from abc import ABC, abstractmethod

import numpy as np

from mmviewer.core.errors import InputError
from mmviewer.core.progress import SILENT, Progress
from mmviewer.core.registry import Registry
from mmviewer.core.types import Embeddings, FloatArray, Projection


class Placer(ABC):
    """Items on a map, and where new ones fall.

    Parameters
    ----------
    coordinates : float32 array [N, 2]
        Of the vectors that it was fitted on.
    details : str
        What a reader must know of the map.

    Attributes
    ----------
    rule : str
        How new ones are placed; completes "1,000 placed ...".
    """

    rule: str

    def __init__(self, coordinates: FloatArray, details: str) -> None:
        self.coordinates = coordinates
        self.details = details

    @abstractmethod
    def place_new(self, vectors: FloatArray, progress: Progress = SILENT) -> FloatArray:
        """Place vectors [n, D], of the kind that it was fitted on: float32 [n, 2]."""


class Projector(ABC):
    """One way to place embeddings in the plane.

    Attributes
    ----------
    key, label : str
        Name in files and for people.
    explanation : str
        One sentence: what near and far mean in the picture.
    minimum : int
        Fewest items it can place.
    """

    key: str
    label: str
    explanation: str
    minimum: int = 2

    @abstractmethod
    def place(self, vectors: FloatArray, progress: Progress, seed: int) -> tuple[FloatArray, str]:
        """Place vectors.

        Parameters
        ----------
        vectors : float32 array [N, D]
            Finite; at least `minimum` of them.
        progress : Progress
        seed : int
            Equal seeds give equal pictures.

        Returns
        -------
        coordinates : float32 array [N, 2]
        details : str
            What a reader must know of the result.
        """

    def fit(self, vectors: FloatArray, progress: Progress, seed: int) -> Placer | None:
        """Place vectors with a rule of its own for others; None if these go where their nearest are."""
        return None


PROJECTIONS: Registry[Projector] = Registry("projection", "mmviewer.core.space.projection")


def project(
    embeddings: Embeddings, method: str = "pca", progress: Progress = SILENT, seed: int = 0
) -> Projection:
    """Place embeddings in the plane by the method called `method`.

    Raises
    ------
    InputError
        There is no such method, there are too few items for it, or a vector is not finite.
    """
    projector = PROJECTIONS.get(method)
    vectors = embeddings.vectors
    if len(vectors) < projector.minimum:
        raise InputError(
            f"{projector.label} needs at least {projector.minimum} items and there are {len(vectors)}; add"
            " more images, sounds or texts."
        )
    broken = np.flatnonzero(~np.isfinite(vectors).all(axis=1))
    if len(broken):
        raise InputError(
            f"The embedding of item {broken[0] + 1} is not finite, so nothing can be placed; remove the item"
            " or load the model as float32."
        )
    coordinates, details = projector.place(vectors, progress, seed)
    progress.check()
    return Projection(embeddings.items, coordinates, projector.key, details)
