"""Safe decoding of sound to mono at 16 kHz, from sound files and the sound tracks of videos."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from io import SEEK_END, BytesIO
from pathlib import Path
from typing import IO, Any

import av
import av.error
import numpy as np
import soundfile
from numpy.typing import NDArray

from mmviewer.core.errors import MediaError
from mmviewer.core.media.files import Source, check_file, content_id, display_name, to_path
from mmviewer.core.types import Media, Modality

FloatArray = NDArray[np.float32]

SAMPLE_RATE = 16_000
"""Samples per second of every decoded sound: what speech and sound models take."""

MAX_SECONDS = 2 * 3600
"""Longest sound that is decoded."""

_BLOCK_VALUES = 1_000_000
_LOUDEST_ROUNDING = 1.1
# MATLAB and HTK files hold measurements, which libsndfile would play
_REFUSED_FORMATS = frozenset({"MAT4", "MAT5", "HTK"})
_UNKNOWN_LENGTH = 2**62
_PIPED_RIFF = 0x7FFF_0000
# what a damaged or hostile file makes the two libraries raise; soundfile's errors are RuntimeErrors
_DECODE_ERRORS = (
    soundfile.SoundFileError,
    av.error.FFmpegError,
    OSError,
    ValueError,
    RuntimeError,
    TypeError,
)


def load_audio(source: Source, name: str | None = None) -> Media:
    """Decode a sound, or the sound track of a video.

    Parameters
    ----------
    source : path, file:// URL or bytes
    name : str, optional
        What to call it; by default the file's name.

    Returns
    -------
    Media
        Float32 samples in [-1, 1], mean of all channels, at `SAMPLE_RATE`; the notes say what was changed.

    Raises
    ------
    MediaError
        For anything that is not a readable sound of at most `MAX_SECONDS` seconds.
    """
    path: Path | None = None
    file: IO[bytes]
    if isinstance(source, bytes):
        name, file = name or "pasted sound", BytesIO(source)
    else:
        path = to_path(source)
        name = name or display_name(path)
        check_file(path, name)
        try:
            file = path.open("rb")
        except OSError as error:
            raise MediaError(f"{name} cannot be read ({error.strerror}); check its permissions.") from error
    notes: list[str] = []
    with file:
        samples = _decode(file, name, notes)
    samples.setflags(write=False)
    return Media(
        id=content_id("audio", samples.data),
        modality=Modality.AUDIO,
        name=name,
        path=None if path is None else str(path),
        samples=samples,
        sample_rate=SAMPLE_RATE,
        notes=tuple(notes),
    )


def is_audio(path: Path) -> bool:
    """Whether the content looks like something with sound; reads only headers."""
    try:
        with path.open("rb") as file:
            if _open_soundfile(file) is not None:
                return True
            with _open_container(file) as container:
                return bool(container.streams.audio)
    except _DECODE_ERRORS:
        return False


@dataclass(slots=True)
class _Collector:
    """Gathers decoded blocks, watching length, loudness and values that are no numbers."""

    name: str
    blocks: list[FloatArray] = field(default_factory=list)
    count: int = 0
    not_numbers: int = 0

    def add(self, block: NDArray[np.floating]) -> None:
        """Take mono samples at `SAMPLE_RATE`."""
        mono = np.ascontiguousarray(block, dtype=np.float32)
        self.count += len(mono)
        if self.count > MAX_SECONDS * SAMPLE_RATE:
            raise _too_long(self.name)
        self.blocks.append(mono)

    def clean(self, block: FloatArray) -> FloatArray:
        """Silence what is not a number, before it spreads through the resampler."""
        bad = ~np.isfinite(block)
        if bad.any():
            self.not_numbers += int(bad.sum())
            block = np.where(bad, np.float32(0), block)
        return block

    def finish(self, notes: list[str]) -> FloatArray:
        samples = np.concatenate(self.blocks) if self.blocks else np.zeros(0, dtype=np.float32)
        if not len(samples):
            raise MediaError(f"{self.name} holds no sound (0 samples); record or export it again.")
        if self.not_numbers:
            notes.append(f"{self.not_numbers} values that are no numbers were silenced")
        peak = float(np.abs(samples).max())
        if peak > _LOUDEST_ROUNDING:
            samples /= np.float32(peak)
            notes.append(f"scaled down from a peak of {peak:.3g}")
        return np.clip(samples, -1, 1, out=samples)


def _decode(file: IO[bytes], name: str, notes: list[str]) -> FloatArray:
    collector = _Collector(name)
    try:
        sound = _open_soundfile(file)
        # FFmpeg also gives what is left of a damaged file that libsndfile refuses
        if sound is None or not _read_soundfile(sound, file, collector, notes):
            collector.blocks.clear()
            collector.count = 0
            with _open_container(file) as container:
                _read_container(container, collector, notes)
    except MediaError:
        raise
    except MemoryError as error:
        raise MediaError(f"{name} needs more memory than is free; cut out the part you need.") from error
    except _DECODE_ERRORS as error:
        raise MediaError(
            f"{name} is not a sound in a format known here, or it is damaged; export it as WAV or FLAC."
        ) from error
    return collector.finish(notes)


# --- libsndfile ---------------------------------------------------------------------------------------
def _open_soundfile(file: IO[bytes]) -> soundfile.SoundFile | None:
    try:
        sound = soundfile.SoundFile(file)
    except (RuntimeError, TypeError, ValueError, OSError):
        return None
    return None if sound.format in _REFUSED_FORMATS or sound.samplerate < 1 else sound


def _read_soundfile(
    sound: soundfile.SoundFile, file: IO[bytes], collector: _Collector, notes: list[str]
) -> bool:
    """Read all of it; False when it is damaged."""
    expected = sound.frames if 0 <= sound.frames < _UNKNOWN_LENGTH else 0
    if expected > MAX_SECONDS * sound.samplerate:
        raise _too_long(collector.name, expected / sound.samplerate)
    resampler = _Resampler(sound.samplerate)
    frames = 0
    try:
        while len(block := sound.read(_BLOCK_VALUES // sound.channels + 1, dtype="float32", always_2d=True)):
            frames += len(block)
            for part in resampler.push(collector.clean(block).mean(axis=1)):
                collector.add(part)
    except RuntimeError:
        return False
    for part in resampler.flush():
        collector.add(part)
    expected = max(expected, round(frames * _claimed_by_riff(file)))
    _note_cut(frames / sound.samplerate, expected / sound.samplerate, notes)
    _note_conversion(sound.samplerate, sound.channels, notes)
    return True


def _claimed_by_riff(file: IO[bytes]) -> float:
    """How many times its size a WAV claims to have; libsndfile counts only what is there. Else 1."""
    file.seek(0)
    head = file.read(8)
    claimed = int.from_bytes(head[4:], "little") + 8
    actual = file.seek(0, SEEK_END)
    # writers into a pipe cannot know the size and claim about 2 or 4 GiB
    believable = head.startswith(b"RIFF") and actual < claimed < _PIPED_RIFF
    return claimed / actual if believable else 1.0


class _Resampler:
    """Streams mono blocks of any rate to `SAMPLE_RATE` through FFmpeg's resampler."""

    def __init__(self, rate: int) -> None:
        self._rate = rate
        self._resampler = av.AudioResampler(format="fltp", layout="mono", rate=SAMPLE_RATE)

    def push(self, block: FloatArray) -> Iterator[FloatArray]:
        """Resample the next block [n]."""
        if self._rate == SAMPLE_RATE:
            yield block
            return
        frame = av.AudioFrame.from_ndarray(block[None], format="fltp", layout="mono")
        frame.sample_rate = self._rate
        yield from (part.to_ndarray()[0] for part in self._resampler.resample(frame))

    def flush(self) -> Iterator[FloatArray]:
        """What the filter still holds."""
        if self._rate != SAMPLE_RATE:
            yield from (part.to_ndarray()[0] for part in self._resampler.resample(None))


