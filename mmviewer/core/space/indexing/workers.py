"""Processes that decode ahead of the device, and outlive what hostile files do to them."""

from __future__ import annotations

import contextlib
import logging
import multiprocessing
import os
import pickle
import signal
import sys
import time
from collections import deque
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from multiprocessing.connection import Connection, wait
from multiprocessing.context import SpawnContext, SpawnProcess
from queue import Empty, Queue
from threading import Event, Thread
from types import TracebackType

from mmviewer.core.errors import EngineError
from mmviewer.core.progress import SILENT, Progress
from mmviewer.core.space.indexing.decode import Decoding, Job, Outcome, Refused

PATIENCE = 120.0
"""Seconds that one item may take."""
_ASSIGNED = 4  # items that lie at a worker, so that it never waits for the next
_TRIES = 2  # a worker may also die of something else than the item it holds
_STILLBORN = 3  # workers in a row that die before they have begun
_POLL = 0.1  # seconds between looks at deadlines and cancels

_log = logging.getLogger(__name__)


@dataclass(slots=True, eq=False)
class _Worker:
    process: SpawnProcess
    connection: Connection
    jobs: deque[Job] = field(default_factory=deque)  # in the order in which they will come back
    ready: bool = False
    since: float = 0.0  # when it began with the first of `jobs`


