"""Regions: how much of a patch or second they cover, shares of maps in them, files of them."""

from __future__ import annotations

import json

import numpy as np
import pytest

from mmviewer.core.errors import ExportError, InputError
from mmviewer.core.media.geometry import ImageGeometry, TimeGeometry
from mmviewer.core.session.annotation_files import Annotated, AnnotationStore, read_coco, write_coco
from mmviewer.core.session.annotations import (
    Annotation,
    annotation_of,
    region_shares,
    union_mask,
    values_of,
    visible_weight,
)

WIDE = ImageGeometry.for_resize((90, 200), (32, 32), "crop", (4, 4))
PADDED = ImageGeometry.for_resize((60, 120), (32, 32), "pad", (4, 4))
SQUASHED = ImageGeometry.for_resize((80, 120), (32, 32), "squash", (4, 4))
SOUND = TimeGeometry(1.25, 0.1, 20)


def plain_share(annotation: Annotation, geometry: ImageGeometry, fine: int = 60) -> np.ndarray:
    """Sample every patch on a fine raster, with matplotlib's test of points in a path."""
    from matplotlib.path import Path as Outline

    found = np.zeros(geometry.grid, np.float32)
    top, left, bottom, right = annotation.box
    corners = [(left, top), (right, top), (right, bottom), (left, bottom)]
    outline = Outline(annotation.points if annotation.kind == "polygon" else corners)
    for row in range(geometry.grid[0]):
        for column in range(geometry.grid[1]):
            y0, x0, y1, x1 = geometry.cell_box(row, column)
            if y1 <= y0 or x1 <= x0:
                continue
            steps = (np.arange(fine) + 0.5) / fine
            xs, ys = np.meshgrid(x0 + steps * (x1 - x0), y0 + steps * (y1 - y0))
            found[row, column] = outline.contains_points(np.c_[xs.ravel(), ys.ravel()]).mean()
    return found


@pytest.mark.parametrize("geometry", [WIDE, PADDED, SQUASHED], ids=["crop", "pad", "squash"])
@pytest.mark.parametrize(
    "region",
    [
        Annotation("box", "box", ((70.3, 50.9), (20.2, 11.1))),
        Annotation("triangle", "polygon", ((15, 8), (110, 30), (40, 55))),
        Annotation("hollow", "polygon", ((20, 5), (100, 5), (100, 55), (60, 20), (20, 55))),
    ],
    ids=lambda region: region.name,
)
def test_cover_of_patches_against_a_fine_raster(region: Annotation, geometry: ImageGeometry) -> None:
    np.testing.assert_allclose(region.mask(geometry), plain_share(region, geometry), atol=0.012)
    chance = float((visible_weight(geometry) * region.mask(geometry)).sum())
    top, left, bottom, right = geometry.visible
    height, width = int(geometry.source[0]), int(geometry.source[1])
    pixels = region.raster((height, width))[round(top) : round(bottom), round(left) : round(right)]
    assert chance == pytest.approx(float(pixels.mean()), abs=0.02)


def test_union_counts_what_two_regions_share_once() -> None:
    one = Annotation("", "box", ((0, 0), (60, 80)))
    other = Annotation("", "polygon", ((30, 0), (90, 0), (90, 80), (30, 80)))
    both = union_mask((one, other), SQUASHED)
    np.testing.assert_allclose(both, np.tile([1, 1, 1, 0], (4, 1)), atol=1e-6)
    assert not union_mask((), SQUASHED).any()


def test_cover_of_seconds_ends_with_the_sound() -> None:
    mask = Annotation("bark", "span", ((1.22, 0.25),)).mask(SOUND)
    expected = np.zeros(20)
    expected[3:12] = 1
    expected[2], expected[12] = 0.5, 0.4  # of the 0.05 s that are left of the sound
    np.testing.assert_allclose(mask, expected, atol=1e-5)
    assert not Annotation("", "box", ((0, 0), (5, 5))).mask(SOUND).any()
    assert not Annotation("", "span", ((0, 1),)).mask(SQUASHED).any()


def test_shares_of_maps() -> None:
    region = Annotation("left half", "box", ((0, 0), (60, 80)))
    values = np.zeros((3, 4, 4), np.float32)
    values[0, :, 0] = 2
    values[1] = [1, 1, -1, -1]
    found = region_shares(values, region.mask(SQUASHED), SQUASHED)
    np.testing.assert_allclose(found.shares, [1, 0.5, 0])
    assert found.chance == pytest.approx(0.5)
    padded = np.ones((1, 20), np.float32)  # 13 positions are heard, the last by half
    share = region_shares(padded, Annotation("", "span", ((0, 0.5),)).mask(SOUND), SOUND)
    assert share.shares[0] == pytest.approx(5 / 13)
    assert share.chance == pytest.approx(0.5 / 1.25)


