"""``mmviewer index``: make a collection, see how it stands, check and export it."""

from __future__ import annotations

import argparse
import sys
from typing import TYPE_CHECKING, Any

from mmviewer.cli.console import DONE, FAILED, complain, print_json, print_line, print_table, watched
from mmviewer.cli.options import Subparsers, add_command, add_model, count, positive

if TYPE_CHECKING:
    from mmviewer.core.space.collection import Catalogue, CollectionItem
    from mmviewer.core.space.indexing.pace import IndexProgress

_MOST_FAILURES = 20  # told in words; --json has all

_ADD = """\
  {"collection": str, "space": str, "total": int, "embedded": int, "shared": int, "failed": int,
   "left_out": int, "seconds": float, "waited": float, "encoding": float, "batch": int, "notes": [str],
   "sources": [{"added": int, "changed": int, "missing": int, "back": int, "renamed": int, "failed": int,
                "notes": [str]}]}
  shared: items whose content had its vector already; left_out: what the model does not take
  waited, encoding: seconds in which the device waited for decoding, and worked"""
_STATUS = """\
  {"collection": str, "items": int, "status": {"ready": int, "new": int, "failed": int, ...},
   "kinds": {"image": int, "audio": int, "text": int, "unknown": int},
   "sources": [{"id": int, "type": str, "path": str, "watch": bool, "scanned": float | null}],
   "spaces": [{"id": str, "label": str, "source": str, "width": int, "vectors": int, "items": int}],
   "maps": [str], "columns": [str], "failures": [{"row": int, "path": str, "reason": str}]}
  failures: with --failures only"""
_VERIFY = """\
  {"collection": str, "sound": bool, "items": int, "vectors": int, "broken_vectors": int, "missing": int,
   "problems": [str], "repaired": bool}"""


def add(subparsers: Subparsers) -> None:
    """Declare the command."""
    parser = subparsers.add_parser(
        "index", help="Index folders into a collection", description="Collections."
    )
    parser.set_defaults(debug=False)
    inner = parser.add_subparsers(dest="action", metavar="ACTION", required=True)
    _declare_add(inner)
    status = add_command(inner, "status", "See what a collection holds", show_status, _STATUS)
    status.add_argument("collection", metavar="COLLECTION")
    status.add_argument("--failures", action="store_true", help="list what could not be read, with reasons")
    verify = add_command(inner, "verify", "Check catalogue, every vector and every file", run_verify, _VERIFY)
    verify.add_argument("collection", metavar="COLLECTION")
    verify.add_argument(
        "--repair", action="store_true", help="forget broken vectors; the next `index add` makes them again"
    )
    export = add_command(inner, "export", "Write items as a table", run_export)
    export.add_argument("collection", metavar="COLLECTION")
    export.add_argument("--out", required=True, metavar="X.csv|X.parquet")
    export.add_argument("--columns", default="", metavar="A,B", help="which columns (default: all)")
    export.add_argument(
        "--vectors", metavar="SPACE", default="", help="with vectors of this space; Parquet only"
    )


def _declare_add(inner: Subparsers) -> None:
    parser = add_command(inner, "add", "Add sources to a collection and embed what is new", run_add, _ADD)
    parser.add_argument("collection", metavar="COLLECTION", help="its folder; made where there is none")
    parser.add_argument(
        "sources",
        nargs="*",
        metavar="SOURCE",
        help="a folder, a list of files (.txt), a table (.csv, .tsv, .parquet) or own embeddings (.npy, "
        ".npz, .safetensors); without any, what is new in the sources it has is embedded",
    )
    parser.add_argument("--watch", action="store_true", help="follow changes in these folders in the window")
    parser.add_argument(
        "--embeddings", action="store_true", help="the Parquet files of SOURCE hold vectors, one a line"
    )
    parser.add_argument("--ids", metavar="FILE", help="ids of vectors in a format that has none, one a line")
    parser.add_argument("--path-column", metavar="C", help="of a table (default: found by its name)")
    parser.add_argument("--text-column", metavar="C", help="of a table (default: found by its name)")
    parser.add_argument(
        "--workers", type=count, metavar="N", help="processes that decode (default: spare cores)"
    )
    parser.add_argument(
        "--batch", type=positive, metavar="N", help="items encoded at once (default: by memory)"
    )
    parser.add_argument("--retry", action="store_true", help="try files again that could not be read before")
    parser.add_argument("--scan-only", action="store_true", help="look for items, and embed nothing")
    add_model(parser)


def run_add(options: argparse.Namespace) -> int:
    """Add sources and embed; the exit code says whether all could be read."""
    from dataclasses import asdict

    from mmviewer.core.space.collection import Catalogue
    from mmviewer.core.space.indexing.sources import source_at

    specs = [
        source_at(
            source,
            watch=options.watch,
            embeddings=options.embeddings,
            path_column=options.path_column,
            text_column=options.text_column,
            ids=options.ids,
        )
        for source in options.sources
    ]
    with Catalogue.open(options.collection, create=bool(specs)) as catalogue:
        for spec in specs:
            catalogue.add_source(spec)
        scans = [catalogue.scan(source.id, watched()) for source in catalogue.sources]
        done: dict[str, Any] = {} if options.scan_only else _embed(catalogue, options)
    notes = [note for scan in scans for note in scan.notes]
    if options.json:
        print_json({"collection": options.collection, **done, "sources": [asdict(scan) for scan in scans]})
    else:
        _tell_added(options, [sum(scan.added for scan in scans), len(scans)], done)
        for note in (*notes, *done.get("notes", ())):
            print_line(note)
    if done.get("failed"):
        complain(
            f"{done['failed']:,} files could not be read; `mmviewer index status --failures` lists them."
        )
    return FAILED if done.get("failed") else DONE


