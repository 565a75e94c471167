"""The controls over the map: which collection, whose vectors, which map, what colours mean, which tool."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from PySide6.QtCore import QSignalBlocker, Qt, Signal
from PySide6.QtWidgets import QComboBox, QMenu, QWidget

from mmviewer.core.space.collection.types import SpaceInfo
from mmviewer.core.space.projection.base import PROJECTIONS
from mmviewer.gui.buttons import icon_button, push_button
from mmviewer.gui.widgets.flow_layout import FlowLayout
from mmviewer.gui.widgets.map_controls import ElidingCombo
from mmviewer.gui.widgets.point_map import Tool

_TOOLS = (
    (Tool.MOVE, "viewer", "Move", "A drag moves the map; Shift and a drag draws around points to add them."),
    (Tool.LASSO, "lasso", "Lasso", "A drag draws around points: Shift adds them, Alt takes them away."),
    (
        Tool.RECTANGLE,
        "box",
        "Rectangle",
        "A drag spans a rectangle: Shift adds its points, Alt takes them away.",
    ),
)
_PREFERRED = ("pacmap", "umap", "tsne", "pca")


class MapBar(QWidget):
    """A row of controls that breaks where there is no room.

    Signals
    -------
    collection_chosen(str), folder_wanted(), folder_added(), index_wanted(), watch_wanted(bool)
    space_chosen(str), method_chosen(str), map_chosen(str), colour_chosen(str)
    tool_chosen(object), fit_wanted(), pictures_toggled(bool), closed()
    """

    collection_chosen = Signal(str)
    folder_wanted = Signal()
    folder_added = Signal()
    index_wanted = Signal()
    watch_wanted = Signal(bool)
    space_chosen = Signal(str)
    place_wanted = Signal(str)
    map_chosen = Signal(str)
    colour_chosen = Signal(str)
    tool_chosen = Signal(object)
    fit_wanted = Signal()
    pictures_toggled = Signal(bool)
    closed = Signal()

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.collection = push_button("Collections ▾", "Open another collection, or make one from a folder")
        self.menu = QMenu(self)
        self.menu.setToolTipsVisible(True)
        self.collection.setMenu(self.menu)
        self.space = _box("Vectors", "Whose vectors are looked at: each model has a space of its own")
        self.map = _box("Map", "Which map is shown; below, how to make another from the vectors")
        self.colour = _box("Colour by", "What the colours of the points mean")
        self.finding = push_button("Find ▾", "Groups, near-duplicates, what two models agree on")
        self.find_menu = QMenu(self)
        self.finding.setMenu(self.find_menu)
        self.tools = {tool: icon_button(icon, name, tip) for tool, icon, name, tip in _TOOLS}
        self.pictures = icon_button(
            "image", "Pictures", "Show pictures and words where few points are in view"
        )
        self.fit = icon_button("space", "Show all points", "Bring all points into view (0)")
        self.close_button = icon_button("close", "Close the map", "Back to the viewer (Esc)")
        flow = FlowLayout(self, spacing=6)
        boxes: tuple[QWidget, ...] = (self.collection, self.space, self.map, self.colour, self.finding)
        for widget in (*boxes, *self.tools.values()):
            flow.addWidget(widget)
        for widget in (self.pictures, self.fit, self.close_button):
            flow.addWidget(widget)
        self._connect()
        self.set_tool(Tool.MOVE)

    def _connect(self) -> None:
        self.space.activated.connect(lambda: self.space_chosen.emit(str(self.space.currentData())))
        self.map.activated.connect(self._on_map)
        self.colour.activated.connect(lambda: self.colour_chosen.emit(str(self.colour.currentData())))
        for tool, button in self.tools.items():
            button.setCheckable(True)
            button.clicked.connect(lambda _on, tool=tool: self.tool_chosen.emit(tool))
        self.pictures.setCheckable(True)
        self.pictures.setChecked(True)
        self.pictures.toggled.connect(self.pictures_toggled)
        self.fit.clicked.connect(self.fit_wanted)
        self.close_button.clicked.connect(self.closed)

    # --- showing --------------------------------------------------------------------------------------
    def set_collections(self, folders: Sequence[str], current: str, watched: bool | None = None) -> None:
        """List collections by their folders; `watched` is None where the current one has none to watch."""
        self.menu.clear()
        for folder in folders:
            action = self.menu.addAction(Path(folder).name)
            action.setToolTip(folder)
            action.setCheckable(True)
            action.setChecked(folder == current)
            action.triggered.connect(lambda _on, folder=folder: self.collection_chosen.emit(folder))
        if folders:
            self.menu.addSeparator()
        self.menu.addAction("New from a folder…").triggered.connect(lambda _on: self.folder_wanted.emit())
        if current:
            self.menu.addAction("Add a folder to this one…").triggered.connect(
                lambda _on: self.folder_added.emit()
            )
            self.menu.addAction("Look for changes and index").triggered.connect(
                lambda _on: self.index_wanted.emit()
            )
            watch = self.menu.addAction("Watch for changes")
            watch.setToolTip("Follow its folders while it is open: what is new is indexed and placed")
            watch.setCheckable(True)
            watch.setChecked(bool(watched))
            watch.setEnabled(watched is not None)
            watch.triggered.connect(self.watch_wanted)
        self.collection.setText(f"{Path(current).name if current else 'Collections'} ▾")
        self.collection.setToolTip(current or "Open a collection, or make one from a folder")

    def set_spaces(self, spaces: Sequence[SpaceInfo], current: str) -> None:
        """List the models whose vectors the collection has."""
        lines = [(f"{space.label} · {space.count:,}", space.id, space.preprocessing) for space in spaces]
        _fill(self.space, lines or [("not indexed", "", "Index the collection with a model first")], current)
        self.space.setEnabled(bool(spaces))

    def set_maps(self, maps: Sequence[tuple[str, str]], current: str, *, can_place: bool) -> None:
        """List kept maps (name, label), and the ways to make another."""
        lines = [(label, f"map:{name}", "") for name, label in maps]
        if can_place:
            lines += [
                (f"New: {PROJECTIONS.get(key).label}…", f"place:{key}", PROJECTIONS.get(key).explanation)
                for key in _in_order(PROJECTIONS.keys())
            ]
        _fill(self.map, lines or [("no map yet", "", "")], f"map:{current}")
        self.map.setEnabled(bool(lines))

    def set_colourings(self, lines: Sequence[tuple[str, str]], current: str) -> None:
        """List what the points can be coloured by: (label, key)."""
        _fill(self.colour, [(label, key, "") for label, key in lines], current)

    def set_tool(self, tool: Tool) -> None:
        """Show which tool is in use."""
        for each, button in self.tools.items():
            button.setChecked(each is tool)

    def _on_map(self) -> None:
        kind, _, value = str(self.map.currentData()).partition(":")
        if kind == "place":
            self.place_wanted.emit(value)
        elif kind == "map":
            self.map_chosen.emit(value)


def _in_order(keys: Sequence[str]) -> list[str]:
    known = [key for key in _PREFERRED if key in keys]
    return [*known, *sorted(set(keys) - set(known))]


def _box(name: str, tip: str) -> QComboBox:
    box = ElidingCombo()
    box.setAccessibleName(name)
    box.setToolTip(tip)
    box.setSizeAdjustPolicy(QComboBox.SizeAdjustPolicy.AdjustToMinimumContentsLengthWithIcon)
    box.setMinimumContentsLength(16)
    return box


def _fill(box: QComboBox, lines: Sequence[tuple[str, str, str]], current: str) -> None:
    """Show other lines in a box (label, data, tooltip), and the current one; emits nothing."""
    with QSignalBlocker(box):
        shown = [(box.itemText(row), box.itemData(row)) for row in range(box.count())]
        if shown != [line[:2] for line in lines]:
            box.clear()
            for label, data, tip in lines:
                box.addItem(label, data)
                box.setItemData(box.count() - 1, tip or label, Qt.ItemDataRole.ToolTipRole)
        box.setCurrentIndex(max(0, box.findData(current)))
