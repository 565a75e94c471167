"""Beside the map: what the colours mean, what lies nearest to the question, what the space is."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray
from PySide6.QtCore import QSignalBlocker, Qt
from PySide6.QtWidgets import QFormLayout, QLabel, QScrollArea, QTabWidget, QVBoxLayout, QWidget

from mmviewer.gui.buttons import push_button
from mmviewer.gui.controllers.collection_average import CollectionAverage
from mmviewer.gui.controllers.collections import CollectionController
from mmviewer.gui.map_average import MapAverage
from mmviewer.gui.map_classes import MapClasses
from mmviewer.gui.widgets.filmstrip import Filmstrip
from mmviewer.gui.widgets.legend import Legend
from mmviewer.gui.widgets.point_map_paint import cosine_text
from mmviewer.gui.widgets.wrapped_label import WrappedLabel

Rows = NDArray[np.int64]


class MapSide(QTabWidget):
    """Five pages: colours, nearest, classes, measures, the average map."""

    def __init__(
        self,
        collections: CollectionController,
        average: CollectionAverage,
        parent: QWidget | None = None,
    ) -> None:
        super().__init__(parent)
        self.legend = Legend()
        self.near_note = WrappedLabel()
        self.near = Filmstrip(wrapped=True)
        self.near.set_sources(collections.pictures, collections.names)
        self.near.picked.connect(collections.pick)
        self.near.opened.connect(collections.open_item)
        self.classes = MapClasses()
        self.measures = MeasuresPage()
        self.average = MapAverage(average)
        self.setDocumentMode(True)
        self.addTab(self.legend, "Colours")
        self.addTab(_page(self.near_note, self.near), "Nearest")
        self.addTab(self.classes, "Classes")
        self.addTab(self.measures, "Measures")
        self.addTab(self.average, "Average")
        self.setUsesScrollButtons(True)
        self.setMinimumWidth(190)
        self.show_nearest("", np.zeros(0, np.int64), ())

    def show_nearest(
        self,
        note: str,
        rows: Rows,
        cosines: Sequence[float],
        boxes: Mapping[int, tuple[float, float, float, float]] | None = None,
    ) -> None:
        """Show a ranked answer, say what it is the answer to, and frame what was found within pictures."""
        self.near_note.setText(note or "Pick a point or ask something: what lies nearest is listed here.")
        texts = [cosine_text(float(cosine)) for cosine in cosines]
        self.near.set_rows(rows, dict(zip(rows.tolist(), texts, strict=True)), boxes)

    def show_marked(self, note: str, rows: Rows, marks: Mapping[int, str]) -> None:
        """Show items with a few letters each, and say what they are."""
        self.near_note.setText(note)
        self.near.set_rows(rows, marks)
        self.bring(self.near)

    def bring(self, page: QWidget) -> None:
        """Show the page that holds a widget."""
        for number in range(self.count()):
            held = self.widget(number)
            if held is page or (held is not None and held.isAncestorOf(page)):
                self.setCurrentIndex(number)


class MeasuresPage(QScrollArea):
    """What the space is, in numbers, each with a sentence on what it means."""

    def __init__(self) -> None:
        super().__init__()
        self.measure = push_button("Measure the space", "Gap between modalities, evenness, hubs, retrieval")
        self.gap = push_button("Close the gap", "Centre each kind on its own mean, so that kinds can meet")
        self.gap.setCheckable(True)
        self.trust = push_button("Trust of the map", "Colour each point by how true its neighbours here are")
        self.note = WrappedLabel()
        self._lines: tuple[tuple[str, str], ...] = ()
        self._form = QFormLayout()
        self._form.setRowWrapPolicy(QFormLayout.RowWrapPolicy.WrapLongRows)
        self._form.setLabelAlignment(Qt.AlignmentFlag.AlignLeft)
        inner = QWidget()
        self._column = QVBoxLayout(inner)
        self._column.setContentsMargins(8, 8, 8, 8)
        for button in (self.measure, self.gap, self.trust):
            self._column.addWidget(button)
        self._column.addLayout(self._form)
        self._column.addWidget(self.note)
        self._column.addStretch(1)
        self.setWidget(inner)
        self.setWidgetResizable(True)
        self.setFrameShape(QScrollArea.Shape.NoFrame)

    def add(self, widget: QWidget) -> None:
        """Put something else under the measures."""
        self._column.insertWidget(self._column.count() - 1, widget)

    def clear(self) -> None:
        """Forget what was measured; emits nothing."""
        self.show_lines(())
        self.set_closed(False)

    def set_closed(self, closed: bool) -> None:
        """Show whether the space is looked at with its gap closed; emits nothing."""
        with QSignalBlocker(self.gap):
            self.gap.setChecked(closed)

    @property
    def lines(self) -> tuple[tuple[str, str], ...]:
        """What is shown: names and values."""
        return self._lines

    def show_lines(self, lines: Sequence[tuple[str, str, str]], note: str = "") -> None:
        """Show measures: name, value, and what it means."""
        self._lines = tuple((name, value) for name, value, _ in lines)
        while self._form.rowCount():
            self._form.removeRow(0)
        for name, value, tip in lines:
            label, shown = QLabel(name), QLabel(value)
            label.setObjectName("faint")
            for widget in (label, shown):
                widget.setToolTip(tip)
            shown.setTextInteractionFlags(Qt.TextInteractionFlag.TextSelectableByMouse)
            self._form.addRow(label, shown)
        self.note.setText(note)
        self.note.setVisible(bool(note))


def _page(*widgets: QWidget) -> QWidget:
    page = QWidget()
    column = QVBoxLayout(page)
    column.setContentsMargins(8, 8, 4, 0)
    for number, widget in enumerate(widgets):
        column.addWidget(widget, int(number == len(widgets) - 1))
    return page
