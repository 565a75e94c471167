"""What is found in a collection, shown on its map: groups, duplicates, two models, classes."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray
from PySide6.QtCore import QObject, Qt
from PySide6.QtWidgets import QFileDialog, QMenu

from mmviewer.core.types import FloatArray

if TYPE_CHECKING:
    from mmviewer.gui.panels.map import MapPanel

Codes = NDArray[np.int32]


class MapFindings(QObject):
    """Leads between the Map panel and the controllers of structure and classes.

    Parameters
    ----------
    panel : MapPanel
        Owns this.
    """

    def __init__(self, panel: MapPanel) -> None:
        super().__init__(panel)
        self._panel = panel
        self._truth = ""
        self._compared_with = ""
        self.structure = panel.workbench.collection_structure
        self.classes = panel.workbench.collection_classes
        self._fill_menu(panel.bar.find_menu)
        structure, page = self.structure, panel.side.classes
        structure.grouped.connect(self._show_groups)
        structure.paired.connect(self._show_duplicates)
        structure.compared.connect(self._show_comparison)
        structure.layered.connect(self._show_ways)
        panel.drawer.layers_wanted.connect(structure.draw_layers)
        panel.drawer.export_wanted.connect(panel.work.export)
        panel.collections.placed.connect(lambda: panel.map.set_paths(()))
        panel.collections.placed.connect(lambda: panel.map.set_labels(structure.group_labels()))
        panel.collections.changed.connect(self._show_truths)
        panel.collections.opened.connect(self._show_truths)
        self.classes.changed.connect(self._show_classes)
        page.wanted.connect(self.classes.score)
        page.threshold_set.connect(self.classes.set_threshold)
        page.chosen.connect(self._select_class)
        page.truth_chosen.connect(self._choose_truth)
        page.export_wanted.connect(self._export)

    # --- colours ----------------------------------------------------------------------------------------
    def colourings(self) -> list[tuple[str, str]]:
        """What was found and can be coloured by: (label, key)."""
        lines = []
        if self.structure.groups is not None:
            lines.append(("Groups", "groups"))
        if self.structure.agreement is not None:
            lines.append(("Agreement of neighbours", "overlap"))
        if self.classes.table is not None:
            lines += [("Class", "class"), ("How sure the class is", "margin")]
        return lines

    def values_of(self, key: str) -> tuple[str, FloatArray | tuple[Codes, tuple[str, ...]] | None] | None:
        """Name and values of something found; None for a key of others."""
        groups, table = self.structure.groups, self.classes.table
        match key:
            case "groups":
                return "groups", None if groups is None else (groups.groups, groups.names)
            case "overlap":
                return "shared neighbours", self.structure.overlap()
            case "class":
                return "class", None if table is None else (table.codes, table.labels)
            case "margin":
                return "margin over the second class", None if table is None else table.margins
        return None

    # --- showing ------------------------------------------------------------------------------------------
    def _show_groups(self) -> None:
        self._panel.map.set_labels(self.structure.group_labels())
        if self.structure.groups is not None:
            self._panel.colour_by("groups")

    def _show_duplicates(self) -> None:
        rows, numbers = self.structure.duplicate_rows()
        groups = len(set(numbers.values()))
        surplus = self.structure.surplus_rows()
        if groups:
            note = f"{groups:,} groups of items that are nearly the same; all but one of each are selected"
        else:
            note = "No two items are nearly the same."
        self._panel.side.show_marked(note, rows, numbers)
        self._panel.collections.select(surplus)

    def _show_comparison(self) -> None:
        page = self._panel.side.measures
        page.show_lines((*self._panel.work.measures, *self.structure.comparison_lines()))
        former, self._compared_with = self._compared_with, self.structure.other
        if self.structure.other and self.structure.other != former:
            self._panel.colour_by("overlap")
        else:
            self._panel.colour_by(self._panel.colouring.key, bring=False)

    def _show_ways(self) -> None:
        ways = self.structure.ways
        self._panel.map.set_paths(() if ways is None else list(ways.xy))

    def _show_classes(self) -> None:
        table = self.classes.table
        self._panel.side.classes.show_table(table, self.classes.against(self._truth))
        if table is not None:
            self._panel.colour_by("class", bring=False)

    def _show_truths(self) -> None:
        view = self._panel.collections.view
        names = [info.name for info in view.columns if info.kind == "category"] if view is not None else []
        if self._truth not in names:
            self._truth = ""
        self._panel.side.classes.set_truths(names, self._truth)

    # --- events -------------------------------------------------------------------------------------------
    def _fill_menu(self, menu: QMenu) -> None:
        for text, tip, run in (
            ("Groups", "Items that lie together, with names", lambda: self.structure.find_groups()),
            ("Fine groups", "Many small groups", lambda: self.structure.find_groups(fine=True)),
            ("Near-duplicates", "Items that are nearly or wholly the same", self.structure.find_duplicates),
            (
                "Index patches…",
                "Look at the patches of all images, for regions to be found by patches",
                self._panel.patches.estimate,
            ),
            ("Prepare fast search", "An index for collections above 100,000", self.structure.prepare_search),
            (
                "Check the collection",
                "Whether catalogue, vectors and files are whole",
                self._panel.work.verify,
            ),
        ):
            action = menu.addAction(text)
            action.setToolTip(tip)
            action.triggered.connect(lambda _on, run=run: run())
        self._compare = menu.addMenu("Compare with another model")
        menu.setToolTipsVisible(True)
        menu.aboutToShow.connect(self._fill_compare)

    def _fill_compare(self) -> None:
        self._compare.clear()
        view, current = self._panel.collections.view, self._panel.collections.space_id
        others = [space for space in view.spaces if space.id != current] if view is not None else []
        for space in others:
            action = self._compare.addAction(space.label)
            action.triggered.connect(lambda _on, other=space.id: self.structure.compare_with(other))
        self._compare.setEnabled(bool(others))

    def _select_class(self, label: str) -> None:
        table = self.classes.table
        if table is not None and label in table.labels:
            self._panel.collections.select(np.flatnonzero(table.codes == table.labels.index(label)))

    def _choose_truth(self, column: str) -> None:
        self._truth = column
        self._panel.side.classes.show_table(self.classes.table, self.classes.against(column))

    def _export(self) -> None:
        dialog = QFileDialog(self._panel, "Write classes")
        dialog.setAcceptMode(QFileDialog.AcceptMode.AcceptSave)
        dialog.setNameFilters(["CSV (*.csv)", "Parquet (*.parquet)"])
        dialog.setDefaultSuffix("csv")
        dialog.setAttribute(Qt.WidgetAttribute.WA_DeleteOnClose)
        dialog.fileSelected.connect(lambda path: self.classes.export(path, self._truth))
        dialog.open()
