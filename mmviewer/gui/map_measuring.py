"""What is measured in a collection, led between the Map panel and its controllers: pairs, similarities."""

from __future__ import annotations

from typing import TYPE_CHECKING

from PySide6.QtCore import QObject

from mmviewer.gui.buttons import push_button
from mmviewer.gui.map_matrix import MatrixDialog
from mmviewer.gui.map_pairs import PairsBox

if TYPE_CHECKING:
    from mmviewer.gui.panels.map import MapPanel


class MapMeasuring(QObject):
    """Leads between the Map panel and the controller of measures.

    Parameters
    ----------
    panel : MapPanel
        Owns this.
    """

    def __init__(self, panel: MapPanel) -> None:
        super().__init__(panel)
        self._panel = panel
        self.measures = panel.workbench.collection_measures
        self.pairs = PairsBox()
        panel.side.measures.add(self.pairs)
        self.matrix = MatrixDialog(panel.workbench, panel)
        self.open_matrix = push_button(
            "Similarity matrix…", "Cosines of the selected items, or of categories, with a dendrogram"
        )
        panel.side.measures.add(self.open_matrix)
        self.open_matrix.clicked.connect(self._show_matrix)
        self.pairs.wanted.connect(self.measures.measure_pairs)
        self.measures.paired.connect(self._show_pairs)
        collections = panel.collections
        collections.changed.connect(self._show_columns)
        collections.opened.connect(self._show_columns)
        collections.placed.connect(self.measures.measure_pairs_again)
        collections.shown.connect(lambda shown: shown or self.matrix.close())

    def _show_matrix(self) -> None:
        self.matrix.show()
        self.matrix.activateWindow()

    def _show_columns(self) -> None:
        self.pairs.set_columns(self.measures.pair_columns())

    def _show_pairs(self) -> None:
        found = self.measures.pairs
        if found is None:
            self.pairs.show_found("", None)
        else:
            self.pairs.show_found(found.column, found.measures)
        self._show_columns()
