"""Labels given by hand, with a journal in the catalogue, so that undo outlives the program."""

from __future__ import annotations

import numpy as np

from mmviewer.core.errors import InputError
from mmviewer.core.space.collection.columns import LONGEST_WORD, Codes, Columns
from mmviewer.core.space.collection.ledger import Ledger
from mmviewer.core.space.collection.types import Rows

MOST_STEPS = 1000
"""Steps that can be undone; older ones stay as they are."""


class Labels:
    """Sets of labels by name; each item has at most one of each set.

    Parameters
    ----------
    ledger : Ledger
    columns : Columns
    """

    def __init__(self, ledger: Ledger, columns: Columns) -> None:
        self._ledger = ledger
        self._database = ledger.database
        self._columns = columns

    def read(self, name: str) -> tuple[Codes, tuple[str, ...]]:
        """Codes [N], -1 for none, and the labels in the order of their codes."""
        if self._columns.number(name) is None:
            return np.full(self._ledger.count, -1, np.int32), ()
        values = self._columns.read(name)
        if not isinstance(values, tuple):
            raise InputError(f"“{name}” is a column of numbers; choose a set of labels.")
        return values

    def set(self, rows: Rows, label: str | None, name: str) -> None:
        """Give items a label, or none; one step of undo."""
        word = None if label is None else " ".join(label.split())
        if word is not None and not 0 < len(word) <= LONGEST_WORD:
            raise InputError(f"A label has 1 to {LONGEST_WORD:,} letters; change it.")
        rows = np.unique(self._ledger.check_rows(rows))
        if not len(rows):
            return
        with self._ledger.writing():
            number = self._columns.make(name, "words", by_hand=True)
            code = -1 if word is None else self._columns.code(number, word)
            before = self._columns.codes(number, rows)
            self._database.execute("DELETE FROM journal WHERE undone")
            self._database.execute(
                "INSERT INTO journal (column, rows, before, code) VALUES (?, ?, ?, ?)",
                (number, rows.astype("<i8").tobytes(), before.astype("<i4").tobytes(), code),
            )
            self._database.execute(
                "DELETE FROM journal WHERE step <= (SELECT max(step) FROM journal) - ?", (MOST_STEPS,)
            )
            self._columns.set_codes(number, rows, code)

    def undo(self) -> Rows:
        """Take the last step back; gives the rows it changed, none where there is no step."""
        return self._step("SELECT * FROM journal WHERE NOT undone ORDER BY step DESC LIMIT 1", undone=1)

    def redo(self) -> Rows:
        """Do the step again that was taken back last; gives the rows it changed."""
        return self._step("SELECT * FROM journal WHERE undone ORDER BY step LIMIT 1", undone=0)

    def steps(self) -> tuple[int, int]:
        """How many steps can be undone, and redone."""
        done, undone = self._database.all("SELECT count(*) - total(undone), total(undone) FROM journal")[0]
        return int(done), int(undone)

    def _step(self, sql: str, *, undone: int) -> Rows:
        with self._ledger.writing():
            found = self._database.all(sql)
            if not found:
                return np.zeros(0, np.int64)
            step, number, _, rows, before, code = found[0]
            if len(rows) % 8 or len(before) * 2 != len(rows):
                raise self._ledger.damaged("a step of the journal does not fit")
            chosen = self._ledger.check_rows(np.frombuffer(rows, "<i8"))
            self._columns.set_codes(number, chosen, np.frombuffer(before, "<i4").copy() if undone else code)
            self._database.execute("UPDATE journal SET undone = ? WHERE step = ?", (undone, step))
        return chosen
