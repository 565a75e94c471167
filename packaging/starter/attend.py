"""Show, Attend and Tell, from the art that fetch.py brought to a folder that mmviewer loads.

    python packaging/starter/attend.py train --work WORK --out WORK/attend          # an hour of one idle core
    python packaging/starter/attend.py export WORK/attend --work WORK --out FOLDER
    python packaging/starter/attend.py evaluate FOLDER --work WORK                   # figures and model card

``fetch.py`` must have run for the art and ``photos.py fetch`` for the trunk's published weights. A run that
was stopped goes on from its last checkpoint when it is called again.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

import torch
from recipe.attend_training import Options, Run
from recipe.photo_sources import photo_folder


def main(arguments: Sequence[str] | None = None) -> int:
    """Parse the command line and run one step."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("step", choices=("train", "export", "evaluate"))
    parser.add_argument(
        "folder", type=Path, nargs="?", help="export: of the run; evaluate: what was exported"
    )
    parser.add_argument("--work", type=Path, required=True, help="work folder outside the repository")
    parser.add_argument("--out", type=Path, help="train: folder of the run; export: where to")
    parser.add_argument("--seconds", type=float, default=Options().seconds, help="train: wall-clock budget")
    parser.add_argument("--seed", type=int, default=Options().seed)
    parser.add_argument("--scenes", type=int, default=200, help="evaluate: scenes of each group")
    args = parser.parse_args(arguments)
    if (args.step != "train" and args.folder is None) or (args.step != "evaluate" and args.out is None):
        parser.error("export and evaluate take a folder, train and export an --out")
    torch.set_num_threads(1)
    steps = {"train": _train, "export": _export, "evaluate": _evaluate}
    steps[args.step](args)
    return 0


def _train(args: argparse.Namespace) -> None:
    options = Options(seconds=args.seconds, seed=args.seed)
    Run(args.work, args.out, options, photo_folder(args.work, "tower")).train()


def _export(args: argparse.Namespace) -> None:
    from recipe.attend_card import export

    size = export(args.folder, args.work, args.out)
    print(f"{args.out}: {size / 1e6:.1f} MB")


def _evaluate(args: argparse.Namespace) -> None:
    from recipe.attend_card import write_figures
    from recipe.attend_measures import measure

    from mmviewer.core.models.sat import folder

    network, words = folder.read(folder.locate(str(args.folder)))
    write_figures(args.folder, measure(network, words, args.work, args.scenes))
    print((args.folder / "README.md").read_text(encoding="utf-8"))


if __name__ == "__main__":
    sys.exit(main())
