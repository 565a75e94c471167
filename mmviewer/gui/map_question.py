"""The line in which a collection is asked: words, and before them a file, a region or a former question."""

from __future__ import annotations

from pathlib import Path

from PySide6.QtCore import QMimeData, QSignalBlocker, QSize, Qt, Signal
from PySide6.QtGui import QDragEnterEvent, QDropEvent, QImage, QPixmap
from PySide6.QtWidgets import QHBoxLayout, QLabel, QLineEdit, QWidget

from mmviewer.core.media.open import promised_kind
from mmviewer.core.types import Modality
from mmviewer.gui.buttons import icon_button, push_button
from mmviewer.gui.widgets.elided_label import ElidedLabel
from mmviewer.gui.widgets.point_drag import QUERY_MIME

_ASK = "Ask the collection: a text, or “this + snow − dog”; “this” is the picked item"
_ASK_MORE = "Add words, such as “+ snow − dog”; “picked” is the picked item"
_HEIGHT = 28
_PICTURE = 22
_WIDEST = 190  # of the thing before the line
_MEANT = "Takes part in every question, as “this”, until it is let go."
_REGION = (
    "Its vector is the mean of the patch embeddings in it, each patch counted by the part of it that the "
    "region covers."
)
_BY_PATCHES = (
    "Rank images by the one patch of each that is nearest to the region, and frame that patch. Without it, "
    "items are ranked as wholes. The patches of a collection must be indexed once."
)


class MapQuestion(QWidget):
    """What is asked.

    Signals
    -------
    asked(str)
        Return was pressed.
    file_wanted(), item_wanted()
        A file, or the current item of the library, is to be asked with.
    file_dropped(str), query_dropped(str)
        A file, or the key of a former question, was dropped on the line.
    released()
        What stands before the line is to go.
    by_patches_chosen(bool)
    """

    asked = Signal(str)
    file_wanted = Signal()
    item_wanted = Signal()
    file_dropped = Signal(str)
    query_dropped = Signal(str)
    released = Signal()
    by_patches_chosen = Signal(bool)

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.thing = _ThingChip()
        self.line = _Line(placeholderText=_ASK, clearButtonEnabled=True)
        self.line.setAccessibleName("Question to the collection")
        self.by_patches = push_button("By patches", _BY_PATCHES)
        self.by_patches.setCheckable(True)
        self.by_patches.hide()
        self.file = icon_button(
            "open",
            "Ask with a file",
            "Ask with an image or a sound from the disk; drop one here for the same",
        )
        self.item = icon_button("image", "Ask with the current item", "")
        row = QHBoxLayout(self)
        row.setContentsMargins(0, 0, 0, 0)
        row.addWidget(self.thing)
        row.addWidget(self.line, 1)
        for button in (self.by_patches, self.file, self.item):
            row.addWidget(button)
        self.line.returnPressed.connect(lambda: self.asked.emit(self.line.text()))
        self.file.clicked.connect(self.file_wanted)
        self.item.clicked.connect(self.item_wanted)
        self.thing.close_button.clicked.connect(self.released)
        self.by_patches.toggled.connect(self.by_patches_chosen)
        self.setAcceptDrops(True)
        self.show_item(None)

    def show_thing(
        self, name: str, picture: QImage | None = None, *, is_region: bool = False, by_patches: bool = False
    ) -> None:
        """Show what stands before the line, nothing if it has no name; emits nothing."""
        self.thing.show_thing(name, picture, f"{_MEANT} {_REGION}" if is_region else _MEANT)
        self.line.setPlaceholderText(_ASK_MORE if name else _ASK)
        self.by_patches.setVisible(is_region)
        with QSignalBlocker(self.by_patches):
            self.by_patches.setChecked(by_patches)

    def show_item(self, name: str | None) -> None:
        """Say which item of the library can be asked with, if any."""
        self.item.setEnabled(name is not None)
        self.item.setToolTip(
            "Choose an item in the library to ask with it"
            if name is None
            else f"Ask with the current item of the library: {name}"
        )

    def dragEnterEvent(self, event: QDragEnterEvent) -> None:
        if file_in(event.mimeData()) is not None or event.mimeData().hasFormat(QUERY_MIME):
            event.acceptProposedAction()

    def dropEvent(self, event: QDropEvent) -> None:
        mime = event.mimeData()
        path = file_in(mime)
        event.acceptProposedAction()
        if path is not None:
            self.file_dropped.emit(path)
        else:
            self.query_dropped.emit(bytes(mime.data(QUERY_MIME).data()).decode())


class _Line(QLineEdit):
    """Lets what is no text be dropped on what it stands in."""

    def dragEnterEvent(self, event: QDragEnterEvent) -> None:
        if event.mimeData().hasUrls() or event.mimeData().hasFormat(QUERY_MIME):
            event.ignore()
        else:
            super().dragEnterEvent(event)


class _ThingChip(QWidget):
    """A small picture, a name, and a button to let go of both."""

    def __init__(self) -> None:
        super().__init__()
        self.setObjectName("card")
        self.setAttribute(Qt.WidgetAttribute.WA_StyledBackground)
        self.picture = QLabel()
        self.picture.setAlignment(Qt.AlignmentFlag.AlignCenter)
        self.name = ElidedLabel()
        self.close_button = icon_button("close", "Ask without it", "Ask without it", size=24)
        row = QHBoxLayout(self)
        row.setContentsMargins(4, 0, 1, 0)
        row.setSpacing(4)
        row.addWidget(self.picture)
        row.addWidget(self.name, 1)
        row.addWidget(self.close_button)
        self.setFixedHeight(_HEIGHT)
        self.setMaximumWidth(_WIDEST)
        self.hide()

    def show_thing(self, name: str, picture: QImage | None, tip: str) -> None:
        self.name.set_text(name, tip)
        self.picture.setVisible(picture is not None)
        if picture is not None:
            ratio = self.devicePixelRatioF()
            small = QPixmap.fromImage(picture).scaled(
                QSize(_PICTURE, _PICTURE) * ratio,
                Qt.AspectRatioMode.KeepAspectRatio,
                Qt.TransformationMode.SmoothTransformation,
            )
            small.setDevicePixelRatio(ratio)
            self.picture.setPixmap(small)
        self.setVisible(bool(name))


def file_in(mime: QMimeData) -> str | None:
    """The one image or sound file that is dragged, judged by its name."""
    urls = mime.urls()
    if len(urls) != 1 or not urls[0].isLocalFile():
        return None
    path = Path(urls[0].toLocalFile())
    fits = promised_kind(path.name) in (Modality.IMAGE, Modality.AUDIO)
    return str(path) if fits and path.is_file() else None
