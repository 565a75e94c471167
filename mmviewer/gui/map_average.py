"""Beside the map: the average map of what is selected, and the items that differ most from it."""

from __future__ import annotations

import math
from collections.abc import Mapping

from PySide6.QtCore import QSignalBlocker, Qt, Signal
from PySide6.QtWidgets import (
    QButtonGroup,
    QComboBox,
    QHBoxLayout,
    QLineEdit,
    QProgressBar,
    QScrollArea,
    QVBoxLayout,
    QWidget,
)

from mmviewer.core.average.result import MOST, AverageMap, scope_words
from mmviewer.core.figures.overlay import colour_range
from mmviewer.gui.activities import Activity
from mmviewer.gui.buttons import flat_button, push_button
from mmviewer.gui.controllers.collection_average import CollectionAverage
from mmviewer.gui.widgets.filmstrip import Filmstrip
from mmviewer.gui.widgets.frame_map import FrameMap
from mmviewer.gui.widgets.spin import SpinBox
from mmviewer.gui.widgets.wrapped_label import WrappedLabel

_STEPS = 1000
_LARGEST = 2_000
_REASONS = 4
_DISTANCE = (
    "Distance: one minus the correlation of an item's map with the mean, over the cells that both have."
    " 0 alike, 1 nothing in common, 2 opposite; “none” where a map is the same everywhere."
)


