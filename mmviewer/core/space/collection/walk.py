"""Walk through a folder of any size, holding one folder's names at a time."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

from mmviewer.core.media.files import display_name, unreadable
from mmviewer.core.media.open import promised_kind
from mmviewer.core.space.collection.records import Record
from mmviewer.core.space.collection.types import KINDS, Status

DEEPEST = 64
MOST_ENTRIES = 20_000_000


class Walk:
    """Finds the files of a folder and its subfolders that may be pictures, sounds or texts, by their endings.

    Hidden files, links to folders and files of other kinds are passed over; none is opened.

    Parameters
    ----------
    root : Path
    """

    def __init__(self, root: Path) -> None:
        self.root = root
        self.closed: list[str] = []
        """Folders below the root that may not be read, relative with slashes."""
        self.notes: list[str] = []
        self._entries = 0

    def records(self) -> Iterator[Record]:
        """All files in the order of their names, folder by folder; a key is the path below the root.

        Raises
        ------
        MediaError
            The root itself cannot be read; then nothing is known of its files.
        """
        try:
            os.scandir(self.root).close()
        except OSError as error:
            raise unreadable(display_name(self.root), error) from error
        yield from self._below(str(self.root), "", 0)
        if self.closed:
            self.notes.append(
                f"{len(self.closed):,} folders in {display_name(self.root)} may not be read by you "
                f"({display_name(self.closed[0])} is the first); change their permissions."
            )

    def _below(self, folder: str, prefix: str, depth: int) -> Iterator[Record]:
        try:
            with os.scandir(folder) as found:
                entries = sorted((each for each in found if not each.name.startswith(".")), key=_name)
        except OSError:
            self.closed.append(prefix.rstrip("/"))
            return
        self._entries += len(entries)
        if self._entries > MOST_ENTRIES or depth > DEEPEST:
            self._note_limit()
            return
        folders = []
        for entry in entries:
            try:
                if entry.is_dir(follow_symlinks=False):
                    folders.append(entry.name)
                elif (kind := promised_kind(entry.name)) is not None and entry.is_file():
                    yield _record(entry, prefix + entry.name, KINDS.index(kind))
            except OSError as error:
                yield _unreadable(prefix + entry.name, error)
        del entries
        for name in folders:
            yield from self._below(f"{folder}{os.sep}{name}", f"{prefix}{name}/", depth + 1)

    def _note_limit(self) -> None:
        note = (
            f"{display_name(self.root)} has more than {MOST_ENTRIES:,} entries or folders {DEEPEST} deep; "
            "the others were not looked at: add its subfolders one by one."
        )
        if note not in self.notes:
            self.notes.append(note)


def _name(entry: os.DirEntry[str]) -> str:
    return entry.name


def _record(entry: os.DirEntry[str], key: str, kind: int) -> Record:
    status = entry.stat()
    return Record(key, True, kind, size=status.st_size, modified=status.st_mtime_ns)


def _unreadable(key: str, error: OSError) -> Record:
    """A link that leads nowhere or in a circle, or a file on a broken disk."""
    reason = unreadable(display_name(key), error).message
    return Record(key, True, 255, status=Status.FAILED, reason=reason)
