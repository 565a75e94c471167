"""Vectors on the disk: one file of float16 rows for each space, and a checksum for every row beside it.

The files may be longer than what the catalogue has committed, never shorter: a batch is written and synced
here first, then committed there. What is beyond is the rest of a batch that was interrupted, and is cut off.
"""

from __future__ import annotations

import os
import zlib
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from mmviewer.core.errors import CollectionError, InputError
from mmviewer.core.media.files import display_name
from mmviewer.core.space.collection.database import unwritable
from mmviewer.core.space.collection.types import Rows, SpaceInfo
from mmviewer.core.types import FloatArray

FOLDER = "vectors"
WIDEST = 65_536
"""Most numbers of one vector."""

HalfArray = NDArray[np.float16]

_CRC = 4  # bytes


@dataclass(frozen=True, slots=True, eq=False)
class SpaceVectors:
    """The vectors of one space, read from the disk as they are needed.

    Parameters
    ----------
    info : SpaceInfo
    matrix : float16 array [V, D], memory-mapped and read-only
        In the order in which they were embedded; some may belong to no item any more.
    index : int64 array [N]
        Row of `matrix` for each item, -1 where it has no vector.
    """

    info: SpaceInfo
    matrix: HalfArray
    index: Rows

    def rows(self) -> Rows:
        """Items that have a vector, in order."""
        return np.flatnonzero(self.index >= 0)

    def take(self, rows: Rows) -> FloatArray:
        """Vectors of some items as float32 [n, D].

        Raises
        ------
        InputError
            One of them has none.
        """
        places = self.index[rows]
        if (places < 0).any():
            raise InputError(
                f"{int((places < 0).sum()):,} of these items have no vector in {self.info.label}; "
                "index the collection first."
            )
        # in the order of the file, which a disk reads best
        order = np.argsort(places, kind="stable")
        taken = np.empty((len(places), self.info.width), np.float32)
        taken[order] = self.matrix[places[order]]
        return taken


class VectorFile:
    """The two files of a space.

    Parameters
    ----------
    folder : Path
        Of the collection.
    info : SpaceInfo
    """

    def __init__(self, folder: Path, info: SpaceInfo) -> None:
        self._name = display_name(folder)
        self.path = folder / FOLDER / f"{info.id}.f16"
        self.checksums = self.path.with_suffix(".crc")
        self._width = info.width

    @property
    def length(self) -> int:
        """Whole vectors, with their checksums, that lie on the disk, committed or not."""
        row = 2 * self._width
        return min(_size(self.path) // row, _size(self.checksums) // _CRC)

    def append(self, count: int, vectors: HalfArray) -> None:
        """Write `vectors` [n, D] behind the first `count`, and wait until the disk has them.

        Raises
        ------
        CollectionError
            The disk is full or refuses; the files are as long as before.
        """
        row = 2 * self._width
        content = np.ascontiguousarray(vectors, dtype="<f2")
        try:
            new = not self.path.exists()
            self.path.parent.mkdir(exist_ok=True)
            _write_behind(self.path, count * row, content.tobytes())
            _write_behind(self.checksums, count * _CRC, checksums(content).tobytes())
            if new:
                _sync_folder(self.path.parent)
        except OSError as error:
            self.cut(count)
            raise CollectionError(unwritable(self._name, error)) from error

    def cut(self, count: int) -> None:
        """Cut off what is behind the first `count` vectors, if the disk allows."""
        for path, row in ((self.path, 2 * self._width), (self.checksums, _CRC)):
            if _size(path) > count * row:
                try:
                    os.truncate(path, count * row)
                except OSError as error:
                    raise CollectionError(unwritable(self._name, error)) from error

    def map(self, count: int) -> HalfArray:
        """The first `count` vectors, or as many as there are, memory-mapped and read-only."""
        count = min(count, _size(self.path) // (2 * self._width))
        if not count:
            return np.empty((0, self._width), np.float16)
        try:
            return np.memmap(self.path, dtype="<f2", mode="r", shape=(count, self._width))
        except OSError as error:
            raise CollectionError(
                f"The vectors of {self._name} cannot be read ({error.strerror or error}); check the disk."
            ) from error

    def broken(self, start: int, stop: int) -> Rows:
        """Which of the vectors `start` to `stop` differ from their checksums."""
        if stop <= start:
            return np.zeros(0, np.int64)
        there = min(stop, self.length)
        matrix = self.map(there)[start:there]
        told = np.fromfile(self.checksums, "<u4", count=max(there - start, 0), offset=start * _CRC)
        wrong = np.flatnonzero(checksums(np.asarray(matrix)) != told) + start
        return np.concatenate([wrong, np.arange(max(there, start), stop)]).astype(np.int64)


def checksums(vectors: HalfArray) -> NDArray[np.uint32]:
    """CRC-32 of each row of a contiguous float16 array [n, D]."""
    return np.fromiter(map(zlib.crc32, vectors), "<u4", count=len(vectors))


def sound(vectors: FloatArray | HalfArray) -> NDArray[np.bool_]:
    """Which rows of [n, D] are finite in float16 and not zero, so that they have a direction."""
    with np.errstate(over="ignore"):
        halves = np.asarray(vectors, np.float16)
    return np.asarray(np.isfinite(halves).all(axis=1) & halves.any(axis=1), np.bool_)


def checked(vectors: NDArray[np.floating], count: int, info: SpaceInfo) -> HalfArray:
    """Return `vectors` as float16 [count, D].

    Raises
    ------
    InputError
        They have another shape, hold NaN or infinity, or one is zero.
    """
    if vectors.ndim != 2 or vectors.shape != (count, info.width):
        raise InputError(
            f"Vectors of {info.label} have {info.width} numbers, these come as {vectors.shape} "
            f"for {count} items; index with the model that made the others."
        )
    good = sound(vectors)
    if not good.all():
        raise InputError(
            f"{int((~good).sum()):,} of {count:,} vectors hold NaN, infinity or only zeros; leave them out."
        )
    return np.asarray(vectors, np.float16)


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except FileNotFoundError:
        return 0


def _write_behind(path: Path, start: int, content: bytes) -> None:
    with path.open("r+b" if path.exists() else "w+b", buffering=0) as file:
        file.seek(start)
        view = memoryview(content)
        while view:
            view = view[file.write(view) :]
        os.fsync(file.fileno())


def _sync_folder(folder: Path) -> None:
    """Make the names of new files outlive a power cut; Windows does it by itself."""
    if os.name == "nt":
        return
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
