"""Whether the decoder's cross-attention points at the thing a noun names: by layer, and by head."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import torch
import torch.nn.functional as F  # noqa: N812 the name everyone knows

from recipe.batches import CaptionEncoder, NounSpan
from recipe.coca import CONTEXT
from recipe.concepts import Concept
from recipe.crossattention import recorded
from recipe.encoded import CHUNK, Encoded, Encoder
from recipe.scenes import Scene, label_prompt, patch_mask


@dataclass(frozen=True, slots=True)
class PointingScores:
    """Of one map for each noun, the true caption being fed.

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
        others' boxes (chance 0.5 for pairs, less for three); None where there is one thing.
    """

    predicting: float
    naming: float
    span: float
    mass: float
    right_thing: float | None


@dataclass(frozen=True, slots=True)
class Pointing:
    """Scores by layer and by head, and what ignorance would reach.

    Attributes
    ----------
    nouns
        How many were measured.
    chance, centre
        Hits of a patch drawn at random, and of always the patch in the middle.
    mass_chance
        Share of the attention inside the boxes if it were spread evenly.
    similarity
        Share of nouns where the patch most similar to the noun's label, in their shared space, lies
        inside the boxes: no decoder, no attention.
    layers
        Scores of the decoder's cross-attention, mean over heads.
    heads
        For each layer, `PointingScores.span` of each head.
    """

    nouns: int
    chance: float
    centre: float
    mass_chance: float
    similarity: float
    layers: dict[int, PointingScores]
    heads: dict[int, list[float]]


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
    encoder: Encoder, scenes: Sequence[Scene], encoded: Encoded, concepts: Sequence[Concept]
) -> dict[str, Any]:
    """Measure the maps of every noun of the scenes; a `Pointing` as a dict.

    Parameters
    ----------
    encoder
        The model.
    scenes, encoded
        Scenes with their true captions and boxes, and their pictures.
    concepts
        All concepts, for the nouns' labels.
    """
    words = CaptionEncoder(encoder.tokens)
    rows_and_spans = [words.encode(scene.words) for scene in scenes]
    rows = torch.tensor([row for row, _ in rows_and_spans])
    nouns = _nouns(scenes, [spans for _, spans in rows_and_spans], encoder.grid)
    maps: dict[int, list[torch.Tensor]] = {}
    for start in range(0, len(scenes), CHUNK):
        with recorded(encoder.model) as found:
            encoder.logits(encoded.patches[start : start + CHUNK], rows[start : start + CHUNK])
        for layer, attention in found.items():
            maps.setdefault(layer, []).append(attention)  # [B, heads, T, P]
    by_layer = {layer: torch.cat(parts) for layer, parts in sorted(maps.items())}
    centre = (encoder.grid // 2) * encoder.grid + encoder.grid // 2
    inside = torch.stack([noun.inside for noun in nouns])  # [N, P]
    return asdict(
        Pointing(
            nouns=len(nouns),
            chance=float(inside.float().mean()),
            centre=float(inside[:, centre].float().mean()),
            mass_chance=float(inside.float().mean()),
            similarity=_peak_inside(_similarity(encoder, encoded, nouns, concepts), inside),
            layers={layer: _score(attention.mean(1), nouns) for layer, attention in by_layer.items()},
            heads={
                layer: [_peak_inside(_span_maps(head, nouns), inside) for head in attention.unbind(1)]
                for layer, attention in by_layer.items()
            },
        )
    )


def _similarity(
    encoder: Encoder, encoded: Encoded, nouns: Sequence[_Noun], concepts: Sequence[Concept]
) -> torch.Tensor:
    """Similarity [N, P] of every patch with the noun's label prompt."""
    prompts = encoder.texts([label_prompt(concepts[noun.concept]) for noun in nouns])  # [N, D]
    shared = F.normalize(encoded.patches @ encoder.model.visual.proj, dim=-1)  # [B, P, D]
    return torch.einsum("npd,nd->np", shared[[noun.row for noun in nouns]], prompts)


def _span_maps(attention: torch.Tensor, nouns: Sequence[_Noun]) -> torch.Tensor:
    """Mean map [N, P] from the predicting position to the noun's last token, of attention [B, T, P]."""
    return torch.stack([attention[n.row, n.span.first - 1 : n.span.end].mean(0) for n in nouns])


def _score(attention: torch.Tensor, nouns: Sequence[_Noun]) -> PointingScores:
    inside = torch.stack([noun.inside for noun in nouns])  # [N, P]
    others = torch.stack([noun.others for noun in nouns])
    predicting = torch.stack([attention[n.row, n.span.first - 1] for n in nouns])  # [N, P]
    naming = torch.stack([attention[n.row, n.span.end - 1] for n in nouns])
    span = _span_maps(attention, nouns)
    several = others.any(1)
    own = (span * inside).sum(1) / inside.sum(1)
    rival = (span * others).sum(1) / others.sum(1).clamp_min(1)
    return PointingScores(
        predicting=_peak_inside(predicting, inside),
        naming=_peak_inside(naming, inside),
        span=_peak_inside(span, inside),
        mass=float((span * inside).sum(1).mean()),
        right_thing=float((own > rival)[several].float().mean()) if several.any() else None,
    )


def _peak_inside(maps: torch.Tensor, inside: torch.Tensor) -> float:
    return float(inside.gather(1, maps.argmax(1, keepdim=True)).float().mean())
