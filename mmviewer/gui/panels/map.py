"""The collection as a map: a million items in the plane, asked, encircled, and opened one by one."""

from __future__ import annotations

from pathlib import Path
from typing import ClassVar

import numpy as np
from PySide6.QtCore import QSize, Qt, QTimer
from PySide6.QtGui import QDragEnterEvent, QDragLeaveEvent, QDropEvent, QKeyEvent, QPalette
from PySide6.QtWidgets import (
    QFileDialog,
    QHBoxLayout,
    QProgressBar,
    QSplitter,
    QVBoxLayout,
    QWidget,
)

from mmviewer.core.session.state import LibraryItem
from mmviewer.gui.activities import Activity
from mmviewer.gui.buttons import push_button
from mmviewer.gui.map_averaging import MapAveraging
from mmviewer.gui.map_bar import MapBar
from mmviewer.gui.map_beside import MapBeside
from mmviewer.gui.map_colours import Colouring, apply_colouring, colourings
from mmviewer.gui.map_drawer import MapDrawer
from mmviewer.gui.map_facts import card_of, map_label
from mmviewer.gui.map_findings import MapFindings
from mmviewer.gui.map_measuring import MapMeasuring
from mmviewer.gui.map_question import MapQuestion, file_in
from mmviewer.gui.map_side import MapSide
from mmviewer.gui.panels.base import PANELS, Area, Panel
from mmviewer.gui.widgets.cost_note import CostNote
from mmviewer.gui.widgets.elided_label import ElidedLabel
from mmviewer.gui.widgets.point_map import PointMap
from mmviewer.gui.widgets.point_map_paint import Pin
from mmviewer.gui.widgets.query_chips import QueryChip, QueryChips
from mmviewer.gui.widgets.state_stack import StateStack
from mmviewer.gui.workbench import Workbench

_STEPS = 1000
_SMALLEST = QSize(240, 120)
_REFRESH_MS = 60  # changes that come together are shown together


