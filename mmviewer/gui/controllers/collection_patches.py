"""The patches of the images of a collection: what indexing them takes, and doing it when it is wanted."""

from __future__ import annotations

from typing import TYPE_CHECKING

from PySide6.QtCore import QObject, QTimer, Signal

from mmviewer.core.space.patches import is_indexed
from mmviewer.core.types import ModelInfo
from mmviewer.engine.protocol import ErrorReport
from mmviewer.engine.protocol_layers import EstimatePatches, IndexPatches, PatchCost, PatchState
from mmviewer.gui.activities import Activity
from mmviewer.gui.controllers.map_costs import Offer
from mmviewer.gui.words import bytes_in_words, seconds_in_words

if TYPE_CHECKING:
    from mmviewer.gui.workbench import Workbench

PATCHES, ESTIMATE = "collection:patches", "collection:patch-estimate"


class CollectionPatches(QObject):
    """Estimates, offers and indexes.

    Signals
    -------
    offer_changed()
        `offer` is another.
    indexed()
        The patches of the space that is looked at can be searched.
    refused()
        They cannot be had, which was told, or are not wanted any more.

    Attributes
    ----------
    offer : Offer or None
        What indexing would take, until it is accepted or declined.
    """

    offer_changed = Signal()
    indexed = Signal()
    refused = Signal()

    def __init__(self, workbench: Workbench) -> None:
        super().__init__(workbench)
        self._workbench = workbench
        self._collections = workbench.collections
        self.offer: Offer | None = None
        self._wanted = False  # until a run has answered
        self._stopped = QTimer(self, singleShot=True, interval=0)  # an answer comes right after an end
        self._stopped.timeout.connect(self._on_stopped)
        workbench.activities.changed.connect(self._on_activity)
        for signal in (self._collections.opened, self._collections.changed):
            signal.connect(self._on_collection)

    @property
    def is_indexed(self) -> bool:
        """Whether the space that is looked at has an index of patches."""
        view, space_id = self._collections.view, self._collections.space_id
        return view is not None and bool(space_id) and is_indexed(view.folder, space_id)

    def estimate(self) -> None:
        """Say what indexing takes, and offer it; a run that goes on is left alone."""
        if self._workbench.activities.get(PATCHES).running:
            self._workbench.notice.emit("The patches are being indexed; see below the map.", "info")
            return
        asked = self._asked()
        if asked is None:
            self.refused.emit()
            return
        folder, space_id, model = asked

        def done(cost: PatchCost) -> None:
            self._wanted = False
            self._show(Offer(_words(cost, model.label), "Index patches", space_id))

        self._wanted = True
        self._workbench.activities.run(
            ESTIMATE,
            "Estimating what patches take",
            EstimatePatches(folder, space_id, model.id),
            done,
            failed=self._failed,
        )

    def accept(self) -> None:
        """Index the patches; what was indexed before stays until it is done."""
        asked = self._asked()
        self.withdraw()
        if asked is None:
            self.refused.emit()
            return
        folder, space_id, model = asked

        def done(state: PatchState) -> None:
            self._wanted = False
            words = f"Indexed {state.patches:,} patches of {state.images:,} images."
            if state.failed:
                words += f" {state.failed:,} images cannot be read, such as {state.reasons[0]}"
            self._workbench.notice.emit(words, "warning" if state.failed else "info")
            view = self._collections.view
            if view is not None and (str(view.folder), self._collections.space_id) == (folder, space_id):
                self.indexed.emit()

        self._wanted = True
        self._workbench.activities.run(
            PATCHES,
            f"Indexing patches with {model.label}",
            IndexPatches(folder, space_id, model.id),
            done,
            failed=self._failed,
        )

    def decline(self) -> None:
        """It is not wanted now."""
        self.withdraw()
        self.refused.emit()

    def withdraw(self) -> None:
        """Offer nothing."""
        self._show(None)

    # --- inside -----------------------------------------------------------------------------------------
    def _asked(self) -> tuple[str, str, ModelInfo] | None:
        """Folder, space and model; None where one is missing, which is told."""
        view, space_id = self._collections.view, self._collections.space_id
        model = self._workbench.state.model
        if view is None or not space_id:
            words = "There are no vectors yet; index the collection, then its patches."
        elif model is None:
            words = "To index patches, load the model that made the vectors."
        else:
            return str(view.folder), space_id, model
        self._workbench.notice.emit(words, "warning")
        return None

    def _on_activity(self, key: str, activity: Activity) -> None:
        if key in (PATCHES, ESTIMATE) and not activity.running:
            self._stopped.start()

    def _on_stopped(self) -> None:
        """A run that has ended without an answer was cancelled."""
        if self._wanted:
            self._wanted = False
            self.refused.emit()

    def _failed(self, error: ErrorReport) -> None:
        self._wanted = False
        self._workbench.report(error)
        self.refused.emit()

    def _show(self, offer: Offer | None) -> None:
        if offer != self.offer:
            self.offer = offer
            self.offer_changed.emit()

    def _on_collection(self) -> None:
        if self.offer is not None and self.offer.key != self._collections.space_id:
            self.withdraw()


def _words(cost: PatchCost, model: str) -> str:
    """What indexing takes, and why it is wanted."""
    takes = [f"{cost.patches:,} vectors", bytes_in_words(cost.bytes)]
    if cost.seconds:
        takes.append(f"about {seconds_in_words(max(cost.seconds, 1))}")
    words = (
        f"To search by patches, index them first: {model} looks once more at {cost.images:,} images"
        f" ({', '.join(takes)})."
    )
    if cost.indexed:
        words += f" {cost.indexed:,} of them are indexed already; they are done anew."
    return words
