"""Where did it look? The item with the map of the hovered or chosen tokens over it."""

from __future__ import annotations

from typing import ClassVar

from PySide6.QtCore import QEvent, Qt
from PySide6.QtGui import QFont
from PySide6.QtWidgets import QPlainTextEdit, QStackedWidget, QVBoxLayout, QWidget

from mmviewer.core.figures import colormaps
from mmviewer.core.media.geometry import TimeGeometry
from mmviewer.core.session.state import LibraryItem
from mmviewer.core.types import Modality
from mmviewer.engine.protocol import ErrorReport, Spectrogram, SpectrogramData
from mmviewer.gui.activities import Activity
from mmviewer.gui.controllers.faithfulness import shown_badge
from mmviewer.gui.controllers.samples import trial_words
from mmviewer.gui.icons import icon
from mmviewer.gui.map_style import image_map, map_style, picture_of, time_map
from mmviewer.gui.panels.base import PANELS, Area, Panel
from mmviewer.gui.playback import Player
from mmviewer.gui.region_model import shown_regions, sink_cells
from mmviewer.gui.view_model import Snapshot, resolve
from mmviewer.gui.widgets.image_view import ImageView
from mmviewer.gui.widgets.inline_note import InlineNote
from mmviewer.gui.widgets.map_card import CardText
from mmviewer.gui.widgets.map_controls import ViewControls
from mmviewer.gui.widgets.region_bar import RegionBar
from mmviewer.gui.widgets.sample_note import SampleNote
from mmviewer.gui.widgets.sound_view import SoundView
from mmviewer.gui.widgets.state_stack import StateStack
from mmviewer.gui.workbench import Workbench

_NOTHING = Snapshot(None, "")
_SHOWN_LETTERS = 50_000


