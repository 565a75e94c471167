"""Whether the decoder's cross-attention points at the thing a noun names."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F  # noqa: N812 the name everyone knows
from open_clip.coca_model import CoCa
from open_clip.tokenizer import SimpleTokenizer
from torch.nn.attention import SDPBackend, sdpa_kernel

from recipe.batches import CaptionEncoder, NounSpan
from recipe.coca import CONTEXT, IMAGE, PATCH, normalise
from recipe.concepts import Concept
from recipe.crossattention import recorded
from recipe.metrics import text_features
from recipe.scenes import Scene, label_prompt, patch_mask

_CHUNK = 100


@dataclass(frozen=True, slots=True)
class PointingScores:
    """Of one layer (mean over heads), the true caption being fed.

    Attributes
    ----------
    predicting
        Share of nouns whose map peaks inside their boxes, at the position that predicts the first token.
    naming
        The same with the map of the noun's last token itself.
    span
        The same with the mean map from the predicting position to the noun's last token.
    mass
        Mean share of attention inside the noun's boxes, over that span.
    right_thing
        In scenes of several things, the share of nouns whose own boxes get more attention per patch than the
        others' boxes (chance 0.5 for pairs, less for three).
    """

    predicting: float
    naming: float
    span: float
    mass: float
    right_thing: float


@dataclass(frozen=True, slots=True)
class Pointing:
    """Scores by layer, and what ignorance would reach.

    Attributes
    ----------
    nouns
        How many were measured.
    chance, centre
        Hits of a patch drawn at random, and of always the patch in the middle.
    similarity
        Share of nouns where the patch most similar to the noun's label, in their shared space, lies
        inside the boxes: no decoder, no attention.
    layers
        Scores of the decoder's cross-attention.
    """

    nouns: int
    chance: float
    centre: float
    similarity: float
    layers: dict[int, PointingScores]


@dataclass(frozen=True, slots=True)
class _Noun:
    row: int
    concept: int
    span: NounSpan
    inside: torch.Tensor  # bool [P]
    others: torch.Tensor  # bool [P]


def _nouns(scenes: Sequence[Scene], spans: Sequence[Sequence[NounSpan]], grid: int) -> list[_Noun]:
    nouns = []
    for row, (scene, found) in enumerate(zip(scenes, spans, strict=True)):
        size = scene.image.shape[0]
        masks = [torch.from_numpy(patch_mask(boxes, size, grid)) for boxes in scene.boxes]
        for i, span in enumerate(found):
            others = torch.zeros(grid * grid, dtype=torch.bool)
            for j, mask in enumerate(masks):
                if j != i:
                    others |= mask
            if span.end < CONTEXT:
                nouns.append(_Noun(row, scene.concepts[i], span, masks[i], others & ~masks[i]))
    return nouns


@torch.no_grad()
def score_pointing(
    model: CoCa,
    tokens: SimpleTokenizer,
    scenes: Sequence[Scene],
    images: torch.Tensor,
    concepts: Sequence[Concept],
) -> Pointing:
    """Measure the maps of every noun of the scenes.

    Parameters
    ----------
    scenes
        Scenes with their true captions and boxes.
    images
        Their pictures, uint8 [N, 3, H, W].
    concepts
        All concepts, for the nouns' labels.
    """
    grid = IMAGE // PATCH
    encoder = CaptionEncoder(tokens)
    encoded = [encoder.encode(scene.words) for scene in scenes]
    rows = torch.tensor([row for row, _ in encoded])
    nouns = _nouns(scenes, [spans for _, spans in encoded], grid)
    maps: dict[int, list[torch.Tensor]] = {}
    for start in range(0, len(scenes), _CHUNK):
        with recorded(model) as found, sdpa_kernel(SDPBackend.MATH):
            model(normalise(images[start : start + _CHUNK]), rows[start : start + _CHUNK])
        for layer, attention in found.items():
            maps.setdefault(layer, []).append(attention.mean(1))  # [B, T, P]
    centre = (grid // 2) * grid + grid // 2
    inside = torch.stack([noun.inside for noun in nouns])
    return Pointing(
        nouns=len(nouns),
        chance=float(inside.float().mean()),
        centre=float(inside[:, centre].float().mean()),
        similarity=_peak_inside(_similarity(model, tokens, images, nouns, concepts), inside),
        layers={layer: _score(torch.cat(parts), nouns) for layer, parts in sorted(maps.items())},
    )


def _similarity(
    model: CoCa,
    tokens: SimpleTokenizer,
    images: torch.Tensor,
    nouns: Sequence[_Noun],
    concepts: Sequence[Concept],
) -> torch.Tensor:
    """Similarity [N, P] of every patch with the noun's label prompt."""
    prompts = text_features(model, tokens, [label_prompt(concepts[noun.concept]) for noun in nouns])  # [N, D]
    with sdpa_kernel(SDPBackend.MATH):
        patches = torch.cat([model._encode_image(normalise(part))[1] for part in torch.split(images, _CHUNK)])
    shared = F.normalize(patches @ model.visual.proj, dim=-1)  # [B, P, D]
    return torch.einsum("npd,nd->np", shared[[noun.row for noun in nouns]], prompts)


def _score(attention: torch.Tensor, nouns: Sequence[_Noun]) -> PointingScores:
    inside = torch.stack([noun.inside for noun in nouns])  # [N, P]
    others = torch.stack([noun.others for noun in nouns])
    predicting = torch.stack([attention[n.row, n.span.first - 1] for n in nouns])  # [N, P]
    naming = torch.stack([attention[n.row, n.span.end - 1] for n in nouns])
    span = torch.stack([attention[n.row, n.span.first - 1 : n.span.end].mean(0) for n in nouns])
    several = others.any(1)
    own = (span * inside).sum(1) / inside.sum(1)
    rival = (span * others).sum(1) / others.sum(1).clamp_min(1)
    return PointingScores(
        predicting=_peak_inside(predicting, inside),
        naming=_peak_inside(naming, inside),
        span=_peak_inside(span, inside),
        mass=float((span * inside).sum(1).mean()),
        right_thing=float((own > rival)[several].float().mean()) if several.any() else float("nan"),
    )


def _peak_inside(maps: torch.Tensor, inside: torch.Tensor) -> float:
    return float(inside.gather(1, maps.argmax(1, keepdim=True)).float().mean())
