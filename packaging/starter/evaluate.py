"""Measure a model folder on drawings, scenes and sounds it has not seen.

``python packaging/starter/evaluate.py resources/models/starter-coca --work FOLDER --previous FOLDER --card``

An earlier version is measured beside it in the same way: ``--previous`` names its folder, or the JSON that
an earlier call wrote with ``--json``. With ``--card`` the figures and the model card are written into the
folder. The sealed style is measured only with ``--final``: once, when the model is not changed any more.
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path

from recipe.card import EVALUATION_NAME, TRAINING_NAME, write_card
from recipe.figures import FIGURES_NAME, figures
from recipe.measuring import Amounts, Measures, Plan, measure
from recipe.report import as_markdown

NAME = "starter-coca"


def _of_previous(path: Path, args: argparse.Namespace) -> Measures:
    """The figures of an earlier version: measured anew, or as they were written."""
    if path.is_dir():
        return _measured(path, args)
    found = json.loads(path.read_text(encoding="utf-8"))
    return dict(found.get(NAME, found))


def _measured(folder: Path, args: argparse.Namespace) -> Measures:
    amounts = Amounts.quick() if args.quick else Amounts()
    if args.scenes is not None:
        amounts = Amounts.of(args.scenes)
    plan = Plan(folder, args.work, amounts, sealed=args.final, methods=args.methods)
    kept = None if args.kept is None else args.kept / folder.name
    return measure(plan, processes=args.processes, kept=kept, say=_say)


def _say(what: str) -> None:
    print(what, file=sys.stderr, flush=True)


def main() -> int:
    """Parse the command line and measure."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("folder", type=Path)
    parser.add_argument("--work", type=Path, required=True, help="the folder that fetch.py filled")
    parser.add_argument("--previous", type=Path, help="an earlier version's folder or JSON")
    parser.add_argument("--quick", action="store_true", help="a part of the scenes, for a look")
    parser.add_argument("--scenes", type=int, help="scenes, questions and false captions of each kind")
    parser.add_argument("--final", action="store_true", help="measure on the sealed style too")
    parser.add_argument("--methods", action="store_true", help="also ask the app's attribution methods")
    parser.add_argument("--guided-layer", type=int, default=2)
    parser.add_argument("--processes", type=int, default=2, help="parts measured at once, each on one core")
    parser.add_argument("--kept", type=Path, help="folder for the parts that are done, to go on later")
    parser.add_argument("--json", type=Path)
    parser.add_argument("--markdown", type=Path)
    parser.add_argument("--card", action="store_true")
    args = parser.parse_args()
    measured = {NAME: _measured(args.folder, args)}
    if args.previous is not None:
        measured["previous version"] = _of_previous(args.previous, args)
    text = as_markdown(measured, args.guided_layer)
    whole = json.dumps(measured, indent=1) + "\n"
    if args.json is not None:
        args.json.write_text(whole, encoding="utf-8")
    if args.markdown is not None:
        args.markdown.write_text(text + "\n", encoding="utf-8")
    if args.card:
        facts = json.loads((args.folder / TRAINING_NAME).read_text(encoding="utf-8"))
        (args.folder / EVALUATION_NAME).write_text(whole, encoding="utf-8")
        shown = json.dumps(figures(measured[NAME], args.guided_layer), indent=1) + "\n"
        (args.folder / FIGURES_NAME).write_text(shown, encoding="utf-8")
        (args.folder / "README.md").write_text(write_card(measured, facts), encoding="utf-8")
    print(text)
    return 0


if __name__ == "__main__":
    sys.exit(main())
