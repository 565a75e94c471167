"""Collections that the engine writes to: one writer for each folder, shared by all requests that need it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from threading import Lock

from mmviewer.core.media.files import to_path
from mmviewer.core.progress import Progress
from mmviewer.core.space.collection import Catalogue
from mmviewer.core.space.indexing.pace import Pause

_POLL = 0.05  # seconds between looks at a cancel while another run goes on


@dataclass(slots=True, eq=False)
class _Open:
    catalogue: Catalogue
    users: int = 0
    pause: Pause = field(default_factory=Pause)
    run: Lock = field(default_factory=Lock)  # one scan or indexing run at a time


class Collections:
    """Opens a collection for the first request that writes to it and closes it after the last.

    A label given by hand while the collection is indexed goes through the same writer, for there can be only
    one; afterwards other programs may write again.
    """

    def __init__(self) -> None:
        self._open: dict[Path, _Open] = {}
        self._change = Lock()

    @contextmanager
    def writing(self, folder: str, *, create: bool = False) -> Iterator[Catalogue]:
        """The catalogue of a folder, open for writing.

        Raises
        ------
        CollectionError
            It is none, is damaged or of a newer version, or another program writes to it.
        """
        with self._using(folder, create=create) as found:
            yield found.catalogue

    @contextmanager
    def running(self, folder: str, progress: Progress) -> Iterator[tuple[Catalogue, Pause]]:
        """The same for a scan or an indexing run, which waits for the one before it; raises `Cancelled`."""
        with self._using(folder) as found:
            while not found.run.acquire(timeout=_POLL):
                progress.check()
            try:
                yield found.catalogue, found.pause
            finally:
                found.pause.hold(False)
                found.run.release()

    def pause(self, folder: str, *, held: bool) -> bool:
        """Hold the run of a folder, or let it go on; False if there is none."""
        with self._change:
            found = self._open.get(to_path(folder))
        if found is None or not found.run.locked():
            return False
        found.pause.hold(held)
        return True

    @contextmanager
    def _using(self, folder: str, *, create: bool = False) -> Iterator[_Open]:
        place = to_path(folder)
        with self._change:
            found = self._open.get(place)
            if found is None:
                found = self._open[place] = _Open(Catalogue.open(place, create=create))
            found.users += 1
        try:
            yield found
        finally:
            with self._change:
                found.users -= 1
                if not found.users:
                    del self._open[place]
                    found.catalogue.close()


COLLECTIONS = Collections()
"""Those of this process."""
