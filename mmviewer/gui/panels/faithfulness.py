"""How far can the map be believed? Curves, boxes, other methods, shuffled weights."""

from __future__ import annotations

import json
from pathlib import Path
from typing import ClassVar

import numpy as np
from PySide6.QtCore import QSignalBlocker, Qt
from PySide6.QtGui import QGuiApplication, QHideEvent, QPalette, QShowEvent
from PySide6.QtWidgets import (
    QCheckBox,
    QComboBox,
    QFileDialog,
    QFrame,
    QHBoxLayout,
    QLabel,
    QScrollArea,
    QVBoxLayout,
    QWidget,
)

from mmviewer.core.errors import ExportError, MMViewerError
from mmviewer.core.explain.measures import Curves, MethodAgreement, Scale
from mmviewer.core.media.files import write_atomically
from mmviewer.engine.protocol import ErrorReport
from mmviewer.gui.activities import Activity
from mmviewer.gui.buttons import push_button
from mmviewer.gui.controllers.faithfulness import Phase
from mmviewer.gui.panels.base import PANELS, Area, Panel
from mmviewer.gui.trust_model import (
    LEVELS,
    MeasuredRegion,
    agreement_words,
    area_words,
    as_csv,
    check_words,
    sentence,
)
from mmviewer.gui.view_model import token_words
from mmviewer.gui.widgets.curve_plot import CurveData, CurvePlot
from mmviewer.gui.widgets.elided_label import ElidedLabel
from mmviewer.gui.widgets.inline_note import InlineNote
from mmviewer.gui.widgets.measures import Measure, MeasureList
from mmviewer.gui.widgets.state_stack import StateStack
from mmviewer.gui.widgets.trust_badge import Level
from mmviewer.gui.widgets.verdict_line import VerdictLine
from mmviewer.gui.widgets.wrapped_label import WrappedLabel
from mmviewer.gui.words import seconds_in_words
from mmviewer.gui.workbench import Workbench

_REMOVALS = {
    "mean": ("the mean", "The mean colour of the picture, or the mean level of the sound."),
    "blur": ("a blur", "The same place without its details."),
    "noise": ("noise", "Random values with the mean and spread of the whole."),
}
_DELETION = (
    "The strongest parts of the map are taken away first. If the map is right, the score falls at once: low "
    "is good. The dashed line is the mean of random orders. It does not tell whether a thing is in its "
    "place, only what this score depends on; pictures with holes are unlike those a model was trained on."
)
_INSERTION = (
    "The strongest parts of the map are given back first to an emptied input. If the map is right, the score "
    "rises at once: high is good. The dashed line is the mean of random orders."
)
_WORK = ("trust", "agreement", "randomised")


