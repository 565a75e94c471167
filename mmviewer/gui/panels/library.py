"""What do I have: items with a small picture, chosen, selected, renamed, removed."""

from __future__ import annotations

from pathlib import Path
from typing import ClassVar

from PySide6.QtCore import (
    QItemSelection,
    QItemSelectionModel,
    QModelIndex,
    QPoint,
    QSignalBlocker,
    Qt,
    QUrl,
    Signal,
)
from PySide6.QtGui import QDesktopServices, QGuiApplication, QKeyEvent, QKeySequence, QPalette
from PySide6.QtWidgets import QAbstractItemView, QHBoxLayout, QListView, QMenu, QVBoxLayout, QWidget

from mmviewer.core.session.state import LibraryItem
from mmviewer.core.types import Modality
from mmviewer.gui.panels.base import PANELS, Area, Panel
from mmviewer.gui.widgets.elided_label import ElidedLabel
from mmviewer.gui.widgets.item_list import ID_ROLE, ItemDelegate, ItemModel, Row
from mmviewer.gui.widgets.state_stack import StateStack
from mmviewer.gui.words import seconds_in_words
from mmviewer.gui.workbench import Workbench

_DROP_HINT = "Drop images, sounds, text\nor folders here"


@PANELS.add("library")
class LibraryPanel(Panel):
    """The list of items; the current one is what everything is about."""

    key: ClassVar[str] = "library"
    title: ClassVar[str] = "Library"
    area: ClassVar[Area] = Area.LEFT
    order: ClassVar[int] = 10
    icon: ClassVar[str] = "library"
    help: ClassVar[str] = "What you opened, pasted or typed; the chosen item is what all panels are about."

    def __init__(self, workbench: Workbench, parent: QWidget | None = None) -> None:
        super().__init__(workbench, parent)
        self.model = ItemModel(self)
        self._rows: dict[LibraryItem, Row] = {}
        self.list = _ItemView()
        self.list.setModel(self.model)
        self.list.setItemDelegate(ItemDelegate(self.list))
        self.count = ElidedLabel(role=QPalette.ColorRole.PlaceholderText)
        self.stack = StateStack(self.list)
        foot = QHBoxLayout()
        foot.setContentsMargins(12, 4, 12, 8)
        foot.addWidget(self.count, 1)
        column = QVBoxLayout(self)
        column.setContentsMargins(0, 0, 0, 0)
        column.setSpacing(0)
        column.addWidget(self.stack, 1)
        column.addLayout(foot)
        self.setMinimumWidth(160)
        self._connect()
        self._show_items(self.state.items)

    def rename_current(self) -> None:
        """Edit the name of the current item in place."""
        if self.state.current is not None:
            index = self.model.index_of(self.state.current.id)
            self.list.setCurrentIndex(index)
            self.list.edit(index)

    def setFocus(self) -> None:  # type: ignore[override]
        """Focus the list."""
        self.list.setFocus(Qt.FocusReason.OtherFocusReason)

    def _connect(self) -> None:
        self.watch(self.state.items_changed, self._show_items)
        self.watch(self.state.current_changed, self._show_current)
        self.watch(self.state.selection_changed, self._show_selection)
        selection = self.list.selectionModel()
        selection.currentChanged.connect(self._on_current)
        selection.selectionChanged.connect(self._on_selection)
        self.model.renamed.connect(self.workbench.rename)
        self.list.remove_pressed.connect(self._remove)
        self.list.copy_pressed.connect(self._copy)
        self.list.customContextMenuRequested.connect(self._open_menu)
        self.stack.acted.connect(self.workbench.samples_requested)

    # --- from the state --------------------------------------------------------------------------------
    def _show_items(self, items: tuple[LibraryItem, ...]) -> None:
        self._rows = {item: self._rows.get(item) or _row(item) for item in items}  # most stay as they are
        with QSignalBlocker(self.list.selectionModel()):
            self.model.set_rows(list(self._rows.values()))
        self.count.set_text(_count_in_words(items))
        if items:
            self.stack.show_content()
        else:
            self.stack.show_empty("", _DROP_HINT, "Open the samples")
        self._show_selection(self.state.selection)
        self._show_current(self.state.current)

    def _show_current(self, item: LibraryItem | None) -> None:
        index = self.model.index_of(item.id) if item is not None else QModelIndex()
        if index == self.list.currentIndex():
            return
        with QSignalBlocker(self.list.selectionModel()):
            self.list.selectionModel().setCurrentIndex(index, QItemSelectionModel.SelectionFlag.NoUpdate)
        self.list.scrollTo(index)
        self.list.viewport().update()

    def _show_selection(self, ids: tuple[str, ...]) -> None:
        if set(ids) == set(self._selected_ids()):
            return
        chosen = QItemSelection()
        for item_id in ids:
            index = self.model.index_of(item_id)
            chosen.select(index, index)
        with QSignalBlocker(self.list.selectionModel()):
            self.list.selectionModel().select(chosen, QItemSelectionModel.SelectionFlag.ClearAndSelect)
        self.list.viewport().update()

    # --- to the state ----------------------------------------------------------------------------------
    def _on_current(self, index: QModelIndex, _former: QModelIndex) -> None:
        item = self.state.item(str(index.data(ID_ROLE))) if index.isValid() else None
        if item is not None:
            self.state.set_current(item)

    def _on_selection(self, _new: QItemSelection, _old: QItemSelection) -> None:
        self.state.set_selection(self._selected_ids())

    def _selected_ids(self) -> tuple[str, ...]:
        rows = sorted(index.row() for index in self.list.selectionModel().selectedIndexes())
        return tuple(self.model.rows[row].id for row in rows)

    # --- what can be done with items -----------------------------------------------------------------------
    def _remove(self) -> None:
        ids = self._selected_ids()
        if ids:
            what = "1 item" if len(ids) == 1 else f"{len(ids)} items"
            self.workbench.remove(ids)
            self.workbench.notice.emit(f"Removed {what} from the library; Ctrl+Z brings it back.", "info")

    def _copy(self) -> None:
        """Copy the picture, text or path of the current item."""
        item = self.state.current
        if item is None:
            return
        clipboard = QGuiApplication.clipboard()
        if item.media.text is not None:
            clipboard.setText(item.media.text)
        elif item.media.pixels is not None:
            clipboard.setImage(self.model.picture(item.media.pixels))
        else:
            clipboard.setText(item.media.path or item.name)

    def _reveal(self) -> None:
        item = self.state.current
        if item is not None and item.media.path is not None:
            QDesktopServices.openUrl(QUrl.fromLocalFile(str(Path(item.media.path).parent)))

    def _open_menu(self, where: QPoint) -> None:
        menu = QMenu(self)
        menu.setAttribute(Qt.WidgetAttribute.WA_DeleteOnClose)
        if self.state.current is not None:
            menu.addAction("Copy", self._copy)
            menu.addAction("Rename", self.rename_current)
            reveal = menu.addAction("Show in file manager", self._reveal)
            reveal.setEnabled(self.state.current.media.path is not None)
            menu.addSeparator()
            menu.addAction("Remove from library", self._remove)
            menu.addSeparator()
        menu.addAction("Select all", self.list.selectAll)
        menu.popup(self.list.viewport().mapToGlobal(where))


