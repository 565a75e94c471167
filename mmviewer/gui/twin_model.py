"""Two models beside each other: what the second is asked, and which of their words agree. Plain values."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

from mmviewer.core.compare.figure import Matrix
from mmviewer.core.compare.plan import (
    WHOLE,
    AxisKind,
    CellMap,
    CellQuestion,
    Entry,
    Place,
    Word,
    cell_map,
    words_of,
)
from mmviewer.core.errors import InputError
from mmviewer.core.explain.selection import show
from mmviewer.core.session.state import LibraryItem
from mmviewer.core.types import (
    Capability,
    Modality,
    ModelInfo,
    Sampling,
    SequenceKind,
    TokenMaps,
    TokenSequence,
)

_MOST_ROWS = 8
_TAKES = {
    Modality.IMAGE: frozenset(
        (Capability.EMBED_IMAGE, Capability.CAPTION, Capability.ANSWER, Capability.MATCH)
    ),
    Modality.AUDIO: frozenset((Capability.EMBED_AUDIO, Capability.TRANSCRIBE)),
}


@dataclass(frozen=True, slots=True)
class Errand:
    """What the second model is asked to do with an item.

    Parameters
    ----------
    kind : SequenceKind or None
        None where there is nothing to ask; `words` say why.
    text : str
        The question or the description; empty for what it writes itself.
    words : str
        What is special about it, or why there is nothing.
    """

    kind: SequenceKind | None = None
    text: str = ""
    words: str = ""

    def is_done_by(self, item: LibraryItem, shown: TokenSequence | None, sampling: Sampling) -> bool:
        """Whether a text on the second side is already what is wanted, its words chosen as wanted."""
        if shown is None or not shown.finished or shown.kind != self.kind or shown.media_id != item.id:
            return False
        if shown.sampling not in (None, sampling):
            return False
        said = {"query": shown.text, "answer": shown.question}.get(shown.kind, "")
        return said == self.text


def errand(item: LibraryItem | None, first: TokenSequence | None, second: ModelInfo | None) -> Errand:
    """Work out what the second model is asked, given what the first one is shown with.

    It does the same as the first: writes by itself, answers the same question, looks for the same
    description. A model that writes nothing looks for the words that the first one wrote.
    """
    if item is None:
        return Errand(words="Choose a picture or a sound in the library; both models get it here.")
    if item.media.modality is Modality.TEXT:
        return Errand(words="This is a text. Choose a picture or a sound; both models get it here.")
    if second is None:
        return Errand(words="Choose a second model above; it is loaded beside the first one.")
    name, can = second.label, second.side(item.media.modality).capabilities
    if not can & _TAKES[item.media.modality]:
        what = "pictures" if item.media.modality is Modality.IMAGE else "sounds"
        return Errand(words=f"{name} takes no {what}; choose another model above.")
    if first is None or first.kind in ("caption", "transcript"):
        return _own_words(item, first, name, can)
    if first.kind == "answer":
        if second.about.questions is None:
            return Errand(words=f"{name} answers no questions; choose another model, or ask for a caption.")
        return Errand("answer", first.question)
    if Capability.EMBED_TEXT not in can:
        return Errand(words=f"{name} finds no typed words; choose another model, or ask for a caption.")
    return Errand("query", first.text)


def _own_words(
    item: LibraryItem, first: TokenSequence | None, name: str, can: frozenset[Capability]
) -> Errand:
    sound = item.media.modality is Modality.AUDIO
    if (Capability.TRANSCRIBE if sound else Capability.CAPTION) in can:
        return Errand("transcript" if sound else "caption")
    if Capability.EMBED_TEXT not in can:
        return Errand(words=f"{name} writes nothing by itself: ask both models a question.")
    if first is None or not first.text.strip():
        return Errand(words=f"{name} writes nothing by itself: type at the top what both models look for.")
    return Errand(
        "query", first.text.strip(), f"{name} writes nothing; it looks for the words of the other side."
    )


@dataclass(frozen=True, slots=True)
class Links:
    """Which tokens of two texts are the same word.

    Parameters
    ----------
    words : tuple of str
        Words that stand in both texts, in the order of the first; content words only.
    across : tuple of two mappings
        From a token of the first text to those of its word in the second, and back.
    """

    words: tuple[str, ...] = ()
    across: tuple[dict[int, tuple[int, ...]], dict[int, tuple[int, ...]]] = field(
        default_factory=lambda: ({}, {})
    )

    def over(self, side: int, tokens: tuple[int, ...]) -> tuple[int, ...]:
        """Tokens on the other side of those on `side` (0 or 1), ascending; none where no word agrees."""
        found = {other for token in tokens for other in self.across[side].get(token, ())}
        return tuple(sorted(found))


def link(first: TokenSequence | None, second: TokenSequence | None) -> Links:
    """Link two texts word by word: the second “dog” of one is the second “dog” of the other."""
    if first is None or second is None:
        return Links()
    one = {word.key: word for word in words_of(first)}
    two = {word.key: word for word in words_of(second)}
    both = [key for key in one if key in two]
    return Links(
        tuple(key for key in both if one[key].content),
        (_tokens_to(one, two, both), _tokens_to(two, one, both)),
    )


def _tokens_to(of: dict[str, Word], to: dict[str, Word], keys: list[str]) -> dict[int, tuple[int, ...]]:
    return {token: to[key].tokens for key in keys for token in of[key].tokens}


@dataclass(frozen=True, slots=True, eq=False)
class Seen:
    """One side: a model with its text and its maps."""

    model: ModelInfo
    sequence: TokenSequence
    maps: TokenMaps


def agreement_words(links: Links, first: TokenSequence | None, second: TokenSequence | None) -> str:
    """What the two texts have in common, in words."""
    if first is None or second is None or not (first.finished and second.finished):
        return ""
    if not links.words:
        return "No content word stands in both texts."
    listed = ", ".join(f"“{word}”" for word in links.words[:_MOST_ROWS])
    more = len(links.words) - _MOST_ROWS
    return f"In both: {listed}{f' and {more} more' if more > 0 else ''}. Point at one to see both maps."


def twin_matrix(item: LibraryItem, sides: tuple[Seen, Seen], chosen: tuple[str, ...], links: Links) -> Matrix:
    """Maps of both sides as one figure: a row for each word, a column for each model.

    Parameters
    ----------
    item : LibraryItem
    sides : tuple of Seen
        The first and the second one.
    chosen : tuple of str
        Words to show; empty for all that agree, else for the whole texts.
    """
    keys = chosen or links.words[:_MOST_ROWS] or (WHOLE,)
    rows = tuple(Entry(AxisKind.WORDS, key, key or "whole text") for key in keys)
    columns = tuple(Entry(AxisKind.MODELS, f"{n}", _column(side, sides)) for n, side in enumerate(sides))
    questions: dict[Place, CellQuestion] = {}
    cells: dict[Place, CellMap] = {}
    failures: dict[Place, str] = {}
    for row, key in enumerate(keys):
        for column, side in enumerate(sides):
            text = side.sequence.text if side.sequence.kind == "query" else ""
            spec = side.maps.spec
            questions[row, column] = CellQuestion(item.id, side.model.id, text, key, spec)
            try:
                cells[row, column] = _cell(side, key)
            except InputError as absent:
                failures[row, column] = absent.message
    models = {side.model.id: side.model for side in sides}
    media = {item.id: replace(item.media, name=item.name)}
    return Matrix(rows, columns, questions, cells, failures, media, models)


def _cell(side: Seen, key: str) -> CellMap:
    if key == WHOLE:
        return CellMap(side.maps, show(side.maps, ()))
    return cell_map(side.maps, side.sequence, key)


def _column(side: Seen, sides: tuple[Seen, Seen]) -> str:
    """The model, and how its map is made where both sides have the same one."""
    if sides[0].model.label != sides[1].model.label:
        return side.model.label
    return f"{side.model.label}: {side.maps.description}"


def words_at(sequence: TokenSequence | None, tokens: tuple[int, ...]) -> tuple[str, ...]:
    """Words that the tokens belong to, each once, in order."""
    if sequence is None:
        return ()
    return tuple(word.key for word in words_of(sequence) if set(word.tokens) & set(tokens))
