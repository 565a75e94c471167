"""Principal axes of a set of vectors (NumPy only)."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from mmviewer.core.types import FloatArray

_Array = NDArray[np.float64]


def principal_plane(vectors: FloatArray) -> tuple[FloatArray, _Array]:
    """Place vectors in the plane in which they differ most.

    Parameters
    ----------
    vectors : float32 array [N, D]

    Returns
    -------
    coordinates : float32 array [N, 2]
        About their mean; zero along an axis that the data does not have.
    variances : float64 array [R]
        Along all axes, falling.
    """
    centred = vectors.astype(np.float64) - vectors.mean(axis=0, dtype=np.float64)  # [N, D]
    axes, variances = principal_axes(centred)  # [R, D], [R]
    coordinates = np.zeros((len(vectors), 2), np.float32)
    shown = min(2, len(axes))
    coordinates[:, :shown] = centred @ axes[:shown].T
    return coordinates, variances


def reduced(vectors: FloatArray, width: int) -> FloatArray:
    """Vectors [N, D] in their first `width` principal directions, about their mean; as given if narrower."""
    if vectors.shape[1] <= width:
        return vectors
    mean = vectors.mean(axis=0, dtype=np.float64)
    axes, _ = principal_axes(vectors - mean)
    narrow: FloatArray = ((vectors - mean) @ axes[:width].T).astype(np.float32)
    return narrow


def principal_axes(centred: _Array) -> tuple[_Array, _Array]:
    """Return unit axes [R, D], by falling variance, and the variances [R] of centred data [N, D].

    The sign of an axis is chosen so that its largest component is positive: equal data, equal picture.
    """
    count, width = centred.shape
    if count > width:
        variances, columns = np.linalg.eigh(centred.T @ centred / max(count - 1, 1))
        axes, variances = columns.T[::-1], np.maximum(variances[::-1], 0.0)
    else:
        _, singular, axes = np.linalg.svd(centred, full_matrices=False)
        variances = singular**2 / max(count - 1, 1)
    largest = np.take_along_axis(axes, np.abs(axes).argmax(axis=1)[:, None], axis=1)
    return axes * np.where(largest < 0, -1.0, 1.0), variances
