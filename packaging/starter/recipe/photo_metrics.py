"""What the photo model knows: names, kinds, agreement with its classifier, and where its maps point.

Everything goes through the application's own interface, so what is measured is what a user gets. No picture
measured on was trained on.
"""

from __future__ import annotations

import bz2
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from sklearn.datasets import load_sample_image
from torch import Tensor, nn

from mmviewer.core.explain.base import explain
from mmviewer.core.models.base import LoadedModel
from mmviewer.core.tasks.query import query_sequence
from mmviewer.core.types import MapSpec, Media, Modality, TokenMaps
from recipe.photo_sources import photo_folder
from recipe.photo_text import article
from recipe.photo_tower import SIDE, pooled_features
from recipe.photo_wordnet import Nouns

TRUTH: dict[str, Any] = json.loads(Path(__file__).with_name("photo_truth.json").read_text(encoding="utf-8"))
_STAMPS = "art/stamps/usr/share/tuxpaint/stamps"
_RACCOON = (768, 1024, 3)
_TEMPLATE = "a photo of {}"
_KINDS = ("animal", "fruit", "vegetable", "vehicle", "tool", "musical instrument", "flower", "clothing")
_CROPS = 10


@dataclass(frozen=True, slots=True)
class Picture:
    """A photograph with the names that are right for it and boxes (top, left, bottom, right; shares)."""

    name: str
    pixels: np.ndarray
    answers: tuple[str, ...]
    boxes: Mapping[str, Sequence[float]]


def photographs(work: Path) -> Iterator[Picture]:
    """The whole scenes."""
    for entry in TRUTH["photographs"]:
        pixels = _pixels(work, entry["package"], entry["file"])
        yield Picture(Path(entry["file"]).name, pixels, tuple(entry["answers"]), entry.get("boxes", {}))


