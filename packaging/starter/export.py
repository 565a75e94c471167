"""Write the folder that is shipped from a run's last checkpoint.

``python packaging/starter/export.py RUN/checkpoint.pt --work FOLDER --out resources/models/starter-coca``

The averaged weights go into it as float16, with the configuration, the vocabulary, the label set
(``labels.txt``) and the facts of the training (``training.json``). ``evaluate.py --card`` then measures the
folder and writes its card.
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path
from typing import Any

import torch
from recipe.card import TRAINING_NAME
from recipe.coca import BPE_NAME, save_folder
from recipe.sources import TRAIN_STYLES
from recipe.sprites import load_index

MAX_BYTES = 40_000_000
LICENCE = "MIT; patch embedding Apache-2.0; the art it learnt from: see the card"
LIMITS = "Names drawings of {labels} things, one to five in a picture; it has seen no photographs of scenes."


def training_facts(checkpoint: dict[str, Any], earlier_scenes: int, note: str) -> dict[str, Any]:
    """What the card tells of the training."""
    options = checkpoint["options"]
    scenes = checkpoint["step"] * options["batch"] * options["processes"]
    return {
        "initialised_from_earlier_run": options["init"] is not None,
        "earlier_scenes": earlier_scenes,
        "note": note,
        "scenes": scenes,
        "steps": checkpoint["step"],
        "hours": round(checkpoint["spent"] / 3600, 2),
        "planned_hours": round(options["seconds"] / 3600, 2),
        "styles": list(TRAIN_STYLES),
        **{
            k: options[k]
            for k in (
                "seed",
                "processes",
                "batch",
                "rate",
                "caption",
                "answer",
                "guide",
                "guide_layer",
                "align",
                "restyled",
                "stem",
                "fresh",
                "kept",
                "kept_until",
                "freeze_text",
            )
        },
        "history": checkpoint["history"],
    }


def main() -> int:
    """Parse the command line and export."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("checkpoint", type=Path)
    parser.add_argument("--work", type=Path, required=True, help="the folder that fetch.py filled")
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument(
        "--earlier-scenes", type=int, default=0, help="scenes of the run it was initialised from"
    )
    parser.add_argument("--note", default="", help="a sentence on the course of this run, for the card")
    args = parser.parse_args()
    checkpoint = torch.load(args.checkpoint, map_location="cpu", weights_only=True)
    concepts, labels = load_index(args.work)
    save_folder(
        args.out,
        checkpoint["average"],
        checkpoint["config"],
        args.checkpoint.parent / BPE_NAME,
        stem=checkpoint["options"]["stem"] or None,
        facts={"licence": LICENCE, "limits": LIMITS.format(labels=len(labels))},
    )
    names = "".join(f"{concepts[i].name}\n" for i in labels)
    (args.out / "labels.txt").write_text(names, encoding="utf-8")
    facts = json.dumps(training_facts(checkpoint, args.earlier_scenes, args.note), indent=1)
    (args.out / TRAINING_NAME).write_text(facts + "\n", encoding="utf-8")
    size = sum(path.stat().st_size for path in args.out.iterdir())
    print(f"{args.out}: {size / 1e6:.1f} MB, {len(labels)} labels")
    if size > MAX_BYTES:
        print(f"The folder is larger than the {MAX_BYTES / 1e6:.0f} MB that may be shipped.", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
