"""WordNet's nouns, and which classes of a classifier each of them covers."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from importlib import resources
from pathlib import Path

_HYPERNYMS = frozenset(("@", "@i"))


@dataclass(frozen=True, slots=True)
class Synset:
    """One meaning: its lemmas (spaces, not underscores) and the offsets of what it is a kind of."""

    offset: int
    category: int
    lemmas: tuple[str, ...]
    hypernyms: tuple[int, ...]


class Nouns:
    """All nouns of WordNet 3.0, whose offsets are ImageNet's own names of its classes.

    Parameters
    ----------
    folder
        Holds ``data.noun`` and ``index.noun``.

    Attributes
    ----------
    senses
        For each lemma the offsets of its meanings, the most usual first.
    usual
        Lemmas that occur in the texts by which WordNet ordered meanings.
    """

    def __init__(self, folder: Path) -> None:
        self.synsets = {synset.offset: synset for synset in _read_synsets(folder / "data.noun")}
        self.senses: dict[str, tuple[int, ...]] = {}
        self.usual: set[str] = set()
        for lemma, offsets, tagged in _read_senses(folder / "index.noun"):
            self.senses[lemma] = offsets
            if tagged:
                self.usual.add(lemma)

    @cached_property
    def hyponyms(self) -> Mapping[int, tuple[int, ...]]:
        """Kinds of each synset, one step down."""
        below: dict[int, list[int]] = {offset: [] for offset in self.synsets}
        for synset in self.synsets.values():
            for above in synset.hypernyms:
                below[above].append(synset.offset)
        return {offset: tuple(kinds) for offset, kinds in below.items()}

    def ancestors(self, offset: int) -> Iterator[tuple[int, int]]:
        """Yield (offset, steps) of everything that a synset is a kind of, nearest first, itself included."""
        seen, ring, steps = {offset}, [offset], 0
        while ring:
            yield from ((each, steps) for each in ring)
            above = {up for each in ring for up in self.synsets[each].hypernyms}
            ring = sorted(above - seen)
            seen |= above
            steps += 1

    def covered(self, classes: Sequence[int]) -> dict[int, frozenset[int]]:
        """Return for each synset above or at a class the indices of the classes that it covers."""
        found: dict[int, set[int]] = {}
        for index, offset in enumerate(classes):
            for above, _ in self.ancestors(offset):
                found.setdefault(above, set()).add(index)
        return {offset: frozenset(indices) for offset, indices in found.items()}


def imagenet_classes() -> tuple[int, ...]:
    """Offsets of the 1000 classes in the classifier's order, from the list that timm carries."""
    text = (resources.files("timm") / "data/_info/imagenet_synsets.txt").read_text(encoding="utf-8")
    return tuple(int(name.removeprefix("n")) for name in text.split())


def _read_synsets(path: Path) -> Iterator[Synset]:
    for line in _lines(path):
        fields = line.partition("|")[0].split()
        words = int(fields[3], 16)
        pointers = 4 + 2 * words
        count = int(fields[pointers])
        triples = (fields[pointers + 1 + 4 * i : pointers + 3 + 4 * i] for i in range(count))
        yield Synset(
            offset=int(fields[0]),
            category=int(fields[1]),
            lemmas=tuple(fields[4 + 2 * i].replace("_", " ") for i in range(words)),
            hypernyms=tuple(int(target) for symbol, target in triples if symbol in _HYPERNYMS),
        )


def _read_senses(path: Path) -> Iterator[tuple[str, tuple[int, ...], int]]:
    """Yield lemma, the offsets of its meanings, and how many of them were met in texts."""
    for line in _lines(path):
        fields = line.split()
        count = int(fields[2])
        yield fields[0].replace("_", " "), tuple(map(int, fields[-count:])), int(fields[-count - 1])


def _lines(path: Path) -> Iterator[str]:
    """Lines without the licence at the top, which is indented."""
    with path.open(encoding="utf-8") as file:
        yield from (line for line in file if not line.startswith(" "))