def stamps(work: Path) -> Iterator[Picture]:
    """Photographs of single things, cut out, on white."""
    for file, answer in TRUTH["stamps"].items():
        with Image.open(work / _STAMPS / file) as image:
            cut_out = image.convert("RGBA")
        side = round(1.1 * max(cut_out.size))
        sheet = Image.new("RGBA", (side, side), "white")
        sheet.alpha_composite(cut_out, ((side - cut_out.width) // 2, (side - cut_out.height) // 2))
        yield Picture(file, np.array(sheet.convert("RGB")), (answer,), {})


def _pixels(work: Path, package: str, file: str) -> np.ndarray:
    if package == "scikit-learn":
        return np.array(load_sample_image(file))
    path = photo_folder(work, package) / file
    if path.suffix == ".dat":
        return np.frombuffer(bz2.decompress(path.read_bytes()), np.uint8).reshape(_RACCOON)
    with Image.open(path) as image:
        return np.array(image.convert("RGB"))


def measure_photos(
    model: LoadedModel, classifier: nn.Module, nouns: Nouns, classes: Sequence[int], work: Path
) -> dict[str, Any]:
    """Measure everything; see the sections' own functions."""
    scenes, things = list(photographs(work)), list(stamps(work))
    return {
        "things": {**named_things(model, things), "without_class": _without_class(things, nouns, classes)},
        "scenes": named_scenes(model, scenes),
        "kinds": kinds_of(model, things, nouns),
        "agreement": agreement(model, classifier, nouns, classes, scenes),
        "boxes": pointing(model, scenes),
        "pairs": pointing_in_pairs(model, things),
    }


def named_things(model: LoadedModel, things: Sequence[Picture]) -> dict[str, Any]:
    """Cut-out photographs among all their names."""
    labels = list(dict.fromkeys(thing.answers[0] for thing in things))
    ranked = _ranked(model, things, labels)
    return {"images": len(things), "labels": len(labels), "chance": 1 / len(labels), **_tops(ranked, things)}


def _without_class(things: Sequence[Picture], nouns: Nouns, classes: Sequence[int]) -> int:
    """How many things have a name no meaning of which covers a class."""
    covered = nouns.covered(classes)
    known = [any(sense in covered for sense in nouns.senses.get(thing.answers[0], ())) for thing in things]
    return known.count(False)


def named_scenes(model: LoadedModel, scenes: Sequence[Picture]) -> dict[str, Any]:
    """Whole photographs among everyday words and among the model's own labels, one by one."""
    found: dict[str, Any] = {"images": len(scenes)}
    for title, labels in (("everyday", TRUTH["everyday"]), ("own labels", list(model.info.labels))):
        ranked = _ranked(model, scenes, labels)
        best = {scene.name: row[:3] for scene, row in zip(scenes, ranked, strict=True)}
        found[title] = {"labels": len(labels), **_tops(ranked, scenes), "best": best}
    return found


def kinds_of(model: LoadedModel, things: Sequence[Picture], nouns: Nouns) -> dict[str, Any]:
    """Whether the kind of a thing is found among eight kinds, for things that WordNet puts under one."""
    kinds = {kind: set(nouns.senses[kind]) for kind in _KINDS}
    chosen, truth = [], []
    for thing in things:
        above = {
            up for sense in nouns.senses.get(thing.answers[0], ())[:1] for up, _ in nouns.ancestors(sense)
        }
        own = [kind for kind, senses in kinds.items() if senses & above]
        if len(own) == 1:
            chosen.append(Picture(thing.name, thing.pixels, (own[0],), {}))
            truth.append(own[0])
    ranked = _ranked(model, chosen, list(_KINDS))
    right = sum(row[0] == kind for row, kind in zip(ranked, truth, strict=True))
    return {
        "images": len(chosen),
        "kinds": list(_KINDS),
        "top1": right / len(chosen),
        "chance": 1 / len(_KINDS),
    }


def agreement(
    model: LoadedModel, classifier: nn.Module, nouns: Nouns, classes: Sequence[int], scenes: Sequence[Picture]
) -> dict[str, Any]:
    """How often the names of all 1,000 classes give the classifier's own choice, on random crops."""
    names = [nouns.synsets[offset].lemmas[0].lower() for offset in classes]
    crops = _crops(scenes)
    with torch.inference_mode():
        own = classifier.classifier(pooled_features(classifier, crops)).argmax(1).tolist()  # type: ignore[operator]
    pictures = [Picture(str(i), crop, (names[own[i]],), {}) for i, crop in enumerate(crops)]
    ranked = _ranked(model, pictures, list(dict.fromkeys(names)))
    return {"images": len(pictures), "labels": len(set(names)), **_tops(ranked, pictures)}


def pointing(model: LoadedModel, scenes: Sequence[Picture]) -> dict[str, Any]:
    """Whether the strongest place of the map of a name lies in its box; chance is the share of the area."""
    rows = []
    for scene in scenes:
        for name, box in scene.boxes.items():
            share = (box[2] - box[0]) * (box[3] - box[1])
            maps = _map(model, scene.pixels, name)
            heat = maps.values[0]
            row, column = np.unravel_index(heat.argmax(), heat.shape)
            y, x = (row + 0.5) / heat.shape[0], (column + 0.5) / heat.shape[1]
            inside = box[0] <= y < box[2] and box[1] <= x < box[3]
            rows.append({"picture": scene.name, "name": name, "hit": bool(inside), "chance": share})
    hits, chance = np.mean([row["hit"] for row in rows]), np.mean([row["chance"] for row in rows])
    return {"boxes": len(rows), "hits": float(hits), "chance": float(chance), "each": rows}


def pointing_in_pairs(model: LoadedModel, things: Sequence[Picture], seed: int = 0) -> dict[str, Any]:
    """Two things side by side: whether the map of each name is stronger on its own half."""
    rng = np.random.default_rng(seed)
    order = rng.permutation(len(things))
    hits, mass, count = 0, 0.0, 0
    for left, right in zip(order[::2], order[1::2], strict=False):
        pair = (things[left], things[right])
        if pair[0].answers == pair[1].answers:
            continue
        pixels = np.concatenate([_squared(thing.pixels) for thing in pair], axis=1)
        for side, thing in enumerate(pair):
            heat = _map(model, pixels, thing.answers[0]).values[0].astype(float)
            middle = heat.shape[1] // 2  # an odd number of columns: the one in the middle belongs to neither
            halves = (heat[:, :middle].sum(), heat[:, heat.shape[1] - middle :].sum())
            share = halves[side] / max(sum(halves), 1e-12)
            hits, mass, count = hits + (share > 0.5), mass + share, count + 1
    return {
        "names": count,
        "own_half_stronger": hits / count,
        "mass_on_own_half": mass / count,
        "chance": 0.5,
    }


def _ranked(model: LoadedModel, pictures: Sequence[Picture], labels: Sequence[str]) -> list[list[str]]:
    """For each picture the labels, the most likely first."""
    with torch.inference_mode():
        words = model.text_features([_TEMPLATE.format(article(label)) for label in labels])  # [M, D]
        rows = [_features(model, picture.pixels) @ words.T for picture in pictures]
    return [[labels[i] for i in row.argsort(descending=True).tolist()] for row in rows]


def _features(model: LoadedModel, pixels: np.ndarray) -> Tensor:
    return model.image_features([model.prepare(_media(pixels))])[0]


def _tops(ranked: Sequence[Sequence[str]], pictures: Sequence[Picture]) -> dict[str, float]:
    pairs = list(zip(ranked, pictures, strict=True))
    return {
        "top1": sum(row[0] in picture.answers for row, picture in pairs) / len(pairs),
        "top5": sum(bool(set(row[:5]) & set(picture.answers)) for row, picture in pairs) / len(pairs),
    }


def _map(model: LoadedModel, pixels: np.ndarray, name: str) -> TokenMaps:
    media = _media(pixels)
    text = _TEMPLATE.format(article(name))
    maps = explain(model, model.prepare(media), query_sequence(model, media.id, text), MapSpec("gradcam"))
    assert maps.whole is not None
    return TokenMaps(maps.whole[None], maps.tokens[:1], maps.geometry, maps.kind, maps.spec, maps.description)


def _media(pixels: np.ndarray) -> Media:
    return Media("measured", Modality.IMAGE, "measured", pixels=np.ascontiguousarray(pixels))


def _squared(pixels: np.ndarray) -> np.ndarray:
    return np.array(Image.fromarray(pixels).resize((SIDE, SIDE), Image.Resampling.BICUBIC))


def _crops(scenes: Sequence[Picture], seed: int = 0) -> np.ndarray:
    """Random crops, some mirrored, uint8 [N, 224, 224, 3]."""
    rng = np.random.default_rng(seed)
    found = []
    for scene in scenes:
        height, width = scene.pixels.shape[:2]
        for _ in range(_CROPS):
            side = int(min(height, width) * rng.uniform(0.4, 1))
            top, left = rng.integers(0, height - side + 1), rng.integers(0, width - side + 1)
            crop = _squared(scene.pixels[top : top + side, left : left + side])
            found.append(crop[:, ::-1] if rng.random() < 0.5 else crop)
    return np.stack(found)
