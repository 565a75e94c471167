"""Questions about a scene, each with the answer that the picture gives."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from recipe.concepts import Concept, is_plural, with_article
from recipe.confusable import FalseConcepts
from recipe.painting import Box, Random
from recipe.wording import NUMBERS, Facts, Kind

QuestionKind = Literal["count", "colour", "where", "exists", "what"]

_OFF, _NEAR = 0.13, 0.07  # of the picture's side: surely off its middle line, surely near it
_SHARE_ABSENT = 0.2
_SHARE_COUNTED = 0.3
_SHARE_NO = 0.5
_NUMBER_WORDS = ("zero", "one", *NUMBERS)
# What is said between "what is" and the second noun, for the first noun; and the other way round.
_WHAT: dict[Kind, tuple[str, str]] = {
    "beside": ("to the left of", "to the right of"), "over": ("above", "below"), "on": ("on", "under"),
    "behind": ("behind", "in front of"), "inside": ("inside", ""),
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Question:
    """A question in lower case, without its question mark.

    Attributes
    ----------
    words, answer
        One word each; ``words`` may be ("how", "many", "dogs"), ``answer`` ("two",).
    noun
        The noun of the scene that it is about, -1 for none of them.
    kind
        What is asked for.
    """

    words: Sequence[str]
    answer: Sequence[str]
    noun: int
    kind: QuestionKind


def place_of(box: Box, side: int) -> str | None:
    """Where in the picture a box lies, in words, or None for a place that is hard to name."""
    across = _offset((box[0] + box[2]) / 2 / side, "left", "right")
    along = _offset((box[1] + box[3]) / 2 / side, "top", "bottom")
    if across is None or along is None:
        return None
    if across and along:
        return f"at the {along} {across}"
    if across:
        return f"on the {across}"
    return f"at the {along}" if along else "in the middle"


def _offset(centre: float, low: str, high: str) -> str | None:
    """Which half a coordinate (0 to 1) lies in, "" for the middle, None in between."""
    off = centre - 0.5
    if abs(off) < _NEAR:
        return ""
    if abs(off) < _OFF:
        return None
    return low if off < 0 else high


class Asker:
    """Asks about scenes.

    Parameters
    ----------
    concepts
        All concepts.
    false_concepts
        What may be asked for though it is not there.
    random
        Of everything random.
    """

    def __init__(self, concepts: Sequence[Concept], false_concepts: FalseConcepts, random: Random) -> None:
        self._concepts, self._false_concepts, self._random = concepts, false_concepts, random

    def questions(self, facts: Facts, side: int) -> list[Question]:
        """Two or three questions of different kinds about a picture of this side."""
        asked = [self._exists(facts), self._colour(facts), self._what(facts), self._where(facts, side)]
        several = facts.kind in ("count", "groups")
        if several or self._random.chance(_SHARE_COUNTED):  # or nearly every answer would be "one"
            asked.append(self._count(facts))
        by_kind = {question.kind: question for question in asked if question is not None}
        kinds = list(by_kind)
        wanted: list[QuestionKind] = []
        if several:
            wanted.append("count")
        while kinds and len(wanted) < 3:
            kind = kinds.pop(self._random.index(len(kinds)))
            if kind not in wanted:
                wanted.append(kind)
        return [by_kind[kind] for kind in wanted if kind in by_kind]

    def ask(self, kind: QuestionKind, facts: Facts, side: int) -> Question | None:
        """A question of this kind, or None where the scene gives no clear answer."""
        if kind == "exists":
            return self._exists(facts)
        if kind == "count":
            return self._count(facts)
        if kind == "colour":
            return self._colour(facts)
        return self._what(facts) if kind == "what" else self._where(facts, side)

    def _any(self, facts: Facts) -> int:
        return self._random.index(len(facts.things))

    def _absent(self, facts: Facts, like: int | None) -> int | None:
        there = [thing.concept for thing in facts.things]
        return self._false_concepts.draw(there, like)

    def _name(self, concept: int) -> str:
        return with_article(self._concepts[concept].name)

    def _exists(self, facts: Facts) -> Question | None:
        index = self._any(facts)
        concept: int | None = facts.things[index].concept
        answer = "yes"
        if self._random.chance(_SHARE_NO):
            index, answer, concept = -1, "no", self._absent(facts, concept)
        if concept is None:
            return None
        opening = "are there" if is_plural(self._concepts[concept].name) else "is there"
        return _question(f"{opening} {self._name(concept)}", answer, index, "exists")

    def _count(self, facts: Facts) -> Question | None:
        index = self._any(facts)
        concept: int | None = facts.things[index].concept
        if is_plural(self._concepts[facts.things[index].concept].name):  # how many is a pair of glasses?
            return None
        number = len(facts.things[index].boxes)
        if self._random.chance(_SHARE_ABSENT):
            index, number, concept = -1, 0, self._absent(facts, concept)
        if concept is None or is_plural(self._concepts[concept].name):
            return None
        return _question(f"how many {self._concepts[concept].plural}", _NUMBER_WORDS[number], index, "count")

    def _colour(self, facts: Facts) -> Question | None:
        coloured = [i for i, thing in enumerate(facts.things) if thing.colour and len(thing.boxes) == 1]
        if not coloured:
            return None
        index = coloured[self._random.index(len(coloured))]
        name = self._concepts[facts.things[index].concept].name
        spelling = "colour" if self._random.chance(0.5) else "color"
        verb = "are" if is_plural(name) else "is"
        colour = facts.things[index].colour or ""
        return _question(f"what {spelling} {verb} the {name}", colour, index, "colour")

    def _where(self, facts: Facts, side: int) -> Question | None:
        index = self._any(facts)
        thing = facts.things[index]
        place = place_of(thing.boxes[0], side) if len(thing.boxes) == 1 else None
        if place is None:
            return None
        name = self._concepts[thing.concept].name
        verb = "are" if is_plural(name) else "is"
        return _question(f"where {verb} the {name}", place, index, "where")

    def _what(self, facts: Facts) -> Question | None:
        if facts.kind == "single":
            return _question("what is this", self._name(facts.things[0].concept), 0, "what")
        relations = _WHAT.get(facts.kind)
        if relations is None:
            return None
        index = 0 if not relations[1] or self._random.chance(0.5) else 1
        other = self._concepts[facts.things[1 - index].concept].name
        answer = self._name(facts.things[index].concept)
        return _question(f"what is {relations[index]} the {other}", answer, index, "what")


def _question(words: str, answer: str, noun: int, kind: QuestionKind) -> Question:
    return Question(tuple(words.split()), tuple(answer.split()), noun, kind)
