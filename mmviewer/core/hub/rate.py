"""How fast bytes come, and how long the rest takes."""

from __future__ import annotations

import time
from collections import deque

from mmviewer.core.progress import Progress
from mmviewer.core.words import bytes_in_words, seconds_in_words

_WINDOW = 5.0  # seconds that the rate is a mean over
_PERIOD = 0.2  # seconds between reports: faster ones cannot be read


class Meter:
    """Tells progress in words: "1.2 of 5.4 GB · 24 MB/s · 2 min 05 s left".

    Parameters
    ----------
    progress : Progress
    total, done : int
        Bytes of the whole, and those that were here at the start.
    """

    def __init__(self, progress: Progress, total: int, done: int) -> None:
        self._progress = progress
        self._total = total
        self._done = done
        self._seen = deque([(time.monotonic(), done)])
        self._told = 0.0

    def add(self, count: int) -> None:
        """Take note of bytes that came; of bytes that were thrown away, when negative."""
        self._done += count
        if count < 0:
            self._seen.clear()
        now = time.monotonic()
        self._seen.append((now, self._done))
        while now - self._seen[0][0] > _WINDOW and len(self._seen) > 2:
            self._seen.popleft()
        if now - self._told >= _PERIOD or self._done == self._total:
            self._told = now
            self._progress.report(self._done, self._total, self.words())
        else:
            self._progress.check()

    def words(self) -> str:
        """How far, how fast, how long still."""
        parts = [f"{bytes_in_words(self._done)} of {bytes_in_words(self._total)}"]
        rate = self.rate()
        if rate > 0:
            parts.append(f"{bytes_in_words(rate)}/s")
            if self._total > self._done:
                parts.append(f"{seconds_in_words((self._total - self._done) / rate)} left")
        return " · ".join(parts)

    def rate(self) -> float:
        """Bytes per second over the last seconds; 0 while unknown."""
        (start, before), (end, after) = self._seen[0], self._seen[-1]
        return max(after - before, 0) / (end - start) if end - start > 0.5 else 0.0
