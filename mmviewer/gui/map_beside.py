"""Beside the map: the map of another model, turned onto it, with the same colours, selection and pointer."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from PySide6.QtCore import QSize, QTimer
from PySide6.QtGui import QPalette, QResizeEvent
from PySide6.QtWidgets import QCheckBox, QHBoxLayout, QSplitter, QVBoxLayout, QWidget

from mmviewer.gui.buttons import icon_button
from mmviewer.gui.map_facts import card_of, map_label
from mmviewer.gui.widgets.elided_label import ElidedLabel
from mmviewer.gui.widgets.point_map import PointMap

if TYPE_CHECKING:
    from mmviewer.gui.panels.map import MapPanel

_MEANS = (
    "Shared neighbours: of the nearest items that one model gives an item, the share that the other gives it"
    " too; by chance it would be as much as stands in brackets. Disparity: what remains of the"
    " variance of the vectors when one space is turned onto the other (Procrustes): 0 if all fits, 1 if"
    " nothing does."
)


class MapBeside(QWidget):
    """The second map; hidden until two models are compared.

    Parameters
    ----------
    panel : MapPanel
        Whose map it stands beside.
    """

    def __init__(self, panel: MapPanel) -> None:
        super().__init__()
        self._panel = panel
        self._collections = panel.collections
        self._structure = panel.workbench.collection_structure
        self.title = ElidedLabel("", bold=True)
        self.link = QCheckBox("Link zoom")
        self.link.setChecked(True)
        self.link.setToolTip("Both maps show the same part of the plane")
        self.close_button = icon_button("close", "Close the second map", "Back to one map")
        self.line = ElidedLabel("", QPalette.ColorRole.PlaceholderText)
        self.map = PointMap()
        self.map.setAccessibleName("Map of the other model")
        self._soon = QTimer(self, singleShot=True, interval=0)
        self._lay_out()
        self._connect()
        splitter = panel.map.parentWidget()
        assert isinstance(splitter, QSplitter)
        splitter.insertWidget(1, self)
        splitter.setStretchFactor(1, 1)
        self.hide()

    def _lay_out(self) -> None:
        head = QHBoxLayout()
        head.addWidget(self.title, 1)
        head.addWidget(self.link)
        head.addWidget(self.close_button)
        column = QVBoxLayout(self)
        column.setContentsMargins(0, 0, 0, 0)
        column.setSpacing(2)
        column.addLayout(head)
        column.addWidget(self.line)
        column.addWidget(self.map, 1)

    def _connect(self) -> None:
        collections, first, second = self._collections, self._panel.map, self.map
        second.set_pictures(collections.pictures)
        second.set_names(collections.names, lambda row: card_of(collections.item(row), row))
        second.picked.connect(collections.pick)
        second.opened.connect(collections.open_item)
        second.selection_changed.connect(collections.select)
        for one, other in ((first, second), (second, first)):
            one.hovered.connect(other.show_hovered)
            one.tool_changed.connect(other.set_tool)
        first.inked.connect(lambda: second.mirror(first))
        second.ready.connect(lambda: second.mirror(first))
        first.moved.connect(self._follow)
        second.moved.connect(self._lead)
        first.ready.connect(self._soon.start)
        self._soon.timeout.connect(self._follow)
        self.link.toggled.connect(lambda on: self._follow() if on else second.fit())
        self._panel.bar.pictures_toggled.connect(self._show_pictures)
        self.close_button.clicked.connect(self._structure.close_comparison)
        self._structure.compared.connect(self._show)
        collections.changed.connect(self._show_points)
        collections.picked_changed.connect(self._mark)

    # --- showing ----------------------------------------------------------------------------------------
    def _show(self) -> None:
        found, view = self._structure.agreement, self._collections.view
        if found is None or found.other_xy is None or view is None:
            self.hide()
            self.map.set_points(np.zeros((0, 2), np.float32), np.zeros(0, np.uint8))
            return
        space = view.space(self._structure.other)
        name = "another model" if space is None else space.label
        self.title.set_text(f"{name} · {map_label(self._structure.other_map)}, turned onto the first")
        self.line.set_text(
            f"shared neighbours {found.mean:.2f} (chance {found.by_chance:.3f})"
            f" · disparity {found.disparity:.2f}",
            f"Of {found.neighbours} nearest, over {found.compared:,} items. {_MEANS}",
        )
        self._show_points()
        if self.isHidden():
            self._make_room()
        self._soon.start()

    def _make_room(self) -> None:
        """Half of what the first map has."""
        splitter, room = self.parentWidget(), self._panel.map.width()
        self.show()
        if isinstance(splitter, QSplitter):
            splitter.setSizes([room // 2, room - room // 2, self._panel.side.width()])

    def _show_points(self) -> None:
        found, view = self._structure.agreement, self._collections.view
        if found is None or found.other_xy is None or view is None:
            return
        xy = np.full((view.count, 2), np.nan, np.float32)
        known = min(view.count, len(found.other_xy))
        xy[:known] = found.other_xy[:known]
        self.map.set_points(xy, view.table.kinds, keep_view=not self.isHidden())
        self._mark()

    def _mark(self) -> None:
        self.map.set_picked(self._collections.picked)

    def _show_pictures(self, shown: bool) -> None:
        self.map.show_pictures = shown
        self.map.update()

    # --- one view of the plane ----------------------------------------------------------------------------
    def _follow(self) -> None:
        if self.link.isChecked() and not self.isHidden():
            self.map.look_as(self._panel.map)

    def _lead(self) -> None:
        if self.link.isChecked():
            self._panel.map.look_as(self.map)

    def resizeEvent(self, event: QResizeEvent) -> None:
        super().resizeEvent(event)
        self._soon.start()

    def minimumSizeHint(self) -> QSize:
        """Little, as that of the first map."""
        return QSize(120, 100)

    def release(self) -> None:
        """Stop what is under way."""
        self._soon.stop()
        self.map.release()
