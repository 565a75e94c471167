"""The SQLite file of a collection: opening it safely, one transaction at a time, errors as sentences."""

from __future__ import annotations

import errno
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from threading import RLock
from typing import Any
from urllib.parse import quote

from filelock import FileLock, Timeout

from mmviewer.core.errors import CollectionError
from mmviewer.core.media.files import display_name

VERSION = 1
"""Of the format; a catalogue with a higher one is refused, one with a lower one would be migrated."""

NAME = "catalogue.sqlite"
LOCK = "writer.lock"

_APPLICATION = 0x6D6D7643  # "mmvC"
_PATIENCE = 30.0  # seconds that a statement waits for another connection's commit

_SCHEMA = """
CREATE TABLE meta (key TEXT PRIMARY KEY, value INTEGER NOT NULL) WITHOUT ROWID;
INSERT INTO meta VALUES ('change', 1), ('count', 0);
CREATE TABLE sources (
  id INTEGER PRIMARY KEY, spec TEXT NOT NULL, removed INTEGER NOT NULL DEFAULT 0,
  scanned REAL, notes TEXT NOT NULL DEFAULT '[]'
);
-- a key is TEXT, or a BLOB where a file's name is not Unicode
CREATE TABLE items (
  row INTEGER PRIMARY KEY, source INTEGER NOT NULL, key NOT NULL, is_file INTEGER NOT NULL, text TEXT,
  hash BLOB, size INTEGER NOT NULL DEFAULT 0, modified INTEGER NOT NULL DEFAULT 0,
  reason TEXT NOT NULL DEFAULT ''
);
CREATE UNIQUE INDEX items_key ON items (source, key);
CREATE INDEX items_hash ON items (hash) WHERE hash IS NOT NULL;
-- facts of all items as arrays in blocks of equal length, so that a million of them are read at once
CREATE TABLE blocks (
  series TEXT NOT NULL, block INTEGER NOT NULL, change INTEGER NOT NULL, data BLOB NOT NULL,
  PRIMARY KEY (series, block)
);
CREATE TABLE spaces (
  number INTEGER PRIMARY KEY, id TEXT NOT NULL UNIQUE, model_id TEXT NOT NULL, label TEXT NOT NULL,
  source TEXT NOT NULL, revision TEXT NOT NULL, weights_hash TEXT NOT NULL, preprocessing TEXT NOT NULL,
  dtype TEXT NOT NULL, width INTEGER NOT NULL, count INTEGER NOT NULL DEFAULT 0, own INTEGER NOT NULL
);
CREATE TABLE vectors (
  space INTEGER NOT NULL, hash BLOB NOT NULL, position INTEGER NOT NULL, PRIMARY KEY (space, hash)
) WITHOUT ROWID;
CREATE TABLE columns (
  id INTEGER PRIMARY KEY, name TEXT NOT NULL UNIQUE, kind TEXT NOT NULL, by_hand INTEGER NOT NULL,
  distinct_values INTEGER NOT NULL DEFAULT 0
);
CREATE TABLE words (
  column INTEGER NOT NULL, code INTEGER NOT NULL, word TEXT NOT NULL, PRIMARY KEY (column, code)
) WITHOUT ROWID;
CREATE UNIQUE INDEX words_word ON words (column, word);
CREATE TABLE journal (
  step INTEGER PRIMARY KEY, column INTEGER NOT NULL, undone INTEGER NOT NULL DEFAULT 0,
  rows BLOB NOT NULL, before BLOB NOT NULL, code INTEGER NOT NULL
);
CREATE TABLE coordinates (
  name TEXT PRIMARY KEY, space_id TEXT, method TEXT NOT NULL, details TEXT NOT NULL, made REAL NOT NULL,
  xy BLOB NOT NULL
);
CREATE TABLE pairs (
  source INTEGER NOT NULL, first INTEGER NOT NULL, second INTEGER NOT NULL, PRIMARY KEY (first, second)
) WITHOUT ROWID;
"""


