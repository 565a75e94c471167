"""``mmviewer models``: what is present, what there is, and bringing it here or away."""

from __future__ import annotations

import argparse
import os
from dataclasses import asdict
from pathlib import Path

from mmviewer.cli.console import DONE, FAILED, print_json, print_line, print_table, watched
from mmviewer.cli.options import Subparsers, add_command
from mmviewer.core.errors import InputError
from mmviewer.core.hub import catalogue
from mmviewer.core.words import bytes_in_words

_SHAPE = """\
  [{"source": str, "label": str, "family": str, "size_bytes": int}]   source: what --model takes"""
_SEARCH = """\
  [{"id": str, "spec": str, "label": str, "kind": str, "parameters": int, "disk_bytes": int,
    "memory_bytes": {"float32": int, "bfloat16": int}, "licence": str, "gated": bool, "can": [str],
    "paper": str, "note": str}]
  spec: what --model takes; sizes are computed from the number of parameters"""
_DOWNLOAD = """\
  {"repo": str, "commit": str, "folder": str, "licence": str, "gate": str, "notes": [str],
   "total_bytes": int, "missing_bytes": int, "free_bytes": int, "files": [{"name", "size", "oid"}],
   "path": str | null}
  gate: the page where the terms must be accepted; path: where the model is, null with --plan"""
_WHERE = """\
  {"folder": str, "free_bytes": int, "online": bool, "hub": str,
   "models": [{"repo": str, "commit": str, "size_bytes": int, "partial_bytes": int, "trouble": str}]}
  trouble: why it cannot be loaded, or empty"""


def add(subparsers: Subparsers) -> None:
    """Declare the command and what follows it."""
    parser = add_command(
        subparsers, "models", "List the models that are present, or manage them", _list, _SHAPE
    )
    actions = parser.add_subparsers(dest="action", metavar="ACTION", required=False)
    found = add_command(actions, "search", "Search the catalogue of known models", _search, _SEARCH)
    found.add_argument("words", nargs="*", metavar="WORD", help="each must occur in name, kind or licence")
    found.add_argument("--can", choices=catalogue.TASKS, default="", help="what it must be able to do")
    found.add_argument("--fits", action="store_true", help="only what fits into the memory of the device")
    found.add_argument("--device", default="auto", help="auto, cpu, cuda, mps, xpu (default: auto)")
    found.add_argument("--dtype", default="auto", help="auto, float32, bfloat16, float16 (default: auto)")
    got = add_command(
        actions, "download", "Download a model of the hub, or go on with one", _download, _DOWNLOAD
    )
    got.add_argument(
        "id", metavar="ORGANISATION/NAME", help="also hf-hub:ORGANISATION/NAME for OpenCLIP's files"
    )
    got.add_argument("--plan", action="store_true", help="only say what would be fetched")
    gone = add_command(actions, "remove", "Delete a model from the hub's cache", _remove)
    gone.add_argument("id", metavar="ORGANISATION/NAME")
    checked = add_command(actions, "verify", "Compare the files of models with their checksums", _verify)
    checked.add_argument("ids", nargs="*", metavar="ORGANISATION/NAME", help="by default all")
    add_command(actions, "where", "Say where models are kept, and what is there", _where, _WHERE)


def _list(options: argparse.Namespace) -> int:
    from mmviewer.core.models.loader import list_models

    listed = list_models()
    if options.json:
        print_json([asdict(entry) for entry in listed])
    else:
        print_table((entry.source, f"{entry.label} ({entry.family})") for entry in listed)
    return DONE


def _search(options: argparse.Namespace) -> int:
    from mmviewer.core.models.device import choose_placement, free_memory
    from mmviewer.core.models.loader import known_kinds

    place = choose_placement(options.device, options.dtype)
    dtype = str(place.dtype).removeprefix("torch.")
    room = free_memory(place.device) if options.fits else None
    found = catalogue.search(
        " ".join(options.words), task=options.can, room=room, dtype=dtype, kinds=known_kinds()
    )
    if options.json:
        print_json([_facts(entry) for entry in found])
        return DONE
    print_table((entry.spec, _line(entry, dtype)) for entry in found)
    if not found:
        print_line("No model of the catalogue fits; any id of the hub can be downloaded all the same.")
    return DONE


