"""``mmviewer embed``: images, sounds and texts as vectors."""

from __future__ import annotations

import argparse

from mmviewer.cli.console import print_json, print_line, report_failures, watched
from mmviewer.cli.inputs import fitting, load, open_all
from mmviewer.cli.options import Subparsers, add_command, add_model, positive
from mmviewer.core.errors import InputError


def add(subparsers: Subparsers) -> None:
    """Declare the command."""
    shape = """\
  {"model": {...}, "out": str, "dimensions": int, "notes": [str],
   "items": [{"path": str | null, "id": str, "name": str, "modality": "image" | "audio" | "text"}],
   "failures": [{"path": str, "error": str}]}

--out writes an NPZ with vectors (float32 [items, dimensions], unit length), ids, names, modalities, paths and
  provenance (JSON); with --engine {"out": str, "shards": int, "embedded": int, "present": int,
  "failures": [{"path": str, "error": str}]}, where present counts shards that were there already"""
    parser = add_command(
        subparsers, "embed", "Embed images, sounds and texts into the model's space", run, shape
    )
    parser.add_argument("files", nargs="*", metavar="FILE")
    parser.add_argument(
        "--text", action="append", default=[], metavar="T", help="also embed this text; may be repeated"
    )
    parser.add_argument("--out", required=True, metavar="X.npz", help="with --engine: a folder of shards")
    group = parser.add_argument_group("a whole source in shards of Parquet, which can go on after a stop")
    group.add_argument(
        "--engine",
        choices=("plain", "ray"),
        help="embed one SOURCE (folder, list, table) into the folder --out, here or through Ray Data on a "
        "cluster; `mmviewer index add COLLECTION FOLDER --embeddings` opens it",
    )
    group.add_argument("--address", default="", metavar="A", help="of the cluster (default: the one here)")
    group.add_argument("--workers", type=positive, metavar="N", help="copies of the model on the cluster")
    group.add_argument("--shard", type=positive, default=1024, metavar="N", help="items a shard (1024)")
    add_model(parser)


def run(options: argparse.Namespace) -> int:
    """Carry it out; the exit code."""
    from mmviewer import api
    from mmviewer.cli.output import check_target, model_facts, write_embeddings
    from mmviewer.core.media.text import text_media

    if options.engine:
        return _in_shards(options)
    if not options.files and not options.text:
        raise InputError("There is nothing to embed; name files or give --text.")
    check_target(options.out, (".npz",))
    items, failures = open_all(options.files)
    items += [text_media(text) for text in options.text]
    if not items:
        return report_failures(failures)
    model = load(options)
    items = fitting(model, items, failures)
    embeddings = api.embed(model, items, progress=watched())
    write_embeddings(options.out, model.info, items, embeddings)
    count, dimensions = embeddings.vectors.shape
    if options.json:
        print_json(
            {
                "model": model_facts(model.info),
                "out": options.out,
                "dimensions": dimensions,
                "notes": list(embeddings.notes),
                "items": [
                    {"path": item.path, "id": item.id, "name": item.name, "modality": item.modality.value}
                    for item in items
                ],
                "failures": failures,
            }
        )
    else:
        print_line(f"{count} vectors of {dimensions} dimensions in {options.out}")
        for note in embeddings.notes:
            print_line(note)
    return report_failures(failures)


def _in_shards(options: argparse.Namespace) -> int:
    """Embed a source into shards of Parquet."""
    from mmviewer.core.space.indexing.cluster import Cluster, embed_source
    from mmviewer.core.space.indexing.sources import source_at

    if len(options.files) != 1 or options.text:
        raise InputError("With --engine, name one source: a folder, a list of files or a table.")
    report = embed_source(
        source_at(options.files[0]),
        options.out,
        model=options.model,
        device=options.device,
        dtype=options.dtype,
        cluster=Cluster(options.address, options.workers) if options.engine == "ray" else None,
        shard_items=options.shard,
        progress=watched(),
    )
    failures = [{"path": path, "error": f"{path}: {reason}"} for path, reason in report.failures]
    if options.json:
        print_json(
            {
                "out": report.folder,
                "shards": report.shards,
                "embedded": report.embedded,
                "present": report.present,
                "failures": failures,
            }
        )
    else:
        print_line(
            f"{report.embedded:,} vectors in {report.shards:,} new shards in {report.folder}, "
            f"{report.present:,} were there"
        )
    return report_failures(failures)