class _ItemView(QListView):
    """A list that stays smooth with many thousand items."""

    remove_pressed = Signal()
    copy_pressed = Signal()

    def __init__(self) -> None:
        super().__init__()
        self.setAccessibleName("Items of the library")
        self.setUniformItemSizes(True)  # no item is asked for its size: ten thousand scroll smoothly
        self.setSelectionMode(QAbstractItemView.SelectionMode.ExtendedSelection)
        self.setVerticalScrollMode(QAbstractItemView.ScrollMode.ScrollPerPixel)
        self.setHorizontalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAlwaysOff)
        self.setEditTriggers(QAbstractItemView.EditTrigger.EditKeyPressed)
        self.setContextMenuPolicy(Qt.ContextMenuPolicy.CustomContextMenu)
        self.setMouseTracking(True)
        self.setSpacing(0)

    def keyPressEvent(self, event: QKeyEvent) -> None:
        if event.key() in (Qt.Key.Key_Delete, Qt.Key.Key_Backspace):
            self.remove_pressed.emit()
        elif event.matches(QKeySequence.StandardKey.Copy):
            self.copy_pressed.emit()
        else:
            super().keyPressEvent(event)


def _row(item: LibraryItem) -> Row:
    media = item.media
    if media.modality is Modality.IMAGE:
        height, width = media.size
        line = f"{width} × {height} · image"
    elif media.modality is Modality.AUDIO:
        line = f"{seconds_in_words(media.duration)} · sound"
    else:
        line = "text"
    notes = "\n".join((media.path or "", *media.notes)).strip()
    return Row(item.id, item.name, line, notes, media.pixels, media.samples)


def _count_in_words(items: tuple[LibraryItem, ...]) -> str:
    if not items:
        return ""
    count = "1 item" if len(items) == 1 else f"{len(items):,} items"
    return f"{count} · drop more anywhere"
