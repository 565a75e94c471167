"""Bytes of an answer, read in a thread of its own: a cancel is obeyed while the other side is silent."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping
from queue import Empty, Full, Queue
from threading import Event, Thread

import httpx2

from mmviewer.core.hub import network
from mmviewer.core.progress import Progress

CONNECT_TIMEOUT = 15.0
"""Seconds to reach the other side."""
STALL_TIMEOUT = 20.0
"""Seconds without a byte after which a connection counts as dead."""
_AHEAD = 16  # pieces read before they are written
_LOOK = 0.1


class Stream:
    """An answer that is being read.

    Parameters
    ----------
    address : str
    headers : mapping
    progress : Progress
        Checked while waiting.
    """

    def __init__(self, address: str, headers: Mapping[str, str], progress: Progress) -> None:
        self._address = address
        self._headers = {**headers, "Accept-Encoding": "identity"}
        self._progress = progress
        self._pieces: Queue[httpx2.Response | bytes | BaseException | None] = Queue(_AHEAD)
        self._stop = Event()

    def __enter__(self) -> Stream:
        Thread(target=self._pump, name="download", daemon=True).start()
        return self

    def __exit__(self, *_error: object) -> None:
        self._stop.set()

    def response(self) -> httpx2.Response:
        """Status and headers; its body comes from `chunks`."""
        first = self._next()
        assert isinstance(first, httpx2.Response)
        return first

    def chunks(self) -> Iterator[bytes]:
        """The body, piece by piece."""
        while (piece := self._next()) is not None:
            assert isinstance(piece, bytes)
            yield piece

    def _next(self) -> httpx2.Response | bytes | None:
        while True:
            self._progress.check()
            with contextlib.suppress(Empty):
                piece = self._pieces.get(timeout=_LOOK)
                if isinstance(piece, BaseException):
                    raise piece
                return piece

    def _pump(self) -> None:
        timeout = httpx2.Timeout(STALL_TIMEOUT, connect=CONNECT_TIMEOUT)
        host = network.host_of(self._address)
        try:
            with (
                network.ACTIVITY.talking(host),
                network.session().stream(
                    "GET", self._address, headers=self._headers, timeout=timeout
                ) as response,
            ):
                self._put(response)
                if response.is_success:
                    for piece in response.iter_raw():
                        self._put(piece)
            self._put(None)
        except _Stopped:
            return
        except BaseException as error:  # noqa: BLE001 - carried over to the waiting thread
            with contextlib.suppress(_Stopped):
                self._put(error)

    def _put(self, piece: httpx2.Response | bytes | BaseException | None) -> None:
        while not self._stop.is_set():
            with contextlib.suppress(Full):
                self._pieces.put(piece, timeout=_LOOK)
                return
        raise _Stopped


class _Stopped(Exception):  # noqa: N818 - ends the reading thread and nothing else
    """Nobody waits for the bytes any more."""
