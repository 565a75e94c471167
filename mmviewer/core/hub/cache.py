"""The hub's cache on this machine: what is whole, what is begun, how large, and taking it away.

The layout is the hub library's own, so that every program shares one copy: ``blobs/`` holds files named by
their checksum, ``snapshots/COMMIT/`` names them. A download of ours writes a blob's bytes to a file that ends
in ``.incomplete``, which no program takes for a blob.
"""

from __future__ import annotations

import errno
import hashlib
import json
import os
import shutil
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from filelock import FileLock, Timeout
from huggingface_hub import constants

from mmviewer import paths
from mmviewer.core.errors import ModelError
from mmviewer.core.hub.heads import PREFIX, read_head
from mmviewer.core.progress import SILENT, Progress
from mmviewer.core.words import bytes_in_words

PARTIAL = ".mmviewer.incomplete"
_FOLDER_START = "models--"
_TRASH = ".mmviewer-trash"
_CHUNK = 4 << 20
_SHA256_DIGITS = 64
_REMEMBERED = paths.config_dir() / "models-folder.txt"


@dataclass(frozen=True, slots=True)
class CachedModel:
    """A model in the cache; `trouble` says why it cannot be loaded, or is empty."""

    repo: str
    path: Path
    commit: str
    size: int
    partial: int
    trouble: str = ""


def folder() -> Path:
    """The folder of the cache, which may not exist yet."""
    return Path(constants.HF_HUB_CACHE)


def _take_remembered() -> None:
    """Use the folder that models were moved to, unless the hub's own variables name one."""
    if not {"HF_HUB_CACHE", "HF_HOME", "HUGGINGFACE_HUB_CACHE"} & set(os.environ) and _REMEMBERED.is_file():
        constants.HF_HUB_CACHE = _REMEMBERED.read_text("utf-8").strip() or constants.HF_HUB_CACHE


_take_remembered()  # before any library asks for the folder


def repo_folder(repo: str) -> Path:
    """Where a repository's files are."""
    return folder() / (_FOLDER_START + repo.replace("/", "--"))


def blob(repo: str, oid: str) -> Path:
    """The file with a checksum."""
    return repo_folder(repo) / "blobs" / oid


def partial(repo: str, oid: str) -> Path:
    """The same while it arrives."""
    return repo_folder(repo) / "blobs" / (oid + PARTIAL)


def arrived(repo: str, oid: str, size: int) -> int:
    """Bytes of a file that are here."""
    whole = blob(repo, oid)
    if whole.is_file() and whole.stat().st_size == size:
        return size
    begun = partial(repo, oid)
    return min(begun.stat().st_size, size) if begun.is_file() else 0


def lock(repo: str) -> FileLock:
    """Held by whoever writes to a repository; freed by the system when that process dies."""
    place = folder() / ".locks" / (_FOLDER_START + repo.replace("/", "--"))
    place.mkdir(parents=True, exist_ok=True)
    return FileLock(place / "mmviewer.lock", thread_local=False)


def models() -> list[CachedModel]:
    """Every model in the cache, whole or not, by name."""
    if not folder().is_dir():
        return []
    found = (_look_at(path) for path in sorted(folder().iterdir()) if path.name.startswith(_FOLDER_START))
    return [model for model in found if model is not None]


def snapshot(repo: str) -> Path | None:
    """The folder of a repository at the commit that ``main`` means, else at the newest; or None."""
    snapshots = repo_folder(repo) / "snapshots"
    if not snapshots.is_dir():
        return None
    try:
        main = (repo_folder(repo) / "refs" / "main").read_text("ascii").strip()
    except (OSError, ValueError):
        main = ""
    if main.isalnum() and (snapshots / main).is_dir():
        return snapshots / main
    present = [path for path in snapshots.iterdir() if path.is_dir()]
    return max(present, key=lambda path: path.stat().st_mtime, default=None)


