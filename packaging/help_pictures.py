"""Draw the pictures of the help pages by the app's own methods and figures, from the starter and its samples.

Run it again when the starter changes: ``python packaging/help_pictures.py``. Takes a few minutes of one core.
"""

from __future__ import annotations

import argparse
import json
import shutil
import sys
from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import cache, partial
from io import BytesIO
from pathlib import Path
from tempfile import TemporaryDirectory

import matplotlib as mpl
import numpy as np
import torch
from matplotlib.patches import Rectangle
from PIL import Image
from PIL.PngImagePlugin import PngInfo

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from help_measured import measured, measured_page

import mmviewer as mv
from mmviewer import paths
from mmviewer.api import map_figure
from mmviewer.core.average.figure import average_figure
from mmviewer.core.average.run import average_maps, map_of_item
from mmviewer.core.compare.figure import matrix_figure
from mmviewer.core.explain import faithfulness
from mmviewer.core.explain.base import METHODS, explore_heads
from mmviewer.core.explain.measures import covered, mass_in, points_into
from mmviewer.core.explain.methods.token_activation_map import rank_gaussian
from mmviewer.core.explain.selection import show, tokens_of_word
from mmviewer.core.figures.provenance import build_provenance
from mmviewer.core.figures.render import encode
from mmviewer.core.figures.sheet import ACCENT, GREY, Sheet, quiet, settings
from mmviewer.core.figures.spec import (
    AnyFigure,
    ImageMapFigure,
    MapStyle,
    ScatterFigure,
    ScoreFigure,
    TokenStripFigure,
)
from mmviewer.core.interventions.figure import what_if_figure
from mmviewer.core.interventions.recipe import HideRegion, Region
from mmviewer.core.media.geometry import ImageGeometry
from mmviewer.core.models.base import LoadedModel
from mmviewer.core.space.projection.base import project
from mmviewer.core.targets import SimilarityTarget, score_of_shown
from mmviewer.core.types import MapSpec, Media, Modality, TokenMaps, TokenSequence

_DPI = 130
_COLOURS = 256
_WHITE = 248
_NOT_SHOWN = ("token_activation_map",)
"""Methods for models that do not ship; their pictures are drawn from numbers made up to show the steps."""
_TWO = "an owl and a guitar"

Drawn = AnyFigure | Sheet


@cache
def model() -> LoadedModel:
    """The starter."""
    return mv.load("starter")


@cache
def sample(name: str) -> Media:
    """A picture of the sample session."""
    return mv.open(paths.samples() / f"{name}.png")


@cache
def caption(name: str) -> TokenSequence:
    """What the starter writes about it."""
    return mv.caption(model(), sample(name))


def strip(maps: TokenMaps, media: Media, words: tuple[str, ...], text: str) -> TokenStripFigure:
    """The maps of a few words beside the picture."""
    chosen = [tokens_of_word(maps.tokens, word) for word in words]
    return TokenStripFigure(
        values=np.stack([show(maps, tokens).grid for tokens in chosen]),
        tokens=words,
        geometry=maps.geometry,
        pixels=media.pixels,
        text=text,
        description=maps.description,
        kind=maps.kind,
        title=media.name,
        score=score_of_shown(maps.score, words),
        style=MapStyle(signed=maps.signed),
    )


def method(key: str) -> Drawn:
    """Two things, one map each: of the caption where the method explains one, else of a description."""
    media = sample("scene-owl-guitar")
    written = caption("scene-owl-guitar")
    about: TokenSequence | str = written if METHODS.get(key).offers(model(), written.kind) else _TWO
    maps = mv.explain(model(), media, about, method=key)
    return strip(maps, media, ("owl", "guitar"), written.text if about is written else _TWO)


def shared() -> Drawn:
    """Attention of the encoder, which is the same for every word, beside what a word depends on."""
    media = sample("scene-owl-guitar")
    maps = mv.explain(model(), media, _TWO, method="attention")
    return strip(maps, media, ("owl", "guitar"), _TWO)


def sinks() -> Drawn:
    """Rollout over a photograph, in whose corners the drawings' model keeps notes of its own."""
    media = sample("photo-cat")
    maps = [
        mv.explain(model(), media, "a cat", method="rollout", without_sinks=without)
        for without in (False, True)
    ]
    figure = strip(maps[0], media, ("cat",), "Attention that reaches the embedding, patch by patch")
    values = np.stack([show(each, (0,)).grid for each in maps])
    style = replace(figure.style, interpolation="nearest")
    return replace(figure, values=values, tokens=("as it is", "sinks left out"), style=style)


