"""Models that nobody used for a while give their memory back, and come back when they are wanted."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from mmviewer.core.errors import ModelError
from mmviewer.core.progress import Progress

if TYPE_CHECKING:
    from mmviewer.core.models.base import LoadedModel

Again = Callable[[Progress], "LoadedModel"]
"""Loads a model once more."""

VARIABLE = "MMVIEWER_IDLE_MINUTES"
_MINUTES = 30.0


def idle_seconds() -> float:
    """Seconds without use after which a model rests; `VARIABLE` names minutes, 0 for never."""
    try:
        minutes = float(os.environ.get(VARIABLE, _MINUTES))
    except ValueError:
        minutes = _MINUTES
    return minutes * 60 if minutes > 0 else float("inf")


@dataclass(slots=True, eq=False)
class Known:
    """What must be kept of a model while it rests."""

    source: str
    label: str
    speech: bool
    again: Again | None
    used_at: float
    resting: bool = False


class Rest:
    """Remembers when each model was used and how it is loaded again."""

    def __init__(self) -> None:
        self._known: dict[str, Known] = {}

    def know(self, model: LoadedModel, again: Again | None, *, speech: bool) -> None:
        """Remember a model that was just loaded."""
        self._known[model.info.id] = Known(
            model.info.source, model.info.label, speech, again, time.monotonic()
        )

    def used(self, model_id: str) -> None:
        """Note that a model was used just now."""
        if model_id in self._known:
            self._known[model_id].used_at = time.monotonic()

    def forget(self, model_id: str) -> None:
        """Remember a model no longer."""
        self._known.pop(model_id, None)

    def resting(self) -> dict[str, Known]:
        """Models that rest, by id."""
        return {key: known for key, known in list(self._known.items()) if known.resting}

    def due(self, seconds: float) -> list[str]:
        """Models that were not used for so long and can be loaded again."""
        since = time.monotonic() - seconds
        known = list(self._known.items())  # another lane may load a model meanwhile
        return [key for key, each in known if each.again and not each.resting and each.used_at < since]

    def lay(self, model_id: str) -> None:
        """Note that a model rests from now on."""
        self._known[model_id].resting = True

    def wake(self, model_id: str, progress: Progress) -> LoadedModel:
        """Load a model that rests; `ModelError` where its files are others by now."""
        known = self._known[model_id]
        assert known.again is not None
        progress.report(0, None, f"Loading {known.label} again, which had rested")
        model = known.again(progress)
        if model.info.id != model_id:
            raise ModelError(f"The files of {known.label} have changed; load it again in the Model panel.")
        known.resting = False
        return model
