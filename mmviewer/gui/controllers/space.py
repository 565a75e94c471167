"""Zero-shot scores and the plane: questions about all items at once."""

from __future__ import annotations

from typing import TYPE_CHECKING

from PySide6.QtCore import QObject, QTimer

from mmviewer.core.session.state import LibraryItem
from mmviewer.core.types import Capability, Embeddings, MediaRef, Modality, ModelInfo, Projection, Scores
from mmviewer.engine.protocol import Classify, Project

if TYPE_CHECKING:
    from mmviewer.gui.workbench import Workbench

_FIRST_ALONE_FROM = 32
"""With more items not yet scored than this, the current item is scored before the others."""


class SpaceController(QObject):
    """Keeps `state.scores` and `state.embeddings` / `state.projection` in step with items and model."""

    def __init__(self, workbench: Workbench) -> None:
        super().__init__(workbench)
        self._workbench = workbench
        self._state = workbench.state
        self._activities = workbench.activities
        self._scored: tuple[str, set[str]] = ("", set())  # model and items whose features it has by now
        self._soon = QTimer(self, singleShot=True, interval=0)  # one request for changes that come together
        self._soon.timeout.connect(self.classify)
        self._state.items_changed.connect(self._on_items_changed)
        self._state.model_changed.connect(self._on_model_changed)
        self._state.labels_changed.connect(self._on_labels_changed)

    def release(self) -> None:
        """Stop watching the state."""
        self._soon.stop()
        self._state.items_changed.disconnect(self._on_items_changed)
        self._state.model_changed.disconnect(self._on_model_changed)
        self._state.labels_changed.disconnect(self._on_labels_changed)

    def classify(self) -> None:
        """Score all items that the model can embed against the labels; the last scores stay until then."""
        model, labels = self._state.model, self._state.labels
        items = tuple(item.ref for item in self._state.items if model and _can_score(model, item))
        if model is None or not labels or not items:
            self._activities.cancel("scores")
            self._activities.clear_error("scores")
            self._state.set_scores(None)
            return
        known = self._scored[1] if self._scored[0] == model.id else set()
        current = self._state.current
        first = tuple(ref for ref in items if current is not None and ref.id == current.id)
        if first and len({ref.id for ref in items} - known) > _FIRST_ALONE_FROM:
            self._score(model, first, then=items)
        else:
            self._score(model, items)

    def _score(self, model: ModelInfo, items: tuple[MediaRef, ...], then: tuple[MediaRef, ...] = ()) -> None:
        def done(scores: Scores) -> None:
            known = self._scored[1] if self._scored[0] == model.id else set()
            self._scored = (model.id, known | set(scores.items))
            self._state.set_scores(scores)
            if then:
                self._score(model, then)

        label = "Scoring" if len(items) == 1 else f"Scoring {len(items)} items"
        request = Classify(model.id, items, self._state.labels, self._state.templates)
        self._activities.run("scores", label, request, done=done)

    def project(self, method: str = "pca") -> None:
        """Embed all items and place them in the plane; the last plane stays until then."""
        model = self._state.model
        items = tuple(item.ref for item in self._state.items if model and _can_embed(model, item))
        if model is None or not items:
            self._activities.cancel("plane")
            self._activities.clear_error("plane")
            self._state.set_plane(None, None)
            return

        def done(plane: tuple[Embeddings, Projection]) -> None:
            self._state.set_plane(*plane)

        self._activities.run(
            "plane", f"Placing {len(items)} items ({method})", Project(model.id, items, method), done=done
        )

    def _on_items_changed(self, _items: object) -> None:
        self._soon.start()

    def _on_model_changed(self, _model: object) -> None:
        self._state.set_scores(None)  # of another model
        self._state.set_plane(None, None)
        self._soon.start()

    def _on_labels_changed(self, _labels: object, _templates: object) -> None:
        self._soon.start()


_EMBEDS = {
    Modality.IMAGE: Capability.EMBED_IMAGE,
    Modality.AUDIO: Capability.EMBED_AUDIO,
    Modality.TEXT: Capability.EMBED_TEXT,
}


def _can_embed(model: ModelInfo, item: LibraryItem) -> bool:
    return model.can(_EMBEDS[item.media.modality])


def _can_score(model: ModelInfo, item: LibraryItem) -> bool:
    return item.media.modality is not Modality.TEXT and _can_embed(model, item)
