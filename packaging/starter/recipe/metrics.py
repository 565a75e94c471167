"""Zero-shot classification of plain pictures: how often it is right, and whether its certainty is honest."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import torch
from open_clip.coca_model import CoCa
from open_clip.tokenizer import SimpleTokenizer

from recipe.coca import IMAGE
from recipe.encoded import Encoder
from recipe.scenes import label_prompt
from recipe.sprites import SpriteSet, load_index, load_sprites

_SHARE_OF_PICTURE = 0.85
_BINS = 15


@dataclass(frozen=True, slots=True)
class Singles:
    """Plain pictures of one thing, uint8 [N, 3, H, W], and the place of each in the label set."""

    images: torch.Tensor
    targets: torch.Tensor


def plain_singles(sprites: SpriteSet, labels: Sequence[int], size: int = IMAGE) -> Singles:
    """Every sprite of the label set, upright on white."""
    place = {concept: i for i, concept in enumerate(labels)}
    side = int(size * _SHARE_OF_PICTURE)
    edge = (size - side) // 2
    images, targets = [], []
    for pixels, concept in zip(sprites.pixels, sprites.concept_of_row.tolist(), strict=True):
        if concept not in place:
            continue
        method = cv2.INTER_AREA if side < pixels.shape[0] else cv2.INTER_LINEAR
        sprite = cv2.resize(pixels, (side, side), interpolation=method).astype(np.int32)
        image = np.full((size, size, 3), 255, np.uint8)
        on_white = 255 - sprite[..., 3:] + sprite[..., :3]
        image[edge : edge + side, edge : edge + side] = np.clip(on_white, 0, 255)
        images.append(image)
        targets.append(place[concept])
    return Singles(torch.from_numpy(np.stack(images).transpose(0, 3, 1, 2).copy()), torch.tensor(targets))


def text_features(model: CoCa, tokens: SimpleTokenizer, texts: Sequence[str]) -> torch.Tensor:
    """Unit vectors [N, D] of texts."""
    return Encoder(model, tokens).texts(texts)


@dataclass(frozen=True, slots=True)
class ZeroShot:
    """Zero-shot classification over a label set and among ten labels drawn at random; shares from 0 to 1."""

    images: int
    top1: float
    top5: float
    ten_way: float


def zero_shot(vectors: torch.Tensor, targets: torch.Tensor, prompts: torch.Tensor, seed: int = 0) -> ZeroShot:
    """Classify pictures by the nearest of the label prompts.

    Parameters
    ----------
    vectors, prompts
        Unit vectors of the pictures [N, D] and of the labels' prompts [L, D].
    targets
        int64 [N]: each picture's place in the label set.
    seed
        Of the ten labels.
    """
    scores = vectors @ prompts.T  # [N, L]
    right = scores.gather(1, targets[:, None])
    rank = (scores > right).sum(1)
    others = torch.rand(scores.shape, generator=torch.Generator().manual_seed(seed))
    others.scatter_(1, targets[:, None], -1.0)
    rivals = others.topk(min(9, scores.shape[1] - 1), dim=1).indices
    ten_way = (scores.gather(1, rivals) < right).all(1)
    return ZeroShot(len(rank), _mean(rank < 1), _mean(rank < 5), _mean(ten_way))


@dataclass(frozen=True, slots=True)
class Calibration:
    """How far the probabilities of the labels hold what they promise.

    Attributes
    ----------
    scale
        The model's own factor from cosine to logit.
    ece, confidence, accuracy
        Expected calibration error with 15 bins, mean probability of the likeliest label, and how often it is
        right, at that factor.
    best_scale, best_ece
        The factor with the least negative log-likelihood on these very pictures, for information.
    """

    scale: float
    ece: float
    confidence: float
    accuracy: float
    best_scale: float
    best_ece: float


def calibration(
    vectors: torch.Tensor, targets: torch.Tensor, prompts: torch.Tensor, scale: float
) -> Calibration:
    """Measure the calibration of zero-shot classification; parameters as of `zero_shot`."""
    cosines = vectors @ prompts.T  # [N, L]
    scales = [scale * 2 ** (step / 4) for step in range(-16, 9)]
    losses = [float(torch.nn.functional.cross_entropy(s * cosines, targets)) for s in scales]
    best = scales[int(np.argmin(losses))]
    ece, confidence, accuracy = _calibration_error((scale * cosines).softmax(1), targets)
    return Calibration(
        scale, ece, confidence, accuracy, best, _calibration_error((best * cosines).softmax(1), targets)[0]
    )


def _calibration_error(probabilities: torch.Tensor, targets: torch.Tensor) -> tuple[float, float, float]:
    """Expected calibration error, mean confidence and accuracy of probabilities [N, L]."""
    confidence, chosen = probabilities.max(1)
    right = (chosen == targets).float()
    bins = (confidence * _BINS).long().clamp(0, _BINS - 1)
    error = 0.0
    for number in range(_BINS):
        inside = bins == number
        if inside.any():
            gap = (confidence[inside].mean() - right[inside].mean()).abs()
            error += float(inside.float().mean() * gap)
    return error, float(confidence.mean()), float(right.mean())


class Probe:
    """Zero-shot accuracy on the style by which runs are compared, for the log of a run."""

    styles = ("twemoji",)

    def __init__(self, work: Path, tokens: SimpleTokenizer) -> None:
        concepts, labels = load_index(work)
        self._tokens = tokens
        self._prompts = [label_prompt(concepts[i]) for i in labels]
        self._singles = {style: plain_singles(load_sprites(work, style), labels) for style in self.styles}

    def measure(self, model: CoCa) -> dict[str, float]:
        """Top-1 and top-5 accuracy by style."""
        encoder = Encoder(model, self._tokens)
        prompts = encoder.texts(self._prompts)
        measured: dict[str, float] = {}
        for style, singles in self._singles.items():
            found = zero_shot(encoder.images(singles.images).vectors, singles.targets, prompts)
            measured |= {f"{style}_top1": round(found.top1, 4), f"{style}_top5": round(found.top5, 4)}
        return measured


def _mean(hits: torch.Tensor) -> float:
    return float(hits.float().mean())
