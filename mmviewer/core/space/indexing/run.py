"""One indexing run: what is new in a collection is decoded, embedded and committed. Imports torch."""

from __future__ import annotations

import os
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import AbstractContextManager, ExitStack
from dataclasses import dataclass, field

import numpy as np

from mmviewer.core.models.base import LoadedModel
from mmviewer.core.progress import SILENT, Progress
from mmviewer.core.space.collection import KINDS, UNKNOWN_KIND, Catalogue, SpaceInfo
from mmviewer.core.space.collection.thumbnails import Thumbnails
from mmviewer.core.space.collection.types import Rows, Status
from mmviewer.core.space.indexing.decode import Decoded, Decoding, Job, Outcome, Refused
from mmviewer.core.space.indexing.encode import BatchSize, decoding_for, encode_each, width_of
from mmviewer.core.space.indexing.pace import IndexProgress, IndexReport, Pace, Pause
from mmviewer.core.space.indexing.workers import Workers
from mmviewer.core.types import FloatArray, Modality

Borrow = Callable[[], AbstractContextManager[LoadedModel]]
"""Lends the model for one batch, so that others may have it in between."""

MOST_WORKERS = 16
_PAGE = 1_000  # rows whose facts are read from the catalogue at once
_AHEAD = 3  # batches that are decoded ahead of the device
_COMMIT_EVERY = 2.0  # seconds of work that a crash may lose
_TELL_EVERY = 0.2  # seconds


@dataclass(frozen=True, slots=True)
class IndexOptions:
    """How a run goes about it.

    Parameters
    ----------
    workers : int, optional
        Processes that decode; 0 decodes in this one. By default as many as the machine can spare.
    batch : int, optional
        Items that the device takes at once; by default what its memory holds.
    retry : bool
        Whether items that failed before are tried again.
    """

    workers: int | None = None
    batch: int | None = None
    retry: bool = False


def add_space(catalogue: Catalogue, model: LoadedModel) -> SpaceInfo:
    """The space of a model's vectors in a collection, made where there is none."""
    info = model.info
    return catalogue.add_space(
        model_id=info.id,
        label=info.label,
        width=width_of(model),
        weights_hash=info.weights_hash,
        preprocessing=info.preprocessing,
        source=info.source,
        revision=info.revision,
        dtype=info.dtype,
    )


def index(
    catalogue: Catalogue,
    borrow: Borrow,
    options: IndexOptions = IndexOptions(),
    *,
    pause: Pause | None = None,
    watch: Callable[[IndexProgress], None] | None = None,
    progress: Progress = SILENT,
) -> IndexReport:
    """Embed what a collection holds and a model's space lacks.

    What is done is committed every two seconds; after a cancel, an error or a crash the next run goes on from
    there. A file that cannot be read is listed with its reason and the run goes on.

    Parameters
    ----------
    catalogue : Catalogue
        Open for writing, its sources scanned.
    borrow : callable
        Lends the model for as long as a batch takes.
    options : IndexOptions
    pause : Pause, optional
        Holds the run between batches.
    watch : callable, optional
        Told how far it is.
    progress : Progress

    Raises
    ------
    UnsupportedError
        The model embeds nothing.
    DeviceError
        Not even one item fits into the device's memory.
    CollectionError
        The disk is full, or refuses.
    """
    with borrow() as model:
        space = add_space(catalogue, model)
        decoding = decoding_for(model)
        size = BatchSize(model.placement.device, options.batch)
        on_cpu = model.placement.device.type == "cpu"
    if options.retry:
        catalogue.retry(np.flatnonzero(catalogue.table().status == Status.FAILED))
    rows = _rows_to_do(catalogue, space.id, decoding)
    pace = Pace(len(rows), space.id, watch or _nobody)
    count = default_workers(on_cpu) if options.workers is None else min(options.workers, MOST_WORKERS)
    with ExitStack() as stack:
        thumbnails = stack.enter_context(Thumbnails(catalogue.folder))
        outcomes = stack.enter_context(_Outcomes(decoding, _jobs(catalogue, rows), count, size, len(rows)))
        run = _Run(catalogue, space, borrow, size, thumbnails, pace, pause or Pause(), progress)
        run.embed(outcomes)
    return pace.summary(size.size)