def _embed(catalogue: Catalogue, options: argparse.Namespace) -> dict[str, Any]:
    from contextlib import nullcontext
    from dataclasses import asdict

    from mmviewer.cli.inputs import load
    from mmviewer.core.space.indexing.run import IndexOptions, index

    model = load(options)
    chosen = IndexOptions(workers=options.workers, batch=options.batch, retry=options.retry)
    report = index(catalogue, lambda: nullcontext(model), chosen, watch=_show)
    if sys.stderr.isatty():
        sys.stderr.write("\r\x1b[K")
    done = asdict(report)
    return {"space": done.pop("space_id"), **done}


def _show(state: IndexProgress) -> None:
    if sys.stderr.isatty():
        waiting = f" · waits for decoding {state.waited:.0%}" if state.waited > 0.1 else ""
        sys.stderr.write(f"\r\x1b[K{state.words}{waiting}\r")
        sys.stderr.flush()


def _tell_added(options: argparse.Namespace, found: list[int], done: dict[str, Any]) -> None:
    print_line(f"{options.collection}: {found[0]:,} new items in {found[1]} sources")
    if done:
        rate = done["embedded"] / done["seconds"] if done["seconds"] else 0.0
        print_line(
            f"{done['embedded']:,} embedded in {done['seconds']:.1f} s ({rate:.3g} a second), "
            f"{done['shared']:,} shared, {done['left_out']:,} left out, {done['failed']:,} failed"
        )


def show_status(options: argparse.Namespace) -> int:
    """Tell what a collection holds."""
    from mmviewer.core.space.collection import Catalogue

    with Catalogue.open(options.collection, readonly=True) as catalogue:
        facts = _facts(catalogue, with_failures=options.failures)
    if options.json:
        print_json({"collection": options.collection, **facts})
        return DONE
    rows = [("items", f"{facts['items']:,}")]
    rows += [(name, f"{number:,}") for name, number in facts["status"].items() if number]
    rows += [(f"kind {name}", f"{number:,}") for name, number in facts["kinds"].items() if number]
    rows += [(f"source {each['id']}", f"{each['path']} ({each['type']})") for each in facts["sources"]]
    rows += [
        (f"space {each['id']}", f"{each['items']:,} items, {each['width']} numbers, {each['label']}")
        for each in facts["spaces"]
    ]
    print_table(rows)
    for failure in facts["failures"]:
        print_line(f"{failure['path']}: {failure['reason']}")
    return DONE


def _facts(catalogue: Catalogue, *, with_failures: bool) -> dict[str, Any]:
    import numpy as np

    from mmviewer.core.space.collection import KINDS, Status

    table = catalogue.table()
    kept = table.kinds[table.status != Status.REMOVED]
    kinds = {kind.value: int((kept == code).sum()) for code, kind in enumerate(KINDS)}
    return {
        "items": int((table.status != Status.REMOVED).sum()),
        "status": {each.name.lower(): int((table.status == each).sum()) for each in Status},
        "kinds": {**kinds, "unknown": int((kept >= len(KINDS)).sum())},
        "sources": [
            {
                "id": source.id,
                "type": type(source.spec).__name__.removesuffix("Source").lower(),
                "path": source.spec.path,
                "watch": bool(getattr(source.spec, "watch", False)),
                "scanned": source.scanned,
            }
            for source in catalogue.sources
        ],
        "spaces": [
            {
                "id": info.id,
                "label": info.label,
                "source": info.source,
                "width": info.width,
                "vectors": info.count,
                "items": int(np.count_nonzero(catalogue.vectors(info.id).index >= 0)),
            }
            for info in catalogue.spaces()
        ],
        "maps": list(catalogue.maps()),
        "columns": [column.name for column in catalogue.columns()],
        "failures": [_failure(item) for item in catalogue.failures()] if with_failures else [],
    }


def _failure(item: CollectionItem) -> dict[str, Any]:
    return {"row": item.row, "path": item.path or item.name, "reason": item.reason}


def run_verify(options: argparse.Namespace) -> int:
    """Check everything; the exit code says whether all is well."""
    from dataclasses import asdict

    from mmviewer.core.space.collection import Catalogue

    with Catalogue.open(options.collection, readonly=not options.repair) as catalogue:
        report = catalogue.verify(watched(), repair=options.repair)
    if options.json:
        facts = {name: value for name, value in asdict(report).items() if name != "missing_rows"}
        print_json({"collection": options.collection, "sound": report.sound, **facts})
    else:
        print_line(f"{report.items:,} items and {report.vectors:,} vectors checked")
        print_line(f"{report.broken_vectors:,} broken vectors, {report.missing:,} files missing")
    for problem in report.problems:
        complain(problem)
    return DONE if report.sound else FAILED


def run_export(options: argparse.Namespace) -> int:
    """Write a table."""
    from mmviewer.cli.output import check_target
    from mmviewer.core.space.collection import Catalogue
    from mmviewer.core.space.indexing.export_items import export_items

    check_target(options.out, (".csv", ".parquet"))
    columns = [name.strip() for name in options.columns.split(",") if name.strip()]
    with Catalogue.open(options.collection, readonly=True) as catalogue:
        written = export_items(
            catalogue, options.out, columns=columns, space_id=options.vectors, progress=watched()
        )
    print_line(f"{written:,} items in {options.out}")
    return DONE
