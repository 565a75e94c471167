"""Train the starter model on composed scenes.

``python packaging/starter/train.py --work FOLDER --out FOLDER/run --seconds 5400``

On a CPU run one process for each core (each single-threaded, in bfloat16); where CUDA is there, one on it.
A run that was stopped goes on from its last checkpoint with ``--resume``.
"""

from __future__ import annotations

import argparse
import copy
import json
import math
import os
import time
from dataclasses import asdict, dataclass, fields, replace
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist
from open_clip.coca_model import CoCa
from recipe.alignment import LabelBank
from recipe.batches import SceneStream, StreamOptions, preload
from recipe.bpe import write_bpe
from recipe.coca import BPE_NAME, GUIDED_LAYER, build, config, tokenizer, warm_start
from recipe.forward import encode_images
from recipe.losses import Losses, Weights, losses
from recipe.metrics import Probe
from recipe.scenes import label_prompt
from recipe.sprites import load_index
from recipe.stem import STEM, stem_of
from torch.multiprocessing.spawn import start_processes

AVERAGE_DECAY = 0.998
LOG_EVERY = 50


@dataclass(frozen=True, slots=True)
class Options:
    """What a run depends on; saved in its checkpoints."""

    work: Path
    out: Path
    init: Path | None = None
    seconds: float = 5400.0
    processes: int = 2
    workers: int = 1
    stem: str = STEM
    package: Path | None = None
    fresh: float = 0.5
    pool: int = 1024
    batch: int = 64
    rate: float = 1e-3
    warmup: int = 150
    weight_decay: float = 0.05
    muon: bool = False
    compile: bool = False
    caption: float = 4.0
    answer: float = 2.0
    guide: float = 0.3
    guide_layer: int = GUIDED_LAYER
    align: float = 1.0
    kept: float = 0.65
    kept_until: float = 0.8
    freeze_text: float = 1.0
    restyled: float = 0.15
    seed: int = 1
    checkpoint_every: float = 300.0
    port: int = 29611
    resume: bool = False

    @property
    def weights(self) -> Weights:
        """How much each part of the loss counts."""
        return Weights(1.0, self.caption, self.answer, self.guide, self.align)


HELP = {
    "init": "exported folder to start from; its vocabulary is used",
    "seconds": "budget of wall-clock time, over which the rate falls to nothing",
    "processes": "training processes on the CPU, one thread each",
    "stem": "convolutional network in place of the patch embedding; empty for none",
    "package": "folder of the package that brings the stem's weights; needed unless --init brings them",
    "fresh": "with a stem: share of a batch that is drawn anew, the rest comes from the pool",
    "pool": "with a stem: scenes that are kept for another use, in each worker",
    "workers": "processes that make scenes, for each training process",
    "batch": "pictures in a step of one process",
    "muon": "Muon instead of AdamW for the matrices inside the layers",
    "compile": "compile the picture tower; pays on a GPU",
    "kept": "share of each picture's patches that is computed",
    "kept_until": "share of the budget after which all patches are",
    "freeze_text": "share of the budget after which the text tower stays as it is",
    "restyled": "share of the sprites whose style is changed at random",
}


def _optimisers(model: CoCa, options: Options) -> list[torch.optim.Optimizer]:
    """AdamW; where Muon is wished, that for the matrices inside the layers."""
    inner = {
        id(p)
        for name, p in model.named_parameters()
        if options.muon and p.ndim == 2 and (".resblocks." in name or ".cross_attn." in name)
    }
    matrices = [p for p in model.parameters() if p.ndim >= 2 and id(p) not in inner]
    vectors = [p for p in model.parameters() if p.ndim < 2]
    groups = [
        {"params": matrices, "weight_decay": options.weight_decay},
        {"params": vectors, "weight_decay": 0.0},
    ]
    found: list[torch.optim.Optimizer] = [
        torch.optim.AdamW(groups, lr=options.rate, betas=(0.9, 0.98), fused=True)
    ]
    if inner:
        hidden = [p for p in model.parameters() if id(p) in inner]
        found.append(
            torch.optim.Muon(
                hidden,
                lr=options.rate,
                weight_decay=options.weight_decay,
                adjust_lr_fn="match_rms_adamw",
            )
        )
    return found


