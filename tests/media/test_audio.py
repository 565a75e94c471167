"""Every kind of sound ends as mono at 16 kHz; every broken one in a sentence."""

from __future__ import annotations

import io
import struct

import av
import numpy as np
import pytest
import soundfile

from mmviewer.core.errors import MediaError
from mmviewer.core.media.audio import SAMPLE_RATE, load_audio
from mmviewer.core.media.spectrogram import HOP, log_mel


def tone(hertz: float, seconds: float = 1.0, rate: int = 16_000, level: float = 0.5) -> np.ndarray:
    return (level * np.sin(2 * np.pi * hertz * np.arange(int(seconds * rate)) / rate)).astype(np.float32)


def encode(
    codec: str, container: str, rate: int = 44_100, layout: str = "stereo", video: bool = False
) -> bytes:
    """A 440 Hz tone of one second through FFmpeg's encoders."""
    buffer = io.BytesIO()
    with av.open(buffer, "w", format=container) as output:
        picture = output.add_stream("mpeg4", rate=10) if video else None
        stream = output.add_stream(codec, rate=rate, layout=layout)
        if picture is not None:
            picture.width = picture.height = 32
            for _ in range(10):
                output.mux(picture.encode(av.VideoFrame.from_ndarray(np.zeros((32, 32, 3), np.uint8))))
            output.mux(picture.encode(None))
        samples = np.repeat(tone(440, rate=rate)[None], 2 if layout == "stereo" else 1, axis=0)
        frame = av.AudioFrame.from_ndarray(np.ascontiguousarray(samples), format="fltp", layout=layout)
        frame.sample_rate, frame.pts = rate, 0
        resampler = av.AudioResampler(
            format=stream.format, layout=layout, rate=rate, frame_size=stream.frame_size
        )
        for part in [*resampler.resample(frame), *resampler.resample(None)]:
            output.mux(stream.encode(part))
        output.mux(stream.encode(None))
    return buffer.getvalue()


def loudest_hertz(samples: np.ndarray) -> float:
    spectrum = np.abs(np.fft.rfft(samples * np.hanning(len(samples))))
    return float(spectrum.argmax() * SAMPLE_RATE / len(samples))


@pytest.mark.parametrize(
    ("kind", "subtype"),
    [
        ("WAV", "PCM_16"),
        ("WAV", "FLOAT"),
        ("FLAC", "PCM_24"),
        ("OGG", "VORBIS"),
        ("AIFF", "PCM_16"),
        ("MP3", "MPEG_LAYER_III"),
        ("CAF", "DOUBLE"),
    ],
)
@pytest.mark.parametrize("rate", [8_000, 16_000, 44_100, 48_000])
def test_sound_files_of_any_rate_and_channels(tmp_path, kind, subtype, rate):
    path = tmp_path / "sound.bin"
    stereo = np.stack([tone(440, rate=rate), tone(440, rate=rate) * 0.5], axis=1)
    soundfile.write(path, stereo, rate, format=kind, subtype=subtype)
    media = load_audio(path)
    assert media.samples.dtype == np.float32
    assert media.sample_rate == SAMPLE_RATE
    assert media.duration == pytest.approx(1.0, abs=0.3 if kind == "MP3" else 1e-3)
    assert loudest_hertz(media.samples) == pytest.approx(440, abs=2)
    loudness = np.sqrt(2 * np.mean(media.samples[4000:12000] ** 2))
    assert loudness == pytest.approx(0.375, rel=0.15 if kind == "MP3" else 0.03)
    assert "mean of 2 channels" in media.notes


@pytest.mark.parametrize("rate", [8_000, 22_050, 44_100, 96_000])
def test_resampling_keeps_time_and_lets_no_alias_through(tmp_path, rate):
    path = tmp_path / "tone.wav"
    soundfile.write(path, tone(1000, rate=rate), rate, subtype="FLOAT")
    samples = load_audio(path).samples
    inside = slice(400, -400)
    np.testing.assert_allclose(samples[inside], tone(1000)[: len(samples)][inside], atol=2e-3)
    if rate > 32_000:
        soundfile.write(path, tone(11_000, rate=rate), rate, subtype="FLOAT")
        assert np.abs(load_audio(path).samples[inside]).max() < 1e-3


