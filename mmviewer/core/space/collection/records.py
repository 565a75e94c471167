"""One entry of a source, as it is compared with what the catalogue knows."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import islice
from typing import NamedTuple, TypeVar

from mmviewer.core.space.collection.types import UNKNOWN_KIND, Status

T = TypeVar("T")


class Record(NamedTuple):
    """An entry of a source.

    Parameters
    ----------
    key : str
        What it is called within its source: a path below the folder, an absolute path, an id or a line.
    is_file : bool
    kind : int
        Code of its kind, as its name promises.
    size : int
        Bytes.
    modified : int
        Nanoseconds since the epoch, 0 where unknown.
    text : str or None
    status : Status
        NEW, or FAILED or MISSING with a `reason`.
    reason : str
    """

    key: str
    is_file: bool
    kind: int = UNKNOWN_KIND
    size: int = 0
    modified: int = 0
    text: str | None = None
    status: Status = Status.NEW
    reason: str = ""


def to_stored(key: str) -> str | bytes:
    """A key as SQLite can hold it: names of files that are no Unicode as their bytes."""
    try:
        key.encode()
    except UnicodeEncodeError:
        return key.encode("utf-8", "surrogateescape")
    return key


def from_stored(key: object) -> str:
    """The key that `to_stored` was given."""
    return key.decode("utf-8", "surrogateescape") if isinstance(key, bytes) else str(key)


def batched(values: Iterable[T], count: int) -> Iterator[tuple[T, ...]]:
    """`count` values at a time, as `itertools.batched` of Python 3.12."""
    rest = iter(values)
    while chunk := tuple(islice(rest, count)):
        yield chunk
