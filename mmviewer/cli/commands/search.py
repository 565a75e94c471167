"""``mmviewer search``: the items of a collection nearest to a text, an image or a sound."""

from __future__ import annotations

import argparse

from mmviewer.cli.console import DONE, print_json, print_line, watched
from mmviewer.cli.options import Subparsers, add_command, add_model, positive
from mmviewer.core.errors import InputError


def add(subparsers: Subparsers) -> None:
    """Declare the command."""
    shape = """\
  {"collection": str, "space": str, "model": {...},
   "items": [{"row": int, "name": str, "path": str | null, "kind": str | null, "text": str | null,
              "cosine": float}]}   the most similar first"""
    parser = add_command(subparsers, "search", "Find items of a collection", run, shape)
    parser.add_argument("collection", metavar="COLLECTION")
    for name, what in (("text", "T"), ("image", "FILE"), ("audio", "FILE")):
        parser.add_argument(
            f"--{name}", action="append", default=[], metavar=what, help="look for this; several are added"
        )
    parser.add_argument(
        "--minus", action="append", default=[], metavar="T", help="take the direction of this text away"
    )
    parser.add_argument("-k", type=positive, default=10, metavar="K", help="how many (default: 10)")
    parser.add_argument("--space", default="", metavar="ID", help="whose vectors (default: the model's)")
    add_model(parser)


def run(options: argparse.Namespace) -> int:
    """Carry it out; the exit code."""
    from mmviewer import api
    from mmviewer.cli.inputs import load
    from mmviewer.cli.output import model_facts
    from mmviewer.collecting import space_of
    from mmviewer.core.media.text import text_media
    from mmviewer.core.types import Media, Modality

    parts: list[Media | tuple[Media, float]] = [text_media(text) for text in options.text]
    for files, kind in ((options.image, Modality.IMAGE), (options.audio, Modality.AUDIO)):
        for file in files:
            media = api.open_item(file)
            if media.modality is not kind:
                raise InputError(f"{media.name} is {api.KIND_WORDS[media.modality]}; give it as such.")
            parts.append(media)
    if not parts:
        raise InputError("There is nothing to search for; give --text, --image or --audio.")
    parts += [(text_media(text), -1.0) for text in options.minus]
    with api.open_collection(options.collection):
        pass  # refused before a model is loaded
    model = load(options)
    found = api.search(options.collection, model, parts, options.k, space=options.space, progress=watched())
    if not options.json:
        for each in found:
            print_line(f"{each.cosine:.4f}  {each.item.path or each.item.name}")
        return DONE
    with api.open_collection(options.collection) as catalogue:
        space = space_of(catalogue, model, options.space).id
    print_json(
        {
            "collection": options.collection,
            "space": space,
            "model": model_facts(model.info),
            "items": [
                {
                    "row": each.item.row,
                    "name": each.item.name,
                    "path": each.item.path,
                    "kind": each.item.kind.value if each.item.kind else None,
                    "text": each.item.text,
                    "cosine": each.cosine,
                }
                for each in found
            ],
        }
    )
    return DONE
