"""What the points of the map can be coloured by, and how the legend says it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from mmviewer.gui.widgets.point_canvas import KIND_NAMES
from mmviewer.gui.widgets.point_colours import HUES

if TYPE_CHECKING:
    from mmviewer.gui.panels.map import MapPanel

Codes = NDArray[np.int32]

_STATUS_NAMES = ("not indexed yet", "ready", "failed", "missing", "removed")


@dataclass(slots=True, eq=False)
class Colouring:
    """What colours mean: a key, and the classes of the items where they are classes."""

    key: str
    codes: Codes | None = None


def colourings(panel: MapPanel) -> list[tuple[str, str]]:
    """What there is to colour by: (label, key)."""
    view = panel.collections.view
    lines = [("Kind", "kind"), ("State", "status")]
    if view is not None:
        lines += [
            (info.name, f"column:{info.name}") for info in view.columns if info.kind in ("number", "category")
        ]
    if panel.asking.result is not None and panel.asking.result.similarity is not None:
        lines.append(("Similarity to the question", "similarity"))
    return [*lines, *panel.findings.colourings(), *panel.work.colourings()]


def apply_colouring(colouring: Colouring, panel: MapPanel) -> None:
    """Colour the points, and let the legend say what the colours mean."""
    view = panel.collections.view
    if view is None or panel.map.count != view.count or panel.map.preparing:
        return
    if colouring.key == "kind":
        _by_kind(colouring, panel)
        return
    label, values = values_of(colouring.key, panel)
    if values is None:
        colouring.key = "kind"
        _by_kind(colouring, panel)
    elif isinstance(values, tuple):
        _by_class(colouring, panel, label, *values)
    else:
        colouring.codes = None
        scale = panel.map.set_values(_whole(values, view.count), label)
        panel.side.legend.set_ramp(label, scale.low, scale.high)


def values_of(
    key: str, panel: MapPanel
) -> tuple[str, NDArray[np.floating] | tuple[Codes, tuple[str, ...]] | None]:
    """Name and values of what is coloured by: numbers, or codes with names; None where they are gone."""
    view = panel.collections.view
    if key == "status" and view is not None:
        return "state", (view.table.status.astype(np.int32), _STATUS_NAMES)
    if key == "similarity":
        found = panel.asking.result
        return "similarity", None if found is None else found.similarity
    if key.startswith("column:"):
        name = key.partition(":")[2]
        return name, panel.collections.column(name)
    other = panel.findings.values_of(key)
    return panel.work.values_of(key) if other is None else other


def _by_kind(colouring: Colouring, panel: MapPanel) -> None:
    view = panel.collections.view
    assert view is not None
    colouring.codes = np.minimum(view.table.kinds, 3).astype(np.int32)
    counts = np.bincount(colouring.codes[panel.collections.on_map()], minlength=len(KIND_NAMES))
    panel.map.set_kind_colours()
    panel.side.legend.set_classes("kind", KIND_NAMES, counts.astype(np.int64), (0, 2, 1, 3))


def _by_class(
    colouring: Colouring, panel: MapPanel, label: str, codes: Codes, names: tuple[str, ...]
) -> None:
    view = panel.collections.view
    assert view is not None
    whole = np.full(view.count, -1, np.int32)
    whole[: len(codes)] = codes[: view.count]
    colouring.codes = whole
    present = whole[(whole >= 0) & panel.collections.on_map()]
    counts = np.bincount(present, minlength=len(names)).astype(np.int64)
    shown = np.argsort(-counts, kind="stable")[:HUES].tolist()
    panel.map.set_colours(whole, names, shown)
    panel.side.legend.set_classes(label, names, counts, shown)


def _whole(values: NDArray[np.floating], count: int) -> NDArray[np.floating]:
    """Values of all items: those that came later have none."""
    whole = np.full(count, np.nan, np.float32)
    whole[: len(values)] = values[:count]
    return whole
