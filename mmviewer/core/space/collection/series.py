"""One number for every item, kept in the catalogue in blocks of equal length.

A million items are read as a thousand blobs in milliseconds; a commit rewrites only the blocks it touches.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from mmviewer.core.errors import CollectionError
from mmviewer.core.space.collection.database import Database
from mmviewer.core.space.collection.types import Rows

BLOCK = 1024
"""Items of a block."""


class Series:
    """A growing array over all items that is refreshed from, and flushed to, the catalogue.

    Parameters
    ----------
    name : str
        Its name in the catalogue.
    dtype : numpy dtype
    fill : number
        Value of items for which none was set.
    """

    def __init__(self, name: str, dtype: Any, fill: float) -> None:
        self.name = name
        self._dtype = np.dtype(dtype).newbyteorder("<")
        self._fill = fill
        self._values: NDArray[Any] = np.full(BLOCK, fill, self._dtype)
        self._seen = 0
        self._dirty: set[int] = set()

    def refresh(self, database: Database, change: int, count: int) -> None:
        """Read the blocks that were committed since the last time; call inside `Database.reading`."""
        self._reserve(count)
        if self._seen == change:
            return
        found = database.execute(
            "SELECT block, data FROM blocks WHERE series = ? AND change > ?", (self.name, self._seen)
        )
        for block, data in found:
            self._take(database.name, block, data)
        self._seen = change

    def array(self, count: int) -> NDArray[Any]:
        """A copy of the first `count` values, in the machine's byte order."""
        return self._values[:count].astype(self._dtype.newbyteorder("="), copy=True)

    def at(self, rows: Rows) -> NDArray[Any]:
        """Values of some items."""
        return self._values[rows]

    def set(self, rows: Rows, values: Any) -> None:
        """Set values; they are kept by `flush`."""
        if not len(rows):
            return
        self._reserve(int(rows.max()) + 1)
        self._values[rows] = values
        self._dirty.update(np.unique(rows // BLOCK).tolist())

    def flush(self, database: Database, change: int) -> None:
        """Write what was set; call inside `Database.writing`."""
        blocks = (
            (self.name, block, change, self._values[block * BLOCK : (block + 1) * BLOCK].tobytes())
            for block in sorted(self._dirty)
        )
        database.many(
            "INSERT OR REPLACE INTO blocks (series, block, change, data) VALUES (?, ?, ?, ?)", blocks
        )
        self._dirty.clear()
        self._seen = change

    def _take(self, collection: str, block: object, data: object) -> None:
        fits = isinstance(data, bytes) and len(data) == BLOCK * self._dtype.itemsize
        if not fits or not isinstance(block, int) or not 0 <= block < len(self._values) // BLOCK:
            raise CollectionError(
                f"The catalogue of {collection} is damaged (a block of {self.name} does not fit); "
                "restore it from a copy or index again."
            )
        assert isinstance(data, bytes)
        self._values[block * BLOCK : (block + 1) * BLOCK] = np.frombuffer(data, self._dtype)

    def _reserve(self, count: int) -> None:
        """Make room for `count` items, in whole blocks, growing by half so that it is seldom done."""
        if count <= len(self._values):
            return
        blocks = -(-max(count, len(self._values) * 3 // 2) // BLOCK)
        grown = np.full(blocks * BLOCK, self._fill, self._dtype)
        grown[: len(self._values)] = self._values
        self._values = grown
