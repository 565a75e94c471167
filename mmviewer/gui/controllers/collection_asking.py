"""Questions to the open collection: texts, items, files, regions, and sums of them; and the history."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from PySide6.QtCore import QObject, Signal

from mmviewer.core.session.annotations import Annotation
from mmviewer.core.session.state import LibraryItem
from mmviewer.core.space.collection import KINDS, Status
from mmviewer.core.space.patches import PatchHits
from mmviewer.core.types import Media, Modality
from mmviewer.engine.protocol import ErrorReport, OpenFailure, OpenMedia, Request
from mmviewer.engine.protocol_layers import SearchPatches
from mmviewer.engine.protocol_space import SearchSpace, SpaceAnswer
from mmviewer.gui.questions import (
    Found,
    Part,
    Query,
    Thing,
    found_items,
    found_patches,
    parts_of,
    thing_of_item,
    thing_of_media,
    thing_of_query,
    thing_of_region,
)

if TYPE_CHECKING:
    from mmviewer.gui.controllers.collections import CollectionView
    from mmviewer.gui.workbench import Workbench

NEAREST = 60
"""Items that an answer lists."""
_LINES = 8
_PLACED_BY = 5
_KEPT = 24
ASK, FILE = "collection:ask", "collection:file"
_WHOLE_UP_TO = 300_000
"""Items up to which the similarity of every one comes with the answer."""


@dataclass(slots=True)
class _State:
    history: tuple[Query, ...] = ()
    result: Found | None = None
    number: int = 0


class CollectionAsking(QObject):
    """Asks, and remembers what was asked.

    Signals
    -------
    found()
        `result` is another.
    history_changed()
    thing_changed()
        `thing` or `by_patches` is another.

    Attributes
    ----------
    thing : Thing or None
        What is meant by "this" and takes part in every question until it is let go.
    by_patches : bool
        Whether a region asks for images with a patch like it, in place of items that are like it as a whole.
    """

    found = Signal()
    history_changed = Signal()
    thing_changed = Signal()

    def __init__(self, workbench: Workbench) -> None:
        super().__init__(workbench)
        self._workbench = workbench
        self._collections = workbench.collections
        self._patches = workbench.collection_patches
        self._state = _State()
        self.thing: Thing | None = None
        self.by_patches = False
        self._collections.opened.connect(self._forget_all)
        self._patches.indexed.connect(self._ask_by_patches)
        self._patches.refused.connect(lambda: self._set_thing(self.thing, by_patches=False))

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
        """Ask by words, and by what stands before them; nothing at all clears the answer."""
        text = " ".join(text.split())
        if not text and self.thing is None:
            self._state.result = None
            self.found.emit()
            return
        try:
            parts = parts_of(text, self._collections.picked, self.thing)
        except ValueError as problem:
            self._workbench.notice.emit(str(problem), "warning")
            return
        patches = self.by_patches and self.thing is not None and self.thing.is_region
        if patches and (len(parts) > 1 or parts[0].weight < 0):
            self._workbench.notice.emit(
                "By patches a region is asked alone; switch “By patches” off to ask for a sum.", "warning"
            )
            return
        self._ask(self._remember(self._words(text, parts), parts, text, self.thing, by_patches=patches))

    def ask_like_picked(self) -> None:
        """Ask what lies nearest to the picked item."""
        row = self._collections.picked
        if row is not None:
            name = self._collections.names(np.array([row]))[0]
            self._set_thing(None)
            self._ask(self._remember(f"like {name}", (Part(1.0, row=row),), ""))

    def ask_file(self, path: str) -> None:
        """Ask with a file, which does not enter the library."""

        def opened(value: Media | OpenFailure) -> None:
            if isinstance(value, OpenFailure):
                self._workbench.report(value.error)
            else:
                self.ask_thing(thing_of_media(value))

        self._workbench.activities.run(
            FILE,
            f"Opening {Path(path).name}",
            OpenMedia((path,)),
            lambda _count: None,
            partial=opened,
            failed=self._failed,
        )

    def ask_item(self, item: LibraryItem) -> None:
        """Ask with an item of the library."""
        self.ask_thing(thing_of_item(item))

    def ask_region(self, item: LibraryItem, region: Annotation) -> None:
        """Bring the map, and ask with a region of a picture of the library."""
        if item.media.modality is not Modality.IMAGE or region.kind == "span":
            self._workbench.notice.emit(
                "Only a region of a picture can be asked for; to ask with a sound, ask with the whole of it.",
                "warning",
            )
            return
        self._collections.show()
        self.ask_thing(thing_of_region(item, region))

    def ask_thing(self, thing: Thing) -> None:
        """Put something before the line, and ask with it alone."""
        self._set_thing(thing)
        self.ask("")

    def take_query(self, key: str) -> None:
        """Put a former question before the line, for the next to be about."""
        query = self._query(key)
        if query is not None:
            self._set_thing(thing_of_query(query))

    def let_go(self) -> None:
        """Take away what stands before the line; the answer stays."""
        self._set_thing(None)

    def set_by_patches(self, on: bool) -> None:
        """Choose how a region is asked for, and ask anew."""
        if on != self.by_patches:
            self._set_thing(self.thing, by_patches=on)
            self._patches.withdraw()
            if self.thing is not None and self.thing.is_region:
                self.ask("")

    def again(self, key: str) -> None:
        """Ask a question of the history again."""
        query = self._query(key)
        if query is not None:
            self._set_thing(query.thing, by_patches=query.by_patches)
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

    def pins(self) -> tuple[tuple[float, float, str, str, tuple[tuple[int, float], ...]], ...]:
        """Where the question that was answered lies on the map: (x, y, words, key, nearest).

        In the middle of the nearest few, each counting by how near it is: the map has no place for a question
        of its own. The nearest are (row, cosine).
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
        near = tuple(zip(found.rows[:_LINES].tolist(), found.cosines[:_LINES].tolist(), strict=True))
        return ((float(x), float(y), found.query.text, found.query.key, near),)

    # --- inside -------------------------------------------------------------------------------------------
    def _ask(self, query: Query) -> None:
        view, model = self._collections.view, self._workbench.state.model
        if view is None:
            self._workbench.notice.emit("No collection is open; make one of a folder, then ask.", "warning")
        elif not self._collections.space_id:
            self._workbench.notice.emit(
                "There are no vectors to search in; index the collection first.", "warning"
            )
        elif model is None and any(part.row is None for part in query.parts):
            self._workbench.notice.emit(
                "To ask with words, files or regions, load the model that made the vectors.", "warning"
            )
        elif query.by_patches:
            self._search_patches(query, view)
        else:
            self._search(query, view)

    def _search(self, query: Query, view: CollectionView) -> None:
        model = self._workbench.state.model
        request = SearchSpace(
            str(view.folder),
            self._collections.space_id,
            tuple(part.asked for part in query.parts),
            "" if model is None else model.id,
            NEAREST,
            whole=view.count <= _WHOLE_UP_TO,
            closed=self._collections.closed,
        )

        def done(answer: SpaceAnswer) -> None:
            self._take(found_items(query, answer))

        self._run(query, request, done, partial=done)

    def _search_patches(self, query: Query, view: CollectionView) -> None:
        model, (part,) = self._workbench.state.model, query.parts
        if not self._patches.is_indexed:
            self._patches.estimate()  # says what to do
            return
        assert model is not None
        assert part.box is not None
        request = SearchPatches(
            str(view.folder),
            self._collections.space_id,
            model.id,
            part.box,
            part.media,
            count=NEAREST,
            outline=part.outline,
        )
        table, closed = view.table, self._collections.closed
        images = int(((table.kinds == KINDS.index(Modality.IMAGE)) & (table.status == Status.READY)).sum())

        def done(hits: PatchHits) -> None:
            self._take(found_patches(query, hits, images, closed=closed))

        self._run(query, request, done)

    def _run(
        self,
        query: Query,
        request: Request,
        done: Callable[..., None],
        partial: Callable[..., None] | None = None,
    ) -> None:
        label = f"Searching for {query.text}"
        self._workbench.activities.run(ASK, label, request, done, partial=partial, failed=self._failed)

    def _take(self, found: Found) -> None:
        self._state.result = found
        self.found.emit()

    def _failed(self, error: ErrorReport) -> None:
        self._workbench.report(error)

    def _ask_by_patches(self) -> None:
        """The patches are indexed now: ask what waited for them."""
        if self.by_patches and self.thing is not None and self.thing.is_region:
            self.ask("")

    def _set_thing(self, thing: Thing | None, *, by_patches: bool | None = None) -> None:
        by_patches = self.by_patches if by_patches is None else by_patches
        if (thing, by_patches) != (self.thing, self.by_patches):
            self.thing, self.by_patches = thing, by_patches
            self.thing_changed.emit()

    def _words(self, text: str, parts: tuple[Part, ...]) -> str:
        """The question with the names of items in place of "this"."""
        if all(part.text for part in parts):
            return text
        said = []
        for number, part in enumerate(parts):
            sign = "−" if part.weight < 0 else "+" if number else ""
            said.append(f"{sign} {self._word(part)}".strip())
        return " ".join(said)

    def _word(self, part: Part) -> str:
        if part.row is not None:
            return self._collections.names(np.array([part.row]))[0]
        return part.text or part.name

    def _remember(
        self,
        text: str,
        parts: tuple[Part, ...],
        typed: str,
        thing: Thing | None = None,
        *,
        by_patches: bool = False,
    ) -> Query:
        asked = (parts, by_patches)
        same = next((query for query in self.history if (query.parts, query.by_patches) == asked), None)
        if same is None:
            self._state.number += 1
            words = f"{text} · by patches" if by_patches else text
            same = Query(f"q{self._state.number}", words, parts, typed, thing=thing, by_patches=by_patches)
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
        self._workbench.cancel(FILE)
        self._state = _State()
        if self.thing is not None and any(part.row is not None for part in self.thing.parts):
            self._set_thing(None)  # rows of another collection are other items
        self.history_changed.emit()
        self.found.emit()
