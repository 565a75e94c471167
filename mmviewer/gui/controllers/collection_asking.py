"""Questions to the open collection: a text, an item, or a sum and difference of them; and the history."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray
from PySide6.QtCore import QObject, Signal

from mmviewer.engine.protocol import ErrorReport
from mmviewer.engine.protocol_space import QueryPart, SearchSpace, SpaceAnswer

if TYPE_CHECKING:
    from mmviewer.gui.workbench import Workbench

Rows = NDArray[np.int64]

NEAREST = 60
"""Items that an answer lists."""
_LINES = 8
_PLACED_BY = 5
_KEPT = 24
_THIS = frozenset({"this", "it"})
# a sign stands alone between blanks, so that "black-and-white" is one word
_SIGN = re.compile(r"(?:^|(?<=\s))([+\-−–])(?=\s)")
ASK = "collection:ask"
_WHOLE_UP_TO = 300_000
"""Items up to which the similarity of every one comes with the answer."""


@dataclass(frozen=True, slots=True)
class Part:
    """A part of a question: a text or an item, and how it counts."""

    weight: float
    text: str = ""
    row: int | None = None


@dataclass(frozen=True, slots=True)
class Query:
    """A question: what was asked, in words and in parts.

    Parameters
    ----------
    key : str
    text : str
        As its chip says it.
    parts : tuple of Part
    typed : str
        What stood in the line; empty where it was asked by pointing.
    kept : bool
        Whether it stays in the history however many follow.
    """

    key: str
    text: str
    parts: tuple[Part, ...]
    typed: str = ""
    kept: bool = False

    @property
    def tip(self) -> str:
        """What a chip says further."""
        return "Click to ask again; drag it to keep it." if not self.kept else "Kept. Click to ask again."


@dataclass(frozen=True, slots=True, eq=False)
class Found:
    """The answer to a question.

    Parameters
    ----------
    query : Query
    rows : int64 array [K]
        Most similar first.
    cosines : float32 array [K]
    similarity : float32 array [N] or None
        Of every item, NaN without a vector.
    note : str
        What it is the answer to, and how exact it is.
    """

    query: Query
    rows: Rows
    cosines: NDArray[np.float32]
    similarity: NDArray[np.float32] | None = None
    note: str = ""


@dataclass(slots=True)
class _State:
    history: tuple[Query, ...] = ()
    result: Found | None = None
    number: int = 0
    near: dict[int, tuple[Sequence[int], Sequence[float]]] = field(default_factory=dict)


def parts_of(text: str, this: int | None) -> tuple[Part, ...]:
    """Read a question such as "this + snow − dog"; "this" is the item `this`.

    Raises
    ------
    ValueError
        "this" is asked for and nothing is picked; or there is no word at all. The message is for the user.
    """
    pieces = _SIGN.split(text)
    signs = ["+", *pieces[1::2]] if pieces[0].strip() else pieces[1::2]
    words = pieces[0::2] if pieces[0].strip() else pieces[2::2]
    parts = []
    for sign, word in zip(signs, words, strict=True):
        word, weight = word.strip().strip('“”"'), 1.0 if sign == "+" else -1.0
        if not word:
            continue
        if word.casefold() in _THIS and len(words) > 1:
            if this is None:
                raise ValueError("“this” means the picked item, and nothing is picked; click a point first.")
            parts.append(Part(weight, row=this))
        else:
            parts.append(Part(weight, word))
    if not parts:
        raise ValueError("Type what to look for.")
    return tuple(parts)


class CollectionAsking(QObject):
    """Asks, and remembers what was asked.

    Signals
    -------
    found()
        `result` is another.
    history_changed()
    """

    found = Signal()
    history_changed = Signal()

    def __init__(self, workbench: Workbench) -> None:
        super().__init__(workbench)
        self._workbench = workbench
        self._collections = workbench.collections
        self._state = _State()
        self._collections.opened.connect(self._forget_all)

    @property
    def history(self) -> tuple[Query, ...]:
        """Questions, the newest first."""
        return self._state.history

    @property
    def result(self) -> Found | None:
        """The last answer."""
        return self._state.result

    # --- asking -----------------------------------------------------------------------------------------
    def ask(self, text: str) -> None:
        """Ask by words; nothing clears the answer."""
        text = " ".join(text.split())
        if not text:
            self._state.result = None
            self.found.emit()
            return
        try:
            parts = parts_of(text, self._collections.picked)
        except ValueError as problem:
            self._workbench.notice.emit(str(problem), "warning")
            return
        self._ask(self._remember(self._words(text, parts), parts, text))

    def ask_like_picked(self) -> None:
        """Ask what lies nearest to the picked item."""
        row = self._collections.picked
        if row is not None:
            name = self._collections.names(np.array([row]))[0]
            self._ask(self._remember(f"like {name}", (Part(1.0, row=row),), ""))

    def again(self, key: str) -> None:
        """Ask a question of the history again."""
        query = self._query(key)
        if query is not None:
            self._ask(query)

    def text_of(self, key: str) -> str:
        """What was typed for a question."""
        query = self._query(key)
        return "" if query is None else query.typed

    def forget(self, key: str) -> None:
        """Take a question out of the history."""
        self._set_history(tuple(query for query in self.history if query.key != key))

    def keep(self, key: str) -> None:
        """Keep a question, whatever follows."""
        kept = tuple(replace(query, kept=query.kept or query.key == key) for query in self.history)
        self._set_history(kept)

    def near(self, row: int | None) -> tuple[Sequence[int], Sequence[float]] | None:
        """The nearest of a picked item, where the last answer tells them."""
        found = self._state.result
        if row is None or found is None or found.query.parts != (Part(1.0, row=row),):
            return None
        others = found.rows != row
        return found.rows[others][:_LINES].tolist(), found.cosines[others][:_LINES].tolist()

    def pins(self) -> tuple[tuple[float, float, str, str], ...]:
        """Where the question that was answered lies on the map: (x, y, words, key), among its nearest.

        The middle of the nearest few, each counting by how near it is: the map has no place for a question
        of its own.
        """
        found, coordinates = self._state.result, self._collections.coordinates
        if found is None or coordinates is None:
            return ()
        known = found.rows < len(coordinates.xy)
        places = coordinates.xy[found.rows[known]]
        weights = np.exp(20 * (found.cosines[known] - found.cosines.max(initial=-1)))
        on_map = np.isfinite(places).all(axis=1)
        places, weights = places[on_map][:_PLACED_BY], weights[on_map][:_PLACED_BY]
        if not len(places):
            return ()
        x, y = np.average(places, axis=0, weights=weights)
        return ((float(x), float(y), found.query.text, found.query.key),)

    # --- inside -------------------------------------------------------------------------------------------
    def _ask(self, query: Query) -> None:
        view, model = self._collections.view, self._workbench.state.model
        if view is None or not self._collections.space_id:
            self._workbench.notice.emit(
                "There are no vectors to search in; index the collection first.", "warning"
            )
            return
        if model is None and any(part.row is None for part in query.parts):
            self._workbench.notice.emit("To ask in words, load the model that made the vectors.", "warning")
            return

        def done(answer: SpaceAnswer) -> None:
            self._state.result = Found(
                query, answer.rows, answer.cosines, answer.similarity, _note(query, answer)
            )
            self.found.emit()

        request = SearchSpace(
            str(view.folder),
            self._collections.space_id,
            tuple(QueryPart(part.weight, part.text, part.row) for part in query.parts),
            "" if model is None else model.id,
            NEAREST,
            whole=view.count <= _WHOLE_UP_TO,
            closed=self._collections.closed,
        )
        self._workbench.activities.run(
            ASK, f"Searching for {query.text}", request, done, partial=done, failed=self._failed
        )

    def _failed(self, error: ErrorReport) -> None:
        self._workbench.report(error)

    def _words(self, text: str, parts: tuple[Part, ...]) -> str:
        """The question with the item's name in place of "this"."""
        if all(part.row is None for part in parts):
            return text
        said = []
        for number, part in enumerate(parts):
            sign = "−" if part.weight < 0 else "+" if number else ""
            word = part.text if part.row is None else self._collections.names(np.array([part.row]))[0]
            said.append(f"{sign} {word}".strip())
        return " ".join(said)

    def _remember(self, text: str, parts: tuple[Part, ...], typed: str) -> Query:
        same = next((query for query in self.history if query.parts == parts), None)
        if same is None:
            self._state.number += 1
            same = Query(f"q{self._state.number}", text, parts, typed)
        others = [query for query in self.history if query.key != same.key]
        kept = [query for query in others if query.kept]
        passing = [query for query in others if not query.kept][: max(0, _KEPT - 1 - len(kept))]
        self._set_history((same, *(query for query in others if query in kept or query in passing)))
        return same

    def _set_history(self, history: tuple[Query, ...]) -> None:
        self._state.history = history
        self.history_changed.emit()

    def _query(self, key: str) -> Query | None:
        return next((query for query in self.history if query.key == key), None)

    def _forget_all(self) -> None:
        self._workbench.cancel(ASK)
        self._state = _State()
        self.history_changed.emit()
        self.found.emit()


def _note(query: Query, answer: SpaceAnswer) -> str:
    """What the ranked answer is, and how exact."""
    how = (
        "every vector was compared" if answer.recall is None else f"finds {answer.recall:.0%} of the nearest"
    )
    return f"Nearest to {query.text} by cosine · {how}"
