"""Train the starter model on composed scenes.

``python packaging/starter/train.py --work FOLDER --out FOLDER/run --seconds 5400``

On a CPU run one process for each core (each single-threaded, in bfloat16); where CUDA is there, one on it.
A run that was stopped goes on from its last checkpoint with ``--resume``.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import time
from dataclasses import asdict, dataclass, fields, replace
from pathlib import Path
from typing import Any, NamedTuple

import torch
import torch.distributed as dist
import torch.nn.functional as F  # noqa: N812 the name everyone knows
from open_clip.coca_model import CoCa
from recipe.alignment import LabelBank, alignment_loss, region_vectors
from recipe.batches import Batch, SceneStream
from recipe.bpe import write_bpe
from recipe.coca import BPE_NAME, build, config, load_folder, normalise, tokenizer
from recipe.crossattention import recorded
from recipe.metrics import Probe
from recipe.scenes import label_prompt
from recipe.sprites import load_index
from torch.multiprocessing.spawn import spawn
from torch.nn.attention import SDPBackend, sdpa_kernel

MIN_MASS = 1e-4
AVERAGE_DECAY = 0.998
LOG_EVERY = 50
_FUSED = [SDPBackend.EFFICIENT_ATTENTION, SDPBackend.MATH]


@dataclass(frozen=True, slots=True)
class Options:
    """What a run depends on; saved in its checkpoints."""

    work: Path
    out: Path
    init: Path | None = None
    seconds: float = 5400.0
    processes: int = 2
    batch: int = 64
    rate: float = 1e-3
    warmup: int = 150
    weight_decay: float = 0.05
    caption: float = 4.0
    guide: float = 0.3
    guide_layer: int = 2
    align: float = 1.0
    restyled: float = 0.15
    seed: int = 1
    checkpoint_every: float = 300.0
    port: int = 29611
    resume: bool = False


class Losses(NamedTuple):
    """The parts of the loss, before they are weighted."""

    contrastive: torch.Tensor
    captioning: torch.Tensor
    guidance: torch.Tensor
    alignment: torch.Tensor

    def total(self, options: Options) -> torch.Tensor:
        """The weighted sum."""
        return (
            self.contrastive
            + options.caption * self.captioning
            + options.guide * self.guidance
            + options.align * self.alignment
        )


def losses(model: CoCa, batch: Batch, bank: LabelBank, options: Options) -> Losses:
    """The losses of one batch, which lies where the model does."""
    device = batch.images.device
    with (
        sdpa_kernel(SDPBackend.MATH if device.type == "cpu" else _FUSED),
        torch.autocast(device.type, dtype=torch.bfloat16),
        recorded(model, [options.guide_layer]) as maps,
    ):
        pictures, patches = model._encode_image(normalise(batch.images))
        texts, words = model._encode_text(batch.tokens)
        # The decoder is causal: what comes after the longest caption changes nothing before it.
        longest = int((batch.tokens != 0).sum(1).max())
        logits = model.text_decoder(patches, words[:, : longest - 1])  # [B, longest - 1, V]
        prompts = bank.vectors(model, device)
    labels = batch.tokens[:, 1:longest]
    captioning = F.cross_entropy(logits.flatten(0, 1).float(), labels.flatten(), ignore_index=0)
    attention = maps[options.guide_layer].mean(1)  # [B, T, P], mean over heads
    at_nouns = attention[batch.noun_row[batch.position_noun], batch.position]  # [M, P]
    mass = (at_nouns * batch.noun_inside[batch.position_noun]).sum(-1)
    guidance = -mass.clamp_min(MIN_MASS).log().mean()
    return Losses(
        _contrastive(pictures.float(), texts.float(), model.logit_scale.exp(), batch.tokens),
        captioning,
        guidance,
        _alignment(model, batch, pictures, patches, prompts),
    )


def _alignment(
    model: CoCa, batch: Batch, pictures: torch.Tensor, patches: torch.Tensor, prompts: torch.Tensor
) -> torch.Tensor:
    """Regions with their labels, and whole pictures with theirs where they show one kind of thing."""
    scale = model.logit_scale.detach().exp()
    regions = region_vectors(model, patches, batch.noun_row, batch.noun_inside)
    of_regions = alignment_loss(regions, batch.noun_label, prompts, scale)
    nouns_in_row = torch.bincount(batch.noun_row, minlength=len(pictures))
    alone = nouns_in_row[batch.noun_row] == 1
    whole = pictures[batch.noun_row[alone]].float()
    return (of_regions + alignment_loss(whole, batch.noun_label[alone], prompts, scale)) / 2


def _contrastive(
    pictures: torch.Tensor, texts: torch.Tensor, scale: torch.Tensor, tokens: torch.Tensor
) -> torch.Tensor:
    """Symmetric cross-entropy over the batch; another row with the very same caption is no negative."""
    logits = scale * pictures @ texts.T  # [B, B]
    same = (tokens[:, None] == tokens[None]).all(-1)
    same.fill_diagonal_(False)
    logits = logits.masked_fill(same, float("-inf"))
    target = torch.arange(len(tokens), device=tokens.device)
    return (F.cross_entropy(logits, target) + F.cross_entropy(logits.T, target)) / 2


def _optimiser(model: CoCa, options: Options) -> torch.optim.AdamW:
    matrices = [p for p in model.parameters() if p.ndim >= 2]
    vectors = [p for p in model.parameters() if p.ndim < 2]
    groups = [
        {"params": matrices, "weight_decay": options.weight_decay},
        {"params": vectors, "weight_decay": 0.0},
    ]
    return torch.optim.AdamW(groups, lr=options.rate, betas=(0.9, 0.98), fused=True)


def _all_reduce(parameters: list[torch.nn.Parameter], done: float, processes: int) -> float:
    """Mean gradients over the processes, and their mean share of the budget, so that all stop at one step."""
    if processes == 1:
        return done
    gradients = [torch.zeros_like(p) if p.grad is None else p.grad for p in parameters]
    flat = torch.cat([*(g.reshape(-1) for g in gradients), torch.tensor([done])])
    dist.all_reduce(flat)
    flat /= processes
    offset = 0
    for parameter in parameters:
        parameter.grad = flat[offset : offset + parameter.numel()].view_as(parameter)
        offset += parameter.numel()
    return float(flat[-1])


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
        self.model = build(self.config, options.seed).to(self.device)
        self.step, self.spent = 0, 0.0
        self.history: list[dict[str, Any]] = []
        if options.init is not None:
            self.model.load_state_dict(load_folder(options.init)[0].state_dict())
        self.average = {k: v.detach().clone() for k, v in self.model.state_dict().items()}
        self.optimiser = _optimiser(self.model, options)
        if options.resume:
            self._restore()
        stream = SceneStream(
            options.work, bpe, options.batch, options.seed * 1000 + self.step * 10 + rank, options.restyled
        )
        self.batches = iter(
            torch.utils.data.DataLoader(stream, batch_size=None, num_workers=1, prefetch_factor=4)
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
        parameters = list(self.model.parameters())
        next_checkpoint = self.spent + options.checkpoint_every
        done, began = self.spent / options.seconds, time.monotonic() - self.spent
        recent: list[tuple[float, ...]] = []
        while done < 1:
            self._set_rate(done)
            parts = losses(self.model, next(self.batches).to(self.device), self.bank, options)
            loss = parts.total(options)
            self.optimiser.zero_grad(set_to_none=True)
            with sdpa_kernel(SDPBackend.MATH):
                torch.autograd.backward(loss)
            done = _all_reduce(parameters, (time.monotonic() - began) / options.seconds, options.processes)
            torch.nn.utils.clip_grad_norm_(parameters, 1.0)
            self.optimiser.step()
            self.step += 1
            self._after_step()
            recent.append(tuple(float(part.detach()) for part in parts))
            if self.rank == 0 and self.step % LOG_EVERY == 0:
                self._log(recent, done)
                recent.clear()
            if done * options.seconds >= next_checkpoint or done >= 1:
                next_checkpoint += options.checkpoint_every
                self.spent = done * options.seconds
                if probe is not None:
                    self._save(probe)

    def _set_rate(self, done: float) -> None:
        options = self.options
        cosine = 0.5 * (1 + math.cos(math.pi * min(done, 1.0)))
        rate = options.rate * min(1.0, (self.step + 1) / options.warmup) * (0.01 + 0.99 * cosine)
        for group in self.optimiser.param_groups:
            group["lr"] = rate

    @torch.no_grad()
    def _after_step(self) -> None:
        self.model.logit_scale.clamp_(0, math.log(100))
        decay = min(AVERAGE_DECAY, (1 + self.step) / (10 + self.step))
        state = self.model.state_dict()
        torch._foreach_lerp_([self.average[k] for k in state], list(state.values()), 1 - decay)

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
        measured = build(self.config)
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
            "optimiser": self.optimiser.state_dict(),
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
        self.optimiser.load_state_dict(state["optimiser"])
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
        flag = "--" + field.name.replace("_", "-")
        if field.name in ("work", "out"):
            parser.add_argument(flag, type=Path, required=True)
        elif field.name == "init":
            parser.add_argument(flag, type=Path, help="exported folder to start from; its vocabulary is used")
        elif field.name == "resume":
            parser.add_argument(flag, action="store_true")
        else:
            parser.add_argument(flag, type=type(field.default), default=field.default)
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
        spawn(_worker, args=(options,), nprocs=options.processes)
    else:
        _worker(0, options)


if __name__ == "__main__":
    main()
