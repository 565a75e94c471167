"""Every figure in every format is written, opened again and checked."""

from __future__ import annotations

import base64
import csv
import io
import json
import re
import warnings
import zlib
from dataclasses import asdict, replace
from xml.etree import ElementTree

import matplotlib as mpl
import numpy as np
import pytest
from figure_samples import KINDS, make
from matplotlib.backends.backend_agg import FigureCanvasAgg
from PIL import Image

from mmviewer.core.errors import ExportError, InputError
from mmviewer.core.figures import render as rendering
from mmviewer.core.figures.overlay import paint
from mmviewer.core.figures.provenance import caption_line, provenance_from_json
from mmviewer.core.figures.render import draw, render
from mmviewer.core.figures.sheet import elide, settings, text_width, wrap
from mmviewer.core.figures.spec import ScatterFigure, ScoreFigure, TokenStripFigure
from mmviewer.core.media.geometry import ImageGeometry
from mmviewer.core.types import MapKind

SVG = "{http://www.w3.org/2000/svg}"
DC = "{http://purl.org/dc/elements/1.1/}"
XLINK = "{http://www.w3.org/1999/xlink}href"


def svg_texts(path) -> list[str]:
    return ["".join(node.itertext()).strip() for node in ElementTree.parse(path).iter(f"{SVG}text")]


@pytest.mark.parametrize("kind", KINDS)
def test_png(kind, provenance, tmp_path):
    path = render(make(kind), provenance, tmp_path / "figure.png", dpi=100)
    with Image.open(path) as image:
        assert image.format == "PNG"
        assert image.info["dpi"] == pytest.approx((100, 100), abs=0.1)
        assert 350 < image.width < 900
        assert provenance_from_json(image.info["mmviewer"]) == provenance
        assert image.info["Description"] == caption_line(provenance)
        pixels = np.asarray(image.convert("RGB"))
    # the margins are white: nothing is cut at the edge of the page
    for edge in (pixels[:4], pixels[-4:], pixels[:, :4], pixels[:, -4:]):
        assert (edge == 255).all()
    assert pixels.std() > 10


@pytest.mark.parametrize("kind", KINDS)
def test_svg_keeps_text_as_text(kind, provenance, tmp_path):
    path = render(make(kind), provenance, tmp_path / "figure.svg")
    tree = ElementTree.parse(path)
    texts = svg_texts(path)
    assert any("rabbit" in text for text in texts)
    assert caption_line(provenance)[:30] in " ".join(texts)
    described = next(node.text for node in tree.iter(f"{DC}description"))
    assert provenance_from_json(described) == provenance
    without = svg_texts(render(make(kind), provenance, tmp_path / "bare.svg", caption=False))
    assert not any("starter-coca" in text for text in without)


@pytest.mark.parametrize("kind", KINDS)
def test_pdf(kind, provenance, tmp_path):
    path = render(make(kind), provenance, tmp_path / "figure.pdf")
    content = (tmp_path / "figure.pdf").read_bytes()
    assert path.endswith("figure.pdf")
    assert content.startswith(b"%PDF-1.")
    assert content.rstrip().endswith(b"%%EOF")
    assert b"/FontType 42" in content or b"/CIDFontType2" in content or b"/TrueType" in content
    keywords = re.search(rb"/Keywords \((.*?[^\\])\)\n", content, re.DOTALL) or re.search(
        rb"/Keywords \((.*?[^\\])\)", content, re.DOTALL
    )
    text = re.sub(rb"\\([()\\])", rb"\1", keywords.group(1)).decode("ascii")
    assert json.loads(text)["model"] == "starter-coca"
    drawn = b"".join(_streams(content))
    assert b"Tj" in drawn or b"TJ" in drawn


def _streams(content: bytes) -> list[bytes]:
    found = []
    for match in re.finditer(rb"stream\r?\n(.*?)\r?\nendstream", content, re.DOTALL):
        try:
            found.append(zlib.decompress(match.group(1)))
        except zlib.error:
            found.append(match.group(1))
    return found


@pytest.mark.parametrize("kind", ["image", "crop", "signed"])
def test_npz_of_an_image_map(kind, provenance, tmp_path):
    figure = make(kind)
    render(figure, provenance, tmp_path / "map.npz")
    with np.load(tmp_path / "map.npz", allow_pickle=False) as arrays:
        np.testing.assert_array_equal(arrays["grid"], figure.grid)
        np.testing.assert_array_equal(arrays["map"], figure.geometry.to_source(figure.grid))
        assert arrays["map"].shape == (120, 180)
        assert arrays["map"].dtype == np.float32
        assert np.isnan(arrays["map"][:, 0]).all()
        assert arrays["tokens"].tolist() == ["rabbit"]
        assert json.loads(str(arrays["provenance"]))["weights_hash"] == provenance.weights_hash


