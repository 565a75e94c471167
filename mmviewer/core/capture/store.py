"""Captured arrays kept for the next question about the same forward, within a cap of memory."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Hashable, Sequence
from threading import Lock

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.floating]
Arrays = tuple[Array, ...]

DEFAULT_CAP = 512 * 2**20


class CaptureStore:
    """Least recently used store of arrays; safe to use from several threads.

    Arrays keep their precision, so that an answer from the store equals the first one to the last digit.
    The key is the handle: whatever names a forward and a point (media, model, token ids, point name).

    Parameters
    ----------
    cap : int
        Bytes that may be kept; the oldest entries go first.
    """

    def __init__(self, cap: int = DEFAULT_CAP) -> None:
        self._cap = cap
        self._used = 0
        self._entries: OrderedDict[Hashable, Arrays] = OrderedDict()
        self._lock = Lock()

    @property
    def used(self) -> int:
        """Bytes kept now."""
        return self._used

    @property
    def cap(self) -> int:
        """Bytes that may be kept."""
        return self._cap

    def __len__(self) -> int:
        return len(self._entries)

    def __contains__(self, key: Hashable) -> bool:
        return key in self._entries

    def put(self, key: Hashable, arrays: Sequence[Array]) -> bool:
        """Keep a read-only copy of `arrays`; False, and nothing kept, when they alone exceed the cap."""
        size = sum(array.nbytes for array in arrays)
        if size > self._cap:
            return False
        copies = tuple(_read_only_copy(array) for array in arrays)
        with self._lock:
            self._remove(key)
            while self._used + size > self._cap:
                self._remove(next(iter(self._entries)))
            self._entries[key] = copies
            self._used += size
        return True

    def get(self, key: Hashable) -> Arrays | None:
        """The arrays kept under `key`, now the most recently used; None if they are gone."""
        with self._lock:
            if key in self._entries:
                self._entries.move_to_end(key)
            return self._entries.get(key)

    def drop(self, matches: Callable[[Hashable], bool]) -> int:
        """Forget every key for which `matches` is true (a model was unloaded); returns how many."""
        with self._lock:
            stale = [key for key in self._entries if matches(key)]
            for key in stale:
                self._remove(key)
        return len(stale)

    def clear(self) -> None:
        """Forget everything."""
        self.drop(lambda _: True)

    def _remove(self, key: Hashable) -> None:
        for array in self._entries.pop(key, ()):
            self._used -= array.nbytes


def _read_only_copy(array: Array) -> Array:
    copy = np.array(array)
    copy.setflags(write=False)
    return copy
