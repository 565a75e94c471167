"""What the map says of an item and of itself."""

from __future__ import annotations

from mmviewer.core.space.collection import CollectionItem, Status
from mmviewer.core.space.projection.base import PROJECTIONS
from mmviewer.gui.map_drawer import kind_words
from mmviewer.gui.widgets.painting import number
from mmviewer.gui.widgets.point_map_paint import Card
from mmviewer.gui.words import bytes_in_words

_EXTRAS = 5


def card_of(item: CollectionItem | None, row: int) -> Card:
    """What the card under the pointer says."""
    if item is None:
        return Card(f"item {row}")
    facts = [kind_words(item)]
    if item.size_bytes:
        facts.append(bytes_in_words(item.size_bytes))
    lines = [" · ".join(facts)]
    if item.status in (Status.FAILED, Status.MISSING):
        lines.append(item.reason)
    for name, value in list(item.extra.items())[:_EXTRAS]:
        lines.append(f"{name}: {value if isinstance(value, str) else number(value, 4)}")
    name = f"“{item.text}”" if item.text is not None and item.path is None else item.name
    return Card(name, tuple(lines))


def map_label(name: str) -> str:
    """How a kept map is called: the method where it is one of ours, else the name that the user gave."""
    method, _, rest = name.partition(":")
    if method in tuple(PROJECTIONS.keys()):
        ending = " · gap closed" if rest.endswith("closed") else " · not kept" if rest == "not kept" else ""
        return f"{PROJECTIONS.get(method).label}{ending}"
    return name
