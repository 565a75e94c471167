"""``mmviewer what-if``: hide a part, change a word, switch heads off, and compare."""

from __future__ import annotations

import argparse
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from mmviewer.cli.console import DONE, print_json, print_line, print_table, watched
from mmviewer.cli.inputs import given_labels, load
from mmviewer.cli.options import Subparsers, add_command, add_model
from mmviewer.core.errors import ExportError, InputError
from mmviewer.core.interventions.facts import percent_words, what_if_facts
from mmviewer.core.interventions.recipe import (
    ChangeWord,
    HideRegion,
    How,
    KeepRegion,
    Recipe,
    Region,
    ScaleGate,
    Step,
    SwitchOff,
    check_step,
    checked,
    read_recipe,
    recipe_json,
    recipe_words,
)
from mmviewer.core.types import MapSpec, Modality

if TYPE_CHECKING:
    from mmviewer.core.interventions.outcome import WhatIf
    from mmviewer.core.models.base import LoadedModel
    from mmviewer.core.types import Media, TokenSequence

_RECIPE_BYTES = 2**20

_SHAPE = """\
  {"model": {...}, "path": str,
   "recipe": {"mmviewer_recipe": 1, "steps": [...]},   what --recipe reads
   "recipe_words": str, "sequence": "caption" | "answer" | "transcript" | "query" | null,
   "before": str | null, "after": str | null,
   "unit": "log-probability" | "similarity",
   "tokens": [{"index": int, "text": str, "before": float | null, "after": float | null,
               "difference": float | null, "after_index": int | null, "special": bool}],
   "total": {"before": float, "after": float, "difference": float} | null,
   "similarity": {...} | null,   of the item with a whole query
   "labels": [{"before": str, "after": str, "probability_before": float, "probability_after": float,
               "similarity_before": float, "similarity_after": float}],
   "notes": [str]}
  tokens: of the text before, each with its log-probability (nats) before and under the recipe, the text
  before it given; null where it was given or changed itself."""


def add(subparsers: Subparsers) -> None:
    """Declare the command."""
    summary = "Hide a part, change a word or switch heads off, and compare before and after"
    parser = add_command(subparsers, "what-if", summary, run, _SHAPE)
    parser.add_argument("file", metavar="IMAGE|AUDIO")
    about = parser.add_mutually_exclusive_group()
    about.add_argument("--text", metavar="T", help="what to look for, instead of the model's own text")
    about.add_argument("--ask", metavar="Q", help="a question, whose answer is compared")
    steps = parser.add_argument_group("what is changed, in the order given")
    steps.add_argument(
        "--hide",
        dest="steps",
        action="append",
        type=_hidden,
        metavar="REGION",
        help="left,top,right,bottom in pixels of the original, or start,end in seconds",
    )
    steps.add_argument(
        "--keep", dest="steps", action="append", type=_kept, metavar="REGION", help="hide all but this"
    )
    steps.add_argument(
        "--swap",
        dest="steps",
        action="append",
        type=_swapped,
        metavar="WORD=OTHER",
        help="change a word of the text so far (with --text: of what is looked for)",
    )
    steps.add_argument(
        "--drop", dest="steps", action="append", type=_dropped, metavar="WORD", help="leave a word out"
    )
    steps.add_argument(
        "--swap-label",
        dest="steps",
        action="append",
        type=_label,
        metavar="WORD=OTHER",
        help="change a word in the labels",
    )
    steps.add_argument(
        "--heads-off",
        dest="steps",
        action="append",
        type=_off,
        metavar="POINT[:LAYER[:HEADS]]",
        help="heads add nothing, such as decoder.cross:2:0,3, counted from 0; without a number, all of them",
    )
    steps.add_argument(
        "--heads-uniform",
        dest="steps",
        action="append",
        type=_even,
        metavar="POINT[:LAYER[:HEADS]]",
        help="heads add the mean of all values",
    )
    steps.add_argument(
        "--gate",
        dest="steps",
        action="append",
        type=_gate,
        metavar="POINT[:LAYER]=FACTOR",
        help="multiply the gate of a gated layer; 0 shuts it",
    )
    parser.add_argument(
        "--by", choices=("mean", "blur", "noise"), default="mean", help="what stands in for hidden parts"
    )
    parser.add_argument("--recipe", metavar="R.json", help="apply this recipe first; - reads it from stdin")
    parser.add_argument("--save-recipe", metavar="OUT.json", help="write the recipe, for the next item")
    parser.add_argument(
        "--figure",
        metavar="OUT",
        help="draw both sides, with maps; .svg, .pdf or .png; .npz and .csv for numbers",
    )
    parser.add_argument("--method", metavar="M", default="attention", help="of the maps (default: attention)")
    parser.add_argument("--word", metavar="W", help="draw the maps of this word; by default of the text")
    parser.add_argument("--labels", metavar="A,B,C", help="score these labels too; or @FILE")
    add_model(parser)


def run(options: argparse.Namespace) -> int:
    """Carry it out; the exit code."""
    from mmviewer import api
    from mmviewer.cli.output import check_target, model_facts

    recipe = _recipe(options)
    check_target(options.save_recipe, (".json",))
    check_target(options.figure, (".svg", ".pdf", ".png", ".npz", ".csv"))
    media = api.open_item(options.file)
    if media.modality is Modality.TEXT:
        raise InputError(f"{options.file} is text; what-if needs an image or a sound.")
    model = load(options)
    labels = given_labels(options.labels) if options.labels else ()
    about = _about(options, model, media)
    spec = MapSpec(options.method) if options.figure else None
    found = api.what_if(model, media, recipe, about, labels=labels, spec=spec, progress=watched())
    if options.figure:
        api.figure(found, media, options.figure, word=options.word, model=model)
    if options.save_recipe:
        _write(options.save_recipe, recipe_json(recipe))
    if options.json:
        print_json({"model": model_facts(model.info), "path": media.path, **what_if_facts(found)})
    else:
        _tell(found)
    return DONE


