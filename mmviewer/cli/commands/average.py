"""``mmviewer average``: the average map of many items, and those that differ most from it."""

from __future__ import annotations

import argparse
import math
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mmviewer.cli.console import DONE, FAILED, complain, print_json, print_line, print_table, watched
from mmviewer.cli.inputs import load
from mmviewer.cli.options import Subparsers, add_command, add_model, count, positive
from mmviewer.core.average.result import MOST

if TYPE_CHECKING:
    from mmviewer.core.average.result import AverageMap
    from mmviewer.core.models.base import LoadedModel

_SHAPE = """\
  {"model": {...}, "text": str, "method": str, "description": str, "score": str, "notes": [str],
   "frame": str, "asked": int, "taken": int,
   "items": [{"path": str, "distance": float | null}],   the one that differs most first
   "failures": [{"path": str, "error": str}]}
  distance: 1 - Pearson correlation of the item's map with the mean, over the cells that both have; null
  where it is undefined, because one of them is the same everywhere

--map writes an NPZ with mean, deviation and count [32, 32], or [1, 128] for sounds, and items, distances and
maps [n, ...]; NaN where a model's crop saw nothing."""
_LISTED = 12


def add(subparsers: Subparsers) -> None:
    """Declare the command."""
    about = "Average the maps of a text over many images, or sounds, and name those that differ most"
    parser = add_command(subparsers, "average", about, run, _SHAPE)
    parser.add_argument("files", nargs="+", metavar="IMAGE|AUDIO")
    parser.add_argument("--text", required=True, metavar="T", help="what to look for")
    parser.add_argument("--method", metavar="M", default="", help="by default gradient_attention or gradcam")
    parser.add_argument("--point", metavar="P", help="capture point; by default the method's own choice")
    parser.add_argument("--layer", type=count, metavar="L", help="from 0; by default the method's own")
    parser.add_argument(
        "--without-sinks", action="store_true", help="leave out positions that draw weight whatever is asked"
    )
    parser.add_argument(
        "--most", type=positive, default=MOST, metavar="N", help=f"take N, spread evenly (default: {MOST})"
    )
    parser.add_argument("--figure", metavar="OUT", help="write a figure; .svg, .pdf or .png")
    parser.add_argument("--map", metavar="OUT.npz", help="write the arrays")
    add_model(parser)


def run(options: argparse.Namespace) -> int:
    """Carry it out; the exit code."""
    from mmviewer import api
    from mmviewer.cli.output import check_target

    check_target(options.map, (".npz",))
    check_target(options.figure, (".svg", ".pdf", ".png"))
    model = load(options)
    found = api.average_map(
        model,
        options.files,
        options.text,
        method=options.method,
        point=options.point,
        layer=options.layer,
        without_sinks=options.without_sinks,
        most=options.most,
        progress=watched(),
    )
    for path in (options.figure, options.map):
        if path:
            api.average_figure(found, Path(path), model=model)
    _report(found, model, options)
    for each in found.left_out:
        complain(each.reason if each.name in each.reason else f"{each.name}: {each.reason}")
    return FAILED if found.left_out else DONE


def _report(found: AverageMap, model: LoadedModel, options: argparse.Namespace) -> None:
    from mmviewer.cli.output import model_facts
    from mmviewer.core.average.frame import spread
    from mmviewer.core.average.result import caption_words, scope_words

    paths = [options.files[place] for place in spread(len(options.files), options.most)]
    ranked: list[tuple[str, float]] = [
        (paths[int(found.rows[place])], float(found.distances[place])) for place in found.ranking
    ]
    if not options.json:
        print_line(caption_words(found, model.info.label, model.info.preprocessing))
        print_line(scope_words(found))
        for note in found.notes:
            print_line(note)
        print_table(
            (f"{distance:.3f}" if not math.isnan(distance) else "undefined", path)
            for path, distance in ranked[:_LISTED]
        )
        return
    items: list[dict[str, Any]] = [
        {"path": path, "distance": distance if not math.isnan(distance) else None}
        for path, distance in ranked
    ]
    print_json(
        {
            "model": model_facts(model.info),
            "text": found.text,
            "method": found.spec.method,
            "description": found.description,
            "score": found.score,
            "notes": list(found.notes),
            "frame": found.frame,
            "asked": found.asked,
            "taken": found.total,
            "items": items,
            "failures": [{"path": paths[each.row], "error": each.reason} for each in found.left_out],
        }
    )
