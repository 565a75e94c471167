"""What do I want: open, paste, which model, describe, caption, copy, export."""

from __future__ import annotations

from PySide6.QtCore import QSignalBlocker, Qt, QTimer, Signal
from PySide6.QtGui import QAction, QKeyEvent, QResizeEvent
from PySide6.QtWidgets import QHBoxLayout, QLineEdit, QMenu, QPushButton, QSizePolicy, QWidget

from mmviewer.core.session.state import LibraryItem
from mmviewer.core.types import Modality, ModelInfo, TokenSequence
from mmviewer.gui.activities import Activity
from mmviewer.gui.buttons import push_button
from mmviewer.gui.icons import icon
from mmviewer.gui.theme import Theme
from mmviewer.gui.words import bytes_in_words, device_in_words
from mmviewer.gui.workbench import Workbench

_TYPING_MS = 180
_FOLDED = 680
"""What it needs once its buttons are folded; else a wide window could not be made narrow in one go."""
_ROOMY = 1180
"""Below this width the lesser buttons show their icon only."""
_NARROW = 900
"""Below this width the model's button shows its name only."""
_NARROWEST_MODEL = 110


class QueryField(QLineEdit):
    """Where one describes what to find; Escape gives up and brings the caption back."""

    given_up = Signal()

    def keyPressEvent(self, event: QKeyEvent) -> None:
        if event.key() == Qt.Key.Key_Escape:
            self.clear()
            self.given_up.emit()
        else:
            super().keyPressEvent(event)


_FIND_IN_PICTURE = "Describe something to find in the picture…"
_FIND_IN_SOUND = "Type a word to find in the sound…"


