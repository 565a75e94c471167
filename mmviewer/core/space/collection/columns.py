"""Columns that items came with and labels given by hand: one number or one word for each item.

Words are kept once for each column and items hold their codes, so that colouring a million items by a column
reads one array.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from mmviewer.core.errors import InputError
from mmviewer.core.space.collection.ledger import Ledger
from mmviewer.core.space.collection.series import Series
from mmviewer.core.space.collection.types import ColumnInfo, Rows

MOST_COLUMNS = 256
MOST_CATEGORIES = 1000
"""Words of a column beyond which it is text, not categories."""
LONGEST_WORD = 1000
LONGEST_NAME = 100

ColumnKind = Literal["number", "words"]
Codes = NDArray[np.int32]


class Columns:
    """The columns of a collection; writes happen inside `Ledger.writing`.

    Parameters
    ----------
    ledger : Ledger
    """

    def __init__(self, ledger: Ledger) -> None:
        self._ledger = ledger
        self._database = ledger.database

    def infos(self) -> tuple[ColumnInfo, ...]:
        """All columns, oldest first."""
        found = self._database.all("SELECT name, kind, distinct_values, by_hand FROM columns ORDER BY id")
        return tuple(
            ColumnInfo(
                name,
                "number" if kind == "number" else "category" if distinct <= MOST_CATEGORIES else "text",
                distinct,
                bool(by_hand),
            )
            for name, kind, distinct, by_hand in found
        )

    def read(self, name: str) -> NDArray[np.float64] | tuple[Codes, tuple[str, ...]]:
        """Values of all items, as `Catalogue.column` gives them."""
        with self._database.reading():
            number, kind = self._column(name)
            values = self._series(number, kind).array(self._ledger.count)
            return values if kind == "number" else (values, self._words(number))

    def extras(self, rows: Rows) -> list[dict[str, str | float]]:
        """Values of some items by column; items without one do not have its name."""
        extras: list[dict[str, str | float]] = [{} for _ in range(len(rows))]
        for number, name, kind in self._database.execute("SELECT id, name, kind FROM columns ORDER BY id"):
            values = self._series(number, kind).at(rows)
            if kind == "number":
                for place in np.flatnonzero(~np.isnan(values)).tolist():
                    extras[place][name] = float(values[place])
                continue
            for place in np.flatnonzero(values >= 0).tolist():
                extras[place][name] = self._word(number, int(values[place]))
        return extras

    def make(self, name: str, kind: ColumnKind, *, by_hand: bool = False) -> int:
        """Number of the column of this name, made where there is none.

        A column of the same name but of the other kind is another column: its name tells the kind.

        Raises
        ------
        InputError
            The name cannot be, belongs to the other sort of column, or there are too many.
        """
        name = _shown(name)
        found = self._find(name)
        if found is not None and found[1] != kind and not by_hand:
            name = f"{name} ({'numbers' if kind == 'number' else 'words'})"
            found = self._find(name)
        if found is not None:
            if bool(found[2]) != by_hand:
                owner = "labels given by hand" if found[2] else "a column that came with the items"
                raise InputError(f"“{name}” names {owner}; choose another name.")
            return int(found[0])
        if self._database.value("SELECT count(*) FROM columns") >= MOST_COLUMNS:
            raise InputError(f"{self._database.name} has {MOST_COLUMNS} columns already; leave some out.")
        sql = "INSERT INTO columns (name, kind, by_hand) VALUES (?, ?, ?)"
        return int(self._database.execute(sql, (name, kind, by_hand)).lastrowid or 0)

    def set_numbers(self, number: int, rows: Rows, values: NDArray[np.float64]) -> None:
        """Set numbers of some items, NaN for none."""
        self._series(number, "number").set(rows, values)

    def set_words(self, number: int, rows: Rows, words: Sequence[str | None]) -> None:
        """Set words of some items, None for none."""
        codes = {each: self.code(number, each) for each in dict.fromkeys(words) if each is not None}
        self.set_codes(number, rows, np.array([-1 if w is None else codes[w] for w in words], np.int32))

    def set_codes(self, number: int, rows: Rows, codes: Codes | int) -> None:
        """Set codes of words of some items, -1 for none."""
        self._series(number, "words").set(rows, codes)

    def codes(self, number: int, rows: Rows) -> Codes:
        """Codes of the words of some items."""
        return self._series(number, "words").at(rows)

    def code(self, number: int, word: str) -> int:
        """Code of a word, given to it where it has none."""
        word = word.encode("utf-8", "replace").decode()[:LONGEST_WORD]
        code = self._database.value("SELECT code FROM words WHERE column = ? AND word = ?", (number, word))
        if code is None:
            code = self._database.value("SELECT distinct_values FROM columns WHERE id = ?", (number,))
            self._database.execute(
                "INSERT INTO words (column, code, word) VALUES (?, ?, ?)", (number, code, word)
            )
            self._database.execute("UPDATE columns SET distinct_values = ? WHERE id = ?", (code + 1, number))
        return int(code)

    def count_distinct(self, number: int) -> None:
        """Note how many different numbers a column has, after it was filled."""
        values = self._series(number, "number").array(self._ledger.count)
        distinct = len(np.unique(values[~np.isnan(values)]))
        self._database.execute("UPDATE columns SET distinct_values = ? WHERE id = ?", (distinct, number))

    def number(self, name: str) -> int | None:
        """Number of a column; None where there is none of this name."""
        found = self._find(name)
        return None if found is None else int(found[0])

    def _find(self, name: str) -> tuple[int, str, int] | None:
        found = self._database.all("SELECT id, kind, by_hand FROM columns WHERE name = ?", (name,))
        return found[0] if found else None

    def _column(self, name: str) -> tuple[int, ColumnKind]:
        found = self._find(name)
        if found is None:
            raise InputError(
                f"{self._database.name} has no column “{name[:LONGEST_NAME]}”; choose one it has."
            )
        return found[0], "number" if found[1] == "number" else "words"

    def _series(self, number: int, kind: str) -> Series:
        name = f"column:{number}"
        if kind == "number":
            return self._ledger.series(name, np.float64, np.nan)
        return self._ledger.series(name, np.int32, -1)

    def _words(self, number: int) -> tuple[str, ...]:
        sql = "SELECT word FROM words WHERE column = ? ORDER BY code"
        return tuple(word for (word,) in self._database.execute(sql, (number,)))

    def _word(self, number: int, code: int) -> str:
        word = self._database.value("SELECT word FROM words WHERE column = ? AND code = ?", (number, code))
        return "" if word is None else str(word)


def _shown(name: Any) -> str:
    """A column's name as it can be shown."""
    shown = " ".join("".join(each if each.isprintable() else " " for each in str(name)).split())
    if not shown:
        raise InputError("A column has no name; give it one.")
    return shown if len(shown) <= LONGEST_NAME else f"{shown[: LONGEST_NAME - 1]}…"
