"""What is safe to ask of a path before anything is decoded, and how to speak of it."""

from __future__ import annotations

import errno
import hashlib
import os
import stat
import tempfile
from pathlib import Path
from urllib.parse import unquote, urlsplit
from urllib.request import url2pathname

from mmviewer.core.errors import MediaError, MMViewerError

NAME_LIMIT = 120

Source = str | os.PathLike[str] | bytes


def to_path(location: str | os.PathLike[str]) -> Path:
    """Turn what a user dropped, pasted or typed, a path or a file:// URL, into an absolute path."""
    text = os.fspath(location)
    if text[:5].lower() == "file:":
        parts = urlsplit(text)
        if parts.netloc not in ("", "localhost") and os.name != "nt":
            raise MediaError(
                f"{display_name(text)} lies on another computer ({parts.netloc}); copy it to this one first."
            )
        host = f"//{parts.netloc}" if parts.netloc not in ("", "localhost") else ""
        text = url2pathname(host + parts.path) if os.name == "nt" else unquote(parts.path)
    elif "://" in text[:12]:
        raise MediaError(f"{display_name(text)} is not on this computer; download it and drop the file.")
    if "\0" in text:
        raise MediaError(f"{display_name(text)} is not a possible file name; check the path.")
    return Path(text).expanduser().absolute()


def display_name(path: str | os.PathLike[str]) -> str:
    """Name of a file as it can be shown: one line, printable, at most `NAME_LIMIT` characters."""
    text = os.fspath(path)
    name = text.rstrip("/\\").replace("\\", "/").rsplit("/", 1)[-1] or text
    printable = "".join(letter if letter.isprintable() else "\ufffd" for letter in name[: 4 * NAME_LIMIT])
    if len(printable) <= NAME_LIMIT:
        return printable or "unnamed"
    half = NAME_LIMIT // 2
    return f"{printable[:half]}…{printable[-half + 1 :]}"


def check_file(path: Path, name: str) -> int:
    """Return the size of a regular, readable, non-empty file in bytes; else raise `MediaError`.

    Nothing is opened that could block, such as a named pipe or a device.
    """
    try:
        status = path.stat()
    except OSError as error:
        raise unreadable(name, error) from error
    if stat.S_ISDIR(status.st_mode):
        raise MediaError(f"{name} is a folder; drop the files in it, or open the folder as a whole.")
    if not stat.S_ISREG(status.st_mode):
        raise MediaError(f"{name} is a device or pipe, not a file; save its content as a file first.")
    if status.st_size == 0:
        raise MediaError(f"{name} is empty (0 bytes); copy or download it again.")
    if not os.access(path, os.R_OK):
        raise MediaError(f"{name} may not be read by you; change its permissions.")
    return status.st_size


def read_head(path: Path, name: str, count: int) -> bytes:
    """First `count` bytes of a file that `check_file` has passed."""
    try:
        with path.open("rb") as file:
            return file.read(count)
    except OSError as error:
        raise unreadable(name, error) from error


def unreadable(name: str, error: OSError) -> MediaError:
    """The sentence for an operating system's refusal to give a file."""
    if isinstance(error, FileNotFoundError | NotADirectoryError):
        return MediaError(f"{name} does not exist (any more); check where it was moved to.")
    if isinstance(error, PermissionError):
        return MediaError(f"{name} may not be read by you; change its permissions.")
    if error.errno == errno.ELOOP:
        return MediaError(f"{name} is a link that leads back to itself; open the file that it should name.")
    if error.errno == errno.ENAMETOOLONG:
        return MediaError(f"{name} is too long a name for a file; check the path.")
    return MediaError(f"{name} cannot be read ({error.strerror or error}); check the disk and try again.")


def content_id(kind: str, *parts: bytes | memoryview) -> str:
    """Hash of decoded content: 32 hexadecimal digits, equal for equal content of the same kind.

    Of an array, pass its `data`; it must be C-contiguous.
    """
    digest = hashlib.blake2b(kind.encode(), digest_size=16)
    for part in parts:
        digest.update(part)
    return digest.hexdigest()


def write_atomically(path: Path, content: bytes, failure: type[MMViewerError]) -> None:
    """Write `content` so that `path` holds either all of it or what it held before.

    Raises
    ------
    MMViewerError
        Of the kind `failure`, naming the file and the remedy.
    """
    name = display_name(path)
    try:
        handle, temporary = tempfile.mkstemp(prefix=".mmviewer-", dir=path.parent)
    except OSError as error:
        raise failure(_unwritable(name, path.parent, error)) from error
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(content)
        _give_usual_permissions(temporary, path)
        Path(temporary).replace(path)
    except OSError as error:
        Path(temporary).unlink(missing_ok=True)
        raise failure(_unwritable(name, path.parent, error)) from error


def _give_usual_permissions(temporary: str, path: Path) -> None:
    """Temporary files are private; the result shall be as readable as the file it replaces, or a new one."""
    if os.name == "nt":
        return
    if path.exists():
        Path(temporary).chmod(stat.S_IMODE(path.stat().st_mode))
        return
    mask = os.umask(0o077)
    os.umask(mask)
    Path(temporary).chmod(0o666 & ~mask)


def _unwritable(name: str, folder: Path, error: OSError) -> str:
    if error.errno == errno.ENOSPC:
        return f"{name} cannot be written: the disk is full; make room or choose another folder."
    if isinstance(error, FileNotFoundError | NotADirectoryError):
        return f"{name} cannot be written: the folder {folder} does not exist; choose another one."
    if isinstance(error, IsADirectoryError):
        return f"{name} cannot be written: a folder has this name; choose another name."
    if isinstance(error, PermissionError):
        return f"{name} cannot be written: you may not write there; choose another folder."
    return f"{name} cannot be written ({error.strerror or error}); choose another folder."