class Workers:
    """Decodes jobs on processes, at most `ahead` items ahead of whoever takes them.

    An item that ends its process, or takes longer than `patience`, becomes a `Refused`; the others go on.
    Results come in no order. Used as a context manager; at its end all processes are gone.

    Parameters
    ----------
    decoding : Decoding
    jobs : iterable of Job
        Read from a thread, as they are needed.
    count : int
        Processes.
    ahead : int
        Items that may be under way or wait to be taken.
    patience : float
        Seconds that one item may take.
    """

    def __init__(
        self, decoding: Decoding, jobs: Iterable[Job], count: int, ahead: int, patience: float = PATIENCE
    ) -> None:
        self._decoding = pickle.dumps(decoding)
        self._jobs = iter(jobs)
        self._again: deque[Job] = deque()
        self._tries: dict[int, int] = {}
        self._count = count
        self._ahead = ahead
        self._patience = patience
        self._workers: list[_Worker] = []
        self._stillborn = 0
        self._results: Queue[Outcome | BaseException | None] = Queue()
        self._given = 0  # written by the pump
        self._taken = 0  # written by whoever takes
        self._ending = Event()
        self._pump = Thread(target=self._run, name="decoding", daemon=True)

    def __enter__(self) -> Workers:
        self._pump.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._ending.set()
        self._pump.join()

    def results(self, progress: Progress = SILENT) -> Iterator[Outcome]:
        """Every job's outcome as it comes; raises `EngineError` if no process can be started."""
        while True:
            try:
                result = self._results.get(timeout=_POLL)
            except Empty:
                progress.check()
                continue
            if result is None:
                return
            if isinstance(result, BaseException):
                raise result
            self._taken += 1
            yield result

    @property
    def waiting(self) -> int:
        """Decoded items that nobody has taken yet: 0 means that the device waits for decoding."""
        return self._results.qsize()

    # --- the pump's thread -------------------------------------------------------------------------------
    def _run(self) -> None:
        try:
            self._pump_all()
            self._results.put(None)
        except BaseException as error:  # noqa: BLE001 - carried over to whoever takes the results
            self._results.put(error)
        finally:
            for worker in self._workers:
                _end(worker)

    def _pump_all(self) -> None:
        context = multiprocessing.get_context("spawn")  # fork would copy torch's and Qt's threads and locks
        # a daemon may have no children, but these end by themselves when their pipe closes
        multiprocessing.current_process().daemon = False
        exhausted = False
        while not self._ending.is_set():
            while not exhausted and self._has_room() and (worker := self._free_worker(context)):
                job = self._next_job()
                exhausted = job is None
                if job is not None:
                    self._assign(worker, job)
            busy = [worker for worker in self._workers if worker.jobs]
            if not busy and exhausted:
                return
            if not busy:
                self._ending.wait(_POLL / 10)
                continue
            exhausted = self._listen(busy) and exhausted

    def _has_room(self) -> bool:
        under_way = sum(len(worker.jobs) for worker in self._workers)
        return under_way + self._given - self._taken < self._ahead

    def _next_job(self) -> Job | None:
        return self._again.popleft() if self._again else next(self._jobs, None)

    def _free_worker(self, context: SpawnContext) -> _Worker | None:
        """One that has little to do; a new one while there are fewer than wanted."""
        idle = min(self._workers, key=lambda worker: len(worker.jobs), default=None)
        if (idle is None or idle.jobs) and len(self._workers) < self._count:
            return self._start(context)
        return idle if idle is not None and len(idle.jobs) < _ASSIGNED else None

    def _start(self, context: SpawnContext) -> _Worker:
        ours, theirs = context.Pipe()
        process = context.Process(target=work, args=(theirs, self._decoding), name="decoding", daemon=True)
        try:
            process.start()
        except (OSError, RuntimeError) as error:
            raise EngineError(
                "No process for decoding can be started; close other programs, or index without any."
            ) from error
        theirs.close()  # the child's copy is then the only one: its death closes the pipe
        worker = _Worker(process, ours)
        self._workers.append(worker)
        return worker

    def _assign(self, worker: _Worker, job: Job) -> None:
        if not worker.jobs:
            worker.since = time.monotonic()
        worker.jobs.append(job)
        with contextlib.suppress(OSError):  # it is dead, which is noticed where it is listened to
            worker.connection.send(job)

    def _listen(self, busy: list[_Worker]) -> bool:
        """Take what has come; False if there are jobs to do again."""
        found = wait([worker.connection for worker in busy], timeout=_POLL)
        for worker in busy:
            if worker.connection in found:
                self._receive(worker)
            elif worker.ready and time.monotonic() - worker.since > self._patience:
                self._give_up(worker)
        return not self._again

    def _receive(self, worker: _Worker) -> None:
        try:
            outcome: Outcome | None = worker.connection.recv()
        except (EOFError, OSError):
            self._bury(worker)
            return
        worker.since = time.monotonic()
        if outcome is None:  # it has begun
            worker.ready, self._stillborn = True, 0
            return
        worker.jobs.popleft()
        self._give(outcome)

    def _give(self, outcome: Outcome) -> None:
        self._given += 1
        self._results.put(outcome)

    def _give_up(self, worker: _Worker) -> None:
        job = worker.jobs.popleft()
        self._give(
            Refused(job.row, f"{job.name} took longer than {self._patience:g} s to decode; export it again.")
        )
        self._again.extendleft(reversed(worker.jobs))
        self._forget(worker)

    def _bury(self, worker: _Worker) -> None:
        """Put the jobs of a dead process back; what it died of twice is refused."""
        worker.process.join(1.0)
        _log.warning("a decoding process ended with code %s", worker.process.exitcode)
        if not worker.ready:
            self._stillborn += 1
            if self._stillborn >= _STILLBORN:
                raise EngineError(
                    "The processes for decoding end as soon as they are started; a script that indexes must "
                    'do so under `if __name__ == "__main__":`, or with workers=0.'
                )
        else:
            job = worker.jobs[0]
            self._tries[job.row] = self._tries.get(job.row, 0) + 1
            if self._tries[job.row] >= _TRIES:
                worker.jobs.popleft()
                self._give(
                    Refused(
                        job.row,
                        f"{job.name} ended the process that decoded it, as damaged or hostile files do; "
                        "export it again.",
                    )
                )
        self._again.extendleft(reversed(worker.jobs))
        self._forget(worker)

    def _forget(self, worker: _Worker) -> None:
        self._workers.remove(worker)
        _end(worker)


def _end(worker: _Worker) -> None:
    worker.connection.close()
    worker.process.kill()  # it holds nothing that could be lost
    worker.process.join()
    worker.process.close()


# --- the worker's process ----------------------------------------------------------------------------------
def work(connection: Connection, pickled: bytes) -> None:
    """Decode jobs until the pipe closes; target of a worker process."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    decoding: Decoding = pickle.loads(pickled)  # noqa: S301 - from our own parent over a private pipe
    if "torch" in sys.modules:
        sys.modules["torch"].set_num_threads(1)  # there are as many workers as cores are wanted
    with contextlib.suppress(EOFError, OSError):  # the parent has gone, or wants no more
        connection.send(None)
        while True:
            connection.send(decoding(connection.recv()))
    os._exit(0)  # no teardown: the parent may already be gone
