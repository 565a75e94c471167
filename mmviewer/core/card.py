"""What a model's folder tells people of it: figures, questions, terms."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class ModelFigure:
    """One measured figure of a model, beside chance where that is known.

    `unit` "share" means 0 to 1 and is shown as percent; any other is shown behind the number. `note` says how
    it was measured.
    """

    name: str
    value: float
    chance: float | None = None
    unit: str = ""
    note: str = ""


@dataclass(frozen=True, slots=True)
class QuestionForm:
    """How a model that was trained on questions wants them: `prompt` with "{question}" in it; `examples`.

    `remembers` says whether earlier questions and answers about a picture are read with a new one.
    """

    prompt: str
    examples: tuple[str, ...] = ()
    remembers: bool = False


@dataclass(frozen=True, slots=True)
class ModelAbout:
    """What a model's folder tells of it; everything may be missing.

    Parameters
    ----------
    questions : QuestionForm or None
        None for a model that was not trained to answer questions.
    figures : tuple of ModelFigure
    licence, limits : str
        One line each: under which terms, and what it cannot do.
    card : str
        Path of its card, a Markdown file; empty where it has none.
    notes : tuple of str
        What in the folder could not be read.
    """

    questions: QuestionForm | None = None
    figures: tuple[ModelFigure, ...] = ()
    licence: str = ""
    limits: str = ""
    card: str = ""
    notes: tuple[str, ...] = ()
