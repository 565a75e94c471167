"""Hiding parts of an input: masked copies for methods that see what a score loses."""

from __future__ import annotations

import math
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor
from torchvision.transforms.functional import gaussian_blur

from mmviewer.core.errors import DeviceError, UnsupportedError, out_of_memory
from mmviewer.core.explain.base import Question
from mmviewer.core.explain.forward import check_finite, encode, predicting_logits
from mmviewer.core.explain.objective import Objective
from mmviewer.core.media.geometry import ImageGeometry
from mmviewer.core.models.base import LoadedModel, Prepared
from mmviewer.core.models.device import release_unused, room
from mmviewer.core.targets import Removal
from mmviewer.core.types import Capability, CapturePoint, Geometry, Modality, PointRole, SequenceKind

INPUT = CapturePoint("input", PointRole.INPUT, "input", 1, 1, "input", "input")
"""The place of methods that look at no layer: they change the input and read the score."""

_LARGEST_BATCH = 32
_WORK = {"cpu": 1e13}  # floating-point operations that one map may take; minutes on a laptop
_WORK_ELSEWHERE = 1e15
_SEED = 0
_ALIKE = 1e-4
"""Relative difference up to which what stands in for a part is taken to equal it."""


@dataclass(frozen=True, slots=True, eq=False)
class Canvas:
    """The tensor of a prepared input that is masked.

    Parameters
    ----------
    name : str
        Its key among the inputs.
    values : Tensor [1, C, H, W] or [1, C, L]
        Pixels, or the frames of a sound; samples [N] of a sound are [1, 1, N] here.
    positions : Tensor [H, W] or [L]
        Which of the P grid positions each place belongs to.
    """

    prepared: Prepared
    name: str
    values: Tensor
    positions: Tensor

    @property
    def differentiable(self) -> bool:
        """Whether the model goes from here to its score by tensor operations alone."""
        return self.prepared.inputs[self.name].dim() > 1

    def masked(self, keep: Tensor, fill: Tensor) -> list[Prepared]:
        """Return inputs in which positions with ``keep`` [B, P] = 1 stay and those with 0 become `fill`."""
        weight = keep.to(self.values)[:, self.positions][:, None]  # [B, 1, H, W] or [B, 1, L]
        return self.inputs(self.values * weight + fill * (1 - weight))

    def inputs(self, values: Tensor) -> list[Prepared]:
        """Return an input for each of the canvases [B, ...]."""
        shape = self.prepared.inputs[self.name].shape
        return [
            replace(self.prepared, inputs={**self.prepared.inputs, self.name: each.reshape(shape)})
            for each in values
        ]


def canvas_of(prepared: Prepared) -> Canvas:
    """Find what can be masked in a prepared input; `UnsupportedError` where there is no such tensor."""
    for name, tensor in prepared.inputs.items():
        if prepared.modality is Modality.IMAGE and tensor.dim() == 4:
            positions = _pixel_positions(prepared.geometry, tensor)
            return Canvas(prepared, name, tensor, positions.to(tensor.device))
        if prepared.modality is Modality.AUDIO and tensor.is_floating_point() and tensor.dim() in (1, 3):
            values = tensor.reshape(1, -1, tensor.shape[-1])
            positions = _time_positions(prepared.geometry, values, samples=tensor.dim() == 1)
            return Canvas(prepared, name, values, positions.to(tensor.device))
    raise UnsupportedError("Parts of this input cannot be hidden for this model; choose another method.")


def filling(canvas: Canvas, removal: Removal) -> Tensor:
    """Return what stands in for removed parts, of the shape of the canvas's values.

    "mean" is the mean of each channel or frequency band, "blur" keeps only coarse structure (an eighth of the
    length of each axis), "noise" has the mean and deviation of each channel; its seed is fixed. Raises
    `UnsupportedError` where that is the input itself, as for a picture of one colour.
    """
    values = canvas.values.float()
    axes = tuple(range(2, values.dim()))
    mean = values.mean(axes, keepdim=True)
    if removal == "noise":
        generator = torch.Generator().manual_seed(_SEED)
        noise = torch.randn(values.shape, generator=generator).to(values.device)
        filled = mean + values.std(axes, keepdim=True) * noise
    elif removal == "blur":
        filled = _blurred(values)
    else:
        filled = mean.expand_as(values)
    if bool(((filled - values).abs() <= _ALIKE * (1 + values.abs())).all()):
        words = removal_words(removal, canvas.prepared.modality)
        raise UnsupportedError(
            f"If parts of this input were replaced by {words}, nothing would change; choose another removal "
            "or another method."
        )
    return filled.to(canvas.values.dtype)


