"""How do maps differ? Words, methods, layers, items and models side by side."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import ClassVar

from PySide6.QtCore import QSignalBlocker, Qt, QTimer
from PySide6.QtGui import QKeyEvent, QPalette
from PySide6.QtWidgets import QComboBox, QHBoxLayout, QLabel, QLineEdit, QVBoxLayout, QWidget

from mmviewer.core.compare.plan import WHOLE, AxisKind, CellMap, Entry, Place, scale_words, scales
from mmviewer.gui.activities import Activity
from mmviewer.gui.buttons import icon_button, push_button
from mmviewer.gui.compare_model import AXIS_WORDS, CompareChoice
from mmviewer.gui.compare_tiles import Tiles, time_words
from mmviewer.gui.controllers.compare import KEY, CompareController
from mmviewer.gui.map_style import map_style
from mmviewer.gui.panels.base import PANELS, Area, Panel
from mmviewer.gui.widgets.check_picker import CheckPicker, Tick
from mmviewer.gui.widgets.elided_label import ElidedLabel
from mmviewer.gui.widgets.flow_layout import FlowLayout
from mmviewer.gui.widgets.small_multiples import SmallMultiples
from mmviewer.gui.widgets.state_stack import StateStack
from mmviewer.gui.widgets.wrapped_label import WrappedLabel
from mmviewer.gui.workbench import Workbench

_REFRESH_MS = 40  # answers that come together are painted together
_TYPING_MS = 400
_USUAL = {AxisKind.WORDS: "All content words", AxisKind.ITEMS: "Some like this one"}


@PANELS.add("compare")
class ComparePanel(Panel):
    """Takes the place of the viewer while it is open; a click on a map opens it there."""

    key: ClassVar[str] = "compare"
    title: ClassVar[str] = "Compare"
    area: ClassVar[Area] = Area.CENTRE
    order: ClassVar[int] = 20
    icon: ClassVar[str] = "heads"
    help: ClassVar[str] = "Maps side by side: words, methods, layers, items, models; click one to open it."
    help_page: ClassVar[str] = "compare"

    def __init__(self, workbench: Workbench, parent: QWidget | None = None) -> None:
        super().__init__(workbench, parent)
        self.compare: CompareController = workbench.compare
        self.axes = (self._axis_box("Rows"), self._axis_box("Columns"))
        self.pickers = (CheckPicker(), CheckPicker())
        self.swap = push_button("⇄", "Exchange rows and columns")
        self.text = QLineEdit()
        self.word = QComboBox()
        self.method = QComboBox()
        self.scale = QComboBox()
        self.fit = push_button(
            "Fit", "Show whole pictures again (0); Ctrl and the wheel zoom all maps at once"
        )
        self.export = push_button("Export…", "Write all maps as one figure, or as numbers (Ctrl+E).")
        self.close_button = icon_button("close", "Close the comparison", "Back to the viewer (Esc).")
        self.subject = ElidedLabel("", QPalette.ColorRole.PlaceholderText)
        self.note = WrappedLabel()
        self.halt = push_button("Stop", "Compute no more maps; those that are there stay")
        self.costly = push_button("Compute", "")
        self.grid = SmallMultiples()
        self.stack = StateStack(self.grid)
        self._tiles = Tiles(self.compare, self.state)
        self._soon = QTimer(self, singleShot=True, interval=_REFRESH_MS)
        self._typing = QTimer(self, singleShot=True, interval=_TYPING_MS)
        self._set_up()
        self._lay_out()
        self._connect()
        self._show_styles()

    def release(self) -> None:
        """Ask for nothing any more."""
        self._soon.stop()
        self._typing.stop()
        super().release()

    def keyPressEvent(self, event: QKeyEvent) -> None:
        if event.key() == Qt.Key.Key_Escape:
            self.compare.close()
        else:
            super().keyPressEvent(event)

    # --- construction ----------------------------------------------------------------------------------
    def _axis_box(self, name: str) -> QComboBox:
        box = QComboBox()
        box.setAccessibleName(name)
        box.setToolTip(f"What differs from one of the {name.lower()} to the next")
        for kind, (label, tip) in AXIS_WORDS.items():
            box.addItem(label, kind)
            box.setItemData(box.count() - 1, tip, Qt.ItemDataRole.ToolTipRole)
        return box

    def _set_up(self) -> None:
        self.text.setPlaceholderText("Its own caption; or type what to look for…")
        self.text.setToolTip(
            "Empty: the words that the model writes itself. What is typed is looked for in all items instead."
        )
        self.text.setAccessibleName("What to look for")
        self.text.setClearButtonEnabled(True)
        self.text.setMinimumWidth(230)
        self.word.setAccessibleName("Word")
        self.word.setToolTip("The word whose maps are shown in all cells")
        for box in (self.word, self.method):
            box.setSizeAdjustPolicy(QComboBox.SizeAdjustPolicy.AdjustToContents)
            box.setMinimumContentsLength(9)
        self.method.setAccessibleName("Method")
        self.method.setToolTip("How all maps are made")
        self.scale.setAccessibleName("Colour scale")
        self.scale.addItem("Shared colours", True)
        self.scale.addItem("Own colours", False)
        self.scale.setToolTip(
            "Shared: the same colour is the same number, among maps whose numbers are of one kind. "
            "Own: each map from its least to its largest."
        )
        self.swap.setAccessibleName("Exchange rows and columns")

    def _lay_out(self) -> None:
        head = QWidget()
        flow = FlowLayout(head, spacing=6)
        for name, box, picker in zip(("Rows", "Columns"), self.axes, self.pickers, strict=True):
            flow.addWidget(_together(QLabel(name), box, picker))
            if box is self.axes[0]:
                flow.addWidget(self.swap)
        for widget in (self.text, self.word, self.method, self.scale, self.fit, self.export):
            flow.addWidget(widget)
        top = QHBoxLayout()
        top.setSpacing(6)
        top.addWidget(head, 1)
        top.addWidget(self.close_button, 0, Qt.AlignmentFlag.AlignTop)
        foot = QHBoxLayout()
        foot.addWidget(self.note, 1)
        foot.addWidget(self.costly)
        foot.addWidget(self.halt)
        column = QVBoxLayout(self)
        column.setContentsMargins(12, 8, 12, 8)
        column.setSpacing(6)
        column.addLayout(top)
        column.addWidget(self.subject)
        column.addWidget(self.stack, 1)
        column.addLayout(foot)

    def _connect(self) -> None:
        compare = self.compare
        compare.changed.connect(self._soon.start)
        self._soon.timeout.connect(self._refresh)
        self.watch(self.state.view_changed, lambda _view: self._show_styles())
        self.workbench.activities.changed.connect(self._on_activity)
        for number, (box, picker) in enumerate(zip(self.axes, self.pickers, strict=True)):
            box.activated.connect(lambda _row, number=number: self._choose_axis(number))
            picker.picked.connect(lambda keys, number=number: self._choose_entries(number, keys))
        self.swap.clicked.connect(self._exchange)
        self.text.textEdited.connect(lambda _text: self._typing.start())
        self.text.textChanged.connect(lambda text: None if text else self._typing.start())
        self.text.returnPressed.connect(self._take_text)
        self._typing.timeout.connect(self._take_text)
        self.word.activated.connect(lambda: self._choose(word=self.word.currentData()))
        self.method.activated.connect(lambda: self._choose(method=self.method.currentData()))
        self.scale.activated.connect(lambda: self._choose(shared=self.scale.currentData()))
        self.fit.clicked.connect(self.grid.fit)
        self.export.clicked.connect(self.workbench.export_requested)
        self.close_button.clicked.connect(compare.close)
        self.halt.clicked.connect(lambda: compare.go_on() if compare.stopped else compare.stop())
        self.costly.clicked.connect(self._compute_costly)
        self.grid.opened.connect(lambda row, column: compare.show((row, column)))
        self.grid.wanted.connect(lambda row, column: compare.want((row, column)))
        self.stack.cancelled.connect(compare.stop)

    # --- from the session --------------------------------------------------------------------------------
    def _refresh(self) -> None:
        if not self.compare.is_open:
            return
        self._show_choice(self.compare.choice)
        plan = self.compare.plan
        if plan.obstacle:
            self._show_note("")
            self.stack.show_empty("", plan.obstacle)
            return
        if not plan.questions:
            self._show_missing()
            return
        cells = self._made()
        ends = scales(cells, shared=self.compare.choice.shared)
        self._show_styles()
        self.grid.set_matrix(
            [self._name(entry) for entry in plan.rows],
            [self._name(entry) for entry in plan.columns],
            {place: self._tiles.tile(place, cells.get(place), ends.get(place)) for place in plan.questions},
        )
        self.stack.show_content()
        self._show_note(scale_words(cells, shared=self.compare.choice.shared) if cells else "")
        self._show_subject()

    def _made(self) -> Mapping[Place, CellMap]:
        found = {place: self.compare.cell(place) for place in self.compare.plan.questions}
        return {place: cell for place, cell in found.items() if isinstance(cell, CellMap)}

    def _show_choice(self, choice: CompareChoice) -> None:
        """Let the controls say what is compared."""
        options = self.compare.plan.options
        for kind, box, picker in zip(choice.axes, self.axes, self.pickers, strict=True):
            with QSignalBlocker(box):
                box.setCurrentIndex(box.findData(kind))
            model_row = box.findData(AxisKind.MODELS)
            _enable(box, model_row, len(options.get(AxisKind.MODELS, ())) > 1 or kind is AxisKind.MODELS)
            found = options.get(kind, ())
            ticks = [
                Tick(option.entry.key, option.entry.label, option.tip, option.content) for option in found
            ]
            entries = self.compare.plan.rows if kind is choice.rows else self.compare.plan.columns
            picker.set_subject(kind.value, _USUAL.get(kind, ""))
            picker.set_ticks(ticks, [entry.key for entry in entries])
        if not self.text.hasFocus() and self.text.text() != choice.text:
            with QSignalBlocker(self.text):
                self.text.setText(choice.text)
        self._show_words(choice)
        with QSignalBlocker(self.scale):
            self.scale.setCurrentIndex(self.scale.findData(choice.shared))

    def _show_words(self, choice: CompareChoice) -> None:
        """Which word is meant, where words are neither rows nor columns; likewise the method."""
        options, questions = self.compare.plan.options, self.compare.plan.questions
        words = [(each.entry.label, each.entry.key) for each in options.get(AxisKind.WORDS, ())]
        if choice.word not in {key for _, key in words}:
            words.append((choice.word or "whole text", choice.word))
        self.word.setVisible(AxisKind.WORDS not in choice.axes)
        _fill(self.word, words, choice.word)
        methods = [(each.entry.label, each.entry.key) for each in options.get(AxisKind.METHODS, ())]
        used = next((question.spec.method for question in questions.values()), choice.method)
        self.method.setVisible(AxisKind.METHODS not in choice.axes and bool(methods))
        _fill(self.method, methods, used)

    def _show_missing(self) -> None:
        activity = self.workbench.activity(KEY)
        self._show_note("")
        if activity.running:
            self.stack.show_waiting(f"{activity.label}… {activity.message}".strip(), activity.fraction)
        elif self.compare.stopped:
            self.stack.show_empty("", "Stopped. Press Go on to continue.")
        elif (error := self.compare.obstacle_error()) is not None:
            self.stack.show_failed(error.message, error.details)
        else:
            self.stack.show_empty("", "Choose at least one row and one column above.")

    def _show_note(self, words: str) -> None:
        """How colours compare, what is under way, and what waits for a click."""
        done, whole = self.compare.progress()
        running, stopped = self.compare.running is not None, self.compare.stopped
        activity = self.workbench.activity(KEY)
        parts = [words]
        if running and activity.running:
            percent = f" {activity.fraction:.0%}" if activity.fraction else ""
            parts.insert(0, f"{done} of {whole} maps · {activity.label}{percent}…")
        elif stopped:
            parts.insert(0, f"Stopped at {done} of {whole} maps.")
        self.note.setText(" ".join(part for part in parts if part))
        self.halt.setVisible(running or stopped)
        self.halt.setText("Go on" if stopped else "Stop")
        self._show_costly()

    def _show_costly(self) -> None:
        sources = {
            self.compare.plan.questions[place].source: self.compare.estimate(place)
            for place in self.compare.plan.questions
            if self.compare.waits_for_click(place)
        }
        seconds = sum(estimate.seconds for estimate in sources.values() if estimate is not None)
        self.costly.setVisible(bool(sources))
        self.costly.setText(f"Compute the rest ({time_words(seconds)})")
        self.costly.setToolTip(
            "Some methods pass through the model very often, so they wait to be asked for."
        )

    def _show_subject(self) -> None:
        items = {question.item_id for question in self.compare.plan.questions.values()}
        parts = []
        if len(items) == 1:
            item = self.state.item(next(iter(items)))
            parts.append(item.name if item else "")
        text = self.compare.shown_text()
        if text:
            parts.append(f"“{text}”")
        self.subject.set_text(" · ".join(part for part in parts if part))

    def _name(self, entry: Entry) -> tuple[str, str]:
        """What is written beside a row or above a column, and its tooltip."""
        options = self.compare.plan.options.get(entry.kind, ())
        tip = next((option.tip for option in options if option.entry.key == entry.key), "")
        return entry.label, tip or entry.label

    def _show_styles(self) -> None:
        view = self.state.view
        self.grid.set_styles(map_style(view, False), map_style(view, True))

    def _on_activity(self, key: str, _activity: Activity) -> None:
        if key == KEY:
            self._soon.start()

    # --- to the comparison -----------------------------------------------------------------------------
    def _choose(self, **changes: object) -> None:
        self.compare.choose(replace(self.compare.choice, **changes))  # type: ignore[arg-type]

    def _choose_axis(self, number: int) -> None:
        self.compare.choose(self.compare.choice.with_axis(number, AxisKind(self.axes[number].currentData())))

    def _choose_entries(self, number: int, keys: tuple[str, ...]) -> None:
        choice = self.compare.choice
        self.compare.choose(choice.with_picked(choice.axes[number], keys))

    def _exchange(self) -> None:
        choice = self.compare.choice
        self.compare.choose(replace(choice, rows=choice.columns, columns=choice.rows))

    def _take_text(self) -> None:
        self._typing.stop()
        choice, text = self.compare.choice, " ".join(self.text.text().split())
        if text != choice.text:
            picked = dict(choice.picked)
            picked.pop(AxisKind.WORDS, None)  # of the former text
            self.compare.choose(replace(choice, text=text, word=WHOLE, picked=picked))

    def _compute_costly(self) -> None:
        for place in self.compare.plan.questions:
            if self.compare.waits_for_click(place):
                self.compare.want(place)


def _together(*widgets: QWidget) -> QWidget:
    """Widgets that a break of the line must not part."""
    group = QWidget()
    row = QHBoxLayout(group)
    row.setContentsMargins(0, 0, 0, 0)
    row.setSpacing(4)
    for widget in widgets:
        row.addWidget(widget)
    return group


def _fill(box: QComboBox, lines: list[tuple[str, str]], chosen: str) -> None:
    """Show other lines in a box, and the chosen one; emits nothing."""
    shown = [(box.itemText(row), box.itemData(row)) for row in range(box.count())]
    with QSignalBlocker(box):
        if lines != shown:
            box.clear()
            for label, key in lines:
                box.addItem(label, key)
        box.setCurrentIndex(max(0, box.findData(chosen)))


def _enable(box: QComboBox, row: int, enabled: bool) -> None:
    item = box.model().item(row)  # type: ignore[attr-defined]
    item.setEnabled(enabled)