def _all_reduce(parameters: list[torch.nn.Parameter], done: float, processes: int) -> float:
    """Mean gradients over the processes, and their mean share of the budget, so that all stop at one step."""
    if processes == 1:
        return done
    gradients = [torch.zeros_like(p) if p.grad is None else p.grad for p in parameters]
    flat = torch.cat([g.reshape(-1).bfloat16() for g in gradients])
    share = torch.tensor([done])
    dist.all_reduce(flat)
    dist.all_reduce(share)
    offset = 0
    for parameter in parameters:
        part = flat[offset : offset + parameter.numel()]
        parameter.grad = part.view_as(parameter).float().div_(processes)
        offset += parameter.numel()
    return float(share) / processes


class Run:
    """One process of a training run."""

    def __init__(self, rank: int, options: Options) -> None:
        self.rank, self.options = rank, options
        self.device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
        bpe = options.out / BPE_NAME
        self.tokens = tokenizer(bpe)
        self.config = config(self.tokens.vocab_size)
        concepts, labels = load_index(options.work)
        self.bank = LabelBank(self.tokens, [label_prompt(concepts[i]) for i in labels])
        self.stem = options.stem or None
        self.model = build(self.config, options.seed, stem=self.stem, package=options.package)
        self.step, self.spent = 0, 0.0
        self.history: list[dict[str, Any]] = []
        if options.init is not None:
            own = warm_start(self.model, options.init)
            if rank == 0 and own:
                print(f"not in {options.init}: {', '.join(n for n in own if '.trunk.' not in n)}", flush=True)
        self.model.to(self.device)
        self.average = {k: v.detach().clone() for k, v in self.model.state_dict().items()}
        self.averaged = [name for name, p in self.model.named_parameters() if p.requires_grad]
        self.optimisers = _optimisers(self.model, options)
        if options.resume:
            self._restore()
        self.encode = torch.compile(encode_images) if options.compile else encode_images
        self.batches = iter(
            torch.utils.data.DataLoader(
                self._stream(bpe),
                batch_size=None,
                num_workers=options.workers,
                prefetch_factor=4,
                pin_memory=self.device.type == "cuda",
            )
        )

    def _stream(self, bpe: Path) -> SceneStream:
        """Scenes, with the stem's features where the CPU trains: a GPU computes them faster itself."""
        options = self.options
        seed = options.seed * 100_000 + self.step * 10 + self.rank
        stem = stem_of(self.model) if self.device.type == "cpu" else None
        return SceneStream(
            StreamOptions(
                options.work, bpe, options.batch, seed, options.restyled, options.pool, options.fresh
            ),
            copy.deepcopy(stem),
        )

    @property
    def checkpoint(self) -> Path:
        """The file of the last checkpoint."""
        return self.options.out / "checkpoint.pt"

    @property
    def images(self) -> int:
        """Scenes trained on so far, over all processes."""
        return self.step * self.options.batch * self.options.processes

    def train(self) -> None:
        """Train until the budget of wall-clock seconds is spent."""
        options = self.options
        probe = Probe(options.work, self.tokens) if self.rank == 0 else None
        next_checkpoint = self.spent + options.checkpoint_every
        done, began = self.spent / options.seconds, time.monotonic() - self.spent
        recent: list[tuple[float, ...]] = []
        while done < 1:
            if done >= options.freeze_text and not self._text_is_frozen:
                self._freeze_text()
                next_checkpoint = 0.0
            parts = self._step(done)
            done = self._reduced((time.monotonic() - began) / options.seconds)
            self._update()
            recent.append(tuple(float(part.detach()) for part in parts))
            if self.rank == 0 and self.step % LOG_EVERY == 0:
                self._log(recent, done)
                recent.clear()
            if done * options.seconds >= next_checkpoint or done >= 1:
                self.spent = done * options.seconds
                next_checkpoint = self.spent + options.checkpoint_every
                if probe is not None:
                    self._save(probe)

    def _step(self, done: float) -> Losses:
        """Forward and backward."""
        options = self.options
        self._set_rate(done)
        kept = options.kept if done < options.kept_until else 1.0
        batch = next(self.batches).to(self.device)
        parts = losses(
            self.model,
            batch,
            self.bank,
            guide_layer=options.guide_layer,
            kept=kept,
            encode=self.encode,
        )
        self.model.zero_grad(set_to_none=True)
        torch.autograd.backward(parts.total(options.weights))
        return parts

    def _reduced(self, done: float) -> float:
        return _all_reduce(self._parameters(), done, self.options.processes)

    def _update(self) -> None:
        torch.nn.utils.clip_grad_norm_(self._parameters(), 1.0)
        for optimiser in self.optimisers:
            optimiser.step()
        self.step += 1
        self._after_step()

    def _parameters(self) -> list[torch.nn.Parameter]:
        return [p for p in self.model.parameters() if p.requires_grad]

    @property
    def _text_is_frozen(self) -> bool:
        return not self.model.text.cls_emb.requires_grad

    def _freeze_text(self) -> None:
        """The averaged text tower becomes the text tower, and stays."""
        names = [name for name in self.average if name.startswith("text.")]
        self.model.load_state_dict({name: self.average[name] for name in names}, strict=False)
        self.model.text.requires_grad_(False)

    def _set_rate(self, done: float) -> None:
        options = self.options
        cosine = 0.5 * (1 + math.cos(math.pi * min(done, 1.0)))
        rate = options.rate * min(1.0, (self.step + 1) / options.warmup) * (0.01 + 0.99 * cosine)
        for optimiser in self.optimisers:
            for group in optimiser.param_groups:
                group["lr"] = rate

    @torch.no_grad()
    def _after_step(self) -> None:
        self.model.logit_scale.clamp_(0, math.log(100))
        decay = min(AVERAGE_DECAY, (1 + self.step) / (10 + self.step))
        state = self.model.state_dict()
        torch._foreach_lerp_(
            [self.average[k] for k in self.averaged], [state[k] for k in self.averaged], 1 - decay
        )

    def _log(self, recent: list[tuple[float, ...]], done: float) -> None:
        means = Losses(*(torch.tensor(part).mean() for part in zip(*recent, strict=True)))
        images, seconds = self.images, done * self.options.seconds
        print(
            f"step {self.step} images {images} done {done:.3f} per second {images / seconds:.0f} "
            + " ".join(f"{name} {value:.3f}" for name, value in means._asdict().items()),
            flush=True,
        )

    def _save(self, probe: Probe) -> None:
        """Measure the averaged weights on the styles never trained on, and write a checkpoint whole."""
        measured = build(self.config, stem=self.stem)
        measured.load_state_dict({k: v.cpu() for k, v in self.average.items()})
        self.history.append(
            {
                "step": self.step,
                "seconds": round(self.spent),
                "images": self.images,
                **probe.measure(measured),
            }
        )
        print("PROBE", json.dumps(self.history[-1]), flush=True)
        state = {
            "model": self.model.state_dict(),
            "average": self.average,
            "optimisers": [optimiser.state_dict() for optimiser in self.optimisers],
            "config": self.config,
            "options": {k: str(v) if isinstance(v, Path) else v for k, v in asdict(self.options).items()},
            "history": self.history,
            "step": self.step,
            "spent": self.spent,
        }
        partial = self.checkpoint.with_suffix(".partial")
        torch.save(state, partial)
        partial.replace(self.checkpoint)

    def _restore(self) -> None:
        state = torch.load(self.checkpoint, map_location=self.device, weights_only=True)
        self.model.load_state_dict(state["model"])
        for optimiser, saved in zip(self.optimisers, state["optimisers"], strict=True):
            optimiser.load_state_dict(saved)
        self.average, self.history = state["average"], state["history"]
        self.step, self.spent = state["step"], state["spent"]


