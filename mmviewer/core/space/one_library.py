"""One thread at a time in libraries that numba compiles.

Its simplest threading layer aborts the process when two threads enter it at once.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from threading import Lock

from mmviewer.core.progress import Progress

_WAIT = 0.1  # seconds between looks at a cancel while another thread is inside
_INSIDE = Lock()


@contextmanager
def alone(progress: Progress) -> Iterator[None]:
    """Wait until no other thread is inside; raise `Cancelled` if the work shall stop before."""
    while not _INSIDE.acquire(timeout=_WAIT):
        progress.check()
    try:
        yield
    finally:
        _INSIDE.release()