def test_moving_and_cutting() -> None:
    region = Annotation("", "box", ((10, 10), (30, 20)))
    cut = region.moved(-20, 5).kept_inside((40, 50))
    assert cut is not None
    assert cut.points == ((0, 15), (10, 25))
    assert cut.id == region.id
    assert region.moved(-40).kept_inside((40, 50)) is None
    assert Annotation("", "span", ((1, 2),)).moved(0.5).points == ((1.5, 2.5),)


@pytest.mark.parametrize(
    "values",
    [
        {},
        {"name": "x", "kind": "blob", "points": [[0, 0], [1, 1]]},
        {"name": "x", "kind": "box", "points": [[0, 0]]},
        {"name": "x", "kind": "box", "points": [[0, 0], ["a", 1]]},
        {"name": "x", "kind": "box", "points": [[0, 0], [float("nan"), 1]]},
        {"name": "x", "kind": "polygon", "points": [[0, 0]] * 5000},
        {"name": "x", "kind": "box", "points": [[0, 0], [1, 1]], "colour": "url(x)"},
        {"name": 5, "kind": "box", "points": [[0, 0], [1, 1]]},
    ],
)
def test_broken_values_are_refused_with_a_sentence(values: dict) -> None:
    with pytest.raises(InputError, match="again"):
        annotation_of(values)


def test_kept_by_item_and_read_again(tmp_path) -> None:
    store = AnnotationStore(tmp_path / "annotations")
    regions = (Annotation("dog", "box", ((1, 2), (3, 4))), Annotation("bark", "span", ((0.5, 1),), "#123456"))
    assert store.load("aa") is None
    store.save("aa", "dog.png", regions)
    store.save("bb", "none.png", ())
    store.save("../evil", "x", regions)
    again = AnnotationStore(tmp_path / "annotations")
    assert again.load("aa") == regions
    assert again.load("bb") == ()
    assert sorted(path.name for path in (tmp_path / "annotations").iterdir()) == ["aa.json", "bb.json"]
    kept = tmp_path / "annotations" / "aa.json"
    kept.write_text(json.dumps({"annotations": [values_of(regions[0]), {"kind": "box"}, 5]}))
    assert again.load("aa") == regions[:1]
    kept.write_text("{")
    assert again.load("aa") is None


def test_coco_round_trip(tmp_path) -> None:
    path = tmp_path / "regions.json"
    triangle = Annotation("cat", "polygon", ((15, 8), (110, 30), (40, 55)))
    box = Annotation("dog", "box", ((1, 2), (30, 40)), "#56b4e9")
    span = Annotation("bark", "span", ((0.5, 1.0),))
    items = [Annotated("a.png", (triangle, box), "aa", (80, 120)), Annotated("b.wav", (span,), "bb")]
    write_coco(path, items)
    values = json.loads(path.read_text())
    assert values["annotations"][1]["bbox"] == [1, 2, 29, 38]
    assert values["annotations"][0]["area"] == pytest.approx(triangle.area)
    read = read_coco(path)
    assert [(each.name, each.id, each.size) for each in read] == [(i.name, i.id, i.size) for i in items]
    found = [(each.name, each.kind, each.points, each.colour) for one in read for each in one.annotations]
    assert found == [(each.name, each.kind, each.points, each.colour) for each in (triangle, box, span)]
    assert [one.name for one in read_coco(path, {"b.wav"})] == ["b.wav"]
    assert [one.name for one in read_coco(path, {"aa"})] == ["a.png"]
    assert read_coco(path, {"other.png"}) == ()
    with pytest.raises(ExportError, match="draw a region"):
        write_coco(path, [])


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ("", "no JSON"),
        ("[" * 200_000, "no JSON"),
        ("[]", "holds no annotations"),
        ('{"images": []}', "no list of"),
        ('{"images": [], "annotations": [], "categories": []}', "no annotation that can be read"),
        (
            '{"images": [{"id": 1}], "categories": [], "annotations": ['
            '{"image_id": 1, "bbox": [0, 0, 1e999, 1]}, {"image_id": [], "bbox": 3},'
            '{"image_id": 1, "segmentation": [[1, 2, 3]]}]}',
            "no annotation that can be read",
        ),
    ],
    ids=["empty", "deep", "list", "halves", "none", "evil"],
)
def test_evil_files_end_in_a_sentence(tmp_path, content: str, words: str) -> None:
    path = tmp_path / "evil.json"
    path.write_text(content)
    with pytest.raises(InputError, match=words):
        read_coco(path)
    with pytest.raises(InputError, match="cannot be read"):
        read_coco(tmp_path / "missing.json")
