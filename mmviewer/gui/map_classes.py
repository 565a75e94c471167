"""Beside the map: the table of classes with counts and thresholds, and how it agrees with the truth."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from PySide6.QtCore import QSignalBlocker, Qt, Signal
from PySide6.QtWidgets import (
    QAbstractItemView,
    QComboBox,
    QHBoxLayout,
    QHeaderView,
    QLineEdit,
    QTableWidget,
    QTableWidgetItem,
    QVBoxLayout,
    QWidget,
)

from mmviewer.core.space.class_table import ClassTable, Confusion
from mmviewer.gui.buttons import push_button
from mmviewer.gui.widgets.wrapped_label import WrappedLabel

_HEADINGS = ("class", "items", "at least")
_WORST = 3


class MapClasses(QWidget):
    """Labels to score, one line for each class, and the truth.

    Signals
    -------
    wanted(object, str)
        Labels (tuple of str) and the template to score them with.
    threshold_set(str, float)
    chosen(str)
        The class that was clicked twice: its items are wanted.
    truth_chosen(str)
        Name of the column that holds the truth; empty for none.
    export_wanted()
    """

    wanted = Signal(object, str)
    threshold_set = Signal(str, float)
    chosen = Signal(str)
    truth_chosen = Signal(str)
    export_wanted = Signal()

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.labels = QLineEdit(placeholderText="dog, cat, teapot…", clearButtonEnabled=True)
        self.labels.setAccessibleName("Classes")
        self.labels.setToolTip("Classes, separated by commas; Return scores every item against them")
        self.template = QLineEdit("a {}")
        self.template.setAccessibleName("Template")
        self.template.setToolTip("What a class is put into before the model reads it; {} is the class")
        self.table = QTableWidget(0, len(_HEADINGS))
        self.truth = QComboBox()
        self.truth.setAccessibleName("Truth")
        self.truth.setToolTip("The column that says what each item truly is")
        self.note = WrappedLabel()
        self.export = push_button("Export…", "Write the class of every item as CSV or Parquet")
        self._set_up()
        self._lay_out()
        self.labels.returnPressed.connect(self._ask)
        self.template.returnPressed.connect(self._ask)
        self.table.itemChanged.connect(self._on_edited)
        self.table.itemDoubleClicked.connect(self._on_twice)
        self.truth.activated.connect(lambda: self.truth_chosen.emit(str(self.truth.currentData())))
        self.export.clicked.connect(self.export_wanted)
        self.show_table(None)

    def _set_up(self) -> None:
        self.table.setHorizontalHeaderLabels(list(_HEADINGS))
        self.table.verticalHeader().hide()
        self.table.setShowGrid(False)
        self.table.setSelectionBehavior(QAbstractItemView.SelectionBehavior.SelectRows)
        header = self.table.horizontalHeader()
        header.setSectionResizeMode(0, QHeaderView.ResizeMode.Stretch)
        for column in (1, 2):
            header.setSectionResizeMode(column, QHeaderView.ResizeMode.ResizeToContents)
        self.table.setAccessibleName("Classes, items and thresholds")

    def _lay_out(self) -> None:
        foot = QHBoxLayout()
        foot.addWidget(self.truth, 1)
        foot.addWidget(self.export)
        column = QVBoxLayout(self)
        column.setContentsMargins(0, 4, 0, 0)
        for widget in (self.labels, self.template):
            column.addWidget(widget)
        column.addWidget(self.table, 1)
        column.addLayout(foot)
        column.addWidget(self.note)

    # --- showing --------------------------------------------------------------------------------------
    def set_truths(self, columns: Sequence[str], chosen: str) -> None:
        """List the columns that may hold the truth."""
        with QSignalBlocker(self.truth):
            self.truth.clear()
            self.truth.addItem("no truth", "")
            for name in columns:
                self.truth.addItem(f"truth: {name}", name)
            self.truth.setCurrentIndex(max(0, self.truth.findData(chosen)))

    def show_table(self, table: ClassTable | None, confusion: Confusion | None = None) -> None:
        """Show counts and thresholds, and the agreement with the truth where one is known."""
        self.export.setEnabled(table is not None)
        with QSignalBlocker(self.table):
            self.table.setRowCount(0 if table is None else len(table.labels))
            if table is not None:
                for row, label in enumerate(table.labels):
                    self._show_class(row, label, int(table.counts[row]), float(table.thresholds[row]))
        self.note.setText(_words(table, confusion))

    def _show_class(self, row: int, label: str, count: int, threshold: float) -> None:
        right = Qt.AlignmentFlag.AlignRight | Qt.AlignmentFlag.AlignVCenter
        for column, text in enumerate((label, f"{count:,}", f"{threshold:.2f}")):
            item = QTableWidgetItem(text)
            if column:
                item.setTextAlignment(right)
            if column < 2:
                item.setFlags(item.flags() & ~Qt.ItemFlag.ItemIsEditable)
                item.setToolTip(f"{label}: {count:,} items; click twice to select them")
            else:
                item.setToolTip("Least probability, 0 to 1; click twice to change it")
            self.table.setItem(row, column, item)

    # --- events ---------------------------------------------------------------------------------------
    def _ask(self) -> None:
        labels = tuple(dict.fromkeys(" ".join(word.split()) for word in self.labels.text().split(",")))
        labels = tuple(label for label in labels if label)
        template = self.template.text().strip() or "{}"
        if labels:
            self.wanted.emit(labels, template if "{}" in template else f"{template} {{}}")

    def _on_edited(self, item: QTableWidgetItem) -> None:
        if item.column() != 2:
            return
        label = self.table.item(item.row(), 0)
        try:
            value = float(item.text().replace(",", "."))
        except ValueError:
            value = 0.0
        if label is not None:
            self.threshold_set.emit(label.text(), min(max(value, 0.0), 1.0))

    def _on_twice(self, item: QTableWidgetItem) -> None:
        label = self.table.item(item.row(), 0)
        if item.column() < 2 and label is not None:
            self.chosen.emit(label.text())


def _words(table: ClassTable | None, confusion: Confusion | None) -> str:
    if table is None:
        return "Type classes: every item is given its likeliest one."
    below = int(table.below.sum())
    parts = [f"{int(table.counts.sum()):,} items have a class"]
    if below:
        parts.append(f"{below:,} stay below their threshold")
    if confusion is not None and confusion.total:
        parts.append(f"{confusion.accuracy:.0%} of {confusion.total:,} agree with the truth")
        parts += _mixed_up(confusion)
    return "; ".join(parts) + "."


def _mixed_up(confusion: Confusion) -> list[str]:
    """The most frequent confusions in words."""
    counts = confusion.counts[:, : len(confusion.labels)].copy()
    for row, truth in enumerate(confusion.truths):
        for column, label in enumerate(confusion.labels):
            if truth.casefold() == label.casefold():
                counts[row, column] = 0
    order = np.argsort(-counts, axis=None, kind="stable")[:_WORST]
    found = []
    for place in order.tolist():
        row, column = divmod(place, counts.shape[1])
        if counts[row, column]:
            found.append(
                f"{counts[row, column]:,} × {confusion.truths[row]} taken for {confusion.labels[column]}"
            )
    return found
