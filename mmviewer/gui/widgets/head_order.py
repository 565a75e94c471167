"""What is measured of each head, how it is said, and in which order heads are shown (NumPy only)."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

FloatArray = NDArray[np.float32]
Order = Literal["layer", "entropy", "strongest", "region", "agreement"]


@dataclass(frozen=True, slots=True)
class Measure:
    """One number per head.

    Parameters
    ----------
    order : str
        What the order by it is called.
    short : str
        What the number is, for a line above the maps.
    explained : str
        What it tells, with a place for the number.
    largest_first : bool
    percent, signed : bool
        How it is written.
    """

    order: str
    short: str
    explained: str
    largest_first: bool
    percent: bool = False
    signed: bool = False

    def told(self, value: float) -> str:
        """The number as people read it."""
        if self.percent:
            return f"{100 * value:.0f} %" if value >= 0.1 else f"{100 * value:.1f} %"
        value = round(value, 2) + 0.0  # no minus before a zero
        text = f"{value:+.2f}" if self.signed else f"{value:.2f}"
        return text.replace("-", "\N{MINUS SIGN}")


MEASURES: dict[Order, Measure] = {
    "entropy": Measure(
        "most focused first",
        "entropy, from 0 at one place only to 1 everywhere alike",
        "Entropy {} (0: one place only, 1: everywhere alike).",
        largest_first=False,
    ),
    "strongest": Measure(
        "strongest patch first",
        "share of the strongest patch",
        "{} of its weight lies in the strongest place.",
        largest_first=True,
        percent=True,
    ),
    "region": Measure(
        "most in the region first",
        "share in the region",
        "{} of its weight lies in the chosen region.",
        largest_first=True,
        percent=True,
    ),
    "agreement": Measure(
        "most alike the chosen map first",
        "rank correlation",
        "Its rank correlation with the chosen map is {} (1: the same order of places, 0: none in common).",
        largest_first=True,
        signed=True,
    ),
}
ORDERS: dict[Order, str] = {
    "layer": "as in the model",
    **{key: each.order for key, each in MEASURES.items()},
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


def ordered(numbers: FloatArray, order: Order) -> list[tuple[int, int]]:
    """(layer, head) pairs in the order wanted; `numbers` [L, H] are what it goes by."""
    layers, heads = numbers.shape[:2]
    pairs = [(layer, head) for layer in range(layers) for head in range(heads)]
    if order == "layer":
        return pairs
    key = -numbers if MEASURES[order].largest_first else numbers
    return sorted(pairs, key=lambda pair: (float(key[pair]), pair))
