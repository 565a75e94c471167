"""Captions by the decoder, and how far they tell what is in the picture."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import torch
import torch.nn.functional as F  # noqa: N812 the name everyone knows
from open_clip.tokenizer import SimpleTokenizer

from recipe import colours
from recipe.coca import CONTEXT
from recipe.concepts import Concept
from recipe.encoded import CHUNK, Encoded, Encoder
from recipe.scenes import Scene
from recipe.wording import NUMBERS, PAIR_KINDS, RELATIONS

# Longer phrases first, so that "in front of" is not taken for a shorter one.
_PHRASES = (
    "to the left of", "to the right of", "in front of", "above", "below", "under", "behind", "inside", "on",
    "and",
)  # fmt: skip
_ORDERED = ("beside", "over", "on", "behind", "inside")


@dataclass(frozen=True, slots=True)
class CaptionScores:
    """Of one arrangement; shares from 0 to 1.

    Attributes
    ----------
    scenes
        How many.
    nouns, nouns_chance
        Share of the nouns that stand in their caption, and in the caption of the next scene of the kind.
    whole, whole_without_colours
        Share of captions that are the canonical one to the letter, and but for colours.
    """

    scenes: int
    nouns: float
    nouns_chance: float
    whole: float
    whole_without_colours: float


def greedy(encoder: Encoder, encoded: Encoded) -> list[str]:
    """The most probable caption, token by token, of each picture."""
    start = torch.full((len(encoded.vectors), 1), encoder.tokens.sot_token_id)
    return complete(encoder, encoded.patches, start)


def complete(encoder: Encoder, patches: torch.Tensor, rows: torch.Tensor) -> list[str]:
    """What the decoder writes on from rows int64 [N, T] about its picture's patches [N, P, W]."""
    written: list[str] = []
    for part, start in zip(torch.split(patches, CHUNK), torch.split(rows, CHUNK), strict=True):
        whole = _complete_rows(encoder, part, start)
        written += [_text(encoder.tokens, row[rows.shape[1] :]) for row in whole.tolist()]
    return written


def _complete_rows(encoder: Encoder, patches: torch.Tensor, row: torch.Tensor) -> torch.Tensor:
    end = encoder.tokens.eot_token_id
    ended = torch.zeros(len(patches), dtype=torch.bool)
    while row.shape[1] < CONTEXT and not ended.all():
        following = encoder.logits(patches, row)[:, -1].argmax(-1)
        following[ended] = 0
        ended |= following == end
        row = torch.cat([row, following[:, None]], dim=1)
    return row


def _text(tokens: SimpleTokenizer, row: Sequence[int]) -> str:
    special = {0, tokens.sot_token_id, tokens.eot_token_id}
    return str(tokens.decode([token for token in row if token not in special])).strip().replace(" ,", ",")


def text_nll(encoder: Encoder, patches: torch.Tensor, texts: Sequence[str]) -> torch.Tensor:
    """Negative log-probability [N] of each text as the caption of its picture."""
    rows = encoder.tokens(list(texts), context_length=CONTEXT)
    parts = []
    for part, row in zip(torch.split(patches, CHUNK), torch.split(rows, CHUNK), strict=True):
        logits = encoder.logits(part, row[:, :-1])
        loss = F.cross_entropy(logits.flatten(0, 1), row[:, 1:].flatten(), ignore_index=0, reduction="none")
        parts.append(loss.view(len(row), -1).sum(1))
    return torch.cat(parts)


def swapped(scene: Scene) -> str:
    """The canonical caption of a pair with its two nouns (and all that belongs to them) exchanged."""
    relation = RELATIONS[scene.kind]
    first, _, second = scene.caption.partition(f" {relation} ")
    return f"{second} {relation} {first}"


def _relation(caption: str) -> str | None:
    return next((phrase for phrase in _PHRASES if f" {phrase} " in f" {caption} "), None)


def _number(caption: str) -> str | None:
    return next((word for word in caption.split() if word in NUMBERS), None)


