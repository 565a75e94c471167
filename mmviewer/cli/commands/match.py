"""``mmviewer match``: whether texts fit images."""

from __future__ import annotations

import argparse

from mmviewer.cli.console import print_json, print_line, print_table, report_failures, watched
from mmviewer.cli.inputs import fitting, load, open_all
from mmviewer.cli.options import Subparsers, add_command, add_model

_SHAPE = """\
  {"model": {...}, "items": [{"path": str, "id": str, "texts": [{"text": str, "probability": float}]}],
   "failures": [{"path": str, "error": str}]}
  model: {"label", "source", "revision", "weights_hash", "device", "dtype", "preprocessing"}"""


def add(subparsers: Subparsers) -> None:
    """Declare the command."""
    about = "Judge whether texts fit images, each pair by itself"
    parser = add_command(subparsers, "match", about, run, _SHAPE)
    parser.add_argument("files", nargs="+", metavar="IMAGE")
    parser.add_argument("--text", action="append", required=True, metavar="T", help="may be repeated")
    add_model(parser)


def run(options: argparse.Namespace) -> int:
    """Carry it out; the exit code."""
    from mmviewer.cli.output import model_facts
    from mmviewer.core.tasks.match import match

    items, failures = open_all(options.files)
    if not items:
        return report_failures(failures)
    model = load(options)
    items = fitting(model, items, failures)
    chances = match(model, items, options.text, watched())
    if options.json:
        pairs = [
            [
                {"text": text, "probability": float(value)}
                for text, value in zip(options.text, row, strict=True)
            ]
            for row in chances
        ]
        told = [
            {"path": item.path, "id": item.id, "texts": row} for item, row in zip(items, pairs, strict=True)
        ]
        print_json({"model": model_facts(model.info), "items": told, "failures": failures})
        return report_failures(failures)
    for item, row in zip(items, chances, strict=True):
        print_line(str(item.path))
        print_table((f"{value:7.1%}", text) for value, text in zip(row, options.text, strict=True))
    return report_failures(failures)
