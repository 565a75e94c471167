"""Opened spaces of collections, kept between requests: vectors, whose they are, how to search them."""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass, field
from pathlib import Path
from threading import Lock

import numpy as np
from numpy.typing import NDArray

from mmviewer.core.errors import InputError
from mmviewer.core.progress import Progress
from mmviewer.core.space.collection import KINDS, UNKNOWN_KIND, Catalogue, SpaceInfo, Status
from mmviewer.core.space.measures.gap import centres_of, closed
from mmviewer.core.space.search.approximate import Approximate, Recall
from mmviewer.core.space.search.exact import EXACT_LIMIT, Exact
from mmviewer.core.space.search.opening import Searcher, open_search
from mmviewer.core.space.unit_rows import Rows, UnitRows
from mmviewer.core.types import FloatArray, Modality

_KEPT = 4  # spaces that stay open; an index of a million vectors takes half a gigabyte
_TRIED = 64  # queries of other kinds by which the recall for some kinds is measured
_POLL = 0.05  # seconds between looks at a cancel while another request makes the index


@dataclass(slots=True, eq=False)
class Space:
    """The vectors of one space of a collection as of one commit.

    Parameters
    ----------
    info : SpaceInfo
    rows : UnitRows
        All vectors; with the gap closed, each kind about its own mean.
    index : int64 array [N]
        Vector of each item, -1 for none; equal contents share one, removed items have none.
    used : bool array [V]
        Whether a vector belongs to an item.
    kinds : uint8 array [V]
        Kind of each vector, 255 if it is not known.
    centres : mapping of int to float32 array [D]
        Means that were taken away; empty unless the gap is closed.
    path : Path
        Where its index is kept.
    """

    info: SpaceInfo
    rows: UnitRows
    index: Rows
    used: NDArray[np.bool_]
    kinds: NDArray[np.uint8]
    centres: dict[int, FloatArray]
    path: Path
    _searcher: Searcher | None = None
    _recalls: dict[tuple[Modality, ...], Recall] = field(default_factory=dict)
    _members: tuple[Rows, Rows] | None = None
    _making: Lock = field(default_factory=Lock)

    def allowed(self, kinds: tuple[Modality, ...] = ()) -> NDArray[np.bool_] | None:
        """Which vectors a search may find, of some kinds only if any are named; None if all."""
        found = self.used
        if kinds:
            found = found & np.isin(self.kinds, [KINDS.index(kind) for kind in kinds])
        return None if found.all() else found

    def vector(self, row: int) -> FloatArray:
        """The unit vector [D] of an item; raises `InputError` if it has none."""
        if not 0 <= row < len(self.index) or self.index[row] < 0:
            raise InputError("This item has no vector yet; index the collection first.")
        vector: FloatArray = self.rows.take(self.index[row : row + 1])[0]
        return vector

    def to_items(self, values: NDArray[np.floating]) -> FloatArray:
        """Values of vectors [V, ...] as values of items [N, ...], NaN for those without a vector."""
        whole = np.full((len(self.index), *values.shape[1:]), np.nan, np.float32)
        has = self.index >= 0
        whole[has] = values[self.index[has]]
        return whole

    def codes_to_items(self, codes: NDArray[np.int32]) -> NDArray[np.int32]:
        """Codes of vectors [V] as codes of items [N], -1 for those without a vector."""
        whole = np.full(len(self.index), -1, np.int32)
        has = self.index >= 0
        whole[has] = codes[self.index[has]]
        return whole

    def to_vectors(self, values: NDArray[np.floating]) -> FloatArray:
        """Values of the first items [n, ...] as values of vectors [V, ...], NaN where there is none."""
        whole = np.full((len(self.rows), *values.shape[1:]), np.nan, np.float32)
        has = np.flatnonzero(self.index[: len(values)] >= 0)
        whole[self.index[has]] = values[has]
        return whole

    def items_of(self, found: Rows, cosines: FloatArray, count: int) -> tuple[Rows, FloatArray]:
        """At most `count` items of found vectors, in their order; equal contents follow one another."""
        good = found >= 0
        found, cosines = found[good], cosines[good]
        order, starts = self._sharing()
        shared = starts[found + 1] - starts[found]
        within = np.arange(shared.sum()) - np.repeat(np.cumsum(shared) - shared, shared)
        items = order[np.repeat(starts[found], shared) + within]
        return items[:count], np.repeat(cosines, shared)[:count]

    def items_with(self, vectors: Rows) -> Rows:
        """All items that have one of these vectors, in order."""
        items, _ = self.items_of(vectors, np.zeros(len(vectors), np.float32), len(self.index))
        return np.sort(items)

    def _sharing(self) -> tuple[Rows, Rows]:
        """Items in the order of their vectors, and where those of each vector begin [V + 1]."""
        if self._members is None:
            order = np.argsort(self.index, kind="stable")
            starts = np.searchsorted(self.index[order], np.arange(len(self.rows) + 1))
            self._members = order, starts
        return self._members

    def find(
        self, query: FloatArray, count: int, kinds: tuple[Modality, ...], progress: Progress
    ) -> tuple[Rows, FloatArray, float | None]:
        """Items nearest to a query [D], their cosines, and the recall where not every vector is looked at.

        For each set of kinds the recall is measured once, with queries of the other kinds.
        """
        searcher, allowed = self.searcher(), self.allowed(kinds)
        if not isinstance(searcher, Approximate):
            found, cosines = searcher.search(query[None], count, allowed, progress)
            return *self.items_of(found[0], cosines[0], count), None
        recall = self._recalls.get(kinds, searcher.recall) if kinds else searcher.recall
        if kinds and kinds not in self._recalls and allowed is not None:
            others = self.rows.sample(_TRIED, among=np.flatnonzero(self.used & ~allowed))
            if len(others):
                recall = searcher.tune(self.rows.take(others), allowed=allowed, progress=progress)
            self._recalls[kinds] = recall
        found, cosines = searcher.search(query[None], count, allowed, progress, recall.candidates)
        return *self.items_of(found[0], cosines[0], count), recall.value

    def searcher(self) -> Searcher:
        """The best search there is now: every vector is looked at until an index was made."""
        return self._searcher or Exact(self.rows)

    def prepare(self, progress: Progress) -> Searcher:
        """Read the index or make it, if the space is so large that it needs one. It may be cancelled."""
        while not self._making.acquire(timeout=_POLL):
            progress.check()
        try:
            if self._searcher is None:
                self._searcher = open_search(self.rows, self.path, self.info.id, progress)
            return self._searcher
        finally:
            self._making.release()

    @property
    def wants_index(self) -> bool:
        """Whether a search would be faster by an index that is not there yet."""
        return self._searcher is None and len(self.rows) > EXACT_LIMIT


