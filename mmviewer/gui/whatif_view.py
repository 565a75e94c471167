"""What the What if panel shows and offers, worked out from session and result: pure functions."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from difflib import SequenceMatcher
from html import escape

from mmviewer.core.explain.selection import content, show
from mmviewer.core.figures.spec import ChangeBar
from mmviewer.core.interventions.recipe import (
    ChangeWord,
    HideRegion,
    KeepRegion,
    Place,
    Region,
    ScaleGate,
    SwitchOff,
)
from mmviewer.core.interventions.suggest import region_of, strongest_region
from mmviewer.core.session.state import SessionState
from mmviewer.core.types import Modality, ModelInfo, TokenSequence
from mmviewer.gui.view_model import token_words
from mmviewer.gui.widgets.change_bars import ChangeRow
from mmviewer.gui.widgets.step_maker import HeadPlace

_WORD = re.compile(r"\w+(?:[-'’]\w+)*")
_MOST_WORDS = 200


@dataclass(frozen=True, slots=True)
class WordOffer:
    """A word that can be changed: how it is listed, and the step that changes it."""

    label: str
    word: str
    place: Place
    nth: int = 0

    def step(self, into: str) -> ChangeWord:
        """The step that puts other words there."""
        return ChangeWord(self.word, into, self.place, self.nth)


def regions_offered(state: SessionState) -> tuple[Region, ...]:
    """Regions of the current item, the chosen one first, then where the chosen tokens looked."""
    item = state.current
    if item is None:
        return ()
    marked = sorted(state.annotations_of(item.id), key=lambda each: each is not state.region)
    regions = [region_of(each) for each in marked]
    maps, sequence = state.maps, state.sequence
    if maps is not None and maps.media_id == item.id and sequence is not None and len(maps.values):
        chosen = tuple(index for index in state.tokens if index < len(maps.values))
        name = f"where {token_words(sequence, chosen) or 'the text'} looked"
        looked = strongest_region(show(maps, chosen).grid, maps.geometry, name)
        regions += [] if looked is None else [looked]
    return tuple(regions)


def region_step(region: Region, action: str) -> HideRegion | KeepRegion:
    """The step for an action of the step maker, such as "hide blur"."""
    kind, by = action.split()
    make = HideRegion if kind == "hide" else KeepRegion
    return make(region, by)  # type: ignore[arg-type]


def words_offered(sequence: TokenSequence | None, labels: Sequence[str]) -> tuple[WordOffer, ...]:
    """Words of the text, then of the labels, each once for every place where it stands."""
    found = []
    if sequence is not None:
        place: Place = "query" if sequence.kind == "query" else "text"
        seen: dict[str, int] = {}
        for match in _WORD.finditer(sequence.text):
            word = match.group()
            nth = seen.get(word.lower(), 0)
            seen[word.lower()] = nth + 1
            again = f" ({nth + 1}.)" if nth else ""
            found.append(WordOffer(f"{word}{again} · {sequence.kind}", word, place, nth))
    in_labels = dict.fromkeys(match.group() for label in labels for match in _WORD.finditer(label))
    found += [WordOffer(f"{word} · labels", word, "labels") for word in in_labels]
    return tuple(found[:_MOST_WORDS])


def heads_offered(model: ModelInfo | None) -> tuple[tuple[str, HeadPlace], ...]:
    """Names of capture points and what they are, the one nearest to the text first."""
    points = reversed(model.points) if model is not None else ()
    return tuple(
        (point.name, HeadPlace(point.label, point.layers, point.heads, bool(point.gates))) for point in points
    )


def example(state: SessionState) -> Region | None:
    """A region to begin with: a marked thing that the text names, else any, else where a word looked."""
    offered = regions_offered(state)
    if not offered:
        return None
    item, sequence = state.current, state.sequence
    marked = [region_of(each) for each in state.annotations_of(item.id)] if item is not None else []
    text = sequence.text.lower() if sequence is not None else ""
    named = [region for region in marked if region.name and region.name.lower() in text]
    if named or marked:
        return (named or marked)[0]
    if sequence is None or state.maps is None:
        return offered[0]
    words = [index for index in content(sequence.tokens) if index < len(state.maps.values)]
    if state.tokens or not words:
        return offered[0]
    longest = max(words, key=lambda index: len(sequence.tokens[index].text))
    name = f"where {token_words(sequence, (longest,))} looked"
    return strongest_region(show(state.maps, (longest,)).grid, state.maps.geometry, name)


def example_words(region: Region | None, modality: Modality) -> str:
    """What the example button says; empty without one."""
    if region is None:
        return ""
    name = region.name or "region that you marked"
    if name.startswith("where "):
        return f"Hide {name}"
    return f"{'Silence' if modality is Modality.AUDIO else 'Hide'} the {name}"


def marked_texts(before: str, after: str) -> tuple[str, str]:
    """Both texts as markup: words that are gone struck through, new ones bold and underlined."""
    old, new = before.split(), after.split()
    left: list[str] = []
    right: list[str] = []
    for kind, i, j, k, m in SequenceMatcher(None, old, new, autojunk=False).get_opcodes():
        gone, come = escape(" ".join(old[i:j])), escape(" ".join(new[k:m]))
        if kind == "equal":
            left.append(gone)
            right.append(come)
        else:
            left += [f"<s>{gone}</s>"] if gone else []
            right += [f"<b><u>{come}</u></b>"] if come else []
    return " ".join(left), " ".join(right)


def change_rows(bars: Sequence[ChangeBar]) -> list[ChangeRow]:
    """Changes as the bars of a panel take them."""
    return [ChangeRow(bar.label, bar.value, bar.numbers, bar.note) for bar in bars]


def step_of_heads(point: str, layer: int, head: int, how: str) -> SwitchOff | ScaleGate:
    """The step that the step maker asks for; -1 stands for all."""
    chosen = None if layer < 0 else layer
    if how.startswith("gate "):
        return ScaleGate(point, chosen, float(how.removeprefix("gate ")))
    heads = () if head < 0 else (head,)
    return SwitchOff(point, chosen, heads, "uniform" if how == "uniform" else "zero")
