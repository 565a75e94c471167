"""Compare a source with what the catalogue knows of it: new, changed, gone, back or renamed.

Entries go straight into a temporary table and are compared there, so that a million of them are never held as
Python objects.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np

from mmviewer.core.media.files import display_name
from mmviewer.core.progress import Progress
from mmviewer.core.space.collection.ledger import KINDS_SERIES, SOURCES_SERIES, STATUS_SERIES, Ledger
from mmviewer.core.space.collection.records import Record, batched, from_stored, to_stored
from mmviewer.core.space.collection.types import Rows, ScanReport, Status

_CHUNK = 2_000
"""Entries taken in at once."""
_COMMIT = 50_000
"""New items of one commit: what is lost at most, and how often readers see them grow."""

_TEMPORARY = """
CREATE TEMP TABLE seen (
  key NOT NULL UNIQUE, is_file INTEGER, kind INTEGER, size INTEGER, modified INTEGER, text TEXT,
  status INTEGER, reason TEXT, repeats INTEGER DEFAULT 0
);
CREATE TEMP TABLE gone (row INTEGER PRIMARY KEY, size INTEGER, modified INTEGER);
CREATE TEMP TABLE moved (row INTEGER PRIMARY KEY, key NOT NULL UNIQUE);
"""
_CHANGED = """
SELECT items.row, seen.status, seen.kind FROM seen
CROSS JOIN items ON items.source = ? AND items.key = seen.key
WHERE items.size != seen.size OR items.modified != seen.modified OR items.text IS NOT seen.text
  OR (seen.status != 0 AND items.reason != seen.reason)
