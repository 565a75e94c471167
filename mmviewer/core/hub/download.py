"""Downloads that can be stopped at any moment, go on where they stopped, and are whole or not there.

The hub's library downloads a file to a temporary name and throws it away when it is interrupted (so nothing
can be resumed), offers no cancel, and compares the length but not the checksum. Its addresses, client,
metadata and cache layout are used; the transfer itself is here:

- bytes go to ``blobs/CHECKSUM.mmviewer.incomplete``, are flushed to the disk, compared with the checksum, and
  renamed in one step;
- when every blob of the plan is there, the snapshot's folder is made beside and renamed in one step, so that
  no program ever sees a model with half of its files.
"""

from __future__ import annotations

import contextlib
import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import httpx2
from huggingface_hub import hf_hub_url

from mmviewer import __version__
from mmviewer.core.hub import cache, faults, network, retry, token
from mmviewer.core.hub.plan import Plan, RemoteFile, make_plan
from mmviewer.core.hub.rate import Meter
from mmviewer.core.hub.stream import Stream
from mmviewer.core.progress import SILENT, Progress
from mmviewer.core.words import bytes_in_words

_CHUNK = 4 << 20


def download(spec: str, progress: Progress = SILENT) -> Path:
    """Fetch a model of the hub into the cache and return its folder.

    What is here already, whole or begun, is not fetched again.

    Parameters
    ----------
    spec : str
        See `split_spec`.
    progress : Progress
        Told of bytes; a cancel stops the transfer at once and keeps what came.

    Raises
    ------
    DownloadError
        With the reason and the remedy; nothing that looks whole is left behind.
    ModelError
        The model has no weights that are safe to read.
    """
    plan = make_plan(spec, progress)
    return fetch(plan, progress)


def fetch(plan: Plan, progress: Progress = SILENT) -> Path:
    """Carry a plan out."""
    network.require(plan.repo)
    with _disk_faults(plan), cache.held(plan.repo, progress):
        plan.check_room()
        (cache.repo_folder(plan.repo) / "blobs").mkdir(parents=True, exist_ok=True)
        meter = Meter(progress, plan.total, plan.present)
        for file in sorted(plan.files, key=lambda file: file.size):  # settings first, then weights
            _bring(plan, file, meter, progress)
        return _publish(plan)


def _bring(plan: Plan, file: RemoteFile, meter: Meter, progress: Progress) -> None:
    """Make one blob whole; a second time from the start where what came turns out to be something else."""
    whole = cache.blob(plan.repo, file.oid)
    if whole.is_file() and whole.stat().st_size == file.size:
        return
    for _attempt in range(2):
        with _Arrival(cache.partial(plan.repo, file.oid), file) as arrival:
            arrival.take_up(progress)
            _transfer(plan, arrival, meter, progress)
            right = arrival.is_right()
        if right:
            arrival.path.replace(whole)
            _sync_folder(whole.parent)
            return
        arrival.path.unlink()
        meter.add(-file.size)
    raise faults.wrong_content(file.name, plan.repo)


class _Arrival:
    """One file on its way to the disk, with the checksum of what is here."""

    def __init__(self, path: Path, file: RemoteFile) -> None:
        self.path = path
        self.file = file
        self.have = 0
        self._digest = cache.Digest(file.oid, file.size)
        self._target = path.open("a+b")

    def __enter__(self) -> _Arrival:
        return self

    def __exit__(self, *_error: object) -> None:
        self._target.close()

    def take_up(self, progress: Progress) -> None:
        """Take what an earlier run left into the checksum; after a power loss it may be anything."""
        self._target.seek(0)
        while chunk := self._target.read(_CHUNK):
            self._digest.update(chunk)
            self.have += len(chunk)
            if self.have > self.file.size:
                self.restart()
            progress.report(self.have, self.file.size, f"checking what is here of {self.file.name}")

    def add(self, chunk: bytes) -> None:
        """Write what came."""
        self._target.write(chunk)
        self._digest.update(chunk)
        self.have += len(chunk)

    def restart(self) -> None:
        """Throw away what is here."""
        self._target.truncate(0)
        self._target.seek(0)
        self.have = 0
        self._digest = cache.Digest(self.file.oid, self.file.size)

    def is_right(self) -> bool:
        """Whether the file is what the hub says, and safe on the disk."""
        self._target.flush()
        os.fsync(self._target.fileno())
        return self.have == self.file.size and self._digest.matches()