def contrast() -> Drawn:
    """What speaks for one thing, for another, and for the first rather than the other."""
    media = sample("scene-owl-guitar")
    owl, guitar = SimilarityTarget("owl"), SimilarityTarget("guitar")
    asked = {"owl": (owl, None), "guitar": (guitar, None), "owl, not guitar": (owl, guitar)}
    maps = {
        word: mv.explain(model(), media, _TWO, method="occlusion", target=target, contrast=other)
        for word, (target, other) in asked.items()
    }
    figure = strip(maps["owl, not guitar"], media, ("owl",), "One similarity minus another")
    values = np.stack([show(each).grid for each in maps.values()])
    return replace(
        figure, values=values, tokens=tuple(maps), score="cosine similarity", description="occlusion"
    )


@cache
def cropping() -> LoadedModel:
    """The starter with another preprocessing: the short side resized, then the middle cut out."""
    with TemporaryDirectory() as folder:
        for path in paths.starter_model().iterdir():
            if path.name != "open_clip_config.json":
                shutil.copy(path, folder)  # links that lead out of a model's folder are not followed
        config = json.loads((paths.starter_model() / "open_clip_config.json").read_text(encoding="utf-8"))
        config["preprocess_cfg"]["resize_mode"] = "shortest"
        (Path(folder) / "open_clip_config.json").write_text(json.dumps(config), encoding="utf-8")
        return mv.load(folder)


def one_map(word: str, media: Media | None = None, own: LoadedModel | None = None) -> ImageMapFigure:
    """A single map of what a word of the description depends on."""
    media = media or sample("scene-owl-guitar")
    maps = mv.explain(own or model(), media, _TWO, method="gradient_attention")
    figure = map_figure(maps, media, show(maps, tokens_of_word(maps.tokens, word)))
    assert isinstance(figure, ImageMapFigure)
    return replace(figure, caveat="")


def patches() -> Drawn:
    """The patches as they are, with their borders."""
    figure = one_map("guitar")
    return replace(figure, show_patches=True, style=replace(figure.style, interpolation="nearest"))


