"""Everything that is measured of a model, as one plain structure."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict, dataclass
from functools import partial
from itertools import combinations
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import torch

from recipe.answers import score_answers
from recipe.captions import score_captions
from recipe.coca import load_folder
from recipe.contrast import score_contrast
from recipe.encoded import Encoder, stacked
from recipe.metrics import calibration, plain_singles, zero_shot
from recipe.pointing import score_pointing
from recipe.retrieval import retrieval
from recipe.scenes import KIND_SHARES, HoldOut, Scene, SceneGenerator, held_out, label_prompt
from recipe.sources import SEALED_STYLES, TEST_STYLES
from recipe.sprites import load_index, load_sprites
from recipe.wording import PAIR_KINDS

LABELS_OF_THE_PREVIOUS_VERSION = 273
LABELS, METHODS, SOUND = "labels", "methods", "sound"
SEEN_STYLES_MEASURED = ("noto", "fluent-3d", "clipart", "noto-lined")
_STYLES_OF_SCENES = ("noto", "fluent-3d", "emojione", "clipart", "noto-lined", "symbola-lined")

Measures = dict[str, Any]
Say = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class Amounts:
    """How much is drawn: scenes of each arrangement, questions and captions of each kind, the galleries."""

    scenes: int = 80
    questions: int = 150
    contrasts: int = 200
    gallery: int = 200

    @classmethod
    def of(cls, number: int) -> Amounts:
        """So many of each."""
        return cls(number, number, number, number)

    @classmethod
    def quick(cls) -> Amounts:
        """A part of the work, for a look while a run goes on."""
        return cls(scenes=20, questions=40, contrasts=60, gallery=100)


@dataclass(frozen=True, slots=True)
class SceneSet:
    """Scenes that are measured on: of which styles, from which seed, which pairs, and how thoroughly.

    Only a `whole` set is measured on questions, false captions and retrieval too.
    """

    name: str
    styles: Sequence[str]
    seed: int
    holdout: HoldOut = "train"
    whole: bool = True


SCENE_SETS = (
    SceneSet("styles trained on", _STYLES_OF_SCENES, 910_001),
    SceneSet("pairs never drawn together", _STYLES_OF_SCENES, 910_003, holdout="test", whole=False),
    SceneSet("twemoji, never trained on", ("twemoji",), 910_002),
    SceneSet("openmoji, never trained on", ("openmoji",), 910_004, whole=False),
)


@dataclass(frozen=True, slots=True)
class Plan:
    """What is measured of a model.

    Attributes
    ----------
    folder, work
        Of the model, and of the sprite cache and the clips.
    amounts
        How much is drawn.
    sealed
        Whether the sealed styles are measured on too; only a model that is final may be.
    methods
        Whether the app's attribution methods are asked.
    """

    folder: Path
    work: Path
    amounts: Amounts
    sealed: bool = False
    methods: bool = False

    def parts(self) -> list[str]:
        """What can be measured apart from each other: the labels, each set of scenes, methods, sounds."""
        concepts, labels = load_index(self.work)
        names = [concepts[i].name for i in labels]
        some_held_out = any(held_out(a, b) for a, b in combinations(names, 2))
        sets = [s.name for s in SCENE_SETS if s.holdout == "train" or some_held_out]
        sound = [SOUND] if (self.folder / "sound_config.json").exists() else []
        return [*sets, LABELS, *([METHODS] if self.methods else []), *sound]


def measure(plan: Plan, *, processes: int = 1, kept: Path | None = None, say: Say = print) -> Measures:
    """Measure a model.

    Parameters
    ----------
    plan
        What to measure.
    processes
        How many parts are measured at once, each on one thread.
    kept
        A folder in which the parts that are done are kept, and found again by a later call.
    say
        Told what is done.

    Returns
    -------
    dict
        ``labels``, ``zero_shot`` and ``calibration`` by style, ``scenes`` by set with captions, pointing,
        retrieval, questions and contrast, ``methods`` and ``sound``; every key a word, as JSON has it.
    """
    measured: Measures = {"amounts": asdict(plan.amounts), "scenes": {}}
    with ProcessPoolExecutor(processes, mp_context=get_context("spawn")) as pool:
        names = plan.parts()
        for name, found in zip(names, pool.map(partial(_part, plan, kept), names), strict=True):
            say(f"{name}: {found['seconds']} s")
            if name == LABELS:
                measured |= found["figures"]
            elif name in (METHODS, SOUND):
                measured[name] = found["figures"]
            else:
                measured["scenes"][name] = found["figures"]
    return measured


def _part(plan: Plan, kept: Path | None, name: str) -> Measures:
    """One part's figures and what they took, from where they are kept or measured now."""
    file = None if kept is None else kept / f"{name.replace(' ', '-').replace(',', '')}.json"
    if file is None or not file.exists():
        torch.set_num_threads(1)
        started = time.monotonic()
        figures = _measured_part(plan, name)
        whole = json.dumps({"figures": figures, "seconds": round(time.monotonic() - started, 1)})
        if file is None:
            return dict(json.loads(whole))
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(whole, encoding="utf-8")
    return dict(json.loads(file.read_text(encoding="utf-8")))


