"""Which scores a map explains: targets and contrasts resolved for a model and a sequence."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal
from weakref import WeakKeyDictionary

import torch
from torch import Tensor, nn

from mmviewer.core.capture.mechanism import changing
from mmviewer.core.errors import InputError, UnsupportedError
from mmviewer.core.explain.scores import (
    ClassProbability,
    Difference,
    LogProbabilities,
    Score,
    Similarities,
)
from mmviewer.core.explain.selection import content
from mmviewer.core.models.base import LoadedModel
from mmviewer.core.progress import SILENT, Progress
from mmviewer.core.targets import (
    EACH_TOKEN,
    EACH_WORD_OR_WHOLE,
    ClassTarget,
    Contrast,
    RunnerUp,
    SequenceTarget,
    SimilarityTarget,
    Target,
    WordTarget,
)
from mmviewer.core.tasks.classify import label_embeddings
from mmviewer.core.tasks.features import FeatureCache
from mmviewer.core.tasks.query import check_length
from mmviewer.core.types import Capability, FloatArray, MapSpec, TokenSequence, TokenSpan


@dataclass(frozen=True, slots=True, eq=False)
class Objective:
    """N scores of one item under one text.

    Parameters
    ----------
    score : Score
        Takes the unit embedding [..., D] of the input for a query, else logits [..., T, V].
    words : str
        What the scores are, for people.
    layout : {"words", "tokens", "one"}
        Whether the scores are the whole query and each of its words, each token, or one for all.
    steps : tuple of tuple of int
        For each score the tokens whose steps it reads; empty for a query.
    directions : Tensor [N, D] or None
        Text embeddings that stand for the scores, where these are taken from an embedding.
    """

    score: Score
    words: str
    layout: Literal["words", "tokens", "one"]
    steps: tuple[tuple[int, ...], ...] = ()
    directions: Tensor | None = None

    @property
    def count(self) -> int:
        """How many scores there are."""
        return self.score.count

    def spread(self, rows: Tensor, tokens: int) -> tuple[Tensor, Tensor | None]:
        """Turn one map per score [N, P] into one per token [T, P] and that of the whole text, if any."""
        if self.layout == "words":
            return rows[1:], rows[0]
        if self.layout == "tokens":
            return rows, None
        return rows.expand(tokens, -1), rows[0]


@dataclass(frozen=True, slots=True, eq=False)
class _Part:
    """Scores of one target, or of what is subtracted from it."""

    score: Score
    words: str
    directions: Tensor | None = None
    steps: tuple[tuple[int, ...], ...] = ()


def reads_embedding(sequence: TokenSequence, target: Target | None) -> bool:
    """Whether the score is taken from the embedding of the input, not from predicted tokens."""
    return sequence.kind == "query" or isinstance(target, SimilarityTarget | ClassTarget)


def as_query(sequence: TokenSequence, target: Target | None) -> TokenSequence:
    """Return the sequence to explain: a query in place of a caption where a similarity is meant."""
    if sequence.kind == "query" or not reads_embedding(sequence, target):
        return sequence
    text = target.text if isinstance(target, SimilarityTarget) else getattr(target, "label", "")
    span = TokenSpan(0, -1, text, 0, len(text))
    return TokenSequence("query", sequence.media_id, sequence.model_id, text, (span,))


def objective_of(
    model: LoadedModel, sequence: TokenSequence, spec: MapSpec, logits: Callable[[], Tensor]
) -> Objective:
    """Resolve what is explained.

    Parameters
    ----------
    sequence : TokenSequence
        As `as_query` gives it.
    logits : callable
        Gives the logits [T, V] of the untouched input; called only to find runners-up.

    Raises
    ------
    InputError
        A target or contrast that the sequence does not have, or a text that is empty or too long.
    UnsupportedError
        The model has no embedding of text.
    """
    part = _text_part if sequence.kind == "query" else _token_part
    aim = part(model, sequence, spec.target, logits)
    layout: Literal["words", "tokens", "one"] = "one"
    if spec.target is None:
        layout = "words" if sequence.kind == "query" else "tokens"
    if spec.contrast is None:
        return Objective(aim.score, aim.words, layout, aim.steps, aim.directions)
    other = _contrast_part(model, sequence, spec, logits, part)
    linear = aim.directions is not None and other.directions is not None
    return Objective(
        score=Difference(aim.score, other.score),
        words=f"{aim.words}, minus {other.words}",
        layout=layout,
        steps=aim.steps,
        directions=aim.directions - other.directions if linear else None,  # type: ignore[operator]
    )


_TEXTS: WeakKeyDictionary[nn.Module, FeatureCache] = WeakKeyDictionary()
_TEXTS_KEPT = 20_000
"""Texts of a model that are kept: all labels of the largest sets under several templates."""
_LIKELIEST = 5_000
"""Tokens of a step among which a word is looked for; each has to be read."""

PartFunction = Callable[[LoadedModel, TokenSequence, Target | None, Callable[[], Tensor]], _Part]


def _contrast_part(
    model: LoadedModel,
    sequence: TokenSequence,
    spec: MapSpec,
    logits: Callable[[], Tensor],
    part: PartFunction,
) -> _Part:
    contrast: Contrast | None = spec.contrast
    if isinstance(contrast, RunnerUp):
        if sequence.kind == "query":
            raise InputError("A similarity has no runner-up; name a text or label to contrast it with.")
        return _runners_up(sequence, spec.target, logits())
    if sequence.kind != "query" and (spec.target is None or isinstance(spec.target, SequenceTarget)):
        raise InputError(
            "Every token of a text can only be contrasted with its runner-up; choose one token to contrast "
            "it with another."
        )
    return part(model, sequence, contrast, logits)


def _text_part(
    model: LoadedModel, sequence: TokenSequence, target: Target | None, _: Callable[[], Tensor]
) -> _Part:
    """Similarities with texts, and labels against others."""
    if not model.info.can(Capability.EMBED_TEXT):
        raise UnsupportedError(
            f"{model.info.label} has no embedding of text, so there is no similarity to explain; explain "
            "what it writes itself, or load a model that can embed text."
        )
    if isinstance(target, ClassTarget):
        return _class_part(model, target)
    own = [token.text.strip() for token in sequence.tokens]
    if target is None:
        return _similarities(model, [sequence.text, *own], EACH_WORD_OR_WHOLE)
    if isinstance(target, SimilarityTarget):
        text = target.text
    elif isinstance(target, SequenceTarget):
        text = sequence.text
    else:
        if isinstance(target, WordTarget):
            raise InputError("A description has no steps that say a word; name the text to compare it with.")
        text = own[_checked_index(sequence, target.index)]
    check_length(model, text, "text to explain")
    return _similarities(model, [text], f"cosine similarity with “{text}”")


def _similarities(model: LoadedModel, texts: list[str], words: str) -> _Part:
    vectors = text_vectors(model, texts)
    return _Part(Similarities(vectors), words, vectors)


def text_vectors(model: LoadedModel, texts: Sequence[str]) -> Tensor:
    """Unit embeddings [N, D] of texts, each encoded once while the model is loaded."""
    return _on_device(model, kept_texts(model).of_texts(model, texts))


def label_vectors(
    model: LoadedModel, labels: Sequence[str], templates: Sequence[str], progress: Progress = SILENT
) -> Tensor:
    """Unit embeddings [M, D] of labels, each the mean over templates and encoded once."""
    return _on_device(model, label_embeddings(model, labels, templates, kept_texts(model), progress))


def kept_texts(model: LoadedModel) -> FeatureCache:
    """The embeddings of texts that maps of `model` have asked for.

    Switched-off heads give other embeddings for as long as they are off: nothing kept is used, nor are they.
    """
    if changing(model.module):
        return FeatureCache()
    return _TEXTS.setdefault(model.module, FeatureCache(_TEXTS_KEPT))


def _on_device(model: LoadedModel, vectors: FloatArray) -> Tensor:
    return torch.from_numpy(vectors).to(model.placement.device)


def _class_part(model: LoadedModel, target: ClassTarget) -> _Part:
    if target.label not in target.labels:
        raise InputError(f"The label “{target.label}” is not among the labels; add it to them.")
    place = target.labels.index(target.label)
    vectors = label_vectors(model, target.labels, target.templates)  # [M, D]

    score = ClassProbability(vectors, place, lambda similarities: model.logits(similarities)[0])
    words = f"log-probability of “{target.label}” among {len(target.labels)} labels"
    # the class's own direction beside the mean of all, up to the scale of the logits
    return _Part(score, words, (vectors[place] - vectors.mean(0))[None])


def _token_part(
    model: LoadedModel, sequence: TokenSequence, target: Target | None, logits: Callable[[], Tensor]
) -> _Part:
    """Log-probabilities of tokens at their steps."""
    ids = [token.id for token in sequence.tokens]
    if target is None:
        steps = tuple((index,) for index in range(len(ids)))
        return _predicted(steps, ids, EACH_TOKEN)
    if isinstance(target, SequenceTarget):
        chosen = content(sequence.tokens) or tuple(range(len(ids)))
        return _predicted((chosen,), ids, f"log-probability of the whole {sequence.kind}")
    assert not isinstance(target, SimilarityTarget | ClassTarget)
    index = _checked_index(sequence, target.index)
    if isinstance(target, WordTarget):
        ids[index] = word_token(model, target.text, logits()[index])
        words = f"log-probability of “{target.text.strip()}” at step {index + 1}"
    elif target.token is None:
        words = f"log-probability of “{sequence.tokens[index].text.strip()}” at its step"
    else:
        ids[index] = target.token
        words = f"log-probability of “{model.token_text([target.token])[0].strip()}” at step {index + 1}"
    return _predicted(((index,),), ids, words)


def word_token(model: LoadedModel, word: str, logits: Tensor) -> int:
    """The likeliest token that reads `word`, by the `logits` [V] of a step.

    Raises
    ------
    InputError
        No token among the `_LIKELIEST` reads so: says to choose another word.
    """
    wanted = word.strip().casefold()
    likely = logits.detach().float().topk(min(_LIKELIEST, len(logits))).indices.tolist()
    for token in likely if wanted else ():
        if model.token_text([token])[0].strip().casefold() == wanted:
            return int(token)
    raise InputError(
        f"“{word.strip()}” is no single token among the {len(likely):,} likeliest at that step; choose a "
        "shorter or more common word."
    )


def _runners_up(sequence: TokenSequence, target: Target | None, logits: Tensor) -> _Part:
    """The most likely other token at each step of the untouched input."""
    ids = torch.tensor([token.id for token in sequence.tokens], device=logits.device)
    others = logits.detach().float().scatter(-1, ids[:, None], float("-inf")).argmax(-1).tolist()
    steps: tuple[tuple[int, ...], ...]
    if target is None:
        steps = tuple((index,) for index in range(len(others)))
        words = "that of its runner-up"
    elif isinstance(target, SequenceTarget):
        steps = (content(sequence.tokens) or tuple(range(len(others))),)
        words = "that of all runners-up"
    else:
        assert not isinstance(target, SimilarityTarget | ClassTarget)
        steps, words = ((target.index,),), "that of the runner-up at that step"
    return _predicted(steps, others, words)


def _predicted(steps: tuple[tuple[int, ...], ...], ids: list[int], words: str) -> _Part:
    return _Part(LogProbabilities(steps, tuple(ids)), words, steps=steps)


def _checked_index(sequence: TokenSequence, index: int) -> int:
    if not 0 <= index < len(sequence.tokens):
        raise InputError(
            f"The {sequence.kind} has tokens 0 to {len(sequence.tokens) - 1}; token {index} does not exist."
        )
    return index
