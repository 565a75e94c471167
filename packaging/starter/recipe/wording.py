"""What is said of a scene: its canonical caption, other true wordings, and captions false in one word.

The canonical caption follows from the picture: beside each other is ``to the left of``, over each other
``above`` and, where they touch, ``on``, partly hidden ``behind``, enclosed ``inside``, diagonal ``and``;
several things are a list in reading order, several of one kind a number; things of very different size are
``big`` and ``small``; the colour of a single thing is said wherever it is clear. A decoder can learn this.
The other wordings leave out, add or turn round what is said, so that the text tower knows them too.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Literal

from recipe import colours
from recipe.concepts import Concept, article, is_plural
from recipe.confusable import FalseConcepts
from recipe.painting import Box, Random

Kind = Literal[
    "single",
    "beside",
    "over",
    "diagonal",
    "on",
    "behind",
    "inside",
    "size",
    "three",
    "many",
    "count",
    "groups",
]
NegativeKind = Literal["noun", "colour", "count", "relation"]
Words = list[tuple[str, int]]  # a word and its noun's index, -1 for a word that is no part of a noun

NUMBERS = ("two", "three", "four", "five")
RELATIONS: dict[Kind, str] = {
    "beside": "to the left of", "over": "above", "on": "on", "behind": "behind", "inside": "inside",
    "diagonal": "and", "size": "and",
}  # fmt: skip
PAIR_KINDS: tuple[Kind, ...] = ("beside", "over", "diagonal", "on", "behind", "inside", "size")
_REVERSED: dict[Kind, str] = {
    "beside": "to the right of", "over": "below", "on": "under", "behind": "in front of",
}  # fmt: skip
# One word of a relation and the words that make it false.
_FALSE_RELATION: dict[Kind, dict[str, tuple[str, ...]]] = {
    "beside": {"left": ("right",), "right": ("left",)},
    "over": {"above": ("below", "behind", "inside"), "below": ("above", "behind", "inside")},
    "on": {"on": ("below", "behind", "inside")},
    "behind": {"behind": ("inside", "on")},
    "inside": {"inside": ("behind", "above", "below")},
}
_TRIES = 6
_OPENINGS = ("a picture of", "an image of", "a drawing of", "a photo of", "an icon of", "there is", "this is")


@dataclass(slots=True)
class Thing:
    """What one noun of a scene stands for: one thing, or several of one kind.

    Attributes
    ----------
    concept
        What it is.
    boxes
        Where each of them is.
    colour
        Its colour's name where that is clear and no part of the name.
    size
        "big" or "small" beside something of very different size, else nothing.
    """

    concept: int
    boxes: list[Box] = field(default_factory=list)
    colour: str | None = None
    size: str = ""


@dataclass(slots=True)
class Facts:
    """All that is true of a picture: its arrangement, its things in canonical order, its plain background."""

    kind: Kind
    things: list[Thing]
    background: str | None = None


class Wording:
    """Says scenes in words.

    Parameters
    ----------
    concepts
        All concepts.
    false_concepts
        What a false caption may name.
    random
        Of everything random.
    """

    def __init__(self, concepts: Sequence[Concept], false_concepts: FalseConcepts, random: Random) -> None:
        self._concepts, self._false_concepts, self._random = concepts, false_concepts, random

    def canonical(self, facts: Facts) -> Words:
        """The one caption that follows from the picture."""
        if facts.kind == "single":
            return self._noun(facts, 0, colour=True)
        if facts.kind in RELATIONS:
            return [*self._noun(facts, 0), *_plain(RELATIONS[facts.kind]), *self._noun(facts, 1)]
        return self._list(facts)

    def other(self, facts: Facts) -> Words:
        """Another wording that is true."""
        r = self._random
        ways = [self._opened, self._bare]
        if facts.kind in _REVERSED:
            ways += [self._reversed, self._reversed]
        if len(facts.things) > 1 and any(thing.colour for thing in facts.things):
            ways += [self._coloured, self._coloured]
        if facts.kind == "single":
            ways += [self._uncoloured]
            if facts.background:
                ways += [self._on_background]
        return ways[r.index(len(ways))](facts)

    def negatives(self, words: Words, facts: Facts) -> list[tuple[NegativeKind, Words]]:
        """False captions that differ in one word (a noun counts as one), one of each possible kind."""
        found: list[tuple[NegativeKind, Words]] = []
        for kind, wrong in (
            ("relation", self._wrong_relation(words, facts)),
            ("colour", self._wrong_colour(words)),
            ("count", self._wrong_number(words)),
            ("noun", self._wrong_noun(words, facts)),
        ):
            if wrong is not None:
                found.append((kind, wrong))  # type: ignore[arg-type]
        return found

    # --- true wordings ----------------------------------------------------------------------------

    def _noun(self, facts: Facts, index: int, *, colour: bool = False, bare: bool = False) -> Words:
        thing = facts.things[index]
        concept = self._concepts[thing.concept]
        several = len(thing.boxes) > 1
        name = (concept.plural if several else concept.name).split()
        lead = [word for word in (thing.size, thing.colour if colour else None) if word]
        if several:
            lead.insert(0, NUMBERS[len(thing.boxes) - 2])
        elif not bare and not is_plural(concept.name):
            lead.insert(0, article(" ".join([*lead, *name])))
        return [*((word, -1) for word in lead), *((word, index) for word in name)]

    def _list(self, facts: Facts, *, colour: bool = False) -> Words:
        words: Words = []
        for index in range(len(facts.things)):
            if index and index == len(facts.things) - 1:
                words.append(("and", -1))
            words += self._noun(facts, index, colour=colour)
            if index < len(facts.things) - 2:
                words[-1] = (words[-1][0] + ",", words[-1][1])
        return words

    def _opened(self, facts: Facts) -> Words:
        opening = _OPENINGS[self._random.index(len(_OPENINGS))]
        if opening.endswith("is") and (len(facts.things[0].boxes) > 1 or self._is_plural(facts, 0)):
            opening = "there are"
        return [*_plain(opening), *self.canonical(facts)]

    def _is_plural(self, facts: Facts, index: int) -> bool:
        return is_plural(self._concepts[facts.things[index].concept].name)

    def _bare(self, facts: Facts) -> Words:
        words: Words = []
        for index in range(len(facts.things)):
            words += self._noun(facts, index, bare=True)
            if index < len(facts.things) - 1:
                words[-1] = (words[-1][0] + ",", words[-1][1])
        return words

    def _reversed(self, facts: Facts) -> Words:
        return [*self._noun(facts, 1), *_plain(_REVERSED[facts.kind]), *self._noun(facts, 0)]

    def _coloured(self, facts: Facts) -> Words:
        if facts.kind not in RELATIONS:
            return self._list(facts, colour=True)
        relation = _plain(RELATIONS[facts.kind])
        return [*self._noun(facts, 0, colour=True), *relation, *self._noun(facts, 1, colour=True)]

    def _uncoloured(self, facts: Facts) -> Words:
        return self._noun(facts, 0)

    def _on_background(self, facts: Facts) -> Words:
        name = facts.background or ""
        return [*self._noun(facts, 0), *_plain(f"on {article(name)} {name} background")]

    # --- false wordings ---------------------------------------------------------------------------

    def _wrong_relation(self, words: Words, facts: Facts) -> Words | None:
        wrong = _FALSE_RELATION.get(facts.kind, {})
        place = next((i for i, (word, noun) in enumerate(words) if noun < 0 and word in wrong), None)
        if place is None:
            return None
        instead = wrong[words[place][0]]
        return _with(words, place, instead[self._random.index(len(instead))])

    def _wrong_colour(self, words: Words) -> Words | None:
        place = next((i for i, (w, noun) in enumerate(words) if noun < 0 and w in colours.COLOUR_WORDS), None)
        if place is None:
            return None
        said = words[place][0]
        instead = [c for c in colours.far_colours(said) if article(c) == article(said)]
        return _with(words, place, instead[self._random.index(len(instead))]) if instead else None

    def _wrong_number(self, words: Words) -> Words | None:
        places = [i for i, (word, noun) in enumerate(words) if noun < 0 and word in NUMBERS]
        if not places:
            return None
        place = places[self._random.index(len(places))]
        instead = [number for number in NUMBERS if number != words[place][0]]
        return _with(words, place, instead[self._random.index(len(instead))])

    def _wrong_noun(self, words: Words, facts: Facts) -> Words | None:
        index = self._random.index(len(facts.things))
        places = [i for i, (_, noun) in enumerate(words) if noun == index]
        thing = facts.things[index]
        several = len(thing.boxes) > 1
        before = words[places[0] - 1][0] if places[0] else ""
        concept = self._false_noun(facts, thing, before)
        if concept is None:
            return None
        name = (concept.plural if several else concept.name).split()
        comma = "," if words[places[-1]][0].endswith(",") else ""
        new = [*((word, index) for word in name[:-1]), (name[-1] + comma, index)]
        return [*words[: places[0]], *new, *words[places[-1] + 1 :]]

    def _false_noun(self, facts: Facts, thing: Thing, before: str) -> Concept | None:
        """A concept that is not there and whose name fits behind the word before it."""
        there = [t.concept for t in facts.things]
        plural = is_plural(self._concepts[thing.concept].name)
        for _ in range(_TRIES):
            wrong = self._false_concepts.draw(there, like=thing.concept)
            if wrong is None:
                return None
            concept = self._concepts[wrong]
            fits = before not in ("a", "an") or article(concept.name) == before
            if fits and is_plural(concept.name) == plural:
                return concept
        return None


def _plain(phrase: str) -> Words:
    return [(word, -1) for word in phrase.split()]


def _with(words: Words, place: int, word: str) -> Words:
    return [*words[:place], (word, words[place][1]), *words[place + 1 :]]
