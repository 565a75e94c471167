"""What Show, Attend and Tell says of scenes, and whether alpha points at what it names; chance beside."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from itertools import combinations
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from mmviewer.core.models.sat.network import ShowAttendTell
from mmviewer.core.models.sat.words import Words
from recipe.attend_scenes import STYLES, Eyes, Span, encode, read_things, scene_generator, stacked
from recipe.captions import nouns_of, recall
from recipe.concepts import Concept
from recipe.scenes import HoldOut, Scene, held_out, patch_mask
from recipe.sprites import load_index
from recipe.wording import PAIR_KINDS, Kind

LONGEST = 24
_CHUNK = 32
GROUPS: dict[str, tuple[Kind, ...]] = {
    "one thing": ("single",), "two things": PAIR_KINDS, "three to five things": ("three", "many"),
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class SceneSet:
    """Scenes that are measured on."""

    name: str
    styles: Sequence[str]
    seed: int
    holdout: HoldOut = "train"

    @property
    def groups(self) -> dict[str, tuple[Kind, ...]]:
        """Arrangements by group; pairs that are held out are drawn as pairs alone."""
        return GROUPS if self.holdout == "train" else {"two things": PAIR_KINDS}


SETS = (
    SceneSet("styles trained on", STYLES, 920_001),
    SceneSet("pairs never drawn together", STYLES, 920_002, "test"),
    SceneSet("twemoji, never trained on", ("twemoji",), 920_003),
)


@dataclass(frozen=True, slots=True)
class Captions:
    """Of one group, shares from 0 to 1.

    Attributes
    ----------
    scenes
        How many.
    nouns, nouns_chance
        Share of the nouns that stand in their caption, and in the caption of the next scene of the group.
    whole
        Share of captions that are the canonical one to the letter.
    """

    scenes: int
    nouns: float
    nouns_chance: float
    whole: float


@dataclass(frozen=True, slots=True)
class Pointing:
    """Of alpha with the true caption fed; each noun's map is the mean of the steps that predict its words.

    Attributes
    ----------
    nouns
        How many maps.
    peak, chance, centre
        Share of maps that peak in a cell of the noun's box; the boxes' share of the picture, which a cell
        drawn blindly reaches; and what the cell in the middle reaches.
    mass
        Mean share of alpha in the box; evenly spread it would be `chance`.
    right_thing
        Share of nouns whose box gets more alpha for each cell than the other boxes; None for one thing.
    """

    nouns: int
    peak: float
    chance: float
    centre: float
    mass: float
    right_thing: float | None


def measure(network: ShowAttendTell, words: Words, work: Path, scenes: int = 200) -> dict[str, Any]:
    """Captions and pointing by set of scenes and group; see `Captions` and `Pointing`."""
    concepts = load_index(work)[0]
    eyes = Eyes(network.encoder, network.sizes.side, "f32")
    found: dict[str, Any] = {"scenes of each group": scenes}
    names = [concepts[index].name for index in read_things(concepts)]
    some_held_out = any(held_out(a, b) for a, b in combinations(names, 2))
    for chosen in SETS:
        if chosen.holdout == "test" and not some_held_out:
            continue  # the few things of a small cache
        source = scene_generator(work, chosen.styles, seed=chosen.seed, holdout=chosen.holdout)
        found[chosen.name] = {
            name: _measured(
                network, words, eyes, [source.scene(kinds[i % len(kinds)]) for i in range(scenes)], concepts
            )
            for name, kinds in chosen.groups.items()
        }
    return found


@torch.no_grad()
def _measured(
    network: ShowAttendTell, words: Words, eyes: Eyes, scenes: Sequence[Scene], concepts: Sequence[Concept]
) -> dict[str, Any]:
    written: list[str] = []
    maps: list[tuple[Scene, int, Tensor]] = []
    for first in range(0, len(scenes), _CHUNK):
        part = scenes[first : first + _CHUNK]
        cells = network.encoder.annotate(*eyes.maps(eyes.see(stacked(part))))
        written += captions(network, words, cells)
        for own, scene in zip(cells, part, strict=True):
            ids, spans = encode(scene, words)
            alpha = alphas(network, own[None], [words.start, *ids])
            maps += [(scene, noun, _of_span(alpha, span)) for noun, span in enumerate(spans)]
    nouns = [nouns_of(scene, concepts) for scene in scenes]
    said = Captions(
        len(scenes),
        recall(written, nouns),
        recall([*written[1:], *written[:1]], nouns),
        sum(a == b.caption for a, b in zip(written, scenes, strict=True)) / len(scenes),
    )
    return {"captions": asdict(said), "pointing": asdict(_pointing(maps, network.sizes.grid[0]))}


def captions(network: ShowAttendTell, words: Words, cells: Tensor) -> list[str]:
    """The most probable word after the other for each picture [B, L, D]."""
    ids = torch.full((len(cells), 1), words.start)
    memory, written = None, [ids]
    for _ in range(LONGEST):
        logits, memory = network.read(cells, ids, memory)
        ids = logits[:, -1].argmax(-1, keepdim=True)
        written.append(ids)
    rows = torch.cat(written, 1)[:, 1:].tolist()
    return [words.join(row[: row.index(words.end)] if words.end in row else row)[0] for row in rows]


def alphas(network: ShowAttendTell, cells: Tensor, ids: Sequence[int]) -> Tensor:
    """The weights [T, L] by which each word after ``ids[j]`` is predicted, for one picture [1, L, D]."""
    compared, memory = network.attention.of_cell(cells), network.begin(cells)
    found = []
    for word in network.embedding(torch.tensor(ids)):
        step = network.step(cells, compared, memory, word[None])
        memory = step.memory
        found.append(step.alpha[0])
    return torch.stack(found)


def _of_span(alpha: Tensor, span: Span) -> Tensor:
    """Mean map [L] of the steps that predict a noun's words: row j predicts word j."""
    return alpha[span.first : span.end].mean(0)


def _pointing(maps: Sequence[tuple[Scene, int, Tensor]], grid: int) -> Pointing:
    peaks, areas, middles, masses, right = [], [], [], [], []
    for scene, noun, alpha in maps:
        size = scene.image.shape[0]
        boxes = [torch.from_numpy(patch_mask(each, size, grid)) for each in scene.boxes]
        own = boxes[noun]
        peaks.append(bool(own[alpha.argmax()]))
        areas.append(float(own.float().mean()))
        middles.append(bool(own[grid // 2 * grid + grid // 2]))
        masses.append(float(alpha[own].sum()))
        others = torch.stack(boxes).any(0) & ~own
        if others.any():
            right.append(bool(alpha[own].mean() > alpha[others].mean()))
    count = len(maps)
    return Pointing(
        count, sum(peaks) / count, sum(areas) / count, sum(middles) / count, sum(masses) / count,
        sum(right) / len(right) if right else None,
    )  # fmt: skip
