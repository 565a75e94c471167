"""The photo model's card and the figures that the app shows beside chance."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from safetensors import safe_open

from recipe.photo_export import WEIGHTS_NAME
from recipe.photo_metrics import TRUTH
from recipe.photo_sources import photo_table
from recipe.photo_text import FORMS

_TEMPLATE = Path(__file__).with_name("photo_card.md")


def write_card(folder: Path, figures: Mapping[str, Any]) -> None:
    """Write ``README.md`` and ``figures.json`` from what was measured."""
    rows = _rows(figures)
    table = "\n".join(
        f"| {name} | {count} | {value:.1%} | {_share(chance)} |" for name, count, value, chance, _ in rows
    )
    text = _TEMPLATE.read_text(encoding="utf-8")
    for key, value in (_facts(folder, figures) | {"table": table}).items():
        text = text.replace("{" + key + "}", value)
    (folder / "README.md").write_text(text, encoding="utf-8")
    shown = [
        {"name": name, "value": round(value, 4), "chance": chance, "unit": "share", "note": note}
        for name, _, value, chance, note in rows
    ]
    (folder / "figures.json").write_text(json.dumps(shown, indent=1) + "\n", encoding="utf-8")


def _share(value: float | None) -> str:
    return "" if value is None else f"{value:.1%}"


def _rows(figures: Mapping[str, Any]) -> list[tuple[str, int, float, float | None, str]]:
    """Name, number of pictures, value, chance and a note of each figure."""
    things, scenes, kinds = figures["things"], figures["scenes"], figures["kinds"]
    agree, boxes, pairs = figures["agreement"], figures["boxes"], figures["pairs"]
    n, words, own = scenes["images"], scenes["everyday"], scenes["own labels"]
    every = f"{words['labels']} everyday words, n = {n}"
    crops = "1,000 class names, random crops"
    chance = round(boxes["chance"], 4)
    of_kinds = ", ".join(kinds["kinds"])
    cut_out = f"{things['images']} photographs cut out, {things['labels']} names"
    one, five = things["chance"], 5 * things["chance"]
    return [
        ("single things, first choice", things["images"], things["top1"], one, cut_out),
        ("single things, among five", things["images"], things["top5"], five, cut_out),
        ("kind of thing (8 kinds)", kinds["images"], kinds["top1"], kinds["chance"], of_kinds),
        ("whole photographs, first choice", n, words["top1"], None, every),
        ("whole photographs, among five", n, words["top5"], None, every),
        ("whole photographs, own labels", n, own["top1"], None, f"{own['labels']} labels, n = {n}"),
        ("agrees with its classifier", agree["images"], agree["top1"], 0.001, crops),
        ("classifier's choice among five", agree["images"], agree["top5"], 0.005, crops),
        ("Grad-CAM points into the box", boxes["boxes"], boxes["hits"], chance, "boxes by hand"),
        (
            "Grad-CAM on its half of a pair", pairs["names"], pairs["own_half_stronger"], pairs["chance"],
            "two things side by side",
        ),
    ]  # fmt: skip


def _facts(folder: Path, figures: Mapping[str, Any]) -> dict[str, str]:
    training = json.loads((folder / "training.json").read_text(encoding="utf-8"))
    labels = (folder / "labels.txt").read_text(encoding="utf-8").splitlines()
    words, curve = figures["scenes"]["everyday"], training["curve"]
    with safe_open(folder / WEIGHTS_NAME, framework="pt") as weights:
        scale = math.exp(float(weights.get_tensor("logit_scale")))
        trunk = sum(
            math.prod(weights.get_slice(name).get_shape())
            for name in weights.keys()  # noqa: SIM118  (no mapping)
            if name.startswith("visual.trunk.") and name.endswith(("weight", "bias"))
        )
    answers = {entry["file"].rpartition("/")[2]: set(entry["answers"]) for entry in TRUTH["photographs"]}
    scenes = "\n".join(
        f"| {name} | {', '.join(best)} | {'yes' if best[0] in answers[name] else 'no'} |"
        for name, best in words["best"].items()
    )
    boxes = "\n".join(
        f"| {row['picture']} | {row['name']} | {'yes' if row['hit'] else 'no'} | {row['chance']:.0%} |"
        for row in figures["boxes"]["each"]
    )
    return {
        "labels": f"{len(labels)}",
        "tower_parameters": f"{trunk / 1e6:.1f} million",
        "drawings": f"{training['drawings']:,}",
        "texts": f"{training['texts']:,}",
        "names": f"{training['names']:,}",
        "forms": f"{len(FORMS)}",
        "hours": f"{training['hours']}",
        "seed": f"{training['seed']}",
        "first": f"{curve[0][1]:.2f}",
        "last": f"{curve[-1][1]:.3f}",
        "scale": f"{scale:.1f}",
        "things": f"{figures['things']['images']}",
        "unknown": f"{figures['things']['without_class']}",
        "everyday": f"{words['labels']}",
        "scenes": scenes,
        "boxes": boxes,
        "licences": photo_table(),
    }
