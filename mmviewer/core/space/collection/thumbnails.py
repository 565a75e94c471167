"""Small pictures of items in a file of their own, readable by the window while the engine adds to it."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable
from io import BytesIO
from pathlib import Path
from threading import RLock
from types import TracebackType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mmviewer.core.errors import CollectionError, InputError
from mmviewer.core.media.files import display_name
from mmviewer.core.space.collection.database import connect, sentence
from mmviewer.core.types import FloatArray, Media, Modality

NAME = "thumbnails.sqlite"
LARGEST = 64
"""Pixels of the longer side."""

Pixels = NDArray[np.uint8]

_MOST_BYTES = 32_768  # of one picture; a JPEG of this size takes about 2,000
_QUALITY = 80
_GROUND = (38, 41, 48)
_BAR = (120, 170, 230)
_WAVE_HEIGHT = 40


class Thumbnails:
    """Small pictures by row.

    Parameters
    ----------
    folder : path
        Of the collection.
    readonly : bool
        A reader of a collection that has none sees none.

    Raises
    ------
    CollectionError
        The file cannot be opened or written.
    """

    def __init__(self, folder: str | Path, *, readonly: bool = False) -> None:
        path = Path(folder) / NAME
        self._name = display_name(folder)
        self._readonly = readonly
        self._lock = RLock()
        self._waiting: dict[int, bytes] = {}
        self._connection: sqlite3.Connection | None = None
        self._path = path
        if not readonly or path.exists():
            self._connection = self._connect()

    def put(self, row: int, rgb: Pixels) -> None:
        """Keep a picture [h, w, 3]; larger ones are made smaller. Others see it after `commit`."""
        if self._readonly:
            raise CollectionError(
                f"{self._name} was opened for reading only; open it for writing to change it."
            )
        self._waiting[row] = _encode(shrink(rgb))

    def commit(self) -> None:
        """Write what was put."""
        if self._connection is None or not self._waiting:
            return
        with self._lock:
            try:
                self._connection.execute("BEGIN IMMEDIATE")
                self._connection.executemany(
                    "INSERT OR REPLACE INTO thumbnails (row, jpeg) VALUES (?, ?)", self._waiting.items()
                )
                self._connection.execute("COMMIT")
            except sqlite3.Error as error:
                if self._connection.in_transaction:
                    self._connection.execute("ROLLBACK")
                raise CollectionError(sentence(self._name, error)) from error
            self._waiting.clear()

    def get(self, rows: Iterable[int]) -> list[Pixels | None]:
        """Pictures of some items as uint8 [h, w, 3]; None where there is none or it is broken."""
        wanted = [int(row) for row in rows]
        kept = dict(self._read(wanted))
        return [_decode(kept[row]) if row in kept else None for row in wanted]

    def missing(self, rows: NDArray[np.int64]) -> NDArray[np.int64]:
        """Those of `rows` that have no picture."""
        kept = {row for row, _ in self._read([int(row) for row in rows], "NULL")}
        return np.array([row for row in rows.tolist() if row not in kept], np.int64)

    def close(self) -> None:
        """Write what waits and let go of the file; again is fine."""
        try:
            self.commit()
        finally:
            if self._connection is not None:
                self._connection.close()
                self._connection = None

    def __enter__(self) -> Thumbnails:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _connect(self) -> sqlite3.Connection:
        try:
            connection = connect(self._path, "ro" if self._readonly else "rwc")
            if not self._readonly:
                connection.execute("PRAGMA journal_mode = WAL")
                connection.execute("PRAGMA synchronous = NORMAL")
                connection.execute(
                    "CREATE TABLE IF NOT EXISTS thumbnails (row INTEGER PRIMARY KEY, jpeg BLOB)"
                )
        except sqlite3.Error as error:
            raise CollectionError(sentence(self._name, error)) from error
        return connection

    def _read(self, rows: list[int], what: str = "jpeg") -> list[tuple[int, Any]]:
        if self._connection is None and self._readonly and self._path.exists():
            self._connection = self._connect()  # it was made meanwhile
        if self._connection is None:
            return []
        found: list[tuple[int, Any]] = []
        with self._lock:
            for start in range(0, len(rows), 500):
                some = rows[start : start + 500]
                marks = ",".join("?" * len(some))
                sql = f"SELECT row, {what} FROM thumbnails WHERE row IN ({marks})"  # noqa: S608 - marks only
                try:
                    found += self._connection.execute(sql, some).fetchall()
                except sqlite3.Error as error:
                    raise CollectionError(sentence(self._name, error)) from error
        return found


def picture_of(media: Media) -> Pixels | None:
    """The small picture of an item: of a sound its waveform; None for a text."""
    if media.modality is Modality.IMAGE and media.pixels is not None:
        return shrink(media.pixels)
    if media.modality is Modality.AUDIO and media.samples is not None:
        return waveform(media.samples)
    return None


def shrink(rgb: Pixels) -> Pixels:
    """A picture [h, w, 3] that fits in `LARGEST` pixels, its shape kept; smaller ones stay as they are."""
    from PIL import Image

    if rgb.dtype != np.uint8 or rgb.ndim != 3 or rgb.shape[2] != 3 or not rgb.size:
        raise InputError(f"A small picture is uint8 [h, w, 3], this is {rgb.dtype} {rgb.shape}; convert it.")
    if max(rgb.shape[:2]) <= LARGEST:
        return rgb
    picture = Image.fromarray(rgb)
    picture.thumbnail((LARGEST, LARGEST), Image.Resampling.BILINEAR, reducing_gap=2.0)
    return np.asarray(picture)


def waveform(samples: FloatArray) -> Pixels:
    """Loudness of a sound over its time as bars, uint8 [40, 64, 3]; each bar is the peak of its 64th."""
    picture = np.empty((_WAVE_HEIGHT, LARGEST, 3), np.uint8)
    picture[:] = _GROUND
    if not len(samples):
        return picture
    edges = np.linspace(0, len(samples), LARGEST, endpoint=False).astype(np.int64)
    peaks = np.maximum.reduceat(np.abs(np.nan_to_num(samples)), edges)  # [64]
    heights = np.maximum(peaks / max(float(peaks.max()), 1e-4), 1 / _WAVE_HEIGHT)  # silence is a line
    distance = np.abs(np.arange(_WAVE_HEIGHT) - (_WAVE_HEIGHT - 1) / 2) / (_WAVE_HEIGHT / 2)  # [40]
    picture[distance[:, None] < heights[None, :]] = _BAR
    return picture


def _encode(rgb: Pixels) -> bytes:
    from PIL import Image

    buffer = BytesIO()
    Image.fromarray(np.ascontiguousarray(rgb)).save(buffer, "JPEG", quality=_QUALITY)
    return buffer.getvalue()


def _decode(jpeg: object) -> Pixels | None:
    """The picture; None if a stranger's or broken file holds something else."""
    from PIL import Image

    if not isinstance(jpeg, bytes) or len(jpeg) > _MOST_BYTES:
        return None
    try:
        with Image.open(BytesIO(jpeg), formats=("JPEG",)) as picture:
            if max(picture.size) > LARGEST:
                return None
            return np.asarray(picture.convert("RGB"))
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError):
        return None