# --- FFmpeg -------------------------------------------------------------------------------------------
def _refuse_to_open(url: str, _flags: int, _options: dict[str, str]) -> IO[bytes]:
    """Playlists may name other files or hosts; a dropped file shall cause no such access."""
    raise PermissionError(f"a media file tried to open {url!r}")


def _open_container(file: IO[bytes]) -> Any:
    file.seek(0)
    return av.open(file, mode="r", metadata_errors="replace", io_open=_refuse_to_open)


def _read_container(container: Any, collector: _Collector, notes: list[str]) -> None:
    name = collector.name
    if not container.streams.audio:
        raise MediaError(f"{name} has no sound track; drop a video or sound with one.")
    expected = (container.duration or 0) / av.time_base
    if expected > MAX_SECONDS:
        raise _too_long(name, expected)
    stream = container.streams.audio[0]
    resampler = av.AudioResampler(format="fltp", rate=SAMPLE_RATE)
    try:
        for frame in container.decode(stream):
            frame.pts = None  # gaps and jumps in time stamps shall not become silence
            _add_frames(resampler.resample(frame), collector)
        _add_frames(resampler.resample(None), collector)
    except (av.error.FFmpegError, ValueError):
        if not collector.count:
            raise
        _add_frames(resampler.resample(None), collector)
    _note_cut(collector.count / SAMPLE_RATE, expected, notes)
    if any(not video.disposition & av.stream.Disposition.attached_pic for video in container.streams.video):
        notes.append("sound track of a video")
    _note_conversion(stream.rate, stream.channels, notes)


def _add_frames(frames: list[Any], collector: _Collector) -> None:
    for frame in frames:
        collector.add(collector.clean(frame.to_ndarray()).mean(axis=0))  # [channels, n] -> [n]


# --- words --------------------------------------------------------------------------------------------
def _note_cut(seconds: float, expected: float, notes: list[str]) -> None:
    # containers round their duration, and count the silence that encoders add
    if seconds < expected - max(0.2, 0.01 * expected):
        notes.append(f"cut off or damaged: {seconds:.1f} of {expected:.1f} s could be read")


def _note_conversion(rate: int, channels: int, notes: list[str]) -> None:
    if channels > 1:
        notes.append(f"mean of {channels} channels")
    if rate != SAMPLE_RATE:
        notes.append(f"resampled from {rate / 1000:g} kHz to 16 kHz")


def _too_long(name: str, seconds: float | None = None) -> MediaError:
    length = "" if seconds is None else f" ({seconds / 3600:.1f} hours)"
    return MediaError(
        f"{name} is longer than {MAX_SECONDS // 3600} hours{length}; cut out the part you need."
    )