def nouns_of(scene: Scene, concepts: Sequence[Concept]) -> list[str]:
    """The nouns as the canonical caption says them."""
    return [
        concepts[c].plural if len(boxes) > 1 else concepts[c].name
        for c, boxes in zip(scene.concepts, scene.boxes, strict=True)
    ]


def recall(captions: Sequence[str], nouns: Sequence[Sequence[str]]) -> float:
    """Share of the nouns that stand in their caption as whole words."""
    return _share(
        f" {noun} " in f" {text.replace(',', ' ')} ".replace("  ", " ")
        for text, wanted in zip(captions, nouns, strict=True)
        for noun in wanted
    )


def _without_colours(caption: str, concepts: Sequence[Concept]) -> str:
    """The caption without articles and without colours that are no part of a name."""
    in_names = {word for c in concepts for word in c.name.split()} & colours.COLOUR_WORDS
    return " ".join(w for w in caption.split() if w not in {"a", "an"} | (colours.COLOUR_WORDS - in_names))


def score_captions(
    encoder: Encoder, scenes: Sequence[Scene], encoded: Encoded, concepts: Sequence[Concept]
) -> dict[str, Any]:
    """Caption the scenes greedily and compare with the canonical captions.

    Parameters
    ----------
    encoder
        The model.
    scenes, encoded
        Scenes with canonical captions, and their pictures.
    concepts
        All concepts, for the nouns' names.

    Returns
    -------
    dict
        ``kinds``: `CaptionScores` by arrangement; ``relation`` of pairs and ``number``, each with what the
        commonest answer reaches; ``order``: how often the true caption is likelier than the one with its
        nouns exchanged.
    """
    written = greedy(encoder, encoded)
    kinds: dict[str, Any] = {}
    for kind in dict.fromkeys(scene.kind for scene in scenes):
        chosen = [i for i, scene in enumerate(scenes) if scene.kind == kind]
        kinds[kind] = asdict(_score_kind([scenes[i] for i in chosen], [written[i] for i in chosen], concepts))
    pairs = [i for i, scene in enumerate(scenes) if scene.kind in PAIR_KINDS]
    counted = [i for i, scene in enumerate(scenes) if scene.kind == "count"]
    ordered = [i for i, scene in enumerate(scenes) if scene.kind in _ORDERED]
    true = text_nll(encoder, encoded.of(ordered).patches, [scenes[i].caption for i in ordered])
    false = text_nll(encoder, encoded.of(ordered).patches, [swapped(scenes[i]) for i in ordered])
    return {
        "kinds": kinds,
        "relation": _compared(
            [_relation(scenes[i].caption) for i in pairs], [_relation(written[i]) for i in pairs]
        ),
        "number": _compared(
            [_number(scenes[i].caption) for i in counted], [_number(written[i]) for i in counted]
        ),
        "order": {"scenes": len(ordered), "right": float((true < false).float().mean()), "chance": 0.5},
    }


def _compared(true: Sequence[str | None], said: Sequence[str | None]) -> dict[str, Any]:
    commonest = max(true.count(answer) for answer in set(true)) / max(1, len(true)) if true else 0.0
    return {
        "scenes": len(true),
        "right": _share(a == b for a, b in zip(true, said, strict=True)),
        "chance": commonest,
    }


def _score_kind(
    scenes: Sequence[Scene], written: Sequence[str], concepts: Sequence[Concept]
) -> CaptionScores:
    nouns = [nouns_of(scene, concepts) for scene in scenes]
    pairs = list(zip(written, [scene.caption for scene in scenes], strict=True))
    return CaptionScores(
        len(scenes),
        recall(written, nouns),
        recall([*written[1:], *written[:1]], nouns),
        _share(said == true for said, true in pairs),
        _share(_without_colours(said, concepts) == _without_colours(true, concepts) for said, true in pairs),
    )


def _share(hits: Iterable[bool]) -> float:
    found = list(hits)
    return sum(found) / max(1, len(found))
