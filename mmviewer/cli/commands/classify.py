"""``mmviewer classify``: images and sounds against labels."""

from __future__ import annotations

import argparse

from mmviewer.cli.console import print_json, print_line, print_table, report_failures, watched
from mmviewer.cli.inputs import fitting, given_labels, load, open_all
from mmviewer.cli.options import Subparsers, add_command, add_model


def add(subparsers: Subparsers) -> None:
    """Declare the command."""
    shape = """\
  {"model": {...}, "activation": "softmax" | "sigmoid", "scale": float, "bias": float, "labels": [str],
   "templates": [str], "notes": [str],
   "items": [{"path": str, "id": str,
              "scores": [{"label": str, "probability": float, "similarity": float}]}],   likeliest first
   "failures": [{"path": str, "error": str}]}
  model: {"label", "source", "revision", "weights_hash", "device", "dtype", "preprocessing"}"""
    parser = add_command(
        subparsers, "classify", "Score images or sounds against labels, zero-shot", run, shape
    )
    parser.add_argument("files", nargs="+", metavar="IMAGE|AUDIO")
    parser.add_argument(
        "--labels", required=True, metavar="A,B,C", help="labels with commas between, or @FILE"
    )
    parser.add_argument(
        "--template",
        action="append",
        metavar="T",
        help='text around a label, such as "a photo of a {}"; may be repeated',
    )
    add_model(parser)


def run(options: argparse.Namespace) -> int:
    """Carry it out; the exit code."""
    from mmviewer import api
    from mmviewer.cli.output import model_facts, ranking
    from mmviewer.core.tasks.classify import DEFAULT_TEMPLATES, check_labels, check_templates

    labels = check_labels(given_labels(options.labels))
    templates = check_templates(options.template or DEFAULT_TEMPLATES)
    items, failures = open_all(options.files)
    if not items:
        return report_failures(failures)
    model = load(options)
    items = fitting(model, items, failures)
    scores = api.classify(model, items, labels, templates, progress=watched())
    rows = zip(items, scores.probabilities, scores.similarities, strict=True)
    ranked = [(item, ranking(labels, chances, similarities)) for item, chances, similarities in rows]
    if options.json:
        print_json(
            {
                "model": model_facts(model.info),
                "activation": scores.activation,
                "scale": scores.scale,
                "bias": scores.bias,
                "labels": list(labels),
                "templates": list(templates),
                "notes": list(scores.notes),
                "items": [{"path": item.path, "id": item.id, "scores": ranks} for item, ranks in ranked],
                "failures": failures,
            }
        )
    else:
        for item, ranks in ranked:
            print_line(str(item.path))
            print_table((f"{rank['probability']:7.1%}", rank["label"]) for rank in ranks)
    return report_failures(failures)
