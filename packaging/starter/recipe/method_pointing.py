"""Whether the app's own attribution methods find the thing that a description names."""

from __future__ import annotations

import io
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from mmviewer.api import load
from mmviewer.core.errors import MMViewerError
from mmviewer.core.explain.base import available_methods, estimate, explain
from mmviewer.core.explain.selection import show
from mmviewer.core.media.image import load_image
from mmviewer.core.models.base import LoadedModel
from mmviewer.core.tasks.query import query_sequence
from mmviewer.core.types import MapSpec
from recipe.scenes import Scene, SceneGenerator, label_prompt, patch_mask
from recipe.sprites import load_index, load_sprites
from recipe.wording import Kind

STYLE, SEED = "twemoji", 910_010
_KINDS: tuple[Kind, ...] = ("beside", "over", "diagonal")
_SCENES = 20
_MOST_FORWARDS = 8  # of the model for one map; what takes more is left out


@dataclass(frozen=True, slots=True)
class MethodScores:
    """Of maps for "a dog" over pictures of two things, of which one is a dog; shares from 0 to 1.

    Attributes
    ----------
    maps
        How many.
    peak_inside, mass_inside
        Share of the maps that peak inside the thing's box, and mean share of what is for it that lies inside.
    chance
        Share of the picture that the boxes take.
    """

    maps: int
    peak_inside: float
    mass_inside: float
    chance: float


def score_methods(folder: Path, work: Path) -> dict[str, Any]:
    """Ask every method that can explain a description.

    Returns
    -------
    dict
        ``found``: `MethodScores` by method; ``refused``: why the others are not among them.
    """
    model = load(str(folder))
    concepts, labels = load_index(work)
    source = SceneGenerator(concepts, {STYLE: load_sprites(work, STYLE)}, labels, seed=SEED, canonical=True)
    scenes = [source.scene(_KINDS[i % len(_KINDS)]) for i in range(_SCENES)]
    names = {i: label_prompt(concepts[i]) for scene in scenes for i in scene.concepts}
    found, refused = {}, {}
    for method in available_methods(model):
        try:
            passes = _forwards(model, method, scenes[0], names)
            if passes > _MOST_FORWARDS:
                refused[method] = f"takes {passes} forward passes for one map"
                continue
            found[method] = asdict(_score(model, method, scenes, names))
        except MMViewerError as error:
            refused[method] = str(error)
    return {"found": found, "refused": refused}


def _forwards(model: LoadedModel, method: str, scene: Scene, names: dict[int, str]) -> int:
    prepared = model.prepare(load_image(_png(scene.image), "scene"))
    sequence = query_sequence(model, prepared.media_id, names[scene.concepts[0]])
    return estimate(model, prepared, sequence, MapSpec(method)).forwards


def _score(model: LoadedModel, method: str, scenes: Sequence[Scene], names: dict[int, str]) -> MethodScores:
    hits: list[bool] = []
    masses: list[float] = []
    shares: list[float] = []
    for number, scene in enumerate(scenes):
        prepared = model.prepare(load_image(_png(scene.image), f"scene {number}"))
        for concept, boxes in zip(scene.concepts, scene.boxes, strict=True):
            sequence = query_sequence(model, prepared.media_id, names[concept])
            grid = show(explain(model, prepared, sequence, MapSpec(method))).grid
            inside = patch_mask(boxes, scene.image.shape[0], grid.shape[0]).reshape(grid.shape)
            towards = np.clip(grid, 0, None)
            hits.append(bool(inside.ravel()[int(np.nanargmax(grid))]))
            masses.append(float(towards[inside].sum() / max(float(towards.sum()), 1e-12)))
            shares.append(float(inside.mean()))
    return MethodScores(len(hits), float(np.mean(hits)), float(np.mean(masses)), float(np.mean(shares)))


def _png(image: np.ndarray) -> bytes:
    file = io.BytesIO()
    Image.fromarray(image).save(file, "PNG")
    return file.getvalue()
