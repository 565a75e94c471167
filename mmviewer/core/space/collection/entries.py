"""Which items the entries of a list, a table or own embeddings stand for."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from mmviewer.core.errors import InputError, MediaError
from mmviewer.core.media.files import check_file, display_name, to_path, unreadable
from mmviewer.core.media.open import promised_kind
from mmviewer.core.space.collection.reading import Piece, Reader, Value
from mmviewer.core.space.collection.records import Record
from mmviewer.core.space.collection.types import KINDS, UNKNOWN_KIND, Status
from mmviewer.core.space.collection.vectors import sound
from mmviewer.core.types import Modality

LONGEST_TEXT = 20_000
_LONGEST_KEY = 4096
_PATHS = (
    "path", "paths", "file", "files", "filepath", "file_path", "filename", "file_name", "image", "image_path",
    "audio", "audio_path", "img",
)  # fmt: skip
_TEXTS = ("text", "texts", "caption", "captions", "sentence", "title", "content", "prompt")
_IDS = ("id", "ids", "uid", "content_hash", "key", "keys", "name", "names", "index")
_XS, _YS = ("x", "umap_x", "tsne_x", "pc1"), ("y", "umap_y", "tsne_y", "pc2")


@dataclass(frozen=True, slots=True)
class Roles:
    """What columns mean; None where there is no such column."""

    path: str | None = None
    text: str | None = None
    id: str | None = None
    x: str | None = None
    y: str | None = None

    def special(self, *, with_vectors: bool) -> set[str]:
        """Columns that are not kept as such, for the items say it; a text beside a file and its vector is."""
        text = None if with_vectors and self.path is not None else self.text
        return {each for each in (self.path, text, self.x, self.y) if each is not None}


def roles(reader: Reader, wanted: Roles, *, of_items: bool = True) -> Roles:
    """The roles that were asked for, or what the names of the columns tell.

    Raises
    ------
    InputError
        A column that was asked for is not there; or, for entries that become items, none holds paths or texts
        and there are no vectors.
    """
    for name in (wanted.path, wanted.text, wanted.id, wanted.x, wanted.y):
        if name is not None and name not in reader.columns:
            raise InputError(f"{reader.name} has no column “{name[:80]}”; it has {_listed(reader.columns)}.")
    asked = wanted.path is not None or wanted.text is not None
    found = Roles(
        wanted.path if asked else _named(reader.columns, _PATHS),
        wanted.text if asked else _named(reader.columns, _TEXTS),
        wanted.id or _named(reader.columns, _IDS),
        wanted.x or _named(reader.columns, _XS),
        wanted.y or _named(reader.columns, _YS),
    )
    if of_items and found.path is None and found.text is None and not reader.width:
        raise InputError(
            f"Say which column of {reader.name} holds paths or texts; it has {_listed(reader.columns)}."
        )
    return found


class Entries:
    """The entries of one source as items.

    Parameters
    ----------
    base : Path
        Where relative paths start.
    root : str or None
        Paths that lead out of it are refused.
    roles : Roles
    modified : int
        Of the file, in nanoseconds: what is known by its vector or text is as old as that.
    """

    def __init__(self, base: Path, root: str | None, roles: Roles) -> None:
        self._base = base
        self._root = None if root is None else os.path.realpath(root)
        self.roles = roles

    def keys(self, piece: Piece) -> list[str]:
        """The key of the item each entry stands for: its file, else its id or line."""
        return [self._key(piece, place) for place in range(piece.count)]

    def text_keys(self, piece: Piece) -> list[str] | None:
        """Keys of the texts beside files; None where an entry is one item, as where it has one vector."""
        if self.roles.path is None or self.roles.text is None or piece.vectors is not None:
            return None
        return [line(piece.start + place) for place in range(piece.count)]

    def records(self, piece: Piece) -> Iterator[Record]:
        """What the entries are; of those with a file and a text the file comes first."""
        keys = self.keys(piece)
        reasons = vector_reasons(piece)
        beside = self.text_keys(piece)
        for place, key in enumerate(keys):
            number = piece.start + place
            if self._path(piece, place):
                yield self._file(key)
            elif self.roles.text is not None and self._has_text(piece, place, beside):
                yield _text(key, piece.values[self.roles.text][place], number)
            elif piece.vectors is not None:
                yield _vector(key, number, reasons.get(place))
            else:
                reason = f"Entry {number + 1:,} names no file; fill it in or remove it."
                yield Record(key, False, status=Status.FAILED, reason=reason)
            if beside is not None and self.roles.text is not None:
                yield _text(beside[place], piece.values[self.roles.text][place], number)

    def _has_text(self, piece: Piece, place: int, beside: list[str] | None) -> bool:
        """Whether an entry without a file is a text; beside a vector only if there is one."""
        assert self.roles.text is not None
        if piece.vectors is None:
            return beside is None
        return bool(str(piece.values[self.roles.text][place] or "").strip())

    def _path(self, piece: Piece, place: int) -> str:
        if self.roles.path is None:
            return ""
        value = piece.values[self.roles.path][place]
        return "" if value is None else str(value).strip()

    def _key(self, piece: Piece, place: int) -> str:
        path = self._path(piece, place)
        if path:
            return self._absolute(path)
        if self.roles.id is not None and (self.roles.path is None or piece.vectors is not None):
            value = piece.values[self.roles.id][place]
            if value not in (None, ""):
                return str(value)[:_LONGEST_KEY]
        return line(piece.start + place)

    def _absolute(self, path: str) -> str:
        """The absolute path; what can be none stays as it is."""
        try:
            placed = to_path(path) if ":" in path[:12] or path[0] in "~/\\" else to_path(self._base / path)
        except MediaError:
            return path[:_LONGEST_KEY]
        return os.path.normpath(placed)[:_LONGEST_KEY]

    def _file(self, key: str) -> Record:
        name = display_name(key)
        kind = promised_kind(key)
        code = UNKNOWN_KIND if kind is None else KINDS.index(kind)
        try:
            path = to_path(key)
            self._check_inside(path, name)
            status = path.stat()
        except FileNotFoundError as error:
            return Record(key, True, code, status=Status.MISSING, reason=unreadable(name, error).message)
        except OSError as error:
            return Record(key, True, code, status=Status.FAILED, reason=unreadable(name, error).message)
        except MediaError as error:
            return Record(key, True, code, status=Status.FAILED, reason=error.message)
        try:
            check_file(path, name)
        except MediaError as error:
            return Record(
                key, True, code, status.st_size, status.st_mtime_ns, None, Status.FAILED, error.message
            )
        return Record(key, True, code, status.st_size, status.st_mtime_ns)

    def _check_inside(self, path: Path, name: str) -> None:
        if self._root is None:
            return
        real = os.path.realpath(path)
        if os.path.commonpath((real, self._root)) != self._root:
            raise MediaError(
                f"{name} lies outside of {display_name(self._root)}, which is not allowed; copy it there."
            )


def line(number: int) -> str:
    """Key of an entry that has no other: where it stands, from 1."""
    return f"line {number + 1}"


def vector_reasons(piece: Piece) -> dict[int, str]:
    """Why entries of a piece have no vector that can be used, by their places in it."""
    reasons = dict(piece.bad)
    if piece.vectors is None:
        return reasons
    _, good = unit(piece.vectors)
    for place in np.flatnonzero(~good).tolist():
        values = piece.vectors[place]
        said = "holds only zeros" if np.isfinite(values).all() else "holds NaN or infinity"
        reasons.setdefault(place, f"its vector {said}")
    return reasons


def unit(vectors: NDArray[np.floating]) -> tuple[NDArray[np.float16], NDArray[np.bool_]]:
    """Vectors [n, D] scaled to length 1 as float16, and which of them have a direction at all."""
    wide = np.asarray(vectors, np.float64)
    with np.errstate(all="ignore"):
        scale = np.abs(wide).max(axis=1, keepdims=True, initial=0.0)
        wide = wide / scale  # so that the squares of neither huge nor tiny numbers are lost
        halves = (wide / np.linalg.norm(wide, axis=1, keepdims=True)).astype(np.float16)
    return halves, sound(halves)


def _text(key: str, value: Value, number: int) -> Record:
    code = KINDS.index(Modality.TEXT)
    text = "" if value is None else str(value)
    if not text.strip():
        reason = f"Entry {number + 1:,} has no text; fill it in or remove it."
        return Record(key, False, code, status=Status.FAILED, reason=reason)
    size = len(text.encode("utf-8", "replace"))
    if len(text) > LONGEST_TEXT:
        reason = f"The text of entry {number + 1:,} has more than {LONGEST_TEXT:,} letters; shorten it."
        return Record(key, False, code, size, status=Status.FAILED, reason=reason)
    return Record(key, False, code, size, text=text)


def _vector(key: str, number: int, reason: str | None) -> Record:
    if reason is None:
        return Record(key, False, status=Status.READY)
    said = f"Entry {number + 1:,} cannot be placed: {reason}; compute it again."
    return Record(key, False, status=Status.FAILED, reason=said)


def _named(columns: Sequence[str], usual: Sequence[str]) -> str | None:
    lower = {each.lower(): each for each in reversed(columns)}
    return next((lower[each] for each in usual if each in lower), None)


def _listed(columns: Sequence[str]) -> str:
    more = ", …" if len(columns) > 12 else ""
    return (", ".join(each[:40] for each in columns[:12]) or "none") + more