def trouble(folder_: Path) -> str:
    """Why the files of a model's folder are not whole; empty where they are.

    Looks at every file that the folder names and at the length that each safetensors file says it has; opens
    no weights.
    """
    broken = [path.name for path in folder_.rglob("*") if not path.exists()]
    if broken:
        return f"{broken[0]} is missing"
    for index in folder_.glob("*.safetensors.index.json"):
        missing = [name for name in _shards(index) if not (folder_ / name).is_file()]
        if missing:
            return f"{missing[0][:100]} is missing ({len(missing)} files in all)"
    tensors = sorted(folder_.glob("*.safetensors"))
    others = [path for path in folder_.iterdir() if path.suffix in (".bin", ".pt", ".pth")]
    if not tensors and not others:
        return "it has no weights"
    return next((reason for path in tensors if (reason := truncated(path))), "")


def truncated(path: Path) -> str:
    """Why a safetensors file is not as long as it says; empty where it is."""
    size = path.stat().st_size
    try:
        length, tensors = read_head(path)
        ends = [int(entry["data_offsets"][1]) for entry in tensors.values()]
    except (OSError, ValueError, TypeError, KeyError, IndexError):
        return f"{path.name} is cut off or no safetensors file"
    expected = PREFIX + length + max(ends, default=0)
    if size != expected:
        return f"{path.name} is {bytes_in_words(size)} long instead of {bytes_in_words(expected)}"
    return ""


def remove(repo: str, progress: Progress = SILENT) -> int:
    """Delete a model and what was begun of it; return the bytes that are free again.

    The folder is renamed first, so that it disappears at once: half of it is never there to be loaded.
    """
    place = repo_folder(repo)
    if not place.is_dir():
        raise ModelError(f"{repo} is not in {folder()}, so there is nothing to delete.")
    with held(repo, progress):
        size = _bytes_in(place)
        trash = folder() / _TRASH / f"{place.name}-{time.time_ns()}"
        trash.parent.mkdir(exist_ok=True)
        try:
            place.rename(trash)
        except OSError as error:
            raise ModelError(
                f"{repo} cannot be deleted ({error.strerror}); close other programs that use {place}."
            ) from error
        empty_trash()
    return size


def discard_partial(repo: str, progress: Progress = SILENT) -> int:
    """Delete what an unfinished download left; return the bytes that are free again."""
    with held(repo, progress):
        begun = list((repo_folder(repo) / "blobs").glob(f"*{PARTIAL}"))
        size = sum(path.stat().st_size for path in begun)
        for path in begun:
            path.unlink(missing_ok=True)
        if snapshot(repo) is None and _bytes_in(repo_folder(repo)) == 0:
            shutil.rmtree(repo_folder(repo), ignore_errors=True)
    return size


def verify(repo: str, progress: Progress = SILENT) -> list[str]:
    """Compare every file of a model with its checksum, which is its name; return the names that differ.

    A file that differs is deleted, so that the model is not offered until it was downloaded again; only what
    is broken is fetched then.
    """
    place = snapshot(repo)
    if place is None:
        raise ModelError(f"{repo} is not in {folder()}, so there is nothing to verify.")
    links = [path for path in place.rglob("*") if path.is_symlink() and path.is_file()]
    named = {path.relative_to(place).as_posix(): path.resolve() for path in links}
    total = sum(path.stat().st_size for path in named.values())
    done, wrong = 0, []
    with held(repo, progress):
        for name, path in sorted(named.items()):
            digest = Digest(path.name, path.stat().st_size)
            for chunk in _chunks(path):
                digest.update(chunk)
                done += len(chunk)
                progress.report(done, total, f"checking {name}")
            if not digest.matches():
                wrong.append(name)
                path.unlink()
    return wrong


class Digest:
    """The checksum that the hub names a file by, computed as it arrives.

    Large files are named by SHA-256, small ones by git's blob id (SHA-1 over a head and the content).
    """

    def __init__(self, oid: str, size: int) -> None:
        self._oid = oid
        if len(oid) == _SHA256_DIGITS:
            self._hash = hashlib.sha256()
        else:
            self._hash = hashlib.sha1(b"blob %d\0" % size, usedforsecurity=False)

    def update(self, chunk: bytes) -> None:
        """Take the next bytes."""
        self._hash.update(chunk)

    def matches(self) -> bool:
        """Whether what came so far is the whole file."""
        return self._hash.hexdigest() == self._oid