@PANELS.add("map")
class MapPanel(Panel):
    """Takes the place of the viewer while it is open; two clicks on a point open the item there."""

    key: ClassVar[str] = "map"
    title: ClassVar[str] = "Map"
    area: ClassVar[Area] = Area.CENTRE
    order: ClassVar[int] = 30
    icon: ClassVar[str] = "space"
    help: ClassVar[str] = "A collection of up to millions of items as a map: near means similar."
    help_page: ClassVar[str] = "projection"

    def __init__(self, workbench: Workbench, parent: QWidget | None = None) -> None:
        super().__init__(workbench, parent)
        self.collections = workbench.collections
        self.asking = workbench.collection_asking
        self.patches = workbench.collection_patches
        self.work = workbench.collection_work
        self.follow = workbench.collection_watch
        self.bar = MapBar()
        self.question = MapQuestion()
        self.ask = self.question.line
        self.like = push_button("Like the picked", "What lies nearest to the picked item")
        self.chips = QueryChips()
        self.cost = CostNote()
        self.map = PointMap()
        self.side = MapSide(self.collections, workbench.collection_average)
        self.drawer = MapDrawer(self.collections)
        self.note = ElidedLabel("", QPalette.ColorRole.PlaceholderText)
        self.progress = QProgressBar(textVisible=False)
        self.pause = push_button("Pause", "Let the machine rest; what is indexed stays")
        self.stop = push_button("Stop", "Stop; what is done stays, and the next run goes on from there")
        self.colouring = Colouring("kind")
        self._places = np.zeros((0, 2), np.float32)  # of the points on show
        self.stack = StateStack(self._content())
        self._soon = QTimer(self, singleShot=True, interval=_REFRESH_MS)
        self._lay_out()
        self.findings = MapFindings(self)
        self.measuring = MapMeasuring(self)
        self.beside = MapBeside(self)
        self.averaging = MapAveraging(self)
        self._connect()
        self.setAcceptDrops(True)

    # --- building --------------------------------------------------------------------------------------
    def _content(self) -> QWidget:
        across = QSplitter(Qt.Orientation.Horizontal)
        across.addWidget(self.map)
        across.addWidget(self.side)
        across.setStretchFactor(0, 1)
        across.setSizes([660, 340])
        down = QSplitter(Qt.Orientation.Vertical)
        down.addWidget(across)
        down.addWidget(self.drawer)
        down.setStretchFactor(0, 1)
        down.setSizes([500, 200])
        for splitter in (across, down):
            splitter.setChildrenCollapsible(False)
        content = QWidget()
        line = QHBoxLayout()
        line.addWidget(self.question, 1)
        line.addWidget(self.like)
        column = QVBoxLayout(content)
        column.setContentsMargins(0, 0, 0, 0)
        column.setSpacing(6)
        column.addLayout(line)
        column.addWidget(self.chips)
        column.addWidget(self.cost)
        column.addWidget(down, 1)
        return content

    def _lay_out(self) -> None:
        foot = QHBoxLayout()
        self.progress.setMaximumWidth(160)
        foot.addWidget(self.progress)
        foot.addWidget(self.note, 1)
        foot.addWidget(self.pause)
        foot.addWidget(self.stop)
        column = QVBoxLayout(self)
        column.setContentsMargins(12, 8, 12, 8)
        column.setSpacing(6)
        column.addWidget(self.bar)
        column.addWidget(self.stack, 1)
        column.addLayout(foot)
        self.map.set_pictures(self.collections.pictures)
        self.map.set_names(self.collections.names, lambda row: card_of(self.collections.item(row), row))

    def _connect(self) -> None:
        self._connect_bar()
        self._connect_views()
        self._connect_question()
        collections, work, asking = self.collections, self.work, self.asking
        collections.shown.connect(self._on_shown)
        collections.opened.connect(self._on_opened)
        collections.changed.connect(self._on_changed)
        collections.placed.connect(self._on_placed)
        collections.picked_changed.connect(self._on_picked)
        collections.selection_changed.connect(self._on_selection)
        asking.found.connect(self._on_found)
        asking.history_changed.connect(self._show_history)
        work.progressed.connect(self._show_progress)
        self.follow.changed.connect(self._show_progress)
        work.measured.connect(self._show_measures)
        work.coloured.connect(self.colour_by)
        self.workbench.activities.changed.connect(self._on_activity)
        self._soon.timeout.connect(self._refresh)

    def _connect_bar(self) -> None:
        bar, collections = self.bar, self.collections
        bar.collection_chosen.connect(collections.open)
        bar.folder_wanted.connect(lambda: self._choose_folder(self.work.create))
        bar.folder_added.connect(lambda: self._choose_folder(self.work.add_folder))
        bar.index_wanted.connect(self.work.index)
        bar.watch_wanted.connect(self.follow.set_watching)
        bar.space_chosen.connect(collections.choose_space)
        bar.map_chosen.connect(collections.show_map)
        bar.place_wanted.connect(self.work.place)
        bar.colour_chosen.connect(lambda key: self._colour(Colouring(key)))
        bar.tool_chosen.connect(self.map.set_tool)
        bar.fit_wanted.connect(self.map.fit)
        bar.pictures_toggled.connect(self._show_pictures)
        bar.closed.connect(lambda: collections.show(False))
        self.map.tool_changed.connect(bar.set_tool)

    def _connect_views(self) -> None:
        collections, side, drawer = self.collections, self.side, self.drawer
        self.map.picked.connect(collections.pick)
        self.map.opened.connect(collections.open_item)
        self.map.selection_changed.connect(collections.select)
        self.map.ready.connect(self._on_ready)
        side.legend.shown_changed.connect(self.map.show_classes)
        side.legend.highlighted.connect(self.map.set_highlight)
        side.legend.chosen.connect(self._select_class)
        side.measures.measure.clicked.connect(self.work.measure)
        side.measures.gap.toggled.connect(self.work.close_gap)
        side.measures.trust.clicked.connect(self.work.measure_trust)
        drawer.invert_wanted.connect(self.map.invert_selection)
        drawer.clear_wanted.connect(self.map.clear_selection)
        drawer.label_given.connect(self.work.label_selection)
        drawer.undo_wanted.connect(self.work.undo_label)
        drawer.redo_wanted.connect(self.work.redo_label)
        self.pause.clicked.connect(self.work.toggle_pause)
        self.stop.clicked.connect(self.work.stop)
        self.stack.acted.connect(self._on_stack_action)
        self.stack.cancelled.connect(self.work.stop)

    def _connect_question(self) -> None:
        asking, question, patches = self.asking, self.question, self.patches
        question.asked.connect(asking.ask)
        question.file_wanted.connect(self._choose_file)
        question.item_wanted.connect(self._ask_current)
        question.file_dropped.connect(asking.ask_file)
        question.query_dropped.connect(asking.take_query)
        question.released.connect(asking.let_go)
        question.by_patches_chosen.connect(asking.set_by_patches)
        self.like.clicked.connect(asking.ask_like_picked)
        self.chips.chosen.connect(self._ask_again)
        self.chips.removed.connect(asking.forget)
        self.chips.dropped.connect(asking.keep)
        self.cost.accepted.connect(patches.accept)
        self.cost.declined.connect(patches.decline)
        asking.thing_changed.connect(self._show_thing)
        patches.offer_changed.connect(self._show_offer)
        self.watch(self.state.current_changed, self._show_current)
        self._show_current(self.state.current)
        self._show_thing()

    # --- events ----------------------------------------------------------------------------------------
    def keyPressEvent(self, event: QKeyEvent) -> None:
        if event.key() == Qt.Key.Key_Escape:
            self.collections.show(False)
        else:
            super().keyPressEvent(event)

    def minimumSizeHint(self) -> QSize:
        """Little: it shares its place with the viewer, which must not need more room on its account."""
        return _SMALLEST

    def dragEnterEvent(self, event: QDragEnterEvent) -> None:
        folder, path = _folder_in(event), file_in(event.mimeData())
        if folder is not None:
            event.acceptProposedAction()
            self.note.set_text(f"Drop to make a collection of {Path(folder).name}")
        elif path is not None and not self.stack.message:
            event.acceptProposedAction()
            self.note.set_text(f"Drop to ask the collection with {Path(path).name}")

    def dragLeaveEvent(self, event: QDragLeaveEvent) -> None:
        self._show_progress()

    def dropEvent(self, event: QDropEvent) -> None:
        """A folder that is dropped becomes a collection; a file asks the one that is open."""
        folder, path = _folder_in(event), file_in(event.mimeData())
        event.acceptProposedAction()
        self._show_progress()
        if folder is not None:
            self.work.create(folder)
        elif path is not None:
            self.asking.ask_file(path)

    def _choose_file(self) -> None:
        dialog = QFileDialog(self, "An image or a sound to ask the collection with")
        dialog.setFileMode(QFileDialog.FileMode.ExistingFile)
        dialog.setAttribute(Qt.WidgetAttribute.WA_DeleteOnClose)
        dialog.fileSelected.connect(self.asking.ask_file)
        dialog.open()

    def _ask_current(self) -> None:
        if self.state.current is not None:
            self.asking.ask_item(self.state.current)

    def _choose_folder(self, then: object) -> None:
        dialog = QFileDialog(self, "A folder of images, sounds and texts")
        dialog.setFileMode(QFileDialog.FileMode.Directory)
        dialog.setOption(QFileDialog.Option.ShowDirsOnly)
        dialog.setAttribute(Qt.WidgetAttribute.WA_DeleteOnClose)
        dialog.fileSelected.connect(then)
        dialog.open()

    def _on_stack_action(self) -> None:
        view = self.collections.view
        if view is None:
            self._choose_folder(self.work.create)
        elif not self.collections.space_id:
            self.work.index()
        else:
            self.work.place("pca")

    # --- following the collection ---------------------------------------------------------------------
    def _on_shown(self, shown: bool) -> None:
        if shown:
            self._refresh()

    def _on_opened(self) -> None:
        self.colouring = Colouring("kind")
        self.side.measures.clear()
        self.map.set_labels(())
        self.map.set_pins(())
        self._on_changed()
        self._on_picked()

    def _on_changed(self) -> None:
        self.drawer.show_columns(self._similarity())
        self.drawer.show_rows()
        self.drawer.refresh()
        self.drawer.set_steps(*self.collections.label_steps())
        if self.collections.view is not None and 0 < self.map.count < self.collections.view.count:
            self._show_points()  # what is new has no place yet
        self.map.forget_pictures()
        self._soon.start()

    def _on_placed(self) -> None:
        self.side.measures.set_closed(self.collections.closed)
        self._show_points()
        self._show_pins()
        self._soon.start()

    def _show_points(self) -> None:
        """The points of the map; one that only grew is looked at as before."""
        view, coordinates = self.collections.view, self.collections.coordinates
        before, self._places = self._places, np.zeros((0, 2), np.float32)
        if view is None or coordinates is None:
            self.map.set_points(self._places, np.zeros(0, np.uint8))
            return
        xy = np.full((view.count, 2), np.nan, np.float32)
        known = min(len(coordinates.xy), view.count)
        xy[:known] = coordinates.xy[:known]
        there = np.flatnonzero(np.isfinite(before[: view.count, 0]))
        grew = len(there) > 0 and np.array_equal(xy[there], before[there])
        self._places = xy
        self.map.set_points(xy, view.table.kinds, keep_view=grew)

    def _on_ready(self) -> None:
        """New points are there; what was picked and selected still is."""
        self.map.set_selection(self.collections.selection)
        self._on_picked()
        self._soon.start()

    def _on_picked(self) -> None:
        row = self.collections.picked
        self.drawer.mark(row)
        self.like.setEnabled(row is not None)
        self.side.near.set_picked(row)
        found = self.asking.near(row)
        self.map.set_picked(row, *(found if found is not None else ((), ())))

    def _on_selection(self) -> None:
        self.map.set_selection(self.collections.selection)
        self.drawer.show_rows()

    def _on_found(self) -> None:
        found = self.asking.result
        if found is None:
            self.side.show_nearest("", np.zeros(0, np.int64), ())
        else:
            self.side.show_nearest(found.note, found.rows, found.cosines.tolist(), found.boxes)
            self.side.bring(self.side.near)
        self.drawer.show_columns(self._similarity())
        self._show_pins()
        self._on_picked()
        if self.colouring.key == "similarity":
            self._colour(self.colouring)
        self._soon.start()

    def _show_pins(self) -> None:
        self.map.set_pins(Pin(*pin) for pin in self.asking.pins())

    def _similarity(self) -> np.ndarray | None:
        return None if self.asking.result is None else self.asking.result.similarity

    def _ask_again(self, key: str) -> None:
        self.asking.again(key)
        self.ask.setText(self.asking.text_of(key))

    def _show_thing(self) -> None:
        """What stands before the line is another: what was typed belonged to the former."""
        thing = self.asking.thing
        if thing is None:
            self.question.show_thing("")
            return
        self.ask.clear()
        self.question.show_thing(
            thing.name, thing.picture, is_region=thing.is_region, by_patches=self.asking.by_patches
        )

    def _show_current(self, item: LibraryItem | None) -> None:
        self.question.show_item(None if item is None else item.name)

    def _show_offer(self) -> None:
        offer = self.patches.offer
        words = ("", "") if offer is None else (offer.words, offer.button)
        self.cost.offer(*words, may_decline=True)

    # --- colours -----------------------------------------------------------------------------------------
    def _colour(self, colouring: Colouring) -> None:
        self.colouring = colouring
        apply_colouring(colouring, self)
        self._soon.start()

    def colour_by(self, key: str, *, bring: bool = True) -> None:
        """Colour by something that was found, and show what the colours mean."""
        self._colour(Colouring(key))
        if bring:
            self.side.bring(self.side.legend)

    def _select_class(self, code: int) -> None:
        if self.colouring.codes is not None:
            self.collections.select(np.flatnonzero(self.colouring.codes == code))

    def _show_pictures(self, shown: bool) -> None:
        self.map.show_pictures = shown
        self.map.update()

    # --- showing ------------------------------------------------------------------------------------------
    def _refresh(self) -> None:
        view, collections = self.collections.view, self.collections
        folder = "" if view is None else str(view.folder)
        watched = self.follow.wanted if self.follow.possible else None
        self.bar.set_collections(collections.recent, folder, watched)
        spaces = () if view is None else view.spaces
        self.bar.set_spaces(spaces, collections.space_id)
        current = collections.coordinates.name if collections.coordinates is not None else ""
        kept = () if view is None else view.maps
        names = kept if not current or current in kept else (*kept, current)
        self.bar.set_maps(
            [(name, map_label(name)) for name in names], current, can_place=bool(collections.space_id)
        )
        self.bar.set_colourings(colourings(self), self.colouring.key)
        if view is not None and self.map.count == view.count and not self.map.preparing:
            self.map.set_mask(collections.on_map())
            apply_colouring(self.colouring, self)
        self._show_state()
        self._show_progress()

    def _show_state(self) -> None:
        view = self.collections.view
        if view is None:
            running = self.work.running
            if running is not None:
                self.stack.show_waiting(running.label, running.fraction)
                return
            text = "Choose a folder of images, sounds and texts, or drop one here: its items become a map."
            self.stack.show_empty("No collection", text, "Choose a folder…")
        elif self.collections.coordinates is not None:
            self.stack.show_content()
        elif (running := self.work.running) is not None:
            self.stack.show_waiting(running.message or running.label, running.fraction)
        elif (error := self.work.error) is not None:
            self.stack.show_failed(error.message, error.details, "Try again")
        elif not self.collections.space_id:
            text = f"{view.count:,} items are known; a model that embeds must look at each of them once."
            self.stack.show_empty("Not indexed yet", text, "Index")
        else:
            text = "The vectors are there; lay them into the plane to see them."
            self.stack.show_empty("No map yet", text, "Make a map (PCA)")

    def _show_history(self) -> None:
        self.chips.set_chips(
            [
                QueryChip(query.key, query.text, query.tip, query.kept, query.picture)
                for query in self.asking.history
            ]
        )
        self.chips.setVisible(bool(self.asking.history))

    def _show_progress(self) -> None:
        running = self.work.running
        self.progress.setVisible(running is not None)
        self.stop.setVisible(running is not None)
        self.pause.setVisible(self.work.indexing)
        self.pause.setText("Go on" if self.work.paused else "Pause")
        if running is None:
            self.note.set_text(" · ".join(filter(None, (self.work.summary(), self.follow.words))))
            return
        self.progress.setRange(0, 0 if running.fraction is None else _STEPS)
        if running.fraction is not None:
            self.progress.setValue(round(running.fraction * _STEPS))
        self.note.set_text(running.message or f"{running.label}…")

    def _show_measures(self) -> None:
        self.side.measures.show_lines(self.work.measures, self.work.measures_note)
        self.side.bring(self.side.measures)

    def _on_activity(self, key: str, _activity: Activity) -> None:
        if key.startswith("collection:"):
            self._show_progress()
            self._show_state()

    def release(self) -> None:
        """Stop the timers and let go of the workbench."""
        self._soon.stop()
        self.map.release()
        self.beside.release()
        self.averaging.release()
        self.workbench.activities.changed.disconnect(self._on_activity)
        super().release()


def _folder_in(event: QDragEnterEvent | QDropEvent) -> str | None:
    """The folder that is dragged, if it is one."""
    urls = event.mimeData().urls()
    if len(urls) == 1 and urls[0].isLocalFile() and Path(urls[0].toLocalFile()).is_dir():
        return urls[0].toLocalFile()
    return None
