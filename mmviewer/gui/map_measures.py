"""What a space is, in words for people: each measure with its number and a sentence on what it means."""

from __future__ import annotations

from mmviewer.engine.protocol_space import SpaceMeasures
from mmviewer.gui.widgets.painting import number

_KINDS = ("images", "sounds", "texts")


def measure_lines(found: SpaceMeasures) -> tuple[tuple[str, str, str], ...]:
    """Name, value and meaning of each measure."""
    lines = []
    for gap in found.gaps:
        pair = f"{_KINDS[gap.first]} – {_KINDS[gap.second]}"
        lines.append((f"Gap, {pair}", number(gap.distance), "Distance of their centres: 0 none, 2 the most."))
        if gap.separability is not None:
            meaning = "How often a straight rule tells the two apart: 0.5 by chance, 1 always."
            lines.append((f"Told apart, {pair}", number(gap.separability), meaning))
    if found.uniformity is not None:
        meaning = "The lower, the more evenly the vectors fill the sphere; 0 if all are one."
        lines.append(("Uniformity", number(found.uniformity), meaning))
    if found.skewness is not None and found.orphans is not None:
        meaning = "0 if all are chosen as neighbours alike; above 1 a few hubs draw many."
        lines.append(("Hubness", number(found.skewness), meaning))
        lines.append(
            ("Nobody’s neighbours", f"{found.orphans:.0%}", "Items that are among nobody’s 10 nearest.")
        )
    return tuple(lines)
