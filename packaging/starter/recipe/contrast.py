"""Whether a true caption is preferred to one that is false in one word."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any, get_args

from recipe.captions import text_nll
from recipe.encoded import Encoder, stacked
from recipe.scenes import Scene, SceneGenerator
from recipe.wording import Kind, NegativeKind, Words

KINDS: tuple[NegativeKind, ...] = get_args(NegativeKind)
_DRAWN: dict[NegativeKind, tuple[Kind, ...]] = {
    "noun": ("single", "beside", "over", "three"),
    "colour": ("single",),
    "count": ("count", "groups"),
    "relation": ("beside", "over", "on", "behind", "inside"),
}

_TRIES = 20


@dataclass(frozen=True, slots=True)
class ContrastScores:
    """Share of pairs in which the true caption is preferred (chance 0.5).

    ``similarity`` compares the embeddings, ``likelihood`` the decoder's log-probabilities.
    """

    pairs: int
    similarity: float
    likelihood: float


def score_contrast(encoder: Encoder, scenes: SceneGenerator, count: int) -> dict[str, Any]:
    """So many pairs of captions for each kind of falsehood; `ContrastScores` by kind, and ``all``."""
    by_kind = {kind: _score(encoder, *_pairs(scenes, kind, count)) for kind in KINDS}
    every = ContrastScores(
        sum(s.pairs for s in by_kind.values()),
        sum(s.similarity for s in by_kind.values()) / len(by_kind),
        sum(s.likelihood for s in by_kind.values()) / len(by_kind),
    )
    return {kind: asdict(scores) for kind, scores in {**by_kind, "all": every}.items()}


def _pairs(scenes: SceneGenerator, kind: NegativeKind, count: int) -> tuple[list[Scene], list[Words]]:
    drawn: list[Scene] = []
    false: list[Words] = []
    kinds = _DRAWN[kind]
    for number in range(_TRIES * count):
        if len(drawn) == count:
            break
        scene = scenes.scene(kinds[number % len(kinds)])
        words = next((words for found, words in scene.negatives if found == kind), None)
        if words is not None:
            drawn.append(scene)
            false.append(words)
    return drawn, false


def _score(encoder: Encoder, scenes: Sequence[Scene], false: Sequence[Words]) -> ContrastScores:
    if not scenes:
        return ContrastScores(0, 0.5, 0.5)
    encoded = encoder.images(stacked(scenes))
    true_texts = [scene.caption for scene in scenes]
    false_texts = [" ".join(word for word, _ in words) for words in false]
    of_true = (encoded.vectors * encoder.texts(true_texts)).sum(1)
    of_false = (encoded.vectors * encoder.texts(false_texts)).sum(1)
    likelier = text_nll(encoder, encoded.patches, true_texts) < text_nll(
        encoder, encoded.patches, false_texts
    )
    return ContrastScores(
        len(scenes), float((of_true > of_false).float().mean()), float(likelier.float().mean())
    )
