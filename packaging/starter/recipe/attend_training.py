"""How Show, Attend and Tell learns: the loss of a batch, and a run with its checkpoints."""

from __future__ import annotations

import math
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from mmviewer.core.models.sat.network import ShowAttendTell, Sizes, doubly_stochastic
from mmviewer.core.models.sat.words import Words
from recipe.attend_scenes import (
    SIDE,
    STYLES,
    Batch,
    Eyes,
    Pool,
    caption_words,
    one_of_each,
    read_things,
    scene_generator,
)
from recipe.photo_tower import ARCHITECTURE, load_classifier
from recipe.sprites import load_index

CHECKPOINT = "attend.pt"
BATCH, FRESH, POOL = 32, 8, 2048
"""Scenes in a step, those of them that are drawn anew, and how many are kept to be learnt from again.

Seeing a scene costs more than learning from it.
"""
AVERAGE_DECAY = 0.99
LOG_EVERY = 20
RESTYLED = 0.15


@dataclass(frozen=True, slots=True)
class Options:
    """What a run depends on; saved in its checkpoints.

    Attributes
    ----------
    seconds
        Budget of wall-clock time, over which the rate falls to nothing.
    rate, warmup
        Of AdamW: the peak, and the steps until it is reached.
    everywhere
        Weight of the doubly stochastic regulariser, the paper's lambda.
    seed
        Of weights and scenes.
    checkpoint_every
        Seconds.
    namings
        Before captions, the learnt layers of the encoder and the output are taught to name pictures of one
        thing: how many pictures of each thing, and steps. (The paper's VGG was taught to classify, too.)
    """

    seconds: float = 3600.0
    rate: float = 2e-3
    warmup: int = 40
    weight_decay: float = 0.01
    everywhere: float = 0.1
    seed: int = 1
    checkpoint_every: float = 240.0
    namings: tuple[int, int] = (6, 400)


class Losses(NamedTuple):
    """Of a batch: cross-entropy of a word, the regulariser of a caption, and their weighted sum."""

    words: Tensor
    everywhere: Tensor
    total: Tensor


def new_model(words: int, seed: int = 0, published: Path | None = None) -> ShowAttendTell:
    """A random model with a frozen trunk, whose published weights are read where their package lies."""
    torch.manual_seed(seed)
    model = ShowAttendTell(Sizes(ARCHITECTURE, (16, 32), SIDE, words))
    if published is not None:
        whole = load_classifier(published).state_dict()
        trunk = model.encoder.trunk
        trunk.load_state_dict({name: whole[name] for name in trunk.state_dict()})
    model.encoder.trunk.requires_grad_(False)
    return model.eval()


def losses(model: ShowAttendTell, batch: Batch, everywhere: float) -> Losses:
    """The paper's loss, equation (14): every word by the words before it, and the regulariser.

    Captions are sorted by length, so a step computes those that still go on.
    """
    cells = model.encoder.annotate(batch.fine, batch.coarse)
    compared = model.attention.of_cell(cells)
    memory = model.begin(cells)
    embedded = model.embedding(batch.ids[:, :-1])  # [B, T, m]
    going = [int((batch.lengths > step).sum()) for step in range(embedded.shape[1])]
    seen = torch.zeros(cells.shape[:2])
    words, hidden, context = [], [], []
    for position, count in enumerate(going):
        memory = type(memory)(memory.hidden[:count], memory.cell[:count])
        word = embedded[:count, position]
        step = model.step(cells[:count], compared[:count], memory, word)
        memory = step.memory
        seen = seen + functional.pad(step.alpha, (0, 0, 0, len(cells) - count))
        words.append(word)
        hidden.append(memory.hidden)
        context.append(step.context)
    logits = model.logits(torch.cat(words), torch.cat(hidden), torch.cat(context))  # [N, K]
    wanted = torch.cat([batch.ids[:count, step + 1] for step, count in enumerate(going)])
    of_words = functional.cross_entropy(logits, wanted)
    spread = doubly_stochastic(seen).mean()
    captions_per_word = len(cells) / len(wanted)
    return Losses(of_words, spread, of_words + everywhere * spread * captions_per_word)


