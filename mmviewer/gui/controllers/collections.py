"""The open collection: what lies on the disk, which map of it is shown, what is picked and selected.

The window reads the catalogue itself, read-only; whatever writes or computes is asked of the engine.
"""

from __future__ import annotations

import logging
from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray
from PySide6.QtCore import QObject, QTimer, Signal

from mmviewer import paths
from mmviewer.core.errors import MMViewerError
from mmviewer.core.space.collection import Catalogue, CollectionItem, ItemTable, Source, SpaceInfo, Status
from mmviewer.core.space.collection.database import NAME as CATALOGUE_NAME
from mmviewer.core.space.collection.thumbnails import Thumbnails
from mmviewer.core.space.collection.types import ColumnInfo, Coordinates
from mmviewer.core.types import FloatArray
from mmviewer.engine.protocol import ErrorReport

if TYPE_CHECKING:
    from mmviewer.gui.workbench import Workbench

Rows = NDArray[np.int64]
Pixels = NDArray[np.uint8]

_POLL_MS = 700
_ITEMS_KEPT = 4_000
_RECENT_KEPT = 12

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, eq=False)
class CollectionView:
    """What the open collection held at its last commit.

    Parameters
    ----------
    folder : Path
    table : ItemTable
    spaces : tuple of SpaceInfo
    columns : tuple of ColumnInfo
    maps : tuple of str
        Names of the kept maps.
    sources : tuple of Source
    """

    folder: Path
    table: ItemTable
    spaces: tuple[SpaceInfo, ...]
    columns: tuple[ColumnInfo, ...]
    maps: tuple[str, ...]
    sources: tuple[Source, ...]

    @property
    def name(self) -> str:
        """For people."""
        return self.folder.name

    @property
    def count(self) -> int:
        """Items that ever came in."""
        return len(self.table)

    def space(self, space_id: str) -> SpaceInfo | None:
        """The space of this id."""
        return next((space for space in self.spaces if space.id == space_id), None)


