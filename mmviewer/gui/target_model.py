"""What a map can be asked to explain, for and against: choices worked out from the session, no Qt."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from mmviewer.core.session.state import SessionState
from mmviewer.core.targets import (
    ClassTarget,
    Contrast,
    RunnerUp,
    SequenceTarget,
    SimilarityTarget,
    Target,
    TokenTarget,
    WordTarget,
)
from mmviewer.core.types import Capability, MapSpec, ModelInfo, TokenSequence, TokenSpan

_LABELS_OFFERED = 30
_NAMES = {"caption": "caption", "answer": "answer", "transcript": "transcript", "query": "description"}


@dataclass(frozen=True, slots=True)
class Choice:
    """One entry: `label` as it is offered, the target or contrast it stands for, and what that means."""

    label: str
    value: Contrast | None
    explained: str = ""


def takes_target(model: ModelInfo | None, spec: MapSpec) -> bool:
    """Whether the chosen method explains a score."""
    return model is not None and spec.method in model.scored


def target_choices(state: SessionState, model: ModelInfo | None) -> list[Choice]:
    """What the score can be: every word, the whole text, the chosen word, a label against the others."""
    sequence = state.sequence
    if sequence is None or model is None:
        return []
    asks = sequence.kind == "query"
    each = "word" if asks else "token"
    whole = _NAMES[sequence.kind]
    choices = [
        Choice(f"each {each}", None, f"Each {each} has a map of its own."),
        Choice(f"the whole {whole}", SequenceTarget(), f"One map for the whole {whole}."),
    ]
    aimed = state.spec.target
    if isinstance(aimed, TokenTarget | WordTarget):
        chosen: tuple[int, ...] = (aimed.index,)
    else:
        chosen = state.tokens
    if len(chosen) == 1 and chosen[0] < len(sequence.tokens) and sequence.tokens:
        words = _word(sequence.tokens[chosen[0]])
        choices.append(
            Choice(f"{words}", TokenTarget(chosen[0]), f"The map of {words} stays, whatever is chosen.")
        )
    if model.can(Capability.EMBED_TEXT) and len(state.labels) > 1:
        choices += [
            Choice(
                f"label “{label}”",
                ClassTarget(label, state.labels, state.templates),
                f"What speaks for “{label}” against the other labels of the Labels panel.",
            )
            for label in state.labels[:_LABELS_OFFERED]
        ]
    known = [choice.value for choice in choices]
    if aimed is not None and aimed not in known:
        choices.append(Choice(f"{target_words(aimed, sequence.tokens)}", aimed))
    return choices


def contrast_choices(state: SessionState, model: ModelInfo | None) -> list[Choice]:
    """What can be subtracted from the score that is chosen."""
    sequence, spec = state.sequence, state.spec
    if sequence is None or model is None:
        return []
    choices = [Choice("nothing", None, "The score alone.")]
    if isinstance(spec.target, ClassTarget):
        others = [label for label in spec.target.labels if label != spec.target.label]
        choices += [
            Choice(
                f"“{label}”",
                replace(spec.target, label=label),
                f"What speaks for it rather than “{label}”.",
            )
            for label in others[:_LABELS_OFFERED]
        ]
    elif sequence.kind == "query":
        labels = [label for label in state.labels if label != sequence.text][:_LABELS_OFFERED]
        choices += [
            Choice(f"“{label}”", SimilarityTarget(label), f"What speaks for it rather than “{label}”.")
            for label in labels
        ]
    else:
        words = "The token that the model would have said otherwise, at each step."
        choices.append(Choice("the runner-up", RunnerUp(), words))
        choices += _alternatives(state, sequence)
    known = [choice.value for choice in choices]
    if spec.contrast is not None and spec.contrast not in known:
        choices.append(Choice(f"{target_words(spec.contrast, sequence.tokens)}", spec.contrast))
    return choices


def typed_contrast(state: SessionState, text: str) -> MapSpec | None:
    """The spec with a typed text for the contrast; None where the text has no place.

    In a caption it is contrasted with the chosen token, which becomes the target.
    """
    sequence, spec = state.sequence, state.spec
    text = " ".join(text.split()).strip("“”\"' ")
    if sequence is None:
        return None
    if not text or text == "nothing":
        return replace(spec, contrast=None)
    if isinstance(spec.target, ClassTarget):
        known = text in spec.target.labels
        return replace(spec, contrast=replace(spec.target, label=text)) if known else None
    if sequence.kind == "query":
        return replace(spec, contrast=SimilarityTarget(text))
    if isinstance(spec.target, TokenTarget | WordTarget):
        return replace(spec, contrast=WordTarget(spec.target.index, text))
    if len(state.tokens) == 1:
        index = state.tokens[0]
        return replace(spec, target=TokenTarget(index), contrast=WordTarget(index, text))
    return None


def fitting(spec: MapSpec) -> MapSpec:
    """The spec for another text: what speaks of certain tokens is let go."""
    bound = TokenTarget | WordTarget
    if isinstance(spec.target, bound) or isinstance(spec.contrast, bound):
        return replace(spec, target=None, contrast=None)
    return spec


def with_target(spec: MapSpec, target: Target | None) -> MapSpec:
    """The spec with another target; a contrast of another kind is let go."""
    contrast = spec.contrast
    same = isinstance(contrast, RunnerUp) and not isinstance(target, ClassTarget | SimilarityTarget)
    both = isinstance(contrast, SimilarityTarget) and not isinstance(target, ClassTarget)
    return replace(spec, target=target, contrast=contrast if same or both else None)


def _alternatives(state: SessionState, sequence: TokenSequence) -> list[Choice]:
    """What the model might have said in place of the chosen token."""
    aimed = state.spec.target
    index = aimed.index if isinstance(aimed, TokenTarget | WordTarget) else None
    if index is None or index >= len(sequence.tokens):
        return []
    token = sequence.tokens[index]
    others = [text.strip() for text, _ in token.alternatives if text.strip() not in ("", token.text.strip())]
    return [
        Choice(f"“{text}”", WordTarget(index, text), f"What speaks for it rather than “{text}”.")
        for text in dict.fromkeys(others)
    ]


def summary(spec: MapSpec, tokens: Sequence[TokenSpan], *, scored: bool) -> str:
    """What is chosen, for a button: "for “fox”, not “cat”"."""
    aim, other = aim_words(spec, tokens)
    parts = [f"for {aim}" if aim else "for each word", *([other] if other else [])] if scored else []
    if spec.without_sinks:
        parts.append("no sinks")
    return ", ".join(parts) or "more"


def aim_words(spec: MapSpec, tokens: Sequence[TokenSpan]) -> tuple[str, str]:
    """Whose map it is where a target says so, and what it is not; each may be empty."""
    aim = target_words(spec.target, tokens) if spec.target is not None else ""
    other = target_words(spec.contrast, tokens) if spec.contrast is not None else ""
    return aim, f"not {other}" if other else ""


def target_words(target: Contrast, tokens: Sequence[TokenSpan]) -> str:
    """A target in a few words."""
    if isinstance(target, SimilarityTarget):
        return f"“{target.text}”"
    if isinstance(target, ClassTarget):
        return f"label “{target.label}”"
    if isinstance(target, WordTarget):
        return f"“{target.text.strip()}”"
    if isinstance(target, TokenTarget):
        if target.token is not None or not 0 <= target.index < len(tokens):
            return f"token {target.token} at step {target.index + 1}"
        return _word(tokens[target.index])
    return "the runner-up" if isinstance(target, RunnerUp) else "the whole text"


def _word(token: TokenSpan) -> str:
    return f"“{' '.join(token.text.split()) or repr(token.text)[1:-1]}”"
