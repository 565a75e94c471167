"""The average of maps: registration, statistics and distances against plain loops over single maps."""

from __future__ import annotations

import math
from threading import Event

import numpy as np
import pytest

from mmviewer.core.average.figure import average_figure, average_provenance
from mmviewer.core.average.frame import average, distances, on_frame, spread
from mmviewer.core.average.result import AverageMap, caption_words, scope_words
from mmviewer.core.average.run import average_maps, check_question, map_of_item
from mmviewer.core.errors import Cancelled, InputError, MediaError, UnsupportedError
from mmviewer.core.explain.base import explain
from mmviewer.core.explain.selection import show
from mmviewer.core.figures.arrays import arrays
from mmviewer.core.figures.render import encode
from mmviewer.core.media.geometry import ImageGeometry, TimeGeometry
from mmviewer.core.progress import Progress
from mmviewer.core.tasks.query import query_sequence
from mmviewer.core.types import MapSpec, Media, Modality

TEXT = "a red dog"
SPEC = MapSpec("gradient_attention")
SIZES = ((60, 90), (120, 40), (64, 64), (50, 200))


def test_a_corner_of_the_patches_lies_where_the_picture_has_it() -> None:
    # twice as wide as high: the crop sees the middle half, so its first column is a quarter in
    crop = ImageGeometry.for_resize((100, 200), (64, 64), "crop", (8, 8))
    values = np.zeros((8, 8), np.float32)
    values[0, 0] = 1
    found = on_frame(values, crop)
    assert np.isnan(found[:, :8]).all()
    assert np.isnan(found[:, 24:]).all()
    assert np.isfinite(found[:, 8:24]).all()
    assert found[0, 8] == found[:, 8:24].max() == 1
    assert (found[8:, 8:24] == 0).all()
    # letterboxed, the picture lies in the middle half of the rows: its corner is patch (2, 0)
    pad = ImageGeometry.for_resize((100, 200), (64, 64), "pad", (8, 8))
    values = np.zeros((8, 8), np.float32)
    values[2, 0] = 1
    values[0] = 9  # in the padding
    found = on_frame(values, pad)
    assert np.isfinite(found).all()
    assert found.argmax() // 32 in range(8)  # a patch covers 8 rows and 4 columns of the frame
    assert found.argmax() % 32 in range(4)
    assert (found[:8, :4] > 0).all()
    assert (found[12:] == 0).all()
    squash = ImageGeometry.for_resize((100, 200), (64, 64), "squash", (8, 8))
    values = np.zeros((8, 8), np.float32)
    values[7, 7] = 1
    assert np.unravel_index(on_frame(values, squash).argmax(), (32, 32)) == (30, 30)


def test_a_cell_of_many_patches_holds_their_mean() -> None:
    geometry = ImageGeometry.for_resize((128, 128), (128, 128), "squash", (128, 128))
    values = np.random.default_rng(0).normal(size=(128, 128)).astype(np.float32)
    expected = [[values[y : y + 4, x : x + 4].mean() for x in range(0, 128, 4)] for y in range(0, 128, 4)]
    np.testing.assert_allclose(on_frame(values, geometry), expected, atol=1e-6)


