"""Which model looks: what is loaded, in words, and loading another."""

from __future__ import annotations

from pathlib import Path
from typing import ClassVar

from PySide6.QtCore import Qt
from PySide6.QtGui import QPalette
from PySide6.QtWidgets import (
    QCheckBox,
    QComboBox,
    QFileDialog,
    QFormLayout,
    QFrame,
    QHBoxLayout,
    QLabel,
    QLineEdit,
    QListWidget,
    QListWidgetItem,
    QVBoxLayout,
    QWidget,
)

from mmviewer.core.types import ModelFigure, ModelInfo
from mmviewer.engine.protocol import ModelListing
from mmviewer.gui.activities import Activity
from mmviewer.gui.buttons import flat_button, push_button
from mmviewer.gui.panels.base import PANELS, Area, Panel
from mmviewer.gui.view_model import method_labels
from mmviewer.gui.widgets.elided_label import ElidedLabel
from mmviewer.gui.widgets.measures import Measure, MeasureList
from mmviewer.gui.widgets.scrolled import scrolled
from mmviewer.gui.widgets.wrapped_label import WrappedLabel
from mmviewer.gui.words import bytes_in_words, count_in_words, device_in_words, share_in_words
from mmviewer.gui.workbench import Workbench

_DEVICES = ("auto", "cpu", "cuda", "mps", "xpu")
_DTYPES = ("auto", "float32", "bfloat16", "float16", "int8", "int4")
_SOURCE_HELP = (
    "A folder or weights file on this machine, the name of an OpenCLIP model as ARCHITECTURE/WEIGHTS,"
    " or a hub name as hf-hub:OWNER/MODEL or OWNER/MODEL."
)
_ROWS_SHOWN = 6


