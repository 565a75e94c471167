"""How long maps take on this machine: a few passes measured once, corrected by what maps then really took."""

from __future__ import annotations

import time
from threading import Lock

import torch

from mmviewer.core.explain.base import METHODS, Cost
from mmviewer.core.explain.forward import encode, predicting_logits
from mmviewer.core.models.base import LoadedModel, Prepared
from mmviewer.core.types import TokenSequence

_PROBES = 4
_BACKWARD = 3.0
"""A pass with its gradient, in passes without."""
_MEASURABLE = 8
"""Maps of fewer passes are ruled by other work, and tell little of a pass."""

_Kind = tuple[str, str, str]  # model, method, kind of sequence


class Pace:
    """Seconds per pass through a model, by method and kind of sequence; usable from several threads."""

    def __init__(self) -> None:
        self._seconds: dict[_Kind, float] = {}
        self._lock = Lock()

    def expect(
        self, model: LoadedModel, prepared: Prepared, sequence: TokenSequence, method: str, cost: Cost
    ) -> float:
        """Seconds that a map of this cost will take, by earlier ones of its kind or by a measured pass."""
        side = model.side(prepared.modality)
        with self._lock:
            measured = self._seconds.get((side.info.id, method, sequence.kind))
            passing = self._seconds.get((side.info.id, "", sequence.kind))
        if measured is not None:
            return measured * cost.forwards
        if passing is None:
            passing = _pass_seconds(side, prepared, sequence)
            with self._lock:
                self._seconds[side.info.id, "", sequence.kind] = passing
        return passing * cost.forwards * (_BACKWARD if METHODS.get(method).needs_gradient else 1.0)

    def learn(self, model_id: str, sequence: TokenSequence, method: str, cost: Cost, seconds: float) -> None:
        """Take up how long a map really took."""
        if cost.forwards >= _MEASURABLE:
            with self._lock:
                self._seconds[model_id, method, sequence.kind] = seconds / cost.forwards

    def forget(self, model_id: str) -> None:
        """Drop what is known of a model: it may be loaded again elsewhere."""
        with self._lock:
            self._seconds = {key: value for key, value in self._seconds.items() if key[0] != model_id}


def _pass_seconds(model: LoadedModel, prepared: Prepared, sequence: TokenSequence) -> float:
    batch = [prepared] * _PROBES
    start = time.perf_counter()
    with torch.no_grad():
        if sequence.kind == "query":
            encode(model, batch).sum().item()  # waits for the device
        else:
            predicting_logits(model, batch, sequence).sum().item()
    return (time.perf_counter() - start) / _PROBES
