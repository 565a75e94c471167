"""A cache with a limit in bytes that forgets what was not used for longest."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Hashable
from threading import Lock
from typing import Generic, TypeVar

V = TypeVar("V")


class ByteCache(Generic[V]):
    """Least recently used values within `limit` bytes; the newest stays even if it alone is larger.

    Parameters
    ----------
    limit : int
        Bytes.
    size_of : callable
        Bytes that a value holds.
    """

    def __init__(self, limit: int, size_of: Callable[[V], int]) -> None:
        self._limit = limit
        self._size_of = size_of
        self._values: OrderedDict[Hashable, V] = OrderedDict()
        self._bytes = 0
        self._lock = Lock()

    def get(self, key: Hashable) -> V | None:
        """The value of `key`, now the newest, or None."""
        with self._lock:
            if key in self._values:
                self._values.move_to_end(key)
            return self._values.get(key)

    def put(self, key: Hashable, value: V) -> None:
        """Keep a value and forget the oldest beyond the limit."""
        with self._lock:
            self._forget(key)
            self._values[key] = value
            self._bytes += self._size_of(value)
            while self._bytes > self._limit and len(self._values) > 1:
                self._forget(next(iter(self._values)))

    def drop(self, unwanted: Callable[[Hashable], bool] = lambda key: True) -> None:
        """Forget the values whose keys are unwanted; by default all."""
        with self._lock:
            for key in [key for key in self._values if unwanted(key)]:
                self._forget(key)

    def __len__(self) -> int:
        return len(self._values)

    def _forget(self, key: Hashable) -> None:
        value = self._values.pop(key, None)
        if value is not None:
            self._bytes -= self._size_of(value)
