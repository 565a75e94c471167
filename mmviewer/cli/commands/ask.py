"""``mmviewer ask``: a question about an image."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

from mmviewer.cli.options import Subparsers, add_command, add_model, add_sampling
from mmviewer.cli.writing import (
    ANSWERS_SHAPE,
    SEQUENCE_SHAPE,
    add_answers,
    examples_of,
    score_given,
    write_down,
)

if TYPE_CHECKING:
    from mmviewer.core.models.base import LoadedModel
    from mmviewer.core.progress import Progress
    from mmviewer.core.types import Media, Sampling, TokenSequence


def add(subparsers: Subparsers) -> None:
    """Declare the command."""
    shape = SEQUENCE_SHAPE.replace('"text": str,', '"question": str, "answer": str, "text": str,')
    shapes = f"{shape}\n{ANSWERS_SHAPE}"
    parser = add_command(subparsers, "ask", "Answer a question about an image", run, shapes)
    parser.add_argument("file", metavar="IMAGE")
    parser.add_argument("question", metavar="QUESTION", help='such as "what color is the dog?"')
    add_answers(parser, ("PICTURE", "QUESTION", "ANSWER"))
    add_sampling(parser)
    add_model(parser)


def run(options: argparse.Namespace) -> int:
    """Carry it out; the exit code."""
    from mmviewer import api

    if options.answers is not None:
        return score_given(options, question=options.question)
    examples = examples_of(options)

    def answer(model: LoadedModel, media: Media, sampling: Sampling, progress: Progress) -> TokenSequence:
        return api.ask(model, media, options.question, sampling, progress, examples)

    return write_down(options, answer)