class MapAverage(QScrollArea):
    """A word, a method, a button; then the map on a neutral frame and the items ranked.

    Signals
    -------
    wanted(str, str, int)
        Word, key of the method, and how many items at most.
    stopped()
    export_wanted()
    learn_more()
    """

    wanted = Signal(str, str, int)
    stopped = Signal()
    export_wanted = Signal()
    learn_more = Signal()

    def __init__(self, average: CollectionAverage, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._average = average
        self._running = False
        self._result: AverageMap | None = None  # what is shown
        self.word = QLineEdit(placeholderText="a word to look for", clearButtonEnabled=True)
        self.method = QComboBox()
        self.most = SpinBox(minimum=2, maximum=_LARGEST, value=MOST, prefix="at most ", suffix=" items")
        self.run = push_button("Average map", "One map for each item, then their mean", primary=True)
        self.stop = push_button("Stop", "Stop; the average of the maps that were made stays")
        self.progress = QProgressBar(textVisible=False)
        self.note = WrappedLabel()
        self.mean = push_button("Mean", "What the maps have in common")
        self.deviation = push_button("Deviation", "Standard deviation: where the maps differ")
        self.map = FrameMap()
        self.caption = WrappedLabel()
        self.ranked = WrappedLabel("Differ most from the mean")
        self.strip = Filmstrip()
        self.left_out = WrappedLabel()
        self.export = push_button("Export…", "Write the average as a figure, or its arrays")
        self.learn = flat_button("Learn more", "Open the help page about this, with an example")
        self._name_all()
        self._lay_out()
        self._connect()
        self.show_result()

    def _name_all(self) -> None:
        self.word.setAccessibleName("Word")
        self.word.setToolTip("What the maps look for; Return makes their average")
        self.method.setAccessibleName("Method")
        self.method.setToolTip("How each map is made; only what the loaded model can do")
        self.most.setAccessibleName("Most items")
        self.most.setToolTip("At most so many items; of more, as many are taken, spread evenly")
        self.ranked.setToolTip(_DISTANCE)
        self.strip.setToolTip(_DISTANCE)
        self.strip.setAccessibleName("Items that differ most")
        self.strip.setFixedHeight(self.strip.sizeHint().height() + 8)
        self._measures = QButtonGroup(self)
        for button in (self.mean, self.deviation):
            button.setCheckable(True)
            self._measures.addButton(button)
        self.mean.setChecked(True)

    def _lay_out(self) -> None:
        inner = QWidget()
        column = QVBoxLayout(inner)
        column.setContentsMargins(8, 8, 8, 8)
        column.setSpacing(6)
        for asked in (self.word, self.method, self.most):
            column.addWidget(asked)
        column.addLayout(_row(self.run, self.progress, self.stop))
        column.addWidget(self.note)
        self._shown = QWidget()
        shown = QVBoxLayout(self._shown)
        shown.setContentsMargins(0, 0, 0, 0)
        shown.addLayout(_row(self.mean, self.deviation))
        for widget in (self.map, self.caption, self.ranked, self.strip, self.left_out, self.export):
            shown.addWidget(widget)
        column.addWidget(self._shown)
        column.addWidget(self.learn, 0, Qt.AlignmentFlag.AlignLeft)
        column.addStretch(1)
        self.setWidget(inner)
        self.setWidgetResizable(True)
        self.setFrameShape(QScrollArea.Shape.NoFrame)
        self.setHorizontalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAlwaysOff)

    def _connect(self) -> None:
        self.word.returnPressed.connect(self._ask)
        self.run.clicked.connect(self._ask)
        self.stop.clicked.connect(self.stopped)
        self.export.clicked.connect(self.export_wanted)
        self.learn.clicked.connect(self.learn_more)
        self._measures.buttonToggled.connect(self._on_measure)

    @property
    def measure(self) -> str:
        """What is shown: "mean" or "standard deviation"."""
        return "mean" if self.mean.isChecked() else "standard deviation"

    # --- showing ----------------------------------------------------------------------------------------
    def offer(
        self, methods: Mapping[str, str], usual: str, word: str, count: int, hindrance: str, *, selected: bool
    ) -> None:
        """Show what can be asked.

        Methods by key with the usual one, a word as long as none was typed, how many items there are, and
        what stands in the way.
        """
        self._offer_methods(methods, usual)
        if not self.word.isModified() and word != self.word.text():
            self.word.setText(word)
        self.run.setEnabled(not hindrance)
        of = "the selection" if selected else f"all {count:,} items"
        self.run.setText(f"Average map of {of}")
        if not self._running and self._average.result is None and self._average.error is None:
            self._say(hindrance)

    def _offer_methods(self, methods: Mapping[str, str], usual: str) -> None:
        self.method.setEnabled(len(methods) > 1)
        if list(methods) == [self.method.itemData(place) for place in range(self.method.count())]:
            return
        before = self.method.currentData()
        with QSignalBlocker(self.method):
            self.method.clear()
            for key, label in methods.items():
                self.method.addItem(label, key)
            chosen = before if before in methods else usual
            self.method.setCurrentIndex(max(0, self.method.findData(chosen)))

    def show_running(self, activity: Activity) -> None:
        """Show how far it is."""
        self._running = activity.running
        self.run.setVisible(not self._running)
        for widget in (self.progress, self.stop):
            widget.setVisible(self._running)
        if not self._running:
            self.show_result()
            return
        self.progress.setRange(0, 0 if activity.fraction is None else _STEPS)
        if activity.fraction is not None:
            self.progress.setValue(round(activity.fraction * _STEPS))
        self._say(activity.message or f"{activity.label}…")

    def show_result(self) -> None:
        """Show the average as far as it has come, or why there is none."""
        found, error = self._average.result, self._average.error
        self._shown.setVisible(found is not None)
        if not self._running:
            self._say(_words(found, "" if error is None else f"⚠ {error.message}"))
        if found is not None and found is not self._result:
            self._show_map(found)
            self._show_items(found)
        self._result = found

    def _say(self, words: str) -> None:
        self.note.setText(words)
        self.note.setVisible(bool(words))

    def _show_map(self, found: AverageMap) -> None:
        mean = self.measure == "mean"
        values = found.average.mean if mean else found.average.deviation
        signed = found.signed and mean
        colors = self._average.colors(signed=signed)
        self.map.set_map(values, found.average.count, colour_range(values, signed), colors)
        self.caption.setText(self._average.caption(self.measure))

    def _show_items(self, found: AverageMap) -> None:
        order = found.ranking
        rows = found.rows[order]
        badges = [_distance_words(float(distance)) for distance in found.distances[order]]
        self.strip.set_rows(rows, dict(zip(rows.tolist(), badges, strict=True)))
        self.left_out.setText(_left_out_words(found))
        self.left_out.setVisible(bool(found.left_out or found.undefined))

    # --- events -----------------------------------------------------------------------------------------
    def _on_measure(self) -> None:
        if self._average.result is not None:
            self._show_map(self._average.result)

    def _ask(self) -> None:
        if self.run.isEnabled():
            self.wanted.emit(self.word.text(), str(self.method.currentData() or ""), self.most.value())


def _words(found: AverageMap | None, failure: str) -> str:
    if found is None:
        return failure
    whole = found.total == found.asked and found.seconds_left is None and not found.left_out
    return " ".join(("" if whole else f"{scope_words(found)}.", *found.notes)).strip()


def _distance_words(distance: float) -> str:
    return "none" if math.isnan(distance) else f"{distance:.2f}"


def _left_out_words(found: AverageMap) -> str:
    parts = []
    if found.undefined:
        parts.append(f"No distance, the same everywhere: {', '.join(found.undefined[:_REASONS])}.")
    parts += [
        each.reason if each.name in each.reason else f"{each.name}: {each.reason}"
        for each in found.left_out[:_REASONS]
    ]
    if len(found.left_out) > _REASONS:
        parts.append(f"… and {len(found.left_out) - _REASONS:,} more without a map.")
    return "\n".join(parts)


def _row(*widgets: QWidget) -> QHBoxLayout:
    row = QHBoxLayout()
    for widget in widgets:
        row.addWidget(widget, 1)
    return row
