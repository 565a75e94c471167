"""What is it? Zero-shot scores of the chosen item, and of all items, against typed labels."""

from __future__ import annotations

import math
from typing import ClassVar

import numpy as np
from PySide6.QtCore import QSignalBlocker, Qt, QTimer
from PySide6.QtGui import QGuiApplication, QPalette
from PySide6.QtWidgets import (
    QButtonGroup,
    QComboBox,
    QHBoxLayout,
    QLabel,
    QPlainTextEdit,
    QPushButton,
    QStackedWidget,
    QVBoxLayout,
    QWidget,
)

from mmviewer.core.media.looks import looks_photographic
from mmviewer.core.models.builtin import BUILT_IN, PHOTO_MODEL, STARTER
from mmviewer.core.types import Capability, Modality, ModelInfo, Scores
from mmviewer.gui.activities import Activity
from mmviewer.gui.buttons import icon_button, push_button
from mmviewer.gui.label_text import TEMPLATE_PRESETS, fill, parse_labels, parse_templates, quoted
from mmviewer.gui.panels.base import PANELS, Area, Panel
from mmviewer.gui.widgets.elided_label import ElidedLabel
from mmviewer.gui.widgets.label_table import LabelTable
from mmviewer.gui.widgets.score_bars import ScoreBars, ScoreRow
from mmviewer.gui.widgets.state_stack import StateStack
from mmviewer.gui.widgets.wrapped_label import WrappedLabel
from mmviewer.gui.workbench import Workbench

_THROTTLE_MS = 60
_PATIENCE = 6  # throttle periods to wait for running scores before newer labels replace them
_EXPLAIN = {
    "softmax": "softmax: shares among these labels, they sum to 1",
    "sigmoid": "sigmoid: each label judged on its own",
}
_WHERE = "Double-click or Enter: see where the model looks for it"
_TEMPLATE_HELP = (
    "Text around the label, as CLIP-like models were trained on sentences: {} is the label's place. "
    "Several templates, separated by |, are averaged (an ensemble)."
)


