"""Beside the window: how similar selected items, categories, groups or classes are to one another."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from PySide6.QtCore import QSignalBlocker, Qt, QTimer
from PySide6.QtGui import QHideEvent, QShowEvent
from PySide6.QtWidgets import QComboBox, QDialog, QFileDialog, QHBoxLayout, QLabel, QVBoxLayout

from mmviewer.core.figures import colormaps
from mmviewer.gui.buttons import push_button
from mmviewer.gui.controllers.collection_matrix import MATRIX, SELECTION
from mmviewer.gui.widgets.similarity_matrix import SimilarityMatrix
from mmviewer.gui.widgets.state_stack import StateStack
from mmviewer.gui.widgets.wrapped_label import WrappedLabel

if TYPE_CHECKING:
    from mmviewer.gui.workbench import Workbench

_SOON_MS = 200
_WHAT = (
    "Cosine of each with each. The tree above joins what is most similar first (average linkage): the lower"
    " two meet, the more similar they are."
)


class MatrixDialog(QDialog):
    """Follows what is selected while it is open; a click on a line picks the item or selects the category."""

    def __init__(self, workbench: Workbench, parent: object = None) -> None:
        super().__init__(parent)  # type: ignore[arg-type]
        self.setWindowTitle("Similarity matrix")
        self.setWindowFlag(Qt.WindowType.WindowMaximizeButtonHint)
        self._workbench = workbench
        self._collections = workbench.collections
        self._asking = workbench.collection_matrix
        self.source = QComboBox()
        self.source.setAccessibleName("Of what")
        self.source.setToolTip("What is compared")
        self.source.setSizeAdjustPolicy(QComboBox.SizeAdjustPolicy.AdjustToContents)
        self.image = push_button("Save picture…", "Write what is shown as a PNG image")
        self.table = push_button("Save numbers…", "Write the cosines as CSV, in the order that is shown")
        self.matrix = SimilarityMatrix()
        self.matrix.setToolTip("")
        self.note = WrappedLabel()
        self.note.setObjectName("faint")
        self.stack = StateStack(self.matrix)
        self._soon = QTimer(self, singleShot=True, interval=_SOON_MS)
        self._lay_out()
        self._connect()
        self.resize(760, 820)

    def _lay_out(self) -> None:
        head = QHBoxLayout()
        label = QLabel("Of")
        label.setBuddy(self.source)
        label.setToolTip(_WHAT)
        head.addWidget(label)
        head.addWidget(self.source)
        head.addStretch(1)
        head.addWidget(self.image)
        head.addWidget(self.table)
        column = QVBoxLayout(self)
        column.addLayout(head)
        column.addWidget(self.stack, 1)
        column.addWidget(self.note)

    def _connect(self) -> None:
        self.source.activated.connect(self.ask)
        self._soon.timeout.connect(self.ask)
        self._asking.changed.connect(self._show)
        self._collections.selection_changed.connect(self._on_selection)
        self._collections.picked_changed.connect(self._mark)
        self._collections.changed.connect(self._soon.start)
        self._collections.placed.connect(self._soon.start)
        self._workbench.collection_structure.grouped.connect(self._soon.start)
        self._workbench.collection_classes.changed.connect(self._soon.start)
        self.matrix.chosen.connect(self._choose)
        self.image.clicked.connect(lambda: self._choose_file("PNG image (*.png)", "png", self.write_picture))
        self.table.clicked.connect(lambda: self._choose_file("CSV (*.csv)", "csv", self._asking.write))
        self.stack.cancelled.connect(self._asking.forget)

    # --- asking -----------------------------------------------------------------------------------------
    def ask(self) -> None:
        """Compare what is chosen; does nothing while the window is closed."""
        if not self.isVisible():
            return
        self._fill()
        self._asking.compare(str(self.source.currentData()))

    def _fill(self) -> None:
        """List what there is; where nothing is selected, the first categories are shown at first."""
        lines, chosen = self._asking.sources(), self.source.currentData()
        listed = [
            (self.source.itemText(row), self.source.itemData(row)) for row in range(self.source.count())
        ]
        with QSignalBlocker(self.source):
            if listed != lines:
                self.source.clear()
                for label, key in lines:
                    self.source.addItem(label, key)
            if chosen is None and len(self._collections.selection) < 2 and len(lines) > 1:
                chosen = lines[1][1]
            self.source.setCurrentIndex(max(0, self.source.findData(chosen)))

    def _on_selection(self) -> None:
        if self.source.currentData() == SELECTION:
            self._soon.start()

    # --- showing ----------------------------------------------------------------------------------------
    def _show(self) -> None:
        found, failed = self._asking.matrix, self._asking.failed
        running = self._workbench.activity(MATRIX)
        for button in (self.image, self.table):
            button.setEnabled(found is not None)
        self.note.setText(f"{found.note}." if found is not None and found.note else "")
        self.note.setVisible(bool(self.note.text()))
        if found is not None:
            view = self._workbench.state.view
            colours = colormaps.lut(colormaps.suited(view.colormap, signed=False))
            self.matrix.set_matrix(
                found.found.values, found.found.order, found.found.merges, found.names, colours
            )
            self._mark()
            self.stack.show_content()
        elif running.running:
            self.stack.show_waiting(running.message or running.label, running.fraction)
        elif failed is not None:
            self.stack.show_failed(failed.message, failed.details)
        else:
            self.stack.show_empty("Nothing to compare", self._empty_words())

    def _empty_words(self) -> str:
        if not self._collections.space_id:
            return "There are no vectors yet; index the collection first."
        if self.source.currentData() == SELECTION:
            return "Select at least two items: draw around points with the lasso, or add them with Shift."
        return "There are fewer than two categories with items."

    def _mark(self) -> None:
        """Point out the line of the picked item."""
        found, picked = self._asking.matrix, self._collections.picked
        if found is None or found.codes is not None or picked is None:
            self.matrix.set_marked(None)
            return
        places = np.flatnonzero(found.found.rows == picked)
        self.matrix.set_marked(int(places[0]) if len(places) else None)

    def _choose(self, number: int) -> None:
        found, rows = self._asking.matrix, self._asking.rows_of(number)
        if found is not None and found.codes is None:
            self._collections.pick(int(rows[0]))
        else:
            self._collections.select(rows)

    # --- files ------------------------------------------------------------------------------------------
    def _choose_file(self, kinds: str, suffix: str, then: object) -> None:
        dialog = QFileDialog(self, "Save the similarity matrix")
        dialog.setAcceptMode(QFileDialog.AcceptMode.AcceptSave)
        dialog.setNameFilters([kinds])
        dialog.setDefaultSuffix(suffix)
        dialog.setAttribute(Qt.WidgetAttribute.WA_DeleteOnClose)
        dialog.fileSelected.connect(then)
        dialog.open()

    def write_picture(self, path: str) -> None:
        """Write the matrix as it is shown, twice as fine."""
        if self.matrix.picture().save(path):
            self._workbench.notice.emit(f"Wrote {path}", "info")
        else:
            self._workbench.notice.emit(f"{path} cannot be written; choose another folder.", "warning")

    # --- events -----------------------------------------------------------------------------------------
    def showEvent(self, event: QShowEvent) -> None:
        super().showEvent(event)
        self.ask()

    def hideEvent(self, event: QHideEvent) -> None:
        super().hideEvent(event)
        self._soon.stop()
        self._asking.forget()
