"""Captions, answers and transcripts: choosing one token after the other, for any model with a decoder."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

import torch
from torch import Tensor

from mmviewer.core.errors import InputError, UnsupportedError
from mmviewer.core.models.base import Decoder, LoadedModel, Prepared
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
    prompt: str | tuple[int, ...] = "",
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
    prompt : str or tuple of int
        The beginning of the caption, from which the model writes on, or ids of one; its tokens come first,
        marked as given.

    Returns
    -------
    TokenSequence
        Each token with the natural logarithm of its probability under the model's own distribution (before
        temperature, top-k, top-p and ids that its settings suppress) and the five most likely tokens.

    Raises
    ------
    UnsupportedError
        The model cannot caption or transcribe such an item, takes no prompt, or gives no numbers.
    InputError
        A sampling option out of range, or a prompt that leaves no room.
    """
    _check(sampling)
    kind = kind_of(model, prepared, prompted=bool(prompt))
    progress.report(0, sampling.max_tokens, "looking at the item")
    if isinstance(prompt, str):
        prompt = model.prompt_ids(prompt) if prompt.strip() else ()
    given = prompt
    decoder = model.decoder(prepared, given)
    leading = decoder.prompt[: len(decoder.prompt) - len(given)]
    blank = TokenSequence(
        kind, prepared.media_id, model.info.id, "", (), leading, sampling, shots=prepared.shots
    )
    steps = _Steps(model, blank, given)
    limit = min(sampling.max_tokens * decoder.windows, decoder.room)
    return _write(model, prepared, decoder, steps, limit, sampling, on_token, progress)


def kind_of(model: LoadedModel, prepared: Prepared, *, prompted: bool) -> SequenceKind:
    """What a model writes about an item; `UnsupportedError` if nothing.

    One that answers and does not caption must be `prompted`: it needs what it answers.
    """
    capability, kind = _KINDS[prepared.modality]
    answers = prompted and prepared.modality is Modality.IMAGE and model.info.can(Capability.ANSWER)
    if not (model.info.can(capability) or answers):
        raise UnsupportedError(f"{model.info.label} cannot {capability.value}; load a model that can.")
    return kind


def branch(
    model: LoadedModel,
    prepared: Prepared,
    sequence: TokenSequence,
    index: int,
    token: int,
    sampling: Sampling = Sampling(),
    on_token: OnToken | None = None,
    progress: Progress = SILENT,
) -> TokenSequence:
    """Write a text again from one of its tokens on, with another token in its place.

    Parameters
    ----------
    model, prepared
        Those that the text came from.
    sequence : TokenSequence
        A caption, answer or transcript.
    index : int
        Which of its tokens is replaced; it must have been written by the model, not given.
    token : int
        Id of the token that takes its place, such as one of its ``alternative_ids``.
    sampling : Sampling
        For what follows; ``max_tokens`` counts from the new token on.
    on_token, progress
        As in `generate`.

    Returns
    -------
    TokenSequence
        The tokens before `index` as they were, the new one marked as chosen, and what the model writes on.

    Raises
    ------
    InputError
        There is no such token, it was given, or `token` is none that the model may write there.
    UnsupportedError
        As in `generate`.
    """
    _check(sampling)
    if sequence.kind == "query" or not 0 <= index < len(sequence.tokens):
        raise InputError("There is no such token to branch at; choose one that the model wrote.")
    if sequence.tokens[index].given:
        raise InputError("This token was given to the model; choose one that it wrote itself.")
    given = tuple(span.id for span in sequence.tokens if span.given)
    decoder = model.decoder(prepared, given)
    if decoder.prompt != (*sequence.prompt_ids, *given):
        raise InputError("The text belongs to another model or another picture; make it again.")
    kept = sequence.tokens[len(given) : index]
    blank = replace(sequence, tokens=(), text="", sampling=sampling, phrases=())
    steps = _Steps(model, blank, given)
    for span in kept:
        progress.report(len(steps.ids), index, "reading the text again")
        decoder.next_logits(steps.ids)
        steps.keep(span)
    logits = decoder.next_logits(steps.ids).detach().to("cpu", torch.float32)  # [V]
    check_numbers(logits, model)
    if not 0 <= token < len(logits) or token in decoder.suppressed(steps.ids):
        raise InputError(f"{model.info.label} cannot write this token here; choose another one.")
    steps.add(token, logits, chosen=True)
    if not decoder.finished(steps.ids):
        if on_token is not None:
            on_token(steps.sequence(finished=False))
        limit = min(len(kept) + sampling.max_tokens * decoder.windows, decoder.room)
        return _write(model, prepared, decoder, steps, limit, sampling, on_token, progress)
    return _finished(model, prepared, steps)


