"""What all parts of a collection share: the database, the arrays over items, the spaces."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mmviewer.core.errors import CollectionError, InputError
from mmviewer.core.space.collection.database import Database
from mmviewer.core.space.collection.series import Series
from mmviewer.core.space.collection.types import UNKNOWN_KIND, Rows, SpaceInfo, Status
from mmviewer.core.space.collection.vectors import WIDEST, VectorFile

MOST_ITEMS = 100_000_000
MOST_SPACES = 1000

KINDS_SERIES = ("kinds", np.uint8, UNKNOWN_KIND)
STATUS_SERIES = ("status", np.uint8, int(Status.NEW))
SOURCES_SERIES = ("sources", np.int32, -1)

_SPACE_FIELDS = (
    "id, model_id, label, source, revision, weights_hash, preprocessing, dtype, width, count, own, number"
)
_SPACE_ID = re.compile(r"[a-z0-9][a-z0-9.-]{0,79}")


class Ledger:
    """State behind a `Catalogue`.

    Parameters
    ----------
    folder : Path
    database : Database
    """

    def __init__(self, folder: Path, database: Database) -> None:
        self.folder = folder
        self.database = database
        self._series: dict[str, Series] = {}

    @property
    def count(self) -> int:
        """Items that ever came in, removed ones included."""
        last = self.database.value("SELECT max(row) FROM items")
        if last is None:
            return 0
        if not 0 <= last < MOST_ITEMS:
            raise self.damaged("it claims too many items")
        return int(last) + 1

    @property
    def change(self) -> int:
        """A number that grows with every commit."""
        return int(self.database.value("SELECT value FROM meta WHERE key = 'change'") or 0)

    @contextmanager
    def writing(self) -> Iterator[int]:
        """Commit what is done inside, the arrays too, or nothing; gives the number of the change."""
        try:
            with self.database.writing() as change:
                yield change
                for series in self._series.values():
                    series.flush(self.database, change)
        except BaseException:
            self._series.clear()  # they may hold what was not committed
            raise

    def series(self, name: str, dtype: Any, fill: float) -> Series:
        """An array over all items, up to date; call inside `Database.reading` or `writing`."""
        series = self._series.get(name)
        if series is None:
            series = self._series[name] = Series(name, dtype, fill)
        series.refresh(self.database, self.change, self.count)
        return series

    def array(self, name: str, dtype: Any, fill: float) -> NDArray[Any]:
        """A copy of an array over all items, as of the last commit."""
        with self.database.reading():
            return self.series(name, dtype, fill).array(self.count)

    def check_rows(self, rows: Any) -> Rows:
        """Rows as a flat int64 array.

        Raises
        ------
        InputError
            There is no such item.
        """
        checked = np.asarray(rows, np.int64).reshape(-1)
        if len(checked) and (checked.min() < 0 or checked.max() >= self.count):
            raise InputError(f"{self.database.name} has {self.count:,} items; choose rows among them.")
        return checked

    def damaged(self, what: str) -> CollectionError:
        """The error for a catalogue whose content cannot be."""
        return CollectionError(
            f"The catalogue of {self.database.name} is damaged ({what}); restore it from a copy or "
            "index again."
        )

    # spaces

    def spaces(self) -> dict[int, SpaceInfo]:
        """All spaces by number, oldest first."""
        found = self.database.all(f"SELECT {_SPACE_FIELDS} FROM spaces ORDER BY number")  # noqa: S608 - our own names
        spaces = {}
        for fields in found:
            info, number = _space(fields[:-1]), fields[-1]
            # the id names files, so a stranger's catalogue must not choose freely
            sane = _SPACE_ID.fullmatch(info.id) and ".." not in info.id
            if not sane or not 0 < info.width <= WIDEST or info.count < 0:
                raise self.damaged("a space has an impossible name or width")
            spaces[int(number)] = info
        return spaces

    def space(self, space_id: str) -> tuple[int, SpaceInfo]:
        """Number and facts of a space.

        Raises
        ------
        InputError
            There is none of this id.
        """
        for number, info in self.spaces().items():
            if info.id == space_id:
                return number, info
        raise InputError(
            f"{self.database.name} has no vectors of {space_id}; index it with that model first."
        )

    def add_space(
        self,
        *,
        model_id: str,
        label: str,
        width: int,
        weights_hash: str = "",
        preprocessing: str = "",
        source: str = "",
        revision: str = "",
        dtype: str = "float32",
        own: bool = False,
    ) -> int:
        """Number of a space, made where there is none; as `Catalogue.add_space`."""
        if not 0 < width <= WIDEST:
            raise InputError(f"Vectors of {width} numbers cannot be kept; 1 to {WIDEST:,} are possible.")
        made = space_id(label, model_id, revision, weights_hash, preprocessing, str(width))
        known = self.spaces()
        for number, info in known.items():
            if info.id == made:
                return number
        if len(known) >= MOST_SPACES:
            raise InputError(f"{self.database.name} has {MOST_SPACES} spaces already; make a new collection.")
        with self.writing():
            added = self.database.execute(
                "INSERT INTO spaces (id, model_id, label, source, revision, weights_hash, preprocessing, "
                "dtype, width, own) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
                (made, model_id, label, source, revision, weights_hash, preprocessing, dtype, width, own),
            )
            return int(added.lastrowid or 0)

    def add_own_space(self, label: str, source: str, width: int) -> int:
        """Number of the space for vectors that the user brought in a file."""
        return self.add_space(model_id=f"own:{source}", label=label, width=width, source=source, own=True)

    def file(self, info: SpaceInfo) -> VectorFile:
        """The vectors of a space on the disk."""
        return VectorFile(self.folder, info)

    def index(self, number: int) -> Series:
        """Row in the vectors for each item; call inside `Database.reading` or `writing`."""
        return self.series(f"space:{number}", np.int32, -1)

    def settle(self) -> None:
        """Bring vectors and catalogue together after a crash; for the writer, when it opens."""
        for number, info in self.spaces().items():
            file = self.file(info)
            there = file.length
            if there >= info.count:
                file.cut(info.count)
            else:
                self.forget_vectors(number, np.arange(there, info.count), count=there)

    def forget_vectors(self, number: int, positions: Rows, count: int | None = None) -> None:
        """Take lost vectors out of the catalogue, so that their items are embedded again."""
        with self.writing():
            index = self.index(number)
            rows = np.flatnonzero(np.isin(index.array(self.count), positions))
            index.set(rows, -1)
            self.database.execute(
                "DELETE FROM vectors WHERE space = ? AND position IN (SELECT value FROM json_each(?))",
                (number, json.dumps(positions.tolist())),
            )
            if count is not None:
                self.database.execute("UPDATE spaces SET count = ? WHERE number = ?", (count, number))


def _space(fields: tuple[Any, ...]) -> SpaceInfo:
    *told, own = fields
    names = [each.strip() for each in _SPACE_FIELDS.split(",")]
    return SpaceInfo(**dict(zip(names, told, strict=False)), own=bool(own))


def space_id(label: str, *key: str) -> str:
    """Id of a space: what people call it, made fit for a file name, and a digest of what makes it."""
    digest = hashlib.blake2b("\0".join(key).encode("utf-8", "replace"), digest_size=4).hexdigest()
    slug = re.sub(r"[^a-z0-9]+", "-", label.lower()).strip("-")[:48].strip("-")
    return f"{slug or 'space'}-{digest}"
