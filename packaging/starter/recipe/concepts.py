"""What can be drawn: concepts with a name, a plural and a group, and the label set of the model."""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from recipe.sources import TRAIN_STYLES

GROUPS = {3: "animals", 4: "food", 5: "travel", 6: "activities", 7: "objects"}
STYLES_OF_A_WIDELY_DRAWN_CONCEPT = 11
_SKIPPED_SUBGROUPS = {"time", "clock"}
_IRREGULAR = {
    "mouse": "mice", "sheep": "sheep", "fish": "fish", "leaf": "leaves", "knife": "knives", "tooth": "teeth",
    "wolf": "wolves", "ox": "oxen", "goose": "geese", "shrimp": "shrimp", "squid": "squid", "bison": "bison",
}  # fmt: skip

_AMBIGUOUS = """
button light key fire star sun bank office house home box paper clip pin note card book play hand string
knot hole abacus door window ring flag circle square diamond computer mouse seal bat tornado comet
volcano wood rock fog map link gear scroll label package satellite dna brick mirror plunger bucket hook
crane cloud camera world face eye heart family bubbles nest feather magnet shield ladder plug coin kite
candle bowling basketball football soccer volleyball orange lemon herb sponge jar cook beverage
"""
# A title or icon name with one of these words alone may well show something else than the emoji of that name.
AMBIGUOUS_NAMES = frozenset(_AMBIGUOUS.split())


@dataclass(frozen=True, slots=True)
class Concept:
    """One drawable thing."""

    hexcode: str
    label: str
    name: str
    plural: str
    group: str
    tags: tuple[str, ...]


def clean(label: str) -> str:
    """Lower case ASCII words, single spaces."""
    label = label.lower().replace("’", "'").replace("ñ", "n")
    return re.sub(r"\s+", " ", re.sub(r"[^a-z0-9' -]", " ", label)).strip()


def squeeze(label: str) -> str:
    """A name with nothing but letters and digits, to compare names however they are spaced."""
    return re.sub(r"[^a-z0-9]", "", clean(label))


def is_plural(name: str) -> bool:
    """Whether the name already stands in the plural (scissors, ballet shoes)."""
    last = name.split()[-1]
    return last.endswith("s") and not last.endswith(("ss", "us", "is", "as"))


def plural(name: str) -> str:
    """The plural of a name by rule and a few exceptions."""
    head, _, last = name.rpartition(" ")
    if last in _IRREGULAR:
        last = _IRREGULAR[last]
    elif is_plural(name):
        pass
    elif re.search(r"(s|x|z|ch|sh)$", last):
        last += "es"
    elif re.search(r"[^aeiou]y$", last):
        last = last[:-1] + "ies"
    else:
        last += "s"
    return f"{head} {last}".strip()


def article(words: str) -> str:
    """``a`` or ``an`` before these words."""
    return "an" if words[0] in "aeiou" and not words.startswith(("uni", "ufo", "one", "eu")) else "a"


def with_article(name: str) -> str:
    """The name as a caption says it: with its article, or bare when it is a plural."""
    return name if is_plural(name) else f"{article(name)} {name}"


def read_concepts(names_package: Path) -> list[Concept]:
    """Concepts of the five groups of things, from the unpacked names package, in its order."""
    entries = json.loads((names_package / "en" / "data.json").read_text(encoding="utf-8"))
    messages = json.loads((names_package / "en" / "messages.json").read_text(encoding="utf-8"))
    subgroups = {s["order"]: s["key"] for s in messages["subgroups"]}
    concepts: list[Concept] = []
    seen: set[str] = set()
    for entry in entries:
        group, name = GROUPS.get(entry.get("group", -1)), clean(entry["label"])
        if group is None or subgroups.get(entry.get("subgroup")) in _SKIPPED_SUBGROUPS:
            continue
        if name in seen or len(name.split()) > 5 or re.search(r"o'clock|thirty$", name):
            continue
        seen.add(name)
        tags = tuple(clean(tag) for tag in entry.get("tags", []))
        concepts.append(Concept(entry["hexcode"], entry["label"], name, plural(name), group, tags))
    return concepts


class NameMatcher:
    """Finds the concept that a title names: the longest whole-word match, plurals allowed."""

    def __init__(self, concepts: Iterable[Concept]) -> None:
        self._index: dict[str, int] = {}
        faces: dict[str, int] = {}
        for i, concept in enumerate(concepts):
            self._index.setdefault(concept.name, i)
            if concept.name.endswith(" face") and concept.group == "animals":
                faces[concept.name.removesuffix(" face")] = i
        for name, i in faces.items():
            self._index.setdefault(name, i)

    def exact(self, name: str) -> int | None:
        """The concept of exactly this name, however it is hyphenated."""
        return self._index.get(clean(name.replace("-", " ")))

    def in_title(self, title: str) -> int | None:
        """The concept of the longest name that occurs in the title, or None."""
        words = [self._singular(word) for word in clean(title).split()]
        for length in (3, 2, 1):
            for start in range(len(words) - length + 1):
                found = self._index.get(" ".join(words[start : start + length]))
                if found is not None:
                    return found
        return None

    def _singular(self, word: str) -> str:
        if word in self._index or not word.endswith("s") or word.endswith("ss"):
            return word
        return word[:-3] + "y" if word.endswith("ies") else word[:-1]


def label_set(concepts: list[Concept], rows_by_style: Mapping[str, Iterable[int]]) -> list[int]:
    """Concepts the model is trained on: everyday things, and those that nearly every training style draws.

    Parameters
    ----------
    concepts
        All concepts.
    rows_by_style
        For each style the concept of each of its sprites.

    Returns
    -------
    list of int
        Sorted indices into `concepts`.
    """
    drawn = {style: set(rows) for style, rows in rows_by_style.items()}
    times_drawn = Counter(i for style in TRAIN_STYLES for i in drawn[style])
    in_general_art = drawn["clipart"] | drawn["stamps"]
    in_every_emoji_set = drawn["fluent-flat"] & drawn["fluent-3d"] & drawn["noto"] & drawn["twemoji"]
    return sorted(
        i
        for i in in_every_emoji_set
        if i in in_general_art or times_drawn[i] >= STYLES_OF_A_WIDELY_DRAWN_CONCEPT
    )
