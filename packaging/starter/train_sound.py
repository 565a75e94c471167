"""Train the sound tower against the frozen text tower of an exported starter.

    python packaging/starter/train_sound.py --work WORK --whisper FOLDER --targets STARTER --out WORK/sound
    python packaging/starter/train_sound.py --work WORK --init WORK/sound --targets NEWER --out WORK/again

The lower part is Whisper's and stays as it is; what it made of the last sounds is kept, and the upper part
learns from each several times. The second form re-aligns a trained tower with another text tower. One
single-threaded process in bfloat16.
"""

from __future__ import annotations

import argparse
import json
import math
import time
from dataclasses import asdict, dataclass
from pathlib import Path

import torch
import torch.nn.functional as F  # noqa: N812 the name everyone knows
from recipe import sound_clips
from recipe.sound_batches import SoundStream
from recipe.sound_ears import take_over
from recipe.sound_replay import HeardBatch, Replay, listen
from recipe.sound_targets import Targets
from recipe.sound_tower import load_tower, save_tower
from torch.nn.attention import SDPBackend, sdpa_kernel

from mmviewer.core.models.sound.tower import SoundConfig, SoundTower

AVERAGE_DECAY = 0.995
LOG_EVERY = 100
REPLAY = "heard.pt"
FROZEN = ("conv1", "conv2", "positions", "ears")


@dataclass(frozen=True, slots=True)
class Options:
    """What a run depends on."""

    work: Path
    targets: Path
    out: Path
    whisper: Path | None = None
    init: Path | None = None
    names: Path | None = None
    seconds: float = 4000.0
    batch: int = 48
    repeats: int = 2
    kept: int = 400
    rate: float = 2e-3
    warmup: int = 100
    weight_decay: float = 0.05
    parts: float = 1.0
    captions: float = 0.5
    seed: int = 1
    save_every: float = 120.0


