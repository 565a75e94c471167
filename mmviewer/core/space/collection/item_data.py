"""What is known of items beside their content: columns, labels given by hand, maps, pairs."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mmviewer.core.media.files import to_path
from mmviewer.core.space.collection.columns import Codes, Columns
from mmviewer.core.space.collection.gather import read_coordinates
from mmviewer.core.space.collection.labels import Labels
from mmviewer.core.space.collection.ledger import Ledger
from mmviewer.core.space.collection.maps import Maps
from mmviewer.core.space.collection.types import ColumnInfo, Coordinates, Rows


class ItemData:
    """The part of a `Catalogue` that is said of its items.

    Parameters
    ----------
    ledger : Ledger
    """

    def __init__(self, ledger: Ledger) -> None:
        self._ledger = ledger
        self._database = ledger.database
        self._columns = Columns(ledger)
        self._labels = Labels(ledger, self._columns)
        self._maps = Maps(ledger)

    def columns(self) -> tuple[ColumnInfo, ...]:
        """What items came with, and labels given by hand."""
        return self._columns.infos()

    def column(self, name: str) -> NDArray[np.float64] | tuple[Codes, tuple[str, ...]]:
        """Values of a column for every item.

        Returns
        -------
        float64 array [N]
            Of a column of numbers; NaN for none.
        (int32 array [N], tuple of str)
            Of others: a code for each item, -1 for none, and the words by their codes. A column of kind
            "text" may have as many words as there are items.

        Raises
        ------
        InputError
            There is no such column.
        """
        return self._columns.read(name)

    def labels(self, name: str = "label") -> tuple[Codes, tuple[str, ...]]:
        """Labels given by hand: a code [N] for every item, -1 for none, and the labels by their codes."""
        return self._labels.read(name)

    def set_labels(self, rows: Any, label: str | None, name: str = "label") -> None:
        """Give items a label of the set `name`, or take it away; one step of `undo`.

        Raises
        ------
        InputError
            A row or label that cannot be, or a name that belongs to a column.
        """
        self._labels.set(self._ledger.check_rows(rows), label, name)

    def undo(self) -> Rows:
        """Take back the last `set_labels`, also one from before a restart; gives the rows that changed."""
        return self._labels.undo()

    def redo(self) -> Rows:
        """Do again what was undone last; gives the rows that changed."""
        return self._labels.redo()

    def steps(self) -> tuple[int, int]:
        """How many steps can be undone, and redone."""
        return self._labels.steps()

    def maps(self) -> tuple[str, ...]:
        """Names of the kept maps, the newest last."""
        return self._maps.names()

    def coordinates(self, name: str) -> Coordinates:
        """A kept map; items that came after it are not on it, their coordinates are NaN.

        Raises
        ------
        InputError
            There is no such map.
        """
        return self._maps.read(name)

    def save_coordinates(
        self,
        name: str,
        space_id: str | None,
        method: str,
        details: Mapping[str, Any],
        xy: NDArray[np.floating],
    ) -> None:
        """Keep a map, in place of one of the same name.

        Parameters
        ----------
        name : str
        space_id : str or None
            Space that was projected; None for coordinates that the user brought.
        method : str
        details : mapping
            What it was made with, as JSON can hold it.
        xy : float array [n, 2]
            Of the first n items; NaN for items that are not on it.

        Raises
        ------
        InputError
            A name or shape that cannot be.
        """
        self._maps.save(name, space_id, method, details, xy)

    def import_coordinates(
        self, path: str | Path, name: str, *, array: str | None = None, ids: str | Path | None = None
    ) -> int:
        """Keep a map that was made elsewhere: CSV or TSV with columns x and y, or NPY, NPZ, Parquet [n, 2].

        Parameters
        ----------
        path : path
        name : str
            Of the map.
        array : str, optional
            Name of the array or column of coordinates, where there are several.
        ids : path, optional
            A file of ids, a line each or an NPY, for formats without.

        Returns
        -------
        int
            How many items are on it. They are found by path or id; a file without is in the order of rows.

        Raises
        ------
        MediaError, InputError
            The file cannot be read, or names no item.
        """
        return read_coordinates(
            self._ledger, to_path(path), name, array, None if ids is None else to_path(ids)
        )

    def pairs(self) -> Rows:
        """Items that belong together, as a picture and its caption in one line: int64 [P, 2] of rows."""
        with self._database.reading():
            found = self._database.execute("SELECT first, second FROM pairs ORDER BY first, second")
            flat = np.fromiter((each for pair in found for each in pair), np.int64)
        return flat.reshape(-1, 2)

    def remove_coordinates(self, name: str) -> None:
        """Forget a map; one that is not there is fine."""
        self._maps.remove(name)
