"""Everything that is measured of a model, as one plain structure and as Markdown."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import torch
from open_clip.coca_model import CoCa
from open_clip.tokenizer import SimpleTokenizer

from recipe.batches import draw_scenes, generator
from recipe.captions import score_captions
from recipe.metrics import image_features, plain_singles, text_features, zero_shot
from recipe.pointing import score_pointing
from recipe.scenes import KIND_SHARES, label_prompt
from recipe.sources import TRAIN_STYLES
from recipe.sprites import load_index, load_sprites

SEEN_STYLES_MEASURED = ("noto", "fluent-3d", "emojione", "clipart")
UNSEEN_STYLES = ("twemoji", "openmoji", "stamps")
SCENES = {
    "new scenes of styles trained on": (TRAIN_STYLES, 910_001),
    "twemoji, never trained on": (("twemoji",), 910_002),
}
GALLERY = 300

Measures = dict[str, Any]


def measure(model: CoCa, tokens: SimpleTokenizer, work: Path, scenes_of_a_kind: int = 100) -> Measures:
    """Measure a model on everything.

    Parameters
    ----------
    model, tokens
        The model in evaluation mode and its tokenizer.
    work
        The folder with the sprite cache.
    scenes_of_a_kind
        How many scenes of each arrangement are drawn.

    Returns
    -------
    dict
        ``labels``, ``zero_shot`` by style, ``scenes`` by set with captions, retrieval and pointing.
    """
    concepts, labels = load_index(work)
    prompts = text_features(model, tokens, [label_prompt(concepts[i]) for i in labels])
    styles = {
        style: asdict(zero_shot(model, plain_singles(load_sprites(work, style), labels), prompts))
        for style in (*UNSEEN_STYLES, *SEEN_STYLES_MEASURED)
    }
    scenes = {
        name: _measure_scenes(model, tokens, work, chosen, seed, scenes_of_a_kind)
        for name, (chosen, seed) in SCENES.items()
    }
    return {"labels": len(labels), "zero_shot": styles, "scenes": scenes}


def _measure_scenes(
    model: CoCa, tokens: SimpleTokenizer, work: Path, styles: Sequence[str], seed: int, count: int
) -> Measures:
    source = generator(work, styles, seed=seed)
    scenes = [scene for kind, _ in KIND_SHARES for scene in draw_scenes(source, count, kind)]
    images = _stack([scene.image for scene in scenes])
    captions = score_captions(model, tokens, scenes, images, source.concepts)
    several = [i for i, scene in enumerate(scenes) if scene.kind in ("beside", "over", "diagonal", "three")]
    pointing = {
        "singles": [i for i, scene in enumerate(scenes) if scene.kind == "single"],
        "several things": several,
    }
    gallery = draw_scenes(source, GALLERY)
    return {
        "captions": asdict(captions),
        "retrieval": _retrieval(
            model, tokens, _stack([s.image for s in gallery]), [s.caption for s in gallery]
        ),
        "pointing": {
            name: asdict(
                score_pointing(model, tokens, [scenes[i] for i in chosen], images[chosen], source.concepts)
            )
            for name, chosen in pointing.items()
        },
    }


def _retrieval(
    model: CoCa, tokens: SimpleTokenizer, images: torch.Tensor, captions: Sequence[str]
) -> Measures:
    """How often a picture's own caption is nearest, and a caption's own picture; equal captions count."""
    scores = image_features(model, images) @ text_features(model, tokens, captions).T  # [N, N]
    same = torch.tensor([[a == b for b in captions] for a in captions])
    to_text = same.gather(1, scores.argmax(1, keepdim=True)).float().mean()
    to_image = same.gather(0, scores.argmax(0, keepdim=True)).float().mean()
    chance = float(same.float().mean())
    return {
        "gallery": len(captions),
        "image_to_text": float(to_text),
        "text_to_image": float(to_image),
        "chance": chance,
    }


def _stack(images: Sequence[np.ndarray]) -> torch.Tensor:
    return torch.from_numpy(np.stack(images).transpose(0, 3, 1, 2).copy())  # [N, 3, H, W]


def as_markdown(measured: Mapping[str, Measures], guided_layer: int) -> str:
    """Tables of one or several models side by side.

    Parameters
    ----------
    measured
        By the model's name, what `measure` returned.
    guided_layer
        The layer whose maps were trained with boxes.
    """
    first = next(iter(measured.values()))
    lines = [f"### Zero-shot, one thing on white, {first['labels']} labels", ""]
    lines += _table(
        "style", measured, {style: _zero_shot_cell(style) for style in first["zero_shot"]},
        f"chance: top-1 {1 / first['labels']:.1%}, top-5 {5 / first['labels']:.1%}, of ten 10.0%",
    )  # fmt: skip
    for name, scenes in first["scenes"].items():
        lines += ["", f"### Scenes: {name}", ""]
        lines += _scene_tables(name, scenes, measured, guided_layer)
    return "\n".join(lines)


def _zero_shot_cell(style: str) -> Any:
    def cell(m: Measures) -> str:
        z = m["zero_shot"][style]
        return f"{z['top1']:.1%} / {z['top5']:.1%} / {z['ten_way']:.1%} ({z['images']})"

    return cell


def _scene_tables(name: str, scenes: Measures, measured: Mapping[str, Measures], guided: int) -> list[str]:
    captions = {
        "noun recall, one thing": ("single_noun", scenes["captions"]["single_noun_chance"]),
        "noun recall, two things": ("pair_nouns", scenes["captions"]["pair_nouns_chance"]),
        "noun recall, three things": ("three_nouns", scenes["captions"]["three_nouns_chance"]),
        "whole caption of two things right": ("pair_exact", None),
        "relation right": ("relation", scenes["captions"]["relation_chance"]),
        "number right": ("count_word", scenes["captions"]["count_word_chance"]),
        "prefers the true order to the exchanged": (
            "order_preferred",
            scenes["captions"]["order_preferred_chance"],
        ),
    }
    rows: dict[str, Any] = {}
    for label, (key, chance) in captions.items():
        beside = "" if chance is None else f" (chance {chance:.1%})"
        rows[label + beside] = lambda m, key=key: f"{m['scenes'][name]['captions'][key]:.1%}"
    for key in ("image_to_text", "text_to_image"):
        label = f"retrieval R@1 of {scenes['retrieval']['gallery']}, {key.replace('_', ' ')}"
        rows[f"{label} (chance {scenes['retrieval']['chance']:.1%})"] = lambda m, key=key: (
            f"{m['scenes'][name]['retrieval'][key]:.1%}"
        )
    lines = _table("captions and retrieval", measured, rows)
    for kind, pointing in scenes["pointing"].items():
        rows = {}
        for layer in pointing["layers"]:
            title = f"layer {layer}, {'guided by boxes' if int(layer) == guided else 'unguided'}"
            rows[title] = _pointing_cell(name, kind, layer)
        rows["no attention: patch most similar to the label"] = lambda m, kind=kind: (
            f"{m['scenes'][name]['pointing'][kind]['similarity']:.1%}"
        )
        heading = f"pointing, {kind}: predicting position / noun itself / span / mass inside / right thing"
        chance, centre = f"{pointing['chance']:.1%}", f"{pointing['centre']:.1%}"
        note = f"{pointing['nouns']} nouns; chance {chance}, always the centre {centre}"
        lines += ["", *_table(heading, measured, rows, note)]
    return lines


def _pointing_cell(name: str, kind: str, layer: Any) -> Any:
    def cell(m: Measures) -> str:
        p = m["scenes"][name]["pointing"][kind]["layers"][layer]
        right = "" if p["right_thing"] != p["right_thing"] else f" / {p['right_thing']:.1%}"
        return f"{p['predicting']:.1%} / {p['naming']:.1%} / {p['span']:.1%} / {p['mass']:.1%}{right}"

    return cell


def _table(
    heading: str, measured: Mapping[str, Measures], rows: Mapping[str, Any], note: str = ""
) -> list[str]:
    lines = [f"| {heading} | " + " | ".join(measured) + " |", "|---" * (len(measured) + 1) + "|"]
    for label, cell in rows.items():
        lines.append(f"| {label} | " + " | ".join(cell(m) for m in measured.values()) + " |")
    return [*lines, "", note] if note else lines
