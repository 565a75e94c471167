"""Which head does it? All layers by all heads of one place, to compare, to pick from and to pin."""

from __future__ import annotations

from dataclasses import replace
from typing import ClassVar, cast

from PySide6.QtCore import QTimer
from PySide6.QtGui import QHideEvent, QPalette, QShowEvent, QStandardItemModel
from PySide6.QtWidgets import QComboBox, QHBoxLayout, QVBoxLayout, QWidget

from mmviewer.core.media.geometry import ImageGeometry
from mmviewer.core.session.pins import PinnedMap
from mmviewer.core.session.state import LibraryItem
from mmviewer.core.types import FloatArray, HeadChoice, HeadMaps, MapSpec, Modality, ModelInfo, TokenMaps
from mmviewer.gui.activities import Activity
from mmviewer.gui.buttons import push_button
from mmviewer.gui.map_style import map_style, picture_of
from mmviewer.gui.panels.base import PANELS, Area, Panel
from mmviewer.gui.region_model import (
    agreements,
    head_shares,
    is_head_choice,
    percent,
    pin_of_head,
    pin_of_view,
    pins_here,
)
from mmviewer.gui.tiles import enlarge_all
from mmviewer.gui.view_model import grid_box, head_values, method_label, token_words
from mmviewer.gui.widgets.elided_label import ElidedLabel
from mmviewer.gui.widgets.head_grid import HeadGrid
from mmviewer.gui.widgets.head_order import MEASURES, ORDERS, Order
from mmviewer.gui.widgets.inline_note import InlineNote
from mmviewer.gui.widgets.pin_strip import PinStrip, PinTile
from mmviewer.gui.widgets.state_stack import StateStack
from mmviewer.gui.workbench import Workbench

_SOON_MS = 80  # stepping quickly through tokens asks once

_LIST_WIDTH = 240
_ORDER_TIP = (
    "In which order the heads stand, and which number stands under each. Entropy tells how widely a head "
    "looks; the share in a region needs a chosen region; the rank correlation compares with the map that was "
    "shown before a head was picked."
)
_PIN_TIP = (
    "Keep the map that the viewer shows in a row below, while words, layers and methods change. "
    "P on a map of the grid pins that one."
)


