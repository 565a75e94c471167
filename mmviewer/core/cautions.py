"""Short warnings that hold for one very map, each with the help page that explains it (NumPy only).

What is always true of a method stands in the map's caveat; a caution is raised only where it applies.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

_SINK_SHARE = 0.1
"""Share of a map that lies on sinks from which it is said."""
_LITTLE = 0.1
"""Share of a row's weight on the picture below which it is said."""
_CERTAIN = float(np.log(0.99))


@dataclass(frozen=True, slots=True)
class Caution:
    """One sentence, the key of a help page, and the tokens whose maps it is about (None: all of them)."""

    text: str
    page: str
    tokens: tuple[int, ...] | None = None

    def applies(self, shown: Sequence[int]) -> bool:
        """Whether it is about the map of the tokens `shown`; of none of them, where a whole text is shown."""
        return self.tokens is None or bool(set(self.tokens).intersection(shown))


SEVERAL = Caution("Several things are named; this method may mix them up.", "several-objects")
SHARED = Caution("The same for every word: this attention never reads the text.", "attention")
HIDDEN = Caution(
    "Inputs with parts hidden are unlike any that the model was trained on.", "deletion-insertion"
)


def applying(cautions: Sequence[Caution], shown: Sequence[int]) -> tuple[Caution, ...]:
    """Those that are about the map of the tokens `shown`, the most important first."""
    return tuple(caution for caution in cautions if caution.applies(shown))


def on_sinks(values: NDArray[np.floating], sinks: Sequence[int]) -> Iterator[Caution]:
    """Warn of maps [T, P] of which sinks hold a tenth or more, where an even share would be less."""
    weights = np.abs(values).astype(np.float64)
    total = weights.sum(1)
    held = weights[:, list(sinks)].sum(1)
    least = max(_SINK_SHARE, 1.5 * len(sinks) / max(1, weights.shape[1]))
    rows = tuple(int(row) for row in np.flatnonzero(held > least * total))
    if rows:
        share = 100 * float((held[list(rows)] / total[list(rows)]).max())
        words = (
            f"Up to {share:.0f} % of the map lies on attention sinks, which draw weight whatever the word."
        )
        yield Caution(words, "sinks", rows)


def on_words(shares: Sequence[float]) -> Iterator[Caution]:
    """Warn of tokens of whose attention only these `shares` fall on the picture, the rest on words."""
    rows = tuple(index for index, share in enumerate(shares) if share < _LITTLE)
    if rows:
        most = 100 * max(shares[row] for row in rows)
        words = f"At most {most:.0f} % of this attention is on the picture; the rest, on words, is not shown."
        yield Caution(words, "attention", rows)


def of_certain(logprobs: Sequence[float | None]) -> Iterator[Caution]:
    """Warn of gradients of a log-probability that is almost 0: there is hardly anything left to rise."""
    rows = tuple(index for index, value in enumerate(logprobs) if value is not None and value > _CERTAIN)
    if rows:
        words = "The model was over 99 % sure of this word, so the gradient is small and noisy."
        yield Caution(words, "saturation", rows)


# --- how many things a text names -----------------------------------------------------------------------
_OPENING = re.compile(
    r"^\W*(this is |it is |there is |there are |i see |we see )?"
    r"((an?|the|one|some) )?((\w+ )?(photo|photograph|picture|image|drawing|painting|sketch|cartoon|icon|"
    r"emoji|illustration|close-?up|view|sound|recording|noise) of )?",
    re.IGNORECASE,
)
_BETWEEN = re.compile(
    r"[,;:.!?()/&+]|\b(?:and|or|with|without|on|in|inside|into|under|over|above|below|behind|beside|besides|"
    r"near|between|among|at|by|from|to|against|around|through|while|holding|wearing|sitting|standing|lying|"
    r"is|are|has|have)\b",
    re.IGNORECASE,
)
_NO_THING = frozenset(
    re.findall(
        r"\w+",
        """a an the this that these those some one no its it his her their there here of very next left right
        top bottom front back side middle center centre corner close far small smaller big bigger large little
        old new young red orange yellow green blue purple pink brown black white grey gray golden dark bright
        background air scene style what who where which how many much color colour do does""",
    )
)
_SEVERAL = frozenset(
    re.findall(r"\w+", "two three four five six seven eight nine ten several many both pair few")
)


def things_named(text: str) -> int:
    """How many things a short English text names, by the words between its nouns; 2 stands for several.

    A guess that decides about a warning and nothing else: "a red dog" names one thing, "an owl and a guitar"
    two, "three mice" several.
    """
    named = 0
    for group in _BETWEEN.split(_OPENING.sub("", text, count=1)):
        words = re.findall(r"[^\W_]+", group.lower())
        things = [word for word in words if word not in _NO_THING and not word.isdigit()]
        counted = any(word in _SEVERAL or (word.isdigit() and int(word[:6]) > 1) for word in words)
        things = [word for word in things if word not in _SEVERAL]
        named += (2 if counted else 1) if things else 0
    return named
