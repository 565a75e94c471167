"""The average map of items of the open collection: asked for, shown as it comes, written as a figure."""

from __future__ import annotations

import re
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray
from PySide6.QtCore import QObject, Signal

from mmviewer.core.average.figure import average_figure, average_provenance
from mmviewer.core.average.frame import spread
from mmviewer.core.average.result import AverageMap, caption_words
from mmviewer.core.figures import colormaps
from mmviewer.core.figures.overlay import colour_range, paint
from mmviewer.core.figures.spec import MapStyle
from mmviewer.core.space.collection import KINDS
from mmviewer.core.types import MapSpec, Modality, ModelInfo
from mmviewer.engine.protocol import ErrorReport
from mmviewer.engine.protocol_average import AverageItems
from mmviewer.gui.controllers.sequences import DEFAULT_METHODS
from mmviewer.gui.view_model import enlarge, method_labels

if TYPE_CHECKING:
    from mmviewer.gui.workbench import Workbench

Rows = NDArray[np.int64]
Pixels = NDArray[np.uint8]

AVERAGE = "collection:average"
_NUMBERED = re.compile(r"group \d+")  # what a group without a name of its own is called
_LOOKED_AT = 200  # items of which labels are read
_MOST_OF = 0.5
"""Share of the chosen items that must be of one group, or have one label, for it to be looked for."""


