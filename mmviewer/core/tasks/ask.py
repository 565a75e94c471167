"""Questions about a picture: put as the model was trained to be asked, answered by its decoder."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from mmviewer.core.errors import InputError, UnsupportedError
from mmviewer.core.models.about import PLACE
from mmviewer.core.models.base import LoadedModel, Prepared
from mmviewer.core.progress import SILENT, Progress
from mmviewer.core.tasks.generate import OnToken, generate
from mmviewer.core.tasks.query import check_length
from mmviewer.core.types import QuestionForm, Sampling, TokenSequence


def ask(
    model: LoadedModel,
    prepared: Prepared,
    question: str,
    sampling: Sampling = Sampling(),
    on_token: OnToken | None = None,
    progress: Progress = SILENT,
    history: Sequence[tuple[str, str]] = (),
) -> TokenSequence:
    """Answer a question about an image.

    A model that was trained on questions answers every one, also those of kinds it never saw.

    Parameters
    ----------
    model : LoadedModel
    prepared : Prepared
        An image.
    question : str
        As a person types it, with or without a question mark.
    sampling : Sampling
        ``max_tokens`` counts tokens of the answer.
    on_token, progress
        As in `generate`.
    history : sequence of (str, str)
        Earlier questions with their answers, oldest first; a model that answers each question by itself
        leaves them out.

    Returns
    -------
    TokenSequence
        Of kind "answer": the question's tokens as they were fed, marked as given, then those of the answer.

    Raises
    ------
    InputError
        An empty question, or one that is too long.
    UnsupportedError
        The model was not trained on questions.
    """
    prompt = asked_ids(model, question, history)
    label_answer: OnToken | None = None
    if on_token is not None:
        report = on_token

        def label_answer(sequence: TokenSequence) -> None:
            report(_answer(sequence, question))

    return _answer(generate(model, prepared, sampling, label_answer, progress, prompt), question)


def asked_ids(model: LoadedModel, question: str, history: Sequence[tuple[str, str]] = ()) -> tuple[int, ...]:
    """Ids that put a question as the model was trained; raises as `ask` does."""
    form = model.info.about.questions
    if form is None:
        raise UnsupportedError(
            f"{model.info.label} was not trained to answer questions; caption the image, or load a model "
            "that was."
        )
    plain = fed_question(form, question)
    check_length(model, plain, "question")
    return model.question_ids(" ".join(question.split()), history) or model.prompt_ids(plain)


def fed_question(form: QuestionForm, question: str) -> str:
    """Return the text that is fed for a question: lower case, single blanks, the form's own question mark.

    Raises `InputError` for a question without words.
    """
    words = " ".join(question.lower().split()).rstrip("?!. ")
    if not any(letter.isalnum() for letter in words):
        raise InputError("The question is empty; type one, such as: what color is the dog?")
    return form.prompt.replace(PLACE, words)


def _answer(sequence: TokenSequence, question: str) -> TokenSequence:
    return replace(sequence, kind="answer", question=" ".join(question.split()))