def test_npz_of_the_others(provenance, tmp_path):
    keys = {
        "time": {"grid", "map", "seconds", "tokens"},
        "strip": {"grid", "map", "tokens", "probabilities"},
        "strip-time": {"grid", "seconds", "tokens"},
        "table": {"probabilities", "similarities", "labels", "items", "templates"},
        "scatter": {"coordinates", "names", "modalities"},
    }
    for kind, expected in keys.items():
        render(make(kind), provenance, tmp_path / "a.npz")
        with np.load(tmp_path / "a.npz", allow_pickle=False) as arrays:
            assert set(arrays.files) == expected | {"provenance"}
    figure = make("strip")
    render(figure, provenance, tmp_path / "a.npz")
    with np.load(tmp_path / "a.npz") as arrays:
        np.testing.assert_array_equal(arrays["map"][2], figure.geometry.to_source(figure.values[2]))


def test_csv_of_scores_and_maps(provenance, tmp_path):
    figure = make("table", 'comma, "quote" and\nline')
    render(figure, provenance, tmp_path / "a.csv")
    with (tmp_path / "a.csv").open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == 12
    assert rows[0]["label"] == 'comma, "quote" and\nline'
    assert float(rows[5]["probability"]) == pytest.approx(float(figure.probabilities[1, 1]))
    for kind, count in (("image", 16), ("time", 15), ("strip", 96), ("strip-time", 45), ("scatter", 12)):
        content = rendering.encode(make(kind), provenance, "csv").decode()
        assert len(content.splitlines()) == count + 1


def test_the_picture_in_the_svg_is_the_painted_map(provenance, tmp_path):
    figure = make("image")
    figure = replace(figure, show_patches=False)
    tree = ElementTree.parse(render(figure, provenance, tmp_path / "a.svg"))
    data = [node.get(XLINK).split(",", 1)[1] for node in tree.iter(f"{SVG}image")]
    images = [np.asarray(Image.open(io.BytesIO(base64.b64decode(part))).convert("RGB")) for part in data]
    largest = max(images, key=lambda image: image.size)
    height, width = 600, 900
    from mmviewer.core.figures.colormaps import lut

    pixels = np.repeat(np.repeat(figure.pixels, 10, axis=0), 10, axis=1)
    values = figure.geometry.to_source(figure.grid, size=(height, width))
    expected = paint(pixels, values, lut("inferno"), 0.0, float(figure.grid.max()))
    assert largest.shape == expected.shape
    assert min(np.abs(candidate.astype(int) - expected).max() for candidate in (largest, largest[::-1])) <= 1


HOSTILE = {
    "mathtext": r"$\frac{1}{0}$ $x_ ^ \unknown{ %",
    "newlines": "a\nb\r\n\tc\0d\x1b[31m",
    "right-to-left": "شجرة עץ \u202egnp.exe\u202c",
    "emoji": "👩‍👩‍👧 🐇 日本語 ไทย",
    "long": "word " * 2000,
    "one long word": "x" * 10_000,
    "markup": '<script>alert(1)</script> & "]]>',
    "empty": "",
    "surrogate": "bad \ud800 name",
}


@pytest.mark.parametrize("which", HOSTILE)
@pytest.mark.parametrize("kind", KINDS)
def test_hostile_names_break_no_figure(kind, which, provenance, tmp_path):
    name = HOSTILE[which]
    provenance = replace(provenance, item=name, model=name, preprocessing=name, tokens=name)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        png = render(make(kind, name), provenance, dpi=50)
        render(make(kind, name), provenance, tmp_path / "a.svg")
        render(make(kind, name), provenance, tmp_path / "a.npz")
        render(make(kind, name), provenance, tmp_path / "a.csv")
    with Image.open(io.BytesIO(png)) as image:
        assert max(image.size) < 700
        pixels = np.asarray(image.convert("RGB"))
    assert (pixels[:, :3] == 255).all()
    assert (pixels[:, -3:] == 255).all()
    ElementTree.parse(tmp_path / "a.svg")


@pytest.mark.parametrize("which", HOSTILE)
def test_hostile_names_in_pdf(which, provenance, tmp_path):
    name = HOSTILE[which]
    render(make("image", name), replace(provenance, item=name), tmp_path / "a.pdf")
    assert (tmp_path / "a.pdf").read_bytes().startswith(b"%PDF")


def test_dollar_signs_are_shown_as_they_are(provenance, tmp_path):
    path = render(make("image", "costs $5 or $6"), provenance, tmp_path / "a.svg")
    assert "“costs $5 or $6”" in svg_texts(path)


def test_what_cannot_be_written(provenance, tmp_path):
    figure = make("scores")
    with pytest.raises(ExportError, match=r"ending.*\.png, \.svg"):
        render(figure, provenance, tmp_path / "figure.docx")
    with pytest.raises(ExportError, match="does not exist"):
        render(figure, provenance, tmp_path / "no" / "figure.png")
    (tmp_path / "folder.png").mkdir()
    with pytest.raises(ExportError, match="folder has this name"):
        render(figure, provenance, tmp_path / "folder.png")
    with pytest.raises(ExportError, match="dots per inch"):
        render(figure, provenance, tmp_path / "a.png", dpi=100_000)
    assert [path.name for path in tmp_path.iterdir()] == ["folder.png"]


