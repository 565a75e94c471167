"""Make the sounds of the sample session: two spoken texts and a real sound.

    python packaging/starter/sound_samples.py --work WORK --out resources/samples --licences LICENSES.md

WORK is that of fetch_sounds.py. The voice is Piper's "joe" (recordings CC0), which was never trained on; the
real sound is a sample of Sonic Pi that its author gave to the public domain (CC0).
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
import soundfile
from recipe.sound_effects import read
from recipe.sound_sources import with_section
from recipe.voices import RATE, Saying, speak, voices

SPOKEN = {
    "spoken-dog.wav": "a dog",
    "spoken-guitar-and-owl.wav": "a guitar and an owl",
}
REAL = {"sound-guitar.wav": "guit_em9"}
_SILENCE = RATE // 5


def main() -> None:
    """Write the files."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--work", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--licences", type=Path, help="LICENSES.md whose section on sound is renewed")
    arguments = parser.parse_args()
    (joe,) = voices("piper")
    for name, text in SPOKEN.items():
        (samples,) = speak([Saying(text, joe, pace=0.9)])
        _write(arguments.out / name, samples)
    sounds = {path.stem: path for path in (arguments.work / "sounds" / "sonic-pi-samples").rglob("*.flac")}
    for name, sample in REAL.items():
        _write(arguments.out / name, read(sounds[sample]))
    if arguments.licences is not None:
        document = arguments.licences.read_text(encoding="utf-8")
        arguments.licences.write_text(with_section(document), encoding="utf-8")


def _write(path: Path, samples: np.ndarray) -> None:
    soundfile.write(path, np.pad(samples, _SILENCE), RATE, subtype="PCM_16")


if __name__ == "__main__":
    main()