def cut_off() -> Drawn:
    """A wide picture of which the model sees the middle."""
    media = sample("scene-owl-guitar")
    assert media.pixels is not None
    side = np.repeat(media.pixels[:, :1], media.pixels.shape[1] // 3, axis=1)
    wide = np.ascontiguousarray(np.concatenate([side, media.pixels, side], axis=1))
    return one_map("owl", replace(media, id="wide", pixels=wide, size=wide.shape[:2]), cropping())


def curves() -> Drawn:
    """Deletion and insertion of one map, beside random orders."""
    media, written = sample("scene-owl-guitar"), caption("scene-owl-guitar")
    maps = mv.explain(model(), media, written, method="gradient_attention")
    tokens = tokens_of_word(maps.tokens, "owl")
    found = faithfulness.curves(model(), model().prepare(media), written, maps, tokens)
    sheet = Sheet(6.4, 2.9, "Deletion and insertion of the map of “owl”", media.name, (maps.description,), "")
    sides = (
        ("deletion: the strongest first taken away", found.deletion, found.random_deletion),
        ("insertion: the strongest first put back", found.insertion, found.random_insertion),
    )
    for column, (title, own, random) in enumerate(sides):
        axes = sheet.axes(0.75 + 3.0 * column, 0.15, 2.35, 2.1)
        axes.plot(100 * found.shares, random, color=GREY, linestyle="--", label="random order")
        axes.plot(100 * found.shares, own, color=ACCENT, label="this map")
        axes.set_title(title, fontsize=8)
        axes.set_xlabel("% of the patches")
        if not column:
            axes.set_ylabel(f"{found.scale} of “owl”")
        axes.legend(fontsize=7, frameon=False)
        quiet(axes)
    return sheet


def randomised() -> Drawn:
    """The same map from shuffled weights."""
    media = sample("scene-owl-guitar")
    whole = mv.explain(model(), media, _TWO, method="gradient_attention")
    other = faithfulness.randomised(model())
    shuffled = mv.explain(other, media, _TWO, method="gradient_attention")
    tokens = tokens_of_word(whole.tokens, "owl")
    figure = strip(whole, media, ("owl",), "The map of “owl”: the model's own, and with shuffled weights")
    values = np.concatenate([figure.values, show(shuffled, tokens).grid[None]])
    return replace(figure, values=values, tokens=("own weights", "shuffled weights"))


def heads() -> Drawn:
    """The heads of one layer for one word."""
    media, written = sample("scene-owl-guitar"), caption("scene-owl-guitar")
    token = tokens_of_word(written.tokens, "owl")
    found = explore_heads(model(), model().prepare(media), written, token)
    layer = found.point.best_layer or 0
    maps = mv.explain(model(), media, written)
    figure = strip(maps, media, ("owl",), "Four heads of a layer, for the word “owl”")
    names = tuple(f"head {head + 1}" for head in range(found.point.heads))
    words = f"attention · {found.point.label} · layer {layer + 1} of {found.point.layers}"
    return replace(figure, values=found.values[layer], tokens=names, description=words)


def compare() -> Drawn:
    """Two words by three methods."""
    found = mv.compare(
        model(),
        sample("scene-owl-guitar"),
        words=("owl", "guitar"),
        methods=("attention", "rollout", "gradient_attention"),
    )
    return matrix_figure(found.matrix, shared_scale=False)


def scores() -> Drawn:
    """Zero-shot bars."""
    media = sample("scene-owl-guitar")
    labels = ("owl", "guitar", "dog", "teapot", "bicycle")
    found = mv.classify(model(), media, labels)
    return ScoreFigure(
        labels=labels,
        probabilities=found.probabilities,
        similarities=found.similarities,
        items=(media.name,),
        activation=found.activation,
        templates=found.templates,
        title=media.name,
        pixels=media.pixels,
    )


def plane(texts: tuple[str, ...]) -> Drawn:
    """Samples and texts in the plane of the first two principal components."""
    names = (
        "scene-owl-guitar",
        "scene-cat-dog",
        "scene-three-butterflies",
        "scene-car-banana",
        "scene-harbour",
    )
    items = [sample(name) for name in names]
    written = [Media(text, Modality.TEXT, text, text=text) for text in texts]
    embedded = mv.embed(model(), [*items, *written])
    placed = project(embedded, "pca")
    return ScatterFigure(
        coordinates=placed.coordinates,
        names=tuple(item.name.removesuffix(".png").removeprefix("scene-") for item in (*items, *written)),
        modalities=embedded.modalities,
        method="PCA",
        details=placed.details,
        title="Samples and texts",
        thumbnails=(*[item.pixels for item in items], *[None] * len(written)),
    )


def hidden() -> Drawn:
    """A caption and its maps, before and after one of its two things is hidden."""
    media = sample("scene-owl-guitar")
    owl = HideRegion(Region("box", ((125, 18), (322, 215)), "owl"))
    found = mv.what_if(model(), media, [owl], caption("scene-owl-guitar"), spec=MapSpec("gradient_attention"))
    return what_if_figure(found, media, tokens_of_word(caption("scene-owl-guitar").tokens, "guitar"))


def averaged() -> Drawn:
    """Where one word lies in twelve cuts of one picture, and which of them differ most."""
    whole, random = sample("scene-cat-dog"), np.random.default_rng(0)
    cuts: list[Media] = []
    for number in range(12):
        side = int(random.integers(180, min(whole.size)))
        top, left = (int(random.integers(0, extent - side + 1)) for extent in whole.size)
        pixels = np.ascontiguousarray(whole.pixels[top : top + side, left : left + side])
        cuts.append(replace(whole, id=f"cut-{number}", name=f"cut {number + 1}", pixels=pixels))

    def make(row: int) -> TokenMaps:
        return map_of_item(model(), cuts[row], Modality.IMAGE, "a cat", MapSpec("gradient_attention"))

    found = average_maps([(row, cut.name) for row, cut in enumerate(cuts)], make, "a cat")
    return average_figure(found)


def pointing() -> Drawn:
    """A map with a box around what is meant, and its strongest patch."""
    media, box = sample("scene-owl-guitar"), (226, 116, 434, 332)
    maps = mv.explain(model(), media, _TWO, method="legrad")
    grid, geometry = show(maps, tokens_of_word(maps.tokens, "guitar")).grid, maps.geometry
    assert isinstance(geometry, ImageGeometry)
    inside, chance = mass_in(grid, geometry, [box]), float(covered(geometry, [box]).mean())
    hit = "in" if points_into(grid, geometry, [box]) else "outside"
    told = f"strongest patch {hit} the box · mass in box {inside:.0%}, by chance {chance:.0%}"
    sheet = Sheet(6.4, 3.0, "A box around the guitar", media.name, (f"{maps.description} · {told}",), "")
    axes = sheet.axes(0.3, 0.1, 2.6, 2.6)
    assert media.pixels is not None
    axes.imshow(media.pixels)
    axes.set_axis_off()
    shown = sheet.axes(3.2, 0.1, 2.6, 2.6)
    height, width = media.size[:2]
    shown.imshow(grid, cmap="inferno", extent=(0, width, height, 0))
    row, column = np.unravel_index(int(grid.argmax()), grid.shape)
    top, left, bottom, right = geometry.cell_box(int(row), int(column))
    for each, colour in ((axes, ACCENT), (shown, "white")):
        each.add_patch(
            Rectangle((box[1], box[0]), box[3] - box[1], box[2] - box[0], fill=False, color=colour)
        )
    shown.plot((left + right) / 2, (top + bottom) / 2, "x", color=ACCENT, markersize=9, markeredgewidth=2)
    shown.set_axis_off()
    return sheet


def activations() -> Drawn:
    """The steps of the token activation map on numbers made up for it."""
    rows, columns = np.mgrid[0:12, 0:12]

    def spot(row: float, column: float, wide: float) -> torch.Tensor:
        there = np.exp(-((rows - row) ** 2 + (columns - column) ** 2) / (2 * wide**2))
        return torch.tensor(there, dtype=torch.float32)

    earlier, meant = spot(3, 3, 2.0), spot(8, 8, 1.8)
    own = meant + 0.7 * earlier
    own[1, 9] = own[10, 2] = 1.2  # lone specks, as logits have them
    share = float((own * earlier).sum() / (earlier * earlier).sum())
    left = (own - share * earlier).clamp(min=0)
    steps = (
        ("what calls for “guitar”", own),
        ("what called for “owl” before", earlier),
        ("without its least-squares share", left),
        ("filtered by rank: the map", rank_gaussian(left[None])[0]),
    )
    sheet = Sheet(6.6, 1.9, "From logits to a token activation map", "made-up numbers", ("",), "")
    for place, (title, values) in enumerate(steps):
        axes = sheet.axes(0.2 + 1.6 * place, 0.1, 1.4, 1.4)
        axes.imshow(values.numpy(), cmap="inferno", vmin=0)
        axes.set_title(title, fontsize=6.5)
        axes.set_axis_off()
    return sheet


_TEXTS = ("an owl and a guitar", "a cat and a dog", "three butterflies", "a car and a banana", "a boat")

PICTURES: dict[str, Callable[[], Drawn]] = {
    **{f"method-{key}": partial(method, key) for key in METHODS.keys() if key not in _NOT_SHOWN},  # noqa: SIM118
    "start": partial(one_map, "guitar"),
    "attention": shared,
    "several-objects": partial(method, "second_order"),
    "contrast": contrast,
    "sinks": sinks,
    "heads": heads,
    "compare": compare,
    "saturation": partial(method, "grad_eclip"),
    "place": cut_off,
    "patches": patches,
    "deletion-insertion": curves,
    "sanity-check": randomised,
    "scores": scores,
    "modality-gap": partial(plane, _TEXTS),
    "projection": partial(plane, ()),
    "what-if": hidden,
    "average-map": averaged,
    "pointing": pointing,
    "method-token_activation_map": activations,
    "methods-measured": measured,
}


def encoded(drawn: Drawn) -> bytes:
    """A small PNG with few colours, its provenance kept."""
    if isinstance(drawn, Sheet):
        from matplotlib.backends.backend_agg import FigureCanvasAgg

        buffer = BytesIO()
        FigureCanvasAgg(drawn.figure)
        drawn.figure.savefig(buffer, dpi=_DPI)
        data = buffer.getvalue()
    else:
        data = encode(drawn, build_provenance(model().info), "png", dpi=_DPI, caption=False)
    image = Image.open(BytesIO(data))
    notes = PngInfo()
    for name, text in getattr(image, "text", {}).items():
        notes.add_itxt(name, text)
    plain = image.convert("RGB")
    small = plain.quantize(palette=plain.quantize(_COLOURS), dither=Image.Dither.FLOYDSTEINBERG)
    palette = np.array(small.getpalette()).reshape(-1, 3)
    palette[palette.min(1) > _WHITE] = 255  # the paper stays white
    small.putpalette(palette.flatten().tolist())
    result = BytesIO()
    small.save(result, "PNG", optimize=True, pnginfo=notes)
    return result.getvalue()


def lines() -> Iterator[str]:
    """Draw those that are asked for, or all."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("names", nargs="*", help="pictures to draw; by default all")
    parser.add_argument("--out", type=Path, default=paths.help_pages())
    options = parser.parse_args()
    options.out.mkdir(parents=True, exist_ok=True)
    for name in options.names or PICTURES:
        with mpl.rc_context(settings()):
            data = encoded(PICTURES[name]())
        (options.out / f"{name}.png").write_bytes(data)
        yield f"{name}.png: {len(data) / 1000:.0f} kB"
    if "methods-measured" in (options.names or PICTURES):
        (options.out / "methods-measured.md").write_text(measured_page(), encoding="utf-8")


if __name__ == "__main__":
    for line in lines():
        print(line)