def test_a_failed_export_leaves_the_old_file(provenance, tmp_path, monkeypatch):
    path = tmp_path / "a.csv"
    path.write_text("old")

    def full(_source, _target):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("pathlib.Path.replace", full)
    with pytest.raises(ExportError, match="disk is full"):
        render(make("scores"), provenance, path)
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


def test_nothing_to_draw_is_said(provenance):
    nothing = np.zeros((0, 2), np.float32)
    for figure in (
        ScatterFigure(nothing, (), ()),
        ScoreFigure((), nothing, nothing, ("a",)),
        TokenStripFigure(np.zeros((0, 4, 4), np.float32), (), make("image").geometry, make("image").pixels),
    ):
        with pytest.raises(InputError):
            render(figure, provenance=make_empty_provenance())


def make_empty_provenance():
    from mmviewer.core.figures.provenance import build_provenance

    return build_provenance()


def test_very_many_tokens_labels_and_points(provenance):
    strip = make("strip")
    many = replace(strip, values=np.repeat(strip.values, 40, axis=0), tokens=("t",) * 240, probabilities=())
    with Image.open(io.BytesIO(render(many, provenance, dpi=40))) as image:
        assert image.height < 1500
    count = 2000
    scores = np.random.default_rng(0).random((1, count), dtype=np.float32)
    figure = ScoreFigure(tuple(f"label {i}" for i in range(count)), scores, scores, ("item",))
    with Image.open(io.BytesIO(render(figure, provenance, dpi=40))) as image:
        assert image.height < 900
    points = np.random.default_rng(0).normal(0, 1, (30_000, 2)).astype(np.float32)
    names = ("n",) * len(points)
    scatter = ScatterFigure(points, names, tuple(make("scatter").modalities[:1]) * len(points))
    assert len(rendering.encode(scatter, provenance, "svg")) < 2_000_000


@pytest.mark.parametrize("shape", [(1, 1), (1, 5000), (5000, 1), (3000, 4000)])
def test_extreme_pictures(shape, provenance):
    figure = replace(
        make("image"),
        pixels=np.full((*shape, 3), 128, np.uint8),
        geometry=ImageGeometry.for_resize(shape, (64, 64), "squash", (4, 4)),
    )
    with Image.open(io.BytesIO(render(figure, provenance, dpi=60))) as image:
        assert 150 < image.height < 600


@pytest.mark.parametrize("kind", ["image", "signed", "strip", "time"])
@pytest.mark.parametrize("shape", [(120, 180), (60, 400), (400, 60)])
@pytest.mark.parametrize("score", ["similarity", "cosine similarity with “a red dog beside the old house”"])
def test_the_label_of_a_colour_bar_is_whole_and_on_the_page(kind, shape, score):
    figure = replace(make(kind), kind=MapKind.ATTRIBUTION, score=score)
    if kind == "time":
        figure = replace(figure, values=figure.values * np.float32(1e5))  # the widest numbers beside it
    else:
        geometry = ImageGeometry.for_resize(shape, (64, 64), "squash", (4, 4))
        figure = replace(figure, pixels=np.full((*shape, 3), 128, np.uint8), geometry=geometry)
    with mpl.rc_context(settings()):
        page = draw(figure, "where it comes from").figure
        canvas = FigureCanvasAgg(page)
        canvas.draw()
        labels = [axes.yaxis.label for axes in page.axes if axes.yaxis.get_label_position() == "right"]
        (label,) = labels
        box = label.get_window_extent(canvas.get_renderer())
    assert label.get_text().replace("\n", " ") in (f"attribution ({score})", "attribution")
    assert box.width > 0
    assert page.bbox.x0 < box.x0 < box.x1 < page.bbox.x1
    assert page.bbox.y0 < box.y0 < box.y1 < page.bbox.y1


def test_maps_without_any_value(provenance):
    figure = replace(make("image"), grid=np.full((4, 4), np.nan, np.float32))
    assert render(figure, provenance, dpi=50).startswith(b"\x89PNG")
    flat = replace(make("image"), grid=np.zeros((4, 4), np.float32))
    assert render(flat, provenance, dpi=50).startswith(b"\x89PNG")


def test_text_is_measured_elided_and_wrapped():
    assert elide("short", 5, 8) == "short"
    cut = elide("a rather long label that cannot fit", 1.0, 8)
    assert cut.endswith("…")
    assert text_width(cut, 8) <= 1.0
    lines = wrap("many words " * 30, 2.0, 8, 3)
    assert len(lines) == 3
    assert all(text_width(line, 8) <= 2.0 for line in lines)
    assert lines[-1].endswith("…")
    assert wrap("", 2.0, 8, 3) == []


def test_the_caption_names_item_model_method_and_version(provenance):
    line = caption_line(provenance)
    assert line == (
        "scene.png · starter-coca (weights 0123456789ab) · attention, layer 3, head mean · crop to 64 × 64 · "
        "mmviewer 0.1.0 · 2026-11-23"
    )
    assert asdict(provenance)["extra"] == {"geometry": {"mode": "crop"}}
