"""What is said of a measured map, worked out from its numbers: pure functions, NumPy only."""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from mmviewer.core.explain.measures import (
    Curves,
    InRegion,
    MethodAgreement,
    RandomisedCheck,
    Verdict,
    in_region,
)
from mmviewer.core.explain.selection import show
from mmviewer.core.media.geometry import TimeGeometry
from mmviewer.core.session.annotations import Annotation, region_shares
from mmviewer.core.types import TokenMaps
from mmviewer.gui.widgets.trust_badge import Badge, Level

LEVELS = {
    Verdict.BETTER: Level.GOOD,
    Verdict.PARTLY: Level.MIXED,
    Verdict.CHANCE: Level.BAD,
    Verdict.SILENT: Level.MIXED,
}
_SURVIVES = 0.5
"""Rank correlation with maps of shuffled weights from which a map tells of the input, not of the model."""


@dataclass(frozen=True, slots=True)
class MeasuredRegion:
    """A region and how the map lies to it; `meant` if it is the one chosen, or named like the token."""

    annotation: Annotation
    measure: InRegion
    meant: bool


def measured_regions(
    maps: TokenMaps, tokens: tuple[int, ...], regions: Sequence[Annotation], chosen: Annotation | None
) -> tuple[MeasuredRegion, ...]:
    """Measure the map of `tokens` in every region that fits its kind of input, the meant one first."""
    geometry, grid = maps.geometry, np.nan_to_num(show(maps, tokens).grid)
    heard = isinstance(geometry, TimeGeometry)
    if isinstance(geometry, TimeGeometry):
        grid = np.where(np.arange(len(grid)) < max(1, geometry.valid), grid, 0)
    words = {" ".join(maps.tokens[index].text.casefold().split()) for index in tokens}
    found = []
    for region in regions:
        if (region.kind == "span") != heard:
            continue
        mask = region.mask(geometry)
        chance = region_shares(grid, mask, geometry).chance
        measure = in_region(grid, mask)
        meant = region.id == chosen.id if chosen is not None else _is_named(region.name, words)
        found.append(MeasuredRegion(region, InRegion(measure.mass, chance, measure.hit), meant))
    return tuple(sorted(found, key=lambda each: not each.meant))


def badge_of(curves: Curves, regions: Sequence[MeasuredRegion]) -> Badge:
    """The line on the map's card."""
    parts = [
        str(curves.verdict),
        *(f"in box {region.measure.mass:.2f}" for region in regions[:1] if region.meant),
        f"deletion {area_words(curves.deletion_area)} (random {area_words(curves.random_area)})",
    ]
    return Badge(" · ".join(parts), LEVELS[curves.verdict], f"{sentence(curves)}\n\nClick to see the curves.")


def sentence(curves: Curves) -> str:
    """The verdict as one plain sentence."""
    return {
        Verdict.BETTER: (
            "Better than chance: without what the map marks the score falls faster, and with it alone it "
            "rises faster, than in any of the random orders."
        ),
        Verdict.PARTLY: (
            "Partly better than chance: "
            + (
                "taking away what the map marks lowers the score faster than any random order, but giving it "
                "back does not raise it faster."
                if curves.deletion_area < float(curves.random_areas.min())
                else "giving back what the map marks raises the score faster than any random order, but "
                "taking it away does not lower it faster."
            )
        ),
        Verdict.CHANCE: (
            "Not better than chance: taking away what the map marks does not lower the score faster than "
            "taking away parts at random, so the map does not show what this score depends on."
        ),
        Verdict.SILENT: (
            "The score hardly depends on the input at all, so no map of it can be right or wrong."
        ),
    }[curves.verdict]


def agreement_words(found: MethodAgreement) -> str:
    """How far another method agrees, in a word."""
    if found.correlation is None:
        return "left out"
    if found.correlation >= 0.6:
        return "agrees"
    if found.correlation >= 0.2:
        return "agrees in part"
    return "differs" if found.correlation > -0.2 else "says the opposite"


def check_words(check: RandomisedCheck) -> str:
    """What the check with shuffled weights says, in plain words."""
    number = f"{check.mean:.2f}"
    if check.mean >= _SURVIVES:
        return (
            f"With shuffled weights the map stays much the same (correlation {number}): it shows the picture "
            "or the architecture more than what the model has learnt."
        )
    return f"With shuffled weights the map is another (correlation {number}), as it should be."


def area_words(area: float) -> str:
    """An area as it is written."""
    return f"{area:.2f}" if abs(area) >= 0.095 or area == 0 else f"{area:.3f}"


def facts(
    curves: Curves,
    regions: Sequence[MeasuredRegion],
    agreements: Sequence[MethodAgreement],
    check: RandomisedCheck | None,
) -> dict[str, object]:
    """All numbers as JSON can hold them."""
    return {
        "score": curves.score,
        "scale": str(curves.scale),
        "removal": curves.removal,
        "steps": len(curves.shares) - 1,
        "random_orders": len(curves.random_areas),
        "deletion": round(curves.deletion_area, 6),
        "insertion": round(curves.insertion_area, 6),
        "random": round(curves.random_area, 6),
        "random_areas": [round(float(area), 6) for area in curves.random_areas],
        "verdict": str(curves.verdict),
        "regions": [
            {
                "name": region.annotation.label,
                "mass": round(region.measure.mass, 6),
                "chance": round(region.measure.chance, 6),
                "strongest_inside": region.measure.hit,
            }
            for region in regions
        ],
        "agreement": {
            each.key: round(each.correlation, 6) for each in agreements if each.correlation is not None
        },
        "randomised_weights": [round(each, 6) for each in check.correlations] if check is not None else None,
        "curves": {
            name: [round(float(value), 6) for value in getattr(curves, name)]
            for name in ("shares", "deletion", "insertion", "random_deletion", "random_insertion")
        },
    }


def as_csv(curves: Curves) -> str:
    """The curves as a table."""
    names = ("shares", "deletion", "insertion", "random_deletion", "random_insertion")
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(names)
    for row in zip(*(getattr(curves, name) for name in names), strict=True):
        writer.writerow([f"{float(value):.6g}" for value in row])
    return text.getvalue()


def _is_named(name: str, words: set[str]) -> bool:
    """Whether a region is called like one of the tokens: "the dog" like "dog"."""
    own = set(name.casefold().split())
    return bool(own & words) or " ".join(name.casefold().split()) in words
