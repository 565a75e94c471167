"""What the library holds: opening, pasting, removing, renaming, with undo."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from itertools import count
from pathlib import Path
from typing import TYPE_CHECKING, Any

from PySide6.QtCore import QMimeData, QObject, QTimer, QUrl
from PySide6.QtGui import QImage, QUndoCommand, QUndoStack

from mmviewer import paths
from mmviewer.core.session.state import LibraryItem, SessionState
from mmviewer.core.types import Media
from mmviewer.engine.protocol import ErrorReport, OpenFailure, OpenMedia, OpenText
from mmviewer.gui.activities import Activities

if TYPE_CHECKING:
    from mmviewer.gui.workbench import Workbench

_FLUSH_MS = 40
"""Items that arrive within this time enter the library together, so that thousands stay fluid."""
_REST = 8
"""The window rests this many times as long as taking items in took."""
_SHOWN_FAILURES = 3
_LONGEST_LIST = 100_000
"""Characters of a pasted text that may be a list of files; asking the disk about more lines would stall."""
_REMOTE = "That is an address on the network, which mmviewer does not fetch: save the file, then drop it."


class LibraryController(QObject):
    """Fills and changes `state.items`."""

    def __init__(self, workbench: Workbench) -> None:
        super().__init__(workbench)
        self._workbench = workbench
        self._state: SessionState = workbench.state
        self._activities: Activities = workbench.activities
        self.undo_stack = QUndoStack(self)
        self._arrived: list[Media] = []
        self._runs = 0
        self._flush_timer = QTimer(self, singleShot=True, interval=_FLUSH_MS)
        self._flush_timer.timeout.connect(self._flush)

    # --- coming in -----------------------------------------------------------------------------------
    def open_paths(self, names: Sequence[str]) -> None:
        """Open files and folders; the first item of them becomes the current one."""
        if not names:
            return
        label = f"Opening {Path(names[0]).name}" if len(names) == 1 else f"Opening {len(names)} files"
        opening = _Opening(self, tuple(names))
        self._runs += 1
        self._activities.run(
            f"open:{self._runs}",
            label,
            OpenMedia(opening.names),
            done=lambda _count: opening.end(),
            partial=opening.take,
            failed=self._workbench.report,
        )

    def open_text(self, text: str, *, choose: bool = False) -> None:
        """Add a typed text; `choose` makes it the current item."""
        if not text.strip():
            return
        self._runs += 1
        self._activities.run(
            f"open:{self._runs}",
            "Adding a text",
            OpenText(text),
            done=lambda media: self.take(media, choose=choose or self._state.current is None),
            failed=self._workbench.report,
            visible=False,
        )

    def paste(self, mime: QMimeData) -> None:
        """Open what was pasted or dropped: files, file addresses, an image, or text."""
        files = [url.toLocalFile() for url in mime.urls() if url.isLocalFile()]
        if files:
            self.open_paths(files)
        elif mime.hasImage():
            self._paste_image(mime.imageData())
        elif any(not url.isLocalFile() and url.scheme() for url in mime.urls()):
            self._workbench.notice.emit(_REMOTE, "warning")
        elif mime.hasText() and mime.text().strip():
            self._paste_text(mime.text())
        else:
            self._workbench.notice.emit("There is no image, sound, text or file to paste.", "info")

    def take(self, media: Media, *, choose: bool) -> None:
        """Let an opened item in, soon and together with others; `choose` makes it the current one."""
        self._arrived.append(media)
        if choose:
            self._flush()
            self._workbench.choose(media.id)
        elif not self._flush_timer.isActive():
            self._flush_timer.start()

    # --- changes with undo ---------------------------------------------------------------------------
    def remove(self, ids: Iterable[str]) -> None:
        """Remove items from the library (never from the disk)."""
        gone = set(ids) & {item.id for item in self._state.items}
        if not gone:
            return
        before = self._state.items
        after = tuple(item for item in before if item.id not in gone)
        next_id = _neighbour(before, after, self._state.current)
        words = f"Remove {self._name(next(iter(gone)))}" if len(gone) == 1 else f"Remove {len(gone)} items"
        kept = [(index, item) for index, item in enumerate(before) if item.id in gone]

        def redo() -> None:
            self._state.set_items(item for item in self._state.items if item.id not in gone)
            if self._state.current is None:
                self._workbench.choose(next_id)

        def undo() -> None:
            items = list(self._state.items)
            for index, item in kept:
                items.insert(min(index, len(items)), item)
            self._state.set_items(items)
            self._workbench.choose(kept[0][1].id)

        self.undo_stack.push(Change(words, redo, undo))

    def rename(self, item_id: str, name: str) -> None:
        """Give an item another name."""
        item = self._state.item(item_id)
        name = " ".join(name.split())
        if item is None or not name or name == item.name:
            return
        former = item.name
        self.undo_stack.push(
            Change(
                f"Rename {former}",
                lambda: self._set_name(item_id, name),
                lambda: self._set_name(item_id, former),
            )
        )

    def _set_name(self, item_id: str, name: str) -> None:
        items = tuple(replace(item, name=name) if item.id == item_id else item for item in self._state.items)
        self._state.set_items(items)

    def _name(self, item_id: str) -> str:
        item = self._state.item(item_id)
        return item.name if item else "item"

    # --- arrival -------------------------------------------------------------------------------------
    def _flush(self) -> None:
        self._flush_timer.stop()
        known = {item.id for item in self._state.items}
        fresh: dict[str, LibraryItem] = {}
        for media in self._arrived:
            if media.id not in known:
                fresh.setdefault(media.id, LibraryItem(media, self._workbench.samples.name_of(media)))
        self._arrived.clear()
        if fresh:
            start = time.perf_counter()
            self._state.set_items((*self._state.items, *fresh.values()))
            spent = 1000 * (time.perf_counter() - start)  # grows with the library: then flush less often
            self._flush_timer.setInterval(max(_FLUSH_MS, round(_REST * spent)))

    def _paste_image(self, data: Any) -> None:
        image = data if isinstance(data, QImage) else QImage(data)
        if image.isNull():
            self._workbench.notice.emit("The pasted image is empty; copy it again.", "warning")
            return
        path = _save_pasted(image)
        if path is None:
            self._workbench.notice.emit(
                "The pasted image cannot be kept: the cache folder is full or closed.", "error"
            )
            return
        self.open_paths([str(path)])

    def _paste_text(self, text: str) -> None:
        if len(text) > _LONGEST_LIST:
            self.open_text(text, choose=True)
            return
        lines = [_as_path(line.strip()) for line in text.splitlines() if line.strip()]
        files = [line for line in lines if _is_file(line)]
        if len(files) == len(lines):
            self.open_paths(files)
        else:
            self.open_text(text, choose=True)


class _Opening:
    """One run of `open_paths`: chooses the first item, gathers failures, remembers files as recent."""

    def __init__(self, library: LibraryController, names: tuple[str, ...]) -> None:
        self._library = library
        self.names = names
        self._failures: list[OpenFailure] = []
        self._opened = 0

    def take(self, value: Any) -> None:
        """A partial answer: an item, or why a file cannot be opened."""
        if isinstance(value, OpenFailure):
            self._failures.append(value)
            return
        self._opened += 1
        self._library.take(value, choose=self._opened == 1)

    def end(self) -> None:
        """Report what failed and remember what was opened."""
        workbench = self._library._workbench
        failed = {failure.path for failure in self._failures}
        if self._opened:
            pasted = str(paths.cache_dir())  # nobody chose those names
            workbench.remember_recent(
                name for name in self.names if name not in failed and not name.startswith(pasted)
            )
        elif not self._failures:
            workbench.notice.emit("There is no image, sound or text file in it.", "info")
        if len(self._failures) <= _SHOWN_FAILURES:
            for failure in self._failures:
                workbench.report(failure.error)
            return
        sentences = "\n".join(failure.error.message for failure in self._failures)
        total = len(self._failures) + self._opened
        workbench.report(
            ErrorReport(
                "MediaError", f"{len(self._failures)} of {total} files could not be opened.", sentences
            )
        )


class Change(QUndoCommand):
    """A change of the session as two functions."""

    def __init__(self, text: str, redo: Callable[[], None], undo: Callable[[], None]) -> None:
        super().__init__(text)
        self._redo, self._undo = redo, undo

    def redo(self) -> None:
        self._redo()

    def undo(self) -> None:
        self._undo()


def _neighbour(
    before: Sequence[LibraryItem], after: Sequence[LibraryItem], current: LibraryItem | None
) -> str | None:
    """The item to show when `current` is removed: the next one that stays, else the one before."""
    if current is None or not after:
        return None
    kept = {item.id for item in after}
    index = next((i for i, item in enumerate(before) if item.id == current.id), 0)
    following = [item.id for item in before[index:] if item.id in kept]
    return following[0] if following else after[-1].id


def _save_pasted(image: QImage) -> Path | None:
    """Keep a pasted image in the cache folder, named by time; None where it cannot be written."""
    folder = paths.cache_dir() / "pasted"
    stem = f"pasted {time.strftime('%Y-%m-%d %H.%M.%S')}"
    try:
        folder.mkdir(exist_ok=True)
        taken = {path.stem for path in folder.iterdir()}
    except OSError:
        return None
    names = (stem if n == 1 else f"{stem} ({n})" for n in count(1))
    target = folder / f"{next(name for name in names if name not in taken)}.png"
    return target if image.save(str(target)) else None


def _as_path(line: str) -> str:
    """The path of a file address (``file:///…``); any other line as it is."""
    return QUrl(line).toLocalFile() if line.startswith("file:") else line


def _is_file(line: str) -> bool:
    try:
        return Path(line).is_absolute() and Path(line).exists()
    except (OSError, ValueError):
        return False
