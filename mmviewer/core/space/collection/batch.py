"""What a writer learns about some items, committed as one."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from types import TracebackType

import numpy as np
from numpy.typing import NDArray

from mmviewer.core.errors import InputError
from mmviewer.core.space.collection.ledger import KINDS_SERIES, STATUS_SERIES, Ledger
from mmviewer.core.space.collection.types import KINDS, UNKNOWN_KIND, Rows, SpaceInfo, Status
from mmviewer.core.space.collection.vectors import HalfArray, checked
from mmviewer.core.types import Modality

_LONGEST_REASON = 1000


class Batch:
    """Contents, vectors and failures of some items; made by `Catalogue.begin_batch`.

    Used as a context manager: what was given is committed at its end, and nothing of it after an error. The
    vectors lie on the disk before the catalogue speaks of them, so a crash loses at most this batch.

    Parameters
    ----------
    ledger : Ledger
    """

    def __init__(self, ledger: Ledger) -> None:
        self._ledger = ledger
        self._contents: dict[int, tuple[bytes, int]] = {}
        self._failures: dict[int, str] = {}
        self._vectors: dict[str, dict[bytes, HalfArray]] = {}

    def __enter__(self) -> Batch:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if kind is None:
            self.commit()

    def set_content(
        self,
        rows: Rows | Sequence[int],
        hashes: Sequence[str],
        kinds: Sequence[Modality | None] | None = None,
    ) -> None:
        """Say what items hold: the hash of their content, and their kinds where they were not known before.

        Raises
        ------
        InputError
            A row or a hash that cannot be.
        """
        for place, row in enumerate(self._ledger.check_rows(rows).tolist()):
            kind = kinds[place] if kinds is not None else None
            self._contents[row] = (to_key(hashes[place]), UNKNOWN_KIND if kind is None else KINDS.index(kind))
            self._failures.pop(row, None)

    def fail(self, rows: Rows | Sequence[int], reasons: Sequence[str]) -> None:
        """Say why items cannot be read, a sentence each."""
        for row, reason in zip(self._ledger.check_rows(rows).tolist(), reasons, strict=True):
            self._failures[row] = reason.encode("utf-8", "replace").decode()[:_LONGEST_REASON]
            self._contents.pop(row, None)

    def append_vectors(self, space_id: str, hashes: Sequence[str], vectors: NDArray[np.floating]) -> None:
        """Add the vectors [n, D] of contents; all items that hold them get them. Known ones stay as they are.

        Raises
        ------
        InputError
            Another width than the space's, NaN, infinity or a zero vector.
        """
        _, info = self._ledger.space(space_id)
        halves = checked(vectors, len(hashes), info)
        mine = self._vectors.setdefault(space_id, {})
        for place, name in enumerate(hashes):
            mine.setdefault(to_key(name), halves[place])

    def commit(self) -> None:
        """Write all of it, then forget it; an error leaves the catalogue as it was."""
        ledger = self._ledger
        with ledger.writing():
            for row, (name, _) in self._contents.items():
                ledger.database.execute("UPDATE items SET hash = ?, reason = '' WHERE row = ?", (name, row))
            touched = {name for name, _ in self._contents.values()}
            for space_id, vectors in self._vectors.items():
                touched.update(self._append(space_id, vectors))
            self._mark_contents()
            self._mark_failures()
            self._place(touched)
        self._contents.clear()
        self._failures.clear()
        self._vectors.clear()

    def _append(self, space_id: str, vectors: dict[bytes, HalfArray]) -> Iterable[bytes]:
        """Write the vectors that are new and note where; gives their keys."""
        ledger = self._ledger
        number, info = ledger.space(space_id)
        new = [name for name in vectors if position_of(ledger, number, name) is None]
        if new:
            append(ledger, number, info, new, np.stack([vectors[name] for name in new]))
        return new

    def _mark_contents(self) -> None:
        rows = np.fromiter(self._contents, np.int64, len(self._contents))
        kinds = np.array([kind for _, kind in self._contents.values()], np.uint8)
        self._set_status(rows, Status.READY)
        known = kinds != UNKNOWN_KIND
        self._ledger.series(*KINDS_SERIES).set(rows[known], kinds[known])

    def _mark_failures(self) -> None:
        ledger = self._ledger
        rows = np.fromiter(self._failures, np.int64, len(self._failures))
        self._set_status(rows, Status.FAILED)
        for row, reason in self._failures.items():
            ledger.database.execute("UPDATE items SET hash = NULL, reason = ? WHERE row = ?", (reason, row))
        for number, info in ledger.spaces().items():
            if not info.own:
                ledger.index(number).set(rows, -1)

    def _set_status(self, rows: Rows, status: Status) -> None:
        """What was removed while it was being read stays removed."""
        states = self._ledger.series(*STATUS_SERIES)
        states.set(rows[states.at(rows) != Status.REMOVED], status)

    def _place(self, names: set[bytes]) -> None:
        """Point every item that holds one of these contents to its vector in each space."""
        ledger = self._ledger
        numbers = [number for number, info in ledger.spaces().items() if not info.own]
        rows: list[int] = []
        positions: list[list[int]] = [[] for _ in numbers]
        for name in names:
            found = [
                row for (row,) in ledger.database.execute("SELECT row FROM items WHERE hash = ?", (name,))
            ]
            rows += found
            for number, mine in zip(numbers, positions, strict=True):
                position = position_of(ledger, number, name)
                mine += [-1 if position is None else position] * len(found)
        for number, mine in zip(numbers, positions, strict=True):
            ledger.index(number).set(np.array(rows, np.int64), np.array(mine, np.int32))


def append(ledger: Ledger, number: int, info: SpaceInfo, names: Sequence[bytes], vectors: HalfArray) -> None:
    """Write vectors of new keys behind the others and note them; call inside `Ledger.writing`."""
    ledger.file(info).append(info.count, vectors)
    ledger.database.many(
        "INSERT INTO vectors (space, hash, position) VALUES (?, ?, ?)",
        ((number, name, info.count + place) for place, name in enumerate(names)),
    )
    ledger.database.execute("UPDATE spaces SET count = ? WHERE number = ?", (info.count + len(names), number))


def position_of(ledger: Ledger, number: int, name: bytes) -> int | None:
    """Where the vector of a content lies in a space."""
    sql = "SELECT position FROM vectors WHERE space = ? AND hash = ?"
    found = ledger.database.execute(sql, (number, name)).fetchone()
    return None if found is None else int(found[0])


def to_key(content_hash: str) -> bytes:
    """A hash of hexadecimal digits as it is kept.

    Raises
    ------
    InputError
        It is something else.
    """
    try:
        key = bytes.fromhex(content_hash)
    except ValueError:
        key = b""
    if not 8 <= len(key) <= 64:
        raise InputError(f"“{content_hash[:80]}” is no content hash: 16 to 128 hexadecimal digits are.")
    return key