_State = tuple[int, tuple[int, int] | None]
"""A commit of a collection, and which file its vectors lie in."""


class Spaces:
    """Spaces by folder; one that has grown since is opened anew."""

    def __init__(self) -> None:
        self._open: OrderedDict[tuple[str, str, bool], tuple[_State, Space]] = OrderedDict()
        self._change = Lock()

    def get(self, folder: str, space_id: str, progress: Progress, *, closed_gap: bool = False) -> Space:
        """Return a space as of the last commit.

        Raises
        ------
        CollectionError
            The folder is no collection, or its files cannot be read.
        InputError
            It has no such space.
        """
        key = (str(Path(folder).absolute()), space_id, closed_gap)
        with Catalogue.open(folder, readonly=True) as catalogue:
            state = catalogue.change, _file_of(catalogue, space_id)
            with self._change:
                known = self._open.get(key)
            if known is not None and known[0] == state:
                return known[1]
            former = known[1] if known is not None and known[0][1] == state[1] else None
            space = _opened(catalogue, space_id, closed_gap, former, progress)
        with self._change:
            self._open[key] = (state, space)
            self._open.move_to_end(key)
            while len(self._open) > _KEPT:
                self._open.popitem(last=False)
        return space


def _file_of(catalogue: Catalogue, space_id: str) -> tuple[int, int] | None:
    """Which file holds the vectors: another collection may have been made in the place of a former one.

    The number of a file that is still mapped is given to no other.
    """
    try:
        found = (Path(catalogue.folder) / "vectors" / f"{space_id}.f16").stat()
    except OSError:
        return None
    return found.st_dev, found.st_ino


def _opened(
    catalogue: Catalogue, space_id: str, closed_gap: bool, former: Space | None, progress: Progress
) -> Space:
    """Open a space, with what of its former state is still true: vectors are only ever added."""
    vectors, table = catalogue.vectors(space_id), catalogue.table()
    count = min(len(vectors.index), len(table))
    index = vectors.index[:count].copy()
    index[table.status[:count] != Status.READY] = -1
    kinds = np.full(len(vectors.matrix), UNKNOWN_KIND, np.uint8)
    has = np.flatnonzero(index >= 0)
    kinds[index[has]] = table.kinds[has]
    used = np.zeros(len(kinds), np.bool_)
    used[index[has]] = True
    ending = ".closed.lists" if closed_gap else ".lists"
    path = Path(catalogue.folder) / "vectors" / f"{space_id}{ending}"
    if former is not None and np.array_equal(former.kinds, kinds):
        kept = former.rows, index, used, kinds, former.centres, path, former._searcher
        return Space(vectors.info, *kept)
    rows = UnitRows(vectors.matrix)
    centres = centres_of(rows, kinds, progress) if closed_gap else {}
    if closed_gap:
        rows = closed(rows, kinds, centres)
    return Space(vectors.info, rows, index, used, kinds, centres, path)


SPACES = Spaces()
"""The engine's own."""
