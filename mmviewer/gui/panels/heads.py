"""Which head does it? All layers by all heads of one place, to compare and to pick from."""

from __future__ import annotations

from dataclasses import replace
from typing import ClassVar

from PySide6.QtCore import QTimer
from PySide6.QtGui import QHideEvent, QPalette, QShowEvent
from PySide6.QtWidgets import QComboBox, QHBoxLayout, QVBoxLayout, QWidget

from mmviewer.core.media.geometry import ImageGeometry
from mmviewer.core.session.state import LibraryItem
from mmviewer.core.types import HeadMaps, MapSpec, Modality
from mmviewer.gui.activities import Activity
from mmviewer.gui.map_style import map_style, picture_of
from mmviewer.gui.panels.base import PANELS, Area, Panel
from mmviewer.gui.view_model import enlarge, grid_box, head_values, token_words
from mmviewer.gui.widgets.elided_label import ElidedLabel
from mmviewer.gui.widgets.head_grid import HeadGrid
from mmviewer.gui.widgets.head_order import ORDERS
from mmviewer.gui.widgets.inline_note import InlineNote
from mmviewer.gui.widgets.state_stack import StateStack
from mmviewer.gui.workbench import Workbench

_SOON_MS = 80  # stepping quickly through tokens asks once


@PANELS.add("heads")
class HeadsPanel(Panel):
    """Small maps of all heads for the chosen tokens; a click picks one, again returns to the mean."""

    key: ClassVar[str] = "heads"
    title: ClassVar[str] = "Heads"
    area: ClassVar[Area] = Area.RIGHT
    order: ClassVar[int] = 20
    icon: ClassVar[str] = "heads"
    help: ClassVar[str] = (
        "Where each attention head of each layer looks for the chosen tokens; click to pick one."
    )

    def __init__(self, workbench: Workbench, parent: QWidget | None = None) -> None:
        super().__init__(workbench, parent)
        self.subject = ElidedLabel(role=QPalette.ColorRole.PlaceholderText)
        self.ordering = QComboBox()
        self.ordering.setAccessibleName("Order of the heads")
        self.ordering.setToolTip(
            "Entropy tells how widely a head looks: 0 at one place only, 1 everywhere alike."
        )
        for key, words in ORDERS.items():
            self.ordering.addItem(words, key)
        self.grid = HeadGrid()
        self.note = InlineNote()
        self._content = QWidget()
        self.stack = StateStack(self._content)
        self._item: LibraryItem | None = None
        self._wanted: object = None
        self._soon = QTimer(self, singleShot=True, interval=_SOON_MS)
        self._lay_out()
        self._connect()
        self._show_heads(self.state.heads)

    def release(self) -> None:
        """Ask for nothing any more."""
        self._soon.stop()
        super().release()

    def showEvent(self, event: QShowEvent) -> None:
        super().showEvent(event)
        self._soon.start()

    def hideEvent(self, event: QHideEvent) -> None:
        super().hideEvent(event)
        self._soon.stop()

    # --- construction ----------------------------------------------------------------------------------
    def _lay_out(self) -> None:
        head = QHBoxLayout()
        head.addWidget(self.ordering)
        head.addStretch(1)
        column = QVBoxLayout(self._content)
        column.setContentsMargins(12, 8, 6, 6)
        column.addWidget(self.subject)
        column.addLayout(head)
        column.addWidget(self.note)
        column.addWidget(self.grid, 1)
        whole = QVBoxLayout(self)
        whole.setContentsMargins(0, 0, 0, 0)
        whole.addWidget(self.stack)

    def _connect(self) -> None:
        state, bench = self.state, self.workbench
        self.watch(state.heads_changed, self._show_heads)
        self.watch(state.spec_changed, self._on_spec)
        self.watch(state.view_changed, lambda _view: self._apply_style())
        for signal in (state.sequence_changed, state.tokens_changed, state.current_changed):
            self.watch(signal, lambda _value: self._soon.start())
        self._soon.timeout.connect(self._ask)
        bench.activities.changed.connect(self._on_activity)
        self.ordering.activated.connect(lambda: self.grid.set_order(self.ordering.currentData()))
        self.grid.picked.connect(self._pick)
        self.grid.released.connect(lambda: state.set_spec(replace(state.spec, head="mean")))
        self.stack.cancelled.connect(lambda: bench.cancel("heads"))
        self.stack.acted.connect(bench.refresh_heads)
        self.note.cancelled.connect(lambda: bench.cancel("heads"))
        self.note.retried.connect(bench.refresh_heads)

    # --- from the state --------------------------------------------------------------------------------
    def _ask(self) -> None:
        """Ask for what is missing, only while somebody looks."""
        state = self.state
        wanted = (state.sequence, state.tokens, state.spec.point, state.current)
        if self.isVisible() and (state.heads is None or wanted != self._wanted):
            self._wanted = wanted
            self.workbench.refresh_heads()
            self._show_heads(state.heads)

    def _show_heads(self, heads: HeadMaps | None) -> None:
        if heads is None or self.state.current is None or heads.media_id != self.state.current.id:
            self._show_missing()
            return
        self._show_picture(self.state.current)
        box = grid_box(heads.geometry) if isinstance(heads.geometry, ImageGeometry) else None
        self._apply_style()
        self.grid.set_maps(head_values(heads), box, enlarge)
        self._show_picked(self.state.spec)
        words = token_words(self.state.sequence, heads.tokens)
        self.subject.set_text(f"{heads.point.label} · {words}")
        self.stack.show_content()

    def _show_missing(self) -> None:
        activity = self.workbench.activity("heads")
        if activity.error is not None:
            self.stack.show_failed(activity.error.message, activity.error.details, "Try again")
        elif activity.running:
            self.stack.show_waiting(f"{activity.label}… {activity.message}".strip(), activity.fraction)
        else:
            self.stack.show_empty(
                "",
                "Caption or describe a picture, or transcribe a sound: the map of every head appears here.",
            )

    def _show_picture(self, item: LibraryItem) -> None:
        if self._item is None or item.media is not self._item.media:
            self.grid.set_picture(picture_of(item) if item.media.modality is Modality.IMAGE else None)
        self._item = item

    def _show_picked(self, spec: MapSpec) -> None:
        heads = self.state.heads
        here = heads is not None and spec.point in (None, heads.point.name)
        single = isinstance(spec.head, int) and spec.layer is not None
        self.grid.set_picked((spec.layer, spec.head) if here and single else None)  # type: ignore[arg-type]

    def _apply_style(self) -> None:
        self.grid.set_style(map_style(self.state.view, signed=False))

    def _on_spec(self, spec: MapSpec) -> None:
        self._show_picked(spec)
        self._soon.start()

    # --- from the engine -----------------------------------------------------------------------------
    def _on_activity(self, key: str, activity: Activity) -> None:
        if key != "heads":
            return
        if self.state.heads is None:
            self._show_missing()
        elif activity.error is not None:
            self.note.show_failed(activity.error.message, activity.error.details)
        elif activity.running:
            self.note.show_waiting(f"{activity.label}…")
        else:
            self.note.clear()

    # --- to the state ----------------------------------------------------------------------------------
    def _pick(self, layer: int, head: int) -> None:
        heads = self.state.heads
        if heads is not None:
            self.state.set_spec(replace(self.state.spec, point=heads.point.name, layer=layer, head=head))
