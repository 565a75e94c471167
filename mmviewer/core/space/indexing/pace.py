"""How an indexing run goes: counts, rate, remaining time, and what waited for what."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from threading import Event

from mmviewer.core.progress import Progress

_WINDOW = 20.0  # seconds over which the rate is taken
_FIRST = 1.0  # seconds before which no rate is told
_NAP = 0.1  # seconds between looks at a cancel while paused
_MOST_NOTES = 20


@dataclass(frozen=True, slots=True)
class IndexProgress:
    """How far a run is.

    Parameters
    ----------
    done, total : int
        Items of this run, failed ones included.
    embedded, failed, left_out : int
        Vectors made, files that cannot be read, and items that this model does not take.
    rate : float
        Items a second, over the last seconds; 0 while unknown.
    remaining : float or None
        Seconds at this rate.
    batch : int
        Items that the device takes at once.
    waited : float
        Share of the time in which the device waited for decoding.
    paused : bool
    space_id : str
        The space that is filled.
    """

    done: int
    total: int
    embedded: int = 0
    failed: int = 0
    left_out: int = 0
    rate: float = 0.0
    remaining: float | None = None
    batch: int = 0
    waited: float = 0.0
    paused: bool = False
    space_id: str = ""

    @property
    def words(self) -> str:
        """One line for people."""
        parts = [f"Indexing {self.done:,} of {self.total:,}"]
        if self.paused:
            parts.append("paused")
        elif self.remaining is not None:
            parts += [f"{self.rate:.3g} a second", f"{duration(self.remaining)} left"]
        if self.failed:
            parts.append(f"{self.failed:,} failed")
        return " · ".join(parts)


@dataclass(frozen=True, slots=True)
class IndexReport:
    """What a run did.

    Parameters
    ----------
    space_id : str
    total, embedded, shared, failed, left_out : int
        Items looked at; vectors made; items whose content had its vector already; files that cannot be read;
        items that the model does not take.
    seconds : float
    waited, encoding : float
        Seconds in which the device waited for decoding, and worked.
    batch : int
        Items that the device took at once in the end.
    notes : tuple of str
        Sentences that the user should read.
    """

    space_id: str
    total: int = 0
    embedded: int = 0
    shared: int = 0
    failed: int = 0
    left_out: int = 0
    seconds: float = 0.0
    waited: float = 0.0
    encoding: float = 0.0
    batch: int = 0
    notes: tuple[str, ...] = ()


def duration(seconds: float) -> str:
    """Seconds in words that are as exact as an estimate can be."""
    if seconds < 90:
        return f"{max(round(seconds), 1)} s"
    if seconds < 5400:
        return f"{round(seconds / 60)} min"
    return f"{seconds / 3600:.1f} h"


class Pause:
    """Holds a run between two batches until it may go on."""

    def __init__(self) -> None:
        self._free = Event()
        self._free.set()

    @property
    def paused(self) -> bool:
        """Whether the run is held."""
        return not self._free.is_set()

    def hold(self, held: bool) -> None:
        """Hold the run, or let it go on."""
        if held:
            self._free.clear()
        else:
            self._free.set()

    def wait(self, progress: Progress) -> float:
        """Return the seconds that the run was held; raises `Cancelled`."""
        if not self.paused:
            return 0.0
        start = time.monotonic()
        while not self._free.wait(_NAP):
            progress.check()
        return time.monotonic() - start


@dataclass(slots=True)
class Pace:
    """Counts while a run goes on and tells who watches it, at most at the rate of `report`."""

    total: int
    space_id: str
    report: Callable[[IndexProgress], None]
    embedded: int = 0
    shared: int = 0
    failed: int = 0
    left_out: int = 0
    waited: float = 0.0
    encoding: float = 0.0
    held: float = 0.0
    notes: list[str] = field(default_factory=list)
    start: float = field(default_factory=time.monotonic)
    _marks: deque[tuple[float, int]] = field(default_factory=deque)

    @property
    def done(self) -> int:
        """Items that are through."""
        return self.embedded + self.shared + self.failed + self.left_out

    @property
    def seconds(self) -> float:
        """Since the start, without pauses."""
        return time.monotonic() - self.start - self.held

    def note(self, sentence: str) -> None:
        """Something that the user should read, once."""
        if sentence and sentence not in self.notes and len(self.notes) < _MOST_NOTES:
            self.notes.append(sentence)

    def now(self, batch: int, *, paused: bool = False) -> IndexProgress:
        """How far it is."""
        rate = self._rate()
        left = (self.total - self.done) / rate if rate > 0 else None
        share = self.waited / max(self.seconds, 1e-9)
        return IndexProgress(
            self.done,
            self.total,
            self.embedded,
            self.failed,
            self.left_out,
            rate,
            left,
            batch,
            min(share, 1.0),
            paused,
            self.space_id,
        )

    def _rate(self) -> float:
        """Over the last seconds, not counting pauses."""
        now = self.seconds
        self._marks.append((now, self.done))
        while len(self._marks) > 2 and now - self._marks[0][0] > _WINDOW:
            self._marks.popleft()
        then, done = self._marks[0]
        return (self.done - done) / (now - then) if now - then > _FIRST else 0.0

    def summary(self, batch: int) -> IndexReport:
        """What the run did."""
        return IndexReport(
            self.space_id,
            self.total,
            self.embedded,
            self.shared,
            self.failed,
            self.left_out,
            self.seconds,
            self.waited,
            self.encoding,
            batch,
            tuple(self.notes),
        )
