"""The structure of the open collection: groups with names, near-duplicates, another model beside it."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray
from PySide6.QtCore import QObject, Signal

from mmviewer.core.types import FloatArray
from mmviewer.engine.protocol import ErrorReport, Request
from mmviewer.engine.protocol_layers import LayerPaths, LayerWays
from mmviewer.engine.protocol_structure import (
    ClusterSpace,
    CompareSpaces,
    Duplicates,
    FindDuplicates,
    PrepareSearch,
    SearchState,
    SpaceAgreement,
    SpaceClusters,
)

if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from mmviewer.gui.workbench import Workbench

Rows = NDArray[np.int64]

STRUCTURE = "collection:structure"
_MOST = 0.5
_WAYS = 12  # items whose ways are drawn at once
_LABELLED = 60
"""Groups that are named on the map; the largest."""


class CollectionStructure(QObject):
    """Finds groups and duplicates, and compares two models.

    Signals
    -------
    grouped()
        `groups` are new, or gone.
    paired()
        `duplicates` are new.
    compared()
        `agreement` is new.
    layered()
        `ways` are new.
    """

    grouped = Signal()
    paired = Signal()
    compared = Signal()
    layered = Signal()

    def __init__(self, workbench: Workbench) -> None:
        super().__init__(workbench)
        self._workbench = workbench
        self._collections = workbench.collections
        self.groups: SpaceClusters | None = None
        self.duplicates: Duplicates | None = None
        self.agreement: SpaceAgreement | None = None
        self.ways: LayerWays | None = None
        self.other = ""
        self._collections.opened.connect(self.forget)

    def forget(self) -> None:
        """What was found belongs to another collection."""
        self.groups, self.duplicates, self.agreement, self.other, self.ways = None, None, None, "", None
        self.grouped.emit()

    # --- asking -----------------------------------------------------------------------------------------
    def find_groups(self, *, fine: bool = False) -> None:
        """Find groups by density, named by hand labels where most items have one, else by texts and files."""
        column = self._labels_of_most()

        def done(found: SpaceClusters) -> None:
            names = tuple(name or f"group {number + 1}" for number, name in enumerate(found.names))
            self.groups = replace(found, names=names)
            self._workbench.notice.emit(f"{len(found.names):,} groups · {found.details}", "info")
            self.grouped.emit()

        self._ask(
            "Finding groups",
            lambda folder, space, closed: ClusterSpace(
                folder, space, fine=fine, column=column, closed=closed
            ),
            done,
        )

    def find_duplicates(self) -> None:
        """Find items that are nearly or wholly the same."""

        def done(found: Duplicates) -> None:
            self.duplicates = found
            self.paired.emit()

        self._ask(
            "Finding near-duplicates",
            lambda folder, space, closed: FindDuplicates(folder, space, closed=closed),
            done,
        )

    def compare_with(self, other_id: str) -> None:
        """Compare neighbourhoods with those of another model's space."""

        def done(found: SpaceAgreement) -> None:
            self.agreement, self.other = found, other_id
            self.compared.emit()

        self._ask(
            "Comparing two models",
            lambda folder, space, closed: CompareSpaces(folder, space, other_id=other_id, closed=closed),
            done,
        )

    def prepare_search(self) -> None:
        """Make the index of a large space, so that questions are answered at once."""

        def done(state: SearchState) -> None:
            how = "every vector is compared" if state.exact else f"recall {state.recall:.1%}"
            self._workbench.notice.emit(f"Search over {state.vectors:,} vectors is ready: {how}.", "info")

        self._ask(
            "Preparing fast search",
            lambda folder, space, closed: PrepareSearch(folder, space, closed=closed),
            done,
        )

    def draw_layers(self) -> None:
        """The ways of a few selected items through the layers of the model, on the map that is shown."""
        rows, coordinates = self._collections.selection[:_WAYS], self._collections.coordinates
        model, view = self._workbench.state.model, self._collections.view
        kept = view is not None and coordinates is not None and coordinates.name in view.maps
        if model is None or not kept or not len(rows) or coordinates is None:
            words = "To draw ways through the layers, load the model, make a map and select items."
            self._workbench.notice.emit(words, "warning")
            return

        def done(found: LayerWays) -> None:
            self.ways = found
            self._workbench.notice.emit(" ".join((found.caveat, *found.left_out[:1])), "info")
            self.layered.emit()

        self._ask(
            "Following items through the layers",
            lambda folder, space, _closed: LayerPaths(
                folder, space, model.id, tuple(rows.tolist()), coordinates.name
            ),
            done,
        )

    # --- what was found ------------------------------------------------------------------------------------
    def group_labels(self) -> list[tuple[float, float, str]]:
        """Where the names of the largest groups stand on the map that is shown: (x, y, name)."""
        coordinates, groups = self._collections.coordinates, self.groups
        if coordinates is None or groups is None:
            return []
        count = min(len(coordinates.xy), len(groups.groups))
        xy, codes = coordinates.xy[:count], groups.groups[:count]
        placed = np.isfinite(xy).all(axis=1)
        labels = []
        for code, name in enumerate(groups.names[:_LABELLED]):
            members = xy[placed & (codes == code)]
            if len(members):
                x, y = np.median(members, axis=0)
                labels.append((float(x), float(y), name))
        return labels

    def duplicate_rows(self) -> tuple[Rows, dict[int, str]]:
        """Items that have duplicates, group by group, and the number of the group of each."""
        if self.duplicates is None or not self.duplicates.groups:
            return np.zeros(0, np.int64), {}
        rows = np.concatenate(self.duplicates.groups)
        numbers = {
            int(row): f"{number + 1}" for number, rows_ in enumerate(self.duplicates.groups) for row in rows_
        }
        return rows, numbers

    def surplus_rows(self) -> Rows:
        """All but the first of each group of duplicates."""
        groups = () if self.duplicates is None else self.duplicates.groups
        return np.sort(np.concatenate([group[1:] for group in groups])) if groups else np.zeros(0, np.int64)

    def comparison_lines(self) -> tuple[tuple[str, str, str], ...]:
        """What the comparison of two models says: name, value, meaning."""
        found = self.agreement
        if found is None:
            return ()
        return (
            (
                "Shared neighbours",
                f"{found.mean:.2f}",
                f"Of {found.neighbours} nearest, the share both name.",
            ),
            ("… by chance", f"{found.by_chance:.4f}", "What it would be with nothing in common."),
            ("Left after turning", f"{found.disparity:.2f}", "Procrustes: 0 if one turns into the other."),
        )

    def overlap(self) -> FloatArray | None:
        """Share of the nearest neighbours that two models give each item [N]."""
        return None if self.agreement is None else self.agreement.overlap

    # --- inside -------------------------------------------------------------------------------------------
    def _labels_of_most(self) -> str:
        """Name of the labels given by hand that at least half of the items have; empty without such."""
        view = self._collections.view
        for info in view.columns if view is not None else ():
            values = self._collections.column(info.name) if info.by_hand else None
            if isinstance(values, tuple) and len(values[0]) and (values[0] >= 0).mean() >= _MOST:
                return info.name
        return ""

    def _ask(
        self, label: str, request: Callable[[str, str, bool], Request], done: Callable[[Any], None]
    ) -> None:
        view, space_id = self._collections.view, self._collections.space_id
        if view is None or not space_id:
            self._workbench.notice.emit("There are no vectors yet; index the collection first.", "warning")
            return
        asked = request(str(view.folder), space_id, self._collections.closed)
        self._workbench.activities.run(STRUCTURE, label, asked, done, failed=self._failed)

    def _failed(self, error: ErrorReport) -> None:
        self._workbench.report(error)
