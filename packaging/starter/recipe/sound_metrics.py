"""What the sound tower knows: spoken names, real sounds, retrieval to pictures and texts, words in time.

``python -m recipe.sound_metrics MODEL --work WORK`` (in ``packaging/starter``) prints the figures, and
evaluate.py calls `measure`. No voice, instrument or recording that is measured on here was trained on, but
for the group "trained voices".
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from mmviewer.core.explain.base import explain
from mmviewer.core.models.base import LoadedModel
from mmviewer.core.models.loader import load_model
from mmviewer.core.models.sound.features import RATE, spectrogram
from mmviewer.core.models.sound.tower import SoundTower
from mmviewer.core.tasks.query import query_sequence
from mmviewer.core.types import MapSpec, Media, Modality
from recipe import sound_clips
from recipe.encoded import Encoder
from recipe.metrics import plain_singles
from recipe.retrieval import retrieval
from recipe.sound_clips import Clip, Clips
from recipe.sound_rooms import colour_noise
from recipe.sound_targets import Targets
from recipe.sound_tower import load_tower
from recipe.sprites import load_index, load_sprites

NOISE_DB = 10
RIVALS = 100
POINTING_METHODS = ("gradient_attention", "grad_eclip", "attention")
GROUPS: Mapping[str, tuple[str, tuple[str, ...]]] = {
    "trained voices": ("train", ("espeak:", "flite:", "festival:", "hibari:", "kokoro:")),
    "espeak, unheard variants": ("test", ("espeak:",)),
    "flite, unheard voice": ("test", ("flite:",)),
    "kokoro, unheard voices": ("test", ("kokoro:",)),
    "piper, unheard engine": ("test", ("piper:",)),
    "people (Tux Paint)": ("test", ("stamps:people",)),
}
SOUNDS: Mapping[str, tuple[str, ...]] = {
    "instruments of another sound font": ("timgm:",),
    "real animals and things (Tux Paint)": ("stamps:",),
}
_MOST = 342
_SEED = 5


@dataclass(frozen=True, slots=True, eq=False)
class _Bench:
    """The towers and the clips that are measured on."""

    targets: Targets
    tower: SoundTower
    clips: Path

    def vectors(self, sounds: Sequence[np.ndarray]) -> torch.Tensor:
        """Unit vectors [N, D] of sounds of 16 kHz."""
        config = self.tower.config
        with torch.no_grad():
            mels = (torch.from_numpy(spectrogram(samples, config))[None] for samples in sounds)
            return torch.cat([self.tower(mel) for mel in mels])


def measure(folder: Path, work: Path, quick: bool = False, pictures: str = "twemoji") -> dict[str, Any]:
    """Figures of the sound tower in a model folder, each beside chance.

    Parameters
    ----------
    folder
        An exported starter with a sound tower.
    work
        Holds the clips of fetch_sounds.py and the sprites of fetch.py.
    quick
        Fewer clips and sentences.
    pictures
        The held-out style whose single drawings stand for pictures.
    """
    bench = _Bench(Targets(folder), load_tower(folder), work / "clips")
    most = 60 if quick else _MOST
    spoken = {name: _spoken(bench, use, voices, most) for name, (use, voices) in GROUPS.items()}
    found = {
        "labels": len(bench.targets.names),
        "noise_db": NOISE_DB,
        "spoken_names": {name: figures for name, figures in spoken.items() if figures},
        "sounds": {name: _sounds(bench, voices) for name, voices in SOUNDS.items()},
        "retrieval": _retrieval(bench, work, pictures),
        "pointing": _pointing(bench, load_model(str(folder), device="cpu"), 8 if quick else 40),
    }
    return {**found, "figures": _figures(found)}


def _figures(found: Mapping[str, Any]) -> list[dict[str, Any]]:
    """The few that stand in the app's model panel."""
    rows = []
    heard = found["spoken_names"].get("piper, unheard engine")
    if heard:
        note = f"{heard['clips']} names by a voice engine never trained on, among {found['labels']} labels"
        rows.append(_figure("Spoken name, top 1", heard["top1"], heard["top1_chance"], note))
    to_image = found["retrieval"].get("sound to image")
    if to_image:
        note = "spoken name to its drawing (Twemoji), among 100; voice and style never trained on"
        rows.append(_figure("Spoken name to picture, R@1", to_image["r1"], to_image["r1_chance"], note))
    real = found["sounds"].get("real animals and things (Tux Paint)")
    if real:
        note = f"{real['clips']} recordings of animals and things never trained on"
        rows.append(_figure("Real sound, top 1", real["top1"], real["top1_chance"], note))
    pointing = found["pointing"]
    if pointing.get("words"):
        note = "gradient x attention is highest while the word is said, in two-word sentences"
        rows.append(_figure("Word found in time", pointing["gradient_attention"], pointing["chance"], note))
    return rows