def _measured_part(plan: Plan, name: str) -> Measures:
    if name == METHODS:
        from recipe.method_pointing import score_methods

        return score_methods(plan.folder, plan.work)
    if name == SOUND:
        from recipe.sound_metrics import measure as of_sound

        return dict(of_sound(plan.folder, plan.work, plan.amounts == Amounts.quick()))
    model, _, tokens = load_folder(plan.folder)
    encoder = Encoder(model, tokens)
    if name == LABELS:
        styles = (*TEST_STYLES, *(SEALED_STYLES if plan.sealed else ()), *SEEN_STYLES_MEASURED)
        return _measure_labels(encoder, plan.work, styles)
    scene_set = next(s for s in SCENE_SETS if s.name == name)
    return _measure_scenes(encoder, plan.work, scene_set, plan.amounts)


def _measure_labels(encoder: Encoder, work: Path, styles: Sequence[str]) -> Measures:
    concepts, labels = load_index(work)
    prompts = encoder.texts([label_prompt(concepts[i]) for i in labels])
    scale = float(encoder.model.logit_scale.detach().exp())
    found: Measures = {"labels": len(labels), "zero_shot": {}, "earlier_labels": {}, "calibration": {}}
    for style in styles:
        singles = plain_singles(load_sprites(work, style), labels)
        vectors = encoder.images(singles.images).vectors
        found["zero_shot"][style] = asdict(zero_shot(vectors, singles.targets, prompts))
        found["calibration"][style] = asdict(calibration(vectors, singles.targets, prompts, scale))
        if len(labels) <= LABELS_OF_THE_PREVIOUS_VERSION:
            continue
        earlier = singles.targets < LABELS_OF_THE_PREVIOUS_VERSION
        found["earlier_labels"][style] = asdict(
            zero_shot(vectors[earlier], singles.targets[earlier], prompts[:LABELS_OF_THE_PREVIOUS_VERSION])
        )
    return found


def _measure_scenes(encoder: Encoder, work: Path, chosen: SceneSet, amounts: Amounts) -> Measures:
    concepts, labels = load_index(work)
    sprites = {style: load_sprites(work, style) for style in chosen.styles}
    source = SceneGenerator(
        concepts, sprites, labels, seed=chosen.seed, holdout=chosen.holdout, canonical=True
    )
    kinds = [kind for kind, _ in KIND_SHARES if chosen.holdout == "train" or kind in PAIR_KINDS]
    scenes = [source.scene(kind) for kind in kinds for _ in range(amounts.scenes)]
    encoded = encoder.images(stacked(scenes))
    groups = {
        "one thing": ("single",),
        "two things": PAIR_KINDS,
        "three things": ("three",),
        "four or five things": ("many",),
    }
    pointing = {}
    for name, wanted in groups.items():
        rows = [i for i, scene in enumerate(scenes) if scene.kind in wanted]
        if rows:
            some = [scenes[i] for i in rows]
            pointing[name] = score_pointing(encoder, some, encoded.of(rows), concepts)
    found: Measures = {
        "captions": score_captions(encoder, scenes, encoded, concepts),
        "pointing": pointing,
    }
    if chosen.whole:
        found["retrieval"] = _retrieval(encoder, [source.scene() for _ in range(amounts.gallery)])
        found["questions"] = score_answers(encoder, source, amounts.questions)
        found["contrast"] = score_contrast(encoder, source, amounts.contrasts)
    return found


def _retrieval(encoder: Encoder, scenes: Sequence[Scene]) -> Measures:
    """Pictures and their captions asked for each other; equal captions belong together."""
    captions = [scene.caption for scene in scenes]
    images, texts = encoder.images(stacked(scenes)).vectors, encoder.texts(captions)
    return {
        "image to text": asdict(retrieval(images, texts, captions, captions)),
        "text to image": asdict(retrieval(texts, images, captions, captions)),
    }
