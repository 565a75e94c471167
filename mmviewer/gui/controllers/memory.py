"""Keeps the window's share of decoded media bounded, however many items the library holds.

Items beyond the budget keep a thumbnail; their pixels and samples come back from the file when they are
chosen. The engine has its own cache and decodes for itself.
"""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
from PySide6.QtCore import QObject

from mmviewer.core.session.state import LibraryItem
from mmviewer.core.types import Media
from mmviewer.engine.protocol import OpenFailure, OpenMedia

if TYPE_CHECKING:
    from mmviewer.gui.workbench import Workbench

BUDGET_BYTES = 768 * 2**20
_THUMBNAIL_SIDE = 192
_SAMPLE_STEP = 160  # of 16 kHz leaves 100 values a second, enough for a small waveform


class MediaMemory(QObject):
    """Thins items of `state.items` beyond the budget, least recently chosen first.

    Parameters
    ----------
    workbench : Workbench
    budget : int
        Bytes of decoded media to keep.
    """

    def __init__(self, workbench: Workbench, budget: int = BUDGET_BYTES) -> None:
        super().__init__(workbench)
        self._workbench = workbench
        self._state = workbench.state
        self._budget = budget
        self._thinned: set[str] = set()
        self._whole: OrderedDict[str, int] = OrderedDict()  # bytes by id, least recently chosen first
        self._state.items_changed.connect(self._on_items)
        self._state.current_changed.connect(self._on_current)

    def release(self) -> None:
        """Stop watching the state."""
        self._state.items_changed.disconnect(self._on_items)
        self._state.current_changed.disconnect(self._on_current)

    def _on_items(self, items: tuple[LibraryItem, ...]) -> None:
        sizes = {item.id: _bytes(item.media) for item in items}
        self._thinned &= sizes.keys()
        for gone in [item_id for item_id in self._whole if item_id not in sizes]:
            del self._whole[gone]
        for item_id, size in sizes.items():
            if item_id not in self._thinned and item_id not in self._whole:
                self._whole[item_id] = size
        self._shrink()

    def _on_current(self, item: LibraryItem | None) -> None:
        if item is None:
            return
        if item.id in self._whole:
            self._whole.move_to_end(item.id)
        elif item.id in self._thinned and item.media.path is not None:
            self._bring_back(item)

    def _shrink(self) -> None:
        """Thin items until the rest fits; those without a file must stay whole."""
        excess = sum(self._whole.values()) - self._budget
        if excess <= 0:
            return
        by_id = {item.id: item for item in self._state.items}
        current = self._state.current.id if self._state.current else None
        thin: set[str] = set()
        for item_id, size in self._whole.items():
            if excess <= 0:
                break
            if item_id != current and by_id[item_id].media.path is not None:
                thin.add(item_id)
                excess -= size
        for item_id in thin:
            del self._whole[item_id]
        if thin:
            self._thinned |= thin
            self._state.set_items(
                replace(item, media=thinned(item.media)) if item.id in thin else item
                for item in self._state.items
            )

    def _bring_back(self, item: LibraryItem) -> None:
        def take(value: Any) -> None:
            if isinstance(value, OpenFailure):
                self._workbench.report(value.error)
            elif value.id == item.id:
                self._replace(value)
            else:
                self._workbench.notice.emit(
                    f"{item.name} was changed on the disk since it was opened; open it again.", "warning"
                )

        self._workbench.activities.run(
            "whole",
            f"Reading {item.name}",
            OpenMedia((str(item.media.path),)),
            done=lambda _count: None,
            partial=take,
            failed=self._workbench.report,
        )

    def _replace(self, media: Media) -> None:
        self._thinned.discard(media.id)
        self._state.set_items(
            replace(item, media=media) if item.id == media.id else item for item in self._state.items
        )


def thinned(media: Media) -> Media:
    """The same item with just enough pixels or samples for a small picture; size and duration stay true."""
    if media.pixels is not None:
        step = max(1, max(media.pixels.shape[:2]) // _THUMBNAIL_SIDE)
        return replace(media, pixels=np.ascontiguousarray(media.pixels[::step, ::step]))
    if media.samples is not None and media.sample_rate % _SAMPLE_STEP == 0:
        rate = media.sample_rate // _SAMPLE_STEP
        return replace(media, samples=media.samples[::_SAMPLE_STEP].copy(), sample_rate=rate)
    return media


def _bytes(media: Media) -> int:
    return sum(array.nbytes for array in (media.pixels, media.samples) if array is not None)
