"""What the window asks about the maps of many items at once: frozen values, light to import."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from mmviewer.core.average.result import MOST
from mmviewer.core.types import MapSpec
from mmviewer.engine.protocol import Request


@dataclass(frozen=True, slots=True, eq=False)
class AverageItems(Request):
    """The average of the maps of `rows` of a collection for a text, by the loaded model.

    Runs in the background: whatever else wants the model goes first. Of more than `most` items as many are
    taken, evenly from the first to the last. Items are pictures or sounds, whichever are more; the others
    are left out.

    Partial and done: `core.average.result.AverageMap`, partial ones without the maps of single items.
    """

    folder: str
    model_id: str
    rows: NDArray[np.int64]
    text: str
    spec: MapSpec = field(default_factory=MapSpec)
    most: int = MOST