def losses(
    tower: SoundTower, batch: HeardBatch, targets: Targets
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Cross-entropy of named labels, of the parts, and of captions among those of the batch."""
    with sdpa_kernel(SDPBackend.MATH), torch.autocast("cpu", dtype=torch.bfloat16):
        hidden = tower.transformer(tower.begin(batch.heard.float()))  # [B, 1 + P, W]
        whole = tower.vectors(hidden[:, 0])
    scale, bank = targets.scale, targets.labels
    named = batch.label >= 0
    of_names = _cross_entropy(scale * whole[named] @ bank.T, batch.label[named])
    share = batch.part_inside.float()
    share = share / share.sum(1, keepdim=True).clamp_min(1)
    mean = torch.einsum("mp,mpw->mw", share, hidden[batch.part_row, 1:].float())
    of_parts = _cross_entropy(scale * tower.vectors(mean) @ bank.T, batch.part_label)
    return of_names, of_parts, _captions(whole, batch.captions, targets)


def _captions(whole: torch.Tensor, captions: list[str], targets: Targets) -> torch.Tensor:
    spoken = torch.tensor([bool(caption) for caption in captions])
    texts = list(dict.fromkeys(caption for caption in captions if caption))
    if not texts:
        return whole.sum() * 0
    place = {text: i for i, text in enumerate(texts)}
    bank = targets.texts(texts)  # [C, D]
    wanted = torch.tensor([place[caption] for caption in captions if caption])
    return _cross_entropy(targets.scale * whole[spoken] @ bank.T, wanted)


def _cross_entropy(logits: torch.Tensor, wanted: torch.Tensor) -> torch.Tensor:
    """0 where a batch happens to have none of a kind."""
    return F.cross_entropy(logits, wanted) if len(wanted) else logits.sum()


def _tower(options: Options, embed_dim: int) -> SoundTower:
    """A tower to begin with, its lower part frozen."""
    if options.init is not None:
        tower = load_tower(options.init)
    elif options.whisper is not None:
        tower = SoundTower(SoundConfig(embed_dim=embed_dim))
        take_over(tower, options.whisper)
    else:
        raise SystemExit("Give --whisper or --init.")
    for name, parameter in tower.named_parameters():
        parameter.requires_grad_(not name.startswith(FROZEN))
    return tower


class Run:
    """A training run and its averaged weights."""

    def __init__(self, options: Options) -> None:
        torch.set_num_threads(1)
        torch.manual_seed(options.seed)
        self.options = options
        self.targets = Targets(options.targets, options.names)
        self.tower = _tower(options, self.targets.labels.shape[1]).train()
        self.average = {k: v.detach().clone() for k, v in self.tower.state_dict().items()}
        learning = [p for p in self.tower.parameters() if p.requires_grad]
        matrices = [p for p in learning if p.ndim >= 2]
        vectors = [p for p in learning if p.ndim < 2]
        groups = [
            {"params": matrices, "weight_decay": options.weight_decay},
            {"params": vectors, "weight_decay": 0.0},
        ]
        self.optimiser = torch.optim.AdamW(groups, lr=options.rate, betas=(0.9, 0.98), fused=True)
        self.step = self.heard = 0
        self.history: list[dict[str, float]] = []
        self._files = 0
        self.stream = self._stream()
        self.replay = Replay(options.kept, options.seed)
        if options.init is not None and (options.init / REPLAY).exists():
            self.replay.load(options.init / REPLAY)

    def train(self) -> None:
        """Train until the budget of wall-clock seconds is spent, saving now and then."""
        options = self.options
        began, saved = time.monotonic(), 0.0
        recent: list[tuple[float, ...]] = []
        while (spent := time.monotonic() - began) < options.seconds:
            self._set_rate(spent / options.seconds)
            heard = listen(self.tower, next(self.stream))
            self.heard += len(heard.heard)
            self.replay.add(heard)
            for _ in range(min(options.repeats, len(self.replay))):
                recent.append(self._learn(self.replay.draw(2)))
                if self.step % LOG_EVERY == 0:
                    self._log(recent, spent)
                    recent.clear()
            if spent - saved > options.save_every:
                saved = spent
                self.save()
                if len(list((options.work / "clips").glob("*.npz"))) > self._files:
                    self.stream = self._stream()
        self.save()
        self.replay.save(options.out / REPLAY)

    def _learn(self, batch: HeardBatch) -> tuple[float, ...]:
        """One step of the upper part."""
        options = self.options
        parts = losses(self.tower, batch, self.targets)
        loss = parts[0] + options.parts * parts[1] + options.captions * parts[2]
        self.optimiser.zero_grad(set_to_none=True)
        with sdpa_kernel(SDPBackend.MATH):
            torch.autograd.backward(loss)
        torch.nn.utils.clip_grad_norm_(self.tower.parameters(), 1.0)
        self.optimiser.step()
        self.step += 1
        self._average()
        return tuple(float(part.detach()) for part in parts)

    def _stream(self) -> SoundStream:
        """Batches of the clips that are there; more may be made while the run goes on."""
        options = self.options
        self._files = len(list((options.work / "clips").glob("*.npz")))
        clips = sound_clips.read(options.work / "clips", "train")
        print(f"{len(clips.clips)} clips, {len(self.targets.names)} labels", flush=True)
        seed = options.seed * 100_000 + self.step
        return SoundStream(clips, self.targets.names, self.tower.config.mels, options.batch, seed)

    def save(self) -> None:
        """Write the averaged weights and what the run was."""
        tower = SoundTower(self.tower.config)
        tower.load_state_dict(self.average)
        save_tower(self.options.out, tower)
        told = {
            key: str(value) if isinstance(value, Path) else value
            for key, value in asdict(self.options).items()
        }
        training = {"options": told, "steps": self.step, "sounds": self.heard, "history": self.history}
        (self.options.out / "sound_training.json").write_text(
            json.dumps(training, indent=1), encoding="utf-8"
        )

    def _set_rate(self, done: float) -> None:
        cosine = 0.5 * (1 + math.cos(math.pi * min(done, 1.0)))
        rate = self.options.rate * min(1.0, (self.step + 1) / self.options.warmup) * (0.01 + 0.99 * cosine)
        for group in self.optimiser.param_groups:
            group["lr"] = rate

    @torch.no_grad()
    def _average(self) -> None:
        decay = min(AVERAGE_DECAY, (1 + self.step) / (10 + self.step))
        state = self.tower.state_dict()
        torch._foreach_lerp_([self.average[k] for k in state], list(state.values()), 1 - decay)

    def _log(self, recent: list[tuple[float, ...]], spent: float) -> None:
        names, parts, captions = (sum(column) / len(column) for column in zip(*recent, strict=True))
        entry = {"seconds": spent, "sounds": self.heard, "names": names, "parts": parts, "captions": captions}
        self.history.append({key: round(value, 3) for key, value in entry.items()})
        print(
            f"step {self.step} sounds {self.heard} seconds {spent:.0f} per second {self.heard / spent:.0f} "
            f"names {names:.3f} parts {parts:.3f} captions {captions:.3f}",
            flush=True,
        )


def main() -> None:
    """Read the arguments and train."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    for name in ("work", "targets", "out"):
        parser.add_argument(f"--{name}", type=Path, required=True)
    parser.add_argument("--whisper", type=Path, help="folder of whisper-tiny.en, for the lower part")
    parser.add_argument("--init", type=Path, help="folder with a trained tower to go on from")
    parser.add_argument("--names", type=Path, help="labels.txt, where it is not that of --targets")
    for name in ("seconds", "rate", "parts", "captions"):
        parser.add_argument(f"--{name}", type=float, default=Options.__dataclass_fields__[name].default)
    for name in ("batch", "repeats", "seed"):
        parser.add_argument(f"--{name}", type=int, default=Options.__dataclass_fields__[name].default)
    Run(Options(**vars(parser.parse_args()))).train()


if __name__ == "__main__":
    main()
