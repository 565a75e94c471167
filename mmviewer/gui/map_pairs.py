"""In the Measures page: which column tells what belongs together, and how well partners are found."""

from __future__ import annotations

from collections.abc import Sequence

from PySide6.QtCore import QSignalBlocker, Signal
from PySide6.QtWidgets import QComboBox, QLabel, QVBoxLayout, QWidget

from mmviewer.engine.protocol_structure import PairMeasures, PairRetrieval
from mmviewer.gui.buttons import push_button
from mmviewer.gui.widgets.measures import Measure, MeasureList
from mmviewer.gui.widgets.painting import number
from mmviewer.gui.widgets.wrapped_label import WrappedLabel

_KINDS = ("images", "sounds", "texts")
_NONE_FITS = (
    "To measure pairs, a column must tell by equal values which items belong together, such as the number of"
    " a picture and its caption; add a table with one, or label items by hand."
)
_ALIGNMENT = (
    "Mean squared distance of items that belong together: 0 if each lies on its partner, 2 if unrelated."
    " Chance: the same items paired at random."
)
_RANK = "Where the best partner stands in the ranking, for the middle one of all queries; 1 is best."


class PairsBox(QWidget):
    """A column to pair by, a button, and what was measured.

    Signals
    -------
    wanted(str)
        Name of the column.
    """

    wanted = Signal(str)

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.column = QComboBox()
        self.column.setAccessibleName("Pairs by")
        self.column.setToolTip("The column whose equal values tell which items belong together")
        self.column.setSizeAdjustPolicy(QComboBox.SizeAdjustPolicy.AdjustToMinimumContentsLengthWithIcon)
        self.column.setMinimumContentsLength(8)
        self.measure = push_button(
            "Measure pairs", "How often an item's partner is among its nearest (R@k), and how near it lies"
        )
        self.note = WrappedLabel()
        self._found: tuple[QWidget, ...] = ()
        self._column = QVBoxLayout(self)
        self._column.setContentsMargins(0, 10, 0, 0)
        for widget in (self.column, self.measure, self.note):
            self._column.addWidget(widget)
        self.measure.clicked.connect(lambda: self.wanted.emit(str(self.column.currentData())))
        self.set_columns(())

    def set_columns(self, names: Sequence[str]) -> None:
        """Offer other columns; the one that was chosen stays, where it is still there."""
        with QSignalBlocker(self.column):
            chosen = self.column.currentData()
            self.column.clear()
            for name in names:
                self.column.addItem(f"pairs by: {name}", name)
            self.column.setCurrentIndex(max(0, self.column.findData(chosen)))
        for widget in (self.column, self.measure):
            widget.setVisible(bool(names))
        if not names:
            self.show_found("", None)
            self.note.setText(_NONE_FITS)
        elif self.note.text() == _NONE_FITS:
            self.note.setText("")
        self.note.setVisible(bool(self.note.text()))

    def show_found(self, column: str, found: PairMeasures | None) -> None:
        """Show what was measured by a column; None for nothing."""
        for widget in self._found:
            self._column.removeWidget(widget)
            widget.deleteLater()
        self._found = () if found is None else tuple(_widgets(found))
        for widget in self._found:
            self._column.insertWidget(self._column.count() - 1, widget)
        words = "" if found is None else f"{found.pairs:,} pairs by “{column}”. {_searched(found)}"
        self.note.setText(words)
        self.note.setVisible(bool(words))


def pair_measures(way: PairRetrieval) -> list[Measure]:
    """The rows of one direction: R@k and the median rank, each with what chance reaches."""
    asked, found = _KINDS[way.asked], _KINDS[way.found]
    rows = []
    for (count, share), (_, chance) in zip(way.at, way.by_chance, strict=True):
        nearest = "the nearest one" if count == 1 else f"one of the {count} nearest"
        note = (
            f"Recall at {count}: how often {nearest} of the {found} belongs to the {asked[:-1]} asked with."
        )
        rows.append(Measure(f"R@{count}", _percent(share), share, chance, _percent(chance), note))
    median, by_chance = f"{way.median_rank:,g}", f"{way.median_by_chance:,g}"
    return [*rows, Measure("Median rank", median, chance_words=by_chance, note=_RANK)]


def alignment_measure(found: PairMeasures) -> Measure:
    """The row of the alignment."""
    chance = number(found.alignment_by_chance)
    return Measure("Alignment", number(found.alignment), chance_words=chance, note=_ALIGNMENT)


def direction_words(way: PairRetrieval) -> str:
    """What is searched by what."""
    return f"{_KINDS[way.found]} found by {_KINDS[way.asked]}".capitalize()


def _widgets(found: PairMeasures) -> list[QWidget]:
    widgets: list[QWidget] = [MeasureList([alignment_measure(found)])]
    for way in found.retrieval:
        heading = QLabel(direction_words(way))
        heading.setObjectName("heading")
        heading.setToolTip(f"Each of {way.queries:,} is a question to all {way.targets:,} of the others.")
        widgets += [heading, MeasureList(pair_measures(way))]
    return widgets


def _searched(found: PairMeasures) -> str:
    counts = [
        f"{way.queries:,} {_KINDS[way.asked]} among {way.targets:,} {_KINDS[way.found]}"
        for way in found.retrieval
    ]
    return f"Searched: {'; '.join(counts)}."


def _percent(share: float) -> str:
    return f"{share:.0%}" if share > 0.9995 else f"{share:.1%}"