class held:  # noqa: N801 - used as a context manager, like a function
    """Hold the lock of a repository, waiting for whoever has it; a cancel ends the wait."""

    def __init__(self, repo: str, progress: Progress) -> None:
        self._repo, self._progress = repo, progress
        self._lock = lock(repo)

    def __enter__(self) -> None:
        while True:
            try:
                self._lock.acquire(timeout=0.2)
                return
            except Timeout:
                self._progress.report(0, None, f"waiting for another program that downloads {self._repo}")

    def __exit__(self, *_error: object) -> None:
        self._lock.release()


def move(target: Path, progress: Progress = SILENT) -> Path:
    """Move every model to another folder, which is the hub's cache from now on, also after a restart.

    A model is moved whole or not at all. After a cancel or a failure the old folder stays in use; moving
    again goes on with what is left in it.
    """
    source, target = folder(), target.expanduser().absolute()
    if target == source or source in target.parents or target in source.parents:
        raise ModelError(f"{target} and {source} lie in each other; choose another folder for models.")
    listed = [path for path in sorted(source.glob(f"{_FOLDER_START}*")) if path.is_dir()]
    taken = [path.name for path in listed if (target / path.name).exists()]
    if taken:
        raise ModelError(f"{target} holds {taken[0]} already; choose an empty folder for models.")
    try:
        target.mkdir(parents=True, exist_ok=True)
        for path in listed:
            _move_one(path, target, progress)
        _REMEMBERED.write_text(str(target), "utf-8")
    except OSError as error:
        raise ModelError(
            f"Models cannot be moved to {target} ({error.strerror or error}); choose another folder."
        ) from error
    constants.HF_HUB_CACHE = str(target)
    return target


def _move_one(place: Path, target: Path, progress: Progress) -> None:
    """Rename a model's folder, or copy it to another disk and then delete it here."""
    size, done = _bytes_in(place), 0
    progress.report(0, size, f"moving {place.name.removeprefix(_FOLDER_START)}")
    try:
        place.rename(target / place.name)
        return
    except OSError as error:
        if error.errno != errno.EXDEV:
            raise
    if size > shutil.disk_usage(target).free:
        raise OSError(errno.ENOSPC, f"{bytes_in_words(size)} are needed")
    arriving = target / f".moving-{place.name}"
    shutil.rmtree(arriving, ignore_errors=True)

    def copy(source: str, into: str) -> None:
        nonlocal done
        shutil.copy2(source, into)
        done += Path(into).stat().st_size
        progress.report(done, size, f"moving {place.name.removeprefix(_FOLDER_START)}")

    try:
        shutil.copytree(place, arriving, symlinks=True, copy_function=copy)
        arriving.rename(target / place.name)
    except BaseException:
        shutil.rmtree(arriving, ignore_errors=True)
        raise
    shutil.rmtree(place)


def empty_trash() -> None:
    """Delete for good what was renamed away, also by a run that was cut off."""
    shutil.rmtree(folder() / _TRASH, ignore_errors=True)


def _look_at(place: Path) -> CachedModel | None:
    repo = place.name.removeprefix(_FOLDER_START).replace("--", "/", 1)
    begun = sum(path.stat().st_size for path in (place / "blobs").glob("*.incomplete"))
    path = snapshot(repo)
    if path is None:
        why = "its download is not finished" if begun else "it has no files"
        return CachedModel(repo, place, "", 0, begun, why) if begun else None
    why = trouble(path)
    if why and begun:
        why = "its download is not finished"
    size = _bytes_in(place / "blobs") + _bytes_in(path) - begun
    return CachedModel(repo, path, path.name, size, begun, why)


def _shards(index: Path) -> list[str]:
    try:
        named = json.loads(index.read_text("utf-8"))["weight_map"].values()
        return sorted({str(name) for name in named})
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError):
        return [index.name.removesuffix(".index.json")]


def _bytes_in(place: Path) -> int:
    """Bytes on the disk, each file once; links count nothing."""
    return sum(size for size in _sizes(place.rglob("*")))


def _sizes(found: Iterable[Path]) -> Iterator[int]:
    for path in found:
        try:
            if path.is_file() and not path.is_symlink():
                yield path.stat().st_size
        except OSError:  # it went while we looked
            continue


def _chunks(path: Path) -> Iterator[bytes]:
    with path.open("rb") as file:
        while chunk := file.read(_CHUNK):
            yield chunk
