"""What the entries of a source say of its items: columns, pairs, own vectors and coordinates."""

from __future__ import annotations

import json
import zlib
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mmviewer.core.progress import Progress
from mmviewer.core.space.collection.columns import Columns
from mmviewer.core.space.collection.entries import Entries, unit
from mmviewer.core.space.collection.ledger import Ledger
from mmviewer.core.space.collection.reading import Piece, Reader, Value
from mmviewer.core.space.collection.types import Rows
from mmviewer.core.space.collection.vectors import HalfArray


class Numbers:
    """Finds out which columns hold numbers only, while a source is read for the first time.

    Parameters
    ----------
    names : sequence of str
    """

    def __init__(self, names: Sequence[str]) -> None:
        self._could_be = set(names)
        self._seen: set[str] = set()

    def see(self, piece: Piece) -> None:
        """Look at the values of a piece."""
        for name in tuple(self._could_be):
            values = [each for each in piece.values[name] if each is not None]
            if values:
                self._seen.add(name)
            if not all(map(_is_number, values)):
                self._could_be.discard(name)

    @property
    def names(self) -> set[str]:
        """Columns of numbers."""
        return self._could_be & self._seen


class Fill:
    """Brings what a source says of its items into the catalogue, after a scan has given them rows.

    Parameters
    ----------
    ledger : Ledger
    source : int
    entries : Entries
    space : int or None
        Number of the space for own vectors.
    """

    def __init__(self, ledger: Ledger, source: int, entries: Entries, space: int | None) -> None:
        self._ledger = ledger
        self._source = source
        self._entries = entries
        self._space = space
        self._columns = Columns(ledger)
        self._done = np.zeros(ledger.count, bool)
        self.xy = np.full((ledger.count, 2), np.nan, np.float32)
        self.notes: list[str] = []

    def run(self, reader: Reader, numbers: set[str], progress: Progress) -> None:
        """Read the source once more and keep what it says."""
        special = self._entries.roles.special(with_vectors=bool(reader.width))
        with self._ledger.writing():
            self._ledger.database.execute("DELETE FROM pairs WHERE source = ?", (self._source,))
            places = {
                name: (self._columns.make(name, "number" if name in numbers else "words"), name in numbers)
                for name in reader.columns
                if name not in special
            }
        without = 0
        for piece in reader.pieces():
            with self._ledger.writing():
                without += self._piece(piece, places)
            progress.report(piece.start + piece.count, None, "Reading columns and vectors")
        with self._ledger.writing():
            for number, is_number in places.values():
                if is_number:
                    self._columns.count_distinct(number)
        if without:
            self.notes.append(
                f"{without:,} vectors of {reader.name} hold NaN, infinity or only zeros, or have "
                "another width; they were left out."
            )

    def _piece(self, piece: Piece, places: dict[str, tuple[int, bool]]) -> int:
        rows = rows_of(
            self._ledger, self._source, self._entries.keys(piece), matching=self._space is not None
        )
        beside = self._entries.text_keys(piece)
        first = self._first(rows)
        self._set(piece, places, rows, first)
        if beside is not None:
            texts = rows_of(self._ledger, self._source, beside)
            self._set(piece, places, texts, texts >= 0)
            self._pair(rows, texts)
        roles = self._entries.roles
        if roles.x is not None and roles.y is not None:
            xy = np.stack([as_numbers(piece.values[each]) for each in (roles.x, roles.y)], axis=1)
            self.xy[rows[first]] = xy[first]
        if piece.vectors is None or self._space is None:
            return 0
        halves, good = unit(piece.vectors)
        good[list(piece.bad)] = False
        keep_vectors(self._ledger, self._space, rows[first & good], halves[first & good])
        self._ledger.index(self._space).set(rows[first & ~good], -1)
        self._ledger.database.many(
            "DELETE FROM vectors WHERE space = ? AND hash = ?",
            ((self._space, own_key(row)) for row in rows[first & ~good].tolist()),
        )
        return int((~good).sum())

    def _first(self, rows: Rows) -> NDArray[np.bool_]:
        """Which entries are the first of their items; only these speak."""
        first = np.zeros(len(rows), bool)
        _, places = np.unique(rows, return_index=True)
        first[places] = True
        first &= rows >= 0
        first[first] &= ~self._done[rows[first]]
        self._done[rows[first]] = True
        return first

    def _set(
        self, piece: Piece, places: dict[str, tuple[int, bool]], rows: Rows, chosen: NDArray[np.bool_]
    ) -> None:
        for name, (number, is_number) in places.items():
            values = piece.values[name]
            if is_number:
                self._columns.set_numbers(number, rows[chosen], as_numbers(values)[chosen])
            else:
                words = [_word(values[place]) for place in np.flatnonzero(chosen).tolist()]
                self._columns.set_words(number, rows[chosen], words)

    def _pair(self, rows: Rows, texts: Rows) -> None:
        both = (rows >= 0) & (texts >= 0)
        self._ledger.database.many(
            "INSERT OR IGNORE INTO pairs (source, first, second) VALUES (?, ?, ?)",
            ((self._source, *pair) for pair in zip(rows[both].tolist(), texts[both].tolist(), strict=True)),
        )