def _transfer(plan: Plan, arrival: _Arrival, meter: Meter, progress: Progress) -> None:
    """Receive what is missing, with pauses and new connections as long as it goes on."""
    fruitless = 0
    while arrival.have < arrival.file.size:
        before, pause = arrival.have, None
        try:
            _receive(plan, arrival, meter, progress)
            error = faults.broken_off(httpx2.RemoteProtocolError("too short"), plan.repo, network.endpoint())
        except retry.TryAgain as again:
            error, pause = again.error, again.pause
        except httpx2.HTTPError as cut:
            error = faults.broken_off(cut, plan.repo, network.endpoint())
            error.__cause__ = cut
        if arrival.have >= arrival.file.size:
            return
        fruitless = 1 if arrival.have > before else fruitless + 1
        if fruitless >= retry.ATTEMPTS:
            raise error
        retry.pause_after(pause, fruitless, progress)


def _receive(plan: Plan, arrival: _Arrival, meter: Meter, progress: Progress) -> None:
    """One connection: ask for the rest and write it down until it ends."""
    base = network.endpoint()
    address = hf_hub_url(plan.repo, arrival.file.name, revision=plan.commit, endpoint=base)
    bearer = token.get()
    headers = {"User-Agent": f"mmviewer/{__version__}"}
    if bearer:
        headers["Authorization"] = f"Bearer {bearer}"
    if arrival.have:
        headers["Range"] = f"bytes={arrival.have}-"
    with Stream(address, headers, progress) as stream:
        response = stream.response()
        if response.status_code == 416 or (arrival.have and not _continues(response, arrival.have)):
            meter.add(-arrival.have)
            arrival.restart()
        if not response.is_success:
            if response.status_code == 416:
                return
            retry.raise_for(response, plan.repo, base, with_token=bearer is not None)
        for chunk in stream.chunks():
            wanted = chunk[: arrival.file.size - arrival.have]
            arrival.add(wanted)
            meter.add(len(wanted))
            if len(wanted) < len(chunk):  # more than the hub announced: whatever it is, it is not the file
                arrival.restart()
                raise faults.wrong_content(arrival.file.name, plan.repo)


def _continues(response: httpx2.Response, have: int) -> bool:
    """Whether an answer begins where we asked; one that does not is taken from its start."""
    if not response.is_success:
        return True  # nothing of it is written
    return response.status_code == 206 and response.headers.get("Content-Range", "").startswith(
        f"bytes {have}-"
    )


def _publish(plan: Plan) -> Path:
    """Name the blobs in the snapshot's folder, which appears in one step."""
    place = cache.repo_folder(plan.repo)
    target = place / "snapshots" / plan.commit
    making = place / ".mmviewer" / plan.commit  # as deep as the target: links in it are relative
    shutil.rmtree(making.parent, ignore_errors=True)
    making.mkdir(parents=True)
    for file in plan.files:
        (making / file.name).parent.mkdir(exist_ok=True)
        _link(making / file.name, cache.blob(plan.repo, file.oid))
    if target.is_dir():
        _keep_others(target, making)
        target.rename(making.parent / "former")
    target.parent.mkdir(exist_ok=True)
    making.replace(target)
    _sync_folder(target.parent)
    shutil.rmtree(making.parent, ignore_errors=True)
    if plan.revision != plan.commit:
        reference = place / "refs" / plan.revision
        reference.parent.mkdir(parents=True, exist_ok=True)
        written = reference.with_name(reference.name + ".part")
        written.write_text(plan.commit, "ascii")
        written.replace(reference)
    return target


def _keep_others(former: Path, making: Path) -> None:
    """Take over what another program fetched or put into the former snapshot."""
    for path in [path for path in former.rglob("*") if path.is_symlink() or path.is_file()]:
        kept = making / path.relative_to(former)
        if not kept.is_symlink() and not kept.exists():
            kept.parent.mkdir(parents=True, exist_ok=True)
            path.rename(kept)


def _link(name: Path, blob: Path) -> None:
    """A relative link, as the hub's library makes them; a hard link or copy where that is not allowed."""
    try:
        name.symlink_to(os.path.relpath(blob, name.parent))
    except OSError:
        try:
            os.link(blob, name)
        except OSError:
            shutil.copyfile(blob, name)


def _sync_folder(folder: Path) -> None:
    """Have names written to the disk too, so that a power loss does not take back what was said."""
    with contextlib.suppress(OSError, AttributeError):  # not every system opens folders
        handle = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)


@contextlib.contextmanager
def _disk_faults(plan: Plan) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        if isinstance(error, httpx2.HTTPError):
            raise
        raise faults.cannot_write(error, plan.folder, bytes_in_words(plan.missing)) from error