@PANELS.add("faithfulness")
class FaithfulnessPanel(Panel):
    """What was measured of the map in the viewer, and what can be asked on top."""

    key: ClassVar[str] = "faithfulness"
    title: ClassVar[str] = "Trust"
    area: ClassVar[Area] = Area.RIGHT
    order: ClassVar[int] = 25
    icon: ClassVar[str] = "info"
    help: ClassVar[str] = "How far the map in the viewer can be believed, measured on this very input."
    help_page: ClassVar[str] = "faithfulness"

    def __init__(self, workbench: Workbench, parent: QWidget | None = None) -> None:
        super().__init__(workbench, parent)
        self._trust = workbench.faithfulness
        self.subject = ElidedLabel(role=QPalette.ColorRole.PlaceholderText, lines=2)
        self.verdict = VerdictLine()
        self.deletion = CurvePlot("Taking the strongest parts away", "share taken away", _DELETION)
        self.insertion = CurvePlot("Giving the strongest parts back", "share given back", _INSERTION)
        self.score = WrappedLabel()
        self.removal = _removal_box()
        self.live = QCheckBox("Measure every map I look at")
        self.live.setToolTip("Measures in the background, whenever the model has nothing else to do.")
        self.measure = push_button("Measure", "Measure the map that is shown.", primary=True)
        self.compare = push_button(
            "Compare with other methods", "Ask how far the maps of the other methods agree with this one."
        )
        self.shuffle = push_button("Check with shuffled weights", _shuffle_tip(None))
        self.check = VerdictLine()
        self.save = push_button("Save…", "Save the numbers as CSV, or all that is known as JSON.")
        self.copy = push_button("Copy", "Copy all numbers as JSON.")
        self.note = InlineNote()
        self._numbers, self._others = _Slot(), _Slot()
        self._content = QScrollArea()
        self.stack = StateStack(self._content)
        self._lay_out()
        self._connect()
        self._show()

    # --- construction ----------------------------------------------------------------------------------
    def _lay_out(self) -> None:
        inside = QWidget()
        column = QVBoxLayout(inside)
        column.setContentsMargins(12, 8, 12, 10)
        column.setSpacing(8)
        above: tuple[QWidget, ...] = (self.subject, self.verdict, self.note, self.measure)
        for widget in (*above, self.score, self.deletion, self.insertion):
            column.addWidget(widget)
        row = QHBoxLayout()
        words = QLabel("Replace what is taken away by")
        words.setBuddy(self.removal)
        row.addWidget(words)
        row.addWidget(self.removal, 1)
        column.addLayout(row)
        column.addWidget(self._numbers)
        column.addWidget(self.compare)
        column.addWidget(self._others)
        column.addWidget(self.shuffle)
        column.addWidget(self.check)
        foot = QHBoxLayout()
        foot.addWidget(self.copy)
        foot.addWidget(self.save)
        foot.addStretch(1)
        column.addLayout(foot)
        column.addWidget(self.live)
        column.addStretch(1)
        self._content.setWidget(inside)
        self._content.setWidgetResizable(True)
        self._content.setFrameShape(QFrame.Shape.NoFrame)
        self._content.setHorizontalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAlwaysOff)
        whole = QVBoxLayout(self)
        whole.setContentsMargins(0, 0, 0, 0)
        whole.addWidget(self.stack)

    def _connect(self) -> None:
        trust, bench = self._trust, self.workbench
        trust.changed.connect(self._show)
        bench.activities.changed.connect(self._on_activity)
        self.removal.activated.connect(lambda: trust.set_removal(self.removal.currentData()))
        self.live.toggled.connect(trust.set_live)
        self.measure.clicked.connect(trust.measure)
        self.compare.clicked.connect(trust.compare)
        self.shuffle.clicked.connect(trust.check_randomised)
        self.copy.clicked.connect(self._copy)
        self.save.clicked.connect(self._save)
        self.note.cancelled.connect(self._cancel)
        self.note.retried.connect(self._retry)

    def showEvent(self, event: QShowEvent) -> None:
        super().showEvent(event)
        self._show()

    def hideEvent(self, event: QHideEvent) -> None:
        super().hideEvent(event)
        self.note.clear()

    # --- from the controller ---------------------------------------------------------------------------
    def _show(self) -> None:
        trust = self._trust
        with QSignalBlocker(self.live):
            self.live.setChecked(trust.live)
        self.removal.setCurrentIndex(self.removal.findData(trust.removal))
        subject, curves = trust.subject, trust.curves
        if subject is None:
            self.stack.show_empty(
                "",
                "Caption a picture or describe something in it: how far its map can be believed is measured "
                "here.",
            )
            return
        self.stack.show_content()
        tokens = token_words(subject.sequence, subject.tokens) or "whole text"
        self.subject.set_text(f"{tokens} · {subject.maps.description}")
        self._show_curves(curves)
        self._numbers.put(_numbers(curves, trust.regions()))
        self._others.put(_agreements(trust.agreements))
        self.check.say("" if trust.check is None else check_words(trust.check), _check_level(trust.check))
        self.shuffle.setToolTip(_shuffle_tip(trust.check_seconds))
        if self.isVisible():
            trust.estimate_check()

    def _show_curves(self, curves: Curves | None) -> None:
        trust = self._trust
        self.measure.setVisible(trust.phase in (Phase.OFF, Phase.FAILED))
        for widget in (self.copy, self.save):
            widget.setEnabled(curves is not None)
        if curves is None:
            words = {
                Phase.MEASURING: "Measuring: parts of the input are taken away and given back…",
                Phase.OFF: "Not measured yet.",
                Phase.FAILED: f"It cannot be measured: {trust.error}",
            }.get(trust.phase, "")
            self.verdict.say(words, Level.WAITING)
            self.score.setText("")
            for plot in (self.deletion, self.insertion):
                plot.set_data(None)
            return
        self.verdict.say(sentence(curves), LEVELS[curves.verdict])
        self.score.setText(f"Score: {curves.score}.")
        every = np.concatenate((curves.deletion, curves.insertion, curves.random_deletion))
        low, high = float(every.min()), float(every.max())
        if curves.scale is Scale.PROBABILITY:
            low, high = 0.0, max(high, 0.01)
        self.deletion.set_data(CurveData(curves.shares, curves.deletion, curves.random_deletion, low, high))
        self.insertion.set_data(
            CurveData(curves.shares, curves.insertion, curves.random_insertion, low, high)
        )

    def _on_activity(self, key: str, activity: Activity) -> None:
        if key not in _WORK or not self.isVisible():
            return
        running = [self.workbench.activity(each) for each in _WORK[1:]]
        busy = next((each for each in running if each.running), None)
        failed = next((each.error for each in running if each.error is not None), None)
        if busy is not None:
            share = "" if busy.fraction is None else f" {busy.fraction:.0%}"
            self.note.show_waiting(f"{busy.message or busy.label}…{share}")
        elif failed is not None:
            self.note.show_failed(failed.message, failed.details)
        else:
            self.note.clear()
        if key == "trust":
            self._show_curves(self._trust.curves)

    # --- to the controller -----------------------------------------------------------------------------
    def _cancel(self) -> None:
        for key in _WORK[1:]:
            self.workbench.cancel(key)

    def _retry(self) -> None:
        asks = {"agreement": self._trust.compare, "randomised": self._trust.check_randomised}
        for key, ask in asks.items():
            if self.workbench.activity(key).error is not None:
                ask()

    def _copy(self) -> None:
        QGuiApplication.clipboard().setText(self._json())
        self.workbench.notice.emit("Copied the numbers as JSON.", "info")

    def _save(self) -> None:
        curves = self._trust.curves
        if curves is None:
            return
        name, _ = QFileDialog.getSaveFileName(
            self, "Save the numbers", "trust.csv", "The curves as CSV (*.csv);;All numbers as JSON (*.json)"
        )
        if name:
            self.write(Path(name))

    def write(self, path: Path) -> None:
        """Write the curves as CSV, or all that is known as JSON, by the ending of the file."""
        curves = self._trust.curves
        if curves is None:
            return
        text = self._json() if path.suffix.lower() == ".json" else as_csv(curves)
        try:
            write_atomically(path, text.encode("utf-8"), ExportError)
        except MMViewerError as error:
            self.workbench.report(ErrorReport(type(error).__name__, error.message))
            return
        self.workbench.notice.emit(f"Wrote {path}", "info")

    def _json(self) -> str:
        subject, known = self._trust.subject, self._trust.facts()
        about: dict[str, object] = {}
        if subject is not None:
            tokens = [subject.maps.tokens[index].text for index in subject.tokens]
            about = {
                "item": subject.item.name,
                "text": subject.sequence.text.strip(),
                "tokens": tokens,
                "map": subject.maps.description,
            }
        return json.dumps({**about, **(known or {})}, ensure_ascii=False, indent=1) + "\n"


