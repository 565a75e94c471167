"""The child process before the engine: output, signals, priority. The window imports it, so it is light."""

from __future__ import annotations

import contextlib
import faulthandler
import logging
import os
import signal
import sys
from multiprocessing.connection import Connection
from pathlib import Path

from mmviewer.engine.ending import leave

_LOG_LIMIT = 2_000_000  # bytes after which a log file is put aside
_NICENESS = 5  # the window's thread gets the processor first when a model takes all cores


def main(connection: Connection, log_path: str) -> None:
    """Run the engine until the pipe closes; target of the child process."""
    prepare(log_path)
    from mmviewer.engine.server import Server

    Server(connection).serve()
    leave()


def prepare(log_path: str) -> None:
    """Send output, faults and log records to a file, and leave Ctrl+C to the window's process."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    if hasattr(os, "nice"):
        os.nice(_NICENESS)
    path = Path(log_path)
    if path.exists() and path.stat().st_size > _LOG_LIMIT:
        with contextlib.suppress(OSError):  # another running mmviewer may have it open on Windows
            path.replace(path.with_suffix(".old.log"))
    stream = path.open("a", buffering=1, encoding="utf-8", errors="backslashreplace")
    for descriptor in (1, 2):  # native libraries write to the descriptors, not to sys.stderr
        os.dup2(stream.fileno(), descriptor)
    sys.stdout = sys.stderr = stream
    faulthandler.enable(stream)
    logging.basicConfig(
        stream=stream,
        level=logging.INFO,
        format="%(asctime)s %(process)d %(levelname)s %(name)s: %(message)s",
    )