@pytest.mark.parametrize(
    ("codec", "container"),
    [
        ("aac", "mp4"),
        ("aac", "matroska"),
        ("libopus", "webm"),
        ("mp2", "mpegts"),
        ("flac", "matroska"),
    ],
)
def test_what_libsndfile_cannot_read_is_read_by_ffmpeg(codec, container):
    media = load_audio(encode(codec, container, rate=48_000), "clip")
    assert media.duration == pytest.approx(1.0, abs=0.1)
    assert loudest_hertz(media.samples) == pytest.approx(440, abs=3)
    assert "mean of 2 channels" in media.notes


def test_the_sound_track_of_a_video_is_taken_and_said():
    media = load_audio(encode("aac", "mp4", video=True), "film.mp4")
    assert "sound track of a video" in media.notes
    assert loudest_hertz(media.samples) == pytest.approx(440, abs=3)


def test_values_that_are_no_numbers_and_too_loud_ones(tmp_path):
    path = tmp_path / "odd.wav"
    samples = tone(440) * 20
    samples[100], samples[200] = np.nan, np.inf
    soundfile.write(path, samples, 16_000, subtype="FLOAT")
    media = load_audio(path)
    assert np.isfinite(media.samples).all()
    assert np.abs(media.samples).max() == pytest.approx(1.0)
    assert "2 values that are no numbers were silenced" in media.notes
    assert any(note.startswith("scaled down from a peak of 10") for note in media.notes)


def test_a_cut_off_file_gives_what_is_there_and_says_so(tmp_path):
    path = tmp_path / "cut.flac"
    soundfile.write(path, np.random.default_rng(0).normal(0, 0.1, 64_000), 16_000)
    path.write_bytes(path.read_bytes()[:60_000])
    media = load_audio(path)
    assert 0.5 < media.duration < 4
    assert any(note.startswith("cut off or damaged") for note in media.notes)


def test_a_cut_off_wav_says_so_but_one_of_a_pipe_does_not(tmp_path):
    path = tmp_path / "cut.wav"
    soundfile.write(path, np.random.default_rng(0).normal(0, 0.1, 64_000), 16_000)
    whole = path.read_bytes()
    path.write_bytes(whole[:64_044])
    (note,) = load_audio(path).notes
    assert note == "cut off or damaged: 2.0 of 4.0 s could be read"
    for claimed in (0, 0x7FFF_F024, 0xFFFF_FFFF):
        path.write_bytes(whole[:4] + claimed.to_bytes(4, "little") + whole[8:])
        assert load_audio(path).notes == ()


def wav_header(seconds: float, rate: int = 16_000) -> bytes:
    size = int(seconds * rate) * 2
    return (
        b"RIFF"
        + struct.pack("<I", min(size + 36, 2**32 - 1))
        + b"WAVEfmt "
        + struct.pack("<IHHIIHH", 16, 1, 1, rate, rate * 2, 2, 16)
        + b"data"
        + struct.pack("<I", min(size, 2**32 - 1))
    )


def test_hours_of_sound_are_refused_from_the_header(tmp_path):
    path = tmp_path / "long.wav"
    path.write_bytes(wav_header(10_000, 16_000))
    with path.open("r+b") as file:  # a sparse file: nothing is on the disk
        file.truncate(10_000 * 32_000 + 44)
    with pytest.raises(MediaError, match=r"long\.wav is longer than 2 hours \(2\.8 hours\); cut out"):
        load_audio(path)


BROKEN = {
    "empty.wav": b"",
    "header.wav": wav_header(1),
    "random.mp3": bytes(np.random.default_rng(1).integers(0, 256, 4000, dtype=np.uint8)),
    "text.wav": b"this is not a sound",
    "picture.wav": b"\x89PNG\r\n\x1a\n" + b"\0" * 200,
    "truncated.mp4": encode("aac", "mp4")[:300],
    "playlist.m3u8": b"#EXTM3U\n#EXT-X-TARGETDURATION:10\n#EXTINF:10,\nfile:///etc/passwd\n#EXT-X-ENDLIST\n",
    "concat.ffconcat": b"ffconcat version 1.0\nfile /etc/passwd\n",
}


