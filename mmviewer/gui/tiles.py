"""Many small maps enlarged at once: interpolation is linear, so two products of matrices do it."""

from __future__ import annotations

import numpy as np

from mmviewer.core.media.geometry import ImageGeometry
from mmviewer.core.types import FloatArray
from mmviewer.gui.view_model import INTERPOLATIONS, enlarge


def enlarge_all(values: FloatArray, size: tuple[int, int], interpolation: str) -> FloatArray:
    """Interpolate maps [N, R, C] to [N, H, W], each exactly as `enlarge` does it alone."""
    count, rows, columns = values.shape
    if not count:
        return np.zeros((0, *size), np.float32)
    if not np.isfinite(values).all():  # missing values must not spread
        return np.stack([enlarge(grid, size, interpolation) for grid in values])
    alone = ImageGeometry((rows, columns), (rows, columns), (1, 1), (0, 0), (rows, columns), "squash", (1, 1))
    down = alone.weights(0, size[0], INTERPOLATIONS[interpolation])  # [H, R]
    across = alone.weights(1, size[1], INTERPOLATIONS[interpolation])  # [W, C]
    result: FloatArray = np.matmul(np.matmul(down, values), across.T)
    if interpolation == "bicubic":
        np.clip(result, values.min((1, 2), keepdims=True), values.max((1, 2), keepdims=True), out=result)
    return result
