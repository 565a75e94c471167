"""How similar items or categories of the open collection are to one another, as a matrix."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray
from PySide6.QtCore import QObject, Signal

from mmviewer.core.errors import MMViewerError
from mmviewer.core.space.measures.matrix_file import write_matrix
from mmviewer.core.types import FloatArray
from mmviewer.engine.protocol import ErrorReport
from mmviewer.engine.protocol_structure import CompareItems, Similarities

if TYPE_CHECKING:
    from mmviewer.gui.workbench import Workbench

Rows = NDArray[np.int64]
Codes = NDArray[np.int32]

MATRIX = "collection:matrix"
MOST = 200
"""Lines of a matrix; more cannot be told apart on a screen."""
SELECTION = "selection"


@dataclass(frozen=True, slots=True, eq=False)
class Matrix:
    """A matrix as it is shown.

    Parameters
    ----------
    source : str
        What it is of: "selection", "groups", "class" or "column:NAME".
    found : Similarities
    names : tuple of str
        Of its lines, in the order of `found.values`.
    note : str
        What was left out, and what a number means.
    codes : int32 array [N] or None
        The category of each item, where it is of categories.
    """

    source: str
    found: Similarities
    names: tuple[str, ...]
    note: str
    codes: Codes | None = None


class CollectionMatrix(QObject):
    """Asks for matrices.

    Signals
    -------
    changed()
        `matrix` is new, or gone.
    """

    changed = Signal()

    def __init__(self, workbench: Workbench) -> None:
        super().__init__(workbench)
        self._workbench = workbench
        self._collections = workbench.collections
        self.matrix: Matrix | None = None
        self.failed: ErrorReport | None = None
        self._collections.opened.connect(self.forget)

    def forget(self) -> None:
        """What was compared belongs to another collection, or is not wanted any more."""
        self._workbench.cancel(MATRIX)
        self.matrix, self.failed = None, None
        self.changed.emit()

    # --- what there is ----------------------------------------------------------------------------------
    def sources(self) -> list[tuple[str, str]]:
        """What there is to compare: (label, key)."""
        view = self._collections.view
        lines = [("selected items", SELECTION)]
        if view is not None:
            names = [info.name for info in view.columns if info.kind == "category"]
            lines += [(f"categories of “{name}”", f"column:{name}") for name in names]
        if self._workbench.collection_structure.groups is not None:
            lines.append(("groups", "groups"))
        if self._workbench.collection_classes.table is not None:
            lines.append(("classes", "class"))
        return lines

    # --- asking -----------------------------------------------------------------------------------------
    def compare(self, source: str) -> None:
        """Compare the items or categories of a source; too few of them leave no matrix."""
        categories = None if source == SELECTION else self._categories(source)
        if source == SELECTION:
            self._compare_items(self._collections.selection)
        elif categories is not None:
            self._compare_groups(source, *categories)
        else:
            self.forget()

    def _compare_items(self, selected: Rows) -> None:
        if len(selected) < 2:
            self.forget()
            return
        places = np.linspace(0, len(selected) - 1, min(MOST, len(selected))).round().astype(np.int64)
        rows = selected[places]
        notes = [f"{len(rows):,} of the {len(selected):,} selected items, evenly taken"] * (
            len(rows) < len(selected)
        )

        def done(found: Similarities) -> None:
            without = len(rows) - len(found.rows)
            left_out = [f"{without:,} without a vector left out"] if without else []
            names = tuple(self._collections.names(found.rows))
            self._take(Matrix(SELECTION, found, names, "; ".join([*notes, *left_out])))

        self._ask(f"Comparing {len(rows):,} items", {"rows": rows}, done)

    def _compare_groups(self, source: str, codes: Codes, names: tuple[str, ...]) -> None:
        sizes = np.bincount(codes[codes >= 0], minlength=len(names))
        largest = np.sort(np.argsort(-sizes, kind="stable")[:MOST])
        present = largest[sizes[largest] > 0]
        if len(present) < 2:
            self.forget()
            return
        numbers = np.full(len(names) + 1, -1, np.int32)  # the last is that of no category, code -1
        numbers[present] = np.arange(len(present))
        coded = numbers[codes]
        notes = ["Each number is the mean cosine of all items of one with all of the other"]
        if (sizes > 0).sum() > len(present):
            notes.insert(0, f"The {len(present):,} largest of {int((sizes > 0).sum()):,}")

        def done(found: Similarities) -> None:
            kept = np.full(len(present) + 1, -1, np.int32)
            kept[found.rows] = np.arange(len(found.rows))
            self._take(Matrix(source, found, found.names, "; ".join(notes), kept[coded]))

        shown = tuple(names[code] or "(empty)" for code in present)
        self._ask(f"Comparing {len(present):,} categories", {"codes": coded, "names": shown}, done)

    def _ask(self, label: str, what: dict[str, object], done: object) -> None:
        view, space_id = self._collections.view, self._collections.space_id
        if view is None or not space_id:
            self.forget()
            return
        self.failed = None
        request = CompareItems(str(view.folder), space_id, closed=self._collections.closed, **what)  # type: ignore[arg-type]
        self._workbench.activities.run(MATRIX, label, request, done, failed=self._on_failed)  # type: ignore[arg-type]
        self.changed.emit()

    def rows_of(self, number: int) -> Rows:
        """The items of a line of the matrix."""
        if self.matrix is None:
            return np.zeros(0, np.int64)
        if self.matrix.codes is None:
            return self.matrix.found.rows[number : number + 1]
        return np.flatnonzero(self.matrix.codes == number)

    # --- writing ----------------------------------------------------------------------------------------
    def write(self, path: str) -> None:
        """Write the numbers as CSV, in the order of the leaves."""
        if self.matrix is None:
            return
        order, names = self.matrix.found.order, self.matrix.names
        try:
            values: FloatArray = self.matrix.found.values[np.ix_(order, order)]
            write_matrix(path, [names[number] for number in order], values)
        except MMViewerError as error:
            self._workbench.report(ErrorReport(type(error).__name__, str(error), ""))
            return
        self._workbench.notice.emit(f"Wrote {path}", "info")

    # --- inside -----------------------------------------------------------------------------------------
    def _categories(self, source: str) -> tuple[Codes, tuple[str, ...]] | None:
        kind, _, name = source.partition(":")
        groups, table = self._workbench.collection_structure.groups, self._workbench.collection_classes.table
        if kind == "column":
            values = self._collections.column(name)
            return values if isinstance(values, tuple) else None
        if kind == "groups" and groups is not None:
            return groups.groups, groups.names
        if kind == "class" and table is not None:
            return table.codes, table.labels
        return None

    def _take(self, matrix: Matrix) -> None:
        self.matrix = matrix
        self.changed.emit()

    def _on_failed(self, error: ErrorReport) -> None:
        self.matrix, self.failed = None, error
        self.changed.emit()