@pytest.mark.parametrize("name", BROKEN)
def test_broken_files_end_in_one_sentence_that_names_them(tmp_path, name):
    path = tmp_path / name
    path.write_bytes(BROKEN[name])
    with pytest.raises(MediaError) as caught:
        load_audio(path)
    assert caught.value.message.startswith(name)
    assert any(word in caught.value.message for word in ("again", "export", "drop"))


def test_a_playlist_opens_no_other_file(tmp_path, monkeypatch):
    target = tmp_path / "secret.wav"
    soundfile.write(target, tone(440), 16_000)
    playlist = tmp_path / "list.ffconcat"
    playlist.write_text(f"ffconcat version 1.0\nfile {target}\n")
    with pytest.raises(MediaError):
        load_audio(playlist)
    playlist.write_text(f"#EXTM3U\n#EXT-X-TARGETDURATION:1\n#EXTINF:1,\n{target.as_uri()}\n#EXT-X-ENDLIST\n")
    with pytest.raises(MediaError):
        load_audio(playlist)


@pytest.mark.parametrize("container", ["wav", "flac", "mp4", "matroska", "ogg"])
def test_damaged_bytes_never_raise_anything_else(container):
    codec = {"wav": "pcm_s16le", "flac": "flac", "mp4": "aac", "matroska": "libopus", "ogg": "libopus"}[
        container
    ]
    whole = encode(codec, container, rate=48_000)
    rng = np.random.default_rng(2)
    for _ in range(25):
        data = bytearray(whole)
        for position in rng.integers(0, min(len(data), 3000), 5):
            data[position] = rng.integers(256)
        try:
            media = load_audio(bytes(data))
        except MediaError:
            continue
        assert np.isfinite(media.samples).all()


def test_the_spectrogram_is_whispers_input_in_decibels():
    from transformers import WhisperFeatureExtractor

    rng = np.random.default_rng(3)
    samples = (tone(300, 5) + tone(2500, 5, level=0.1) + rng.normal(0, 0.01, 80_000)).astype(np.float32)
    padded = np.pad(samples, (0, 480_000 - len(samples)))
    for mels in (80, 128):
        extractor = WhisperFeatureExtractor(feature_size=mels)
        theirs = extractor(samples, sampling_rate=16_000, return_tensors="np").input_features[0]
        decibels = log_mel(padded, 16_000, mels, max_frames=None).values
        np.testing.assert_allclose(decibels / 40 + 1, theirs, atol=2e-4)


def test_the_spectrogram_peaks_at_the_tone_and_its_second():
    samples = np.concatenate([np.zeros(16_000, np.float32), tone(2000), np.zeros(16_000, np.float32)])
    picture = log_mel(samples)
    assert picture.values.shape == (80, 300)
    assert picture.hop == pytest.approx(0.01)
    band = picture.values.max(axis=1).argmax()
    assert picture.centres[band] == pytest.approx(2000, rel=0.05)
    loud = np.flatnonzero(picture.values[band] > picture.values.max() - 6) * picture.hop
    assert loud.min() == pytest.approx(1.0, abs=0.02)
    assert loud.max() == pytest.approx(2.0, abs=0.02)


def test_long_sounds_are_pooled_to_the_mean_power():
    samples = np.random.default_rng(5).normal(0, 0.1, 16_000 * 90).astype(np.float32)
    fine, coarse = log_mel(samples, max_frames=None), log_mel(samples, max_frames=1_000)
    assert fine.values.shape[1] == len(samples) // HOP
    assert coarse.values.shape[1] == 1_000
    assert coarse.pooled == 9
    assert coarse.hop == pytest.approx(0.09)
    power = 10 ** (fine.values[:, :9] / 10)
    np.testing.assert_allclose(coarse.values[:, 0], 10 * np.log10(power.mean(axis=1)), atol=1e-3)


@pytest.mark.parametrize("count", [1, 150, 399, 401])
def test_the_shortest_sounds_have_a_spectrogram(count):
    assert np.isfinite(log_mel(np.ones(count, np.float32)).values).all()
