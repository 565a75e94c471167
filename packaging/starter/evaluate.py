"""Measure a model folder on drawings and scenes it has not seen.

``python packaging/starter/evaluate.py resources/models/starter-coca --work FOLDER --markdown out.md``

Other folders are measured beside it in the same way (``--beside NAME=FOLDER``). With ``--card`` the figures
and the model card are written into the folder.
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path

import torch
from recipe.card import EVALUATION_NAME, TRAINING_NAME, write_card
from recipe.coca import load_folder
from recipe.report import as_markdown, measure


def _named_folder(text: str) -> tuple[str, Path]:
    name, _, folder = text.partition("=")
    return name, Path(folder)


def main() -> int:
    """Parse the command line and measure."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("folder", type=Path)
    parser.add_argument("--work", type=Path, required=True, help="the folder that fetch.py filled")
    parser.add_argument("--beside", type=_named_folder, action="append", default=[], metavar="NAME=FOLDER")
    parser.add_argument("--scenes", type=int, default=100, help="scenes of each arrangement")
    parser.add_argument("--guided-layer", type=int, default=2)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--json", type=Path)
    parser.add_argument("--card", action="store_true")
    parser.add_argument("--markdown", type=Path)
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    measured = {}
    for name, folder in [("starter-coca", args.folder), *args.beside]:
        model, _, tokens = load_folder(folder)
        measured[name] = measure(model, tokens, args.work, args.scenes)
    text = as_markdown(measured, args.guided_layer)
    if args.json is not None:
        args.json.write_text(json.dumps(measured, indent=1) + "\n", encoding="utf-8")
    if args.markdown is not None:
        args.markdown.write_text(text + "\n", encoding="utf-8")
    if args.card:
        facts = json.loads((args.folder / TRAINING_NAME).read_text(encoding="utf-8"))
        (args.folder / EVALUATION_NAME).write_text(json.dumps(measured, indent=1) + "\n", encoding="utf-8")
        (args.folder / "README.md").write_text(write_card(measured, facts), encoding="utf-8")
    print(text)
    return 0


if __name__ == "__main__":
    sys.exit(main())