def _figure(name: str, value: float, chance: float, note: str) -> dict[str, Any]:
    return {"name": name, "value": value, "chance": round(chance, 4), "unit": "share", "note": note}


def _spoken(bench: _Bench, use: str, voices: tuple[str, ...], most: int) -> dict[str, float]:
    """Names said by voices, clean and in noise."""
    clips = _names(sound_clips.read(bench.clips, use, voices), bench.targets.names, most)
    if not clips.clips:
        return {}
    sounds = [samples.astype(np.float32) / 32768 for samples in clips.samples]
    generator = np.random.default_rng(_SEED)
    noisy = [_in_noise(samples, generator) for samples in sounds]
    clean = _ranks(bench, clips.clips, sounds)
    return {
        "clips": len(sounds),
        "top1": _share(clean < 1),
        "top5": _share(clean < 5),
        "noisy_top1": _share(_ranks(bench, clips.clips, noisy) < 1),
        "top1_chance": 1 / len(bench.targets.names),
    }


def _names(clips: Clips, labels: Sequence[str], most: int) -> Clips:
    """Clips that say one label and nothing else of weight, at most `most` of them, drawn evenly."""
    known = set(labels)
    rows = [
        row
        for row, clip in enumerate(clips.clips)
        if len(clip.nouns) == 1 and clip.nouns[0] in known and _said(clip).endswith(clip.nouns[0])
    ]
    chosen = np.random.default_rng(_SEED).permutation(len(rows))[:most]
    return clips.chosen(rows[i] for i in sorted(chosen))


def _said(clip: Clip) -> str:
    return clip.text.lower().strip(" .!")


