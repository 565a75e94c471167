"""Draw the scenes on which methods are measured, with their true captions and boxes.

``python packaging/starter/scenes_set.py --work FOLDER --out resources/scenes``

Forty scenes each of one, two and three things, drawn once with the recipe's own generator in a style that the
starter model was never trained on. `mmviewer evaluate-methods` reads them; so it does any other folder of
pictures with a ``boxes.json`` of this shape.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from PIL import Image
from recipe.concepts import Concept
from recipe.scenes import Scene, SceneGenerator, label_prompt
from recipe.sources import STYLES
from recipe.sprites import load_index, load_sprites
from recipe.wording import Kind

STYLE, SEED = "twemoji", 910_400
SIDE, QUALITY = 256, 88
EACH = 40
LARGEST = 0.5
"""Share of the picture that a thing may take."""
GROUPS: tuple[tuple[str, str, tuple[Kind, ...]], ...] = (
    ("one object", "one", ("single",)),
    ("two objects", "two", ("beside", "over", "diagonal")),
    ("three objects", "three", ("three",)),
)


def described(scene: Scene, file: str, group: str, concepts: Sequence[Concept]) -> dict[str, Any]:
    """What is true of a scene: its caption; of each thing its noun there, what to ask for, and its boxes."""
    things = []
    for number, (concept, boxes) in enumerate(zip(scene.concepts, scene.boxes, strict=True)):
        noun = " ".join(word for word, of in scene.words if of == number).strip(",")
        edges = [[int(edge) for edge in box] for box in boxes]
        things.append({"noun": noun, "text": label_prompt(concepts[concept]), "boxes": edges})
    return {"file": file, "group": group, "caption": scene.caption, "things": things}


def drawn(generator: SceneGenerator, kind: Kind) -> Scene:
    """A scene in which no thing takes so much room that every map would point at it."""
    while True:
        scene = generator.scene(kind)
        boxes = [box for of_thing in scene.boxes for box in of_thing]
        if all((right - left) * (bottom - top) <= LARGEST * SIDE**2 for left, top, right, bottom in boxes):
            return scene


def readme() -> str:
    """What the folder is and where its art comes from."""
    source = STYLES[STYLE]
    return (
        "# Scenes on which methods are measured\n\n"
        f"{EACH} scenes each of one, two and three things, drawn by `packaging/starter/scenes_set.py` from "
        f"{source.package} {source.version} by {source.author} ({source.licence}), a style that the starter "
        "model was never trained on. The art was scaled and placed on backgrounds made at random. "
        "Where there is one thing, it takes at most half of the picture. `boxes.json` holds the true caption "
        "of each and where its things lie: left, top, right and bottom in pixels. "
        "`mmviewer evaluate-methods` reads this folder.\n"
    )


def main() -> int:
    """Parse the command line, draw and write."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--work", type=Path, required=True, help="the folder that fetch.py filled")
    parser.add_argument("--out", type=Path, required=True, help="folder of the scenes")
    args = parser.parse_args()
    concepts, labels = load_index(args.work)
    sprites = {STYLE: load_sprites(args.work, STYLE)}
    generator = SceneGenerator(concepts, sprites, labels, size=SIDE, seed=SEED, canonical=True)
    args.out.mkdir(parents=True, exist_ok=True)
    scenes = []
    for group, stem, kinds in GROUPS:
        for number in range(EACH):
            scene = drawn(generator, kinds[number % len(kinds)])
            file = f"{stem}-{number:02d}.webp"
            Image.fromarray(scene.image).save(args.out / file, quality=QUALITY, method=6)
            scenes.append(described(scene, file, group, concepts))
    source = STYLES[STYLE]
    origin = f"{source.package} {source.version}, {source.author}, {source.licence}"
    lines = ",\n".join(f"  {json.dumps(scene, ensure_ascii=False)}" for scene in scenes)
    text = f'{{"version": 1,\n "art": {json.dumps(origin)},\n "scenes": [\n{lines}\n]}}\n'
    (args.out / "boxes.json").write_text(text, encoding="utf-8")
    (args.out / "README.md").write_text(readme(), encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