def default_workers(on_cpu: bool) -> int:
    """Processes for decoding: a quarter of the cores where the model needs them too, else all but one."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return min(max((cores + 3) // 4 if on_cpu else cores - 1, 1), MOST_WORKERS)


def _rows_to_do(catalogue: Catalogue, space_id: str, decoding: Decoding) -> Rows:
    """Items without a vector: those never read, and those read that the model takes."""
    pending = catalogue.pending(space_id)
    table = catalogue.table()
    taken = [code for code, kind in enumerate(KINDS) if kind in decoding.kinds]
    wanted = np.isin(table.kinds[pending], [*taken, UNKNOWN_KIND])
    rows: Rows = pending[wanted | (table.status[pending] == Status.NEW)]
    return rows


def _jobs(catalogue: Catalogue, rows: Rows) -> Iterator[Job]:
    for start in range(0, len(rows), _PAGE):
        for item in catalogue.items(rows[start : start + _PAGE]):
            yield Job(item.row, item.name, item.path, item.text)


def _nobody(_: IndexProgress) -> None:
    """Nobody watches."""


class _Outcomes(AbstractContextManager["_Outcomes"]):
    """Decoded items as they come, from processes or from here, with the time that was waited for them."""

    def __init__(
        self, decoding: Decoding, jobs: Iterator[Job], count: int, size: BatchSize, total: int
    ) -> None:
        self._here = map(decoding, jobs) if count == 0 or not total else None
        ahead = max(_AHEAD * size.size, 2 * count)
        self._workers = None if self._here else Workers(decoding, jobs, min(count, total), ahead)
        self.waited = 0.0

    def __enter__(self) -> _Outcomes:
        if self._workers is not None:
            self._workers.__enter__()
        return self

    def __exit__(self, *error: object) -> None:
        if self._workers is not None:
            self._workers.__exit__(None, None, None)

    def take(self, progress: Progress) -> Iterator[Outcome]:
        """All of them; `waited` grows by the time until each was there."""
        source = self._here if self._workers is None else self._workers.results(progress)
        assert source is not None
        while True:
            start = time.monotonic()
            outcome = next(source, None)
            self.waited += time.monotonic() - start
            progress.check()
            if outcome is None:
                return
            yield outcome


@dataclass(slots=True, eq=False)
class _Encoded:
    """A batch with its vectors; `vectors` may be of fewer items than `items`, for contents are shared."""

    items: list[Decoded]
    unique: list[Decoded]
    vectors: FloatArray
    refusals: list[str]
    note: str
    seconds: float


@dataclass(slots=True, eq=False)
class _Run:
    catalogue: Catalogue
    space: SpaceInfo
    borrow: Borrow
    size: BatchSize
    thumbnails: Thumbnails
    pace: Pace
    pause: Pause
    progress: Progress
    _encoded: list[_Encoded] = field(default_factory=list)
    _plain: list[Decoded] = field(default_factory=list)  # read, and without a vector to be made
    _refused: list[Refused] = field(default_factory=list)
    _under_way: set[str] = field(default_factory=set)  # contents whose vectors come, and are not committed
    _committed: float = field(default_factory=time.monotonic)
    _told: float = 0.0

    def embed(self, outcomes: _Outcomes) -> None:
        """Take all outcomes; what is done is committed also when it ends early."""
        waiting: deque[Future[_Encoded]] = deque()
        with ThreadPoolExecutor(1, thread_name_prefix="encoding") as device:
            try:
                for batch in self._batches(outcomes):
                    self._hold()
                    waiting.append(device.submit(self._encode, batch))
                    if len(waiting) > 1:  # the device has one batch, and the next lies ready
                        self._keep(waiting.popleft().result())
            except BaseException:
                waiting = deque(future for future in waiting if not future.cancel())
                raise
            finally:
                self._finish(waiting)
        self._tell(last=True)

    def _finish(self, waiting: deque[Future[_Encoded]]) -> None:
        """Commit what the device has done or is doing."""
        try:
            while waiting:
                self._keep(waiting.popleft().result())
        finally:
            for future in waiting:
                future.cancel()
            self._commit()

    def _batches(self, outcomes: _Outcomes) -> Iterator[list[Decoded]]:
        """Items of one kind whose contents have no vector yet."""
        buckets: dict[Modality, list[Decoded]] = {}
        for outcome in outcomes.take(self.progress):
            self.pace.waited = outcomes.waited
            if isinstance(outcome, Refused):
                self._refused.append(outcome)
                self.pace.failed += 1
            elif outcome.item is None:
                self._set_aside(outcome)
            else:
                bucket = buckets.setdefault(outcome.kind, [])
                bucket.append(outcome)
                if len(bucket) >= self.size.size:
                    yield from self._unknown(buckets.pop(outcome.kind))
            self._tell()
        for bucket in buckets.values():
            yield from self._unknown(bucket)

    def _set_aside(self, decoded: Decoded) -> None:
        self._plain.append(decoded)
        self.pace.left_out += 1
        self.pace.note(decoded.refusal)

    def _unknown(self, bucket: list[Decoded]) -> Iterator[list[Decoded]]:
        """Those whose content has no vector yet; the others only have to be told of it."""
        known = self.catalogue.known(self.space.id, [each.content_hash for each in bucket])
        new: list[Decoded] = []
        for each, there in zip(bucket, known, strict=True):
            if there or each.content_hash in self._under_way:
                self._plain.append(each)
                self.pace.shared += 1
            else:
                new.append(each)
        if new:
            self._under_way.update(each.content_hash for each in new)
            yield new

    def _hold(self) -> None:
        if self.pause.paused:
            self._commit()
            self.pace.report(self.pace.now(self.size.size, paused=True))
            self.pace.held += self.pause.wait(self.progress)

    # --- the device's thread ---------------------------------------------------------------------------
    def _encode(self, items: list[Decoded]) -> _Encoded:
        unique = list({each.content_hash: each for each in items}.values())
        with self.borrow() as model:
            start = time.monotonic()
            vectors, refusals, note = encode_each(model, unique, self.size)
            return _Encoded(items, unique, vectors, refusals, note, time.monotonic() - start)

    # --- back in the lane's thread -----------------------------------------------------------------------
    def _keep(self, encoded: _Encoded) -> None:
        self._encoded.append(encoded)
        self.pace.encoding += encoded.seconds
        self.pace.note(encoded.note)
        refused = {
            each.content_hash: why for each, why in zip(encoded.unique, encoded.refusals, strict=True) if why
        }
        left_out = sum(each.content_hash in refused for each in encoded.items)
        made = len(encoded.unique) - len(refused)
        self.pace.left_out += left_out
        self.pace.embedded += made
        self.pace.shared += len(encoded.items) - left_out - made
        for why in refused.values():
            self.pace.note(why)
        if time.monotonic() - self._committed > _COMMIT_EVERY:
            self._commit()
        self._tell()

    def _commit(self) -> None:
        """Write what is done: small pictures first, which nobody misses, then the rest as one."""
        embedded = [each for encoded in self._encoded for each in encoded.items]
        read = [*embedded, *self._plain]
        for decoded in read:
            if decoded.thumbnail is not None:
                self.thumbnails.put(decoded.row, decoded.thumbnail)
        self.thumbnails.commit()
        if read or self._refused:
            with self.catalogue.begin_batch() as batch:
                _set_contents(batch.set_content, read)
                batch.fail([each.row for each in self._refused], [each.reason for each in self._refused])
                for encoded in self._encoded:
                    fine = np.flatnonzero([not why for why in encoded.refusals])
                    if len(fine):
                        hashes = [encoded.unique[place].content_hash for place in fine]
                        batch.append_vectors(self.space.id, hashes, encoded.vectors[fine])
        self._under_way.difference_update(each.content_hash for each in embedded)
        self._encoded, self._plain, self._refused = [], [], []
        self._committed = time.monotonic()

    def _tell(self, *, last: bool = False) -> None:
        now = time.monotonic()
        if now - self._told > _TELL_EVERY or last:
            self._told = now
            state = self.pace.now(self.size.size)
            self.pace.report(state)
            self.progress.report(state.done, state.total, state.words)


def _set_contents(set_content: Callable[..., None], read: Sequence[Decoded]) -> None:
    if read:
        set_content(
            [each.row for each in read],
            [each.content_hash for each in read],
            [each.kind for each in read],
        )