def _worker(rank: int, options: Options) -> None:
    if not torch.cuda.is_available():
        torch.set_num_threads(1)
    if options.processes > 1:
        os.environ.update(MASTER_ADDR="127.0.0.1", MASTER_PORT=str(options.port))
        dist.init_process_group("gloo", rank=rank, world_size=options.processes)
    Run(rank, options).train()
    if options.processes > 1:
        dist.destroy_process_group()


def _parse() -> Options:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    for field in fields(Options):
        flag, told = "--" + field.name.replace("_", "-"), HELP.get(field.name)
        if field.name in ("work", "out"):
            parser.add_argument(flag, type=Path, required=True)
        elif field.name in ("init", "package"):
            parser.add_argument(flag, type=Path, help=told)
        elif isinstance(field.default, bool):
            parser.add_argument(flag, action="store_true", help=told)
        else:
            parser.add_argument(flag, type=type(field.default), default=field.default, help=told)
    return Options(**vars(parser.parse_args()))


def main() -> None:
    """Parse the command line and train."""
    options = _parse()
    options.out.mkdir(parents=True, exist_ok=True)
    bpe = options.out / BPE_NAME
    if options.init is not None:
        bpe.write_bytes((options.init / BPE_NAME).read_bytes())
    elif not bpe.exists():
        write_bpe(bpe, load_index(options.work)[0])
    if torch.cuda.is_available():
        options = replace(options, processes=1)
    if options.processes > 1:
        preload(options.work)
        start_processes(_worker, args=(options,), nprocs=options.processes, start_method="fork")
    else:
        _worker(0, options)


if __name__ == "__main__":
    main()