def read_back(
    model: LoadedModel, blank: TokenSequence, given: tuple[int, ...], ids: Sequence[int], logits: Tensor
) -> TokenSequence:
    """A text as if the model had written it, with what it thought of each token.

    Parameters
    ----------
    blank : TokenSequence
        What the text has beside its tokens.
    given : tuple of int
        Ids that come first, marked as given.
    ids : sequence of int
        Those whose probabilities are told, T of them.
    logits : Tensor [T, V]
        Row t predicts ``ids[t]``.
    """
    steps = _Steps(model, blank, given)
    for token, row in zip(ids, logits, strict=True):
        steps.add(token, row)
    return steps.sequence(finished=True)


def _write(
    model: LoadedModel,
    prepared: Prepared,
    decoder: Decoder,
    steps: _Steps,
    limit: int,
    sampling: Sampling,
    on_token: OnToken | None,
    progress: Progress,
) -> TokenSequence:
    """Write on until the text ends or has `limit` tokens."""
    generator = torch.Generator().manual_seed(sampling.seed)
    while len(steps.ids) < limit:
        progress.report(len(steps.ids), limit, "writing")
        logits = decoder.next_logits(steps.ids).detach().to("cpu", torch.float32)  # [V]
        check_numbers(logits, model)
        chosen = choose_token(_allowed(logits, decoder.suppressed(steps.ids)), sampling, generator)
        steps.add(chosen, logits)
        if decoder.finished(steps.ids):
            break
        if on_token is not None:
            on_token(steps.sequence(finished=False))
    return _finished(model, prepared, steps)


def _finished(model: LoadedModel, prepared: Prepared, steps: _Steps) -> TokenSequence:
    written = steps.sequence(finished=True)
    return replace(written, phrases=model.phrases(written.text, written.tokens, prepared.geometry))


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

    def __init__(self, model: LoadedModel, blank: TokenSequence, given: tuple[int, ...]) -> None:
        self.ids: list[int] = []
        self._model = model
        self._blank = blank
        self._given = given
        self._facts: list[TokenSpan] = []

    def add(self, token: int, logits: Tensor, *, chosen: bool = False) -> None:
        """Note a token and what the model thought of it."""
        logprobs = logits.log_softmax(-1)
        values, ids = logprobs.topk(min(_ALTERNATIVES, len(logprobs)))
        others = tuple(int(other) for other in ids)
        names = [self._model.token_text([other])[1][0].text for other in others]
        self.keep(
            TokenSpan(
                len(self.ids),
                token,
                "",
                logprob=float(logprobs[token]),
                alternatives=tuple(zip(names, values.tolist(), strict=True)),
                alternative_ids=others,
                chosen=chosen,
            )
        )

    def keep(self, span: TokenSpan) -> None:
        """Take over a token with what is known of it."""
        self.ids.append(span.id)
        self._facts.append(span)

    def sequence(self, finished: bool) -> TokenSequence:
        """The tokens so far as a value."""
        text, spans = self._model.token_text([*self._given, *self.ids])
        first = len(self._given)
        given = (replace(span, given=True) for span in spans[:first])
        own = (_with_facts(span, known) for span, known in zip(spans[first:], self._facts, strict=True))
        return replace(self._blank, text=text, tokens=(*given, *own), finished=finished)


def _with_facts(span: TokenSpan, known: TokenSpan) -> TokenSpan:
    return replace(
        span,
        logprob=known.logprob,
        alternatives=known.alternatives,
        alternative_ids=known.alternative_ids,
        chosen=known.chosen,
    )


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


def check_numbers(logits: Tensor, model: LoadedModel) -> None:
    """Raise `UnsupportedError` for logits that are no numbers."""
    if not bool(torch.isfinite(logits.max())):
        raise UnsupportedError(
            f"{model.info.label} gave values that are no numbers in {model.info.dtype}; load it with float32."
        )