class Database:
    """One connection to the catalogue of a collection; may be used from several threads, one at a time.

    Parameters
    ----------
    folder : Path
    readonly : bool
        Readers never wait for the writer and see the last commit.
    create : bool
        Make it where there is none.

    Raises
    ------
    CollectionError
        Not a collection, damaged, of a newer version, being written by another, or not to be written.
    """

    def __init__(self, folder: Path, *, readonly: bool, create: bool = False) -> None:
        self.folder = folder
        self.name = display_name(folder)
        self.readonly = readonly
        self._lock = RLock()
        self._depth = 0
        self._writer = None if readonly else _become_writer(folder, self.name)
        try:
            with self.told():
                self._connection = self._connect(create)
                self._check_version()
        except BaseException:
            self.close()
            raise

    def close(self) -> None:
        """Let go of the file and of the right to write; again is fine."""
        connection: sqlite3.Connection | None = getattr(self, "_connection", None)
        if connection is not None:
            connection.close()
        if self._writer is not None:
            self._writer.release()

    def execute(self, sql: str, values: Any = ()) -> sqlite3.Cursor:
        """Run one statement; use inside `told`, `reading` or `writing`, so that errors are sentences."""
        return self._connection.execute(sql, values)

    def many(self, sql: str, values: Any) -> sqlite3.Cursor:
        """Run one statement for each of many values."""
        return self._connection.executemany(sql, values)

    def all(self, sql: str, values: Any = ()) -> list[Any]:
        """All rows of an answer."""
        with self.told():
            return self._connection.execute(sql, values).fetchall()

    def value(self, sql: str, values: Any = ()) -> Any:
        """First value of an answer; None where it is empty."""
        with self.told():
            row = self._connection.execute(sql, values).fetchone()
        return None if row is None else row[0]

    @contextmanager
    def reading(self) -> Iterator[None]:
        """See one state of the catalogue throughout, whatever is committed meanwhile."""
        with self._lock, self.told():
            if self._connection.in_transaction:
                yield
                return
            self._connection.execute("BEGIN")
            try:
                yield
            finally:
                self._end("COMMIT")

    @contextmanager
    def writing(self) -> Iterator[int]:
        """Commit all that is done inside, or nothing; gives the number of the change.

        Inside another it joins that one.
        """
        if self.readonly:
            raise CollectionError(
                f"{self.name} was opened for reading only; open it for writing to change it."
            )
        with self._lock, self.told():
            if not self._depth:
                self._connection.execute("BEGIN IMMEDIATE")
            self._depth += 1
            try:
                if self._depth == 1:
                    self._connection.execute("UPDATE meta SET value = value + 1 WHERE key = 'change'")
                change = self._connection.execute("SELECT value FROM meta WHERE key = 'change'").fetchone()[0]
                yield change
                if self._depth == 1:
                    self._connection.execute("COMMIT")
            except BaseException:
                # SQLite itself rolls back after some errors, such as a full disk
                if self._depth == 1:
                    self._end("ROLLBACK")
                raise
            finally:
                self._depth -= 1

    def _end(self, statement: str) -> None:
        if self._connection.in_transaction:
            self._connection.execute(statement)

    @contextmanager
    def told(self) -> Iterator[None]:
        """Turn errors of SQLite into sentences."""
        try:
            yield
        except sqlite3.Error as error:
            raise CollectionError(sentence(self.name, error)) from error

    def _connect(self, create: bool) -> sqlite3.Connection:
        path = self.folder / NAME
        connection = connect(path, "ro" if self.readonly else "rw")
        if not self.readonly:
            connection.execute("PRAGMA journal_mode = WAL")
            connection.execute("PRAGMA synchronous = FULL")
            if create and not connection.execute("SELECT count(*) FROM sqlite_schema").fetchone()[0]:
                connection.executescript(
                    f"BEGIN IMMEDIATE; {_SCHEMA} PRAGMA application_id = {_APPLICATION}; "
                    f"PRAGMA user_version = {VERSION}; COMMIT;"
                )
        return connection

    def _check_version(self) -> None:
        if self._connection.execute("PRAGMA application_id").fetchone()[0] != _APPLICATION:
            raise CollectionError(f"{self.name} is not a collection; choose a folder that mmviewer has made.")
        version = self._connection.execute("PRAGMA user_version").fetchone()[0]
        if version > VERSION:
            raise CollectionError(
                f"{self.name} was made by a newer mmviewer (format {version}, this one knows {VERSION}); "
                "update mmviewer to open it."
            )


