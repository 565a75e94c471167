"""Files of the user that hold many entries, read in pieces: what every kind of them gives."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol, TextIO

import numpy as np
from numpy.typing import NDArray

from mmviewer.core.errors import InputError
from mmviewer.core.media.files import check_file, display_name

PIECE = 4096
"""Entries of a piece."""
MOST_ENTRIES = 20_000_000
MOST_COLUMNS = 250
LONGEST = 100_000
"""Letters of one value; longer ones are not read."""

_LONGEST_LINE = 4_000_000

Value = str | float | None
FloatingArray = NDArray[np.floating]


@dataclass(frozen=True, slots=True, eq=False)
class Piece:
    """Consecutive entries of a file.

    Parameters
    ----------
    start : int
        Number of the first entry, from 0.
    values : mapping of str to sequence of str, float or None
        By column, each as long as the piece.
    vectors : float array [n, D] or None
        Not looked at yet: NaN and zero may be among them.
    bad : mapping of int to str
        Reasons why entries, by their place in the piece, have no vector.
    """

    start: int
    count: int
    values: Mapping[str, Sequence[Value]]
    vectors: FloatingArray | None = None
    bad: Mapping[int, str] = field(default_factory=dict)


class Reader(Protocol):
    """A file of entries."""

    @property
    def name(self) -> str:
        """To call it by."""
        ...

    @property
    def columns(self) -> tuple[str, ...]:
        """Columns of single values."""
        ...

    @property
    def width(self) -> int:
        """Numbers of each vector; 0 where it holds none."""
        ...

    @property
    def notes(self) -> list[str]:
        """Sentences that grow while it is read."""
        ...

    def pieces(self) -> Iterator[Piece]:
        """All entries from the beginning; may be asked for again."""
        ...


def open_table(path: Path) -> Reader:
    """Open a CSV, TSV or Parquet file.

    Raises
    ------
    MediaError
        It cannot be read.
    InputError
        It is something else, or damaged; says what to do.
    """
    ending = path.suffix.lower()
    if ending == ".parquet":
        from mmviewer.core.space.collection.read_parquet import ParquetReader

        return ParquetReader(path)
    check_file(path, display_name(path))
    if ending not in (".csv", ".tsv", ".tab", ".txt"):
        raise InputError(f"{display_name(path)} is no table; give a CSV, TSV or Parquet file.")
    from mmviewer.core.space.collection.read_csv import CsvReader

    return CsvReader(path)


def open_embeddings(path: Path, vectors: str | None = None, ids: Path | None = None) -> Reader:
    """Open own embeddings: NPY, NPZ, safetensors, a Parquet file or a folder of Parquet shards.

    Parameters
    ----------
    path : Path
    vectors : str, optional
        Name of the array, tensor or column; found by itself where there is one only.
    ids : Path, optional
        A file with an id in each line, or an NPY of ids; for formats that have none.

    Raises
    ------
    MediaError, InputError
        As `open_table`.
    """
    if path.is_dir() or path.suffix.lower() == ".parquet":
        from mmviewer.core.space.collection.read_parquet import ParquetReader

        return ParquetReader(path, vectors, with_vectors=True)
    check_file(path, display_name(path))
    from mmviewer.core.space.collection import read_arrays

    readers = {".npy": read_arrays.npy, ".npz": read_arrays.npz, ".safetensors": read_arrays.safetensors}
    reader = readers.get(path.suffix.lower())
    if reader is None:
        raise InputError(f"{display_name(path)} holds no embeddings; give NPY, NPZ, safetensors or Parquet.")
    return reader(path, vectors, ids)


def bounded_lines(file: TextIO, name: str) -> Iterator[str]:
    """Lines of at most `_LONGEST_LINE` letters, so that a file without line ends is not read as one."""
    while line := file.readline(_LONGEST_LINE):
        if len(line) == _LONGEST_LINE and not line.endswith(("\n", "\r")):
            raise InputError(
                f"{name} has a line of more than {_LONGEST_LINE:,} letters; give one entry a line."
            )
        yield line.replace("\0", "\ufffd")


def unique_names(names: Sequence[str]) -> tuple[str, ...]:
    """Names of columns as they are told apart: empty ones numbered, repeated ones counted."""
    told: dict[str, None] = {}
    for place, name in enumerate(names, start=1):
        base = " ".join(name.split())[:80] or f"column {place}"
        shown, count = base, 1
        while shown in told:
            count += 1
            shown = f"{base} ({count})"
        told[shown] = None
    return tuple(told)


def too_many_columns(name: str, count: int) -> InputError:
    """The error for a table that is too wide."""
    return InputError(f"{name} has {count:,} columns; at most {MOST_COLUMNS} are read, leave some out.")
