"""A collection on the disk: items by row, the vectors of several models, what was said by hand.

A collection is a folder: ``catalogue.sqlite`` in WAL mode, ``vectors/`` with one memory-mapped file for each
space, and ``thumbnails.sqlite``. One process writes at a time; any number may read meanwhile and see the last
commit.
"""

from __future__ import annotations

import json
import time
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mmviewer.core.errors import CollectionError, InputError
from mmviewer.core.media.files import display_name, to_path
from mmviewer.core.progress import SILENT, Progress
from mmviewer.core.space.collection import export, look
from mmviewer.core.space.collection.batch import Batch, position_of, to_key
from mmviewer.core.space.collection.database import NAME, Database, make_folder
from mmviewer.core.space.collection.gather import gather
from mmviewer.core.space.collection.item_data import ItemData
from mmviewer.core.space.collection.ledger import (
    KINDS_SERIES,
    SOURCES_SERIES,
    STATUS_SERIES,
    Ledger,
)
from mmviewer.core.space.collection.sources import (
    FolderSource,
    Source,
    SourceSpec,
    absolute,
    from_json,
    located,
    same_place,
    to_json,
)
from mmviewer.core.space.collection.types import (
    UNKNOWN_KIND,
    CollectionItem,
    ItemTable,
    Rows,
    ScanReport,
    SpaceInfo,
    Status,
)
from mmviewer.core.space.collection.vectors import SpaceVectors
from mmviewer.core.space.collection.verify import Verification, VerifyReport


