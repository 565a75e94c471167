"""What panel, figure and command line say of an intervention: rows, sentences, and one pair of maps."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from mmviewer.core.explain.selection import show
from mmviewer.core.figures.overlay import colour_range
from mmviewer.core.figures.spec import ChangeBar
from mmviewer.core.interventions.facts import percent_words
from mmviewer.core.interventions.outcome import TokenChange, WhatIf
from mmviewer.core.media.geometry import ImageGeometry, TimeGeometry
from mmviewer.core.types import FloatArray, TokenMaps

_LABELS_SHOWN = 12
_HUGE = math.log(1e6)


def token_rows(found: WhatIf) -> tuple[ChangeBar, ...]:
    """One row for each token of the text that has a number or was changed."""
    return tuple(_token_row(change, found.unit == "similarity") for change in shown_changes(found))


def shown_changes(found: WhatIf) -> tuple[TokenChange, ...]:
    """Changes that `token_rows` lists: not those of a question, which nobody predicted."""
    return tuple(change for change in found.changes if change.before is not None)


def label_rows(found: WhatIf, most: int = _LABELS_SHOWN) -> tuple[ChangeBar, ...]:
    """Labels whose probability was or is highest, in the order of the larger one."""
    before, after = found.scores_before, found.scores_after
    if before is None or after is None:
        return ()
    old, new = before.probabilities[0], after.probabilities[0]
    order = np.argsort(-np.maximum(old, new), kind="stable")[:most]
    rows = []
    for place in order.tolist():
        name, other = before.labels[place], after.labels[place]
        cosines = f"{before.similarities[0, place]:.4f} → {after.similarities[0, place]:.4f}"
        rows.append(
            ChangeBar(
                name if name == other else f"{name} → {other}",
                float(new[place] - old[place]),
                f"{_percent(float(old[place]))} → {_percent(float(new[place]))}",
                f"probability {old[place]:.4f} → {new[place]:.4f}\ncosine similarity {cosines}",
            )
        )
    return tuple(rows)


def total_words(found: WhatIf) -> str:
    """What became of the whole text, in a line; empty where nothing is known."""
    if found.similarity is not None:
        old, new = found.similarity
        return f"Similarity with the whole text: {old:.4f} → {new:.4f} ({_signed(new - old, 4)})"
    if found.total is None:
        return ""
    difference = found.total[1] - found.total[0]
    if difference <= -0.0005:
        return f"The text before is {_times(-difference)} less likely ({_signed(difference)} nats)."
    if difference >= 0.0005:
        return f"The text before is {_times(difference)} more likely ({_signed(difference)} nats)."
    return "The text before is as likely as it was."


@dataclass(frozen=True, slots=True, eq=False)
class ShownPair:
    """The maps of one token, before and after, and the scale that both share."""

    before: FloatArray
    after: FloatArray
    geometry: ImageGeometry | TimeGeometry
    low: float
    high: float
    signed: bool
    subject: str


def shown_pair(found: WhatIf, tokens: Sequence[int]) -> ShownPair | None:
    """Maps of the chosen tokens, or of the whole text; None while one side is missing."""
    before, after = found.maps_before, found.maps_after
    if before is None or after is None or before.values.shape[1:] != after.values.shape[1:]:
        return None
    chosen = tuple(index for index in tokens if index < len(found.changes))
    pairs = [(found.changes[index].index, found.changes[index].after_index) for index in chosen]
    old = tuple(first for first, second in pairs if second is not None)
    new = tuple(second for _, second in pairs if second is not None)
    if chosen and not old:
        return None  # the word was dropped: there is nothing to compare
    first, second = show(before, old).grid, show(after, new).grid
    ranges = [colour_range(_seen(grid, before), before.signed) for grid in (first, second)]
    low, high = min(each[0] for each in ranges), max(each[1] for each in ranges)
    words = " ".join(before.tokens[index].text.strip() for index in old)
    now = " ".join(after.tokens[index].text.strip() for index in new)
    subject = f"“{words}”" if words == now else f"“{words}” and “{now}”"
    return ShownPair(
        first, second, before.geometry, low, high, before.signed, subject if old else "the whole text"
    )


def _seen(values: FloatArray, maps: TokenMaps) -> FloatArray:
    geometry = maps.geometry
    return values[..., : max(1, geometry.valid)] if isinstance(geometry, TimeGeometry) else values


def _token_row(change: TokenChange, similarity: bool) -> ChangeBar:
    label = change.text.strip() or repr(change.text)
    if change.difference is None or change.before is None or change.after is None:
        gone = "dropped" if change.after_index is None else "changed"
        return ChangeBar(label, math.nan, gone, f"This word was {gone} itself, so there is no number for it.")
    pair = f"{change.before:.4f} → {change.after:.4f}"
    if similarity:
        note = f"cosine similarity of the item with this word alone: {pair}"
        return ChangeBar(label, change.difference, _signed(change.difference, 4), note)
    ratio = change.ratio or 0.0
    note = (
        f"log-probability {pair} nats ({_signed(change.difference)})\n"
        f"probability {percent_words(change)}, {ratio:.3g} times what it was\n"
        "of this token of the text before, with what stands before it given"
    )
    return ChangeBar(
        label, change.difference, f"{_signed(change.difference, 2)} · {percent_words(change)}", note
    )


def _signed(value: float, digits: int = 2) -> str:
    rounded = f"{value:+.{digits}f}"
    return rounded.replace("-", "\N{MINUS SIGN}") if float(rounded) else f"{0:.{digits}f}"


def _times(nats: float) -> str:
    if nats > _HUGE:
        return f"10^{nats / math.log(10):.0f} times"
    times = math.exp(nats)
    return f"{times:,.0f} times" if times >= 9.95 else f"{times:.2g} times"


def _percent(share: float) -> str:
    return f"{100 * share:.0f} %" if share >= 0.0995 or share == 0 else f"{100 * share:.1f} %"