class TopBar(QWidget):
    """The bar over everything.

    Parameters
    ----------
    actions : dict
        Actions by key, of `mmviewer.gui.actions`.
    """

    def __init__(self, workbench: Workbench, actions: dict[str, QAction], theme: Theme) -> None:
        super().__init__()
        self.setObjectName("top-bar")
        self.setAttribute(Qt.WidgetAttribute.WA_StyledBackground)
        self._bench = workbench
        self._theme = theme
        self._open = push_button("Open…", "Open images, sounds or texts (Ctrl+O).", primary=True)
        self._paste = push_button("Paste", "Open the image, files or text on the clipboard (Ctrl+V).")
        self.model = push_button(
            "No model", "The model that looks at the current item; press to choose another."
        )
        self.model.setMinimumWidth(_NARROWEST_MODEL)
        self.model_menu = QMenu(self)
        self.model.setMenu(self.model_menu)
        self.query = QueryField()
        self.query.setPlaceholderText(_FIND_IN_PICTURE)
        self.query.setToolTip(
            "The tokens of what you type appear under the picture, each with its map (Ctrl+F)."
        )
        self.query.setAccessibleName("Description to find")
        self.query.setClearButtonEnabled(True)
        self.query.setMaximumWidth(460)
        self.query.setMinimumWidth(120)
        self.query.setSizePolicy(QSizePolicy.Policy.Expanding, QSizePolicy.Policy.Fixed)
        self.generate = push_button(
            "Caption ⏎", "Let the model write what it sees, token by token (Ctrl+Return)."
        )
        self.compare = push_button(
            "Compare", "Maps side by side: words, methods, layers, items, models (Ctrl+K)."
        )
        self.compare.setCheckable(True)
        self.map = push_button(
            "Map", "A folder of up to millions of items as a map: ask it, encircle, open (Ctrl+Shift+K)."
        )
        self.map.setCheckable(True)
        self._copy = push_button("Copy figure", "Copy what is shown as an image (Ctrl+Shift+C).")
        self.export_button = push_button(
            "Export figure…", "Write what is shown as PNG, SVG, PDF, or as numbers (Ctrl+E)."
        )
        self._collapsible: dict[QPushButton, tuple[str, str]] = {
            self._paste: ("Paste", "paste"),
            self._copy: ("Copy figure", "copy"),
            self.export_button: ("Export figure…", "export"),
        }
        self._model_words: tuple[str, ...] = ("No model",)
        self._typing = QTimer(self, singleShot=True, interval=_TYPING_MS)
        self.setMinimumWidth(_FOLDED)
        self._lay_out()
        self._connect(actions)
        self._show_model()

    def set_query(self, text: str) -> None:
        """Show a description without asking for it."""
        with QSignalBlocker(self.query):
            self.query.setText(text)

    def resizeEvent(self, event: QResizeEvent) -> None:
        super().resizeEvent(event)
        roomy = self.width() >= _ROOMY
        for button, (text, icon_name) in self._collapsible.items():
            button.setText(text if roomy else "")
            button.setIcon(icon(icon_name))
            button.setAccessibleName(text)
        self._write_model()

    def release(self) -> None:
        """Stop watching the state."""
        state = self._bench.state
        state.current_changed.disconnect(self._on_current)
        state.model_changed.disconnect(self._show_model)
        state.speech_model_changed.disconnect(self._show_model)
        state.sequence_changed.disconnect(self._on_sequence)

    def _lay_out(self) -> None:
        row = QHBoxLayout(self)
        row.setContentsMargins(10, 6, 10, 6)
        row.setSpacing(8)
        for widget in (self._open, self._paste, self.model):
            row.addWidget(widget)
        row.addStretch(1)
        row.addWidget(self.query, 6)
        row.addWidget(self.generate)
        row.addStretch(1)
        row.addWidget(self.compare)
        row.addWidget(self.map)
        row.addWidget(self._copy)
        row.addWidget(self.export_button)

    def _connect(self, actions: dict[str, QAction]) -> None:
        for button, key in (
            (self._open, "open"),
            (self._paste, "paste"),
            (self.generate, "generate"),
            (self._copy, "copy-figure"),
            (self.export_button, "export"),
            (self.compare, "compare"),
            (self.map, "map"),
        ):
            action = actions[key]
            button.clicked.connect(action.trigger)
            button.setEnabled(action.isEnabled())
            action.enabledChanged.connect(button.setEnabled)
        actions["compare"].toggled.connect(self.compare.setChecked)
        actions["map"].toggled.connect(self.map.setChecked)
        self._typing.timeout.connect(self._ask)
        self.query.textEdited.connect(lambda _text: self._typing.start())
        self.query.textChanged.connect(self._on_cleared)
        self.query.returnPressed.connect(self._on_return)
        self.query.given_up.connect(self._ask)
        self.model_menu.aboutToShow.connect(self._fill_model_menu)
        self._load_action = actions["load-model"]
        state = self._bench.state
        state.current_changed.connect(self._on_current)
        state.model_changed.connect(self._show_model)
        state.speech_model_changed.connect(self._show_model)
        state.sequence_changed.connect(self._on_sequence)
        self._bench.activities.changed.connect(self._on_activity)
        self._theme.changed.connect(lambda: self.resizeEvent(QResizeEvent(self.size(), self.size())))

    # --- the query -----------------------------------------------------------------------------------
    def _ask(self) -> None:
        self._typing.stop()
        if self._bench.state.current is not None:
            self._bench.query(self.query.text())

    def _on_return(self) -> None:
        if self.query.text().strip():
            self._ask()
        else:
            self._bench.generate()

    def _on_cleared(self, text: str) -> None:
        if not text:
            self._typing.start()

    def _on_sequence(self, sequence: TokenSequence | None) -> None:
        if self.query.hasFocus():
            return
        self.set_query(sequence.text if sequence is not None and sequence.kind == "query" else "")

    # --- the model -----------------------------------------------------------------------------------
    def _on_current(self, item: LibraryItem | None) -> None:
        sound = item is not None and item.media.modality is Modality.AUDIO
        self.generate.setText("Transcribe ⏎" if sound else "Caption ⏎")
        self.query.setPlaceholderText(_FIND_IN_SOUND if sound else _FIND_IN_PICTURE)
        self._show_model()

    def _on_activity(self, key: str, _activity: Activity) -> None:
        if key == "model" or key.startswith("reload:"):
            self._show_model()

    def _shown_model(self) -> ModelInfo | None:
        state = self._bench.state
        return self._bench.model_for(state.current) if state.current else (state.model or state.speech_model)

    def _show_model(self, _changed: object = None) -> None:
        loading = self._bench.activity("model")
        info = self._shown_model()
        if loading.running:
            self._model_words = (f"{loading.label}…",)
        elif info is None:
            self._model_words = ("No model",)
        else:
            place = device_in_words(info.device, info.dtype)
            self._model_words = (info.label, place, bytes_in_words(info.memory_bytes))
        self._write_model()

    def _write_model(self) -> None:
        """Name the model, with device and memory where there is room."""
        name, *rest = self._model_words
        shown = (_short(name), *rest) if self.width() >= _NARROW else (_short(name),)
        self.model.setText(f"{' · '.join(shown)} ▾")
        whole = " · ".join(self._model_words)
        self.model.setToolTip(f"{whole}\nThe model that looks at the current item; press to choose another.")
        self.model.setAccessibleName(f"Model: {whole}")

    def _fill_model_menu(self) -> None:
        self.model_menu.clear()
        loaded = {info.source for info in self._bench.state.models}
        for listing in self._bench.models.listings:
            if listing.present:
                action = self.model_menu.addAction(listing.label)
                action.setCheckable(True)
                action.setChecked(listing.source in loaded)
                action.triggered.connect(
                    lambda _=False, source=listing.source: self._bench.load_model(source)
                )
        if not self.model_menu.isEmpty():
            self.model_menu.addSeparator()
        self.model_menu.addAction(self._load_action)


def _short(label: str) -> str:
    return label if len(label) <= 28 else f"{label[:27]}…"
