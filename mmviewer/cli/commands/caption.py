"""``mmviewer caption``: an image in words."""

from __future__ import annotations

import argparse
from functools import partial

from mmviewer.cli.options import Subparsers, add_command, add_model, add_sampling
from mmviewer.cli.writing import (
    ANSWERS_SHAPE,
    SEQUENCE_SHAPE,
    add_answers,
    examples_of,
    score_given,
    write_down,
)


def add(subparsers: Subparsers) -> None:
    """Declare the command."""
    shape = f"{SEQUENCE_SHAPE}\n{ANSWERS_SHAPE}"
    parser = add_command(subparsers, "caption", "Describe an image in words", run, shape)
    parser.add_argument("file", metavar="IMAGE")
    parser.add_argument(
        "--prompt", metavar="T", default="", help="begin with this text, and write on from it"
    )
    add_answers(parser, ("PICTURE", "CAPTION"))
    add_sampling(parser)
    add_model(parser)


def run(options: argparse.Namespace) -> int:
    """Carry it out; the exit code."""
    from mmviewer import api

    if options.answers is not None:
        return score_given(options, prompt=options.prompt)
    return write_down(options, partial(api.caption, prompt=options.prompt, examples=examples_of(options)))
