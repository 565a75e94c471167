"""``mmviewer project``: lay a collection into the plane."""

from __future__ import annotations

import argparse

from mmviewer.cli.console import DONE, print_json, print_line, watched
from mmviewer.cli.options import Subparsers, add_command


def add(subparsers: Subparsers) -> None:
    """Declare the command."""
    shape = """\
  {"collection": str, "method": str, "details": str, "name": str,
   "items": [{"row": int, "x": float, "y": float}]}"""
    parser = add_command(subparsers, "project", "Lay a collection into the plane", run, shape)
    parser.add_argument("collection", metavar="COLLECTION")
    parser.add_argument("--method", default="pca", metavar="M", help="pca, pacmap, tsne, umap (default: pca)")
    parser.add_argument("--space", default="", metavar="ID", help="whose vectors (default: the last made)")
    parser.add_argument(
        "--name", default="", metavar="N", help="keep the map in the collection under this name"
    )
    parser.add_argument("--out", metavar="X.csv", help="write row, path, x and y")


def run(options: argparse.Namespace) -> int:
    """Carry it out; the exit code."""
    from mmviewer import collecting
    from mmviewer.cli.output import check_target

    check_target(options.out, (".csv",))
    rows, xy, details = collecting.project(
        options.collection, options.method, space=options.space, name=options.name, progress=watched()
    )
    places = list(zip(rows.tolist(), xy.tolist(), strict=True))
    if options.out:
        _write(options, places)
    if options.json:
        print_json(
            {
                "collection": options.collection,
                "method": options.method,
                "details": details,
                "name": options.name,
                "items": [{"row": row, "x": x, "y": y} for row, (x, y) in places],
            }
        )
        return DONE
    kept = f", kept as {options.name}" if options.name else ""
    print_line(f"{len(places):,} items placed by {options.method}{kept}{': ' if details else ''}{details}")
    return DONE


def _write(options: argparse.Namespace, places: list[tuple[int, list[float]]]) -> None:
    import csv
    import io
    from pathlib import Path

    from mmviewer import collecting
    from mmviewer.core.errors import ExportError
    from mmviewer.core.media.files import write_atomically

    text = io.StringIO(newline="")
    writer = csv.writer(text)
    writer.writerow(("row", "path", "x", "y"))
    with collecting.open_collection(options.collection) as catalogue:
        items = catalogue.items([row for row, _ in places])
    for item, (row, (x, y)) in zip(items, places, strict=True):
        writer.writerow((row, item.path or item.name, x, y))
    write_atomically(Path(options.out), text.getvalue().encode("utf-8", "replace"), ExportError)
