"""Plays a sound through the system's audio device and tells how far it is."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PySide6.QtCore import QObject, QTimer, Signal

FloatArray = NDArray[np.float32]

_TICK_MS = 30
_RATES = (48_000, 44_100)  # for devices that do not take the sound's own
_NO_DEVICE = "There is no audio device that plays this sound; connect one, or go on without sound."
_NO_LIBRARY = (
    "Sounds cannot be played: PortAudio is missing; install it (libportaudio2 on Debian and Ubuntu)."
)

OpenStream = Callable[..., Any]
"""Makes a stream as `sounddevice.OutputStream` does; imported when first needed."""


class Player(QObject):
    """One sound, played from where one likes.

    The stream's callback runs in PortAudio's own thread and only copies samples; all else happens here.
    """

    position_changed = Signal(float)
    """Seconds from the start."""
    playing_changed = Signal(bool)
    failed = Signal(str)
    """One sentence why nothing can be heard."""

    def __init__(self, parent: QObject | None = None, open_stream: OpenStream | None = None) -> None:
        super().__init__(parent)
        self._open_stream = open_stream
        self._samples: FloatArray = np.zeros(0, np.float32)
        self._rate = 16_000
        self._cursor = 0.0  # in samples
        self._step = 1.0  # samples per frame of the device
        self._stream: Any = None
        self._ticker = QTimer(self, interval=_TICK_MS)
        self._ticker.timeout.connect(self._tick)

    @property
    def playing(self) -> bool:
        """Whether a stream is running."""
        return self._stream is not None

    @property
    def position(self) -> float:
        """Seconds from the start."""
        return self._cursor / self._rate

    @property
    def duration(self) -> float:
        """Seconds in all."""
        return len(self._samples) / self._rate

    def set_sound(self, samples: FloatArray | None, rate: int = 16_000) -> None:
        """Take another sound (mono, -1..1), or none; stops the former."""
        self.pause()
        self._samples = np.zeros(0, np.float32) if samples is None else samples
        self._rate = rate
        self.seek(0.0)

    def toggle(self) -> None:
        """Play, or pause."""
        if self.playing:
            self.pause()
        else:
            self.play()

    def play(self) -> None:
        """Play from the position; from the start when at the end."""
        if self.playing or not len(self._samples):
            return
        if self._cursor >= len(self._samples):
            self.seek(0.0)
        stream, problem = self._new_stream()
        if stream is None:
            self.failed.emit(problem)
            return
        self._stream = stream
        self._ticker.start()
        self.playing_changed.emit(True)

    def pause(self) -> None:
        """Stop where it is."""
        if self._stream is None:
            return
        stream, self._stream = self._stream, None
        self._ticker.stop()
        stream.close()
        self.playing_changed.emit(False)

    def seek(self, seconds: float) -> None:
        """Go to a time, playing or not."""
        self._cursor = float(min(max(round(seconds * self._rate), 0), len(self._samples)))
        self.position_changed.emit(self.position)

    def release(self) -> None:
        """Let go of the device."""
        self.pause()

    def _new_stream(self) -> tuple[Any, str]:
        """A started stream, or None and the reason."""
        try:
            opener = self._open_stream or _sounddevice_stream()
        except (OSError, ImportError):
            return None, _NO_LIBRARY
        problem = ""
        for rate in (self._rate, *_RATES):
            try:
                stream = opener(samplerate=rate, channels=1, dtype="float32", callback=self._fill)
                self._step = self._rate / rate
                stream.start()
            except Exception as error:  # noqa: BLE001 - drivers raise what they like; the rest goes on
                problem = problem or f"{_NO_DEVICE} ({error})"
            else:
                return stream, ""
        return None, problem

    def _fill(self, out: NDArray[np.float32], frames: int, _time: Any, _status: Any) -> None:
        """Write the next samples into `out` [frames, 1]; called in PortAudio's thread."""
        begin, step = self._cursor, self._step
        first, last = int(begin), math.ceil(begin + frames * step) + 1
        chunk = self._samples[first:last]
        if step == 1.0:
            chunk = chunk[:frames]
            out[: len(chunk), 0] = chunk
            out[len(chunk) :] = 0
        else:
            place = begin - first + np.arange(frames) * step
            out[:, 0] = np.interp(place, np.arange(len(chunk)), chunk, right=0.0) if len(chunk) else 0.0
        self._cursor = min(begin + frames * step, float(len(self._samples)))

    def _tick(self) -> None:
        self.position_changed.emit(self.position)
        if self._cursor >= len(self._samples):
            self.pause()


def _sounddevice_stream() -> OpenStream:
    """Import PortAudio's binding; OSError where the library is missing."""
    import sounddevice

    stream: OpenStream = sounddevice.OutputStream
    return stream
