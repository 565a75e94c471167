"""A small byte-level BPE in the file format of CLIP's tokenizer, so that open_clip reads it."""

from __future__ import annotations

import gzip
import re
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from itertools import pairwise
from pathlib import Path

from open_clip.tokenizer import bytes_to_unicode

from recipe.concepts import Concept

VOCABULARY = 4608
_BYTES_AND_SPECIALS = 512 + 2
_WORD = re.compile(r"'s|'t|'re|'ve|'m|'ll|'d|[a-z]+|[0-9]|[^\sa-z0-9]+")
_CAPTION_WORDS = """
a an the of to left right above below top bottom corner on in and with background picture photo image
drawing painting sketch cartoon icon clip art small big large tiny one two three four five red orange
yellow green cyan blue purple pink brown black white gray grey this is it there are next side by between
many some plain sky grass night i see you can what where how object animal food person people thing
"""

Pair = tuple[str, str]


def word_frequencies(concepts: Sequence[Concept]) -> Counter[str]:
    """How often each word counts: caption words most, names, then tags."""
    counts: Counter[str] = Counter()
    for concept in concepts:
        for text, weight in (
            (concept.name, 400),
            (concept.plural, 200),
            *((tag, 10) for tag in concept.tags),
        ):
            for word in _WORD.findall(text):
                counts[word] += weight
    counts.update(dict.fromkeys(_CAPTION_WORDS.split(), 4000))
    return counts


def learn_merges(frequencies: Mapping[str, int], count: int) -> list[Pair]:
    """The first `count` merges of byte-pair encoding, most frequent pair first, ties by name.

    Parameters
    ----------
    frequencies
        How often each word occurs.
    count
        Merges to learn; fewer when every word has become one token.
    """
    byte_symbol = bytes_to_unicode()
    words: list[list[str]] = []
    weights: list[int] = []
    for word, frequency in frequencies.items():
        symbols = [byte_symbol[b] for b in word.encode()]
        symbols[-1] += "</w>"
        words.append(symbols)
        weights.append(frequency)
    pairs: Counter[Pair] = Counter()
    occurs_in: defaultdict[Pair, set[int]] = defaultdict(set)
    for number, symbols in enumerate(words):
        for pair in pairwise(symbols):
            pairs[pair] += weights[number]
            occurs_in[pair].add(number)
    merges: list[Pair] = []
    while len(merges) < count and pairs:
        best = max(pairs.items(), key=lambda item: (item[1], item[0]))[0]
        if pairs[best] <= 0:
            break
        merges.append(best)
        for number in sorted(occurs_in[best]):
            before, after = words[number], _merge(words[number], best)
            for pair in pairwise(before):
                pairs[pair] -= weights[number]
            for pair in pairwise(after):
                pairs[pair] += weights[number]
                occurs_in[pair].add(number)
            words[number] = after
        del pairs[best]
    return merges


def _merge(symbols: list[str], pair: Pair) -> list[str]:
    merged: list[str] = []
    position = 0
    while position < len(symbols):
        if tuple(symbols[position : position + 2]) == pair:
            merged.append(pair[0] + pair[1])
            position += 2
        else:
            merged.append(symbols[position])
            position += 1
    return merged


def write_bpe(path: Path, concepts: Sequence[Concept]) -> None:
    """Learn the vocabulary of the concepts and write it; the file is the same on every run."""
    merges = learn_merges(word_frequencies(concepts), VOCABULARY - _BYTES_AND_SPECIALS)
    text = "#version: mmviewer-starter\n" + "\n".join(" ".join(pair) for pair in merges)
    path.write_bytes(gzip.compress(text.encode(), mtime=0))
