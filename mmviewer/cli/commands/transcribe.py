"""``mmviewer transcribe``: what is said in a sound."""

from __future__ import annotations

import argparse

from mmviewer.cli.options import Subparsers, add_command, add_model, add_sampling
from mmviewer.cli.writing import SEQUENCE_SHAPE, write_down


def add(subparsers: Subparsers) -> None:
    """Declare the command."""
    parser = add_command(subparsers, "transcribe", "Write down what is said in a sound", run, SEQUENCE_SHAPE)
    parser.add_argument("file", metavar="AUDIO")
    add_sampling(parser)
    add_model(parser, default=None)


def run(options: argparse.Namespace) -> int:
    """Carry it out; the exit code."""
    from mmviewer import api

    return write_down(options, api.transcribe)