def removal_words(removal: Removal, modality: Modality) -> str:
    """Say what removed parts were replaced by."""
    if modality is Modality.IMAGE:
        return {"mean": "the mean colour", "blur": "a blur of the picture", "noise": "noise of its colours"}[
            removal
        ]
    return {"mean": "the mean sound", "blur": "the slow part of the sound", "noise": "noise of its level"}[
        removal
    ]


@dataclass(frozen=True, slots=True, eq=False)
class Blocks:
    """Neighbouring positions hidden together: `of` [P] gives each position's block, counted row by row.

    Positions past the end of a sound belong to no block (-1) and are never hidden. `shape` is (rows, columns)
    of blocks, or (n,) for sound; `side` is how many positions a block spans on each axis.
    """

    of: Tensor
    shape: tuple[int, ...]
    side: int

    @property
    def count(self) -> int:
        """How many blocks there are."""
        return math.prod(self.shape)

    def keep(self, blocks: Tensor) -> Tensor:
        """Carry masks over blocks [B, M] to positions [B, P]."""
        kept = torch.cat((blocks, torch.ones_like(blocks[:, :1])), dim=1)  # block -1 is always kept
        return kept[:, self.of.to(blocks.device)]

    def spread(self, values: Tensor) -> Tensor:
        """Carry values of blocks [N, M] to positions [N, P]; zero where nothing was hidden."""
        padded = torch.cat((values, torch.zeros_like(values[:, :1])), dim=1)
        return padded[:, self.of.to(values.device)]


def blocks_of(geometry: Geometry, most: int) -> Blocks:
    """Cut the grid into at most `most` blocks of equal size, single positions where they are few enough."""
    if isinstance(geometry, ImageGeometry):
        rows, columns = geometry.grid
        side = 1
        while math.ceil(rows / side) * math.ceil(columns / side) > max(most, 1):
            side += 1
        across = math.ceil(columns / side)
        row, column = torch.arange(rows)[:, None] // side, torch.arange(columns)[None] // side
        return Blocks((row * across + column).flatten(), (math.ceil(rows / side), across), side)
    heard = max(geometry.valid, 1)
    side = math.ceil(heard / max(most, 1))
    of = torch.arange(geometry.positions) // side
    of[heard:] = -1
    return Blocks(of, (math.ceil(heard / side),), side)


def affordable(question: Question) -> int:
    """How many forwards a map may take, from a rough count of the operations of one."""
    model, geometry = question.model, question.prepared.geometry
    rows, columns = geometry.grid if isinstance(geometry, ImageGeometry) else (1, geometry.positions)
    one = 2.0 * model.info.parameters * rows * columns
    return max(int(_WORK.get(model.placement.device.type, _WORK_ELSEWHERE) / one), 36)


def can_score(model: LoadedModel, kind: SequenceKind) -> bool:
    """Whether the model scores sequences of a kind for an input."""
    if kind == "query":
        embeds = model.info.can(Capability.EMBED_IMAGE) or model.info.can(Capability.EMBED_AUDIO)
        return embeds and model.info.can(Capability.EMBED_TEXT)
    needed = Capability.TRANSCRIBE if kind == "transcript" else Capability.CAPTION
    return model.info.can(needed) or (kind == "answer" and model.info.can(Capability.ANSWER))


