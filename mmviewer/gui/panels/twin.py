"""What do two models make of the same item? Both pictures, both texts, linked where words agree."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import partial
from typing import ClassVar

from PySide6.QtCore import QEvent, Qt
from PySide6.QtGui import QKeyEvent, QPalette, QResizeEvent
from PySide6.QtWidgets import QHBoxLayout, QSplitter, QVBoxLayout, QWidget

from mmviewer.core.figures import colormaps
from mmviewer.core.session.state import LibraryItem, SessionState
from mmviewer.core.types import CapturePoint, HeadChoice, Modality, ModelInfo
from mmviewer.engine.protocol import ErrorReport, ModelListing, Spectrogram, SpectrogramData
from mmviewer.gui.activities import Activity
from mmviewer.gui.buttons import icon_button, push_button
from mmviewer.gui.controllers.beside import PREFIX
from mmviewer.gui.controllers.sequences import SequenceController
from mmviewer.gui.controllers.twin import TwinController
from mmviewer.gui.icons import icon
from mmviewer.gui.map_style import across, image_map, map_style, picture_of, time_map
from mmviewer.gui.panels.base import PANELS, Area, Panel
from mmviewer.gui.playback import Player
from mmviewer.gui.region_model import shown_regions, sink_cells
from mmviewer.gui.target_model import takes_target
from mmviewer.gui.twin_model import agreement_words
from mmviewer.gui.view_model import (
    STRIP_TITLES,
    Snapshot,
    chip_values,
    lit_floor,
    lit_shares,
    method_labels,
    resolve,
    used_place,
)
from mmviewer.gui.widgets.chips import Chip
from mmviewer.gui.widgets.elided_label import ElidedLabel
from mmviewer.gui.widgets.map_card import CardText
from mmviewer.gui.widgets.map_controls import PointChoice, ViewControls
from mmviewer.gui.widgets.side_view import ModelChoice, SideView
from mmviewer.gui.words import bytes_in_words, device_in_words
from mmviewer.gui.workbench import Workbench

_NAMES = ("Left", "Right")
_COLORMAPS = (*colormaps.SEQUENTIAL, *colormaps.DIVERGING)
_LOADED, _LISTED = "id:", "source:"
"""Before the key of a model that is loaded, and of one that can be."""


@dataclass(slots=True, eq=False)
class _Half:
    """One side: its view, the session it shows, who makes its texts and maps, and its activities."""

    view: SideView
    state: SessionState
    sequences: SequenceController
    prefix: str
    snapshot: Snapshot


@PANELS.add("twin")
class TwinPanel(Panel):
    """Takes the place of the viewer while it is open; everything asked above is asked of both models."""

    key: ClassVar[str] = "twin"
    title: ClassVar[str] = "Side by side"
    area: ClassVar[Area] = Area.CENTRE
    order: ClassVar[int] = 30
    icon: ClassVar[str] = "heads"
    help: ClassVar[str] = "The same item under two models, linked where their words agree."
    help_page: ClassVar[str] = "compare"

    def __init__(self, workbench: Workbench, parent: QWidget | None = None) -> None:
        super().__init__(workbench, parent)
        self.twin: TwinController = workbench.twin
        self.sides = (SideView(_NAMES[0]), SideView(_NAMES[1]))
        second = self.twin.beside
        self._halves = (
            _Half(self.sides[0], self.state, workbench.sequences, "", Snapshot(None, "")),
            _Half(self.sides[1], second.state, second.sequences, PREFIX, Snapshot(None, "")),
        )
        self.agreement = ElidedLabel("", QPalette.ColorRole.PlaceholderText)
        self.swap = push_button("⇄", "Exchange the two models")
        self.swap.setAccessibleName("Exchange the two models")
        self.export = push_button("Export…", "Write both sides as one figure, or as numbers (Ctrl+E).")
        self.close_button = icon_button("close", "Close the split view", "Back to the viewer (Esc).")
        self.controls = ViewControls({name: colormaps.lut(name) for name in _COLORMAPS})
        self.player = Player(self)
        self._item: LibraryItem | None = None
        self._lay_out()
        self._connect()
        self._take_icons()
        self._show_styles()

    def release(self) -> None:
        """Stop the sound, then let go of the state."""
        self.player.release()
        self.workbench.activities.changed.disconnect(self._on_activity)
        self.workbench.models.listings_changed.disconnect(self._show_models)
        super().release()

    def keyPressEvent(self, event: QKeyEvent) -> None:
        if event.key() == Qt.Key.Key_Escape:
            self.twin.close()
        else:
            super().keyPressEvent(event)

    def changeEvent(self, event: QEvent) -> None:
        super().changeEvent(event)
        if event.type() in (QEvent.Type.PaletteChange, QEvent.Type.StyleChange):
            self._take_icons()

    # --- construction ----------------------------------------------------------------------------------
    def _lay_out(self) -> None:
        head = QHBoxLayout()
        head.setSpacing(8)
        head.addWidget(ElidedLabel("Side by side", bold=True))
        head.addWidget(self.agreement, 1)
        for widget in (self.swap, self.export, self.close_button):
            head.addWidget(widget)
        both = QSplitter(Qt.Orientation.Horizontal)
        both.setChildrenCollapsible(False)
        both.setHandleWidth(12)
        for view in self.sides:
            both.addWidget(view)
        both.setSizes([1000, 1000])
        column = QVBoxLayout(self)
        column.setContentsMargins(12, 8, 12, 8)
        column.setSpacing(6)
        column.addLayout(head)
        column.addWidget(both, 1)
        column.addWidget(self.controls)

    def _connect(self) -> None:
        bench, twin = self.workbench, self.twin
        twin.changed.connect(self._refresh)
        twin.opened.connect(self._on_opened)
        bench.activities.changed.connect(self._on_activity)
        bench.models.listings_changed.connect(self._show_models)
        self.swap.clicked.connect(twin.swap)
        self.export.clicked.connect(bench.export_requested)
        self.close_button.clicked.connect(twin.close)
        self.controls.changed.connect(lambda name, value: self.state.update_view(**{name: value}))
        self.watch(self.state.view_changed, lambda _view: self._show_styles())
        for changed in (self.state.annotations_changed, self.state.region_changed):
            self.watch(changed, lambda _value: self._show_regions())
        self.player.position_changed.connect(self._on_position)
        self.player.playing_changed.connect(self._on_playing)
        for number, half in enumerate(self._halves):
            self._connect_half(number, half)

    def _connect_half(self, number: int, half: _Half) -> None:
        view, state, bench = half.view, half.state, self.workbench
        for signal in (state.sequence_changed, state.tokens_changed, state.maps_changed):
            self.watch(signal, self._refresh)
        self.watch(state.hovered_token_changed, lambda _token: self._show_maps())
        self.watch(state.hovered_cell_changed, partial(self._on_cell, number))
        self.watch(state.spec_changed, lambda _spec: self._show_choosers())
        view.model_chosen.connect(partial(self._choose_model, number))
        view.strip.hovered.connect(state.set_hovered_token)
        view.strip.chosen.connect(state.set_tokens)
        view.chooser.chosen.connect(partial(self._choose_map, number))
        view.image.cell_hovered.connect(state.set_hovered_cell)
        view.sound.cell_hovered.connect(state.set_hovered_cell)
        view.image.sight_changed.connect(self.sides[1 - number].image.set_sight)
        view.sound.play_requested.connect(self._toggle_sound)
        view.sound.seek_requested.connect(self.player.seek)
        view.note.cancelled.connect(partial(self._cancel, half))
        view.note.retried.connect(partial(self._again, number))
        view.text.cancelled.connect(partial(self._cancel, half))
        view.text.acted.connect(partial(self._again, number))
        view.stack.cancelled.connect(lambda: bench.cancel("model"))
        view.cost.accepted.connect(half.sequences.make_dear_maps)
        half.sequences.costs.offer_changed.connect(partial(self._show_offer, half))
        for shown in (view.image, view.sound):
            shown.card.learn_more.connect(bench.help_requested)
            shown.regions.drawn.connect(self._draw)
            shown.regions.reshaped.connect(bench.annotations.reshape)
            shown.regions.removed.connect(bench.annotations.remove)
            shown.regions.chosen.connect(bench.annotations.choose)

    def _take_icons(self) -> None:
        for view in self.sides:
            view.sound.set_icons(icon("play"), icon("pause"))

    # --- from the session --------------------------------------------------------------------------------
    def _on_opened(self, opened: bool) -> None:
        if opened:
            self.workbench.models.refresh_listings()
            self._refresh()
        else:
            self.player.pause()

    def _refresh(self, _changed: object = None) -> None:
        if not self.twin.is_open:
            return
        self._show_models()
        self._show_item(self.state.current)
        first, second = (half.state.sequence for half in self._halves)
        self.agreement.set_text(agreement_words(self.twin.links, first, second))
        for half in self._halves:
            self._show_tokens(half)
        self._show_choosers()
        self._show_maps()

    def _show_models(self, _listings: object = None) -> None:
        """Offer the loaded models and those that are here, on both sides."""
        loaded = [_loaded_choice(info) for info in self.state.models]
        sources = {info.source for info in self.state.models}
        listed = [
            _listed_choice(each)
            for each in self.workbench.models.listings
            if each.present and each.source not in sources
        ]
        for model, view in zip(self._models(), self.sides, strict=True):
            view.show_models([*loaded, *listed], f"{_LOADED}{model.id}" if model is not None else "")
            view.about.set_text(_about(model))

    def _models(self) -> tuple[ModelInfo | None, ModelInfo | None]:
        return self.twin.first_model() or self.state.model, self.twin.beside.model

    def _show_item(self, item: LibraryItem | None) -> None:
        if item is self._item:
            return
        self._item = item
        sound = item is not None and item.media.modality is Modality.AUDIO
        self.player.set_sound(None)
        for view in self.sides:
            view.image.set_picture(picture_of(item) if item is not None else None)
            view.sound.set_sound(item.media.samples if item is not None and sound else None, 16_000)
            view.show_page(sound=sound)
        if item is not None and sound:
            self._show_sound(item)
        self._show_regions()

    def _show_sound(self, item: LibraryItem) -> None:
        for view in self.sides:
            view.sound.set_sound(item.media.samples, item.media.sample_rate)
        self.player.set_sound(item.media.samples, item.media.sample_rate)

        def done(data: SpectrogramData) -> None:
            if self._item is item:
                for view in self.sides:
                    view.sound.set_spectrogram(data.values, data.hop, data.centres)

        def failed(error: ErrorReport) -> None:
            for view in self.sides:
                view.sound.set_note(error.message)

        self.workbench.activities.run(
            f"{PREFIX}spectrogram",
            "Computing the spectrogram",
            Spectrogram(item.ref),
            done=done,
            failed=failed,
            visible=False,
        )

    def _show_tokens(self, half: _Half) -> None:
        sequence, strip = half.state.sequence, half.view.strip
        strip.set_chips([Chip(*values) for values in chip_values(sequence.tokens if sequence else ())])
        strip.set_chosen(half.state.tokens)
        if sequence is not None and sequence.finished:
            strip.show_start()
        self._show_state(half)

    def _show_state(self, half: _Half) -> None:
        """Show tokens, or why there are none; the same for the picture."""
        view, sequence = half.view, half.state.sequence
        first = half is self._halves[0]
        activity = self.workbench.activity(f"{half.prefix}sequence")
        loading = self.workbench.activity("model")
        item = self.state.current
        shows = item is not None and item.media.modality is not Modality.TEXT
        obstacle = "" if first and shows else self.twin.errand.words
        if not shows or (not first and self.twin.beside.model is None and not loading.running):
            view.stack.show_empty("", obstacle)
        elif not first and self.twin.beside.model is None:
            view.stack.show_waiting(f"{loading.label}… {loading.message}".strip(), loading.fraction)
        else:
            view.stack.show_content()
        has_tokens = sequence is not None and bool(sequence.tokens)
        view.chooser.setVisible(has_tokens and sequence is not None and sequence.finished)
        if has_tokens:
            view.text.show_content()
            self._show_beside(half, activity, obstacle)
            return
        view.note.clear()
        if activity.running:
            view.text.show_waiting(f"{activity.label}… {activity.message}".strip(), activity.fraction)
        elif activity.error is not None:
            view.text.show_failed(activity.error.message, activity.error.details, "Try again")
        elif first:
            view.text.show_empty("", "Press Caption or Transcribe above, or describe what to look for.")
        else:
            view.text.show_empty("", obstacle if shows and self.twin.beside.model is not None else "")

    def _show_beside(self, half: _Half, activity: Activity, words: str) -> None:
        maps = self.workbench.activity(f"{half.prefix}maps")
        failed = activity.error or maps.error
        running = next((each for each in (activity, maps) if each.running), None)
        if failed is not None:
            half.view.note.show_failed(failed.message, failed.details)
        elif running is not None and running.visible:
            half.view.note.show_waiting(f"{running.label}… {running.message}".strip())
        else:
            half.view.note.clear()
        title = STRIP_TITLES[half.state.sequence.kind] if half.state.sequence is not None else ""
        half.view.strip.setToolTip("")
        half.view.strip.setAccessibleDescription(" ".join(part for part in (title, words) if part))

    def _level(self) -> None:
        """Strips and choosers are as high as the higher one, so that the pictures stay level."""
        wanted = [view.wanted_heights for view in self.sides]
        for view in self.sides:
            view.set_heights((max(each[0] for each in wanted), max(each[1] for each in wanted)))

    def resizeEvent(self, event: QResizeEvent) -> None:
        super().resizeEvent(event)
        self._level()

    def _show_choosers(self) -> None:
        for half in self._halves:
            item, state = self.state.current, half.state
            model = self.workbench.model_for(item) if not half.prefix else self.twin.beside.model_for(item)
            points = (*model.points, *model.features) if model is not None else ()
            kind = state.sequence.kind if state.sequence is not None else None
            half.view.chooser.set_choices(
                method_labels(model, kind),
                [_point_choice(point) for point in points],
            )
            spec = state.spec
            half.view.chooser.show_spec(
                spec.method, spec.point, spec.layer, spec.head, used_place(state.maps, spec)
            )
            half.view.chooser.fit()
        self._level()

    # --- maps --------------------------------------------------------------------------------------------
    def _show_maps(self) -> None:
        """Show each side's map: of the token pointed at, on either side, else of the chosen ones."""
        if not self.twin.is_open:
            return
        for number, half in enumerate(self._halves):
            other = self._halves[1 - number].state
            linked: tuple[int, ...] = ()
            if half.state.hovered_token is None and other.hovered_token is not None:
                linked = self.twin.links.over(1 - number, (other.hovered_token,))
            half.view.strip.set_linked(linked)
            tokens = linked or half.state.tokens
            half.snapshot = resolve(
                self.state.current,
                half.state.sequence,
                half.state.maps,
                tokens,
                half.state.hovered_token,
                self.state.view,
            )
            self._show_snapshot(half)
            self._light(half, half.state.hovered_cell)

    def _show_snapshot(self, half: _Half) -> None:
        view, snapshot, grid = half.view, half.snapshot, half.snapshot.grid
        style = map_style(self.state.view, grid is not None and grid.signed)
        card = CardText(snapshot.title, snapshot.lines, snapshot.caveat, snapshot.caution, snapshot.page)
        sinks = sink_cells(half.state.maps, self.state.current)
        if snapshot.modality is Modality.AUDIO:
            view.sound.set_style(style)
            view.sound.card.show_text(card)
            view.sound.set_map(time_map(grid))
            view.sound.set_sinks(tuple(cell[0] for cell in sinks if len(cell) == 1))
        else:
            view.image.set_style(style)
            view.image.card.show_text(card)
            view.image.set_map(image_map(grid))
            view.image.set_sinks(tuple((cell[0], cell[1]) for cell in sinks if len(cell) == 2))

    def _light(self, half: _Half, cell: tuple[int, ...] | None) -> None:
        """Show which tokens looked at a place."""
        state = half.state
        half.view.strip.set_lit(lit_shares(state.sequence, state.maps, cell), lit_floor(state.maps))

    def _on_cell(self, number: int, cell: tuple[int, ...] | None) -> None:
        """Light the tokens that looked at a place, and mark the same place on the other side."""
        half, other = self._halves[number], self._halves[1 - number]
        self._light(half, cell)
        found = across(half.snapshot.grid, other.snapshot.grid, cell)
        self._light(other, found)
        if half.snapshot.modality is Modality.AUDIO:
            half.view.sound.mark(cell)
            other.view.sound.mark(found)
        else:
            other.view.image.mark((found[0], found[1]) if found is not None else None)

    def _show_styles(self) -> None:
        self.controls.show_options(self.state.view)
        self._show_maps()
        self._show_regions()

    # --- regions and sound -------------------------------------------------------------------------------
    def _show_regions(self) -> None:
        regions, region = shown_regions(self.state), self.state.region
        hears = self._item is not None and self._item.media.modality is Modality.AUDIO
        for view in self.sides:
            shown = view.sound if hears else view.image
            shown.regions.set_regions(regions, region.id if region is not None else "")

    def _draw(self, kind: str, points: tuple[tuple[float, float], ...]) -> None:
        self.state.update_view(show_regions=True)
        self.workbench.annotations.add(kind, points)  # type: ignore[arg-type]

    def _toggle_sound(self) -> None:
        self.player.toggle()

    def _on_playing(self, playing: bool) -> None:
        for view in self.sides:
            view.sound.set_playing(playing)

    def _on_position(self, seconds: float) -> None:
        for view in self.sides:
            view.sound.set_position(seconds)

    # --- from the engine ---------------------------------------------------------------------------------
    def _on_activity(self, key: str, _activity: Activity) -> None:
        if self.twin.is_open and key.removeprefix(PREFIX) in ("sequence", "maps", "model"):
            for half in self._halves:
                self._show_state(half)

    def _show_offer(self, half: _Half) -> None:
        offer = half.sequences.costs.offer
        half.view.cost.offer(*((offer.words, offer.button) if offer is not None else ("", "")))

    # --- to the session ----------------------------------------------------------------------------------
    def _choose_model(self, number: int, key: str) -> None:
        models, settings = self.workbench.models, self.workbench.settings
        name = key.removeprefix(_LOADED).removeprefix(_LISTED)
        if number == 1:
            self.twin.choose(name) if key.startswith(_LOADED) else self.twin.load(name)
        elif key.startswith(_LOADED):
            models.use(name)
        else:
            models.load(name, settings.device, settings.dtype, keep=True)

    def _choose_map(
        self, number: int, method: str, point: str | None, layer: int | None, head: HeadChoice
    ) -> None:
        state = self._halves[number].state
        spec = replace(state.spec, method=method, point=point, layer=layer, head=head)
        model = self._models()[number]
        state.set_spec(spec if takes_target(model, spec) else replace(spec, target=None, contrast=None))

    def _cancel(self, half: _Half) -> None:
        for key in ("sequence", "maps"):
            self.workbench.cancel(half.prefix + key)

    def _again(self, number: int) -> None:
        if self.workbench.activity(f"{self._halves[number].prefix}maps").error is not None:
            self._halves[number].sequences.refresh_maps()
        elif number == 0:
            self.workbench.ask_again()
        else:
            self.twin.again()


def _loaded_choice(info: ModelInfo) -> ModelChoice:
    return ModelChoice(f"{_LOADED}{info.id}", info.label, info.source)


def _listed_choice(listing: ModelListing) -> ModelChoice:
    size = f" · {bytes_in_words(listing.size_bytes)}" if listing.size_bytes else ""
    return ModelChoice(f"{_LISTED}{listing.source}", f"{listing.label}{size}", listing.source, loaded=False)


def _point_choice(point: CapturePoint) -> PointChoice:
    explains = f"{point.label}: {point.queries} look at {point.keys}"
    return PointChoice(point.name, point.label, point.layers, point.heads, explains)


def _about(model: ModelInfo | None) -> str:
    if model is None:
        return ""
    return f"{device_in_words(model.device, model.dtype)} · {bytes_in_words(model.memory_bytes)}"