@PANELS.add("models")
class ModelsPanel(Panel):
    """Cards of the loaded models over a form to load another."""

    key: ClassVar[str] = "models"
    title: ClassVar[str] = "Model"
    area: ClassVar[Area] = Area.RIGHT
    order: ClassVar[int] = 40
    icon: ClassVar[str] = "model"
    help: ClassVar[str] = "What is loaded, where it runs and what it can do; load another here."
    help_page: ClassVar[str] = "families"

    def __init__(self, workbench: Workbench, parent: QWidget | None = None) -> None:
        super().__init__(workbench, parent)
        self.cards = QVBoxLayout()
        self.known = self._make_list()
        self.source = QLineEdit()
        self.source.setPlaceholderText("folder, or hub name …")
        self.source.setToolTip(_SOURCE_HELP)
        self.source.setAccessibleName("Model to load")
        self.device = _choice(
            _DEVICES, workbench.settings.device, "Where it runs; auto takes a GPU that answers, else the CPU."
        )
        self.dtype = _choice(
            _DTYPES,
            workbench.settings.dtype,
            "Number format of the weights; auto suits the device, few bits suit large models.",
        )
        self.browse = push_button("Browse…", "Choose a model folder.")
        self.manage = push_button("Manage…", "Search, download, verify and delete models.")
        self.keep = QCheckBox("Keep the others")
        self.keep.setMinimumHeight(24)
        self.keep.setToolTip(
            "The models that are loaded stay so, if memory allows: any of them is used again at once, and "
            "two of them can be seen side by side."
        )
        self.load = push_button("Load", "Load the model named above.", primary=True)
        self.load.setEnabled(False)
        self.cancel = push_button("Cancel", "Stop loading.")
        self.message = WrappedLabel()
        self._lay_out()
        self._connect()
        self._show_models()
        self._show_listings(workbench.models.listings)
        self._show_activity(workbench.activity("model"))

    def setFocus(self) -> None:  # type: ignore[override]
        """Focus the field that one types into."""
        self.source.setFocus(Qt.FocusReason.OtherFocusReason)

    # --- layout ---------------------------------------------------------------------------------------
    def _make_list(self) -> QListWidget:
        view = QListWidget()
        view.setAccessibleName("Models that are here")
        view.setToolTip("Models found on this machine; double-click to load.")
        view.setTextElideMode(Qt.TextElideMode.ElideRight)
        view.setHorizontalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAlwaysOff)
        return view

    def _lay_out(self) -> None:
        heading = ElidedLabel("Load another", bold=True)
        source = QHBoxLayout()
        source.addWidget(self.source, 1)
        source.addWidget(self.browse)
        place = QHBoxLayout()
        for text, widget in (("Device", self.device), ("Format", self.dtype)):
            label = QLabel(text)
            label.setBuddy(widget)
            widget.setAccessibleName(text)
            place.addWidget(label)
            place.addWidget(widget, 1)
        run = QHBoxLayout()
        run.addWidget(self.manage)
        run.addWidget(self.keep)
        run.addStretch(1)
        run.addWidget(self.cancel)
        run.addWidget(self.load)

        inner = QWidget()
        column = QVBoxLayout(inner)
        column.setContentsMargins(10, 10, 10, 10)
        column.setSpacing(8)
        column.addLayout(self.cards)
        column.addWidget(heading)
        column.addWidget(self.known)
        column.addLayout(source)
        column.addLayout(place)
        column.addWidget(self.message)
        column.addLayout(run)
        column.addStretch(1)
        outer = QVBoxLayout(self)
        outer.setContentsMargins(0, 0, 0, 0)
        outer.addWidget(scrolled(inner))

    def _connect(self) -> None:
        bench = self.workbench
        self.watch(self.state.model_changed, lambda _info: self._show_models())
        self.watch(self.state.speech_model_changed, lambda _info: self._show_models())
        self.watch(self.state.others_changed, lambda _infos: self._show_models())
        bench.models.listings_changed.connect(self._show_listings)
        bench.activities.changed.connect(self._on_activity)
        self.source.textChanged.connect(lambda text: self.load.setEnabled(bool(text.strip())))
        self.source.returnPressed.connect(self._load)
        self.load.clicked.connect(self._load)
        self.browse.clicked.connect(self._browse)
        self.manage.clicked.connect(bench.manager_requested)
        self.cancel.clicked.connect(lambda: bench.cancel("model"))
        self.known.currentItemChanged.connect(self._on_known)
        self.known.itemActivated.connect(lambda _item: self._load())

    # --- what is loaded ---------------------------------------------------------------------------------
    def _show_models(self) -> None:
        while (old := self.cards.takeAt(0)) is not None:
            widget = old.widget()
            if widget is not None:
                widget.deleteLater()
        for info in self.state.models:
            self.cards.addWidget(self._make_card(info))
        if not self.state.models:
            empty = QLabel("No model is loaded.")
            empty.setObjectName("faint")
            self.cards.addWidget(empty)

    def _make_card(self, info: ModelInfo) -> QWidget:
        card = QFrame()
        card.setObjectName("card")
        form = QFormLayout()
        form.setHorizontalSpacing(12)
        form.setVerticalSpacing(3)
        for name, value, tip in _facts(info):
            label = QLabel(name)
            label.setObjectName("faint")
            label.setToolTip(tip)
            label.setAlignment(Qt.AlignmentFlag.AlignTop)
            form.addRow(label, _value(value, tip))
        head = QHBoxLayout()
        head.addWidget(ElidedLabel(info.label, bold=True), 1)
        for button in self._buttons(info):
            head.addWidget(button)
        column = QVBoxLayout(card)
        column.setContentsMargins(10, 6, 10, 10)
        column.addLayout(head)
        if info in self.state.others:
            column.addWidget(ElidedLabel("Loaded beside the one in use", QPalette.ColorRole.PlaceholderText))
        self._tell(info, column)
        column.addLayout(form)
        return card

    def _buttons(self, info: ModelInfo) -> list[QWidget]:
        """What can be done with a loaded model."""
        bench, buttons = self.workbench, []
        if info in self.state.others:
            use = flat_button("Use", "Let this model look at the items; the one in use stays loaded.")
            use.clicked.connect(lambda: bench.models.use(info.id))
            beside = flat_button("Beside", "See the current item under both models, side by side (Ctrl+J).")
            beside.clicked.connect(lambda: bench.twin.open(info.id))
            buttons = [use, beside]
        unload = flat_button("Unload", "Forget the model and free its memory.")
        unload.clicked.connect(lambda: bench.unload(info.id))
        return [*buttons, unload]

    def _tell(self, info: ModelInfo, column: QVBoxLayout) -> None:
        """What the model's makers say of it: limits, figures beside chance, the whole card."""
        about = info.about
        if about.limits:
            column.addWidget(_value(about.limits, "What to keep in mind, in the words of the model's card."))
        if about.figures:
            heading = ElidedLabel("Measured", QPalette.ColorRole.PlaceholderText)
            column.addWidget(heading)
            column.addWidget(MeasureList([_measure(figure) for figure in about.figures]))
        if about.card:
            button = push_button("Model card", "How it was made, what was measured, its limits and licences.")
            button.clicked.connect(lambda: self._open_card(info))
            row = QHBoxLayout()
            row.addWidget(button)
            row.addStretch(1)
            column.addLayout(row)

    def _open_card(self, info: ModelInfo) -> None:
        from mmviewer.gui.card_dialog import CardDialog  # opened on demand: not needed for the first paint

        CardDialog(info.label, Path(info.about.card), self).show()

    # --- loading another --------------------------------------------------------------------------------
    def _show_listings(self, listings: tuple[ModelListing, ...]) -> None:
        self.known.clear()
        for listing in listings:
            size = f" · {bytes_in_words(listing.size_bytes)}" if listing.size_bytes else ""
            away = "" if listing.present else " · not downloaded"
            item = QListWidgetItem(f"{listing.label} · {listing.family}{size}{away}")
            item.setData(Qt.ItemDataRole.UserRole, listing.source)
            item.setToolTip("\n".join(part for part in (listing.source, listing.notes) if part))
            self.known.addItem(item)
        self.known.setVisible(bool(listings))
        row = self.known.sizeHintForRow(0) if listings else 0
        self.known.setFixedHeight(max(24, row) * min(len(listings), _ROWS_SHOWN) + 8)

    def _on_known(self, item: QListWidgetItem | None, _former: QListWidgetItem | None) -> None:
        if item is not None:
            self.source.setText(str(item.data(Qt.ItemDataRole.UserRole)))

    def _load(self) -> None:
        settings = self.workbench.settings
        settings.device, settings.dtype = self.device.currentText(), self.dtype.currentText()
        self.workbench.models.load(
            self.source.text(), settings.device, settings.dtype, keep=self.keep.isChecked()
        )

    def _browse(self) -> None:
        dialog = QFileDialog(self, "Choose a model folder")
        dialog.setFileMode(QFileDialog.FileMode.Directory)
        dialog.setAttribute(Qt.WidgetAttribute.WA_DeleteOnClose)
        dialog.fileSelected.connect(self.source.setText)
        dialog.open()

    def _on_activity(self, key: str, activity: Activity) -> None:
        if key == "model":
            self._show_activity(activity)

    def _show_activity(self, activity: Activity) -> None:
        if activity.error is not None:
            self.message.setText(activity.error.message)
        elif activity.running:
            share = "" if activity.fraction is None else f" · {activity.fraction:.0%}"
            self.message.setText(f"{activity.label}{share}… {activity.message}".strip())
        self.message.setVisible(activity.running or activity.error is not None)
        self.cancel.setVisible(activity.running)

    def release(self) -> None:
        """Let go of the workbench."""
        self.workbench.activities.changed.disconnect(self._on_activity)
        self.workbench.models.listings_changed.disconnect(self._show_listings)
        super().release()