"""
_MOVED = """
INSERT INTO moved (row, key) SELECT min(gone.row), min(fresh.key) FROM gone
JOIN fresh ON fresh.size = gone.size AND fresh.modified = gone.modified
WHERE gone.size > 0 AND fresh.is_file AND fresh.status = 0
GROUP BY gone.size, gone.modified HAVING count(*) = 1
"""


class Scan:
    """One look through a source.

    Parameters
    ----------
    ledger : Ledger
    source : int
        Number of the source.
    progress : Progress
    """

    def __init__(self, ledger: Ledger, source: int, progress: Progress) -> None:
        self._ledger = ledger
        self._database = ledger.database
        self._source = source
        self._progress = progress
        self._failed = 0

    def compare(self, records: Iterable[Record], closed: Iterable[str] = ()) -> ScanReport:
        """Take in all entries, then bring the catalogue to the same state.

        Parameters
        ----------
        records : iterable of Record
            Read once, as fast as they come.
        closed : iterable of str
            Folders that could not be read, known only after `records` are exhausted.
        """
        with self._tables():
            self._take_in(records)
            with self._database.reading():
                repeats = self._count_repeats()
                self._find_fresh_and_gone()
            renamed = self._rename()
            changed = self._change()
            back = self._bring_back()
            missing = self._miss(list(closed))
            added = self._add()
        return ScanReport(added, changed, missing, back, renamed, self._failed, repeats)

    @contextmanager
    def _tables(self) -> Iterator[None]:
        with self._database.told():
            self._drop()
            for statement in _TEMPORARY.split(";"):
                self._database.execute(statement)
            try:
                yield
            finally:
                self._drop()

    def _drop(self) -> None:
        for table in ("seen", "gone", "moved", "fresh"):
            self._database.execute(f"DROP TABLE IF EXISTS temp.{table}")

    def _take_in(self, records: Iterable[Record]) -> None:
        """A chunk at a time, so that others may use the catalogue while a folder is walked."""
        done = 0
        for chunk in batched(records, _CHUNK):
            with self._database.reading():
                self._database.many(
                    "INSERT INTO seen (key, is_file, kind, size, modified, text, status, reason) "
                    "VALUES (?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT (key) DO UPDATE SET repeats = repeats + 1",
                    ((to_stored(each.key), *each[1:]) for each in chunk),
                )
            done += len(chunk)
            self._progress.report(done, None, f"Looking through the source: {done:,} entries")

    def _count_repeats(self) -> tuple[str, ...]:
        self._failed = self._value("SELECT count(*) FROM seen WHERE status IN (2, 3)")
        repeats = self._value("SELECT coalesce(sum(repeats), 0) FROM seen")
        if not repeats:
            return ()
        first = from_stored(self._value("SELECT key FROM seen WHERE repeats > 0 ORDER BY rowid LIMIT 1"))
        return (
            f"{repeats:,} entries repeat one that came before ({display_name(first)} is the first); "
            "only the first of each was taken.",
        )

    def _find_fresh_and_gone(self) -> None:
        self._database.execute(
            "CREATE TEMP TABLE fresh AS SELECT * FROM seen WHERE NOT EXISTS "
            "(SELECT 1 FROM items WHERE items.source = ? AND items.key = seen.key) ORDER BY seen.rowid",
            (self._source,),
        )
        self._database.execute(
            "INSERT INTO gone SELECT row, size, modified FROM items WHERE source = ? AND NOT EXISTS "
            "(SELECT 1 FROM seen WHERE seen.key = items.key)",
            (self._source,),
        )
        removed = self._with_status(Status.REMOVED)
        self._database.many("DELETE FROM gone WHERE row = ?", ((row,) for row in removed.tolist()))

    def _rename(self) -> int:
        """A file of equal size and time under another name, one of each, is the same: it keeps its row."""
        with self._ledger.writing():
            self._database.execute(_MOVED)
            self._database.execute(
                "UPDATE items SET key = moved.key, reason = '' FROM moved WHERE moved.row = items.row"
            )
            moved = self._rows("SELECT row FROM moved")
            self._ledger.series(*STATUS_SERIES).set(moved, self._known(moved))
        with self._database.reading():
            self._database.execute("DELETE FROM gone WHERE row IN (SELECT row FROM moved)")
            self._database.execute("DELETE FROM fresh WHERE key IN (SELECT key FROM moved)")
        return len(moved)

    def _change(self) -> int:
        """What differs from before is new again; its vectors stay, for they belong to the old content."""
        with self._ledger.writing():
            found = np.array(self._database.execute(_CHANGED, (self._source,)).fetchall(), np.int64).reshape(
                -1, 3
            )
            removed = self._ledger.series(*STATUS_SERIES).at(found[:, 0]) == Status.REMOVED
            rows, states, kinds = found[~removed].T
            self._database.many(
                "UPDATE items SET size = seen.size, modified = seen.modified, text = seen.text, "
                "reason = seen.reason, hash = NULL FROM seen "
                "WHERE items.row = ? AND seen.key = items.key",
                ((row,) for row in rows.tolist()),
            )
            self._ledger.series(*STATUS_SERIES).set(rows, states)
            self._ledger.series(*KINDS_SERIES).set(rows, kinds)
            for number, info in self._ledger.spaces().items():
                if not info.own:
                    self._ledger.index(number).set(rows, -1)
        return len(rows)

    def _bring_back(self) -> int:
        """Items that were missing and are there as they were."""
        with self._ledger.writing():
            missing = self._with_status(Status.MISSING)
            there = [
                row
                for row in missing.tolist()
                if self._database.execute(
                    "SELECT 1 FROM items JOIN seen ON seen.key = items.key "
                    "WHERE items.row = ? AND items.source = ? AND seen.status < 2",
                    (row, self._source),
                ).fetchone()
            ]
            rows = np.array(there, np.int64)
            self._database.many("UPDATE items SET reason = '' WHERE row = ?", ((row,) for row in there))
            self._ledger.series(*STATUS_SERIES).set(rows, self._known(rows))
        return len(rows)

    def _miss(self, closed: list[str]) -> int:
        with self._ledger.writing():
            known = set(self._with_status(Status.MISSING).tolist())
            rows = np.array(
                [row for row in self._rows("SELECT row FROM gone").tolist() if row not in known], np.int64
            )
            for row in rows.tolist():
                self._database.execute(
                    "UPDATE items SET reason = ? WHERE row = ?", (self._why_missing(row, closed), row)
                )
            self._ledger.series(*STATUS_SERIES).set(rows, Status.MISSING)
        return len(rows)

    def _why_missing(self, row: int, closed: list[str]) -> str:
        key = from_stored(self._value("SELECT key FROM items WHERE row = ?", (row,)))
        name = display_name(key)
        if any(not folder or key.startswith(f"{folder}/") for folder in closed):
            return f"{name} lies in a folder that may not be read by you; change its permissions."
        return f"{name} does not exist (any more); check where it was moved to."

    def _add(self) -> int:
        """Give rows to what is new, in the order in which it came."""
        self._database.execute("CREATE TEMP TABLE IF NOT EXISTS fresh (key)")
        total = self._value("SELECT count(*) FROM fresh")
        last = added = 0
        while added < total:
            with self._ledger.writing():
                found = self._database.execute(
                    "SELECT rowid, kind, status FROM fresh WHERE rowid > ? ORDER BY rowid LIMIT ?",
                    (last, _COMMIT),
                ).fetchall()
                places, kinds, states = np.array(found, np.int64).T
                start = self._ledger.count
                self._database.execute(
                    "INSERT INTO items (row, source, key, is_file, text, size, modified, reason) "
                    "SELECT ? + row_number() OVER (ORDER BY rowid) - 1, ?, key, is_file, text, size, "
                    "modified, reason FROM fresh WHERE rowid > ? AND rowid <= ?",
                    (start, self._source, last, int(places[-1])),
                )
                rows = np.arange(start, start + len(places))
                self._ledger.series(*KINDS_SERIES).set(rows, kinds)
                self._ledger.series(*STATUS_SERIES).set(rows, states)
                self._ledger.series(*SOURCES_SERIES).set(rows, self._source)
            last, added = int(places[-1]), added + len(places)
            self._progress.report(added, total, f"Adding {total:,} items")
        return added

    def _known(self, rows: Rows) -> Any:
        """READY for each row whose content is known or that has none but its vector, else NEW."""
        sql = "SELECT hash IS NOT NULL OR (text IS NULL AND NOT is_file) FROM items WHERE row = ?"
        hashed = [self._value(sql, (row,)) for row in rows.tolist()]
        return np.where(np.array(hashed, bool), Status.READY, Status.NEW)

    def _with_status(self, status: Status) -> Rows:
        """Items of this source that have it."""
        count = self._ledger.count
        states = self._ledger.series(*STATUS_SERIES).array(count)
        sources = self._ledger.series(*SOURCES_SERIES).array(count)
        return np.flatnonzero((states == status) & (sources == self._source))

    def _rows(self, sql: str, values: Any = ()) -> Rows:
        return np.fromiter((row for (row,) in self._database.execute(sql, values)), np.int64)

    def _value(self, sql: str, values: Any = ()) -> Any:
        found = self._database.execute(sql, values).fetchone()
        return None if found is None else found[0]
