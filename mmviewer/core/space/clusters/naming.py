"""What to call groups: words of their texts, labels of a column, or words nearest to them in the space."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from mmviewer.core.space.unit_rows import UnitRows, unit
from mmviewer.core.types import FloatArray

_WORDS = 3  # of a name
_MOST_TEXTS = 500  # of a group that are read
_MOST_CHARACTERS = 2_000  # of a text
_LEAST_SHARE = 0.3  # of the labelled items of a group that its label must cover
_WORD = re.compile(r"[^\W\d_]{3,}")
_SAYS_NOTHING = (
    "the and for with from that this are was were has have had its his her their there which who into over"
    " under near next one two some any not but all out off img image photo picture file jpg jpeg png webp gif"
    " wav mp3 flac txt tmp copy untitled dsc"
)
_EMPTY = frozenset(_SAYS_NOTHING.split())


def names_by_texts(
    groups: NDArray[np.int32], count: int, items: Sequence[int], texts: Sequence[str]
) -> tuple[str, ...]:
    """Words that are common in a group's texts or file names and rare in those of others.

    Weighs a word by how often it is in a group and by the logarithm of how rare it is elsewhere (class-based
    TF-IDF, Grootendorst 2022).

    Parameters
    ----------
    groups : int32 array [N]
    count : int
        How many groups there are.
    items : sequence of int
        Row of each text.
    texts : sequence of str

    Returns
    -------
    tuple of str
        Up to three words for each group, "" where nothing tells it apart.
    """
    counts: list[Counter[str]] = [Counter() for _ in range(count)]
    read = [0] * count
    for row, text in zip(items, texts, strict=True):
        group = int(groups[row])
        if group >= 0 and read[group] < _MOST_TEXTS:
            read[group] += 1
            words = {word.lower() for word in _WORD.findall(text[:_MOST_CHARACTERS])}
            counts[group].update(words - _EMPTY)
    total: Counter[str] = Counter()
    for counted in counts:
        total.update(counted)
    average = sum(total.values()) / max(count, 1)
    names = []
    for group, counted in enumerate(counts):
        weights = {
            word: times * np.log(1 + average / total[word])
            for word, times in counted.items()
            if times >= max(2, 0.05 * read[group]) or read[group] == 1
        }
        best = sorted(weights, key=lambda word: (-weights[word], word))[:_WORDS]
        names.append(", ".join(best))
    return tuple(names)


def names_by_labels(
    groups: NDArray[np.int32], count: int, codes: NDArray[np.int32], labels: Sequence[str]
) -> tuple[str, ...]:
    """The label most frequent in each group, if it covers 30 % of the items there that have one; else "".

    Parameters
    ----------
    groups : int32 array [N]
    count : int
    codes : int32 array [N]
        Label of each row; -1 if it has none.
    labels : sequence of str
    """
    known = (groups >= 0) & (codes >= 0)
    table = np.zeros((count, max(len(labels), 1)), np.int64)
    np.add.at(table, (groups[known], codes[known]), 1)
    best, sizes = table.argmax(axis=1), table.sum(axis=1)
    covered = table.max(axis=1) >= np.maximum(_LEAST_SHARE * sizes, 1)
    return tuple(
        labels[label] if clear else "" for label, clear in zip(best.tolist(), covered.tolist(), strict=True)
    )


def names_by_vectors(
    rows: UnitRows, groups: NDArray[np.int32], count: int, words: Sequence[str], vectors: FloatArray
) -> tuple[str, ...]:
    """The word whose embedding [W, D] is nearest to what sets each group apart.

    Both sides are centred first, so that what all items share, and the modality gap, do not decide.
    """
    if not len(words):
        return ("",) * count
    sums = np.zeros((count, rows.width), np.float64)
    sizes = np.zeros(count)
    for part, block in rows.blocks():
        own = groups[part]
        np.add.at(sums, own[own >= 0], block[own >= 0])
        sizes += np.bincount(own[own >= 0], minlength=count)
    means = sums / np.maximum(sizes, 1)[:, None]
    apart = unit((means - means.mean(axis=0) if count > 1 else means).astype(np.float32))
    spoken = unit(np.asarray(vectors, np.float32))
    spoken = unit(spoken - spoken.mean(axis=0)) if len(words) > 1 else spoken
    nearest = (apart @ spoken.T).argmax(axis=1)
    return tuple(words[word] for word in nearest)
