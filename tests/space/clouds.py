"""Synthetic embeddings for tests: groups within groups on the sphere, as real spaces have them."""

from __future__ import annotations

import numpy as np


def cloud(count: int, width: int = 64, groups: int = 40, seed: int = 0, spread: float = 0.6) -> tuple:
    """Float32 unit vectors [N, D] of overlapping groups, and the group of each."""
    random = np.random.default_rng(seed)
    coarse = random.normal(size=(max(groups // 8, 1), width))
    centres = coarse[np.arange(groups) % len(coarse)] + 0.7 * random.normal(size=(groups, width))
    group = random.integers(0, groups, count)
    vectors = centres[group] + spread * random.normal(size=(count, width))
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    return vectors.astype(np.float32), group


def two_modalities(count: int = 400, width: int = 32, gap: float = 1.0, seed: int = 0) -> tuple:
    """Images and texts that describe the same, apart by a gap: vectors [2 N, D] and codes [2 N]."""
    random = np.random.default_rng(seed)
    shared, _ = cloud(count, width, 10, seed)
    apart = random.normal(size=width)
    apart *= gap / np.linalg.norm(apart)
    images = shared + 0.15 * random.normal(size=shared.shape) + apart / 2
    texts = shared + 0.15 * random.normal(size=shared.shape) - apart / 2
    vectors = np.concatenate([images, texts])
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    return vectors.astype(np.float32), np.repeat([0, 2], count)