class CollectionController(QObject):
    """Keeps the open collection for all who show it.

    Signals
    -------
    shown(bool)
        The map takes the place of the viewer, or gives it back.
    opened()
        Another collection is open, or none.
    changed()
        The open one was written to: `view` is new.
    placed()
        `coordinates` are others.
    picked_changed()
    selection_changed()

    Attributes
    ----------
    closed : bool
        Whether the space is looked at with its modality gap closed.
    """

    shown = Signal(bool)
    opened = Signal()
    changed = Signal()
    placed = Signal()
    picked_changed = Signal()
    selection_changed = Signal()

    def __init__(self, workbench: Workbench) -> None:
        super().__init__(workbench)
        self._workbench = workbench
        self._catalogue: Catalogue | None = None
        self._thumbnails: Thumbnails | None = None
        self._items: OrderedDict[int, CollectionItem] = OrderedDict()
        self.view: CollectionView | None = None
        self.space_id = ""
        self.coordinates: Coordinates | None = None
        self.picked: int | None = None
        self.selection: Rows = np.zeros(0, np.int64)
        self.is_shown = False
        self.closed = False
        self._poll = QTimer(self, interval=_POLL_MS)
        self._poll.timeout.connect(self.look_again)

    def release(self) -> None:
        """Let go of the files."""
        self._poll.stop()
        self._let_go()

    # --- the map in the window --------------------------------------------------------------------------
    def show(self, shown: bool = True) -> None:
        """Bring the map in place of the viewer, or give the place back."""
        if shown == self.is_shown:
            return
        self.is_shown = shown
        if shown and self.view is None and self.recent:
            self.open(self.recent[0])
        self.shown.emit(shown)

    # --- which collection --------------------------------------------------------------------------------
    @property
    def recent(self) -> tuple[str, ...]:
        """Folders of collections, the one opened last first; those that are gone are left out."""
        known = [*self._workbench.settings.collections, *_in(paths.collections_dir())]
        return tuple(dict.fromkeys(name for name in known if (Path(name) / CATALOGUE_NAME).exists()))

    def open(self, folder: str | Path) -> bool:
        """Open a collection; what is wrong with it is told in the notice bar."""
        folder = Path(folder)
        try:
            catalogue = Catalogue.open(folder, readonly=True)
        except MMViewerError as error:
            self._tell(error)
            return False
        self._let_go()
        self._catalogue = catalogue
        self._thumbnails = Thumbnails(folder, readonly=True)
        settings = self._workbench.settings
        known = [str(folder), *(name for name in settings.collections if name != str(folder))]
        settings.collections = known[:_RECENT_KEPT]
        self._workbench.save_settings()
        self.view = self._read()
        self.space_id = self.view.spaces[-1].id if self.view is not None and self.view.spaces else ""
        self._poll.start()
        self.opened.emit()
        self._show_newest_map()
        return True

    def close(self) -> None:
        """Let go of the collection; its files stay."""
        self._let_go()
        self.opened.emit()

    def folder_for(self, source: str | Path) -> Path:
        """Where a new collection of the items in `source` is kept."""
        name = Path(source).name or "collection"
        place = paths.collections_dir() / name
        number = 2
        while place.exists():
            place = paths.collections_dir() / f"{name} {number}"
            number += 1
        return place

    def look_again(self) -> None:
        """Read the collection anew if it was written to meanwhile."""
        if self._catalogue is None or self.view is None:
            return
        try:
            if self._catalogue.change == self.view.table.change:
                return
        except MMViewerError as error:
            self.close()
            self._tell(error)
            return
        view = self._read()
        if view is None:
            return
        new_map = view.maps != self.view.maps
        self.view = view
        self._items.clear()
        if not self.space_id and view.spaces:
            self.space_id = view.spaces[-1].id
        self.changed.emit()
        if new_map and (self.coordinates is None or self.coordinates.name not in view.maps):
            self._show_newest_map()

    def choose_space(self, space_id: str) -> None:
        """Look at the vectors of another model, and at its newest map."""
        if space_id != self.space_id:
            self.space_id = space_id
            self.changed.emit()
            self._show_newest_map()

    # --- maps ---------------------------------------------------------------------------------------------
    def show_map(self, name: str) -> None:
        """Show a kept map."""
        if self._catalogue is None:
            return
        try:
            self.set_coordinates(self._catalogue.coordinates(name))
        except MMViewerError as error:
            self._tell(error)

    def set_coordinates(self, coordinates: Coordinates | None) -> None:
        """Show these coordinates, kept or not; rows beyond them are not on the map."""
        self.coordinates = coordinates
        if coordinates is not None:
            self.closed = bool(coordinates.details.get("closed", False))
        self.placed.emit()

    def kept_map(self, space_id: str, method: str = "") -> str:
        """Name of the map by a method, else of the newest, that is kept of a space as it is looked at.

        Empty without any.
        """
        if self._catalogue is None or self.view is None:
            return ""
        usual = f"{method}:{space_id[:60]}{':closed' if self.closed else ''}"  # as the engine calls them
        if usual in self.view.maps:
            return usual
        for name in reversed(self.view.maps):
            try:
                kept = self._catalogue.coordinates(name)
            except MMViewerError:
                continue
            if kept.space_id == space_id and bool(kept.details.get("closed", False)) == self.closed:
                return name
        return ""

    def _show_newest_map(self) -> None:
        """The newest map of the space that is looked at, or one without a space."""
        found: Coordinates | None = None
        if self._catalogue is not None and self.view is not None:
            for name in reversed(self.view.maps):
                try:
                    kept = self._catalogue.coordinates(name)
                except MMViewerError:
                    logger.warning("the map %r cannot be read", name)
                    continue
                if kept.space_id in (self.space_id, None):
                    found = kept
                    break
        self.set_coordinates(found)

    # --- items --------------------------------------------------------------------------------------------
    def items(self, rows: Sequence[int] | Rows) -> list[CollectionItem]:
        """Facts of a few items; an unreadable catalogue has none."""
        wanted = [int(row) for row in rows]
        missing = [row for row in wanted if row not in self._items]
        if missing and self._catalogue is not None:
            try:
                found = self._catalogue.items(missing)
            except MMViewerError:
                return []
            self._items.update((item.row, item) for item in found)
        kept = [self._items[row] for row in wanted if row in self._items]
        while len(self._items) > _ITEMS_KEPT:
            self._items.popitem(last=False)
        return kept

    def item(self, row: int) -> CollectionItem | None:
        """Facts of one item."""
        found = self.items([row])
        return found[0] if found else None

    def names(self, rows: Rows) -> list[str]:
        """Names of some items; texts in quotes."""
        found = {item.row: item for item in self.items(rows)}
        return [_shown_name(found.get(int(row)), int(row)) for row in rows]

    def pictures(self, rows: Rows) -> list[Pixels | None]:
        """Small pictures of some items."""
        if self._thumbnails is None:
            return [None] * len(rows)
        try:
            return self._thumbnails.get(rows.tolist())
        except MMViewerError:
            return [None] * len(rows)

    def column(self, name: str) -> NDArray[np.float64] | tuple[NDArray[np.int32], tuple[str, ...]] | None:
        """Values of a column for every item; None where it cannot be read."""
        if self._catalogue is None:
            return None
        try:
            return self._catalogue.column(name)
        except MMViewerError as error:
            self._tell(error)
            return None

    def label_steps(self) -> tuple[int, int]:
        """How many labels given by hand can be taken back, and given again."""
        if self._catalogue is None:
            return 0, 0
        try:
            return self._catalogue.steps()
        except MMViewerError:
            return 0, 0

    def find(self, text: str) -> Rows:
        """Rows whose name, path or text contains `text`."""
        return np.zeros(0, np.int64) if self._catalogue is None else self._catalogue.find(text)

    def vectors(self, rows: Rows) -> FloatArray | None:
        """Vectors of a few items in the space that is looked at; None where one has none."""
        if self._catalogue is None or not self.space_id:
            return None
        try:
            return self._catalogue.vectors(self.space_id).take(rows)
        except MMViewerError:
            return None

    def on_map(self) -> NDArray[np.bool_]:
        """Which items may be shown: all but those that were removed or are missing."""
        if self.view is None:
            return np.zeros(0, np.bool_)
        status = self.view.table.status
        shown: NDArray[np.bool_] = (status != Status.MISSING) & (status != Status.REMOVED)
        return shown

    # --- picked and selected ------------------------------------------------------------------------------
    def pick(self, row: int | None) -> None:
        """Make an item the one that is looked at."""
        if row != self.picked:
            self.picked = row
            self.picked_changed.emit()

    def select(self, rows: Rows) -> None:
        """Select these items and no others."""
        rows = np.asarray(rows, np.int64)
        if not np.array_equal(rows, self.selection):
            self.selection = rows
            self.selection_changed.emit()

    def open_item(self, row: int) -> None:
        """Open an item in the library and look at it."""
        item = self.item(row)
        if item is None:
            return
        if item.path is not None:
            self.show(False)
            self._workbench.open_paths([item.path])
        elif item.text:
            self.show(False)
            self._workbench.open_text(item.text, choose=True)
        else:
            self._workbench.notice.emit(
                "This item is known by its vector only; there is nothing to open.", "info"
            )

    def open_items(self, rows: Rows) -> None:
        """Open the files of some items in the library, to look at what the model saw in each."""
        paths_ = [item.path for item in self.items(rows) if item.path is not None]
        if paths_:
            self.show(False)
            self._workbench.open_paths(paths_)

    # --- inside -------------------------------------------------------------------------------------------
    def _read(self) -> CollectionView | None:
        assert self._catalogue is not None
        try:
            return CollectionView(
                self._catalogue.folder,
                self._catalogue.table(),
                self._catalogue.spaces(),
                self._catalogue.columns(),
                self._catalogue.maps(),
                self._catalogue.sources,
            )
        except MMViewerError as error:
            self._tell(error)
            return None

    def _let_go(self) -> None:
        self._poll.stop()
        for opened in (self._catalogue, self._thumbnails):
            if opened is not None:
                opened.close()
        self._catalogue, self._thumbnails, self.view = None, None, None
        self._items.clear()
        self.space_id, self.coordinates, self.picked, self.closed = "", None, None, False
        self.selection = np.zeros(0, np.int64)

    def _tell(self, error: MMViewerError) -> None:
        self._workbench.report(ErrorReport(type(error).__name__, str(error), ""))


def _in(folder: Path) -> list[str]:
    """Collections in a folder, the newest first."""
    try:
        found = [each for each in folder.iterdir() if (each / CATALOGUE_NAME).exists()]
        return [str(each) for each in sorted(found, key=lambda each: -each.stat().st_mtime)]
    except OSError:
        return []


def _shown_name(item: CollectionItem | None, row: int) -> str:
    if item is None:
        return f"item {row}"
    return f"“{item.text}”" if item.text is not None and item.path is None else item.name
