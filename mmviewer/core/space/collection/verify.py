"""Check a whole collection: the catalogue, every vector against its checksum, and the files of its items."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from mmviewer.core.progress import Progress
from mmviewer.core.space.collection import look
from mmviewer.core.space.collection.ledger import STATUS_SERIES, Ledger
from mmviewer.core.space.collection.sources import Source
from mmviewer.core.space.collection.types import Rows, SpaceInfo, Status

_CHUNK = 8192
_MOST_ROWS = 1000
_MOST_PROBLEMS = 20


@dataclass(frozen=True, slots=True)
class VerifyReport:
    """What was found.

    Parameters
    ----------
    items, vectors : int
        How many were checked.
    broken_vectors : int
        Vectors that differ from their checksums or are cut off.
    missing : int
        Files that are gone and were not known to be.
    missing_rows : tuple of int
        The first thousand of them.
    problems : tuple of str
        One sentence each; empty where all is well but for missing files.
    repaired : bool
        Whether broken vectors were forgotten, so that the next indexing makes them again.
    """

    items: int
    vectors: int
    broken_vectors: int
    missing: int
    missing_rows: tuple[int, ...]
    problems: tuple[str, ...]
    repaired: bool = False

    @property
    def sound(self) -> bool:
        """Whether catalogue and vectors are as they were written."""
        return not self.problems


class Verification:
    """One check of a collection.

    Parameters
    ----------
    ledger : Ledger
    sources : sequence of Source
    progress : Progress
    """

    def __init__(self, ledger: Ledger, sources: Sequence[Source], progress: Progress) -> None:
        self._ledger = ledger
        self._sources = sources
        self._progress = progress
        self._problems: list[str] = []

    def run(self, *, repair: bool) -> VerifyReport:
        """Check everything; with `repair`, forget vectors that are broken."""
        self._progress.report(0, None, "Checking the catalogue")
        self._check_catalogue()
        vectors = broken = 0
        for number, info in self._ledger.spaces().items():
            self._check_places(number, info)
            wrong = self._check_vectors(info)
            vectors += info.count
            broken += len(wrong)
            if repair and len(wrong):
                self._ledger.forget_vectors(number, wrong)
        missing = self._missing_files()
        return VerifyReport(
            self._ledger.count,
            vectors,
            broken,
            len(missing),
            tuple(missing[:_MOST_ROWS].tolist()),
            tuple(self._problems[:_MOST_PROBLEMS]),
            repair and broken > 0,
        )

    def _check_catalogue(self) -> None:
        for (line,) in self._ledger.database.all(f"PRAGMA integrity_check({_MOST_PROBLEMS})"):
            if line != "ok":
                self._problems.append(f"The catalogue is damaged ({line}); restore it from a copy.")
        rows = self._ledger.database.value("SELECT count(*) FROM items")
        if rows != self._ledger.count:
            lost = self._ledger.count - rows
            self._problems.append(f"The catalogue has lost {lost:,} items; restore it from a copy.")

    def _check_places(self, number: int, info: SpaceInfo) -> None:
        """Every item must point to the vector of what it holds, and no two contents to the same."""
        database = self._ledger.database
        with database.reading():
            count = self._ledger.count
            index = self._ledger.index(number).array(count)
            told = np.full(count, -1, np.int64)
            found = database.execute(_EXPECTED[info.own], (number,))
            pairs = np.fromiter((each for pair in found for each in pair), np.int64).reshape(-1, 2)
            distinct, entries = database.execute(
                "SELECT count(DISTINCT position), count(*) FROM vectors WHERE space = ?", (number,)
            ).fetchone()
        inside = (pairs[:, 0] >= 0) & (pairs[:, 0] < count)
        told[pairs[inside, 0]] = pairs[inside, 1]
        wrong = int((told != index).sum())
        if wrong:
            items = (
                "1 item points to another vector" if wrong == 1 else f"{wrong:,} items point to other vectors"
            )
            self._problems.append(f"{items} of {info.label} than its content's; index again.")
        if distinct != entries:
            self._problems.append(
                f"{entries - distinct:,} vectors of {info.label} are claimed twice; index again."
            )

    def _check_vectors(self, info: SpaceInfo) -> Rows:
        file = self._ledger.file(info)
        wrong = [np.zeros(0, np.int64)]
        for start in range(0, info.count, _CHUNK):
            stop = min(start + _CHUNK, info.count)
            wrong.append(file.broken(start, stop))
            self._progress.report(stop, info.count, f"Checking {info.count:,} vectors of {info.label}")
        broken = np.concatenate(wrong)
        # holes of vectors that were found broken before belong to nobody any more
        number, _ = self._ledger.space(info.id)
        claimed = self._claimed(number, broken)
        if len(claimed):
            vectors, are = ("1 vector", "is") if len(claimed) == 1 else (f"{len(claimed):,} vectors", "are")
            self._problems.append(
                f"{vectors} of {info.label} {are} damaged; verify with repair, then index again."
            )
        return claimed

    def _claimed(self, number: int, positions: Rows) -> Rows:
        if not len(positions):
            return positions
        sql = "SELECT position FROM vectors WHERE space = ?"
        mine = np.fromiter((each for (each,) in self._ledger.database.all(sql, (number,))), np.int64)
        return positions[np.isin(positions, mine)]

    def _missing_files(self) -> Rows:
        """Files that should be there by what the catalogue knows, and are not."""
        with self._ledger.database.reading():
            count = self._ledger.count
            status = self._ledger.series(*STATUS_SERIES).array(count)
        expected = np.flatnonzero((status != Status.REMOVED) & (status != Status.MISSING))
        missing: list[int] = []
        for start in range(0, len(expected), _CHUNK):
            with self._ledger.database.reading():
                paths = look.paths(self._ledger, expected[start : start + _CHUNK], self._sources)
            missing += [row for row, path in paths if not os.path.lexists(path)]
            self._progress.report(start, len(expected), f"Looking for the files of {len(expected):,} items")
        return np.array(missing, np.int64)


_EXPECTED = {
    False: "SELECT items.row, vectors.position FROM items CROSS JOIN vectors "
    "ON vectors.space = ? AND vectors.hash = items.hash WHERE items.hash IS NOT NULL",
    True: "SELECT CAST(CAST(hash AS TEXT) AS INTEGER), position FROM vectors WHERE space = ?",
}
