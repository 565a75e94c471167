"""Tables as text: CSV and TSV, read line by line whatever their size."""

from __future__ import annotations

import csv
from collections.abc import Iterator
from pathlib import Path
from typing import TextIO

from mmviewer.core.errors import InputError
from mmviewer.core.media.files import display_name, unreadable
from mmviewer.core.space.collection.reading import (
    LONGEST,
    MOST_COLUMNS,
    MOST_ENTRIES,
    PIECE,
    Piece,
    bounded_lines,
    too_many_columns,
    unique_names,
)
from mmviewer.core.space.collection.records import batched

_SIGNS = ",;\t|"


class CsvReader:
    """A table as text with a header line; what parts the columns is seen from that line.

    Parameters
    ----------
    path : Path
    """

    width = 0

    def __init__(self, path: Path) -> None:
        self._path = path
        self.name = display_name(path)
        self.notes: list[str] = []
        with self._open() as file:
            head = next(bounded_lines(file, self.name), "")
        self._sign = max(_SIGNS, key=head.count)
        names = next(csv.reader([head], delimiter=self._sign), [])
        if len(names) > MOST_COLUMNS:
            raise too_many_columns(self.name, len(names))
        if not any(each.strip() for each in names):
            raise InputError(f"{self.name} has no header line; write the names of its columns first.")
        self.columns = unique_names(names)

    def pieces(self) -> Iterator[Piece]:
        """All lines after the header."""
        self.notes.clear()
        with self._open() as file:
            reader = csv.reader(bounded_lines(file, self.name), delimiter=self._sign)
            try:
                next(reader, None)
                yield from self._pieces(reader)
            except csv.Error as error:
                raise InputError(
                    f"{self.name} is broken near line {reader.line_num:,} ({error}); save it again."
                ) from error

    def _pieces(self, reader: Iterator[list[str]]) -> Iterator[Piece]:
        count, ragged, start = len(self.columns), 0, 0
        for rows in batched((row for row in reader if row), PIECE):
            ragged += sum(len(row) != count for row in rows)
            columns: dict[str, list[str | None]] = {
                name: [row[place] or None if place < len(row) else None for row in rows]
                for place, name in enumerate(self.columns)
            }
            yield Piece(start, len(rows), columns)
            start += len(rows)
            if start >= MOST_ENTRIES:
                self.notes.append(
                    f"{self.name} has more than {MOST_ENTRIES:,} lines; the others were left out."
                )
                break
        if ragged:
            self.notes.append(f"{ragged:,} lines of {self.name} have more or fewer values than its header.")

    def _open(self) -> TextIO:
        try:
            return self._path.open(encoding="utf-8-sig", errors="replace", newline="")
        except OSError as error:
            raise unreadable(self.name, error) from error


csv.field_size_limit(max(csv.field_size_limit(), LONGEST))
