"""Neighbours and the modality gap against plain loops."""

from __future__ import annotations

import numpy as np
import pytest

from mmviewer.core.space.neighbours import modality_gap, nearest
from mmviewer.core.types import Modality


def unit(count: int, width: int = 6) -> np.ndarray:
    vectors = np.random.default_rng(3).normal(size=(count, width)).astype(np.float32)
    return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)


@pytest.mark.parametrize("count", [0, 1, 4, 100])
def test_nearest_equals_a_full_sort(count):
    vectors = unit(20)
    indices, cosines = nearest(vectors, 7, count)
    ranked = sorted((i for i in range(20) if i != 7), key=lambda i: -float(vectors[i] @ vectors[7]))
    assert indices.tolist() == ranked[:count]
    np.testing.assert_allclose(cosines, [vectors[i] @ vectors[7] for i in ranked[:count]], atol=1e-6)


def test_the_only_item_has_no_neighbours():
    indices, cosines = nearest(unit(1), 0)
    assert len(indices) == len(cosines) == 0


def test_modality_gap():
    vectors = np.eye(4, dtype=np.float32)
    kinds = [Modality.IMAGE, Modality.IMAGE, Modality.TEXT, Modality.TEXT]
    assert modality_gap(vectors, kinds) == pytest.approx(1.0)  # (½, ½, 0, 0) to (0, 0, ½, ½)
    assert modality_gap(vectors[[0, 0, 0, 0]], kinds) == pytest.approx(0.0)
    assert modality_gap(vectors, [Modality.IMAGE] * 4) is None
    assert modality_gap(vectors, kinds, Modality.AUDIO, Modality.TEXT) is None
