"""Maps of a collection that are kept: two coordinates for each item."""

from __future__ import annotations

import json
import time
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mmviewer.core.errors import InputError
from mmviewer.core.space.collection.columns import LONGEST_NAME
from mmviewer.core.space.collection.ledger import Ledger
from mmviewer.core.space.collection.types import Coordinates

MOST_MAPS = 100
_PAIR = 8  # bytes of two float32


class Maps:
    """Kept coordinates by name.

    Parameters
    ----------
    ledger : Ledger
    """

    def __init__(self, ledger: Ledger) -> None:
        self._ledger = ledger
        self._database = ledger.database

    def names(self) -> tuple[str, ...]:
        """All names, the newest last."""
        return tuple(
            name for (name,) in self._database.all("SELECT name FROM coordinates ORDER BY made, name")
        )

    def read(self, name: str) -> Coordinates:
        """The map of this name; items that came later are not on it."""
        sql = "SELECT space_id, method, details, made, xy FROM coordinates WHERE name = ?"
        with self._database.reading():
            found = self._database.all(sql, (name,))
            count = self._ledger.count
        if not found:
            raise InputError(f"{self._database.name} has no map “{name[:LONGEST_NAME]}”; choose one it has.")
        space_id, method, details, made, stored = found[0]
        if not isinstance(stored, bytes) or len(stored) % _PAIR or len(stored) > count * _PAIR:
            raise self._ledger.damaged(f"the map “{name[:LONGEST_NAME]}” does not fit")
        xy = np.full((count, 2), np.nan, np.float32)
        given = np.frombuffer(stored, "<f4").reshape(-1, 2)
        xy[: len(given)] = given
        return Coordinates(name, space_id, method, json.loads(details), xy, made)

    def save(
        self,
        name: str,
        space_id: str | None,
        method: str,
        details: Mapping[str, Any],
        xy: NDArray[np.floating],
    ) -> None:
        """Keep a map in place of one of the same name."""
        if not 0 < len(name) <= LONGEST_NAME:
            raise InputError(f"The name of a map has 1 to {LONGEST_NAME} letters; change it.")
        values = np.array(xy, "<f4")
        if values.ndim != 2 or values.shape[1] != 2 or len(values) > self._ledger.count:
            raise InputError(
                f"A map of {self._database.name} has two coordinates for each of {self._ledger.count:,} "
                f"items, these come as {values.shape}; make it again."
            )
        values[~np.isfinite(values).all(axis=1)] = np.nan
        if name not in self.names() and len(self.names()) >= MOST_MAPS:
            raise InputError(f"{self._database.name} keeps {MOST_MAPS} maps already; remove one first.")
        with self._ledger.writing():
            self._database.execute(
                "INSERT OR REPLACE INTO coordinates (name, space_id, method, details, made, xy) "
                "VALUES (?, ?, ?, ?, ?, ?)",
                (name, space_id, method, json.dumps(dict(details)), time.time(), values.tobytes()),
            )

    def remove(self, name: str) -> None:
        """Forget a map; one that is not there is fine."""
        with self._ledger.writing():
            self._database.execute("DELETE FROM coordinates WHERE name = ?", (name,))
