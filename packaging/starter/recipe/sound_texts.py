"""What is said of the labels: names, plurals, short sentences, sentences about two things."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from recipe.concepts import is_plural, plural, with_article

NUMBERS = ("two", "three", "four", "five")
COLOURS = ("red", "orange", "yellow", "green", "blue", "purple", "pink", "brown", "black", "white", "grey")
_RELATIONS = ("to the left of", "to the right of", "above", "below", "on", "behind", "in front of")


@dataclass(frozen=True, slots=True)
class Said:
    """A text, and the labels that it names in their order."""

    text: str
    nouns: tuple[str, ...]


def name(label: str, generator: np.random.Generator) -> Said:
    """The bare name or the name with its article, half of the time each."""
    return Said(label if generator.random() < 0.5 else with_article(label), (label,))


def phrase(label: str, generator: np.random.Generator) -> Said:
    """A short sentence, plural or coloured thing."""
    thing = with_article(label)
    forms = [
        f"there is {thing}",
        f"i see {thing}",
        f"this is {thing}",
        f"the {label}",
        f"look at the {label}",
    ]
    if is_plural(label):
        forms[:3] = [f"there are {thing}", f"i see {thing}", f"these are {thing}"]
    else:
        number = NUMBERS[int(generator.integers(len(NUMBERS)))]
        forms += [f"{number} {plural(label)}", plural(label)]
        colour = COLOURS[int(generator.integers(len(COLOURS)))]
        forms.append(with_article(f"{colour} {label}"))
    return Said(forms[int(generator.integers(len(forms)))], (label,))


def pair(first: str, second: str, generator: np.random.Generator) -> Said:
    """A sentence about two things."""
    one, other = with_article(first), with_article(second)
    if generator.random() < 0.5:
        relation = _RELATIONS[int(generator.integers(len(_RELATIONS)))]
        return Said(f"{one} {relation} {other}", (first, second))
    return Said(f"{one} and {other}", (first, second))


def any_pair(labels: Sequence[str], generator: np.random.Generator) -> Said:
    """A sentence about two labels drawn at random."""
    first, second = generator.choice(len(labels), size=2, replace=False)
    return pair(labels[int(first)], labels[int(second)], generator)
