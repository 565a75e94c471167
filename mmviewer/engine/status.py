"""What the engine tells about itself: phase, device, memory."""

from __future__ import annotations

import os
import sys
import time
from dataclasses import replace
from typing import TYPE_CHECKING

import psutil

from mmviewer.engine.protocol import EngineStatus

if TYPE_CHECKING:
    from mmviewer.engine.workspace import Workspace

_MEASURE_PERIOD = 2.0  # seconds between looks at memory
_NOTICEABLE = 0.01  # share of the whole memory


class Monitor:
    """Puts an `EngineStatus` together and knows when it is news.

    Parameters
    ----------
    workspace : Workspace
        Asked for the loaded models and the memory of their device.
    """

    def __init__(self, workspace: Workspace) -> None:
        self._workspace = workspace
        self._base = EngineStatus("warming up", pid=os.getpid())
        self._told = EngineStatus("starting")
        self._measured_at = 0.0

    def adopt(self, found: EngineStatus) -> None:
        """Take device, dtype, reason and versions from the warm-up."""
        self._base = replace(found, pid=os.getpid())

    def status(self, phase: str) -> EngineStatus:
        """The whole status now."""
        used, total = self._workspace.memory() or _memory_of_process()
        placement = self._workspace.placement() or (self._base.device, self._base.dtype, self._base.reason)
        device, dtype, reason = placement
        return replace(
            self._base,
            phase=phase,
            device=device,
            dtype=dtype,
            reason=reason,
            memory_used=used,
            memory_total=total,
            models=self._workspace.model_labels(),
            network=_hosts(),
        )

    def news(self, phase: str) -> EngineStatus | None:
        """The status if it differs noticeably from the last news, else None."""
        shown = (phase, self._workspace.model_labels(), _hosts())
        changed = shown != (self._told.phase, self._told.models, self._told.network)
        if not changed and time.monotonic() - self._measured_at < _MEASURE_PERIOD:
            return None
        status = self.status(phase)
        self._measured_at = time.monotonic()
        drift = abs(status.memory_used - self._told.memory_used)
        if not changed and drift <= _NOTICEABLE * status.memory_total:
            return None
        self._told = status
        return status


def _hosts() -> tuple[str, ...]:
    """Who is talked to; nobody, as long as nothing has imported what could."""
    network = sys.modules.get("mmviewer.core.hub.network")
    activity = getattr(network, "ACTIVITY", None)  # another thread may be in the middle of the import
    return activity.hosts() if activity is not None else ()


def _memory_of_process() -> tuple[int, int]:
    return psutil.Process().memory_info().rss, psutil.virtual_memory().total
