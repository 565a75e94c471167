"""Which model looks: what is loaded, in words, and loading another."""

from __future__ import annotations

from typing import ClassVar

from PySide6.QtCore import Qt
from PySide6.QtWidgets import (
    QComboBox,
    QFileDialog,
    QFormLayout,
    QFrame,
    QHBoxLayout,
    QLabel,
    QLineEdit,
    QListWidget,
    QListWidgetItem,
    QScrollArea,
    QVBoxLayout,
    QWidget,
)

from mmviewer.core.types import ModelInfo
from mmviewer.engine.protocol import ModelListing
from mmviewer.gui.activities import Activity
from mmviewer.gui.buttons import flat_button, push_button
from mmviewer.gui.panels.base import PANELS, Area, Panel
from mmviewer.gui.widgets.elided_label import ElidedLabel
from mmviewer.gui.widgets.wrapped_label import WrappedLabel
from mmviewer.gui.words import bytes_in_words, count_in_words, device_in_words
from mmviewer.gui.workbench import Workbench

_DEVICES = ("auto", "cpu", "cuda", "mps", "xpu")
_DTYPES = ("auto", "float32", "bfloat16", "float16")
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
            _DTYPES, workbench.settings.dtype, "Number format of the weights; auto suits the device."
        )
        self.browse = push_button("Browse…", "Choose a model folder.")
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
        scroll = QScrollArea()
        scroll.setFocusPolicy(Qt.FocusPolicy.NoFocus)  # its fields have it
        scroll.setWidgetResizable(True)
        scroll.setFrameShape(QFrame.Shape.NoFrame)
        scroll.setHorizontalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAlwaysOff)
        scroll.setWidget(inner)
        outer = QVBoxLayout(self)
        outer.setContentsMargins(0, 0, 0, 0)
        outer.addWidget(scroll)

    def _connect(self) -> None:
        bench = self.workbench
        self.watch(self.state.model_changed, lambda _info: self._show_models())
        self.watch(self.state.speech_model_changed, lambda _info: self._show_models())
        bench.models.listings_changed.connect(self._show_listings)
        bench.activities.changed.connect(self._on_activity)
        self.source.textChanged.connect(lambda text: self.load.setEnabled(bool(text.strip())))
        self.source.returnPressed.connect(self._load)
        self.load.clicked.connect(self._load)
        self.browse.clicked.connect(self._browse)
        self.cancel.clicked.connect(lambda: bench.cancel("model"))
        self.known.currentItemChanged.connect(self._on_known)
        self.known.itemActivated.connect(lambda _item: self._load())

    # --- what is loaded ---------------------------------------------------------------------------------
    def _show_models(self) -> None:
        while (old := self.cards.takeAt(0)) is not None:
            widget = old.widget()
            if widget is not None:
                widget.deleteLater()
        loaded = [info for info in (self.state.model, self.state.speech_model) if info is not None]
        for info in loaded:
            self.cards.addWidget(self._make_card(info))
        if not loaded:
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
        unload = flat_button("Unload", "Forget the model and free its memory.")
        unload.clicked.connect(lambda: self.workbench.unload(info.id))
        head = QHBoxLayout()
        head.addWidget(ElidedLabel(info.label, bold=True), 1)
        head.addWidget(unload)
        column = QVBoxLayout(card)
        column.setContentsMargins(10, 6, 10, 10)
        column.addLayout(head)
        column.addLayout(form)
        return card

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
        self.workbench.load_model(self.source.text(), settings.device, settings.dtype)

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
        ("Methods", ", ".join(info.methods).replace("_", " "), "Ways to map tokens to places of the input."),
        ("Source", info.source, "Where it was loaded from."),
        ("Revision", revision, "Which version of the source."),
        ("Weights", info.weights_hash[:16], "The start of the hash of the weights: equal hash, equal model."),
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