class _Slot(QWidget):
    """Holds one list of figures, or nothing."""

    def __init__(self) -> None:
        super().__init__()
        self._list: QWidget | None = None
        self._measures: tuple[Measure, ...] = ()
        column = QVBoxLayout(self)
        column.setContentsMargins(0, 0, 0, 0)
        self.hide()

    @property
    def measures(self) -> tuple[Measure, ...]:
        """What is listed."""
        return self._measures

    def put(self, measures: tuple[Measure, ...]) -> None:
        """List other figures."""
        if measures == self._measures:
            return
        self._measures = measures
        layout = self.layout()
        if self._list is not None and layout is not None:
            layout.removeWidget(self._list)
            self._list.hide()
            self._list.deleteLater()
            self._list = None
        if measures and layout is not None:
            self._list = MeasureList(measures)
            layout.addWidget(self._list)
        self.setVisible(bool(measures))


def _numbers(curves: Curves | None, regions: tuple[MeasuredRegion, ...]) -> tuple[Measure, ...]:
    """Areas and regions in rows."""
    rows: list[Measure] = []
    if curves is not None:
        share = curves.scale is Scale.PROBABILITY
        chance = area_words(curves.random_area)
        for name, area, note in (
            ("Deletion, low is good", curves.deletion_area, _DELETION),
            ("Insertion, high is good", curves.insertion_area, _INSERTION),
        ):
            bar, mark = (area, curves.random_area) if share else (None, None)
            rows.append(Measure(name, area_words(area), bar, mark, chance, f"Area under the curve. {note}"))
    for region in regions:
        name, found = region.annotation.label, region.measure
        note = (
            "Share of the map's weight inside the region, beside the share of the input that it covers; and "
            "whether the strongest place of the map, its peak, lies inside: the pointing game. A map can lie "
            "in the right place and still not be what the score depends on, and the reverse."
        )
        value = f"{found.mass:.2f}, peak {'inside' if found.hit else 'outside'}"
        chance = f"{found.chance:.2f}"
        rows.append(Measure(f"In “{name}”", value, found.mass, found.chance, chance, note))
    return tuple(rows)