def make_folder(folder: Path) -> None:
    """Make the folder of a new collection, with an empty catalogue file.

    Raises
    ------
    CollectionError
        It cannot be made, or holds other files.
    """
    name = display_name(folder)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        if any(entry.name not in (NAME, LOCK) for entry in folder.iterdir()):
            raise CollectionError(f"{name} holds other files; choose an empty folder for the collection.")
        (folder / NAME).touch()
    except OSError as error:
        raise CollectionError(unwritable(name, error)) from error


def unwritable(name: str, error: OSError) -> str:
    """The sentence for an operating system's refusal to write a collection."""
    if error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
        return f"{name} cannot be written: the disk is full; make room, then go on where it stopped."
    if isinstance(error, PermissionError) or error.errno == errno.EROFS:
        return f"{name} cannot be written: you may not write there; choose another folder."
    if isinstance(error, FileExistsError | NotADirectoryError):
        return f"{name} cannot be written: a file has this name; choose another folder."
    return f"{name} cannot be written ({error.strerror or error}); check the disk and try again."


def _become_writer(folder: Path, name: str) -> FileLock:
    lock = FileLock(folder / LOCK, timeout=0)
    try:
        lock.acquire()
    except Timeout as error:
        raise CollectionError(
            f"{name} is being written by another mmviewer; wait until it is done or close it there."
        ) from error
    except OSError as error:
        raise CollectionError(unwritable(name, error)) from error
    return lock


def connect(path: Path, mode: str) -> sqlite3.Connection:
    """A connection in autocommit mode to a file that may come from a stranger; `mode` is ro, rw or rwc."""
    connection = _connection(path, mode)
    if mode == "ro":
        try:
            connection.execute("SELECT count(*) FROM sqlite_schema")
        except sqlite3.OperationalError:
            # on a medium that nobody can write, WAL cannot be set up; then nobody changes it either
            connection.close()
            connection = _connection(path, mode, immutable=True)
    return connection


def _connection(path: Path, mode: str, *, immutable: bool = False) -> sqlite3.Connection:
    address = f"file:{quote(str(path))}?mode={mode}{'&immutable=1' if immutable else ''}"
    connection = sqlite3.connect(
        address, uri=True, timeout=_PATIENCE, isolation_level=None, check_same_thread=False
    )
    # nothing in a stranger's schema may run functions or write
    connection.execute("PRAGMA trusted_schema = OFF")
    connection.execute("PRAGMA cell_size_check = ON")
    return connection


def sentence(name: str, error: sqlite3.Error) -> str:
    """What went wrong in SQLite, and what to do."""
    code = getattr(error, "sqlite_errorcode", 0) or 0
    primary = code & 0xFF
    if primary == sqlite3.SQLITE_FULL:
        return f"{name} cannot be written: the disk is full; make room, then go on where it stopped."
    if primary == sqlite3.SQLITE_IOERR:
        return f"{name} cannot be read or written ({error}); check the disk and the room on it."
    if primary in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED):
        return f"{name} is being written by another program; wait until it is done."
    if primary in (sqlite3.SQLITE_READONLY, sqlite3.SQLITE_PERM):
        return f"{name} cannot be written: you may not write there; choose another folder."
    if primary == sqlite3.SQLITE_CANTOPEN:
        return f"{name} is not a collection that can be opened; choose a folder that mmviewer has made."
    if primary == sqlite3.SQLITE_NOTADB:
        return f"{name} is not a collection; choose a folder that mmviewer has made."
    return f"The catalogue of {name} is damaged ({error}); restore it from a copy or index again."
