"""``mmviewer explain``: what a model looked at, token by token."""

from __future__ import annotations

import argparse

from mmviewer.cli.console import DONE, print_json, print_line, watched
from mmviewer.cli.inputs import load
from mmviewer.cli.options import Subparsers, add_command, add_model, count
from mmviewer.core.cautions import applying
from mmviewer.core.errors import InputError
from mmviewer.core.targets import RunnerUp, score_of_shown
from mmviewer.core.types import Modality


def add(subparsers: Subparsers) -> None:
    """Declare the command."""
    shape = """\
  {"model": {...}, "path": str, "notes": [str], "kind": "attention" | "attribution",
   "sequence": "caption" | "answer" | "transcript" | "query", "text": str, "method": str, "point": str,
   "layer": int | null, "head": int | "mean" | "max",
   "description": str, "score": str, "caveat": str,
   "cautions": [{"text": str, "page": str}], "signed": bool,
   "geometry": {...}, "tokens": [{"index", "id", "text", "start", "end", "logprob", "special"}],
   "shown": {"label": str, "tokens": [int], "grid": [[float]] or [float], "peak": {...}},
   "map": str | null, "figure": str | null}
  layer, head: counted from 0; layer null means all. peak: where the shown map is largest, in pixels of the
  original or seconds.

--map writes an NPZ with
  grid        float32 [rows, columns] or [positions]: the shown map over patches or audio positions
  map         float32 [height, width] or [samples]: the same at original size, NaN where the model saw nothing
  shown       what that map is of
  tokens      the texts of all tokens
  token_grids float32 [tokens, rows, columns] or [tokens, positions]: the map of each token
  provenance  JSON: model, weights, method, layer, head, preprocessing, version"""
    parser = add_command(subparsers, "explain", "Show what a model looked at, token by token", run, shape)
    parser.add_argument("file", metavar="IMAGE|AUDIO")
    about = parser.add_mutually_exclusive_group()
    about.add_argument(
        "--text", metavar="T", help="what to look for; by default the model's own caption is made"
    )
    about.add_argument("--ask", metavar="Q", help="a question, to see where the model looked to answer it")
    which = parser.add_mutually_exclusive_group()
    which.add_argument("--word", metavar="W", help="show the map of this word")
    which.add_argument("--token", metavar="K", type=count, help="show the map of token K, counted from 0")
    parser.add_argument(
        "--method",
        default="attention",
        metavar="M",
        help="attention (default), gradient_attention, rollout, legrad, grad_eclip, clip_surgery, gradcam, "
        "integrated_gradients, occlusion, feature_ablation or second_order, as far as the model offers it",
    )
    parser.add_argument(
        "--contrast",
        metavar="T",
        help="subtract the score of this text (“cat”, not “dog”); for a caption: runner-up, the most likely "
        "other token of each step",
    )
    parser.add_argument(
        "--without-sinks", action="store_true", help="leave out positions that draw weight whatever is asked"
    )
    parser.add_argument("--point", metavar="P", help="capture point; by default the model's own choice")
    parser.add_argument("--layer", type=count, metavar="L", help="counted from 0; by default all layers")
    parser.add_argument(
        "--head",
        type=_head,
        default="mean",
        metavar="H",
        help="mean (default), max, a number from 0, or several, such as 0,3",
    )
    parser.add_argument("--map", metavar="OUT.npz", help="write the arrays")
    parser.add_argument(
        "--figure", metavar="OUT", help="write a figure; its ending says how: .svg, .pdf or .png"
    )
    add_model(parser)


def run(options: argparse.Namespace) -> int:
    """Carry it out; the exit code."""
    from mmviewer import api
    from mmviewer.cli.output import check_target, explanation_facts, model_facts, peak, peak_words, write_maps
    from mmviewer.core.explain.selection import check_tokens, show, tokens_of_word
    from mmviewer.core.tasks.query import query_sequence

    media = api.open_item(options.file)
    if media.modality is Modality.TEXT:
        raise InputError(f"{options.file} is text; explain needs an image or a sound.")
    check_target(options.map, (".npz",))
    check_target(options.figure, (".svg", ".pdf", ".png"))
    model = load(options)
    if options.text is not None:
        sequence = query_sequence(model, media.id, options.text)
    elif options.ask is not None:
        sequence = api.ask(model, media, options.ask, progress=watched())
    else:
        make = api.transcribe if media.modality is Modality.AUDIO else api.caption
        sequence = make(model, media, progress=watched())
    chosen = tokens_of_word(sequence.tokens, options.word) if options.word is not None else ()
    if options.token is not None:
        chosen = check_tokens(sequence.tokens, (options.token,))
    maps = api.explain(
        model,
        media,
        sequence,
        method=options.method,
        point=options.point,
        layer=options.layer,
        head=options.head,
        contrast=RunnerUp() if options.contrast == "runner-up" else options.contrast,
        without_sinks=options.without_sinks,
        progress=watched(),
    )
    shown = show(maps, chosen)
    if options.map:
        write_maps(options.map, model.info, media, maps, shown)
    if options.figure:
        api.figure(maps, media, options.figure, tokens=chosen, model=model)
    if options.json:
        files = {"map": options.map, "figure": options.figure}
        facts = {"model": model_facts(model.info), **explanation_facts(media, sequence, maps, shown), **files}
        print_json(facts)
    else:
        print_line(f"{sequence.kind}: {sequence.text}")
        print_line(f"{shown.label}: {maps.description}")
        print_line(f"strongest at {peak_words(peak(shown.grid, maps.geometry))}")
        score = score_of_shown(maps.score, [maps.tokens[index].text for index in shown.tokens])
        print_line(f"{maps.kind} of the {score}" if score else str(maps.kind))
        for words in (*(each.text for each in applying(maps.cautions, shown.tokens)), maps.caveat):
            print_line(words)
    return DONE


def _head(text: str) -> float | str | tuple[float, ...]:
    if text in ("mean", "max"):
        return text
    return tuple(count(part) for part in text.split(",")) if "," in text else count(text)
