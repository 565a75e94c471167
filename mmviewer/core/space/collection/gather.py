"""Look through a source of any kind and bring its items into the catalogue."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np

from mmviewer.core.errors import InputError
from mmviewer.core.media.files import check_file, display_name, unreadable
from mmviewer.core.progress import Progress
from mmviewer.core.space.collection.entries import Entries, Roles, roles
from mmviewer.core.space.collection.fill import Fill, Numbers, as_numbers, rows_of
from mmviewer.core.space.collection.ledger import Ledger
from mmviewer.core.space.collection.maps import Maps
from mmviewer.core.space.collection.reading import (
    Piece,
    Reader,
    bounded_lines,
    open_embeddings,
    open_table,
)
from mmviewer.core.space.collection.records import Record, batched
from mmviewer.core.space.collection.scan import Scan
from mmviewer.core.space.collection.sources import (
    EmbeddingsSource,
    FolderSource,
    ListSource,
    Source,
    TableSource,
)
from mmviewer.core.space.collection.types import ScanReport
from mmviewer.core.space.collection.walk import Walk

_LINES = 4096


def gather(ledger: Ledger, source: Source, progress: Progress) -> ScanReport:
    """Look through a source; errors as `Catalogue.scan` tells."""
    spec = source.spec
    if isinstance(spec, FolderSource):
        walk = Walk(Path(spec.path))
        report = Scan(ledger, source.id, progress).compare(walk.records(), walk.closed)
        return replace(report, notes=(*walk.notes, *report.notes))
    if isinstance(spec, ListSource):
        return Scan(ledger, source.id, progress).compare(_listed(spec))
    if isinstance(spec, TableSource):
        reader = open_table(Path(spec.path))
        wanted = Roles(spec.path_column, spec.text_column, spec.id_column, spec.x_column, spec.y_column)
        return _gather_entries(ledger, source, reader, wanted, progress)
    reader = open_embeddings(Path(spec.path), spec.vectors, None if spec.ids is None else Path(spec.ids))
    wanted = Roles(spec.path_column, None, spec.id_column, spec.x_column, spec.y_column)
    return _gather_entries(ledger, source, reader, wanted, progress)


def read_coordinates(ledger: Ledger, path: Path, name: str, vectors: str | None, ids: Path | None) -> int:
    """Keep a map that the user brought as `name`; gives how many items are on it."""
    if path.suffix.lower() in (".csv", ".tsv"):
        reader = open_table(path)
        columns = roles(reader, Roles(), of_items=False)
        if columns.x is None or columns.y is None:
            raise InputError(f"{reader.name} has no columns x and y; name the columns so.")
    else:
        reader = open_embeddings(path, vectors, ids)
        columns = roles(reader, Roles(), of_items=False)
        if reader.width != 2:
            raise InputError(f"{reader.name} has {reader.width} numbers for each item; a map has two.")
    entries = Entries(path.parent, None, columns)
    xy = np.full((ledger.count, 2), np.nan, np.float32)
    for piece in reader.pieces():
        given = _pair_of(piece, columns)
        if columns.path is None and columns.id is None:
            rows = np.arange(piece.start, piece.start + piece.count)
        else:
            with ledger.database.reading():
                rows = rows_of(ledger, -1, entries.keys(piece), matching=True)
        known = (rows >= 0) & (rows < len(xy))
        xy[rows[known]] = given[known]
    placed = int(np.isfinite(xy).all(axis=1).sum())
    if not placed:
        raise InputError(
            f"{reader.name} names no item of {ledger.database.name}; give ids or paths that it has."
        )
    Maps(ledger).save(name, None, "own", {"file": str(path)}, xy)
    return placed


def _gather_entries(
    ledger: Ledger, source: Source, reader: Reader, wanted: Roles, progress: Progress
) -> ScanReport:
    """Give items rows in a first reading, then read what is said of them in a second."""
    spec = source.spec
    assert isinstance(spec, TableSource | EmbeddingsSource)
    columns = roles(reader, wanted)
    base = Path(spec.path) if Path(spec.path).is_dir() else Path(spec.path).parent
    entries = Entries(base if spec.root is None else Path(spec.root), spec.root, columns)
    numbers = Numbers(
        [each for each in reader.columns if each not in columns.special(with_vectors=bool(reader.width))]
    )
    matching = isinstance(spec, EmbeddingsSource)
    records = _records(ledger, source.id, reader, entries, numbers, matching=matching)
    report = Scan(ledger, source.id, progress).compare(records)
    space = None
    if isinstance(spec, EmbeddingsSource):
        space = ledger.add_own_space(spec.label or Path(spec.path).stem, spec.path, reader.width)
    fill = Fill(ledger, source.id, entries, space)
    fill.run(reader, numbers.names, progress)
    if np.isfinite(fill.xy).any():
        Maps(ledger).save(f"of {display_name(spec.path)}"[:100], None, "own", {"file": spec.path}, fill.xy)
    return replace(report, notes=(*report.notes, *reader.notes, *fill.notes))


def _records(
    ledger: Ledger, source: int, reader: Reader, entries: Entries, numbers: Numbers, *, matching: bool
) -> Iterator[Record]:
    for piece in reader.pieces():
        numbers.see(piece)
        if not matching:
            yield from entries.records(piece)
            continue
        # items of other sources that have these names get the vectors; they are not items twice
        theirs = (
            rows_of(ledger, -1, entries.keys(piece), matching=True) if _has_others(ledger, source) else None
        )
        mine = rows_of(ledger, source, entries.keys(piece))
        for place, record in enumerate(entries.records(piece)):
            if theirs is None or theirs[place] < 0 or theirs[place] == mine[place]:
                yield record


def _has_others(ledger: Ledger, source: int) -> bool:
    return bool(
        ledger.database.value("SELECT 1 FROM sources WHERE NOT removed AND id != ? LIMIT 1", (source,))
    )


def _listed(spec: ListSource) -> Iterator[Record]:
    """Files of a list, a path in each line."""
    path = Path(spec.path)
    name = display_name(path)
    check_file(path, name)
    base = path.parent if spec.root is None else Path(spec.root)
    entries = Entries(base, spec.root, Roles(path="path"))
    try:
        with path.open(encoding="utf-8-sig", errors="surrogateescape") as file:
            paths = (line.rstrip("\r\n") for line in bounded_lines(file, name))
            for start, chunk in enumerate(batched((each for each in paths if each.strip()), _LINES)):
                yield from entries.records(Piece(start * _LINES, len(chunk), {"path": chunk}))
    except OSError as error:
        raise unreadable(name, error) from error


def _pair_of(piece: Piece, columns: Roles) -> np.ndarray:
    if piece.vectors is not None:
        return np.asarray(piece.vectors, np.float32)
    assert columns.x is not None
    assert columns.y is not None
    return np.stack([as_numbers(piece.values[each]) for each in (columns.x, columns.y)], axis=1)
