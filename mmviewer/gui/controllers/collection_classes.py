"""Zero-shot classes of the open collection: a table with thresholds, compared with the truth, exported."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from PySide6.QtCore import QObject, Signal

from mmviewer.core.errors import MMViewerError
from mmviewer.core.space.class_table import ClassTable, Confusion, confusion
from mmviewer.engine.protocol import ErrorReport
from mmviewer.engine.protocol_collection import ClassifyCollection, ExportClasses

if TYPE_CHECKING:
    from mmviewer.gui.workbench import Workbench

CLASSES = "collection:classes"


class CollectionClasses(QObject):
    """Holds the class table.

    Signals
    -------
    changed()
        Another table, or other thresholds.
    """

    changed = Signal()

    def __init__(self, workbench: Workbench) -> None:
        super().__init__(workbench)
        self._workbench = workbench
        self._collections = workbench.collections
        self.table: ClassTable | None = None
        self._collections.opened.connect(self.forget)

    def forget(self) -> None:
        """The table belongs to another collection."""
        self.table = None
        self.changed.emit()

    def score(self, labels: tuple[str, ...], template: str = "a {}") -> None:
        """Score all items of the space against labels."""
        view, model, space_id = (
            self._collections.view,
            self._workbench.state.model,
            self._collections.space_id,
        )
        if view is None or not space_id or not labels:
            return
        if model is None:
            self._workbench.notice.emit("To score labels, load the model that made the vectors.", "warning")
            return

        def done(table: ClassTable) -> None:
            self.table = table
            self.changed.emit()

        request = ClassifyCollection(str(view.folder), model.id, space_id, labels, (template,))
        self._workbench.activities.run(
            CLASSES, f"Scoring {len(labels)} classes", request, done, failed=self._failed
        )

    def set_threshold(self, label: str, value: float) -> None:
        """Let a class take only items of at least this probability."""
        if self.table is None:
            return
        try:
            self.table = self.table.with_thresholds({label: value})
        except MMViewerError as error:
            self._failed(ErrorReport(type(error).__name__, str(error), ""))
        self.changed.emit()

    def against(self, column: str) -> Confusion | None:
        """How the classes agree with a column that holds the truth."""
        values = self._collections.column(column) if column and self.table is not None else None
        if self.table is None or not isinstance(values, tuple):
            return None
        try:
            return confusion(self.table, *values)
        except MMViewerError as error:
            self._failed(ErrorReport(type(error).__name__, str(error), ""))
            return None

    def export(self, path: str | Path, truth: str = "") -> None:
        """Write the class of every item as CSV or Parquet; labels given by hand come first."""
        view = self._collections.view
        if view is None or self.table is None:
            return
        by_hand = next((info.name for info in view.columns if info.by_hand), "")

        def done(written: str) -> None:
            self._workbench.notice.emit(f"Wrote {written}", "info")

        request = ExportClasses(str(view.folder), str(path), self.table, by_hand, truth)
        self._workbench.activities.run(CLASSES, "Writing classes", request, done, failed=self._failed)

    def _failed(self, error: ErrorReport) -> None:
        self._workbench.report(error)
