"""What an intervention changed, as JSON holds it."""

from __future__ import annotations

import math
from typing import Any

from mmviewer.core.interventions.outcome import TokenChange, WhatIf
from mmviewer.core.interventions.recipe import recipe_values, recipe_words
from mmviewer.core.types import Scores


def what_if_facts(found: WhatIf) -> dict[str, Any]:
    """Texts, changes and scores of both sides, with the recipe that can be applied again.

    A text that was not written again is null, as is a number that is not known.
    """
    total = found.total
    return {
        "recipe": recipe_values(found.recipe),
        "recipe_words": recipe_words(found.recipe),
        "sequence": found.before.kind if found.before is not None else None,
        "before": found.before.text if found.before is not None else None,
        "after": found.after.text if found.after is not None else None,
        "unit": found.unit,
        "tokens": [_token(change) for change in found.changes],
        "total": None if total is None else _pair(total),
        "similarity": None if found.similarity is None else _pair(found.similarity),
        "labels": _labels(found.scores_before, found.scores_after),
        "notes": list(found.notes),
    }


def percent_words(change: TokenChange) -> str:
    """How likely a token was and is now; empty where one of them is not known."""
    if change.before is None or change.after is None:
        return ""
    return f"{_percent(change.before)} → {_percent(change.after)}"


def _percent(logprob: float) -> str:
    share = 100 * math.exp(min(logprob, 0.0))
    return f"{share:.0f} %" if share >= 9.95 else f"{share:.1f} %" if share >= 0.095 else f"{share:.2g} %"


def _token(change: TokenChange) -> dict[str, Any]:
    names = ("index", "text", "before", "after", "difference", "after_index", "special")
    return {name: getattr(change, name) for name in names}


def _pair(values: tuple[float, float]) -> dict[str, float]:
    return {"before": values[0], "after": values[1], "difference": values[1] - values[0]}


def _labels(before: Scores | None, after: Scores | None) -> list[dict[str, Any]]:
    if before is None or after is None:
        return []
    rows = zip(
        before.labels,
        after.labels,
        before.probabilities[0].tolist(),
        after.probabilities[0].tolist(),
        before.similarities[0].tolist(),
        after.similarities[0].tolist(),
        strict=True,
    )
    names = ("before", "after", "probability_before", "probability_after", "similarity_before")
    return [dict(zip((*names, "similarity_after"), row, strict=True)) for row in rows]
