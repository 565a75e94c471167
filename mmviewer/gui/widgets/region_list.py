"""The regions of an item as a list: choose, name, colour and remove them."""

from __future__ import annotations

from collections.abc import Sequence

from PySide6.QtCore import QPoint, QSize, Qt, Signal
from PySide6.QtGui import QColor, QIcon, QKeyEvent, QPixmap
from PySide6.QtWidgets import QAbstractItemView, QFrame, QListWidget, QListWidgetItem, QMenu, QWidget

from mmviewer.gui.widgets.region_tools import Region

_ID = Qt.ItemDataRole.UserRole
_ROW = 26


class RegionList(QListWidget):
    """Click chooses, F2 or a double click names, Del removes, Esc lets the region go.

    Parameters
    ----------
    colours : sequence of str
        Offered in the context menu.
    """

    picked = Signal(object)
    """Id of the region to choose, or None."""
    renamed = Signal(str, str)
    """Id and new name."""
    recoloured = Signal(str, str)
    """Id and "#rrggbb"."""
    removed = Signal(str)
    """Id."""
    sought = Signal(str)
    """Id of a region of a picture that others like it are to be found of."""

    def __init__(self, colours: Sequence[str], parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._colours = tuple(colours)
        self._filling = False
        self._shown: tuple[Region, ...] = ()
        self.setFrameShape(QFrame.Shape.NoFrame)
        self.setIconSize(QSize(12, 12))
        self.setUniformItemSizes(True)
        self.setAccessibleName("Regions of this item")
        self.setToolTip(
            "Click to choose a region, F2 to name it, Del to remove it; the menu key offers colours."
        )
        triggers = QAbstractItemView.EditTrigger
        self.setEditTriggers(triggers.EditKeyPressed | triggers.DoubleClicked)
        self.setContextMenuPolicy(Qt.ContextMenuPolicy.CustomContextMenu)
        self.customContextMenuRequested.connect(self._show_menu)
        self.itemSelectionChanged.connect(self._on_selected)
        self.itemChanged.connect(self._on_edited)

    def show_regions(self, regions: Sequence[Region], chosen: str) -> None:
        """Show other regions; emits nothing."""
        self._filling = True
        if tuple(regions) != self._shown:
            self._shown = tuple(regions)
            self.clear()
            for region in regions:
                entry = QListWidgetItem(_swatch(region.colour), region.label)
                entry.setData(_ID, region.id)
                entry.setSizeHint(QSize(0, _ROW))
                entry.setFlags(entry.flags() | Qt.ItemFlag.ItemIsEditable)
                self.addItem(entry)
        ids = [region.id for region in regions]
        if chosen in ids:
            self.setCurrentRow(ids.index(chosen))
        else:
            self.clearSelection()
        self._filling = False

    def sizeHint(self) -> QSize:
        return QSize(200, min(max(self.count(), 1), 5) * _ROW + 4)

    def keyPressEvent(self, event: QKeyEvent) -> None:
        entry = self.currentItem()
        if event.key() == Qt.Key.Key_Delete and entry is not None:
            self.removed.emit(entry.data(_ID))
        elif event.key() == Qt.Key.Key_Escape and self.selectedItems():
            self.clearSelection()
        else:
            super().keyPressEvent(event)

    def _on_selected(self) -> None:
        if not self._filling:
            entries = self.selectedItems()
            self.picked.emit(entries[0].data(_ID) if entries else None)

    def _on_edited(self, entry: QListWidgetItem) -> None:
        if not self._filling:
            self.renamed.emit(entry.data(_ID), entry.text())

    def _show_menu(self, at: QPoint) -> None:
        if not self.count():
            return
        entry = self.itemAt(at) or self.currentItem() or self.item(0)
        region_id = entry.data(_ID)
        menu = QMenu(self)
        menu.setAttribute(Qt.WidgetAttribute.WA_DeleteOnClose)
        menu.addAction("Name…").triggered.connect(lambda: self.editItem(entry))
        colours = menu.addMenu("Colour")
        for colour in self._colours:
            action = colours.addAction(_swatch(colour), colour)
            action.triggered.connect(lambda _=False, wanted=colour: self.recoloured.emit(region_id, wanted))
        if self._kind_of(region_id) != "span":
            menu.addAction("Find in collection").triggered.connect(lambda: self.sought.emit(region_id))
        menu.addAction("Remove").triggered.connect(lambda: self.removed.emit(region_id))
        menu.popup(self.viewport().mapToGlobal(at))

    def _kind_of(self, region_id: str) -> str:
        return next((region.kind for region in self._shown if region.id == region_id), "")


def _swatch(colour: str) -> QIcon:
    pixmap = QPixmap(12, 12)
    pixmap.fill(QColor(colour))
    return QIcon(pixmap)
