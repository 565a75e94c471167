"""What a model's folder tells people: measured figures, a card, its licence, and the questions it answers.

Anyone can write such a folder, so everything is bounded and checked. What is broken is left out with a note:
a model is not refused over its description.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, TypeVar

from mmviewer.core.models import files
from mmviewer.core.types import ModelAbout, ModelFigure, QuestionForm

FIGURES = "figures.json"
CARD = "README.md"
PLACE = "{question}"
_MOST_BYTES = 1 << 20
_MOST_FIGURES = 24
_MOST_EXAMPLES = 12
_LINE = 300  # characters of a name, a licence, an example
_SENTENCE = 600

_Told = TypeVar("_Told")


def read_about(folder: Path | None, config: str) -> ModelAbout:
    """Return what `folder` tells, all of it optional; `config` is the file whose key "mmviewer" is ours."""
    if folder is None:
        return ModelAbout()
    own = files.read_json(folder / config).get("mmviewer") if (folder / config).is_file() else None
    told: Mapping[str, Any] = own if isinstance(own, dict) else {}
    notes: list[str] = []

    def read(where: str, value: Any, check: Callable[[Any], _Told], missing: _Told) -> _Told:
        if value is None:
            return missing
        try:
            return check(value)
        except (ValueError, TypeError, KeyError) as error:
            notes.append(f"{where} is left out: {error}")
            return missing

    card = folder / CARD
    return ModelAbout(
        questions=read("“questions” of the configuration", told.get("questions"), _question_form, None),
        figures=read(FIGURES, _figures_in(folder / FIGURES, notes), _figures, ()),
        licence=read("“licence” of the configuration", told.get("licence"), lambda v: _text(v, _LINE), ""),
        limits=read("“limits” of the configuration", told.get("limits"), lambda v: _text(v, _SENTENCE), ""),
        card=str(card.resolve()) if card.is_file() else "",
        notes=tuple(notes),
    )


def _figures_in(path: Path, notes: list[str]) -> Any:
    if not path.is_file():
        return None
    try:
        if path.stat().st_size > _MOST_BYTES:
            raise ValueError("it is too large")
        return json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        notes.append(f"{FIGURES} cannot be read and is left out: {_shortened(str(error))}")
        return None


def _figures(listed: Any) -> tuple[ModelFigure, ...]:
    if not isinstance(listed, list):
        raise TypeError("it is no list")
    return tuple(_figure(entry) for entry in listed[:_MOST_FIGURES])


def _figure(entry: Any) -> ModelFigure:
    if not isinstance(entry, dict):
        raise TypeError("an entry is no object")
    chance = entry.get("chance")
    return ModelFigure(
        name=_text(entry.get("name"), _LINE),
        value=_number(entry.get("value")),
        chance=None if chance is None else _number(chance),
        unit=_text(entry.get("unit", ""), 24, empty=True),
        note=_text(entry.get("note", ""), _SENTENCE, empty=True),
    )


def _question_form(told: Any) -> QuestionForm:
    if not isinstance(told, dict):
        raise TypeError("it is no object")
    prompt = _text(told.get("prompt"), _LINE)
    if prompt.count(PLACE) != 1:
        raise ValueError(f"its prompt must hold {PLACE} once")
    examples = told.get("examples", [])
    if not isinstance(examples, list):
        raise TypeError("its examples are no list")
    return QuestionForm(prompt, tuple(_text(example, _LINE) for example in examples[:_MOST_EXAMPLES]))


def _text(value: Any, most: int, *, empty: bool = False) -> str:
    if not isinstance(value, str):
        raise TypeError("a text is missing")
    line = " ".join(value.split())
    if len(line) > most or not (line or empty):
        raise ValueError("a text is empty or too long")
    return line


def _number(value: Any) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        raise ValueError("a value is no number")
    return float(value)


def _shortened(text: str) -> str:
    line = " ".join(text.split())
    return line if len(line) <= 120 else f"{line[:119]}…"