def _agreements(found: tuple[MethodAgreement, ...]) -> tuple[Measure, ...]:
    note = (
        "Spearman's rank correlation of the two maps: 1 the same order of places, 0 none in common, −1 the "
        "opposite order. Agreement is no proof: methods can be wrong together."
    )
    rows = []
    for each in found:
        if each.correlation is None:
            about = f"about {seconds_in_words(each.seconds)}"
            why = each.reason or f"It would take {about}: choose it as the method to see its map."
            rows.append(Measure(each.label, "left out" if each.reason else f"left out, {about}", note=why))
        else:
            words = f"{each.correlation:+.2f} {agreement_words(each)}".replace("-", "−")
            rows.append(Measure(each.label, words, max(each.correlation, 0.0), note=note))
    return tuple(rows)


def _check_level(check: object) -> Level:
    mean = getattr(check, "mean", None)
    if mean is None:
        return Level.WAITING
    return Level.GOOD if mean < 0.3 else Level.MIXED if mean < 0.5 else Level.BAD


def _shuffle_tip(seconds: float | None) -> str:
    about = "" if seconds is None else f" Takes about {seconds_in_words(max(seconds, 0.1))}."
    return (
        "Compute the same map by two copies of the model whose weights are shuffled, so that they know "
        "nothing. If the map stays the same, it shows nothing that was learnt." + about
    )


def _removal_box() -> QComboBox:
    box = QComboBox()
    box.setToolTip("What stands in for parts that are taken away; the verdict may depend on it.")
    for key, (words, tip) in _REMOVALS.items():
        box.addItem(words, key)
        box.setItemData(box.count() - 1, tip, Qt.ItemDataRole.ToolTipRole)
    return box
