"""Drawings are found under the right names, drawn, and filled where they are lines."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("cv2", reason="the extra 'starter' is not installed")
pytest.importorskip("resvg_py", reason="the extra 'starter' is not installed")

import cv2
import matplotlib
from recipe import concepts as naming
from recipe.concepts import Concept, label_set, plural, read_labels
from recipe.confusable import FalseConcepts, may_be
from recipe.lines import fill_lines
from recipe.painting import Random
from recipe.sources import LINED, SEALED_STYLES, STYLES, TEST_STYLES, TRAIN_STYLES
from recipe.sprites import Drawing, drawings, normalise, render

SIDE = 96
SQUARE = '<path d="M4 4h16v16H4z"/>'


def concept(name: str, hexcode: str = "1F600") -> Concept:
    return Concept(hexcode, name, name, plural(name), "objects", ())


def line_drawing(closed: bool) -> np.ndarray:
    """A black circle, or an arc with a gap; uint8 [S, S, 4], premultiplied."""
    ink = np.zeros((SIDE, SIDE), np.uint8)
    cv2.ellipse(ink, (48, 48), (40, 40), 0, 0, 360 if closed else 300, 255, 4)
    return np.dstack([np.zeros((SIDE, SIDE, 3), np.uint8), ink])


def halves() -> np.ndarray:
    """Red on the left, blue on the right."""
    pixels = np.zeros((SIDE, SIDE, 4), np.uint8)
    pixels[:, :48], pixels[:, 48:] = (200, 0, 0, 255), (0, 0, 200, 255)
    return pixels


def test_a_closed_line_is_filled_with_the_colour_at_its_place():
    red = halves()
    red[:, 48:] = red[:, :48]
    filled = fill_lines(line_drawing(closed=True), red)
    assert filled[48, 48].tolist() == [200, 0, 0, 255]
    assert filled[48, 8].tolist() == [0, 0, 0, 255]  # the line itself stays black
    assert not filled[2, 2].any()
    assert (filled[..., :3] <= filled[..., 3:]).all()


def test_an_area_where_nothing_is_drawn_takes_the_colour_of_the_whole():
    elsewhere = np.zeros((SIDE, SIDE, 4), np.uint8)
    elsewhere[:10] = (0, 150, 0, 255)
    assert fill_lines(line_drawing(closed=True), elsewhere)[48, 48].tolist() == [0, 150, 0, 255]


def test_open_lines_are_no_drawing_to_fill():
    assert fill_lines(line_drawing(closed=False), halves()) is None
    assert fill_lines(line_drawing(closed=True), np.zeros((SIDE, SIDE, 4), np.uint8)) is None


@pytest.fixture
def icons(tmp_path) -> Path:
    """A set of icons with variants, an alias and an ambiguous name."""
    body = {"body": SQUARE}
    data = {
        "width": 24, "height": 24,
        "icons": {"dog": body, "dog-fill": body, "bike": body, "note-fill": body, "cat-bold": body},
        "aliases": {"kitty": {"parent": "dog"}},
    }  # fmt: skip
    (tmp_path / "icons.json").write_text(json.dumps(data), encoding="utf-8")
    return tmp_path


def test_icons_are_taken_by_name_and_variant(icons):
    names = [concept(name) for name in ("dog", "bicycle", "note", "cat", "kitty")]
    source = replace(STYLES["phosphor"], suffixes=("", "-fill"), misnamed=frozenset())
    found = [drawing.concept for drawing in drawings(source, icons, names)]
    assert found == [0, 1, 4]  # both variants of the dog are the same drawing here
    emoji = replace(source, strict_names=False, suffixes=("-fill",))
    assert [d.concept for d in drawings(emoji, icons, names)] == [0, 2]
    assert not drawings(replace(source, misnamed=frozenset({"dog", "bicycle", "kitty"})), icons, names)


def test_a_glyph_is_drawn_from_a_font():
    font = Path(matplotlib.get_data_path()) / "fonts" / "ttf" / "DejaVuSans.ttf"
    names = [concept("airplane", "2708-FE0F"), concept("dog", "1F415"), concept("keycap", "23-FE0F-20E3")]
    source = replace(STYLES["symbola"], fonts=(font.name,))
    (found,) = drawings(source, font.parent, names)
    assert found == Drawing(0, path=str(font), glyph="\u2708")
    sprite = normalise(render(found), SIDE)
    ink = sprite[..., 3] > 128
    assert 0.1 < ink.mean() < 0.9
    assert not sprite[..., :3].any()


def test_a_file_that_is_no_drawing_gives_none(tmp_path):
    broken = tmp_path / "broken.svg"
    broken.write_text("<svg", encoding="utf-8")
    assert render(Drawing(0, path=str(broken))) is None
    assert render(Drawing(0, path=str(tmp_path / "missing.png"))) is None
    assert render(Drawing(0, svg="no picture")) is None


def test_labels_are_distinct_and_the_old_ones_stand_first(resources):
    names = read_labels()
    assert len(names) == len(set(names)) == 342
    assert names[:3] == ["monkey", "gorilla", "dog"]
    assert names[272] == "headstone"
    assert all(name == naming.clean(name) for name in names)


def test_a_label_that_hardly_any_style_draws_is_refused(monkeypatch, tmp_path):
    listed = tmp_path / "labels.txt"
    listed.write_text("dog\ncat\n", encoding="utf-8")
    monkeypatch.setattr(naming, "_LABELS_FILE", listed)
    two = [concept("cat"), concept("dog")]
    rows = {style: [0, 1] for style in TRAIN_STYLES}
    assert label_set(two, rows) == [1, 0]
    with pytest.raises(ValueError, match="cat"):
        label_set(two, {style: [1] for style in TRAIN_STYLES})
    with pytest.raises(ValueError, match="no concepts"):
        label_set(two[:1], {style: [0] for style in TRAIN_STYLES})


def test_what_is_measured_on_is_not_trained_on():
    apart = [set(TRAIN_STYLES), set(TEST_STYLES), set(SEALED_STYLES)]
    assert sum(map(len, apart)) == len(set().union(*apart))
    for lines, colours in LINED.values():
        assert {*lines, colours} <= set(TRAIN_STYLES)
    shared = {s.style for s in STYLES.values() if "SA" in s.licence or "GPL" in s.licence}
    assert shared
    assert not shared & set(TRAIN_STYLES)


def test_a_false_thing_is_never_one_that_may_be_there():
    names = ["dove", "bird", "eagle", "red apple", "apple", "hammer", "axe"]
    draws = FalseConcepts([concept(n) for n in names], range(len(names)), Random(1))
    for there in range(len(names)):
        for _ in range(60):
            found = draws.draw([there], like=there)
            assert found is None or not may_be(names[there], names[found])
    assert may_be("eagle", "bird")
    assert may_be("apple", "red apple")
    assert not may_be("hammer", "axe")