@PANELS.add("labels")
class LabelsPanel(Panel):
    """Labels and templates above, bars or table below; acts while one types."""

    key: ClassVar[str] = "labels"
    title: ClassVar[str] = "Labels"
    area: ClassVar[Area] = Area.RIGHT
    order: ClassVar[int] = 10
    icon: ClassVar[str] = "labels"
    help: ClassVar[str] = "How well each of your labels fits the item, without any training (zero-shot)."
    help_page: ClassVar[str] = "scores"

    def __init__(self, workbench: Workbench, parent: QWidget | None = None) -> None:
        super().__init__(workbench, parent)
        self.editor = self._make_editor()
        self.template = self._make_template()
        self.starter = push_button("Starter labels", "Use the labels that the model was made for")
        self.note = ElidedLabel(role=QPalette.ColorRole.PlaceholderText)
        self.photo = self._make_photo_hint()
        self.bars = ScoreBars()
        self.table = LabelTable()
        self.views = QStackedWidget()
        self.views.addWidget(self.bars)
        self.views.addWidget(self.table)
        self.stack = StateStack(self.views)
        self.explanation = ElidedLabel(role=QPalette.ColorRole.PlaceholderText)
        self._lay_out()

        self._typing = QTimer(self, singleShot=True, interval=_THROTTLE_MS)
        self._typed, self._waited = False, 0
        self._handing_on = False
        self._typing.timeout.connect(self._take_typed)
        self.editor.textChanged.connect(self._on_typed)
        self.template.currentTextChanged.connect(self._on_typed)
        self.starter.clicked.connect(self._use_starter_labels)
        self.stack.acted.connect(self._on_stack_action)
        self.stack.cancelled.connect(lambda: workbench.cancel("scores"))
        self.bars.activated.connect(self._ask_where)
        self.table.item_chosen.connect(workbench.choose)
        workbench.activities.changed.connect(self._on_activity)
        self.watch(self.state.labels_changed, self._on_labels)
        self.watch(self.state.scores_changed, lambda _scores: self._show())
        self.watch(self.state.current_changed, lambda _item: self._show())
        self.watch(self.state.items_changed, lambda _items: self._show())
        self.watch(self.state.model_changed, lambda _model: self._show())
        self._on_labels(self.state.labels, self.state.templates)

    def setFocus(self) -> None:  # type: ignore[override]
        """Focus the field that one types into."""
        self.editor.setFocus(Qt.FocusReason.OtherFocusReason)

    # --- layout ---------------------------------------------------------------------------------------
    def _make_editor(self) -> QPlainTextEdit:
        editor = QPlainTextEdit()
        editor.setPlaceholderText("rabbit, bicycle, dog …\none a line, or with commas")
        editor.setAccessibleName("Labels")
        editor.setToolTip("Labels to choose among: one a line or with commas; quote a label that has a comma")
        editor.setTabChangesFocus(True)
        editor.setFixedHeight(4 * editor.fontMetrics().lineSpacing() + 16)
        return editor

    def _make_template(self) -> QComboBox:
        template = QComboBox(editable=True)
        template.addItems(TEMPLATE_PRESETS)
        template.setInsertPolicy(QComboBox.InsertPolicy.NoInsert)
        template.setSizeAdjustPolicy(QComboBox.SizeAdjustPolicy.AdjustToMinimumContentsLengthWithIcon)
        template.setMinimumContentsLength(2)
        template.setAccessibleName("Templates")
        template.setToolTip(_TEMPLATE_HELP)
        return template

    def _lay_out(self) -> None:
        caption = QLabel("Template")
        caption.setToolTip(_TEMPLATE_HELP)
        caption.setBuddy(self.template)
        typed = QHBoxLayout()
        typed.addWidget(caption)
        typed.addWidget(self.template, 1)
        typed.addWidget(self.starter)
        column = QVBoxLayout(self)
        column.setContentsMargins(8, 8, 8, 8)
        column.addWidget(self.editor)
        column.addLayout(typed)
        column.addWidget(self.note)
        column.addWidget(self.photo)
        column.addLayout(self._make_view_row())
        column.addWidget(self.stack, 1)
        column.addWidget(self.explanation)

    def _make_photo_hint(self) -> QWidget:
        """A line for photographs under the starter: what it was taught, and the better model at one click."""
        hint = QWidget()
        row = QHBoxLayout(hint)
        row.setContentsMargins(0, 0, 0, 0)
        row.addWidget(WrappedLabel("This looks like a photograph; the starter was taught drawings."), 1)
        self.load_photo = push_button("Load the photo model", "It ships with mmviewer and needs no network")
        self.load_photo.clicked.connect(lambda: self.workbench.models.load(PHOTO_MODEL))
        row.addWidget(self.load_photo)
        hint.hide()
        return hint

    def _make_view_row(self) -> QHBoxLayout:
        self.this_item = _toggle("This item", "Scores of the chosen item as bars")
        self.all_items = _toggle("All items", "A table of all items by all labels; click a heading to sort")
        self.this_item.setChecked(True)
        group = QButtonGroup(self)
        for number, button in enumerate((self.this_item, self.all_items)):
            group.addButton(button, number)
        group.idClicked.connect(self._on_view)
        self.sort = _toggle("Sort", "Highest score first instead of the order as typed")
        self.sort.toggled.connect(self.bars.set_sorted)
        tip = "Copy the scores as text: tab-separated for bars, CSV for the table"
        copy = icon_button("copy", "Copy the scores", tip)
        copy.clicked.connect(self._copy)
        row = QHBoxLayout()
        row.setSpacing(4)
        for button in (self.this_item, self.all_items):
            row.addWidget(button)
        row.addStretch(1)
        row.addWidget(self.sort)
        row.addWidget(copy)
        return row

    # --- typing ---------------------------------------------------------------------------------------
    def _on_typed(self) -> None:
        """Act on the first stroke at once, on those that follow it closely together."""
        self._typed = True
        self._waited = 0
        if not self._typing.isActive():
            self._take_typed()

    def _take_typed(self) -> None:
        """Hand the labels on; scores nearly ready are awaited, else fast typing would starve the bars."""
        if not self._typed:
            return
        self._typing.start()
        if self.workbench.activity("scores").running and self._waited < _PATIENCE:
            self._waited += 1
            return
        self._typed = False
        self._handing_on = True
        labels = parse_labels(self.editor.toPlainText())
        templates = parse_templates(self.template.currentText())
        self.note.set_text("; ".join(note for note in (labels.note, templates.note) if note))
        self.note.setVisible(bool(self.note.text))
        self.state.set_labels(labels.labels, templates.templates or self.state.templates)
        self._handing_on = False

    def _on_labels(self, labels: tuple[str, ...], templates: tuple[str, ...]) -> None:
        """Show labels that came from elsewhere; what is being typed is left alone."""
        if not self._handing_on:
            with QSignalBlocker(self.editor), QSignalBlocker(self.template):
                if parse_labels(self.editor.toPlainText()).labels != labels:
                    self.editor.setPlainText("\n".join(quoted(label) for label in labels))
                if parse_templates(self.template.currentText()).templates != templates:
                    self.template.setEditText(" | ".join(templates))
        self._show()

    def _use_starter_labels(self) -> None:
        if self.state.model is not None and self.state.model.labels:
            self.editor.setPlainText("\n".join(quoted(label) for label in self.state.model.labels))
            self.sort.setChecked(True)  # too many to look through in the model's order

    # --- showing --------------------------------------------------------------------------------------
    def _show(self) -> None:
        model = self.state.model
        self.starter.setVisible(model is not None and bool(model.labels))
        self.note.setVisible(bool(self.note.text))
        self.photo.setVisible(self._photo_under_starter())
        scores = self.state.scores
        self.explanation.set_text(_explained(scores) if scores else "")
        if self._show_obstacle(model):
            return
        self._fill_bars(scores)
        if self.all_items.isChecked():
            self._fill_table(scores)
        self.stack.show_content()

    def _photo_under_starter(self) -> bool:
        model, current = self.state.model, self.state.current
        if model is None or model.source != STARTER or current is None or current.media.pixels is None:
            return False
        return BUILT_IN[PHOTO_MODEL].folder.is_dir() and looks_photographic(current.media.pixels)

    def _show_obstacle(self, model: ModelInfo | None) -> bool:
        """Say what is missing before there can be scores."""
        if model is None:
            loading = self.workbench.activity("model")
            if loading.running:
                self.stack.show_waiting(loading.label, loading.fraction)
            else:
                self.stack.show_empty(
                    "No model", "Load a CLIP-like model to compare items with labels.", "Models"
                )
        elif not self.state.labels:
            self.stack.show_empty(
                "What could it be?",
                "Type a few labels above: their scores follow while you type.",
                "Use the starter labels" if model.labels else "",
            )
        elif not any(_can_score(model, item.media.modality) for item in self.state.items):
            text = f"Add an image: {model.label} compares images with labels."
            self.stack.show_empty("Nothing to score", text)
        elif not self.all_items.isChecked() and not self._current_can_score(model):
            self.stack.show_empty(
                "Choose an image", f"{model.label} cannot compare the chosen item with labels."
            )
        else:
            return self._show_activity(self.workbench.activity("scores"))
        return True

    def _show_activity(self, activity: Activity) -> bool:
        """Say what runs or failed, unless there are scores to look at meanwhile."""
        if activity.error is not None:
            self.stack.show_failed(activity.error.message, activity.error.details)
            return True
        if self.state.scores is None and activity.running:
            self.stack.show_waiting(activity.label, activity.fraction)
            return True
        return False

    def _current_can_score(self, model: ModelInfo) -> bool:
        current = self.state.current
        return current is not None and _can_score(model, current.media.modality)

    def _fill_bars(self, scores: Scores | None) -> None:
        """One bar a label; a label not scored yet keeps its place with an empty bar."""
        current = self.state.current
        known: dict[str, ScoreRow] = {}
        if scores is not None and current is not None and current.id in scores.items:
            row = scores.items.index(current.id)
            pairs = zip(scores.labels, scores.probabilities[row], scores.similarities[row], strict=True)
            known = {
                label: ScoreRow(label, float(share), f"cosine similarity {cosine:.4f}\n{_WHERE}")
                for label, share, cosine in pairs
            }
        self.bars.set_rows([known.get(label, ScoreRow(label)) for label in self.state.labels])

    def _fill_table(self, scores: Scores | None) -> None:
        labels = self.state.labels
        rows = {item_id: row for row, item_id in enumerate(scores.items)} if scores is not None else {}
        items = [item for item in self.state.items if item.id in rows]
        values = np.full((len(items), len(labels)), math.nan, np.float32)  # [N, M]
        if scores is not None:
            columns = {label: column for column, label in enumerate(scores.labels)}
            chosen = [rows[item.id] for item in items]
            for column, label in enumerate(labels):
                if label in columns:
                    values[:, column] = scores.probabilities[chosen, columns[label]]
        self.table.set_scores([item.id for item in items], [item.name for item in items], labels, values)
        self.table.set_current(self.state.current.id if self.state.current else None)

    # --- actions --------------------------------------------------------------------------------------
    def _on_view(self, number: int) -> None:
        self.views.setCurrentIndex(number)
        self.sort.setEnabled(number == 0)
        self._show()

    def _on_stack_action(self) -> None:
        if self.state.model is None:
            self.workbench.panel_requested.emit("models")
        else:
            self._use_starter_labels()

    def _on_activity(self, key: str, activity: Activity) -> None:
        if key == "scores" or (key == "model" and self.state.model is None):
            self._show()
        if key == "scores" and not activity.running:
            self._take_typed()

    def _ask_where(self, label: str) -> None:
        """Show where the model looks for a label in the chosen image."""
        self.workbench.query(fill(self.state.templates[0], label))

    def _copy(self) -> None:
        table = self.all_items.isChecked()
        QGuiApplication.clipboard().setText(self.table.csv() if table else self.bars.text())
        self.workbench.notice.emit("Copied the scores.", "info")

    def release(self) -> None:
        """Stop the timer and let go of the workbench."""
        self._typing.stop()
        self.workbench.activities.changed.disconnect(self._on_activity)
        super().release()


_NEEDED = {
    Modality.IMAGE: Capability.EMBED_IMAGE,
    Modality.AUDIO: Capability.EMBED_AUDIO,
}


def _can_score(model: ModelInfo, modality: Modality) -> bool:
    return modality in _NEEDED and model.can(_NEEDED[modality])


def _toggle(text: str, tooltip: str) -> QPushButton:
    button = push_button(text, tooltip)
    button.setCheckable(True)
    return button


def _explained(scores: Scores) -> str:
    """How probabilities came from similarities, with the model's own calibration."""
    shift = f" {'+' if scores.bias > 0 else '−'} {abs(scores.bias):.3g}" if scores.bias else ""
    words = _EXPLAIN.get(scores.activation, scores.activation)
    return f"{words} · of cosine × {scores.scale:.3g}{shift}, the model's own scale"
