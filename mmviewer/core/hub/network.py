"""The only way to the network: whether it is allowed, whether it is in use, and who asks."""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Iterator
from threading import Lock
from urllib.parse import urlsplit

import httpx2
from huggingface_hub import constants, get_session

from mmviewer.core.hub import faults

ONLINE_VARIABLE = "MMVIEWER_ONLINE"
_LINGER = 1.5  # seconds for which a short request is still told, so that it can be seen at all


def online() -> bool:
    """Whether models may be downloaded: only when the environment variable `MMVIEWER_ONLINE` is 1."""
    return os.environ.get(ONLINE_VARIABLE) == "1"


def allow(allowed: bool) -> None:
    """Let this process use the network, or not."""
    os.environ[ONLINE_VARIABLE] = "1" if allowed else "0"
    constants.HF_HUB_OFFLINE = not allowed


def require(repo: str) -> None:
    """Raise `DownloadError` unless downloads are allowed."""
    if not online():
        raise faults.offline(repo)


def endpoint() -> str:
    """Address of the hub: ``HF_ENDPOINT`` or huggingface.co."""
    return (os.environ.get("HF_ENDPOINT") or constants.ENDPOINT).rstrip("/")


class Activity:
    """Which hosts are being talked to; may be asked from any thread."""

    def __init__(self) -> None:
        self._lock = Lock()
        self._open: dict[str, int] = {}
        self._seen: dict[str, float] = {}

    @contextlib.contextmanager
    def talking(self, host: str) -> Iterator[None]:
        """Count a conversation with `host` while it lasts."""
        with self._lock:
            self._open[host] = self._open.get(host, 0) + 1
        try:
            yield
        finally:
            with self._lock:
                self._open[host] -= 1
            self.seen(host)

    def seen(self, host: str) -> None:
        """Note that something was sent to `host` just now."""
        with self._lock:
            self._seen[host] = time.monotonic()

    def hosts(self) -> tuple[str, ...]:
        """Hosts that are talked to now, or were a moment ago."""
        recent = time.monotonic() - _LINGER
        with self._lock:
            talking = {host for host, count in self._open.items() if count > 0}
            return tuple(sorted(talking | {host for host, when in self._seen.items() if when > recent}))


constants.HF_HUB_DISABLE_TELEMETRY = True  # else it asks for more than was asked, and tells of this machine

ACTIVITY = Activity()
"""What this process says to the network, by whichever library."""


def _note(request: httpx2.Request) -> None:
    ACTIVITY.seen(request.url.host)


def session() -> httpx2.Client:
    """The client of the hub's library, with the user's proxies and certificates.

    Whatever any library sends through it shows as network activity from now on.
    """
    constants.HF_HUB_OFFLINE = not online()
    client = get_session()
    hooks = client.event_hooks
    if _note not in hooks.get("request", []):
        client.event_hooks = {**hooks, "request": [*hooks.get("request", []), _note]}
    return client


def host_of(address: str) -> str:
    """Host of an address, for people."""
    return urlsplit(address).hostname or address
