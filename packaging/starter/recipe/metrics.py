"""Zero-shot classification of plain pictures, and the vectors it compares."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import torch
from open_clip.coca_model import CoCa
from open_clip.tokenizer import SimpleTokenizer
from torch.nn.attention import SDPBackend, sdpa_kernel

from recipe.coca import CONTEXT, IMAGE, normalise
from recipe.scenes import label_prompt
from recipe.sprites import SpriteSet, load_index, load_sprites

_CHUNK = 128
_SHARE_OF_PICTURE = 0.85


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
        sprite = cv2.resize(pixels, (side, side), interpolation=cv2.INTER_AREA).astype(np.int32)
        image = np.full((size, size, 3), 255, np.uint8)
        on_white = 255 - sprite[..., 3:] + sprite[..., :3]
        image[edge : edge + side, edge : edge + side] = np.clip(on_white, 0, 255)
        images.append(image)
        targets.append(place[concept])
    return Singles(torch.from_numpy(np.stack(images).transpose(0, 3, 1, 2).copy()), torch.tensor(targets))


@torch.no_grad()
def image_features(model: CoCa, images: torch.Tensor) -> torch.Tensor:
    """Unit vectors [N, D] of pictures uint8 [N, 3, H, W]."""
    with sdpa_kernel(SDPBackend.MATH):
        return torch.cat(
            [model.encode_image(normalise(part), normalize=True) for part in torch.split(images, _CHUNK)]
        )


@torch.no_grad()
def text_features(model: CoCa, tokens: SimpleTokenizer, texts: Sequence[str]) -> torch.Tensor:
    """Unit vectors [N, D] of texts."""
    with sdpa_kernel(SDPBackend.MATH):
        rows = tokens(list(texts), context_length=CONTEXT)
        return torch.cat([model.encode_text(part, normalize=True) for part in torch.split(rows, _CHUNK)])


@dataclass(frozen=True, slots=True)
class ZeroShot:
    """Zero-shot classification over the whole label set and among ten labels drawn at random."""

    images: int
    top1: float
    top5: float
    ten_way: float


def zero_shot(model: CoCa, singles: Singles, prompts: torch.Tensor, seed: int = 0) -> ZeroShot:
    """Classify plain pictures by the nearest of the label prompts' vectors [L, D]."""
    scores = image_features(model, singles.images) @ prompts.T  # [N, L]
    right = scores.gather(1, singles.targets[:, None])
    rank = (scores > right).sum(1)
    others = torch.rand(scores.shape, generator=torch.Generator().manual_seed(seed))
    others.scatter_(1, singles.targets[:, None], -1.0)
    rivals = others.topk(min(9, scores.shape[1] - 1), dim=1).indices
    ten_way = (scores.gather(1, rivals) < right).all(1)
    return ZeroShot(len(rank), _mean(rank < 1), _mean(rank < 5), _mean(ten_way))


class Probe:
    """Zero-shot accuracy on the styles never trained on, for the log of a run."""

    styles = ("twemoji", "openmoji", "stamps")

    def __init__(self, work: Path, tokens: SimpleTokenizer) -> None:
        concepts, labels = load_index(work)
        self._tokens = tokens
        self._prompts = [label_prompt(concepts[i]) for i in labels]
        self._singles = {style: plain_singles(load_sprites(work, style), labels) for style in self.styles}

    def measure(self, model: CoCa) -> dict[str, float]:
        """Top-1 and top-5 accuracy by style."""
        model.eval()
        prompts = text_features(model, self._tokens, self._prompts)
        measured: dict[str, float] = {}
        for style, singles in self._singles.items():
            found = zero_shot(model, singles, prompts)
            measured |= {f"{style}_top1": round(found.top1, 4), f"{style}_top5": round(found.top5, 4)}
        return measured


def _mean(hits: torch.Tensor) -> float:
    return float(hits.float().mean())
