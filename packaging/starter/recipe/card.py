"""The model card, written from what was done and what was measured."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from recipe.measuring import Measures
from recipe.report import as_markdown
from recipe.sources import licence_table

TRAINING_NAME = "training.json"
EVALUATION_NAME = "evaluation.json"
_HEARS = " It hears too: spoken names, short sentences and a few sounds lie in the same space."
_SEEN_BEFORE = " (the weights that the run started from may have seen them: pairs were not held out then)"
_TEMPLATE = Path(__file__).with_name("card.md")


def write_card(measured: Mapping[str, Measures], facts: Mapping[str, Any]) -> str:
    """The card as Markdown.

    Parameters
    ----------
    measured
        By name, the model first, what `recipe.measuring.measure` returned.
    facts
        What ``export.py`` wrote about the training.
    """
    earlier = ""
    if facts["initialised_from_earlier_run"]:
        earlier = f" Initialised from an earlier run of this recipe on {facts['earlier_scenes']:,} scenes."
    first = next(iter(measured.values()))
    fields = {
        **facts,
        "sound": _HEARS if "sound" in first else "",
        "held_out_note": _SEEN_BEFORE if facts["initialised_from_earlier_run"] else "",
        "styles": len(facts["styles"]),
        "labels": first["labels"],
        "init": earlier,
        "note": f" {facts['note']}" if facts["note"] else "",
        "tables": as_markdown(measured, facts["guide_layer"]),
        "licences": licence_table(),
    }
    return _TEMPLATE.read_text(encoding="utf-8").format(**fields)
