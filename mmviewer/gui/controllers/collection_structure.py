"""The structure of the open collection: groups with names, near-duplicates, another model beside it."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray
from PySide6.QtCore import QObject, Signal

from mmviewer.core.space.collection import Coordinates
from mmviewer.core.types import FloatArray
from mmviewer.engine.protocol import ErrorReport, Request
from mmviewer.engine.protocol_layers import LayerPaths, LayerWays
from mmviewer.engine.protocol_space import PlacedSpace, PlaceSpace
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

STRUCTURE, BESIDE = "collection:structure", "collection:beside"
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
        `agreement` is new, or gone.
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
        self.other = self.other_map = ""
        self._laid_on: Coordinates | None = None
        self._placing = False
        self._collections.opened.connect(self.forget)
        self._collections.placed.connect(self._on_placed)

    def forget(self) -> None:
        """What was found belongs to another collection."""
        self.groups, self.duplicates, self.ways = None, None, None
        self.close_comparison()
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
        """Compare with another model's space, and lay its map on the one that is shown.

        Where a space has no map that is kept, it is placed by PCA first.
        """
        shown, space_id = self._collections.coordinates, self._collections.space_id
        view = self._collections.view
        own = ""
        if shown is not None and view is not None and shown.name in view.maps:
            own = shown.name
        own = own or self._collections.kept_map(space_id)
        method = shown.method if shown is not None else ""

        def with_own(name: str) -> None:
            other = self._collections.kept_map(other_id, method)
            self._with_map(other_id, other, lambda found: self._compare(other_id, name, found))

        self._with_map(space_id, own, with_own)

    def close_comparison(self) -> None:
        """Look at one map again."""
        self._workbench.cancel(BESIDE)
        self.agreement, self.other, self.other_map, self._laid_on = None, "", "", None
        self.compared.emit()

    def _with_map(self, space_id: str, name: str, then: Callable[[str], None]) -> None:
        """Go on with a kept map of a space, made where there is none."""
        if name:
            then(name)
            return

        def placed(found: PlacedSpace) -> None:
            self._placing = True
            self._collections.look_again()
            self._placing = False
            then(found.name)

        self._ask(
            "Placing the space of a model (PCA)",
            lambda folder, _space, closed: PlaceSpace(folder, space_id, "pca", closed=closed),
            placed,
            BESIDE,
        )

    def _compare(self, other_id: str, own: str, other: str) -> None:
        maps = (own, other) if own and other else None

        def done(found: SpaceAgreement) -> None:
            shown = self._collections.coordinates
            if maps is not None and (shown is None or shown.name != own):
                self._placing = True
                self._collections.show_map(own)
                self._placing = False
            self.agreement, self.other, self.other_map = found, other_id, other
            self._laid_on = self._collections.coordinates
            if maps is None:
                words = "Another program writes to the collection, so no map could be kept to stand beside."
                self._workbench.notice.emit(words, "warning")
            self.compared.emit()

        self._ask(
            "Comparing two models",
            lambda folder, space, closed: CompareSpaces(
                folder, space, other_id=other_id, closed=closed, maps=maps
            ),
            done,
            BESIDE,
        )

    def _on_placed(self) -> None:
        """The second map lies on the one that was shown: on another it is laid anew."""
        shown = self._collections.coordinates
        busy = self._placing or self._workbench.activity(BESIDE).running
        if busy or not self.other or shown is None or shown is self._laid_on:
            return
        before, view = self._laid_on, self._collections.view
        same = before is not None and before.space_id == shown.space_id
        if same and view is not None and shown.name in view.maps:
            self.compare_with(self.other)
        else:
            self.close_comparison()

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
        self,
        label: str,
        request: Callable[[str, str, bool], Request],
        done: Callable[[Any], None],
        key: str = STRUCTURE,
    ) -> None:
        view, space_id = self._collections.view, self._collections.space_id
        if view is None or not space_id:
            self._workbench.notice.emit("There are no vectors yet; index the collection first.", "warning")
            return
        asked = request(str(view.folder), space_id, self._collections.closed)
        self._workbench.activities.run(key, label, asked, done, failed=self._failed)

    def _failed(self, error: ErrorReport) -> None:
        self._workbench.report(error)
