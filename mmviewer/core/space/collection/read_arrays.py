"""Embeddings as arrays: NPY, NPZ and safetensors. Nothing is unpickled, and nothing expands beyond bounds."""

from __future__ import annotations

import zipfile
import zlib
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from tokenize import TokenError
from typing import IO, Any

import numpy as np
from numpy.typing import NDArray

from mmviewer.core.errors import InputError
from mmviewer.core.hub.heads import PREFIX, read_head
from mmviewer.core.media.files import check_file, display_name, unreadable
from mmviewer.core.space.collection.reading import (
    LONGEST,
    MOST_COLUMNS,
    MOST_ENTRIES,
    PIECE,
    FloatingArray,
    Piece,
    Value,
)
from mmviewer.core.space.collection.vectors import WIDEST

_LARGEST_COLUMN = 1 << 30  # bytes of ids or another column, which are held in memory
_WORST_RATIO = 200  # to which vectors may expand; real ones hardly shrink at all
_TENSORS = {"F16": "<f2", "F32": "<f4", "F64": "<f8", "BF16": "<u2"}
_USUAL = ("vectors", "vector", "embeddings", "embedding", "features", "arr_0")

Rows = Callable[[], Iterator[FloatingArray]]
"""Gives the vectors in pieces of `PIECE`, from the beginning."""
Shape = tuple[tuple[int, ...], np.dtype[Any]]


class ArrayReader:
    """Vectors and columns beside them.

    Parameters
    ----------
    name : str
    shape : (int, int)
    rows : callable
    columns : mapping of str to list
    """

    def __init__(
        self, name: str, shape: tuple[int, int], rows: Rows, columns: Mapping[str, list[Value]]
    ) -> None:
        self.name = name
        self.notes: list[str] = []
        self.width = shape[1]
        self.columns = tuple(columns)
        self._rows = rows
        self._values = columns

    def pieces(self) -> Iterator[Piece]:
        """All vectors."""
        start = 0
        for vectors in self._rows():
            values = {name: each[start : start + len(vectors)] for name, each in self._values.items()}
            yield Piece(start, len(vectors), values, vectors)
            start += len(vectors)


def npy(path: Path, vectors: str | None, ids: Path | None) -> ArrayReader:
    """Vectors [N, D] as NPY; they are mapped, not loaded."""
    name = display_name(path)
    with _told(name):
        matrix = np.load(path, mmap_mode="r", allow_pickle=False)
        shape = _checked(matrix.shape, matrix.dtype, name)
    return ArrayReader(name, shape, lambda: _slices(matrix), _ids(ids, shape[0], name))


def npz(path: Path, vectors: str | None, ids: Path | None) -> ArrayReader:
    """Vectors [N, D] in an NPZ, with ids and columns of as many entries beside them."""
    name = display_name(path)
    with _told(name), zipfile.ZipFile(path) as archive:
        shapes = {
            member.filename.removesuffix(".npy"): _member_shape(archive, member, name)
            for member in archive.infolist()
            if member.filename.endswith(".npy")
        }
        chosen = _choose({each: shape for each, (shape, _) in shapes.items()}, vectors, name)
        shape = _checked(*shapes[chosen], name)
        columns = {
            each: _member_column(archive, each, told, name)
            for each, told in shapes.items()
            if told[0] == (shape[0],) and told[1].kind in "USifub"
        }
    if len(columns) > MOST_COLUMNS:
        raise InputError(
            f"{name} has {len(columns):,} columns; at most {MOST_COLUMNS} are read, leave some out."
        )
    return ArrayReader(
        name, shape, lambda: _member_rows(path, chosen, shape, name), columns | _ids(ids, shape[0], name)
    )


def safetensors(path: Path, vectors: str | None, ids: Path | None) -> ArrayReader:
    """A tensor [N, D] of a safetensors file; it is mapped, not loaded."""
    name = display_name(path)
    with _told(name):
        length, told = read_head(path)
        shapes = {
            each: tuple(entry["shape"])
            for each, entry in told.items()
            if entry.get("dtype") in _TENSORS and isinstance(entry.get("shape"), list)
        }
        chosen = _choose(shapes, vectors, name)
        kind = np.dtype(_TENSORS[told[chosen]["dtype"]])
        shape = _checked(shapes[chosen], np.dtype(np.float32), name)
        begin, end = (int(each) for each in told[chosen]["data_offsets"])
        inside = 0 <= begin <= end <= path.stat().st_size - PREFIX - length
        if not inside or end - begin != shape[0] * shape[1] * kind.itemsize:
            raise ValueError("a tensor does not fit into the file")
        matrix = np.memmap(path, kind, "r", offset=PREFIX + length + begin, shape=shape)
    brain = told[chosen]["dtype"] == "BF16"
    return ArrayReader(
        name,
        shape,
        lambda: (_from_bfloat16(part) if brain else part for part in _slices(matrix)),
        _ids(ids, shape[0], name),
    )


def ids_of(path: Path) -> list[Value]:
    """Ids from a file: a line each, or a 1-D NPY of texts or whole numbers.

    Raises
    ------
    MediaError, InputError
        It cannot be read, or is too large.
    """
    name = display_name(path)
    if check_file(path, name) > _LARGEST_COLUMN:
        raise InputError(f"{name} is larger than {_LARGEST_COLUMN >> 20:,} MB; split the embeddings.")
    if path.suffix.lower() == ".npy":
        with _told(name):
            found = np.load(path, allow_pickle=False)
        if found.ndim != 1 or found.dtype.kind not in "USiu":
            raise InputError(
                f"{name} holds {found.dtype} {found.shape}, not a list of ids; give one id for each."
            )
        return _values(found)
    with _told(name):
        return [line[:LONGEST] for line in path.read_text("utf-8-sig", "replace").splitlines()]