def batch_size(question: Question) -> int:
    """How many masked inputs go through the model at once within the memory that is free."""
    return int(min(max(room(question.model.placement.device) // item_bytes(question), 1), _LARGEST_BATCH))


def item_bytes(question: Question) -> int:
    """Rough peak memory of one masked input in a batch: its copies, hidden states and logits."""
    model, sequence = question.model, question.sequence
    canvas = sum(tensor.nbytes for tensor in question.prepared.inputs.values())
    geometry = question.prepared.geometry
    rows, columns = geometry.grid if isinstance(geometry, ImageGeometry) else (1, geometry.positions)
    hidden = rows * columns * (8 * 4096 + 16 * rows * columns)  # wide hidden states, one layer of attention
    vocabulary = 0 if sequence.kind == "query" else 65_536
    return 8 * canvas + 4 * hidden + 12 * (len(sequence.tokens) + 4) * vocabulary + model.info.context_length


class Masking:
    """Scores of one question under masks; counts its forwards, tells progress and can be cancelled.

    Parameters
    ----------
    total : int
        How many forwards the caller is going to ask for.
    patience : float, optional
        Seconds that one batch may take, where others wait for the model; by default batches are as large as
        memory allows.
    """

    def __init__(
        self, question: Question, objective: Objective, total: int, patience: float | None = None
    ) -> None:
        self._question = question
        self._objective = objective
        self._canvas = canvas_of(question.prepared)
        self._fill = filling(self._canvas, question.spec.removal)
        self._done, self._total = 0, total
        self._patience = patience
        self._most = batch_size(question)
        self._batch = self._most if patience is None else 1

    def scores(self, keep: Tensor) -> Tensor:
        """Return scores [M, N] for masks over positions [M, P], batch by batch, without gradients."""
        found, start = [], 0
        while start < len(keep):
            chunk = keep[start : start + self._batch]
            began = time.perf_counter()
            try:
                with torch.no_grad():
                    batch = self._canvas.masked(chunk, self._fill)
                    found.append(self._objective.score(output_of(self._question, batch)).float().cpu())
            except (RuntimeError, MemoryError, DeviceError) as error:
                if not out_of_memory(error) or self._batch == 1:
                    raise
                release_unused(self._question.model.placement.device)
                self._batch = self._most = self._batch // 2
                continue
            start += len(chunk)
            self._pace(len(chunk), time.perf_counter() - began)
            self._done += len(chunk)
            self._question.progress.report(self._done, self._total, "hiding parts of the input")
        scores = torch.cat(found)
        check_finite(scores, self._question.model, INPUT)
        return scores

    def _pace(self, count: int, seconds: float) -> None:
        """Let the next batch take about as long as is bearable, at most twice as large as this one."""
        if self._patience is not None:
            bearable = int(self._patience * count / max(seconds, 1e-6))
            self._batch = max(1, min(bearable, 2 * count, self._most))


def output_of(question: Question, batch: Sequence[Prepared]) -> Tensor:
    """What the scores are read from, for several inputs: embeddings [B, D] or logits [B, T, V]."""
    if question.sequence.kind == "query":
        return encode(question.model, batch)
    return predicting_logits(question.model, batch, question.sequence)


def _pixel_positions(geometry: Geometry, pixels: Tensor) -> Tensor:
    assert isinstance(geometry, ImageGeometry)
    axes = [
        (torch.arange(length) / side).long().clamp(max=count - 1)
        for length, side, count in zip(pixels.shape[-2:], geometry.patch_size, geometry.grid, strict=True)
    ]
    return axes[0][:, None] * geometry.grid[1] + axes[1][None]  # [H, W]


def _time_positions(geometry: Geometry, values: Tensor, *, samples: bool) -> Tensor:
    """Samples lie in time as the geometry says; frames share out the positions evenly."""
    assert not isinstance(geometry, ImageGeometry)
    count = values.shape[-1]
    if samples:
        seconds = (torch.arange(count) + 0.5) * (geometry.duration / count)
        found = ((seconds - geometry.start) / geometry.step).floor().long()
    else:
        found = torch.arange(count) * geometry.positions // count
    return found.clamp(0, geometry.positions - 1)


def _blurred(values: Tensor) -> Tensor:
    if values.dim() == 4:
        kernel = [_odd(length) for length in values.shape[-2:]]
        blurred: Tensor = gaussian_blur(values, kernel[::-1], [length / 8 for length in values.shape[:1:-1]])
        return blurred
    width = _odd(min(values.shape[-1], 1601))  # a tenth of a second of samples; of frames, all
    padded = torch.nn.functional.pad(values, (width // 2, width // 2), mode="replicate")
    return torch.nn.functional.avg_pool1d(padded, width, stride=1)


def _odd(length: int) -> int:
    """A kernel that reflection padding allows: odd, and at most about three quarters of the length."""
    return max(2 * (3 * length // 8) - 1, 1)