@PANELS.add("viewer")
class ViewerPanel(Panel):
    """Applies the snapshot that `resolve` makes of the session: the item, the map over it, their controls."""

    key: ClassVar[str] = "viewer"
    title: ClassVar[str] = "Viewer"
    area: ClassVar[Area] = Area.CENTRE
    order: ClassVar[int] = 10
    icon: ClassVar[str] = "viewer"
    help: ClassVar[str] = "The item, and over it where the model looked for the hovered or chosen tokens."

    def __init__(self, workbench: Workbench, parent: QWidget | None = None) -> None:
        super().__init__(workbench, parent)
        self.image = ImageView()
        self.sound = SoundView()
        self.text = _text_view()
        self.player = Player(self)
        self.controls = ViewControls({name: colormaps.lut(name) for name in _COLORMAPS})
        self.region_bar = RegionBar()
        self.note = InlineNote()
        self.sample_note = SampleNote()
        self._pages = QStackedWidget()
        self._content = QWidget()
        self.stack = StateStack(self._content)
        self._snapshot = _NOTHING
        self._item: LibraryItem | None = None
        self._take_icons()
        self._lay_out()
        self._connect()
        self._apply_options()
        self._refresh()

    def release(self) -> None:
        """Stop the sound, then let go of the state."""
        self.player.release()
        super().release()

    @property
    def snapshot(self) -> Snapshot:
        """What is shown now."""
        return self._snapshot

    # --- construction ----------------------------------------------------------------------------------
    def _lay_out(self) -> None:
        for page in (self.image, self.sound, self.text):
            self._pages.addWidget(page)
        foot = QVBoxLayout()
        foot.setContentsMargins(12, 4, 12, 6)
        foot.setSpacing(6)
        foot.addWidget(self.note)
        foot.addWidget(self.sample_note)
        self.controls.add(self.region_bar)
        foot.addWidget(self.controls)
        column = QVBoxLayout(self._content)
        column.setContentsMargins(0, 0, 0, 0)
        column.setSpacing(0)
        column.addWidget(self._pages, 1)
        column.addLayout(foot)
        whole = QVBoxLayout(self)
        whole.setContentsMargins(0, 0, 0, 0)
        whole.addWidget(self.stack)

    def _connect(self) -> None:
        state, bench = self.state, self.workbench
        for signal in (
            state.items_changed,
            state.current_changed,
            state.sequence_changed,
            state.tokens_changed,
            state.hovered_token_changed,
            state.maps_changed,
        ):
            self.watch(signal, self._on_changed)
        self.watch(state.view_changed, self._on_view)
        for changed in (state.annotations_changed, state.region_changed):
            self.watch(changed, lambda _value: self._show_regions())
        self.watch(state.hovered_cell_changed, self._on_cell)
        bench.activities.changed.connect(self._on_activity)
        self.stack.acted.connect(bench.samples_requested)
        self.stack.also_acted.connect(bench.tour_requested)
        self.sample_note.tried.connect(self._try_sample)
        self.sample_note.closed.connect(bench.samples.hide_notes)
        bench.samples.changed.connect(self._show_sample_note)
        self.stack.cancelled.connect(self._cancel_opening)
        self.note.cancelled.connect(lambda: bench.cancel("maps"))
        self.note.retried.connect(bench.refresh_maps)
        self.controls.changed.connect(lambda name, value: state.update_view(**{name: value}))
        for view in (self.image, self.sound):
            view.card.learn_more.connect(bench.help_requested)
            view.card.trust_wanted.connect(lambda: bench.panel_requested.emit("faithfulness"))
        bench.faithfulness.changed.connect(self._show_trust)
        for layer in (self.image.regions, self.sound.regions):
            layer.drawn.connect(self._draw)
            layer.reshaped.connect(bench.annotations.reshape)
            layer.removed.connect(bench.annotations.remove)
            layer.chosen.connect(bench.annotations.choose)
            layer.tool_changed.connect(lambda _tool: self._show_tool())
        self.region_bar.tool_wanted.connect(self._take_tool)
        self.region_bar.shown.connect(lambda on: state.update_view(show_regions=on))
        self.image.cell_hovered.connect(state.set_hovered_cell)
        self.sound.cell_hovered.connect(state.set_hovered_cell)
        self.sound.play_requested.connect(self._toggle_sound)
        self.sound.seek_requested.connect(self.player.seek)
        self.player.position_changed.connect(self._on_position)
        self.player.playing_changed.connect(self._on_playing)
        self.player.failed.connect(self.sound.set_note)

    def changeEvent(self, event: QEvent) -> None:
        super().changeEvent(event)
        if event.type() in (QEvent.Type.PaletteChange, QEvent.Type.StyleChange):
            self._take_icons()

    def _take_icons(self) -> None:
        self.sound.set_icons(icon("play"), icon("pause"))
        self.region_bar.set_icons(icon("box"), icon("lasso"), icon("regions"))
        self.sample_note.set_icons(icon("info"), icon("close"))

    # --- from the state --------------------------------------------------------------------------------
    def _on_changed(self, _value: object) -> None:
        self._refresh()

    def _on_view(self, _options: object) -> None:
        self._apply_options()
        self._refresh()

    def _on_cell(self, cell: tuple[int, ...] | None) -> None:
        if self._snapshot.modality is Modality.IMAGE:
            self.image.mark((cell[0], cell[1]) if cell is not None and len(cell) == 2 else None)
        elif self._snapshot.modality is Modality.AUDIO:
            self.sound.mark(cell if cell is not None and len(cell) == 1 else None)

    def _refresh(self) -> None:
        state = self.state
        snapshot = resolve(
            state.current, state.sequence, state.maps, state.tokens, state.hovered_token, state.view
        )
        former, self._snapshot = self._snapshot, snapshot
        if self._item is not state.current:
            self._show_item(state.current)
        if snapshot.modality is None:
            self._show_empty()
            return
        self.stack.show_content()
        signed = snapshot.grid is not None and snapshot.grid.signed
        if signed != (former.grid is not None and former.grid.signed):
            self._apply_options()
        self._show_map(snapshot)

    def _show_item(self, item: LibraryItem | None) -> None:
        """Show another item, bare."""
        renamed = item is not None and self._item is not None and item.media is self._item.media
        self._item = item
        self._show_regions()
        self._show_sample_note()
        if renamed:
            return
        self.player.set_sound(None)
        self.image.set_picture(None)
        self.sound.set_sound(None)
        modality = item.media.modality if item is not None else None
        self.controls.setVisible(modality in (Modality.IMAGE, Modality.AUDIO))
        if item is None:
            return
        if modality is Modality.IMAGE:
            self.image.set_picture(picture_of(item))
            self._pages.setCurrentWidget(self.image)
        elif modality is Modality.AUDIO:
            self._show_sound(item)
        else:
            self.text.setPlainText(_beginning(item.media.text or ""))
            self._pages.setCurrentWidget(self.text)

    def _show_sample_note(self) -> None:
        sample = self.workbench.samples.note_of(self._item)
        words, tip = trial_words(sample.trial if sample else None)
        self.sample_note.show_note(sample.note if sample else "", words, tip)

    def _try_sample(self) -> None:
        sample = self.workbench.samples.note_of(self._item)
        if sample is not None and sample.trial is not None:
            self.workbench.samples.attempt(sample.trial)

    def _show_sound(self, item: LibraryItem) -> None:
        self.sound.set_sound(item.media.samples, item.media.sample_rate)
        self.player.set_sound(item.media.samples, item.media.sample_rate)
        self._pages.setCurrentWidget(self.sound)

        def done(data: SpectrogramData) -> None:
            if self._item is not None and self._item.id == item.id:
                self.sound.set_spectrogram(data.values, data.hop, data.centres)

        def failed(error: ErrorReport) -> None:
            self.sound.set_note(error.message)

        request = Spectrogram(item.ref)
        activities = self.workbench.activities
        activities.run(
            "spectrogram", "Computing the spectrogram", request, done=done, failed=failed, visible=False
        )

    def _show_map(self, snapshot: Snapshot) -> None:
        words = (snapshot.title, snapshot.lines, snapshot.caveat, snapshot.caution, snapshot.page)
        card = CardText(*words)
        if snapshot.modality is Modality.IMAGE:
            self.image.card.show_text(card)
            self.image.set_map(image_map(snapshot.grid))
            self.image.set_sinks(tuple((row, column) for row, column in self._sinks(2)))
        elif snapshot.modality is Modality.AUDIO:
            self.sound.card.show_text(card)
            self.sound.set_map(time_map(snapshot.grid))
            self.sound.set_sinks(tuple(place[0] for place in self._sinks(1)))

    def _show_trust(self) -> None:
        badge = shown_badge(self.workbench.faithfulness)
        for view in (self.image, self.sound):
            view.card.show_badge(badge)

    def _sinks(self, axes: int) -> list[tuple[int, ...]]:
        return [cell for cell in sink_cells(self.state.maps, self.state.current) if len(cell) == axes]

    def _apply_options(self) -> None:
        grid = self._snapshot.grid
        style = map_style(self.state.view, grid is not None and grid.signed)
        self.image.set_style(style)
        self.sound.set_style(style)
        self.controls.show_options(self.state.view)
        self._show_regions()

    def _show_empty(self) -> None:
        opening = self._opening()
        if opening is not None:
            self.stack.show_waiting(opening[1].label, opening[1].fraction)
        elif self.state.items:
            self.stack.show_empty("Nothing chosen", "Choose an item in the library to see it here.")
        else:
            self.stack.show_empty(
                "See where a model looks",
                "Drop an image, a sound or a text here, or open one with Ctrl+O.",
                "Open the samples",
                "Take the tour",
            )

    # --- regions -----------------------------------------------------------------------------------------
    def _show_regions(self) -> None:
        regions = shown_regions(self.state)
        chosen = self.state.region.id if self.state.region is not None else ""
        hears = self._item is not None and self._item.media.modality is Modality.AUDIO
        (self.sound if hears else self.image).regions.set_regions(regions, chosen)
        self._show_tool()

    def _show_tool(self) -> None:
        hears = self._item is not None and self._item.media.modality is Modality.AUDIO
        tool = (self.sound if hears else self.image).regions.tool
        self.region_bar.show_state(tool, all_shown=self.state.view.show_regions, hand=not hears)

    def _take_tool(self, tool: str) -> None:
        """A button was pressed; the view gets the keyboard, so that Esc leaves the tool."""
        hears = self._item is not None and self._item.media.modality is Modality.AUDIO
        view = self.sound if hears else self.image
        view.regions.set_tool(tool)  # type: ignore[arg-type]
        view.setFocus()

    def _draw(self, kind: str, points: tuple[tuple[float, float], ...]) -> None:
        self.state.update_view(show_regions=True)
        self.workbench.annotations.add(kind, points)  # type: ignore[arg-type]

    # --- from the engine -----------------------------------------------------------------------------
    def _on_activity(self, key: str, activity: Activity) -> None:
        if key == "maps":
            self._show_maps_activity(activity)
        elif key.startswith("open:") and self.state.current is None:
            self._show_empty()

    def _show_maps_activity(self, activity: Activity) -> None:
        if activity.error is not None:
            self.note.show_failed(activity.error.message, activity.error.details)
        elif activity.running:
            self.note.show_waiting(f"{activity.label}… {activity.message}".strip())
        else:
            self.note.clear()

    def _opening(self) -> tuple[str, Activity] | None:
        running = self.workbench.activities.running().items()
        return next(((key, activity) for key, activity in running if key.startswith("open:")), None)

    def _cancel_opening(self) -> None:
        opening = self._opening()
        if opening is not None:
            self.workbench.cancel(opening[0])

    # --- sound -----------------------------------------------------------------------------------------
    def _toggle_sound(self) -> None:
        self.sound.set_note("")
        self.player.toggle()

    def _on_position(self, seconds: float) -> None:
        self.sound.set_position(seconds)
        grid = self._snapshot.grid
        if self.player.playing and grid is not None and isinstance(grid.geometry, TimeGeometry):
            index = grid.geometry.index_at(seconds)
            self.state.set_hovered_cell(None if index is None else (index,))

    def _on_playing(self, playing: bool) -> None:
        self.sound.set_playing(playing)
        if not playing:
            self.state.set_hovered_cell(None)


_COLORMAPS = (*colormaps.SEQUENTIAL, *colormaps.DIVERGING)


def _beginning(text: str) -> str:
    """As much of a text as Qt lays out without a stall, and how much more there is."""
    if len(text) <= _SHOWN_LETTERS:
        return text
    return f"{text[:_SHOWN_LETTERS]}…\n\n({len(text) - _SHOWN_LETTERS:,} more characters)"


def _text_view() -> QPlainTextEdit:
    view = QPlainTextEdit(readOnly=True)
    view.setAccessibleName("Text")
    view.setStyleSheet("QPlainTextEdit { border: none; border-radius: 0; }")
    view.document().setDocumentMargin(16)
    font = QFont(view.font())
    font.setPixelSize(18)
    view.setFont(font)
    view.viewport().setCursor(Qt.CursorShape.IBeamCursor)
    return view
