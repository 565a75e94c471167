"""Classes of a collection's items as a CSV or Parquet file."""

from __future__ import annotations

import csv
import os
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np

from mmviewer.core.errors import ExportError, InputError
from mmviewer.core.media.files import display_name
from mmviewer.core.progress import SILENT, Progress
from mmviewer.core.space.class_table import ClassTable
from mmviewer.core.space.collection import Catalogue, CollectionItem, Status

_PAGE = 5_000  # items written at once
_FIELDS = ("row", "path", "name", "kind", "label", "by_hand", "probability")
_Record = dict[str, Any]


def write_classes(
    catalogue: Catalogue,
    table: ClassTable,
    path: Path,
    *,
    by_hand: str = "",
    truth: str = "",
    progress: Progress = SILENT,
) -> None:
    """Write one line for each item that has a vector and is not removed.

    The fields are row, path, name, kind, label (empty below its threshold), by_hand ("yes" for labels given
    by hand, which come before the model's), probability, and the `truth` column under its own name.

    Parameters
    ----------
    catalogue : Catalogue
    table : ClassTable
    path : Path
        Ending in .csv or .parquet.
    by_hand : str
        Set of hand labels that comes first; none if empty.
    truth : str
        Column to write beside them; none if empty.
    progress : Progress

    Raises
    ------
    InputError
        Another ending, a column that is not there, or classes of another state of the collection.
    ExportError
        The file cannot be written.
    """
    writers = {".csv": _write_csv, ".parquet": _write_parquet}
    write = writers.get(path.suffix.lower())
    if write is None:
        raise InputError(f"{display_name(path)} must end in .csv or .parquet.")
    if truth in _FIELDS:
        raise InputError(f"A column called “{truth}” would be there twice; rename it in its source.")
    _atomically(path, lambda place: write(place, _pages(catalogue, table, by_hand, truth, progress)))


def _pages(
    catalogue: Catalogue, table: ClassTable, by_hand: str, truth: str, progress: Progress
) -> Iterator[list[_Record]]:
    status = catalogue.table().status
    if len(status) < len(table.winners):
        raise InputError("These classes are of another collection; score its labels again.")
    rows = np.flatnonzero((table.winners >= 0) & (status[: len(table.winners)] != Status.REMOVED))
    codes, words = table.codes, (*table.labels, "")
    hand = catalogue.labels(by_hand) if by_hand else None
    for start in range(0, max(len(rows), 1), _PAGE):
        progress.report(start, len(rows), "Writing labels")
        page = rows[start : start + _PAGE]
        records = []
        for item in catalogue.items(page):
            given = hand[0][item.row] if hand else -1
            label = hand[1][given] if hand and given >= 0 else words[codes[item.row]]
            records.append(_record(item, label, given >= 0, float(table.probabilities[item.row])))
            if truth:
                records[-1][truth] = str(item.extra.get(truth, ""))
        yield records


def _record(item: CollectionItem, label: str, by_hand: bool, probability: float) -> _Record:
    values = (
        item.row,
        item.path or "",
        item.name,
        item.kind.value if item.kind else "",
        label,
        "yes" if by_hand else "",
        round(probability, 6),
    )
    return dict(zip(_FIELDS, values, strict=True))


def _write_csv(path: Path, pages: Iterator[list[_Record]]) -> None:
    with path.open("w", newline="", encoding="utf-8", errors="replace") as file:
        writer = None
        for page in pages:
            if writer is None:
                writer = csv.DictWriter(file, list(page[0]) if page else _FIELDS)
                writer.writeheader()
            writer.writerows(page)


def _write_parquet(path: Path, pages: Iterator[list[_Record]]) -> None:
    import pyarrow as arrow
    from pyarrow import parquet

    writer = None
    try:
        for page in pages:
            columns = {name: [record[name] for record in page] for name in (page[0] if page else _FIELDS)}
            part = arrow.table(columns)
            writer = writer or parquet.ParquetWriter(path, part.schema)
            writer.write_table(part)
    finally:
        if writer is not None:
            writer.close()


def _atomically(path: Path, write: Callable[[Path], None]) -> None:
    """All of the file, or what was there before."""
    try:
        handle, name = tempfile.mkstemp(prefix=".mmviewer-", suffix=path.suffix, dir=path.parent)
    except OSError as error:
        raise _unwritable(path, error) from error
    os.close(handle)
    place = Path(name)
    try:
        write(place)
        place.chmod(0o644)
        place.replace(path)
    except OSError as error:
        raise _unwritable(path, error) from error
    finally:
        place.unlink(missing_ok=True)


def _unwritable(path: Path, error: OSError) -> ExportError:
    reason = error.strerror or error
    return ExportError(f"{display_name(path)} cannot be written ({reason}); choose another folder.")