@PANELS.add("heads")
class HeadsPanel(Panel):
    """Small maps of all heads for the chosen tokens; a click picks one, again returns to what was before."""

    key: ClassVar[str] = "heads"
    title: ClassVar[str] = "Heads"
    area: ClassVar[Area] = Area.RIGHT
    order: ClassVar[int] = 20
    icon: ClassVar[str] = "heads"
    help: ClassVar[str] = (
        "Where each attention head of each layer looks for the chosen tokens; click picks one, Ctrl several."
    )
    help_page: ClassVar[str] = "heads"

    def __init__(self, workbench: Workbench, parent: QWidget | None = None) -> None:
        super().__init__(workbench, parent)
        self.subject = ElidedLabel(role=QPalette.ColorRole.PlaceholderText)
        self.ordering = QComboBox()
        self.ordering.setAccessibleName("Order of the heads")
        self.ordering.setToolTip(_ORDER_TIP)
        self.ordering.setSizeAdjustPolicy(QComboBox.SizeAdjustPolicy.AdjustToMinimumContentsLengthWithIcon)
        self.ordering.setMinimumContentsLength(12)  # the list below is as wide as its words
        self.ordering.view().setMinimumWidth(_LIST_WIDTH)
        for key, words in ORDERS.items():
            self.ordering.addItem(words, key)
        self.pin = push_button("Pin", _PIN_TIP, icon_name="pin")
        self.legend = ElidedLabel(role=QPalette.ColorRole.PlaceholderText)
        self.grid = HeadGrid()
        self.pins = PinStrip(enlarge_all)
        self.note = InlineNote()
        self._content = QWidget()
        self.stack = StateStack(self._content)
        self._item: LibraryItem | None = None
        self._wanted: object = None
        self._before: MapSpec | None = None  # what was shown before a head was picked
        self._reference: TokenMaps | None = None
        self._soon = QTimer(self, singleShot=True, interval=_SOON_MS)
        self._lay_out()
        self._connect()
        self._show_heads(self.state.heads)
        self._show_pins()

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
        head.addWidget(self.ordering, 1)
        head.addWidget(self.pin)
        column = QVBoxLayout(self._content)
        column.setContentsMargins(12, 8, 6, 6)
        column.addWidget(self.subject)
        column.addLayout(head)
        column.addWidget(self.legend)
        column.addWidget(self.note)
        column.addWidget(self.grid, 1)
        column.addWidget(self.pins)
        whole = QVBoxLayout(self)
        whole.setContentsMargins(0, 0, 0, 0)
        whole.addWidget(self.stack)

    def _connect(self) -> None:
        state, bench = self.state, self.workbench
        self.watch(state.heads_changed, self._show_heads)
        self.watch(state.spec_changed, self._on_spec)
        self.watch(state.view_changed, lambda _view: self._apply_style())
        self.watch(state.maps_changed, self._on_maps)
        self.watch(state.region_changed, lambda _region: self._show_numbers())
        for signal in (state.pins_changed, state.current_changed):
            self.watch(signal, lambda _value: self._show_pins())
        for signal in (state.sequence_changed, state.tokens_changed, state.current_changed):
            self.watch(signal, lambda _value: self._soon.start())
        for signal in (state.sequence_changed, state.current_changed):
            self.watch(signal, lambda _value: self._forget_before())
        self._soon.timeout.connect(self._ask)
        bench.activities.changed.connect(self._on_activity)
        self.ordering.activated.connect(self._sort)
        self.pin.clicked.connect(self._pin_view)
        self.grid.picked.connect(self._pick)
        self.grid.released.connect(self._release_heads)
        self.grid.pinned.connect(self._pin_head)
        self.pins.opened.connect(self._open_pin)
        self.pins.unpinned.connect(lambda place: state.unpin(pins_here(state)[place]))
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
            model = self.workbench.model_for(state.current)
            if model is not None and _has_no_heads(model):
                state.set_heads(None)
                self._show_missing()
                return
            self.workbench.refresh_heads()
            self._show_heads(state.heads)

    def _show_heads(self, heads: HeadMaps | None) -> None:
        if heads is None or self.state.current is None or heads.media_id != self.state.current.id:
            self._show_missing()
            return
        self._show_picture(self.state.current)
        box = grid_box(heads.geometry) if isinstance(heads.geometry, ImageGeometry) else None
        self._apply_style()
        self.grid.set_maps(head_values(heads), box, enlarge_all)
        self._show_numbers()
        self._show_picked(self.state.spec)
        words = token_words(self.state.sequence, heads.tokens)
        self.subject.set_text(f"{heads.point.label} · {words}")
        self.stack.show_content()

    def _show_missing(self) -> None:
        activity = self.workbench.activity("heads")
        model = self.workbench.model_for(self.state.current)
        if model is not None and _has_no_heads(model):
            self.stack.show_empty(
                "",
                f"{model.label} has no attention to its input, so there are no heads. Grad-CAM shows its "
                "feature maps: choose it below the words.",
            )
        elif activity.error is not None:
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

    def _show_numbers(self) -> None:
        """Measure the heads against the chosen region and the chosen map."""
        state = self.state
        measures: dict[Order, FloatArray] = {}
        shares, alike = head_shares(state), agreements(state.heads, self._known_reference())
        if shares is not None:
            measures["region"] = shares.shares
        if alike is not None:
            measures["agreement"] = alike
        self.grid.set_measures(measures)
        entries = cast(QStandardItemModel, self.ordering.model())
        for place in range(self.ordering.count()):
            key = self.ordering.itemData(place)
            entry = entries.item(place)
            if entry is not None:
                entry.setEnabled(key not in ("region", "agreement") or key in measures)
        self.legend.set_text(self._legend(None if shares is None else shares.chance))

    def _legend(self, chance: float | None) -> str:
        """What the number under each map is."""
        wanted, region = self.ordering.currentData(), self.state.region
        by = self.grid.numbered_by
        if wanted == "region" and region is None:
            return "Mark or choose a region on the item to sort by it."
        words = f"Number: {MEASURES[by].short}"
        if by == "region" and region is not None and chance is not None:
            return f"Number: share in “{region.label}”; chance would give {percent(chance)}"
        if by == "agreement" and self._reference is not None:
            return f"{words} with the map by {method_label(self._reference.spec.method)}"
        return words

    def _known_reference(self) -> TokenMaps | None:
        """The map to compare heads with, if it belongs to the text that is shown."""
        reference, sequence = self._reference, self.state.sequence
        if reference is None or sequence is None:
            return None
        same = [token.text for token in reference.tokens] == [token.text for token in sequence.tokens]
        return reference if same else None

    def _show_picked(self, spec: MapSpec) -> None:
        heads = self.state.heads
        here = heads is not None and spec.point in (None, heads.point.name) and spec.layer is not None
        chosen: tuple[int, ...] = ()
        if isinstance(spec.head, int):
            chosen = (spec.head,)
        elif isinstance(spec.head, tuple):
            chosen = spec.head
        layer = spec.layer or 0
        self.grid.set_picked(frozenset((layer, head) for head in chosen) if here else frozenset())

    def _apply_style(self) -> None:
        self.grid.set_style(map_style(self.state.view, signed=False))
        self._show_pins()

    def _on_spec(self, spec: MapSpec) -> None:
        self._show_picked(spec)
        self._soon.start()

    def _on_maps(self, maps: TokenMaps | None) -> None:
        """Heads are compared with the last map that was not one of them, so that a click moves nothing."""
        if maps is not None and not is_head_choice(maps.spec):
            self._reference = maps
            self._show_numbers()

    # --- pins ------------------------------------------------------------------------------------------
    def _show_pins(self) -> None:
        item, pins = self.state.current, pins_here(self.state)
        self.pins.setVisible(bool(pins))
        if item is not None and pins:
            picture = picture_of(item) if item.media.modality is Modality.IMAGE else None
            self.pins.show_tiles([self._tile(pin) for pin in pins], picture)

    def _tile(self, pin: PinnedMap) -> PinTile:
        box = grid_box(pin.geometry) if isinstance(pin.geometry, ImageGeometry) else (0.0, 0.0, 1.0, 1.0)
        return PinTile(
            pin.values, box, map_style(self.state.view, signed=pin.signed), pin.subject, pin.place, pin.signed
        )

    def _pin_view(self) -> None:
        pin = pin_of_view(self.state)
        if pin is None:
            words = "There is no map to pin yet: caption or describe the item first."
            self.workbench.notice.emit(words, "info")
        else:
            self.state.pin(pin)

    def _pin_head(self, layer: int, head: int) -> None:
        pin = pin_of_head(self.state, layer, head)
        if pin is not None:
            self.state.pin(pin)

    def _open_pin(self, place: int) -> None:
        """Show a pinned map in the viewer again, if its text is still there."""
        pin, sequence = pins_here(self.state)[place], self.state.sequence
        if sequence is None or sequence.text != pin.text:
            text = pin.text if len(pin.text) <= 60 else f"{pin.text[:59]}…"
            words = f"That map belongs to another text, “{text.strip()}”; ask for it again to open it."
            self.workbench.notice.emit(words, "info")
            return
        self.state.set_tokens(pin.tokens)
        self.state.set_spec(pin.spec)

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
    def _sort(self) -> None:
        self.grid.set_order(self.ordering.currentData())
        self._show_numbers()

    def _pick(self, layer: int, head: int | str | tuple[int, ...]) -> None:
        """Open heads in the viewer as they stand in the grid: their raw attention."""
        heads, spec, sequence = self.state.heads, self.state.spec, self.state.sequence
        model = self.workbench.model_for(self.state.current)
        if heads is None or sequence is None:
            return
        if not is_head_choice(spec):
            self._before = spec
        known = model is None or "attention" in model.methods_for(sequence.kind)
        wanted = MapSpec(
            method="attention" if known else spec.method,
            point=heads.point.name,
            layer=layer,
            head=cast(HeadChoice, head),
            without_sinks=spec.without_sinks,
        )
        self.state.set_spec(wanted)

    def _forget_before(self) -> None:
        self._before = None

    def _release_heads(self) -> None:
        """Go back to what was shown before heads were picked."""
        before, spec = self._before, self.state.spec
        self._before = None
        self.state.set_spec(before if before is not None else replace(spec, head="mean"))


def _has_no_heads(model: ModelInfo) -> bool:
    """Whether a model looks at its input without attention, as convolutional ones do."""
    return bool(model.methods) and "attention" not in model.methods