class Catalogue(ItemData):
    """An open collection; made by `open`, used as a context manager or closed by `close`.

    Parameters
    ----------
    ledger : Ledger
    """

    def __init__(self, ledger: Ledger) -> None:
        super().__init__(ledger)

    @classmethod
    def open(cls, folder: str | Path, *, create: bool = False, readonly: bool = False) -> Catalogue:
        """Open a collection.

        Parameters
        ----------
        folder : path
        create : bool
            Make an empty one where there is none.
        readonly : bool
            Any number of readers is welcome at any time; there can be one writer only.

        Raises
        ------
        CollectionError
            Not a collection, damaged, of a newer version, written by another at present, or the disk refuses.
        """
        place = to_path(folder)
        if not (place / NAME).exists():
            if not create or readonly:
                raise CollectionError(
                    f"{display_name(place)} is not a collection; choose a folder that mmviewer has made, "
                    "or make a new one."
                )
            make_folder(place)
        database = Database(place, readonly=readonly, create=create)
        catalogue = cls(Ledger(place, database))
        if not readonly:
            try:
                catalogue._ledger.settle()
            except BaseException:
                database.close()
                raise
        return catalogue

    def close(self) -> None:
        """Let go of the files; again is fine."""
        self._database.close()

    def __enter__(self) -> Catalogue:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    @property
    def folder(self) -> Path:
        """Where it lies."""
        return self._ledger.folder

    @property
    def readonly(self) -> bool:
        """Whether it was opened for reading only."""
        return self._database.readonly

    @property
    def count(self) -> int:
        """Items that ever came in, removed ones included; rows go from 0 to this."""
        return self._ledger.count

    @property
    def change(self) -> int:
        """A number that grows with every commit, for readers to poll."""
        return self._ledger.change

    # items

    def table(self) -> ItemTable:
        """Kind, status and source of every item, as of the last commit."""
        with self._database.reading():
            count = self.count
            kinds, status, sources = (
                self._ledger.series(*each).array(count)
                for each in (KINDS_SERIES, STATUS_SERIES, SOURCES_SERIES)
            )
            return ItemTable(kinds, status, sources, self.change)

    def items(self, rows: Any) -> list[CollectionItem]:
        """All that is known of some items, in the order asked for.

        Raises
        ------
        InputError
            There is no such row.
        """
        with self._database.reading():
            return look.items(self._ledger, self._ledger.check_rows(rows), self.sources)

    def find(self, text: str, limit: int = 1000) -> Rows:
        """Rows whose path within the source, id or text contains `text`, whatever the case; in order."""
        with self._database.reading():
            return look.find(self._ledger, text, limit)

    def failures(self) -> Iterator[CollectionItem]:
        """Items that failed or are missing, with the reasons."""
        status = self.table().status
        rows = np.flatnonzero((status == Status.FAILED) | (status == Status.MISSING))
        for start in range(0, len(rows), 500):
            yield from self.items(rows[start : start + 500])

    # sources

    @property
    def sources(self) -> tuple[Source, ...]:
        """Where items come from, without removed sources."""
        found = self._database.all(
            "SELECT id, spec, scanned, notes FROM sources WHERE NOT removed ORDER BY id"
        )
        return tuple(
            Source(number, from_json(spec), scanned, tuple(map(str, json.loads(notes))))
            for number, spec, scanned, notes in found
        )

    def add_source(self, spec: SourceSpec) -> Source:
        """Add a source; its items come in with `scan`. One that is there already is given back.

        Raises
        ------
        MediaError
            Its path cannot be on this computer.
        """
        text, alike = (to_json(each) for each in same_place(located(spec)))
        with self._ledger.writing():
            sql = "SELECT id FROM sources WHERE spec IN (?, ?)"
            known = self._database.value(sql, (text, alike))
            if known is None:
                self._database.execute("INSERT INTO sources (spec) VALUES (?)", (text,))
                known = self._database.value("SELECT last_insert_rowid()")
            else:
                self._revive(int(known))
        if isinstance(spec, FolderSource) and spec.watch:
            return self.watch_source(int(known))
        return self.source(int(known))

    def source(self, number: int) -> Source:
        """The source of this id.

        Raises
        ------
        InputError
            There is none.
        """
        for source in self.sources:
            if source.id == number:
                return source
        raise InputError(f"{self._database.name} has no source {number}; choose one that it lists.")

    def remove_source(self, number: int) -> None:
        """Take a source and its items out; their rows and the vectors of their contents stay."""
        self.source(number)
        with self._ledger.writing():
            self._database.execute("UPDATE sources SET removed = 1 WHERE id = ?", (number,))
            self._mark(self._of_source(number), Status.REMOVED)

    def move_source(self, number: int, path: str | Path) -> Source:
        """Say that a source lies elsewhere now; its items keep their rows, vectors and labels."""
        spec = replace(self.source(number).spec, path=absolute(path))
        with self._ledger.writing():
            self._database.execute("UPDATE sources SET spec = ? WHERE id = ?", (to_json(spec), number))
        return self.source(number)

    def watch_source(self, number: int, watch: bool = True) -> Source:
        """Say whether changes in a folder shall be followed; sources of other kinds stay as they are."""
        spec = self.source(number).spec
        if isinstance(spec, FolderSource) and spec.watch != watch:
            with self._ledger.writing():
                text = to_json(replace(spec, watch=watch))
                self._database.execute("UPDATE sources SET spec = ? WHERE id = ?", (text, number))
        return self.source(number)

    def scan(self, number: int, progress: Progress = SILENT) -> ScanReport:
        """Look through a source for what is new, changed, gone, back or renamed; nothing is decoded.

        A cancel or crash leaves whole commits of new items; the next scan goes on from there.

        Raises
        ------
        MediaError
            The source itself cannot be read; then its items stay as they are.
        """
        report = gather(self._ledger, self.source(number), progress)
        with self._ledger.writing():
            self._database.execute(
                "UPDATE sources SET scanned = ?, notes = ? WHERE id = ?",
                (time.time(), json.dumps(report.notes), number),
            )
        return report

    def remove_items(self, rows: Any) -> None:
        """Take single items out; they do not come back with the next scan."""
        self._mark(self._ledger.check_rows(rows), Status.REMOVED)

    def retry(self, rows: Any) -> None:
        """Let items that failed be tried again, but for vectors: those are looked at by `scan`."""
        wanted = self._ledger.check_rows(rows)
        with self._ledger.writing():
            sql = "SELECT row FROM items WHERE row = ? AND (is_file OR text IS NOT NULL)"
            found = [self._database.value(sql, (row,)) for row in wanted.tolist()]
            chosen = np.array([row for row in found if row is not None], np.int64)
            self._mark(chosen, Status.NEW)
            self._database.many(
                "UPDATE items SET reason = '' WHERE row = ?", ((row,) for row in chosen.tolist())
            )

    def _mark(self, rows: Rows, status: Status) -> None:
        with self._ledger.writing():
            self._ledger.series(*STATUS_SERIES).set(rows, status)

    def _of_source(self, number: int) -> Rows:
        return np.flatnonzero(self._ledger.series(*SOURCES_SERIES).array(self.count) == number)

    def _revive(self, number: int) -> None:
        """A source that comes back after it was removed brings its items back."""
        if not self._database.value("SELECT removed FROM sources WHERE id = ?", (number,)):
            return
        self._database.execute("UPDATE sources SET removed = 0 WHERE id = ?", (number,))
        self._database.execute("UPDATE items SET reason = '' WHERE source = ?", (number,))
        self._mark(self._of_source(number), Status.NEW)
        sql = (
            "SELECT row FROM items WHERE source = ? AND (hash IS NOT NULL OR (text IS NULL AND NOT is_file))"
        )
        known = np.fromiter((row for (row,) in self._database.execute(sql, (number,))), np.int64)
        self._mark(known, Status.READY)

    # spaces and vectors

    def spaces(self) -> tuple[SpaceInfo, ...]:
        """Which models' vectors it holds, oldest first."""
        return tuple(self._ledger.spaces().values())

    def add_space(
        self,
        *,
        model_id: str,
        label: str,
        width: int,
        weights_hash: str,
        preprocessing: str,
        source: str = "",
        revision: str = "",
        dtype: str = "float32",
    ) -> SpaceInfo:
        """The space of a model's vectors, made where there is none; parameters as in `SpaceInfo`.

        A model with other weights or preprocessing has a space of its own; no space is ever wiped by another.

        Raises
        ------
        InputError
            Vectors of this width are not kept.
        """
        number = self._ledger.add_space(
            model_id=model_id,
            label=label,
            width=width,
            weights_hash=weights_hash,
            preprocessing=preprocessing,
            source=source,
            revision=revision,
            dtype=dtype,
        )
        return self._ledger.spaces()[number]

    def vectors(self, space_id: str) -> SpaceVectors:
        """The vectors of a space as of the last commit.

        Raises
        ------
        InputError
            There is no such space.
        CollectionError
            Its file cannot be read.
        """
        with self._database.reading():
            number, info = self._ledger.space(space_id)
            index = self._ledger.index(number).array(self.count).astype(np.int64)
            matrix = self._ledger.file(info).map(info.count)
        index[(index < -1) | (index >= len(matrix))] = -1
        return SpaceVectors(info, matrix, index)

    def pending(self, space_id: str) -> Rows:
        """Items that could have a vector in a space and have none: new, or known and not embedded by it.

        What is known by a vector that the user brought, and has no content, is none of them.
        """
        with self._database.reading():
            number, _ = self._ledger.space(space_id)
            count = self.count
            status = self._ledger.series(*STATUS_SERIES).array(count)
            without = self._ledger.index(number).array(count) < 0
            kinds = self._ledger.series(*KINDS_SERIES).array(count)
        vector_only = (kinds == UNKNOWN_KIND) & (status == Status.READY)
        return np.flatnonzero(without & (status <= Status.READY) & ~vector_only)

    def known(self, space_id: str, hashes: list[str]) -> NDArray[np.bool_]:
        """For each content whether the space has its vector already, from whichever item."""
        with self._database.reading():
            number, _ = self._ledger.space(space_id)
            found = [position_of(self._ledger, number, to_key(name)) is not None for name in hashes]
        return np.array(found, bool)

    def begin_batch(self) -> Batch:
        """What is learnt about some items, to be committed as one; use as a context manager."""
        return Batch(self._ledger)

    def verify(self, progress: Progress = SILENT, *, repair: bool = False) -> VerifyReport:
        """Check the catalogue, every vector against its checksum, and that the files are there.

        Parameters
        ----------
        progress : Progress
        repair : bool
            Forget vectors that are broken, so that the next indexing makes them again.
        """
        return Verification(self._ledger, self.sources, progress).run(repair=repair)

    # export

    def export_csv(
        self, rows: Any, columns: Sequence[str], path: str | Path, progress: Progress = SILENT
    ) -> None:
        """Write some items as a table; the file is whole or not there.

        Parameters
        ----------
        rows : int array
        columns : sequence of str
            Names of columns and of `export.FACTS`, such as "path" and "kind".
        path : path
        progress : Progress

        Raises
        ------
        InputError
            A row or column that is not there.
        ExportError
            The file cannot be written.
        """
        export.export_csv(self, self._ledger.check_rows(rows), columns, to_path(path), progress)

    def export_parquet(
        self,
        rows: Any,
        columns: Sequence[str],
        path: str | Path,
        space_id: str | None = None,
        progress: Progress = SILENT,
    ) -> None:
        """Write some items as Parquet, as `export_csv`; with the vectors of a space as column "vector"."""
        export.export_parquet(self, self._ledger.check_rows(rows), columns, to_path(path), space_id, progress)