def test_sounds_of_different_length_share_normalised_time() -> None:
    for duration in (1.0, 4.0, 8.0):
        count = math.ceil(duration / 0.05)
        geometry = TimeGeometry(duration, 0.05, 160)
        values = np.zeros(160, np.float32)
        values[: count // 2] = 1  # the first half of the sound
        found = on_frame(values, geometry)
        assert found.shape == (1, 128)
        assert (found[0, :60] == 1).all()
        assert (found[0, 68:] == 0).all()
    short = on_frame(np.ones(20, np.float32), TimeGeometry(2.0, 0.05, 20))  # hears the first second
    assert np.isfinite(short[0, :64]).all()
    assert np.isnan(short[0, 64:]).all()


def test_statistics_and_distances_are_those_of_plain_loops() -> None:
    rng = np.random.default_rng(1)
    maps = rng.normal(size=(7, 5, 6)).astype(np.float32)
    maps[0, :, 0] = np.nan
    maps[1, 2:] = np.nan
    maps[:, 4, 5] = np.nan
    maps[1:, 0, 0] = np.nan
    maps[0, 0, 0] = 3
    found = average(maps)
    for row, column in np.ndindex(5, 6):
        values = [float(value) for value in maps[:, row, column] if math.isfinite(value)]
        assert found.count[row, column] == len(values)
        if values:
            assert found.mean[row, column] == pytest.approx(
                math.fsum(values) / len(values), rel=1e-5, abs=1e-6
            )
        else:
            assert math.isnan(found.mean[row, column])
        if len(values) > 1:
            assert found.deviation[row, column] == pytest.approx(np.std(values, ddof=1), rel=1e-4)
        else:
            assert math.isnan(found.deviation[row, column])
    for own, distance in zip(maps, distances(maps, found.mean), strict=True):
        both = np.isfinite(own) & np.isfinite(found.mean)
        expected = 1 - np.corrcoef(own[both].astype(float), found.mean[both].astype(float))[0, 1]
        assert distance == pytest.approx(expected, abs=1e-5)


def test_a_distance_forgets_scale_and_offset_and_may_be_undefined() -> None:
    mean = np.random.default_rng(2).normal(size=(4, 4)).astype(np.float32)
    few = np.full((4, 4), np.nan, np.float32)
    few[0, :2] = 1, 2
    maps = np.stack([mean, 50 * mean + 7, -mean, np.full_like(mean, 0.3), np.zeros_like(mean), few])
    found = distances(maps, mean)
    np.testing.assert_allclose(found[:3], [0, 0, 2], atol=1e-5)
    assert np.isnan(found[3:]).all()
    assert np.isnan(distances(maps[:1], np.ones_like(mean))).all()


def test_items_are_taken_evenly() -> None:
    assert spread(5, 64).tolist() == [0, 1, 2, 3, 4]
    taken = spread(1000, 64)
    assert len(taken) == 64
    assert (taken[0], taken[-1]) == (0, 999)
    assert set(np.diff(taken)) <= {15, 16}
    assert spread(3, 2).tolist() == [0, 2]


@pytest.fixture(scope="module")
def pictures() -> list[Media]:
    rng = np.random.default_rng(3)
    return [
        Media(f"p{place}", Modality.IMAGE, f"p{place}.png", pixels=rng.integers(0, 255, (*size, 3), np.uint8))
        for place, size in enumerate(SIZES)
    ]


@pytest.mark.parametrize("variant", ["clip"])
def test_the_average_is_that_of_the_single_maps(tiny, pictures, variant) -> None:
    model = tiny(variant)
    check_question(model, Modality.IMAGE, TEXT, SPEC)
    items = [(10 + place, media.name) for place, media in enumerate(pictures)]
    told: list[AverageMap] = []

    def make(row):
        return map_of_item(model, pictures[row - 10], Modality.IMAGE, TEXT, SPEC)

    found = average_maps(items, make, TEXT, asked=9, partial=told.append)
    registered = []
    for media in pictures:
        prepared = model.prepare(media)
        single = explain(model, prepared, query_sequence(model, media.id, TEXT), SPEC)
        registered.append(_registered(show(single).grid, single.geometry))
    assert len({np.isnan(each).sum() for each in registered}) > 1  # some saw all, some a part
    np.testing.assert_allclose(found.maps, registered, atol=1e-6)
    with np.errstate(all="ignore"):
        np.testing.assert_allclose(found.average.mean, _nan_mean(registered), atol=1e-6)
    assert found.average.count.tolist() == np.isfinite(registered).sum(0).tolist()
    assert found.rows.tolist() == [10, 11, 12, 13]
    assert (found.asked, found.total, found.left_out) == (9, 4, ())
    assert found.seconds_left is None
    assert "4 of 9 items, spread evenly" in scope_words(found)
    words = caption_words(found, model.info.label, model.info.preprocessing)
    assert words.startswith("mean of 4 maps · gradient x attention")
    assert words.endswith("registered to the image frame")
    worst = int(found.ranking[0])
    assert found.distances[worst] == np.nanmax(found.distances)
    for so_far in told:
        assert so_far.seconds_left >= 0
        assert len(so_far.maps) == 0


def _registered(grid: np.ndarray, geometry: ImageGeometry, side: int = 32) -> np.ndarray:
    """Plain loops: the middle of each cell of the frame, carried to the patches and mixed linearly."""
    result = np.full((side, side), np.nan)
    height, width = geometry.source
    top, left, bottom, right = geometry.visible
    for row, column in np.ndindex(side, side):
        y, x = (row + 0.5) * height / side, (column + 0.5) * width / side
        if not (top <= y < bottom and left <= x < right):
            continue
        at = [
            place / size - 0.5
            for place, size in zip(geometry.to_input(y, x), geometry.patch_size, strict=True)
        ]
        total = 0.0
        for down, across in np.ndindex(2, 2):
            cell = [math.floor(place) + step for place, step in zip(at, (down, across), strict=True)]
            weight = math.prod(1 - abs(place - each) for place, each in zip(at, cell, strict=True))
            inside = tuple(min(max(each, 0), size - 1) for each, size in zip(cell, grid.shape, strict=True))
            total += weight * float(grid[inside])
        result[row, column] = total
    return result


def _nan_mean(maps: list[np.ndarray]) -> np.ndarray:
    seen = np.isfinite(maps)
    return np.where(seen, maps, 0).sum(0) / np.where(seen.any(0), seen.sum(0), np.nan)


def test_what_cannot_be_read_is_listed_and_a_cancel_ends_it(tiny, pictures) -> None:
    model = tiny("clip")

    def make(row):
        if row == 1:
            raise MediaError("p1.png is broken; make it again.")
        if row == 2:
            return map_of_item(model, pictures[0], Modality.AUDIO, TEXT, SPEC)
        return map_of_item(model, pictures[row], Modality.IMAGE, TEXT, SPEC)

    items = [(place, media.name) for place, media in enumerate(pictures)]
    found = average_maps(items, make, TEXT)
    assert [each.row for each in found.left_out] == [1, 2]
    assert "broken" in found.left_out[0].reason
    assert "no sound" in found.left_out[1].reason
    assert found.rows.tolist() == [0, 3]
    with pytest.raises(InputError, match=r"None of the 1 items has a map. p1.png is broken"):
        average_maps(items[1:2], make, TEXT)
    with pytest.raises(InputError, match="nothing to average"):
        average_maps([], make, TEXT)
    stop, made = Event(), []

    def make_and_stop(row):
        made.append(row)
        stop.set()
        return make(row)

    with pytest.raises(Cancelled):
        average_maps(items, make_and_stop, TEXT, progress=Progress(cancelled=stop))
    assert made == [0]
    with pytest.raises(InputError, match="no words"):
        check_question(model, Modality.IMAGE, " ", SPEC)
    with pytest.raises(UnsupportedError, match="choose another method"):
        check_question(model, Modality.IMAGE, TEXT, MapSpec("token_activation_map"))


def test_the_figure_holds_all_that_is_known(tiny, pictures) -> None:
    model = tiny("clip")

    def make(row):
        return map_of_item(model, pictures[row], Modality.IMAGE, TEXT, SPEC)

    found = average_maps([(0, "wide.png"), (1, "high.png")], make, TEXT)
    figure, provenance = average_figure(found), average_provenance(found, model.info)
    named = arrays(figure)
    assert named["maps"].shape == (2, 32, 32)
    assert named["items"].tolist() == ["wide.png", "high.png"]
    np.testing.assert_array_equal(named["count"], np.isfinite(named["maps"]).sum(0))
    assert provenance.extra["items"] == ["wide.png", "high.png"]
    assert provenance.extra["registered_to"] == "image frame"
    assert encode(figure, provenance, "png", dpi=60).startswith(b"\x89PNG")
    drawn = encode(figure, provenance, "svg").decode()
    for words in ("“a red dog”", "standard deviation", "2 maps", "Differ most"):
        assert words in drawn
    lines = encode(figure, provenance, "csv").decode().splitlines()
    assert lines[0] == "token,row,column,mean,deviation,count"
    assert len(lines) == 1 + 32 * 32