def _measure(figure: ModelFigure) -> Measure:
    is_share = figure.unit == "share"

    def words(value: float) -> str:
        return share_in_words(value) if is_share else f"{value:.3g} {figure.unit}".strip()

    return Measure(
        name=figure.name,
        value=words(figure.value),
        share=figure.value if is_share else None,
        chance=figure.chance if is_share else None,
        chance_words="" if figure.chance is None else words(figure.chance),
        note=figure.note,
    )


def _facts(info: ModelInfo) -> list[tuple[str, str, str]]:
    """What a card says: name, value, and what the name means."""
    revision = info.revision or "none named"
    facts = [
        (
            "Family",
            info.family,
            "The kind of model, which decides how it is loaded and what can be captured.",
        ),
        ("Can", ", ".join(sorted(info.capabilities)), "What this model is able to do."),
        (
            "Device",
            device_in_words(info.device, info.dtype),
            "Where it runs, and the number format of its weights.",
        ),
        ("Memory", bytes_in_words(info.memory_bytes), "What its weights take on the device."),
        ("Parameters", count_in_words(info.parameters), "How many numbers were learned."),
        ("Input", info.preprocessing, "How a picture or sound is made into what the model sees."),
        ("Context", f"{info.context_length} tokens", "The longest text it reads."),
        ("Methods", ", ".join(method_labels(info).values()), "Ways to map tokens to places of the input."),
        ("Source", info.source, "Where it was loaded from."),
        ("Revision", revision, "Which version of the source."),
        ("Weights", info.weights_hash[:16], "The start of the hash of the weights: equal hash, equal model."),
        ("Licence", info.about.licence, "Under which terms the weights may be used and passed on."),
        ("Notes", "; ".join(info.notes), "What to keep in mind."),
    ]
    return [fact for fact in facts if fact[1]]


def _value(text: str, tip: str) -> WrappedLabel:
    label = WrappedLabel(text)
    label.setToolTip(tip)
    label.setMinimumWidth(40)
    return label


def _choice(options: tuple[str, ...], chosen: str, tip: str) -> QComboBox:
    box = QComboBox()
    box.addItems(options)
    box.setToolTip(tip)
    box.setCurrentText(chosen)
    return box
