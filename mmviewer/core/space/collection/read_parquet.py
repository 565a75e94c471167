"""Tables and embeddings as Parquet: one file, or a folder of shards."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from mmviewer.core.errors import InputError
from mmviewer.core.media.files import check_file, display_name, unreadable
from mmviewer.core.space.collection.reading import (
    LONGEST,
    MOST_COLUMNS,
    MOST_ENTRIES,
    PIECE,
    FloatingArray,
    Piece,
    Value,
    too_many_columns,
)
from mmviewer.core.space.collection.vectors import WIDEST

_MOST_SHARDS = 100_000
_LARGEST_GROUP = 16 << 30  # bytes that one row group may claim to expand to
_VECTORS = ("vector", "vectors", "embedding", "embeddings", "features", "emb")


class ParquetReader:
    """A Parquet file, or the Parquet files of a folder in the order of their names.

    Parameters
    ----------
    path : Path
    vectors : str, optional
        Column of the vectors, a list of numbers each.
    with_vectors : bool
        Whether it must hold vectors.
    """

    def __init__(self, path: Path, vectors: str | None = None, *, with_vectors: bool = False) -> None:
        self.name = display_name(path)
        self.notes: list[str] = []
        self._shards = _shards(path, self.name)
        with _told(self.name), _file(self._shards[0]) as file:
            schema = file.schema_arrow
            self.columns = tuple(field.name for field in schema if _is_scalar(field.type))
            self._vectors = _vector_column(schema, vectors, self.name) if with_vectors else None
            self.width = 0 if self._vectors is None else self._first_width(file)
        if len(self.columns) > MOST_COLUMNS:
            raise too_many_columns(self.name, len(self.columns))

    def pieces(self) -> Iterator[Piece]:
        """All rows, shard by shard."""
        self.notes.clear()
        start = 0
        for shard in self._shards:
            name = display_name(shard)
            with _told(name), _file(shard) as file:
                wanted = [*self.columns, *([] if self._vectors is None else [self._vectors])]
                lacking = set(wanted) - set(file.schema_arrow.names)
                if lacking:
                    raise InputError(f"{name} lacks the column “{min(lacking)}” that the other shards have.")
                for batch in file.iter_batches(batch_size=PIECE, columns=wanted):
                    yield self._piece(start, batch)
                    start += batch.num_rows
                    if start >= MOST_ENTRIES:
                        self.notes.append(
                            f"{self.name} has more than {MOST_ENTRIES:,} rows; the others were left out."
                        )
                        return

    def _piece(self, start: int, batch: Any) -> Piece:
        values = {name: [_value(each) for each in batch.column(name).to_pylist()] for name in self.columns}
        if self._vectors is None:
            return Piece(start, batch.num_rows, values)
        vectors, bad = _matrix(batch.column(self._vectors), self.width)
        return Piece(start, batch.num_rows, values, vectors, bad)

    def _first_width(self, file: Any) -> int:
        """Numbers of the first vector that is one."""
        for batch in file.iter_batches(batch_size=PIECE, columns=[self._vectors]):
            lengths = [len(each) for each in batch.column(0) if each.is_valid and len(each)]
            if lengths:
                if lengths[0] > WIDEST:
                    raise InputError(
                        f"Vectors of {self.name} have {lengths[0]:,} numbers; at most {WIDEST:,} are read."
                    )
                return int(lengths[0])
        raise InputError(f"{self.name} holds no vector; check how it was made.")


def _shards(path: Path, name: str) -> list[Path]:
    if not path.is_dir():
        check_file(path, name)
        return [path]
    try:
        found = sorted(
            each for each in path.iterdir() if each.suffix == ".parquet" and each.name[0] not in "._"
        )
    except OSError as error:
        raise unreadable(name, error) from error
    if not found:
        raise InputError(f"{name} holds no Parquet file; choose the folder of the shards.")
    if len(found) > _MOST_SHARDS:
        raise InputError(f"{name} holds more than {_MOST_SHARDS:,} shards; merge them first.")
    return found


@contextmanager
def _file(path: Path) -> Iterator[Any]:
    """A Parquet file whose row groups do not claim to be enormous."""
    from pyarrow import parquet

    with parquet.ParquetFile(path, memory_map=True) as file:
        told = file.metadata
        largest = max(
            (told.row_group(each).total_byte_size for each in range(told.num_row_groups)), default=0
        )
        if not 0 <= largest <= _LARGEST_GROUP:
            raise InputError(
                f"{display_name(path)} says that a part of it expands to {largest >> 30:,} GB; write it in "
                "smaller row groups."
            )
        yield file


@contextmanager
def _told(name: str) -> Iterator[None]:
    """Turn what Arrow says into a sentence."""
    from pyarrow import ArrowException

    try:
        yield
    except (ArrowException, ValueError, MemoryError, OverflowError) as error:
        raise InputError(
            f"{name} is damaged or no Parquet file ({_first_line(error)}); write it again."
        ) from error
    except OSError as error:
        if error.errno is not None:
            raise unreadable(name, error) from error
        raise InputError(
            f"{name} is damaged or no Parquet file ({_first_line(error)}); write it again."
        ) from error


def _first_line(error: BaseException) -> str:
    return str(error).split("\n", 1)[0][:200] or type(error).__name__


def _is_scalar(kind: Any) -> bool:
    from pyarrow import types

    checks: tuple[Callable[[Any], bool], ...] = (
        types.is_integer,
        types.is_floating,
        types.is_boolean,
        types.is_string,
        types.is_large_string,
    )
    if types.is_dictionary(kind):
        return _is_scalar(kind.value_type)
    return any(check(kind) for check in checks)


def _is_vector(kind: Any) -> bool:
    from pyarrow import types

    listed = types.is_list(kind) or types.is_large_list(kind) or types.is_fixed_size_list(kind)
    return bool(listed) and (types.is_floating(kind.value_type) or types.is_integer(kind.value_type))


def _vector_column(schema: Any, wanted: str | None, name: str) -> str:
    found = [field.name for field in schema if _is_vector(field.type)]
    if wanted is not None:
        if wanted not in found:
            raise InputError(f"{name} has no column of vectors “{wanted[:80]}”; it has {_listed(found)}.")
        return wanted
    usual = [each for each in found if each.lower() in _VECTORS]
    if len(found) == 1 or usual:
        return str((usual or found)[0])
    raise InputError(f"Say which column of {name} holds the vectors; it has {_listed(found)}.")


def _listed(names: list[str]) -> str:
    return ", ".join(names[:10]) if names else "none"


def _value(value: Any) -> Value:
    """A single value; whole numbers stay whole, for they may be ids."""
    if value is None or isinstance(value, str):
        return None if value is None else value[:LONGEST]
    return str(value).lower() if isinstance(value, bool) else value


def _matrix(column: Any, width: int) -> tuple[FloatingArray, dict[int, str]]:
    """Vectors [n, width] of a column of lists; zeros, and a reason, where one has another length."""
    lengths = np.fromiter((len(each) if each.is_valid else 0 for each in column), np.int64, len(column))
    fits = lengths == width
    vectors = np.zeros((len(column), width), np.float32)
    flat = column.filter(_mask(fits)).flatten().to_numpy(zero_copy_only=False)
    vectors[fits] = flat.astype(np.float32).reshape(-1, width)
    bad = {
        place: "it has no vector"
        if not lengths[place]
        else f"its vector has {lengths[place]:,} numbers, not {width:,}"
        for place in np.flatnonzero(~fits).tolist()
    }
    return vectors, bad


def _mask(fits: Any) -> Any:
    import pyarrow

    return pyarrow.array(fits)
