"""How likely given answers are: the probability with which a model would write each of them itself."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from mmviewer.core.answers import AnswerScores
from mmviewer.core.errors import InputError, UnsupportedError
from mmviewer.core.models.base import Decoder, LoadedModel, Prepared
from mmviewer.core.progress import SILENT, Progress
from mmviewer.core.tasks.ask import asked_ids
from mmviewer.core.tasks.classify import check_labels
from mmviewer.core.tasks.generate import check_numbers, kind_of, read_back
from mmviewer.core.tasks.query import check_length
from mmviewer.core.types import Sampling, TokenSequence


def likelihood(
    model: LoadedModel,
    prepared: Prepared,
    answers: Sequence[str],
    *,
    question: str = "",
    prompt: str = "",
    history: Sequence[tuple[str, str]] = (),
    progress: Progress = SILENT,
) -> AnswerScores:
    """Score given answers to a question, or given continuations of a text.

    Each is read in one forward after what was given, so the scores are those with which `generate` would
    write it. Where a tokenizer tells a word after a blank from one without, the likelier form counts.

    Parameters
    ----------
    model : LoadedModel
        Any that writes.
    prepared : Prepared
    answers : sequence of str
        N of them.
    question : str
        What they answer; without one they continue `prompt`.
    prompt : str
        The beginning of a text; may be empty.
    history : sequence of (str, str)
        Earlier questions with their answers.
    progress : Progress

    Returns
    -------
    AnswerScores

    Raises
    ------
    InputError
        An answer is empty, repeated, too long, or none that the model ever gives.
    UnsupportedError
        The model does not write, or not after a question.
    """
    wanted = check_labels(answers, "answer")
    if question.strip():
        given = asked_ids(model, question, history)
    else:
        kind_of(model, prepared, prompted=bool(prompt.strip()))
        given = model.prompt_ids(prompt) if prompt.strip() else ()
    decoder = model.decoder(prepared, given)
    if decoder.windows > 1:
        raise UnsupportedError(
            "The sound is longer than the model hears at once, so texts cannot be scored for it; cut it."
        )
    blank = TokenSequence(
        "answer" if question.strip() else kind_of(model, prepared, prompted=bool(given)),
        prepared.media_id,
        model.info.id,
        "",
        (),
        decoder.prompt[: len(decoder.prompt) - len(given)],
        Sampling(),
        question=" ".join(question.split()),
        shots=prepared.shots,
    )
    scored = []
    for number, answer in enumerate(wanted):
        check_length(model, answer, "answer")
        progress.report(number, len(wanted), "scoring answers")
        forms = [
            _scored(model, prepared, decoder, form, answer) for form in model.answer_forms(answer) if form
        ]
        if not forms:
            raise InputError(f"The answer “{answer}” holds nothing that {model.info.label} can write.")
        ids, logits, end = max(forms, key=lambda form: _sum(form[0], form[1]))
        scored.append((read_back(model, blank, given, ids, logits), _sum(ids, logits), end))
    return AnswerScores(
        media_id=prepared.media_id,
        model_id=model.info.id,
        question=blank.question,
        prompt=prompt,
        answers=wanted,
        logprobs=np.array([total for _, total, _ in scored], np.float32),
        counts=np.array([len(text.tokens) - len(given) for text, _, _ in scored]),
        ends=np.array([end for *_, end in scored], np.float32),
        sequences=tuple(text for text, *_ in scored),
    )


def _scored(
    model: LoadedModel, prepared: Prepared, decoder: Decoder, ids: tuple[int, ...], answer: str
) -> tuple[tuple[int, ...], Tensor, float]:
    """The ids, logits [T, V] that predict them, and the log-probability of stopping after them."""
    whole = decoder.room == 1  # an answer is one token, with nothing after it
    if len(ids) + (not whole) > decoder.room:
        raise InputError(
            f"The answer “{answer[:40]}” takes {len(ids)} tokens, but {model.info.label} has room for "
            f"{decoder.room - 1}; shorten it."
        )
    fed = (*decoder.prompt, *(ids[:-1] if whole else ids))
    with torch.no_grad():
        logits = model.sequence_logits(prepared, fed)[len(decoder.prompt) - 1 :].float().cpu()
    check_numbers(logits.amax(-1), model)
    if whole:
        return ids, logits, 0.0
    end = logits[-1].log_softmax(-1)[sorted(decoder.stop)].logsumexp(0)
    return ids, logits[:-1], float(end)


def _sum(ids: Sequence[int], logits: Tensor) -> float:
    logprobs = logits.log_softmax(-1)
    return float(logprobs[torch.arange(len(ids)), torch.tensor(ids)].sum())
