"""The ten figures of a model that the app's model panel shows."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

FIGURES_NAME = "figures.json"
_HELD_OUT = "twemoji, never trained on"

Figure = dict[str, Any]


def figures(measured: Mapping[str, Any], guided_layer: int) -> list[Figure]:
    """The figures, each beside chance, as the app reads them from ``figures.json``.

    Parameters
    ----------
    measured
        What `recipe.measuring.measure` returned of the model.
    guided_layer
        The layer whose maps were trained with boxes.
    """
    labels, scenes = measured["labels"], measured["scenes"][_HELD_OUT]
    listed = [
        _figure(f"Right label of {labels}, {name}", measured["zero_shot"][style]["top1"], 1 / labels, note)
        for style, name, note in (
            ("twemoji", "Twemoji", "one drawing on white, style never trained on; runs were compared by it"),
            ("openmoji", "OpenMoji", "a style never trained on"),
            ("emojione-v1", "EmojiOne 1", "a style looked at only once, when the model was final"),
            ("stamps", "Tux Paint stamps", "photographs and paintings, a style never trained on"),
        )
        if style in measured["zero_shot"]
    ]  # fmt: skip
    questions, contrast = scenes["questions"]["all"], scenes["contrast"]["all"]
    captions = scenes["captions"]
    listed += [
        _figure(
            "Questions answered rightly",
            questions["right"],
            max(questions["commonest"], questions["blind"]),
            "how many, what colour, where, is there, what; Twemoji scenes; chance: the commonest answer",
        ),
        _figure(
            "True caption preferred to one false in a word",
            contrast["similarity"],
            0.5,
            "a noun, colour, number or relation exchanged; Twemoji scenes",
        ),
        _figure(
            "Relation of two things told rightly",
            captions["relation"]["right"],
            captions["relation"]["chance"],
            "left of, above, on, behind, inside, and; Twemoji scenes",
        ),
    ]
    for group in ("one thing", "three things"):
        pointing = scenes["pointing"][group]
        for layer, scores in pointing["layers"].items():
            if int(layer) == guided_layer:
                note = f"decoder layer {layer}, whose attention was trained with boxes; Twemoji scenes"
                listed.append(
                    _figure(f"Word points at it, {group}", scores["span"], pointing["chance"], note)
                )
        unguided = {k: v for k, v in pointing["layers"].items() if int(k) != guided_layer}
        best = max(unguided, key=lambda layer: unguided[layer]["span"])
        note = f"decoder layer {best}, the best that no box was shown to"
        listed.append(
            _figure(f"The same, unguided, {group}", unguided[best]["span"], pointing["chance"], note)
        )
    listed.append(
        {
            "name": "Calibration error", "value": measured["calibration"]["twemoji"]["ece"], "chance": None,
            "unit": "share",
            "note": "mean gap between a label's probability and how often it is right, 15 bins, Twemoji",
        }
    )  # fmt: skip
    return listed + list(measured.get("sound", {}).get("figures", []))


def _figure(name: str, value: float, chance: float, note: str) -> Figure:
    return {"name": name, "value": round(value, 4), "chance": round(chance, 4), "unit": "share", "note": note}
