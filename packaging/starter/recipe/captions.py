"""Captions by the decoder, and how far they tell what is in the picture."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F  # noqa: N812 the name everyone knows
from open_clip.coca_model import CoCa
from open_clip.tokenizer import SimpleTokenizer
from torch.nn.attention import SDPBackend, sdpa_kernel

from recipe.coca import CONTEXT, normalise
from recipe.concepts import Concept
from recipe.scenes import Scene

_CHUNK = 100
_RELATIONS = ("to the left of", "to the right of", "above", "below", " and ")
_PAIRS = ("beside", "over", "diagonal")


@dataclass(frozen=True, slots=True)
class CaptionScores:
    """Shares between 0 and 1; ``*_chance`` is what captions of other scenes of the same kind reach."""

    scenes: int
    single_noun: float
    single_noun_chance: float
    pair_nouns: float
    pair_nouns_chance: float
    pair_exact: float
    relation: float
    relation_chance: float
    three_nouns: float
    three_nouns_chance: float
    count_word: float
    count_word_chance: float
    count_noun: float
    order_preferred: float
    order_preferred_chance: float


@torch.no_grad()
def greedy(model: CoCa, tokens: SimpleTokenizer, images: torch.Tensor) -> list[str]:
    """The most probable caption, token by token, of each picture uint8 [N, 3, H, W]."""
    captions: list[str] = []
    for part in torch.split(images, _CHUNK):
        rows = _greedy_rows(model, tokens, part)
        special = {0, tokens.sot_token_id, tokens.eot_token_id}
        captions += [
            tokens.decode([t for t in row if t not in special]).strip().replace(" ,", ",") for row in rows
        ]
    return captions


def _greedy_rows(model: CoCa, tokens: SimpleTokenizer, images: torch.Tensor) -> list[list[int]]:
    with sdpa_kernel(SDPBackend.MATH):
        _, patches = model._encode_image(normalise(images))  # [B, P, D]
        row = torch.full((len(images), 1), tokens.sot_token_id)
        ended = torch.zeros(len(images), dtype=torch.bool)
        while row.shape[1] < CONTEXT and not ended.all():
            _, embedded = model._encode_text(row)
            following = model.text_decoder(patches, embedded)[:, -1].argmax(-1)
            following[ended] = 0
            ended |= following == tokens.eot_token_id
            row = torch.cat([row, following[:, None]], dim=1)
    return [list(map(int, r)) for r in row]


@torch.no_grad()
def caption_nll(
    model: CoCa, tokens: SimpleTokenizer, images: torch.Tensor, texts: Sequence[str]
) -> torch.Tensor:
    """Negative log-probability [N] of each text as the caption of its picture."""
    parts = []
    for start in range(0, len(texts), _CHUNK):
        rows = tokens(list(texts[start : start + _CHUNK]), context_length=CONTEXT)
        with sdpa_kernel(SDPBackend.MATH):
            out = model(normalise(images[start : start + _CHUNK]), rows)
        loss = F.cross_entropy(
            out["logits"].flatten(0, 1), out["labels"].flatten(), ignore_index=0, reduction="none"
        )
        parts.append(loss.view(len(rows), -1).sum(1))
    return torch.cat(parts)


def swapped(scene: Scene) -> str:
    """The caption of a pair with its two nouns (and their articles and colours) exchanged."""
    first, relation, second = _split_at_relation(scene.caption)
    return f"{second} {relation} {first}"


def _split_at_relation(caption: str) -> tuple[str, str, str]:
    relation = next(r for r in _RELATIONS if r in caption)
    first, _, second = caption.partition(relation)
    return first.strip(), relation.strip(), second.strip()


def _relation(caption: str) -> str | None:
    return next((r.strip() for r in _RELATIONS if r in caption), None)


def _nouns(scene: Scene, concepts: Sequence[Concept]) -> list[str]:
    plural = scene.kind == "count"
    return [concepts[c].plural if plural else concepts[c].name for c in scene.concepts]


def _recall(captions: Sequence[str], nouns: Sequence[Sequence[str]]) -> float:
    """Share of the nouns that stand in their caption as whole words."""
    hits = [
        f" {noun} " in f" {text.replace(',', ' ')} ".replace("  ", " ")
        for text, wanted in zip(captions, nouns, strict=True)
        for noun in wanted
    ]
    return sum(hits) / max(1, len(hits))


def _recall_by_chance(captions: Sequence[str], nouns: Sequence[Sequence[str]]) -> float:
    """The same with every caption given to the next scene."""
    return _recall([*captions[1:], *captions[:1]], nouns)


def _plain(caption: str, concepts: Sequence[Concept]) -> str:
    """The caption without articles and without colours that are no part of a name."""
    colours = {
        "red",
        "orange",
        "yellow",
        "green",
        "blue",
        "purple",
        "pink",
        "brown",
        "black",
        "white",
        "gray",
    }
    in_names = {word for c in concepts for word in c.name.split()} & colours
    return " ".join(w for w in caption.split() if w not in {"a", "an"} | (colours - in_names))


def score_captions(
    model: CoCa,
    tokens: SimpleTokenizer,
    scenes: Sequence[Scene],
    images: torch.Tensor,
    concepts: Sequence[Concept],
) -> CaptionScores:
    """Caption the scenes greedily and compare with what is drawn.

    Parameters
    ----------
    scenes
        Scenes of every kind.
    images
        Their pictures, uint8 [N, 3, H, W].
    concepts
        All concepts, for the nouns' names.
    """
    captions = greedy(model, tokens, images)
    nouns = [_nouns(scene, concepts) for scene in scenes]

    def of(*kinds: str) -> tuple[list[int], list[str], list[list[str]]]:
        chosen = [i for i, scene in enumerate(scenes) if scene.kind in kinds]
        return chosen, [captions[i] for i in chosen], [nouns[i] for i in chosen]

    _, single_captions, single_nouns = of("single")
    pairs, pair_captions, pair_nouns = of(*_PAIRS)
    _, three_captions, three_nouns = of("three")
    counted, count_captions, count_nouns = of("count")
    told = [scenes[i].caption for i in pairs]
    ordered = [i for i in pairs if scenes[i].kind != "diagonal"]
    true_nll = caption_nll(model, tokens, images[ordered], [scenes[i].caption for i in ordered])
    swapped_nll = caption_nll(model, tokens, images[ordered], [swapped(scenes[i]) for i in ordered])
    return CaptionScores(
        scenes=len(scenes),
        single_noun=_recall(single_captions, single_nouns),
        single_noun_chance=_recall_by_chance(single_captions, single_nouns),
        pair_nouns=_recall(pair_captions, pair_nouns),
        pair_nouns_chance=_recall_by_chance(pair_captions, pair_nouns),
        pair_exact=_share(
            _plain(a, concepts) == _plain(b, concepts) for a, b in zip(pair_captions, told, strict=True)
        ),
        relation=_share(_relation(a) == _relation(b) for a, b in zip(pair_captions, told, strict=True)),
        relation_chance=1 / len(_PAIRS),
        three_nouns=_recall(three_captions, three_nouns),
        three_nouns_chance=_recall_by_chance(three_captions, three_nouns),
        count_word=_share(
            c.split()[:1] == scenes[i].caption.split()[:1]
            for c, i in zip(count_captions, counted, strict=True)
        ),
        count_word_chance=1 / 3,
        count_noun=_recall(count_captions, count_nouns),
        order_preferred=float((true_nll < swapped_nll).float().mean()),
        order_preferred_chance=0.5,
    )


def _share(hits: Iterable[bool]) -> float:
    found = list(hits)
    return sum(found) / max(1, len(found))
