"""Captions and transcripts: choosing one token after the other, for any model with a decoder."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

import torch
from torch import Tensor

from mmviewer.core.errors import InputError, UnsupportedError
from mmviewer.core.models.base import LoadedModel, Prepared
from mmviewer.core.progress import SILENT, Progress
from mmviewer.core.types import Capability, Modality, Sampling, SequenceKind, TokenSequence, TokenSpan

OnToken = Callable[[TokenSequence], None]
_ALTERNATIVES = 5
_KINDS: dict[Modality, tuple[Capability, SequenceKind]] = {
    Modality.IMAGE: (Capability.CAPTION, "caption"),
    Modality.AUDIO: (Capability.TRANSCRIBE, "transcript"),
}


def generate(
    model: LoadedModel,
    prepared: Prepared,
    sampling: Sampling = Sampling(),
    on_token: OnToken | None = None,
    progress: Progress = SILENT,
) -> TokenSequence:
    """Caption an image or transcribe a sound.

    Parameters
    ----------
    model : LoadedModel
    prepared : Prepared
    sampling : Sampling
        ``max_tokens`` counts generated tokens, the one that ends the text included; in a sound longer than
        the model's window, those of each window.
    on_token : callable, optional
        Receives the unfinished sequence after each token.
    progress : Progress
        Checked for a cancel before each token.

    Returns
    -------
    TokenSequence
        Each token with the natural logarithm of its probability under the model's own distribution (before
        temperature, top-k, top-p and ids that its settings suppress) and the five most likely tokens.

    Raises
    ------
    UnsupportedError
        The model cannot caption or transcribe such an item, or gives no numbers.
    InputError
        A sampling option out of range.
    """
    _check(sampling)
    capability, kind = _KINDS[prepared.modality]
    if not model.info.can(capability):
        raise UnsupportedError(f"{model.info.label} cannot {capability.value}; load a model that can.")
    progress.report(0, sampling.max_tokens, "looking at the item")
    decoder = model.decoder(prepared)
    generator = torch.Generator().manual_seed(sampling.seed)
    steps = _Steps(model, prepared, kind, decoder.prompt, sampling)
    limit = min(sampling.max_tokens * decoder.windows, decoder.room)
    while len(steps.ids) < limit:
        progress.report(len(steps.ids), limit, "writing")
        logits = decoder.next_logits(steps.ids).detach().to("cpu", torch.float32)  # [V]
        _check_numbers(logits, model)
        chosen = choose_token(_allowed(logits, decoder.suppressed(steps.ids)), sampling, generator)
        steps.add(chosen, logits)
        if decoder.finished(steps.ids):
            break
        if on_token is not None:
            on_token(steps.sequence(finished=False))
    return steps.sequence(finished=True)


def choose_token(logits: Tensor, sampling: Sampling, generator: torch.Generator) -> int:
    """Choose the next token from logits [V] on the CPU: the likeliest at temperature 0, else drawn."""
    if sampling.temperature == 0:
        return int(logits.argmax())
    probabilities = sampling_distribution(logits, sampling)
    return int(torch.multinomial(probabilities, 1, generator=generator))


def sampling_distribution(logits: Tensor, sampling: Sampling) -> Tensor:
    """Probabilities [V] that are drawn from: temperature first, then top-k, then top-p, renormalised.

    Top-p keeps the smallest set of likeliest tokens whose probabilities sum to at least ``top_p``.
    """
    probabilities = (logits.double() / sampling.temperature).softmax(-1)
    ranked, order = probabilities.sort(descending=True, stable=True)
    keep = torch.ones_like(ranked, dtype=torch.bool)
    if sampling.top_k > 0:
        keep[sampling.top_k :] = False
        ranked = ranked * keep / (ranked * keep).sum()
    if sampling.top_p < 1:
        before = ranked.cumsum(-1) - ranked
        keep &= before < sampling.top_p
    kept = torch.zeros_like(probabilities).scatter(-1, order, ranked * keep)
    return kept / kept.sum()


class _Steps:
    """What has been generated so far."""

    def __init__(
        self,
        model: LoadedModel,
        prepared: Prepared,
        kind: SequenceKind,
        prompt: tuple[int, ...],
        sampling: Sampling,
    ) -> None:
        self.ids: list[int] = []
        self._model = model
        self._blank = TokenSequence(kind, prepared.media_id, model.info.id, "", (), prompt, sampling)
        self._facts: list[tuple[float, tuple[tuple[str, float], ...]]] = []

    def add(self, token: int, logits: Tensor) -> None:
        """Note a chosen token and what the model thought of it."""
        logprobs = logits.log_softmax(-1)
        values, ids = logprobs.topk(min(_ALTERNATIVES, len(logprobs)))
        names = [self._model.token_text([int(other)])[1][0].text for other in ids]
        alternatives = tuple(zip(names, values.tolist(), strict=True))
        self.ids.append(token)
        self._facts.append((float(logprobs[token]), alternatives))

    def sequence(self, finished: bool) -> TokenSequence:
        """The tokens so far as a value."""
        text, spans = self._model.token_text(self.ids)
        tokens = tuple(_with_facts(span, *facts) for span, facts in zip(spans, self._facts, strict=True))
        return replace(self._blank, text=text, tokens=tokens, finished=finished)


def _with_facts(span: TokenSpan, logprob: float, alternatives: tuple[tuple[str, float], ...]) -> TokenSpan:
    return replace(span, logprob=logprob, alternatives=alternatives)


def _allowed(logits: Tensor, suppressed: Sequence[int]) -> Tensor:
    """Logits with those of forbidden ids at minus infinity."""
    if not suppressed:
        return logits
    return logits.index_fill(0, torch.tensor(suppressed), float("-inf"))


def _check(sampling: Sampling) -> None:
    problems = {
        "temperature must be 0 or more": not 0 <= sampling.temperature < float("inf"),
        "top-k must be 0 (off) or more": sampling.top_k < 0,
        "top-p must be above 0 and at most 1": not 0 < sampling.top_p <= 1,
        "the number of tokens must be 1 or more": sampling.max_tokens < 1,
        "the seed must be a whole number from 0 to 2^63 - 1": not 0 <= sampling.seed < 2**63,
    }
    for sentence, wrong in problems.items():
        if wrong:
            raise InputError(f"In the sampling options {sentence}.")


def _check_numbers(logits: Tensor, model: LoadedModel) -> None:
    if not bool(torch.isfinite(logits.max())):
        raise UnsupportedError(
            f"{model.info.label} gave values that are no numbers in {model.info.dtype}; load it with float32."
        )
