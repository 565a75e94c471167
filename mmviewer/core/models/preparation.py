"""What a model does to an item before its weights are needed, in a form that travels to another process.

No torch here: a process that prepares pictures for another one shall start in a moment, in little memory.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from numpy.typing import NDArray

from mmviewer.core.types import Geometry, Media, Modality


@dataclass(frozen=True, slots=True, eq=False)
class Ready:
    """An item prepared as far as another process can; `LoadedModel.receive` does the rest.

    Parameters
    ----------
    media_id : str
    modality : Modality
    arrays : mapping of str to array
        By the names of the model's inputs, a batch of one each; what they hold is the model's own affair.
    geometry : Geometry
    """

    media_id: str
    modality: Modality
    arrays: Mapping[str, NDArray[Any]]
    geometry: Geometry


class Preparation(ABC):
    """Prepares items for one model; it can be pickled, and imports what it needs when it is unpickled."""

    @abstractmethod
    def __call__(self, media: Media) -> Ready:
        """Prepare an item; raises what `LoadedModel.prepare` raises."""