class CollectionAverage(QObject):
    """Holds the average that was made last, or as far as it has come.

    Signals
    -------
    changed()
        `result` is another.

    Attributes
    ----------
    result : AverageMap or None
    error : ErrorReport or None
        Why there is none.
    """

    changed = Signal()

    def __init__(self, workbench: Workbench) -> None:
        super().__init__(workbench)
        self._workbench = workbench
        self._collections = workbench.collections
        self.result: AverageMap | None = None
        self.error: ErrorReport | None = None
        self._model: ModelInfo | None = None
        self._last_label = ""
        self._collections.opened.connect(self.forget)

    def forget(self) -> None:
        """The average belongs to another collection."""
        self.stop()
        self.result, self.error, self._last_label = None, None, ""
        self.changed.emit()

    # --- what can be asked ----------------------------------------------------------------------------------
    def rows(self) -> Rows:
        """The selected items; without a selection all that are on the map."""
        chosen = self._collections.selection
        return chosen if len(chosen) else np.flatnonzero(self._collections.on_map())

    def modality(self) -> Modality | None:
        """Pictures or sounds, whichever are more among the items; None where there are neither."""
        view = self._collections.view
        if view is None:
            return None
        codes = view.table.kinds[self.rows()]
        counts = {kind: int((codes == KINDS.index(kind)).sum()) for kind in (Modality.IMAGE, Modality.AUDIO)}
        most = max(counts, key=lambda kind: counts[kind])
        return most if counts[most] else None

    def methods(self) -> dict[str, str]:
        """Methods by which the loaded model can be asked about these items, key to words."""
        model, modality = self._workbench.state.model, self.modality()
        if model is None or modality is None:
            return {}
        return method_labels(model.side(modality), "query")

    def usual_method(self) -> str:
        """The method that is taken unless another is chosen."""
        offered = self.methods()
        return next((key for key in (*DEFAULT_METHODS["query"], *offered) if key in offered), "")

    def hindrance(self) -> str:
        """Why nothing can be asked now, and what to do; empty where it can."""
        if self._collections.view is None:
            return "Open a collection first."
        if self._workbench.state.model is None:
            return "Load a model first: it makes a map of each item."
        if self.modality() is None:
            return "Texts have no maps; select images or sounds."
        if not self.methods():
            return "This model cannot be asked where a word is; load one that reads images and texts."
        return ""

    def remember_label(self, label: str) -> None:
        """Keep in mind the label that was given last."""
        self._last_label = label or self._last_label

    def likely_word(self) -> str:
        """What one may want to look for: the items' group, their label, or the label that was given last."""
        rows, view = self._collections.selection, self._collections.view
        if view is None or not len(rows):
            return self._last_label
        groups = self._workbench.collection_structure.groups
        if groups is not None:
            known = rows[rows < len(groups.groups)]
            name = _of_most(groups.groups[known], groups.names, len(rows))
            if name and not _NUMBERED.fullmatch(name):
                return name
        items = self._collections.items(rows[spread(len(rows), _LOOKED_AT)])
        for column in (info.name for info in view.columns if info.by_hand):
            labels = Counter(str(item.extra.get(column, "")) for item in items)
            name, count = labels.most_common(1)[0] if labels else ("", 0)
            if name and count >= _MOST_OF * len(items):
                return name
        return self._last_label

    # --- asking -------------------------------------------------------------------------------------------
    def run(self, text: str, method: str, most: int) -> None:
        """Average the maps of these items; a former run that has not ended is stopped."""
        view, model = self._collections.view, self._workbench.state.model
        if view is None or model is None or self.hindrance():
            self._workbench.notice.emit(self.hindrance(), "warning")
            return
        text = text.strip()
        if not text:
            self._workbench.notice.emit("Type the word that the maps are to look for.", "warning")
            return

        def told(found: AverageMap) -> None:
            self.result = found
            self.changed.emit()

        self.result, self.error, self._model = None, None, model
        self.changed.emit()
        request = AverageItems(
            str(view.folder),
            model.id,
            self.rows(),
            text.strip(),
            MapSpec(method or self.usual_method()),
            most,
        )
        self._workbench.activities.run(
            AVERAGE, f"Averaging maps of “{text}”", request, told, partial=told, failed=self._failed
        )

    def stop(self) -> None:
        """Stop; the average of the maps that were made stays."""
        self._workbench.activities.cancel(AVERAGE)

    # --- what was found ------------------------------------------------------------------------------------
    def caption(self, measure: str) -> str:
        """What is shown, in words."""
        if self.result is None:
            return ""
        model = self._model
        words = (model.label, model.preprocessing) if model is not None else ("", "")
        return caption_words(self.result, *words, measure)

    def colors(self, *, signed: bool) -> Pixels:
        """Colours [256, 3] as they are chosen in the viewer."""
        return colormaps.lut(colormaps.suited(self._workbench.state.view.colormap, signed))

    def pictures(self, rows: Rows) -> list[Pixels | None]:
        """Small pictures of items under their own maps, each on its own scale."""
        found = self.result
        plain = self._collections.pictures(rows)
        if found is None or not len(found.maps):
            return plain
        places = {int(row): place for place, row in enumerate(found.rows)}
        colors = self.colors(signed=found.signed)

        def with_map(row: int, pixels: Pixels | None) -> Pixels | None:
            if pixels is None or row not in places:
                return pixels
            values = found.maps[places[row]]
            scale = colour_range(values, found.signed)
            fine = enlarge(values, (pixels.shape[0], pixels.shape[1]), "bilinear")
            return paint(pixels, fine, colors, *scale, self._workbench.state.view.opacity)

        return [with_map(row, pixels) for row, pixels in zip(rows.tolist(), plain, strict=True)]

    def export(self, path: str | Path) -> None:
        """Write mean and deviation as a figure, or the arrays; the ending says how."""
        if self.result is None:
            return
        view = self._workbench.state.view
        figure = average_figure(self.result, MapStyle(colormap=view.colormap))
        provenance = average_provenance(self.result, self._model)
        self._workbench.export_figure(figure, path, provenance)

    def _failed(self, error: ErrorReport) -> None:
        self.error = error
        self.changed.emit()


def _of_most(codes: NDArray[np.integer], names: tuple[str, ...], count: int) -> str:
    """The name that at least half of the items have; empty without one."""
    common = Counter(int(code) for code in codes if code >= 0).most_common(1)
    return names[common[0][0]] if common and common[0][1] >= _MOST_OF * count else ""
