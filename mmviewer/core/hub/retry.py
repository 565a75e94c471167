"""Trying again where that helps: after a pause that the hub asks for, trouble of its own, or a cut line."""

from __future__ import annotations

import random
import time
from collections.abc import Callable
from typing import NoReturn, TypeVar

import httpx2

from mmviewer.core.hub import faults, network
from mmviewer.core.progress import Progress
from mmviewer.core.words import seconds_in_words

ATTEMPTS = 4
"""Tries in a row without any progress before a download gives up."""
LONGEST_WAIT = 60.0
"""Seconds that a download waits by itself when the hub asks for patience."""
FIRST_WAIT = 1.0
"""Seconds before the second try; each further pause is twice as long."""
_LOOK = 0.1
_T = TypeVar("_T")


class TryAgain(Exception):  # noqa: N818 - a message to the caller, not an error of its own
    """The try failed in a way that may pass; `error` is what to say when it does not."""

    def __init__(self, error: faults.DownloadError, pause: float | None = None) -> None:
        super().__init__(str(error))
        self.error = error
        self.pause = pause


def raise_for(
    response: httpx2.Response, repo: str, endpoint: str, *, with_token: bool, cause: Exception | None = None
) -> NoReturn:
    """Raise what an unsuccessful answer means: `TryAgain` where it may pass."""
    status = response.status_code
    if status == 429:
        pause = _asked_pause(response)
        error = faults.busy(repo, pause)
        if pause > LONGEST_WAIT:
            raise error from cause
        raise TryAgain(error, pause) from cause
    error = faults.refused(status, repo, endpoint, with_token=with_token)
    if status >= 500 or status == 408:
        raise TryAgain(error) from cause
    raise error from cause


def patiently(work: Callable[[], _T], repo: str, progress: Progress) -> _T:
    """Run `work`; again after a pause while it fails in a way that may pass."""
    attempt = 0
    while True:
        try:
            return work()
        except TryAgain as again:
            attempt += 1
            if attempt >= ATTEMPTS:
                raise again.error from again.__cause__
            pause, why = again.pause, again.error
        except httpx2.HTTPError as error:
            attempt += 1
            why = faults.broken_off(error, repo, network.endpoint())
            if attempt >= ATTEMPTS or isinstance(error, httpx2.UnsupportedProtocol):
                raise why from error
            pause = None
        pause_after(pause, attempt, progress)


def backoff(attempt: int) -> float:
    """Seconds to wait before try `attempt` + 1, uneven so that many programs do not come back at once."""
    return float(FIRST_WAIT * 2 ** (attempt - 1) * random.uniform(0.8, 1.2))  # noqa: S311 - no secret


def pause_after(asked: float | None, attempt: int, progress: Progress) -> None:
    """Wait as long as the hub asked for, else longer after each try; looks at the cancel meanwhile."""
    if asked is not None:
        _rest(asked, "the hub asks for patience", progress)
    else:
        _rest(backoff(attempt), "that failed", progress)


def _rest(seconds: float, why: str, progress: Progress) -> None:
    until = time.monotonic() + seconds
    while (left := until - time.monotonic()) > 0:
        progress.report(0, None, f"{why}; trying again in {seconds_in_words(round(left))}")
        time.sleep(min(_LOOK, left))


def _asked_pause(response: httpx2.Response) -> float:
    """``Retry-After`` in seconds; a date or nothing counts as a minute."""
    try:
        return min(max(float(response.headers.get("Retry-After", "60")), 0.0), 86_400.0)
    except ValueError:
        return 60.0