class Run:
    """One run on one thread, which goes on from its checkpoint where there is one."""

    def __init__(self, work: Path, out: Path, options: Options, published: Path) -> None:
        self._options, self._file = options, out / CHECKPOINT
        concepts = load_index(work)[0]
        self.words = Words(caption_words(concepts, read_things(concepts)))
        self.model = new_model(len(self.words), options.seed, published)
        self._learnt = [(name, p) for name, p in self.model.named_parameters() if p.requires_grad]
        self._average = {name: p.detach().clone() for name, p in self._learnt}
        matrices = [p for _, p in self._learnt if p.ndim >= 2]
        vectors = [p for _, p in self._learnt if p.ndim < 2]
        self._optimiser = torch.optim.AdamW(
            [{"params": matrices}, {"params": vectors, "weight_decay": 0.0}],
            lr=options.rate, weight_decay=options.weight_decay, betas=(0.9, 0.98),
        )  # fmt: skip
        self._step, self._spent = 0, 0.0
        self._curve: list[dict[str, float]] = []
        if self._file.exists():
            self._restore()
        seed = options.seed * 100_000 + self._step
        self._random = np.random.default_rng(seed)
        self._scenes = scene_generator(work, STYLES, seed=seed, restyled=RESTYLED)
        self._pool = Pool(self.words, Eyes(self.model.encoder), POOL, self._random)

    def _learn_names(self) -> None:
        """Name pictures of one thing by the mean of their cells, without attention and LSTM."""
        (_, steps), model = self._options.namings, self.model
        fine, coarse, captions = self._pool.means()
        wanted = torch.zeros(len(captions), len(self.words))
        for row, caption in enumerate(captions):
            wanted[row, caption] = 1
        wanted[:, self.words.ids("a an")] = 0  # said of nearly everything
        wanted /= wanted.sum(1, keepdim=True)
        layers = (model.encoder.fine, model.encoder.coarse, model.output.of_context, model.vocabulary)
        optimiser = torch.optim.AdamW([p for layer in layers for p in layer.parameters()], lr=2e-3)
        for step in range(steps):
            rows = torch.from_numpy(self._random.permutation(len(captions))[:128])
            cells = model.encoder.annotate(fine[rows], coarse[rows])[:, 0]
            logits = model.vocabulary(model.output.of_context(cells))
            loss = functional.cross_entropy(logits, wanted[rows])
            optimiser.zero_grad(set_to_none=True)
            torch.autograd.backward(loss)
            optimiser.step()
            if step % 50 == 0:
                print(f"naming {step} {float(loss.detach()):.3f}", flush=True)

    def train(self) -> None:
        """Train until the budget of wall-clock seconds is spent."""
        options = self._options
        self._pool.add(one_of_each(self._scenes, options.namings[0]))
        began = time.monotonic() - self._spent
        if not self._step:
            self._learn_names()
        saved, recent = self._spent, []
        while self._spent < options.seconds:
            parts = self._update(self._spent / options.seconds)
            self._spent = time.monotonic() - began
            recent.append((float(parts.words.detach()), float(parts.everywhere.detach())))
            if self._step % LOG_EVERY == 0:
                self._log(recent)
                recent = []
            if self._spent - saved > options.checkpoint_every or self._spent >= options.seconds:
                saved = self._spent
                self._save()

    def _update(self, done: float) -> Losses:
        options = self._options
        rate = options.rate * min(1.0, (self._step + 1) / options.warmup)
        for group in self._optimiser.param_groups:
            group["lr"] = rate * (0.01 + 0.99 * 0.5 * (1 + math.cos(math.pi * min(done, 1.0))))
        fresh = [self._scenes.scene() for _ in range(FRESH)]
        parts = losses(self.model, self._pool.batch(fresh, BATCH), options.everywhere)
        self._optimiser.zero_grad(set_to_none=True)
        torch.autograd.backward(parts.total)
        torch.nn.utils.clip_grad_norm_([p for _, p in self._learnt], 1.0)
        self._optimiser.step()
        self._step += 1
        decay = min(AVERAGE_DECAY, (1 + self._step) / (10 + self._step))
        for name, parameter in self._learnt:
            self._average[name].lerp_(parameter.detach(), 1 - decay)
        return parts

    def _log(self, recent: list[tuple[float, float]]) -> None:
        words, everywhere = (sum(each) / len(recent) for each in zip(*recent, strict=True))
        self._curve.append({"step": self._step, "seconds": round(self._spent), "words": round(words, 4)})
        print(
            f"step {self._step} seconds {self._spent:.0f} of {self._options.seconds:.0f} "
            f"words {words:.3f} everywhere {everywhere:.2f}",
            flush=True,
        )

    def _save(self) -> None:
        state: dict[str, Any] = {
            "model": self.model.state_dict(),
            "average": self._average,
            "optimiser": self._optimiser.state_dict(),
            "words": list(self.words.words),
            "sizes": asdict(self.model.sizes),
            "options": asdict(self._options),
            "step": self._step,
            "spent": self._spent,
            "curve": self._curve,
        }
        self._file.parent.mkdir(parents=True, exist_ok=True)
        partial = self._file.with_suffix(".partial")
        torch.save(state, partial)
        partial.replace(self._file)

    def _restore(self) -> None:
        state = torch.load(self._file, map_location="cpu", weights_only=True)
        if state["words"] != list(self.words.words):
            raise ValueError(f"{self._file} was trained on other words; choose another folder.")
        self.model.load_state_dict(state["model"])
        self._average = state["average"]
        self._optimiser.load_state_dict(state["optimiser"])
        self._step, self._spent, self._curve = state["step"], state["spent"], state["curve"]