def _ids(path: Path | None, count: int, name: str) -> dict[str, list[Value]]:
    if path is None:
        return {}
    found = ids_of(path)
    if len(found) != count:
        raise InputError(
            f"{display_name(path)} has {len(found):,} ids for {count:,} vectors of {name}; give one for each."
        )
    return {"id": found}


def _checked(shape: tuple[int, ...], kind: np.dtype[Any], name: str) -> tuple[int, int]:
    if len(shape) != 2 or kind.kind not in "fiu":
        raise InputError(
            f"{name} holds {kind} {shape}, not vectors; save them as numbers of shape (items, width)."
        )
    count, width = shape
    if not 0 < width <= WIDEST or not 0 < count <= MOST_ENTRIES:
        raise InputError(
            f"{name} holds {count:,} vectors of {width:,} numbers; "
            f"up to {MOST_ENTRIES:,} of up to {WIDEST:,} are read."
        )
    return count, width


def _choose(shapes: Mapping[str, tuple[int, ...]], wanted: str | None, name: str) -> str:
    """The array of the vectors: the one asked for, the only one with two axes, or one of the usual names."""
    found = [each for each, shape in shapes.items() if len(shape) == 2]
    listed = ", ".join(sorted(found)[:10]) or "none"
    if wanted is not None:
        if wanted not in found:
            raise InputError(f"{name} has no array of vectors “{wanted[:80]}”; it has {listed}.")
        return wanted
    usual = [each for each in _USUAL if each in found]
    if usual or len(found) == 1:
        return (usual or found)[0]
    raise InputError(f"Say which array of {name} holds the vectors; it has {listed}.")


def _slices(matrix: NDArray[Any]) -> Iterator[FloatingArray]:
    for start in range(0, len(matrix), PIECE):
        yield np.asarray(matrix[start : start + PIECE])


def _from_bfloat16(part: NDArray[Any]) -> FloatingArray:
    return (part.astype(np.uint32) << 16).view(np.float32)


def _member_shape(archive: zipfile.ZipFile, member: zipfile.ZipInfo, name: str) -> Shape:
    """Shape and type of an array by its head, which must agree with the size that the archive tells."""
    with archive.open(member) as file:
        shape, _, kind = _head(file)
        expected = file.tell() + int(np.prod(shape, dtype=object)) * kind.itemsize
    if kind.hasobject or expected != member.file_size:
        raise ValueError(f"{display_name(member.filename)} holds objects or is cut off")
    if member.file_size > _WORST_RATIO * member.compress_size + (1 << 20):
        raise InputError(
            f"{name} expands to {member.file_size // max(member.compress_size, 1):,} times its size; "
            "it is damaged or made to harm, do not use it."
        )
    return shape, kind


def _head(file: IO[bytes]) -> tuple[tuple[int, ...], bool, np.dtype[Any]]:
    version = np.lib.format.read_magic(file)
    if version == (1, 0):
        return np.lib.format.read_array_header_1_0(file)
    if version == (2, 0):
        return np.lib.format.read_array_header_2_0(file)
    raise ValueError("its version is not known")


def _member_column(archive: zipfile.ZipFile, member: str, told: Shape, name: str) -> list[Value]:
    shape, kind = told
    if shape[0] * kind.itemsize > _LARGEST_COLUMN:
        raise InputError(
            f"The column {member[:80]} of {name} takes more than {_LARGEST_COLUMN >> 20:,} MB; shorten it."
        )
    with archive.open(f"{member}.npy") as file:
        return _values(np.lib.format.read_array(file, allow_pickle=False))


def _member_rows(path: Path, member: str, shape: tuple[int, int], name: str) -> Iterator[FloatingArray]:
    """Vectors straight from the archive, a piece at a time."""
    with _told(name), zipfile.ZipFile(path) as archive, archive.open(f"{member}.npy") as file:
        _, fortran, kind = _head(file)
        if fortran and min(shape) > 1:
            if shape[0] * shape[1] * kind.itemsize > _LARGEST_COLUMN:
                raise InputError(f"{name} holds its vectors column by column; save them in C order.")
            whole = np.frombuffer(file.read(), kind).reshape(shape[::-1]).T
            yield from _slices(whole)
            return
        for start in range(0, shape[0], PIECE):
            count = min(PIECE, shape[0] - start)
            content = file.read(count * shape[1] * kind.itemsize)
            yield np.frombuffer(content, kind).reshape(count, shape[1])


def _values(column: NDArray[Any]) -> list[Value]:
    if column.dtype.kind == "S":
        return [each.decode("utf-8", "replace")[:LONGEST] for each in column.tolist()]
    if column.dtype.kind == "b":
        return [str(each).lower() for each in column.tolist()]
    if column.dtype.kind == "U":
        return [each.encode("utf-8", "replace").decode()[:LONGEST] for each in column.tolist()]
    return list(column.tolist())


@contextmanager
def _told(name: str) -> Iterator[None]:
    """Turn what a broken file causes into a sentence."""
    try:
        yield
    except OSError as error:
        raise unreadable(name, error) from error
    except (
        ValueError,
        KeyError,
        TypeError,
        AttributeError,
        EOFError,
        SyntaxError,
        OverflowError,
        MemoryError,
        RecursionError,
        NotImplementedError,
        RuntimeError,
        TokenError,
        zipfile.BadZipFile,
        zlib.error,
    ) as error:
        said = str(error).split("\n", 1)[0][:160] or type(error).__name__
        raise InputError(f"{name} is damaged or holds no plain numbers ({said}); save it again.") from error
