"""Where does it lie? All items and typed texts in the plane, with lines from the chosen to its nearest."""

from __future__ import annotations

from collections import Counter
from typing import ClassVar

from PySide6.QtCore import Qt, QTimer
from PySide6.QtGui import QImage, QPalette, QResizeEvent, QShowEvent
from PySide6.QtWidgets import (
    QBoxLayout,
    QComboBox,
    QHBoxLayout,
    QLineEdit,
    QProgressBar,
    QPushButton,
    QSizePolicy,
    QVBoxLayout,
    QWidget,
)

from mmviewer.core.session.state import LibraryItem
from mmviewer.core.space.neighbours import modality_gap, nearest
from mmviewer.core.space.projection.base import PROJECTIONS
from mmviewer.core.types import Capability, Embeddings, Modality, ModelInfo, Projection
from mmviewer.gui.activities import Activity
from mmviewer.gui.buttons import icon_button, push_button
from mmviewer.gui.panels.base import PANELS, Area, Panel
from mmviewer.gui.thumbnails import Thumbnails, short_name
from mmviewer.gui.widgets.elided_label import ElidedLabel
from mmviewer.gui.widgets.scatter_view import Plane, ScatterView
from mmviewer.gui.widgets.state_stack import StateStack
from mmviewer.gui.workbench import Workbench

FAST = "pca"
"""The projection that is there at once; the chosen one follows it."""
_NEAREST = 5
_REFRESH_MS = 150  # items that arrive together are placed together
_STEPS = 1000
_ROOMY = 560  # below, the summary stands under the controls
_SIGNS = (("image", "image", "●"), ("text", "text", "▲"), ("audio", "sound", "■"))


