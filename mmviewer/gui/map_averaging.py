"""Between the Map panel and the average map: what can be asked follows the selection, the strip the item."""

from __future__ import annotations

from typing import TYPE_CHECKING

from PySide6.QtCore import QObject, Qt, QTimer
from PySide6.QtWidgets import QFileDialog

from mmviewer.gui.activities import Activity
from mmviewer.gui.controllers.collection_average import AVERAGE

if TYPE_CHECKING:
    from mmviewer.gui.panels.map import MapPanel

_PAGE = "average-map"  # of the help
_SOON_MS = 60  # changes that come together are answered together
_FILES = (
    "PNG image (*.png)",
    "SVG, vector text (*.svg)",
    "PDF, vector text (*.pdf)",
    "NPZ, the raw arrays (*.npz)",
    "CSV, the numbers as text (*.csv)",
)


class MapAveraging(QObject):
    """Leads between the page and its controller.

    Parameters
    ----------
    panel : MapPanel
        Owns this.
    """

    def __init__(self, panel: MapPanel) -> None:
        super().__init__(panel)
        self._panel = panel
        self._bench = panel.workbench
        self.average = panel.workbench.collection_average
        self.page = panel.side.average
        self._soon = QTimer(self, singleShot=True, interval=_SOON_MS)
        self._soon.timeout.connect(self._offer)
        collections, page = panel.collections, self.page
        for signal in (
            collections.selection_changed,
            collections.opened,
            collections.changed,
            self._bench.collection_structure.grouped,
        ):
            signal.connect(self._soon.start)
        panel.side.currentChanged.connect(lambda _page: self._soon.start())
        collections.shown.connect(lambda _shown: self._soon.start())
        collections.picked_changed.connect(lambda: page.strip.set_picked(collections.picked))
        page.strip.set_sources(self.average.pictures, collections.names)
        page.strip.picked.connect(collections.pick)
        page.strip.opened.connect(collections.open_item)
        page.wanted.connect(self.average.run)
        page.stopped.connect(self.average.stop)
        page.export_wanted.connect(self._ask_file)
        page.learn_more.connect(lambda: self._bench.help_requested.emit(_PAGE))
        panel.drawer.label_given.connect(self.average.remember_label)
        self.average.changed.connect(self._on_changed)
        self._bench.state.model_changed.connect(self._on_model)
        self._bench.activities.changed.connect(self._on_activity)
        page.show_running(self._bench.activity(AVERAGE))

    def release(self) -> None:
        """Let go of what outlives the panel."""
        self._soon.stop()
        self._bench.state.model_changed.disconnect(self._on_model)
        self._bench.activities.changed.disconnect(self._on_activity)

    # --- following --------------------------------------------------------------------------------------
    def _offer(self) -> None:
        if not self.page.isVisible():
            return  # once it is shown
        average = self.average
        self.page.offer(
            average.methods(),
            average.usual_method(),
            average.likely_word(),
            len(average.rows()),
            average.hindrance(),
            selected=len(self._panel.collections.selection) > 0,
        )

    def _on_model(self, _model: object) -> None:
        self._soon.start()

    def _on_activity(self, key: str, activity: Activity) -> None:
        if key == AVERAGE:
            self.page.show_running(activity)

    def _on_changed(self) -> None:
        found = self.average.result
        if found is None or len(found.maps):
            self.page.strip.forget_pictures()  # they are shown under their maps from now on
        self.page.show_result()

    def _ask_file(self) -> None:
        dialog = QFileDialog(self._panel, "Write the average map")
        dialog.setAcceptMode(QFileDialog.AcceptMode.AcceptSave)
        dialog.setNameFilters(list(_FILES))
        dialog.setDefaultSuffix("png")
        dialog.setAttribute(Qt.WidgetAttribute.WA_DeleteOnClose)
        dialog.filterSelected.connect(lambda name: dialog.setDefaultSuffix(name.rsplit("*.")[-1].rstrip(")")))
        dialog.fileSelected.connect(self.average.export)
        dialog.open()
