"""How focused each head is, and in which order heads are shown (NumPy only)."""

from __future__ import annotations

import math
from typing import Literal

import numpy as np
from numpy.typing import NDArray

FloatArray = NDArray[np.float32]
Order = Literal["layer", "entropy", "strongest"]

ORDERS: dict[Order, str] = {
    "layer": "as in the model",
    "entropy": "most focused first",
    "strongest": "strongest patch first",
}


def shares(values: FloatArray) -> FloatArray:
    """Each map [L, H, ...] as shares of its own absolute sum, [L, H, N]; zeros where it has no mass."""
    layers, heads, *grid = values.shape
    flat: FloatArray = np.nan_to_num(np.abs(values.reshape(layers, heads, math.prod(grid))), posinf=0.0)
    total = flat.sum(axis=-1, keepdims=True)
    np.divide(flat, total, out=flat, where=total > 0)
    return flat


def entropy(values: FloatArray) -> FloatArray:
    """Shannon entropy of each map over the log of its positions, [L, H]: 0 one position, 1 all alike."""
    share = shares(values)
    logs = np.log(share, out=np.zeros_like(share), where=share > 0)
    positions = share.shape[-1]
    nats: FloatArray = -(share * logs).sum(axis=-1)
    return nats / np.float32(np.log(max(positions, 2)))


def strongest(values: FloatArray) -> FloatArray:
    """Share of the strongest position in each map, [L, H]."""
    largest: FloatArray = shares(values).max(axis=-1)
    return largest


def ordered(values: FloatArray, order: Order) -> list[tuple[int, int]]:
    """(layer, head) pairs in the order wanted."""
    layers, heads = values.shape[:2]
    pairs = [(layer, head) for layer in range(layers) for head in range(heads)]
    if order == "layer":
        return pairs
    key = entropy(values) if order == "entropy" else -strongest(values)
    return sorted(pairs, key=lambda pair: (float(key[pair]), pair))