@PANELS.add("space")
class SpacePanel(Panel):
    """The scatter with its method, what a reader must know of it, and a field to add texts."""

    key: ClassVar[str] = "space"
    title: ClassVar[str] = "Space"
    area: ClassVar[Area] = Area.BOTTOM
    order: ClassVar[int] = 10
    icon: ClassVar[str] = "space"
    help: ClassVar[str] = "Where items and texts lie in the space that they share: near means similar."
    help_page: ClassVar[str] = "projection"

    def __init__(self, workbench: Workbench, parent: QWidget | None = None) -> None:
        super().__init__(workbench, parent)
        self._thumbnails = Thumbnails()
        self._items: dict[str, LibraryItem] = {}
        self._stale = True
        self.scatter = ScatterView()
        self.scatter.set_pictures(self._picture)
        self.stack = StateStack(self.scatter)
        self.method = self._make_method()
        self.text = QLineEdit(placeholderText="Add a text…", clearButtonEnabled=True)
        self.text.setAccessibleName("Add a text")
        self.text.setToolTip("A typed text becomes an item: see which images and sounds lie near it (Enter)")
        self.text.setMaximumWidth(260)
        self.text.setMinimumWidth(60)
        self.equal = push_button("1 : 1", "The same scale on both axes: distances compare in all directions")
        self.equal.setCheckable(True)
        self.summary = ElidedLabel(role=QPalette.ColorRole.PlaceholderText)
        self.progress, self.progress_text, self.stop = self._make_progress()
        self._lay_out()

        self._soon = QTimer(self, singleShot=True, interval=_REFRESH_MS)
        self._soon.timeout.connect(self._refresh)
        self.method.currentIndexChanged.connect(self._on_method)
        self.text.returnPressed.connect(self._add_text)
        self.equal.toggled.connect(self.scatter.set_equal_scale)
        self.stop.clicked.connect(lambda: workbench.cancel("plane"))
        self.stack.cancelled.connect(lambda: workbench.cancel("plane"))
        self.stack.acted.connect(self._on_stack_action)
        self.scatter.point_chosen.connect(workbench.choose)
        workbench.activities.changed.connect(self._on_activity)
        self.watch(self.state.items_changed, self._on_items)
        self.watch(self.state.model_changed, lambda _model: self._on_content())
        self.watch(self.state.plane_changed, self._on_plane)
        self.watch(self.state.current_changed, lambda _item: self._mark())
        self.watch(self.state.selection_changed, self.scatter.set_selection)
        self._show()

    # --- layout ---------------------------------------------------------------------------------------
    def _make_method(self) -> QComboBox:
        box = QComboBox()
        box.setAccessibleName("Projection")
        box.setToolTip("How the space of hundreds of dimensions is laid into the plane")
        for key in sorted(PROJECTIONS.keys(), key=lambda key: key != FAST):
            projector = PROJECTIONS.get(key)
            box.addItem(projector.label, key)
            box.setItemData(box.count() - 1, projector.explanation, Qt.ItemDataRole.ToolTipRole)
        return box

    def _make_progress(self) -> tuple[QProgressBar, ElidedLabel, QPushButton]:
        bar = QProgressBar(textVisible=False)
        bar.setMaximumWidth(140)
        text = ElidedLabel(role=QPalette.ColorRole.PlaceholderText)
        stop = push_button("Cancel", "Stop; the plane shown stays")
        return bar, text, stop

    def _lay_out(self) -> None:
        fit = icon_button("viewer", "Show all points", "Bring all points into view (0)")
        fit.clicked.connect(self.scatter.fit)
        controls, told = QHBoxLayout(), QHBoxLayout()
        for narrow in (self.method, self.equal):
            narrow.setSizePolicy(QSizePolicy.Policy.Fixed, QSizePolicy.Policy.Fixed)
        for widget in (self.method, self.equal, fit):
            controls.addWidget(widget)
        controls.addWidget(self.text, 1)
        told.addWidget(self.progress)
        told.addWidget(self.progress_text, 1)
        told.addWidget(self.stop)
        told.addWidget(self.summary, 6)
        told.addStretch(1)
        self._top = QBoxLayout(QBoxLayout.Direction.LeftToRight)
        self._top.addLayout(controls, 2)
        self._top.addLayout(told, 3)
        column = QVBoxLayout(self)
        column.setContentsMargins(8, 6, 8, 6)
        column.addLayout(self._top)
        column.addWidget(self.stack, 1)

    # --- asking ---------------------------------------------------------------------------------------
    @property
    def chosen_method(self) -> str:
        """Key of the projection that the user wants."""
        return str(self.method.currentData())

    def _on_items(self, _items: tuple[LibraryItem, ...]) -> None:
        """Place the items anew when others came or went; a new name only needs another label."""
        plane = self.state.projection
        if plane is not None and {item.id for item in self._placeable()} == set(plane.items):
            self._show_plane()
        else:
            self._on_content()

    def _on_content(self) -> None:
        self._stale = True
        self._show()
        self._soon.start()

    def _refresh(self) -> None:
        """Ask for the fast projection, if somebody is looking."""
        if self._stale and self.isVisible():
            self._stale = False
            self.workbench.project(FAST)

    def resizeEvent(self, event: QResizeEvent) -> None:
        """Put what is told under the controls where they have no room side by side."""
        super().resizeEvent(event)
        beside = self.width() >= _ROOMY
        self._top.setDirection(
            QBoxLayout.Direction.LeftToRight if beside else QBoxLayout.Direction.TopToBottom
        )

    def showEvent(self, event: QShowEvent) -> None:
        """What changed while the panel was hidden is placed now."""
        super().showEvent(event)
        self._soon.start()

    def _on_plane(self, _embeddings: Embeddings | None, projection: Projection | None) -> None:
        self._show()
        if projection is not None and projection.method == FAST:
            self._ask_chosen()

    def _on_method(self) -> None:
        shown = self.state.projection
        if shown is not None and shown.method != self.chosen_method:
            self.workbench.project(self.chosen_method)

    def _ask_chosen(self) -> None:
        """Follow the fast projection by the chosen one, where there are enough items for it."""
        count = len(self.state.projection.items) if self.state.projection else 0
        if self.chosen_method != FAST and count >= PROJECTIONS.get(self.chosen_method).minimum:
            self.workbench.project(self.chosen_method)

    def _add_text(self) -> None:
        if self.text.text().strip():
            self.workbench.open_text(self.text.text().strip())
            self.text.clear()

    # --- showing --------------------------------------------------------------------------------------
    def _placeable(self) -> list[LibraryItem]:
        model = self.state.model
        return [item for item in self.state.items if model is not None and _can_place(model, item)]

    def _show(self) -> None:
        activity = self.workbench.activity("plane")
        self._show_progress(activity)
        if self.state.projection is not None:
            self._show_plane()
            self.stack.show_content()
        elif activity.running:
            self.stack.show_waiting(activity.label, activity.fraction)
        elif activity.error is not None:
            self.stack.show_failed(activity.error.message, activity.error.details, "Try again")
        elif self.state.model is None:
            self._show_no_model()
        elif not self._placeable():
            self.stack.show_empty("An empty space", _why_empty(self.state.model))
        else:
            self.stack.show_waiting("Placing the items")

    def _show_no_model(self) -> None:
        loading = self.workbench.activity("model")
        if loading.running:
            self.stack.show_waiting(loading.label, loading.fraction)
        else:
            self.stack.show_empty("No model", "Load a model that embeds images and texts.", "Models")

    def _show_plane(self) -> None:
        projection = self.state.projection
        if projection is None:
            return
        self._items = {item.id: item for item in self.state.items}
        kept = [(row, self._items[id_]) for row, id_ in enumerate(projection.items) if id_ in self._items]
        self._thumbnails.keep(item.id for _, item in kept)
        rows = [row for row, _ in kept]
        self.scatter.set_plane(
            Plane(
                ids=tuple(item.id for _, item in kept),
                names=tuple(short_name(item) for _, item in kept),
                kinds=tuple(str(item.media.modality) for _, item in kept),
                coordinates=projection.coordinates[rows],
            )
        )
        self.scatter.set_selection(self.state.selection)
        self._mark()
        self._show_summary(projection)

    def _mark(self) -> None:
        """Mark the current item and draw lines to its nearest."""
        current, embeddings = self.state.current, self.state.embeddings
        if current is None:
            self.scatter.set_current(None)
        elif embeddings is None or current.id not in embeddings.items:
            self.scatter.set_current(current.id)
        else:
            rows, cosines = nearest(embeddings.vectors, embeddings.items.index(current.id), _NEAREST)
            near = [(embeddings.items[row], float(cosine)) for row, cosine in zip(rows, cosines, strict=True)]
            self.scatter.set_current(current.id, near)

    def _show_summary(self, projection: Projection) -> None:
        counts = Counter(self.scatter.plane.kinds)
        parts = [f"{PROJECTIONS.get(projection.method).label} of {_count(len(projection.items), 'item')}"]
        kinds = [f"{_count(counts[kind], word)} {sign}" for kind, word, sign in _SIGNS if counts[kind]]
        parts.append(", ".join(kinds))
        if projection.details:
            parts.append(projection.details)
        embeddings = self.state.embeddings
        gap = modality_gap(embeddings.vectors, embeddings.modalities) if embeddings else None
        if gap is not None:
            parts.append(f"image–text gap {gap:.2f}")
        self.summary.set_text(" · ".join(parts))

    def _show_progress(self, activity: Activity) -> None:
        """Say what runs beside the plane that is shown meanwhile."""
        failed = activity.error is not None and self.state.projection is not None
        running = activity.running and self.state.projection is not None
        self.progress.setVisible(running)
        self.stop.setVisible(running)
        self.progress_text.setVisible(running or failed)
        self.summary.setVisible(self.state.projection is not None and not running and not failed)
        self.progress.setRange(0, 0 if activity.fraction is None else _STEPS)
        if activity.fraction is not None:
            self.progress.setValue(round(activity.fraction * _STEPS))
        self.progress_text.set_text(
            activity.error.message if activity.error else activity.message or activity.label
        )

    def _picture(self, item_id: str) -> QImage | None:
        item = self._items.get(item_id)
        return None if item is None else self._thumbnails.of(item.media)

    # --- events ---------------------------------------------------------------------------------------
    def _on_activity(self, key: str, activity: Activity) -> None:
        if key == "plane":
            self._show_progress(activity)
        if key in ("plane", "model") and self.state.projection is None:
            self._show()

    def _on_stack_action(self) -> None:
        if self.state.model is None:
            self.workbench.panel_requested.emit("models")
        else:
            self.workbench.project(FAST)

    def release(self) -> None:
        """Stop the timer and let go of the workbench."""
        self._soon.stop()
        self.workbench.activities.changed.disconnect(self._on_activity)
        super().release()


_NEEDED = {
    Modality.IMAGE: Capability.EMBED_IMAGE,
    Modality.AUDIO: Capability.EMBED_AUDIO,
    Modality.TEXT: Capability.EMBED_TEXT,
}


def _can_place(model: ModelInfo, item: LibraryItem) -> bool:
    return model.can(_NEEDED[item.media.modality])


def _why_empty(model: ModelInfo) -> str:
    if not any(model.can(needed) for needed in _NEEDED.values()):
        return f"{model.label} writes or answers, but embeds nothing; load a model that embeds."
    return f"Add items: {model.label} places them by what they show or say."


def _count(number: int, word: str) -> str:
    return f"{number:,} {word}" if number == 1 else f"{number:,} {word}s"
