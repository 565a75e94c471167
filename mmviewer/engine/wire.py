"""Frames on the private pipe: which job, the pickled message, its arrays.

A message that cannot be pickled or unpickled must cost its own job only, so the job's number travels in a
frame of its own. Arrays travel beside the pickle (protocol 5, out of band), which saves copies of pictures.
"""

from __future__ import annotations

import pickle
import struct
from dataclasses import dataclass
from multiprocessing.connection import Connection
from threading import Lock
from typing import Any

import numpy as np
from numpy.typing import NDArray

_HEADER = struct.Struct("<qq")  # job, number of arrays
_LENGTH = struct.Struct("<q")
_PIECE = 2**22  # bytes copied at once: the interpreter is held meanwhile, and the window waits

NO_JOB = 0
"""Number of messages that belong to no job; jobs count from 1."""


@dataclass(frozen=True, slots=True)
class Unreadable:
    """Stands for a message that arrived but could not be unpickled."""

    cause: Exception


class Wire:
    """Sends and receives numbered messages over one end of a duplex pipe.

    Any thread may send; one thread receives.
    """

    def __init__(self, connection: Connection) -> None:
        self.connection = connection
        self._sending = Lock()

    def send(self, job: int, message: Any) -> None:
        """Send `message`; raises what pickle raises before anything was sent, or OSError on a broken pipe."""
        buffers: list[pickle.PickleBuffer] = []
        payload = pickle.dumps(message, protocol=5, buffer_callback=buffers.append)
        raws = [buffer.raw() for buffer in buffers]
        with self._sending:
            self.connection.send_bytes(_HEADER.pack(job, len(raws)))
            self.connection.send_bytes(payload)
            for raw in raws:
                self.connection.send_bytes(_LENGTH.pack(raw.nbytes))
                for start in range(0, raw.nbytes, _PIECE):
                    self.connection.send_bytes(raw[start : start + _PIECE])

    def receive(self) -> tuple[int, Any]:
        """Return (job, message), waiting for it; raises EOFError or OSError when the other end is gone."""
        job, count = _HEADER.unpack(self.connection.recv_bytes())
        payload = self.connection.recv_bytes()
        buffers = [self._receive_array() for _ in range(count)]
        try:
            return job, pickle.loads(payload, buffers=buffers)  # noqa: S301 - our own child on a private pipe
        except Exception as error:  # noqa: BLE001 - unpickling runs constructors, which may raise anything
            return job, Unreadable(error)

    def _receive_array(self) -> NDArray[np.uint8]:
        (length,) = _LENGTH.unpack(self.connection.recv_bytes())
        array = np.empty(length, np.uint8)  # writable, and not filled first, unlike a bytearray
        for start in range(0, length, _PIECE):
            self.connection.recv_bytes_into(array[start : start + _PIECE].data)
        return array