def _recipe(options: argparse.Namespace) -> Recipe:
    steps: list[Step] = list(read_recipe(_read(options.recipe))) if options.recipe else []
    for step in options.steps or ():
        if isinstance(step, HideRegion | KeepRegion):
            step = replace(step, by=options.by)
        elif isinstance(step, ChangeWord) and step.place == "text" and options.text is not None:
            step = replace(step, place="query")
        steps.append(check_step(step))
    if not steps:
        raise InputError("Nothing is to be changed; give --hide, --swap, --heads-off or --recipe.")
    return checked(steps)


def _about(options: argparse.Namespace, model: LoadedModel, media: Media) -> TokenSequence | str | None:
    if options.ask is None:
        return str(options.text) if options.text is not None else None
    from mmviewer import api

    return api.ask(model, media, options.ask, progress=watched())


def _tell(found: WhatIf) -> None:
    print_line(f"what if: {recipe_words(found.recipe)}")
    if found.before is not None:
        print_line(f"before: {found.before.text}")
    if found.after is not None:
        print_line(f"after:  {found.after.text}")
    if found.similarity is not None:
        print_line(f"similarity: {found.similarity[0]:.4f} → {found.similarity[1]:.4f}")
    written = found.unit == "log-probability"
    rows = [
        (f"{change.difference:+.3f}" if change.difference is not None else "changed", change)
        for change in found.changes
        if change.before is not None
    ]
    print_table(
        (
            number,
            f"{change.text.strip() or change.text!r} {percent_words(change) if written else ''}".rstrip(),
        )
        for number, change in rows
    )
    if found.total is not None and written:
        print_line(f"log-probability of the text before: {found.total[0]:.3f} → {found.total[1]:.3f} nats")
    for row in what_if_facts(found)["labels"]:
        name = row["before"] if row["before"] == row["after"] else f"{row['before']} → {row['after']}"
        print_line(f"{name}: {row['probability_before']:.1%} → {row['probability_after']:.1%}")
    for note in found.notes:
        print_line(note)


def _read(name: str) -> str:
    import sys

    try:
        if name == "-":
            return sys.stdin.read(_RECIPE_BYTES)
        if Path(name).stat().st_size > _RECIPE_BYTES:
            raise InputError(f"{name} is too large for a recipe; choose a file that What if has written.")
        return Path(name).read_text("utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(
            f"The recipe {name} cannot be read; give a file that What if has written."
        ) from error


def _write(name: str, text: str) -> None:
    from mmviewer.core.media.files import write_atomically

    write_atomically(Path(name), text.encode(), ExportError)


# --- values of options -----------------------------------------------------------------------------
def _region(text: str) -> Region:
    try:
        numbers = [float(part) for part in text.split(",")]
    except ValueError as error:
        raise argparse.ArgumentTypeError(f"{text!r} is no region, such as 10,20,110,90") from error
    try:
        if len(numbers) == 4:
            left, top, right, bottom = numbers
            return Region("box", ((left, top), (right, bottom)))
        if len(numbers) == 2:
            return Region("span", ((numbers[0], numbers[1]),))
    except InputError as error:
        raise argparse.ArgumentTypeError(error.message) from error
    raise argparse.ArgumentTypeError(f"{text!r} is no region: give four pixels, or two seconds")


def _hidden(text: str) -> HideRegion:
    return HideRegion(_region(text))


def _kept(text: str) -> KeepRegion:
    return KeepRegion(_region(text))


def _swapped(text: str) -> ChangeWord:
    word, equals, other = text.partition("=")
    if not (equals and word.strip() and other.strip()):
        raise argparse.ArgumentTypeError(f"{text!r} is no swap, such as dog=cat")
    return ChangeWord(word.strip(), other.strip())


def _label(text: str) -> ChangeWord:
    return replace(_swapped(text), place="labels")


def _dropped(text: str) -> ChangeWord:
    return ChangeWord(text)


def _off(text: str, how: How = "zero") -> SwitchOff:
    point, *numbers = text.split(":")
    try:
        layer = int(numbers[0]) if numbers and numbers[0] else None
        heads = tuple(int(part) for part in numbers[1].split(",")) if len(numbers) > 1 else ()
    except ValueError as error:
        raise argparse.ArgumentTypeError(f"{text!r} names no heads, such as decoder.cross:2:0,3") from error
    if len(numbers) > 2 or min((*heads, layer or 0)) < 0:
        raise argparse.ArgumentTypeError(f"{text!r} names no heads, such as decoder.cross:2:0,3")
    return SwitchOff(point, layer, heads, how)


def _gate(text: str) -> ScaleGate:
    place, _, times = text.partition("=")
    try:
        step = _off(place)
        return ScaleGate(step.point, step.layer, float(times))
    except ValueError as error:
        raise argparse.ArgumentTypeError(f"{text!r} is no gate, such as decoder.cross:2=0.5") from error


def _even(text: str) -> SwitchOff:
    return _off(text, "uniform")