def _download(options: argparse.Namespace) -> int:
    from mmviewer.core.hub.download import fetch
    from mmviewer.core.hub.network import ONLINE_VARIABLE
    from mmviewer.core.hub.plan import make_plan

    os.environ.setdefault(ONLINE_VARIABLE, "1")  # who types this command allows it
    plan = make_plan(options.id, watched())
    path: Path | None = None
    if not options.json:
        licence = f", licence {plan.licence}" if plan.licence else ""
        size, missing, free = map(bytes_in_words, (plan.total, plan.missing, plan.free))
        print_line(f"{plan.repo} at {plan.commit[:12]}: {size} in {len(plan.files)} files{licence}")
        print_line(f"still to come: {missing}; free in {plan.folder}: {free}")
        for note in plan.notes:
            print_line(note)
    if not options.plan:
        path = fetch(plan, watched())
    if options.json:
        facts = {
            name: getattr(plan, name) for name in ("repo", "commit", "folder", "licence", "gate", "notes")
        }
        sizes = {"total_bytes": plan.total, "missing_bytes": plan.missing, "free_bytes": plan.free}
        print_json({**facts, **sizes, "files": [asdict(file) for file in plan.files], "path": path})
    elif path is not None:
        print_line(f"{path}")
    return DONE


def _remove(options: argparse.Namespace) -> int:
    from mmviewer.core.hub import cache

    repo = _repo(options.id)
    freed = cache.remove(repo, watched())
    print_line(f"Deleted {repo}: {bytes_in_words(freed)} are free again.")
    return DONE


def _verify(options: argparse.Namespace) -> int:
    from mmviewer.core.hub import cache

    repos = [_repo(name) for name in options.ids] or [each.repo for each in cache.models() if each.commit]
    if not repos:
        raise InputError(f"There are no models in {cache.folder()} to verify.")
    code = DONE
    for repo in repos:
        wrong = cache.verify(repo, watched())
        print_line(f"{repo}: {'broken and deleted: ' + ', '.join(wrong) if wrong else 'whole'}")
        if wrong:
            print_line(f"  mend it with: mmviewer models download {repo}")
            code = FAILED
    return code


def _where(options: argparse.Namespace) -> int:
    from mmviewer.core.hub import cache, network
    from mmviewer.core.hub.plan import free_bytes

    folder, listed = cache.folder(), cache.models()
    if options.json:
        models = [
            {
                "repo": each.repo,
                "commit": each.commit,
                "size_bytes": each.size,
                "partial_bytes": each.partial,
                "trouble": each.trouble,
            }
            for each in listed
        ]
        place = {"folder": folder, "free_bytes": free_bytes(folder), "online": network.online()}
        print_json({**place, "hub": network.endpoint(), "models": models})
        return DONE
    print_line(f"{folder} ({bytes_in_words(free_bytes(folder))} free)")
    print_table((each.repo, _state(each.size, each.partial, each.trouble)) for each in listed)
    return DONE


def _repo(name: str) -> str:
    from mmviewer.core.hub.plan import split_spec

    return split_spec(name)[0]


def _state(size: int, partial: int, trouble: str) -> str:
    begun = f", {bytes_in_words(partial)} begun" if partial else ""
    return f"{bytes_in_words(size)}{begun}{f' – {trouble}' if trouble else ''}"


def _line(entry: catalogue.Entry, dtype: str) -> str:
    memory = bytes_in_words(entry.memory_bytes(dtype))
    gate = ", gated" if entry.gated else ""
    return f"{entry.label}: {', '.join(entry.can)}; about {memory} in {dtype}; {entry.licence}{gate}"


def _facts(entry: catalogue.Entry) -> dict[str, object]:
    memory = {dtype: entry.memory_bytes(dtype) for dtype in ("float32", "bfloat16")}
    names = (
        "id",
        "spec",
        "label",
        "kind",
        "parameters",
        "disk_bytes",
        "licence",
        "gated",
        "can",
        "paper",
        "note",
    )
    return {**{name: getattr(entry, name) for name in names}, "memory_bytes": memory}
