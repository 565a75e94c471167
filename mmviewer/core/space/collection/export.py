"""Write items, their columns and vectors as CSV or Parquet, a piece at a time."""

from __future__ import annotations

import csv
import os
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from mmviewer.core.errors import ExportError, InputError
from mmviewer.core.media.files import display_name
from mmviewer.core.progress import Progress
from mmviewer.core.space.collection.database import unwritable
from mmviewer.core.space.collection.types import CollectionItem, Rows
from mmviewer.core.space.collection.vectors import SpaceVectors

if TYPE_CHECKING:
    from mmviewer.core.space.collection.catalogue import Catalogue

_PIECE = 4096

FACTS: dict[str, Callable[[CollectionItem], Any]] = {
    "row": lambda item: item.row,
    "name": lambda item: item.name,
    "path": lambda item: item.path,
    "kind": lambda item: None if item.kind is None else item.kind.value,
    "text": lambda item: item.text,
    "content_hash": lambda item: item.content_hash,
    "status": lambda item: item.status.name.lower(),
    "reason": lambda item: item.reason,
    "size_bytes": lambda item: item.size_bytes,
    "modified": lambda item: item.modified,
}
"""What every item has, by the names of the columns in which it is written."""

_NUMBERS = ("row", "size_bytes")


def export_csv(
    catalogue: Catalogue, rows: Rows, columns: Sequence[str], path: Path, progress: Progress
) -> None:
    """Write a UTF-8 table with a header line."""
    _check_columns(catalogue, columns)
    with replacing(path) as temporary, temporary.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(columns)
        for items in _pieces(catalogue, rows, progress):
            writer.writerows([printable(_fact(item, each)) for each in columns] for item in items)


def export_parquet(
    catalogue: Catalogue,
    rows: Rows,
    columns: Sequence[str],
    path: Path,
    space_id: str | None,
    progress: Progress,
) -> None:
    """Write a Parquet table; with `space_id`, a column ``vector`` of float16 lists beside."""
    import pyarrow
    from pyarrow import parquet

    numbers = _check_columns(catalogue, columns)
    vectors = None if space_id is None else catalogue.vectors(space_id)
    fields = [
        pyarrow.field(
            name,
            pyarrow.int64()
            if name in _NUMBERS
            else pyarrow.float64()
            if name in numbers
            else pyarrow.string(),
        )
        for name in columns
    ]
    if vectors is not None:
        if "vector" in columns:
            raise InputError("A column is called “vector” already; leave it out.")
        fields.append(pyarrow.field("vector", pyarrow.list_(pyarrow.float16())))
    schema = pyarrow.schema(fields)
    with replacing(path) as temporary, parquet.ParquetWriter(temporary, schema) as writer:
        for items in _pieces(catalogue, rows, progress):
            arrays = [
                pyarrow.array([_fact(item, field.name) for item in items], field.type)
                for field in fields[: len(columns)]
            ]
            if vectors is not None:
                arrays.append(_vector_array(vectors, items))
            writer.write_table(pyarrow.Table.from_arrays(arrays, schema=schema))


def _vector_array(vectors: SpaceVectors, items: Sequence[CollectionItem]) -> Any:
    """Vectors of some items as an Arrow list array, null for those without."""
    import pyarrow

    places = vectors.index[[item.row for item in items]]
    there = places >= 0
    values = np.asarray(vectors.matrix[places[there]], np.float16).reshape(-1)
    ends = np.cumsum(there * vectors.info.width)
    offsets = np.concatenate([[0], ends]).astype(np.int32)
    return pyarrow.ListArray.from_arrays(offsets, pyarrow.array(values), mask=pyarrow.array(~there))


def _check_columns(catalogue: Catalogue, columns: Sequence[str]) -> set[str]:
    """Names of those that hold numbers."""
    known = {each.name: each.kind for each in catalogue.columns()}
    for name in columns:
        if name not in known and name not in FACTS:
            raise InputError(
                f"{display_name(catalogue.folder)} has no column “{name[:80]}”; choose one it has."
            )
    if not columns:
        raise InputError("No column was chosen to write; choose one.")
    return {name for name in columns if known.get(name) == "number"} | {"modified"}


def _pieces(catalogue: Catalogue, rows: Rows, progress: Progress) -> Iterator[list[CollectionItem]]:
    for start in range(0, len(rows), _PIECE):
        progress.report(start, len(rows), f"Writing {len(rows):,} items")
        yield catalogue.items(rows[start : start + _PIECE])


def _fact(item: CollectionItem, name: str) -> Any:
    fact = FACTS[name](item) if name in FACTS else item.extra.get(name)
    return fact.encode("utf-8", "replace").decode() if isinstance(fact, str) else fact


def printable(value: Any) -> Any:
    """Numbers as they were; a text that a spreadsheet would run as a formula is marked as text."""
    if isinstance(value, str) and value[:1] in ("=", "+", "-", "@", "\t", "\r"):
        return f"'{value}"
    return f"{value:.15g}" if isinstance(value, float) else value


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """A temporary file beside `path` that takes its place when all went well."""
    name = display_name(path)
    try:
        handle, temporary = tempfile.mkstemp(prefix=".mmviewer-", dir=path.parent)
        os.close(handle)
    except OSError as error:
        raise ExportError(unwritable(name, error)) from error
    try:
        yield Path(temporary)
        Path(temporary).chmod(0o644)
        Path(temporary).replace(path)
    except OSError as error:
        raise ExportError(unwritable(name, error)) from error
    finally:
        Path(temporary).unlink(missing_ok=True)