def _in_noise(samples: np.ndarray, generator: np.random.Generator) -> np.ndarray:
    """A sound in noise `NOISE_DB` below it, which goes on for a quarter of a second on both sides."""
    padded = np.pad(samples, RATE // 4)
    level = float(np.sqrt((samples**2).mean()))
    noise = colour_noise(1, len(padded), generator)[0]
    return (padded + noise * level * 10 ** (-NOISE_DB / 20)).astype(np.float32)


def _ranks(bench: _Bench, clips: Sequence[Clip], sounds: Sequence[np.ndarray]) -> torch.Tensor:
    """How many labels are nearer to each sound than its own."""
    place = {name: i for i, name in enumerate(bench.targets.names)}
    wanted = torch.tensor([place[clip.nouns[0]] for clip in clips])
    scores = bench.vectors(sounds) @ bench.targets.labels.T  # [N, L]
    return (scores > scores.gather(1, wanted[:, None])).sum(1)


def _sounds(bench: _Bench, voices: tuple[str, ...]) -> dict[str, Any]:
    """Sounds that are no speech, among all labels."""
    clips = sound_clips.read(bench.clips, "test", voices)
    known = set(bench.targets.names)
    clips = clips.chosen(
        row for row, clip in enumerate(clips.clips) if not clip.text and clip.nouns[0] in known
    )
    if not clips.clips:
        return {}
    sounds = [samples.astype(np.float32) / 32768 for samples in clips.samples]
    ranks = _ranks(bench, clips.clips, sounds)
    right = {clip.nouns[0] for clip, rank in zip(clips.clips, ranks.tolist(), strict=True) if rank < 1}
    return {
        "clips": len(sounds),
        "top1": _share(ranks < 1),
        "top5": _share(ranks < 5),
        "top1_chance": 1 / len(known),
        "right": sorted(right),
    }


def _retrieval(bench: _Bench, work: Path, style: str) -> dict[str, Any]:
    """Recall at 1 and 5 among 100 things between sounds, pictures and texts, each way."""
    concepts, labels = load_index(work)
    singles = plain_singles(load_sprites(work, style), labels)
    drawn = {concepts[labels[target]].name: row for row, target in enumerate(singles.targets.tolist())}
    clips = _names(sound_clips.read(bench.clips, "test", ("piper:",)), bench.targets.names, 10**6)
    said = {clip.nouns[0]: row for row, clip in enumerate(clips.clips)}
    both = [name for name in bench.targets.names if name in drawn and name in said]
    chosen = [both[i] for i in np.random.default_rng(_SEED).permutation(len(both))[:RIVALS]]
    sounds = bench.vectors([clips.samples[said[name]].astype(np.float32) / 32768 for name in chosen])
    images = Encoder(bench.targets.model, bench.targets.tokens).images(
        singles.images[[drawn[name] for name in chosen]]
    )
    texts = bench.targets.labels[[bench.targets.names.index(name) for name in chosen]]
    kinds = {"sound": sounds, "image": images.vectors, "text": texts}
    ways = (("sound", "image"), ("image", "sound"), ("sound", "text"), ("text", "sound"))
    return {
        f"{one} to {other}": asdict(retrieval(kinds[one], kinds[other], chosen, chosen))
        for one, other in ways
    }


def _pointing(bench: _Bench, model: LoadedModel, sentences: int) -> dict[str, Any]:
    """Whether the map of a word is highest while the word is heard, in sentences put together from parts."""
    clips = _names(sound_clips.read(bench.clips, "test", ("piper:",)), bench.targets.names, 10**6)
    generator = np.random.default_rng(_SEED)
    hits: dict[str, list[bool]] = {method: [] for method in POINTING_METHODS}
    chance: list[float] = []
    for number in range(sentences):
        first, second = (int(i) for i in generator.choice(len(clips.clips), 2, replace=False))
        samples, spans = _sentence(clips, first, second)
        media = Media(f"sentence {number}", Modality.AUDIO, f"sentence {number}", samples=samples)
        prepared = model.prepare(media)
        for index, span in zip((first, second), spans, strict=True):
            noun = clips.clips[index].nouns[0]
            sequence = query_sequence(model, media.id, noun)
            chance.append((span[1] - span[0]) / media.duration)
            for method in POINTING_METHODS:
                maps = explain(model, prepared, sequence, MapSpec(method))
                values = maps.whole if maps.whole is not None else maps.values.mean(0)
                peak = prepared.geometry.start + (int(values.argmax()) + 0.5) * prepared.geometry.step  # type: ignore[union-attr]
                hits[method].append(span[0] <= peak < span[1])
    return {
        "words": len(chance),
        "chance": round(float(np.mean(chance)), 4) if chance else 0.0,
        **{method: round(float(np.mean(each)), 4) for method, each in hits.items() if each},
    }


def _sentence(clips: Clips, first: int, second: int) -> tuple[np.ndarray, list[tuple[float, float]]]:
    """Two names with a pause between them, and when each is said."""
    gap = np.zeros(RATE // 4, np.float32)
    one, other = (clips.samples[i].astype(np.float32) / 32768 for i in (first, second))
    start = (len(gap) + len(one) + len(gap)) / RATE
    spans = [(len(gap) / RATE, (len(gap) + len(one)) / RATE), (start, start + len(other) / RATE)]
    return np.concatenate([gap, one, gap, other, gap]), spans


def _share(hits: torch.Tensor) -> float:
    return round(float(hits.float().mean()), 4)


def main() -> None:
    """Print the figures as JSON."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("model", type=Path)
    parser.add_argument("--work", type=Path, required=True)
    parser.add_argument("--quick", action="store_true")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    print(json.dumps(measure(arguments.model, arguments.work, arguments.quick), indent=1))


if __name__ == "__main__":
    main()