def rows_of(ledger: Ledger, source: int, keys: Iterable[str], *, matching: bool = False) -> Rows:
    """Rows of the items of these keys, -1 for none; call inside `Database.reading` or `writing`.

    With `matching`, items of other sources come first: own vectors of a file that is there already are its.
    """
    wanted = list(keys)
    told = json.dumps(wanted)
    found: dict[str, int] = {}
    sql = (
        "SELECT value, row FROM json_each(?) CROSS JOIN items "
        "WHERE items.source = ? AND items.key = substr(value, ?) AND substr(value, 1, ?) = ?"
    )
    if matching:
        for other, prefix in _others(ledger, source):
            cut = len(prefix)
            for key, row in ledger.database.execute(sql, (told, other, cut + 1, cut, prefix)):
                found.setdefault(key, row)
    for key, row in ledger.database.execute(sql, (told, source, 1, 0, "")):
        found.setdefault(key, row)
    return np.fromiter((found.get(key, -1) for key in wanted), np.int64, len(wanted))


def _others(ledger: Ledger, source: int) -> list[tuple[int, str]]:
    """Other sources with what their keys leave out: nothing, and the folder of folders."""
    found = ledger.database.execute("SELECT id, spec FROM sources WHERE NOT removed AND id != ?", (source,))
    others = []
    for number, text in found.fetchall():
        spec = json.loads(text)
        others.append((number, ""))
        if spec.get("type") == "folder":
            others.append((number, f"{str(spec.get('path')).rstrip('/')}/"))
    return others


def keep_vectors(ledger: Ledger, number: int, rows: Rows, vectors: HalfArray) -> None:
    """Write own vectors of items; those that are there already, bit by bit, stay. Inside `Ledger.writing`."""
    info = ledger.spaces()[number]
    file = ledger.file(info)
    before = ledger.index(number).at(rows)
    old = file.map(info.count)
    new = np.array(
        [
            place < 0 or place >= len(old) or zlib.crc32(old[place].tobytes()) != zlib.crc32(each.tobytes())
            for place, each in zip(before.tolist(), vectors, strict=True)
        ],
        bool,
    )
    count = int(new.sum())
    if not count:
        return
    file.append(info.count, vectors[new])
    places = np.arange(info.count, info.count + count)
    ledger.database.many(
        "INSERT OR REPLACE INTO vectors (space, hash, position) VALUES (?, ?, ?)",
        (
            (number, own_key(row), place)
            for row, place in zip(rows[new].tolist(), places.tolist(), strict=True)
        ),
    )
    ledger.database.execute("UPDATE spaces SET count = ? WHERE number = ?", (info.count + count, number))
    ledger.index(number).set(rows[new], places)


def own_key(row: int) -> bytes:
    """Key of a vector that belongs to an item rather than to a content."""
    return str(row).encode()


def as_numbers(values: Sequence[Value]) -> NDArray[np.float64]:
    """Values as float64, NaN where they are none."""
    return np.array(
        [float(each) if each is not None and _is_number(each) else np.nan for each in values], np.float64
    )


def _is_number(value: Any) -> bool:
    if isinstance(value, int | float):
        return True
    if not isinstance(value, str):
        return False
    try:
        float(value)
    except ValueError:
        return False
    return "_" not in value


def _word(value: Value) -> str | None:
    if value is None or value == "":
        return None
    return value if isinstance(value, str) else f"{value:g}" if isinstance(value, float) else str(value)
