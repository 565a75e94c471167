"""``mmviewer compare``: maps side by side in one figure."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from mmviewer.cli.console import DONE, FAILED, complain, print_json, print_line, report_failures, watched
from mmviewer.cli.inputs import load, open_all
from mmviewer.cli.options import Subparsers, add_command, add_model, count
from mmviewer.core.errors import InputError
from mmviewer.core.targets import RunnerUp
from mmviewer.core.types import Modality

if TYPE_CHECKING:
    from mmviewer.comparing import Comparison

_AXES = ("words", "methods", "layers", "items", "models")


def add(subparsers: Subparsers) -> None:
    """Declare the command."""
    shape = """\
  {"rows": [str], "columns": [str], "scale": "shared" | "separate", "figure": str | null, "map": str | null,
   "cells": [{"row": str, "column": str, "item": str, "model": str, "text": str, "word": str, "kind": str,
              "description": str, "score": str, "caveat": str, "unit": str, "scale": [low, high],
              "peak": {...}}  or  {"row", "column", ..., "failure": str}],
   "failures": [{"path": str, "error": str}]}

--map writes an NPZ with rows, columns, items, units, failures, ranges and one array for each map, named
grid_ROW_COLUMN, counted from 0; provenance (JSON) says of every cell how it was made."""
    parser = add_command(subparsers, "compare", "Show maps side by side: words by methods ...", run, shape)
    parser.add_argument("files", nargs="+", metavar="IMAGE|AUDIO")
    axes = "words, methods, layers, items or models"
    parser.add_argument("--rows", choices=_AXES, default=None, help=f"{axes} (default: words)")
    parser.add_argument("--columns", choices=_AXES, default=None, help=f"{axes} (default: methods)")
    parser.add_argument(
        "--text", metavar="T", default="", help="what to look for; by default the model's own caption is made"
    )
    parser.add_argument("--words", metavar="W,W", help="which words (default: all but “a”, “the”, “of” ...)")
    parser.add_argument("--methods", metavar="M,M", help="which methods (default: those that are quick)")
    parser.add_argument("--layers", metavar="L,L", help="which layers, counted from 0 (default: all)")
    parser.add_argument("--word", metavar="W", default="", help="one word for all cells, else the whole text")
    parser.add_argument("--method", metavar="M", default="attention", help="one method for all cells")
    parser.add_argument("--point", metavar="P", help="capture point; by default the method's own choice")
    parser.add_argument("--layer", type=count, metavar="L", help="one layer for all cells, counted from 0")
    parser.add_argument("--contrast", metavar="T", help="subtract the score of this text, or runner-up")
    parser.add_argument(
        "--without-sinks", action="store_true", help="leave out positions that draw weight whatever is asked"
    )
    parser.add_argument(
        "--separate-scales", action="store_true", help="give each map its own colours; else one per kind"
    )
    parser.add_argument("--figure", metavar="OUT", help="write a figure; .svg, .pdf or .png")
    parser.add_argument("--map", metavar="OUT.npz", help="write the arrays")
    parser.add_argument(
        "--also", action="append", default=[], metavar="M", help="one more model; may be repeated"
    )
    add_model(parser)


def run(options: argparse.Namespace) -> int:
    """Carry it out; the exit code."""
    from mmviewer import api
    from mmviewer.cli.output import check_target
    from mmviewer.comparing import compare

    check_target(options.map, (".npz",))
    check_target(options.figure, (".svg", ".pdf", ".png"))
    items, failures = open_all(options.files)
    texts = [item for item in items if item.modality is Modality.TEXT]
    if texts:
        raise InputError(f"{texts[0].name} is text; compare needs images or sounds.")
    if not items:
        return report_failures(failures)
    models = [load(options)]
    models += [api.load(name, options.device, options.dtype, watched()) for name in options.also]
    rows, columns = _axes(options, several_items=len(items) > 1, several_models=len(models) > 1)
    made = compare(
        models,
        items,
        options.text,
        rows=rows,
        columns=columns,
        words=_parts(options.words),
        methods=_parts(options.methods),
        layers=_numbers(options.layers),
        word=options.word,
        method=options.method,
        point=options.point,
        layer=options.layer,
        contrast=RunnerUp() if options.contrast == "runner-up" else options.contrast,
        without_sinks=options.without_sinks,
        progress=watched(),
    )
    if not made.matrix.cells:
        raise InputError(next(iter(made.failures.values())))
    shared = not options.separate_scales
    for path in (options.figure, options.map):
        if path:
            made.figure(path, shared_scale=shared)
    _report(made, options, failures, shared)
    for sentence in dict.fromkeys(made.failures.values()):
        complain(sentence)
    for failure in failures:
        complain(failure["error"])
    return FAILED if failures or made.failures else DONE


def _report(
    made: Comparison, options: argparse.Namespace, failures: Sequence[dict[str, str]], shared: bool
) -> None:
    from mmviewer.cli.output import peak, peak_words
    from mmviewer.core.compare.figure import cell_facts
    from mmviewer.core.compare.plan import scale_words, scales

    matrix = made.matrix
    ends = scales(matrix.cells, shared=shared)
    peaks = {place: peak(cell.shown.grid, cell.maps.geometry) for place, cell in matrix.cells.items()}
    if options.json:
        cells: list[dict[str, Any]] = []
        for place in matrix.places:
            found = {"peak": peaks[place]} if place in peaks else {}
            cells.append({**cell_facts(matrix, place, ends.get(place)), **found})
        print_json(
            {
                "rows": list(made.rows),
                "columns": list(made.columns),
                "scale": "shared" if shared else "separate",
                "figure": options.figure,
                "map": options.map,
                "cells": cells,
                "failures": list(failures),
            }
        )
        return
    for place in matrix.places:
        row, column = made.rows[place[0]], made.columns[place[1]]
        said = f"strongest at {peak_words(peaks[place])}" if place in peaks else matrix.failures[place]
        print_line(f"{row} · {column}: {said}")
    print_line(scale_words(matrix.cells, shared=shared))


def _axes(options: argparse.Namespace, *, several_items: bool, several_models: bool) -> tuple[str, str]:
    """Rows and columns as asked; several files or models are compared where nothing is said."""
    rows = options.rows or ("items" if several_items else "models" if several_models else "words")
    if options.columns is not None:
        return rows, options.columns
    return rows, "words" if rows == "methods" else "methods"


def _parts(given: str | None) -> list[str] | None:
    return None if given is None else [part.strip() for part in given.split(",") if part.strip()]


def _numbers(given: str | None) -> list[int] | None:
    parts = _parts(given)
    try:
        return None if parts is None else [int(part) for part in parts]
    except ValueError as error:
        raise InputError(
            f"{given!r} are no layers; give numbers with commas between, such as 0,1,2."
        ) from error
