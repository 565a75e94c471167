"""How well what belongs together is found in the open collection, and how similar items or categories are."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray
from PySide6.QtCore import QObject, Signal

from mmviewer.core.space.collection import Status
from mmviewer.engine.protocol import ErrorReport
from mmviewer.engine.protocol_structure import MeasurePairs, PairMeasures

if TYPE_CHECKING:
    from mmviewer.gui.workbench import Workbench

PAIRS = "collection:pairs"
_LOOKED_AT = 3_000_000
"""Values of columns that are read to see whether one tells pairs; in larger collections all are offered."""


@dataclass(frozen=True, slots=True, eq=False)
class FoundPairs:
    """What was measured, and by which column."""

    column: str
    closed: bool
    measures: PairMeasures


class CollectionMeasures(QObject):
    """Measures pairs.

    Signals
    -------
    paired()
        `pairs` are new, or gone.
    """

    paired = Signal()

    def __init__(self, workbench: Workbench) -> None:
        super().__init__(workbench)
        self._workbench = workbench
        self._collections = workbench.collections
        self.pairs: FoundPairs | None = None
        self._fitting: tuple[Any, tuple[str, ...]] = (None, ())
        self._collections.opened.connect(self._forget)

    # --- pairs ------------------------------------------------------------------------------------------
    def pair_columns(self) -> tuple[str, ...]:
        """Columns of words in which at least two items have the same, those with most words first."""
        view = self._collections.view
        if view is None:
            return ()
        state = view.folder, view.table.change
        if self._fitting[0] != state:
            columns = [info for info in view.columns if info.kind != "number"]
            columns.sort(key=lambda info: -info.distinct)
            small = view.count * len(columns) <= _LOOKED_AT
            fitting = tuple(info.name for info in columns if not small or self._repeats(info.name))
            self._fitting = state, fitting
        return self._fitting[1]

    def measure_pairs(self, column: str) -> None:
        """Measure how well items with equal values of a column are found by one another."""
        view, space_id, closed = self._collections.view, self._collections.space_id, self._collections.closed
        if view is None or not space_id:
            self._workbench.notice.emit("There are no vectors yet; index the collection first.", "warning")
            return

        def done(found: PairMeasures) -> None:
            self.pairs = FoundPairs(column, closed, found)
            self.paired.emit()

        request = MeasurePairs(str(view.folder), space_id, column, closed=closed)
        label = f"Measuring pairs by {column}"
        self._workbench.activities.run(PAIRS, label, request, done, failed=self._failed)

    def measure_pairs_again(self) -> None:
        """The gap was closed or opened: what was measured is measured again."""
        if self.pairs is not None and self.pairs.closed != self._collections.closed:
            self.measure_pairs(self.pairs.column)

    # --- inside -------------------------------------------------------------------------------------------
    def _repeats(self, column: str) -> bool:
        """Whether two indexed items have the same word in a column."""
        view, values = self._collections.view, self._collections.column(column)
        if view is None or not isinstance(values, tuple):
            return False
        codes: NDArray[np.int32] = values[0][: view.count]
        here = codes[(codes >= 0) & (view.table.status[: len(codes)] == Status.READY)]
        return bool((np.bincount(here, minlength=1) > 1).any())

    def _forget(self) -> None:
        self.pairs = None
        self.paired.emit()

    def _failed(self, error: ErrorReport) -> None:
        self._workbench.report(error)
