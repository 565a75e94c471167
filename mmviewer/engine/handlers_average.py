"""Requests for the average map of items of a collection. Imports torch."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from mmviewer.core.average.frame import spread
from mmviewer.core.average.result import AverageMap
from mmviewer.core.average.run import average_maps, check_question, map_of_item
from mmviewer.core.errors import InputError, MediaError
from mmviewer.core.media.open import open_media
from mmviewer.core.space.collection import KINDS, UNKNOWN_KIND, Catalogue
from mmviewer.core.types import Media, Modality, TokenMaps
from mmviewer.engine.protocol_average import AverageItems
from mmviewer.engine.routes import Call

Rows = NDArray[np.int64]


def average_items(request: AverageItems, call: Call) -> AverageMap:
    """Map one item after the other, and let others use the model in between."""
    workspace, model_id = call.workspace, request.model_id
    with Catalogue.open(request.folder, readonly=True) as catalogue:
        modality, rows = _of_one_kind(np.asarray(request.rows, np.int64), catalogue.table().kinds)
        taken = rows[spread(len(rows), request.most)]
        items = {item.row: item for item in catalogue.items(taken)}
    with workspace.using(model_id, call.progress, background=True) as model:
        check_question(model, modality, request.text, request.spec)

    def make(row: int) -> TokenMaps:
        media = _opened(items[row].path, items[row].name)
        with workspace.using(model_id, call.progress, background=True) as model:
            progress = workspace.politely(model_id, call.progress)
            return map_of_item(model, media, modality, request.text, request.spec, progress)

    return average_maps(
        [(row, items[row].name) for row in taken.tolist()],
        make,
        request.text,
        asked=len(rows),
        notes=_others(len(request.rows) - len(rows), modality),
        progress=call.progress,
        partial=call.partial,
    )


def _of_one_kind(rows: Rows, kinds: NDArray[np.uint8]) -> tuple[Modality, Rows]:
    """Pictures or sounds, whichever are more, with the items whose kind is not known yet."""
    if len(rows) and not (rows.min() >= 0 and rows.max() < len(kinds)):
        raise InputError("One of these items is not in the collection; choose others.")
    codes = kinds[rows]
    images, sounds = (KINDS.index(kind) for kind in (Modality.IMAGE, Modality.AUDIO))
    wanted = sounds if (codes == sounds).sum() > (codes == images).sum() else images
    found = rows[(codes == wanted) | (codes == UNKNOWN_KIND)]
    if not len(found):
        raise InputError("None of these items is an image or a sound; choose items that have maps.")
    return KINDS[wanted], found


def _others(count: int, modality: Modality) -> tuple[str, ...]:
    """Says that items of another kind were passed over."""
    what = "images" if modality is Modality.IMAGE else "sounds"
    verb = "is" if count == 1 else "are"
    return (f"Only {what} count: {count:,} of the chosen items {verb} something else.",) if count else ()


def _opened(path: str | None, name: str) -> Media:
    if path is None:
        raise MediaError(f"{name} is no file that the model could look at.")
    return open_media(path, name)
