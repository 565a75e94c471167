"""Methods measured against each other on pictures whose boxes are known.

Each thing is asked for twice where the model can: by a description of it alone, whose map is that of the
whole description, and by its noun in the true caption, fed to the decoder, whose map is the mean over the
noun's tokens. Curves of every map go through the same random orders.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

import numpy as np

from mmviewer.core.capture.store import CaptureStore
from mmviewer.core.errors import InputError, UnsupportedError
from mmviewer.core.explain.base import METHODS, estimate, explain, method_infos
from mmviewer.core.explain.faithfulness import curves
from mmviewer.core.explain.measures import Curves, Scale, Verdict, covered, mass_in, points_into
from mmviewer.core.explain.pace import Pace
from mmviewer.core.explain.scenes import Scene, Thing
from mmviewer.core.explain.selection import show, tokens_of_word
from mmviewer.core.media.geometry import Box, ImageGeometry
from mmviewer.core.media.open import open_media
from mmviewer.core.method_info import MethodInfo
from mmviewer.core.models.base import LoadedModel, Prepared
from mmviewer.core.progress import SILENT, Progress
from mmviewer.core.tasks.query import query_sequence
from mmviewer.core.types import Capability, MapSpec, Modality, TokenMaps, TokenSequence

Asked = Literal["description", "caption"]
DEAR_SECONDS = 2.0
STEPS, RANDOM_MAPS = 16, 5


@dataclass(frozen=True, slots=True)
class Row:
    """Means over the maps of one method in one group of scenes.

    Parameters
    ----------
    method, label : str
    asked : {"description", "caption"}
    group : str
    scenes, maps, curves : int
        How many scenes and maps there were, and of how many maps the curves were measured.
    pointing, pointing_chance : float
        Share of maps whose strongest patch lies in the thing's box, and of patches that do.
    mass, mass_chance : float
        Share of the map's weight inside the box, and of the picture.
    deletion, insertion, random : float or None
        Mean areas under the curves; see `mmviewer.core.explain.measures.Curves`.
    better : float or None
        Share of maps whose deletion and insertion both beat every random order.
    scale : Scale or None
        In what the areas are told.
    seconds : float
        Mean time of one map.
    """

    method: str
    label: str
    asked: Asked
    group: str
    scenes: int
    maps: int
    curves: int
    pointing: float
    pointing_chance: float
    mass: float
    mass_chance: float
    deletion: float | None
    insertion: float | None
    random: float | None
    better: float | None
    scale: Scale | None
    seconds: float


@dataclass(frozen=True, slots=True)
class Plan:
    """How much is measured.

    Parameters
    ----------
    scenes : int or None
        Of each group, the first so many; None for all.
    measured : int
        Of so many things of each group curves are measured, and maps made that take longer than
        `DEAR_SECONDS`.
    methods : tuple of str
        Which; empty for all that the model offers.
    """

    scenes: int | None = None
    measured: int = 24
    methods: tuple[str, ...] = ()
    steps: int = STEPS
    random_maps: int = RANDOM_MAPS


@dataclass(slots=True)
class _Tally:
    """What was found of one method in one group."""

    info: MethodInfo
    asked: Asked
    group: str
    scenes: set[str] = field(default_factory=set)
    hits: list[bool] = field(default_factory=list)
    hit_chances: list[float] = field(default_factory=list)
    masses: list[float] = field(default_factory=list)
    mass_chances: list[float] = field(default_factory=list)
    curves: list[Curves] = field(default_factory=list)
    seconds: list[float] = field(default_factory=list)

    def row(self) -> Row:
        every = self.curves
        return Row(
            method=self.info.key,
            label=self.info.label,
            asked=self.asked,
            group=self.group,
            scenes=len(self.scenes),
            maps=len(self.hits),
            curves=len(every),
            pointing=float(np.mean(self.hits)),
            pointing_chance=float(np.mean(self.hit_chances)),
            mass=float(np.mean(self.masses)),
            mass_chance=float(np.mean(self.mass_chances)),
            deletion=float(np.mean([each.deletion_area for each in every])) if every else None,
            insertion=float(np.mean([each.insertion_area for each in every])) if every else None,
            random=float(np.mean([each.random_area for each in every])) if every else None,
            better=float(np.mean([each.verdict is Verdict.BETTER for each in every])) if every else None,
            scale=every[0].scale if every else None,
            seconds=float(np.mean(self.seconds)),
        )


class _Quietly(Progress):
    """Passes a cancel on; the steps within a map are too small to be told."""

    def __init__(self, progress: Progress) -> None:
        super().__init__()
        self._progress = progress

    def check(self) -> None:
        self._progress.check()


@dataclass(frozen=True, slots=True, eq=False)
class _Task:
    """One thing of one scene, asked for in one way; `made` holds the maps of its text by method."""

    scene: Scene
    thing: Thing
    asked: Asked
    prepared: Prepared
    sequence: TokenSequence
    tokens: tuple[int, ...]
    closely: bool
    made: dict[str, TokenMaps | None]

    @property
    def boxes(self) -> list[Box]:
        return [(top, left, bottom, right) for left, top, right, bottom in self.thing.boxes]


def evaluate(
    model: LoadedModel,
    folder: Path,
    scenes: Sequence[Scene],
    plan: Plan = Plan(),
    progress: Progress = SILENT,
) -> list[Row]:
    """Measure methods on the scenes of a folder (`read_scenes`).

    Returns
    -------
    list of Row
        By group, way of asking and method; only what the model offers.

    Raises
    ------
    InputError
        There is no such method.
    UnsupportedError
        The model explains neither descriptions nor captions of pictures, or with none of the methods.
    """
    side = model.side(Modality.IMAGE)
    infos = _wanted(side, plan)
    chosen = [scene for group in _groups(scenes) for scene in group[: plan.scenes]]
    closely = {scene.file for group in _groups(scenes) for scene in _first_things(group, plan.measured)}
    pace, quietly = Pace(), _Quietly(progress)
    tallies: dict[tuple[str, Asked, str], _Tally] = {}
    for number, scene in enumerate(chosen):
        progress.report(number, len(chosen), f"Measuring on {scene.file}")
        store = CaptureStore()
        for task in _tasks(side, folder, scene, closely=scene.file in closely):
            kind = task.sequence.kind
            for info in (each for each in infos if each.points_for(kind)):
                key = (scene.group, task.asked, info.key)
                tally = tallies.setdefault(key, _Tally(info, task.asked, scene.group))
                _measure(side, task, tally, plan, pace, store, quietly)
    rows = [tally.row() for tally in tallies.values() if tally.hits]
    if not rows:
        raise UnsupportedError(
            f"{model.info.label} explains none of these pictures with the chosen methods; choose another "
            "model or other methods."
        )
    order = {group: place for place, group in enumerate(dict.fromkeys(scene.group for scene in scenes))}
    return sorted(rows, key=lambda row: (order[row.group], row.asked == "caption"))


def _wanted(model: LoadedModel, plan: Plan) -> list[MethodInfo]:
    for key in plan.methods:
        METHODS.get(key)  # says which there are
    return [info for info in method_infos(model) if not plan.methods or info.key in plan.methods]


def _groups(scenes: Sequence[Scene]) -> list[list[Scene]]:
    by_name: dict[str, list[Scene]] = {}
    for scene in scenes:
        by_name.setdefault(scene.group, []).append(scene)
    return list(by_name.values())


def _first_things(scenes: Sequence[Scene], count: int) -> list[Scene]:
    """The first scenes that hold `count` things together."""
    first: list[Scene] = []
    for scene in scenes:
        if sum(len(each.things) for each in first) >= count:
            break
        first.append(scene)
    return first


def _tasks(model: LoadedModel, folder: Path, scene: Scene, *, closely: bool) -> Iterator[_Task]:
    prepared = model.prepare(open_media(str(folder / scene.file)))
    embeds = model.info.can(Capability.EMBED_IMAGE) and model.info.can(Capability.EMBED_TEXT)
    caption = _fed(model, prepared, scene.caption) if model.info.can(Capability.CAPTION) else None
    of_caption: dict[str, TokenMaps | None] = {}
    for thing in scene.things:
        if embeds:
            sequence = query_sequence(model, prepared.media_id, thing.text or thing.noun)
            yield _Task(scene, thing, "description", prepared, sequence, (), closely, {})
        if caption is not None:
            tokens = tokens_of_word(caption.tokens, thing.noun)
            yield _Task(scene, thing, "caption", prepared, caption, tokens, closely, of_caption)


def _fed(model: LoadedModel, prepared: Prepared, caption: str) -> TokenSequence | None:
    """The true caption as if the model had written it; None where there is no caption."""
    ids = [token.id for token in model.tokenize(caption)]
    if not ids:
        return None
    text, spans = model.token_text(ids)
    prompt = tuple(model.decoder(prepared).prompt)
    return TokenSequence("caption", prepared.media_id, model.info.id, text, spans, prompt_ids=prompt)


def _measure(
    model: LoadedModel,
    task: _Task,
    tally: _Tally,
    plan: Plan,
    pace: Pace,
    store: CaptureStore,
    progress: Progress,
) -> None:
    maps = _maps(model, task, tally, pace, progress)
    if maps is None:
        return
    geometry, grid = maps.geometry, show(maps, task.tokens).grid
    if not isinstance(geometry, ImageGeometry):
        raise InputError(f"{task.scene.file} is no picture; scenes are pictures with boxes.")
    tally.scenes.add(task.scene.file)
    tally.hits.append(points_into(grid, geometry, task.boxes))
    tally.masses.append(mass_in(grid, geometry, task.boxes))
    tally.mass_chances.append(float(covered(geometry, task.boxes).mean()))
    tally.hit_chances.append(_pointing_chance(geometry, task.boxes))
    if task.closely:
        tally.curves.append(
            curves(
                model,
                task.prepared,
                task.sequence,
                maps,
                task.tokens,
                steps=plan.steps,
                random_maps=plan.random_maps,
                progress=progress,
                store=store,
            )
        )


def _maps(model: LoadedModel, task: _Task, tally: _Tally, pace: Pace, progress: Progress) -> TokenMaps | None:
    """Maps of the task's text, made once; None where they take too long for so many, or vanish."""
    key = tally.info.key
    if key not in task.made:
        spec, began = MapSpec(key), time.perf_counter()
        task.made[key] = None
        if not task.closely and _is_dear(model, task, spec, pace):
            return None
        try:
            # without a store: what another method left there would make this one look quick
            task.made[key] = explain(model, task.prepared, task.sequence, spec, progress)
        except UnsupportedError:
            return None  # this very map vanishes; the table says how many maps it is about
        tally.seconds.append(time.perf_counter() - began)
    return task.made[key]


def _is_dear(model: LoadedModel, task: _Task, spec: MapSpec, pace: Pace) -> bool:
    cost = estimate(model, task.prepared, task.sequence, spec)
    return pace.expect(model, task.prepared, task.sequence, spec.method, cost) > DEAR_SECONDS


def _pointing_chance(geometry: ImageGeometry, boxes: Sequence[Box]) -> float:
    """Share of patches that would be a hit if they were the strongest."""
    rows, columns = geometry.grid
    hits = 0
    for place in range(rows * columns):
        single = np.zeros(rows * columns, np.float32)
        single[place] = 1
        hits += points_into(single.reshape(rows, columns), geometry, boxes)
    return hits / (rows * columns)
