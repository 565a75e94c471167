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
STYLES_OF_A_LABEL = 5
_LABELS_FILE = Path(__file__).with_name("labels.txt")
_SKIPPED_SUBGROUPS = {"time", "clock"}
_IRREGULAR = {
    "mouse": "mice", "sheep": "sheep", "fish": "fish", "leaf": "leaves", "knife": "knives", "tooth": "teeth",
    "wolf": "wolves", "ox": "oxen", "goose": "geese", "shrimp": "shrimp", "squid": "squid", "bison": "bison",
    "deer": "deer", "dice": "dice", "sushi": "sushi", "popcorn": "popcorn",
}  # fmt: skip
# Everyday words for names that nobody says; the first is the name in the Unicode data.
_EVERYDAY = {
    "lady beetle": "ladybug", "baby chick": "chick", "kiwi fruit": "kiwi", "ear of corn": "corn",
    "cheese wedge": "cheese", "doughnut": "donut", "chocolate bar": "chocolate", "cocktail glass": "cocktail",
    "hot beverage": "coffee", "evergreen tree": "tree", "automobile": "car", "delivery truck": "truck",
    "vertical traffic light": "traffic light", "crescent moon": "moon", "jack-o-lantern": "pumpkin",
    "game die": "dice", "artist palette": "palette", "necktie": "tie", "running shoe": "shoe",
    "billed cap": "cap", "gem stone": "diamond", "electric plug": "plug", "desktop computer": "computer",
    "magnifying glass tilted left": "magnifying glass", "couch and lamp": "couch",
    "straight ruler": "ruler", "wastebasket": "trash can", "globe showing europe-africa": "globe",
}  # fmt: skip
# What icon sets call a concept.
ICON_NAMES: dict[str, tuple[str, ...]] = {
    "bicycle": ("bike",), "airplane": ("plane",), "headphone": ("headphones",), "television": ("tv",),
    "glasses": ("eyeglasses",), "adhesive bandage": ("bandage", "bandaid"),
    "light bulb": ("bulb", "lightbulb"), "honeybee": ("bee",), "t-shirt": ("tshirt", "shirt"),
    "mobile phone": ("smartphone", "cellphone"), "cherries": ("cherry", "fruitcherries"),
    "grapes": ("fruitgrapes",), "pineapple": ("fruitpineapple",), "watermelon": ("fruitwatermelon",),
    "christmas tree": ("pinetree", "treechristmas"), "birthday cake": ("cake",), "pizza": ("pizzaslice",),
    "envelope": ("mail",), "credit card": ("creditcard",), "american football": ("footballamerican",),
    "wrapped gift": ("gift",), "droplet": ("drop", "waterdrop"), "computer mouse": ("mouse",),
    "beer mug": ("beer", "glassmugvariant"), "wine glass": ("wine", "glasswine"),
    "fire engine": ("firetruck",), "pickup truck": ("truckpickup",), "closed book": ("book",),
    "open book": ("bookopen",), "paintbrush": ("brush",), "clapper board": ("clapperboard", "filmslate"),
    "microphone": ("mic",), "musical note": ("musicnote", "music"), "pill": ("pills",),
    "hamburger": ("burger",), "bug": ("ladybug",), "car": ("carside", "car"),
    "traffic light": ("trafficlights",), "fire": ("flame",), "house": ("home",),
    "magnifying glass": ("search", "magnify"), "trash can": ("trash",), "donut": ("doughnut",),
    "couch": ("sofa",), "shopping cart": ("cart",), "basketball": ("ballbasketball",),
    "puzzle piece": ("puzzle",), "tie": ("necktie",), "tree": ("treeevergreen", "treepine"),
    "diamond": ("gem",), "high-heeled shoe": ("shoeheel",), "telephone receiver": ("phone",),
    "ship": ("ferry",), "locomotive": ("steamtrain",), "bathtub": ("bath",),
}  # fmt: skip

_AMBIGUOUS = """
button light key fire star sun bank office house home box paper clip pin note card book play hand string
knot hole abacus door window ring flag circle square diamond computer mouse seal bat tornado comet
volcano wood rock fog map link gear scroll label package satellite dna brick mirror plunger bucket hook
crane cloud camera world face eye heart family bubbles nest feather magnet shield ladder plug coin kite
candle bowling basketball football soccer volleyball orange lemon herb sponge jar cook beverage
car tree tie ring cap plug moon corn chick chocolate coffee globe palette shoe ruler dice cocktail pumpkin
"""
# A title or icon name with one of these words alone may well show something else than the emoji of that name.
AMBIGUOUS_NAMES = frozenset(_AMBIGUOUS.split())
# In an icon set these mean what they say.
_CLEAR_AS_ICONS = """
key star sun house cloud camera fire door candle plug gear basketball volleyball lemon feather bucket kite bat
car tree truck moon shoe cap tie diamond box magnet ladder computer window shield
"""
AMBIGUOUS_ICONS = AMBIGUOUS_NAMES - frozenset(_CLEAR_AS_ICONS.split())


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
        name = _EVERYDAY.get(name, name)
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


def read_labels() -> list[str]:
    """The names of the label set, in its order: one a line in ``labels.txt``."""
    return _LABELS_FILE.read_text(encoding="utf-8").split("\n")[:-1]


def label_set(concepts: list[Concept], rows_by_style: Mapping[str, Iterable[int]]) -> list[int]:
    """Indices of the concepts the model is trained on, in the order of ``labels.txt``.

    Parameters
    ----------
    concepts
        All concepts.
    rows_by_style
        For each style the concept of each of its sprites.

    Raises
    ------
    ValueError
        When a label is no concept or is drawn by too few styles to be learnt.
    """
    drawn = {style: set(rows) for style, rows in rows_by_style.items()}
    times_drawn = Counter(i for style in TRAIN_STYLES for i in drawn[style])
    place = {concept.name: i for i, concept in enumerate(concepts)}
    names = read_labels()
    unknown = [name for name in names if name not in place]
    rare = [name for name in names if name in place and times_drawn[place[name]] < STYLES_OF_A_LABEL]
    if unknown or rare:
        raise ValueError(
            f"{_LABELS_FILE.name}: no concepts are {unknown}; drawn by fewer than {STYLES_OF_A_LABEL} "
            f"styles are {rare}. Take them out."
        )
    return [place[name] for name in names]
