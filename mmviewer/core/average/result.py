"""The average map of many items as a plain value, with the words that go with it (NumPy only)."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from mmviewer.core.average.frame import Average
from mmviewer.core.types import FloatArray, MapKind, MapSpec, Modality

MOST = 64
"""Items that are averaged if nothing else is said, spread evenly over those that are asked for."""


@dataclass(frozen=True, slots=True)
class LeftOut:
    """An item without a map: its number, its name, and why, a sentence."""

    row: int
    name: str
    reason: str


@dataclass(frozen=True, slots=True, eq=False)
class AverageMap:
    """The maps of many items for one text, on the frame that they have in common.

    Parameters
    ----------
    average : Average
        Mean, standard deviation and count, [R, C] each.
    rows : int64 array [n]
        Number of each item that has a map, in the order in which they were made.
    names : tuple of str
        Of these items.
    distances : float32 array [n]
        How far each is from the mean, 0 to 2; NaN where that is undefined; see `frame.distances`.
    maps : float32 array [n, R, C]
        On the frame; empty while more are still being made.
    left_out : tuple of LeftOut
    asked, total : int
        How many items were asked for, and how many of them were taken.
    text : str
        What the maps look for.
    spec : MapSpec
        What was asked, with every None replaced by what was used for the first item.
    kind : MapKind
    modality : Modality
    description, score : str
        As in `TokenMaps`.
    signed : bool
    notes : tuple of str
        What to keep in mind when reading it.
    model_id : str
    seconds_left : float or None
        What is still to be waited, by the items so far; None when all is done.
    """

    average: Average
    rows: NDArray[np.int64]
    names: tuple[str, ...]
    distances: FloatArray
    maps: FloatArray
    left_out: tuple[LeftOut, ...]
    asked: int
    total: int
    text: str
    spec: MapSpec
    kind: MapKind
    modality: Modality
    description: str
    score: str = ""
    signed: bool = False
    notes: tuple[str, ...] = ()
    model_id: str = ""
    seconds_left: float | None = None

    @property
    def ranking(self) -> NDArray[np.intp]:
        """Places of the items, the one that differs most first; those without a distance last."""
        known = np.where(np.isnan(self.distances), -1, self.distances)
        return np.argsort(-known, kind="stable")

    @property
    def undefined(self) -> tuple[str, ...]:
        """Names of the items whose distance is undefined."""
        places = np.flatnonzero(np.isnan(self.distances))
        return tuple(self.names[place] for place in places.tolist())

    @property
    def frame(self) -> str:
        """What the maps were registered to, in words."""
        return "image frame" if self.modality is Modality.IMAGE else "whole length of the sound"


def scope_words(found: AverageMap) -> str:
    """How many of how many items it is of, in words."""
    count = len(found.rows)
    parts = [f"{count:,} map{'s' if count != 1 else ''}"]
    if found.total < found.asked:
        parts.append(f"{found.total:,} of {found.asked:,} items, spread evenly")
    if found.seconds_left is not None:
        parts.append(f"{count + len(found.left_out):,} of {found.total:,} made so far")
    if found.left_out:
        parts.append(f"{len(found.left_out):,} left out")
    return " · ".join(parts)


def caption_words(found: AverageMap, model: str, preprocessing: str, measure: str = "mean") -> str:
    """What is shown, by which method, where, of which word, with which model and preprocessing."""
    count = len(found.rows)
    named = f"{measure} of {count:,} map{'s' if count != 1 else ''}"
    seen = ", ".join(_of_kind(preprocessing, found.modality).split(", ")[:2])
    frame = f"{seen}, registered to the {found.frame}" if seen else f"registered to the {found.frame}"
    return " · ".join(part for part in (named, found.description, f"“{found.text}”", model, frame) if part)


def _of_kind(preprocessing: str, modality: Modality) -> str:
    """What a model that sees and hears says of its preprocessing of one kind."""
    images, _, sounds = preprocessing.partition("; sound: ")
    return sounds or images if modality is Modality.AUDIO else images
