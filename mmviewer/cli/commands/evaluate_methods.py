"""``mmviewer evaluate-methods``: how well methods find what is known to be there."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

from mmviewer import paths
from mmviewer.cli.console import DONE, print_json, print_line, watched
from mmviewer.cli.inputs import load
from mmviewer.cli.options import Subparsers, add_command, add_model, positive
from mmviewer.core.errors import InputError

if TYPE_CHECKING:
    from mmviewer.core.explain.evaluation import Row

_HEAD = (
    "| method | maps | pointing | mass in box | deletion | insertion | random | better | curves | s a map |",
    f"|{'---|' * 10}",
)
_ASKED = {
    "description": "asked by a description of the thing",
    "caption": "asked by its noun in the true caption",
}


def add(subparsers: Subparsers) -> None:
    """Declare the command."""
    shape = """\
  {"model": {...}, "folder": str, "steps": int, "random_maps": int,
   "rows": [{"method": str, "label": str, "asked": "description" | "caption", "group": str,
             "scenes": int, "maps": int, "curves": int,
             "pointing": float, "pointing_chance": float, "mass": float, "mass_chance": float,
             "deletion": float, "insertion": float, "random": float, "better": float, "scale": str,
             "seconds": float}]}
  deletion, insertion, random: areas under the curves, null where none was measured; better: share of maps
  whose deletion and insertion both beat every random order.

A folder holds pictures and boxes.json:
  {"scenes": [{"file": str, "group": str, "caption": str,
               "things": [{"noun": str, "text": str, "boxes": [[left, top, right, bottom]]}]}]}
  text: what to ask for, by default the noun; boxes in pixels."""
    parser = add_command(
        subparsers, "evaluate-methods", "Measure methods on pictures whose boxes are known", run, shape
    )
    parser.add_argument(
        "folder", nargs="?", metavar="FOLDER", help="pictures with a boxes.json; by default those of mmviewer"
    )
    parser.add_argument("--methods", metavar="A,B", default="", help="which methods; by default all")
    parser.add_argument("--groups", metavar="A,B", default="", help="which groups of scenes; by default all")
    parser.add_argument("--scenes", type=positive, metavar="N", help="the first N scenes of each group")
    parser.add_argument(
        "--measured",
        type=positive,
        metavar="N",
        default=24,
        help="of N things of each group measure curves, and make maps that take over 2 s (default: 24)",
    )
    parser.add_argument(
        "--steps", type=positive, metavar="N", default=16, help="steps of curves (default: 16)"
    )
    parser.add_argument(
        "--random-maps", type=positive, metavar="N", default=5, help="random orders (default: 5)"
    )
    add_model(parser)


def run(options: argparse.Namespace) -> int:
    """Carry it out; the exit code."""
    from mmviewer.cli.output import model_facts
    from mmviewer.core.explain.evaluation import Plan, evaluate
    from mmviewer.core.explain.scenes import read_scenes

    folder = Path(options.folder) if options.folder else paths.resources() / "scenes"
    scenes = read_scenes(folder)
    groups = _listed(options.groups)
    known = tuple(dict.fromkeys(scene.group for scene in scenes))
    for group in groups:
        if group not in known:
            raise InputError(f"There is no group “{group}” in {folder}; choose among: {', '.join(known)}.")
    scenes = tuple(scene for scene in scenes if not groups or scene.group in groups)
    methods = _listed(options.methods)
    plan = Plan(options.scenes, options.measured, methods, options.steps, options.random_maps)
    model = load(options)
    rows = evaluate(model, folder, scenes, plan, watched())
    if options.json:
        facts = {"model": model_facts(model.info), "folder": str(folder)}
        steps = {"steps": plan.steps, "random_maps": plan.random_maps}
        print_json({**facts, **steps, "rows": [asdict(row) for row in rows]})
    else:
        for line in markdown(rows, model.info.label, plan.steps, plan.random_maps):
            print_line(line)
    return DONE


def markdown(rows: Sequence[Row], model: str, steps: int, random_maps: int) -> list[str]:
    """Tables in Markdown, one for each group and way of asking."""
    lines = [
        f"Model {model}. Pointing: share of maps whose strongest patch lies in the thing's box. Mass in box: "
        "share of the map's weight that does. Deletion and insertion: mean score while the strongest patches "
        f"are taken away, or given back, first, in {steps} steps; random: the same in {random_maps} random "
        "orders. Better: share of maps whose deletion and insertion both beat every random order.",
    ]
    for group, asked in dict.fromkeys((row.group, row.asked) for row in rows):
        shown = [row for row in rows if (row.group, row.asked) == (group, asked)]
        scale = next((row.scale for row in shown if row.scale is not None), None)
        told = f"; areas as {scale.value}" if scale is not None else ""
        lines += ["", f"### {group.capitalize()}, {_ASKED[asked]}{told}", "", *_HEAD]
        lines += [_line(row) for row in sorted(shown, key=lambda row: -row.pointing)]
        most = max(shown, key=lambda row: row.maps)
        lines.append(
            f"| *chance* | {most.maps} | {most.pointing_chance:.2f} | {most.mass_chance:.2f} | | | | | | |"
        )
    return lines


def _line(row: Row) -> str:
    areas = ["" if area is None else f"{area:.3f}" for area in (row.deletion, row.insertion, row.random)]
    better = "" if row.better is None else f"{row.better:.0%}"
    cells = (row.label, row.maps, f"{row.pointing:.2f}", f"{row.mass:.2f}", *areas, better, row.curves)
    return f"| {' | '.join(str(cell) for cell in cells)} | {row.seconds:.2f} |"


def _listed(given: str) -> tuple[str, ...]:
    return tuple(part.strip() for part in given.split(",") if part.strip())
