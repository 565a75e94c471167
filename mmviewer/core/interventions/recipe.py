"""Interventions as plain frozen values: what is changed, in order, before a model is asked again.

A recipe is a tuple of steps. It travels to the engine, stands in a figure's provenance and is written as
JSON, which the command line reads again (NumPy-free, no torch, no Qt).
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from hashlib import sha256
from typing import Any, Literal, get_args

from mmviewer.core.errors import InputError
from mmviewer.core.targets import Removal

VERSION = 1
"""Of the JSON; counted up when an older program could misread it."""

MOST_STEPS = 64
_MOST_POINTS = 10_000
_LONGEST_WORD = 400  # characters
_MOST_TIMES = 100.0

Shape = Literal["box", "polygon", "span"]
Place = Literal["text", "query", "labels"]
How = Literal["zero", "uniform"]


@dataclass(frozen=True, slots=True)
class Region:
    """A part of an item, in its own coordinates.

    Parameters
    ----------
    shape : {"box", "polygon", "span"}
    points : tuple of tuple of float
        Two corners (x, y) of a box, three or more of a polygon, in pixels of the original; of a span the
        one pair (start, end) in seconds.
    name : str
        What lies there.
    """

    shape: Shape
    points: tuple[tuple[float, float], ...]
    name: str = ""

    def __post_init__(self) -> None:
        if self.shape not in get_args(Shape):
            raise InputError(f"There is no region of the shape {self.shape!r}; use box, polygon or span.")
        least = {"box": 2, "polygon": 3, "span": 1}[self.shape]
        count = len(self.points)
        if count < least or (count > least and self.shape != "polygon") or count > _MOST_POINTS:
            raise InputError(f"A {self.shape} of {count} points cannot be used; draw the region again.")
        if not all(math.isfinite(number) for point in self.points for number in point):
            raise InputError("A region has a place that is not a number; draw it again.")
        if self.shape == "span" and not self.points[0][1] > self.points[0][0]:
            raise InputError("A stretch of time must end after it begins; draw it again.")

    @property
    def words(self) -> str:
        """Its name, or where it lies."""
        if self.name:
            return f"“{self.name}”"
        if self.shape == "span":
            start, end = self.points[0]
            return f"{start:.2f} to {end:.2f} s"
        left, top, right, bottom = self.bounds
        return f"{self.shape} at {left:.0f}, {top:.0f} to {right:.0f}, {bottom:.0f}"

    @property
    def bounds(self) -> tuple[float, float, float, float]:
        """Left, top, right and bottom of a box or polygon."""
        xs, ys = zip(*self.points, strict=True)
        return min(xs), min(ys), max(xs), max(ys)


@dataclass(frozen=True, slots=True)
class HideRegion:
    """Put the mean, a blur or noise in place of a region."""

    region: Region
    by: Removal = "mean"
    kind: Literal["hide"] = field(default="hide", init=False)


@dataclass(frozen=True, slots=True)
class KeepRegion:
    """Put the mean, a blur or noise in place of all but a region."""

    region: Region
    by: Removal = "mean"
    kind: Literal["keep"] = field(default="keep", init=False)


@dataclass(frozen=True, slots=True)
class ChangeWord:
    """Put other words in place of a word, or drop it.

    Parameters
    ----------
    word : str
        One word or several in a row, as they stand there.
    into : str
        What stands there instead; empty drops the word.
    place : {"text", "query", "labels"}
        In the text that the model wrote or was asked with, in what is looked for, or in every label.
    nth : int
        Which occurrence, counted from 0; of a label always the first.
    """

    word: str
    into: str = ""
    place: Place = "text"
    nth: int = 0
    kind: Literal["word"] = field(default="word", init=False)


@dataclass(frozen=True, slots=True)
class SwitchOff:
    """Take heads out of a layer's attention.

    Parameters
    ----------
    point : str
        Name of a capture point.
    layer : int or None
        Counted from 0; None for all layers.
    heads : tuple of int
        Counted from 0; empty for all heads.
    how : {"zero", "uniform"}
        Whether they add nothing, or the mean of all values that they may see.
    """

    point: str
    layer: int | None = None
    heads: tuple[int, ...] = ()
    how: How = "zero"
    kind: Literal["heads"] = field(default="heads", init=False)


@dataclass(frozen=True, slots=True)
class ScaleGate:
    """Open or close the gate through which a layer's attention passes.

    Parameters
    ----------
    point : str
        Name of a capture point with gates.
    layer : int or None
        Counted from 0; None for all layers.
    factor : float
        What the gate is multiplied with: 0 shuts it.
    """

    point: str
    layer: int | None = None
    factor: float = 0.0
    kind: Literal["gate"] = field(default="gate", init=False)


Step = HideRegion | KeepRegion | ChangeWord | SwitchOff | ScaleGate
Recipe = tuple[Step, ...]

_BY = {"mean": "its mean", "blur": "a blur", "noise": "noise"}
_KINDS: dict[str, type[Step]] = {
    "hide": HideRegion,
    "keep": KeepRegion,
    "word": ChangeWord,
    "heads": SwitchOff,
    "gate": ScaleGate,
}


def step_words(step: Step, points: Mapping[str, str] | None = None) -> str:
    """Say what a step does, short enough for a chip; `points` has words for names of capture points."""
    if isinstance(step, HideRegion):
        silent = step.by == "mean" and step.region.shape == "span"
        verb = "blur" if step.by == "blur" else "silence" if silent else "hide"
        return f"{verb} {step.region.words}" + (f" · {_BY[step.by]}" if verb == "hide" else "")
    if isinstance(step, KeepRegion):
        return f"keep only {step.region.words} · {_BY[step.by]}"
    if isinstance(step, ChangeWord):
        where = "" if step.place == "text" else f" in the {step.place}"
        return f"“{step.word}” → “{step.into}”{where}" if step.into else f"without “{step.word}”{where}"
    if isinstance(step, ScaleGate):
        return f"gate of {_layer_words(step, points or {})} × {step.factor:g}"
    return f"{_head_words(step, points or {})} {'off' if step.how == 'zero' else 'made uniform'}"


def recipe_words(steps: Recipe) -> str:
    """Say what a recipe does; empty for none."""
    return "; ".join(step_words(step) for step in steps)


def recipe_values(steps: Recipe) -> dict[str, Any]:
    """A recipe as JSON holds it."""
    return {"mmviewer_recipe": VERSION, "steps": [asdict(step) for step in steps]}


def recipe_json(steps: Recipe) -> str:
    """A recipe as JSON."""
    return json.dumps(recipe_values(steps), ensure_ascii=False, indent=2)


def recipe_digest(steps: Recipe) -> str:
    """A short name that differs for recipes that differ."""
    return sha256(json.dumps(recipe_values(steps), sort_keys=True).encode()).hexdigest()[:12]


def read_recipe(text: str) -> Recipe:
    """Read what `recipe_json` wrote; `InputError` says what is wrong with anything else."""
    try:
        values = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise InputError("The recipe is no JSON that can be read; save it again.") from error
    return recipe_of(values)


def recipe_of(values: object) -> Recipe:
    """Make a recipe of what JSON holds; `InputError` for what is none."""
    if not isinstance(values, Mapping) or not isinstance(values.get("steps"), list):
        raise InputError("The recipe has no list of steps; save it again from the What if panel.")
    version = values.get("mmviewer_recipe")
    if version != VERSION:
        raise InputError(f"The recipe has version {version!r}, but this program reads {VERSION}; update it.")
    if len(values["steps"]) > MOST_STEPS:
        raise InputError(f"The recipe has {len(values['steps'])} steps; use at most {MOST_STEPS}.")
    return tuple(_step_of(step) for step in values["steps"])


def without(steps: Recipe, index: int) -> Recipe:
    """Return the recipe without one of its steps."""
    return tuple(step for place, step in enumerate(steps) if place != index)


def _layer_words(step: SwitchOff | ScaleGate, points: Mapping[str, str]) -> str:
    """People count layers and heads from 1."""
    place = points.get(step.point, step.point)
    return f"{place}, " + ("all layers" if step.layer is None else f"layer {step.layer + 1}")


def _head_words(step: SwitchOff, points: Mapping[str, str]) -> str:
    where = _layer_words(step, points)
    if not step.heads:
        return where
    several = "heads" if len(step.heads) > 1 else "head"
    return f"{where}, {several} {', '.join(str(head + 1) for head in step.heads)}"


def _step_of(values: object) -> Step:
    kind = _KINDS.get(str(values.get("kind"))) if isinstance(values, Mapping) else None
    if kind is None or not isinstance(values, Mapping):
        raise InputError(f"The recipe has a step that is not known ({_short(values)}); update the program.")
    given = {str(name): value for name, value in values.items() if name != "kind"}
    try:
        if "region" in given:
            given["region"] = _region_of(given["region"])
        if "heads" in given:
            given["heads"] = tuple(given["heads"])
        step = kind(**given)
    except (TypeError, ValueError, AttributeError) as error:
        raise InputError(f"A step of the recipe cannot be read ({_short(values)}); make it again.") from error
    return check_step(step)


def check_step(step: Step) -> Step:
    """Return a step whose values can be meant, or raise `InputError`."""
    if isinstance(step, HideRegion | KeepRegion):
        sound = isinstance(step.region, Region) and step.by in get_args(Removal)
    elif isinstance(step, ChangeWord):
        words = isinstance(step.word, str) and isinstance(step.into, str) and step.word.strip()
        short = words and max(len(step.word), len(step.into)) <= _LONGEST_WORD
        sound = bool(short) and step.place in get_args(Place) and _is_count(step.nth)
    elif isinstance(step, ScaleGate):
        times = isinstance(step.factor, int | float) and abs(step.factor) <= _MOST_TIMES
        sound = isinstance(step.point, str) and times and _is_count(step.layer or 0)
    else:
        counts = (*step.heads, 0 if step.layer is None else step.layer)
        sound = isinstance(step.point, str) and step.how in get_args(How) and all(map(_is_count, counts))
    if not sound:
        raise InputError(f"A step of the recipe cannot be used ({_short(asdict(step))}); make it again.")
    return step


def _region_of(values: Mapping[str, Any]) -> Region:
    points = tuple((float(first), float(second)) for first, second in values["points"])
    return Region(values["shape"], points, str(values.get("name", "")))


def _is_count(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value >= 0


def _short(values: object) -> str:
    text = repr(values)
    return text if len(text) <= 80 else f"{text[:79]}…"


def checked(steps: Sequence[Step]) -> Recipe:
    """Return steps as a recipe, each of them checked."""
    if len(steps) > MOST_STEPS:
        raise InputError(f"The recipe has {len(steps)} steps; use at most {MOST_STEPS}.")
    return tuple(check_step(step) for step in steps)
