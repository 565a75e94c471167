"""The folder of a trained Show, Attend and Tell: weights, figures and the model card."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from mmviewer.core.models.sat.folder import write
from mmviewer.core.models.sat.words import SPECIAL, Words
from recipe.attend_scenes import STYLES, read_things
from recipe.attend_training import BATCH, CHECKPOINT, FRESH, new_model
from recipe.sources import STYLES as SOURCES
from recipe.sprites import load_index

LICENCE = "MIT (weights); the trunk is EfficientNet-Lite0's, Apache-2.0"
LIMITS = (
    "A didactic baseline: it knows drawings of {things} things in {styles} styles, not photographs, and says "
    "one kind of sentence. Its attention was taught by captions alone."
)
_TEMPLATE = Path(__file__).with_name("attend_card.md")


def export(run: Path, work: Path, out: Path) -> int:
    """Write the running average of a run as a folder; returns its bytes."""
    state = torch.load(run / CHECKPOINT, map_location="cpu", weights_only=True)
    words = Words(state["words"][len(SPECIAL) :])
    model = new_model(len(words))
    model.load_state_dict({**state["model"], **state["average"]})
    things = [load_index(work)[0][index].name for index in read_things(load_index(work)[0])]
    told = {"licence": LICENCE, "limits": LIMITS.format(things=len(things), styles=len(STYLES))}
    write(out, model, words, told)
    options = state["options"]
    facts = {
        "things": things,
        "styles": list(STYLES),
        "steps": state["step"],
        "scenes drawn": state["step"] * FRESH + options["namings"][0] * len(things),
        "captions read": state["step"] * BATCH,
        "hours": round(state["spent"] / 3600, 2),
        **{name: options[name] for name in ("rate", "everywhere", "seed")},
        "curve": state["curve"],
    }
    (out / "training.json").write_text(json.dumps(facts, indent=1) + "\n", encoding="utf-8")
    return sum(path.stat().st_size for path in out.iterdir())


def write_figures(folder: Path, measured: Mapping[str, Any]) -> None:
    """Write ``evaluation.json``, the figures that the app shows, and the model card."""
    (folder / "evaluation.json").write_text(json.dumps(measured, indent=1) + "\n", encoding="utf-8")
    (folder / "figures.json").write_text(json.dumps(_figures(measured), indent=1) + "\n", encoding="utf-8")
    facts = json.loads((folder / "training.json").read_text(encoding="utf-8"))
    card = _TEMPLATE.read_text(encoding="utf-8").format(
        things=len(facts["things"]),
        names=", ".join(facts["things"]),
        styles=", ".join(f"{style} ({SOURCES[style].licence})" for style in facts["styles"]),
        drawn=facts["scenes drawn"],
        read=facts["captions read"],
        table=_table(measured),
        **{name: facts[name] for name in ("steps", "hours", "rate", "everywhere", "seed")},
    )
    (folder / "README.md").write_text(card, encoding="utf-8")


def _groups(measured: Mapping[str, Any]) -> list[tuple[str, str, Mapping[str, Any]]]:
    sets = ((name, groups) for name, groups in measured.items() if isinstance(groups, dict))
    return [(name, group, each) for name, groups in sets for group, each in groups.items()]


def _figures(measured: Mapping[str, Any]) -> list[dict[str, Any]]:
    found = []
    for name, group, each in _groups(measured):
        said, at = each["captions"], each["pointing"]
        note = f"{name}, {said['scenes']} scenes"
        found.append(_figure(f"nouns in captions, {group}", said["nouns"], said["nouns_chance"], note))
        found.append(_figure(f"alpha peaks in the box, {group}", at["peak"], at["chance"], note))
    return found


def _figure(name: str, value: float, chance: float, note: str) -> dict[str, Any]:
    return {"name": name, "value": value, "chance": chance, "unit": "share", "note": note}


def _table(measured: Mapping[str, Any]) -> str:
    head = (
        "scenes",
        "",
        "nouns said",
        "chance",
        "whole captions",
        "alpha peaks in box",
        "chance",
        "centre",
        "right thing",
    )
    rows = [f"| {' | '.join(head)} |", "|---" * len(head) + "|"]
    for name, group, each in _groups(measured):
        said, at = each["captions"], each["pointing"]
        right = "" if at["right_thing"] is None else f"{at['right_thing']:.1%}"
        shares = (said["nouns"], said["nouns_chance"], said["whole"], at["peak"], at["chance"], at["centre"])
        rows.append(f"| {name} | {group} | {' | '.join(f'{share:.1%}' for share in shares)} | {right} |")
    return "\n".join(rows)
