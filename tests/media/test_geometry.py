"""Geometry is proven by perturbation: paint a cell of the source, see which patch changes."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mmviewer.core.errors import MediaError
from mmviewer.core.media.geometry import ImageGeometry, TimeGeometry

OPEN_CLIP_MODE = {"squash": "squash", "crop": "shortest", "pad": "longest"}
SOURCES = [(300, 451), (451, 300), (224, 224), (97, 640), (1023, 767), (40, 61)]
INPUTS = [((224, 224), (7, 7)), ((64, 64), (16, 16)), ((96, 160), (6, 10))]


def preprocess(pixels: np.ndarray, size: tuple[int, int], mode: str) -> np.ndarray:
    """The real evaluation transform of open_clip, without mean and deviation: [H, W]."""
    from open_clip.transform import image_transform
    from PIL import Image

    transform = image_transform(
        size if size[0] != size[1] else size[0],
        is_train=False,
        mean=(0.0,) * 3,
        std=(1.0,) * 3,
        resize_mode=OPEN_CLIP_MODE[mode],
        interpolation="bilinear",
    )
    return transform(Image.fromarray(pixels)).numpy()[0]


@pytest.mark.parametrize("mode", ["squash", "crop", "pad"])
@pytest.mark.parametrize(("size", "grid"), INPUTS)
@pytest.mark.parametrize("source", SOURCES)
def test_a_painted_cell_of_the_source_changes_the_patch_that_cell_at_names(source, size, grid, mode):
    geometry = ImageGeometry.for_resize(source, size, mode, grid)
    black = np.zeros((*source, 3), dtype=np.uint8)
    patch_height, patch_width = size[0] // grid[0], size[1] // grid[1]
    boxes = {cell: geometry.cell_box(*cell) for cell in np.ndindex(*grid)}
    # not the cells wholly or almost in the padding
    cells = [
        cell for cell, (top, left, bottom, right) in boxes.items() if min(bottom - top, right - left) > 1.5
    ]
    assert len(cells) >= 12
    chosen = np.random.default_rng(0).choice(len(cells), 6, replace=False)
    for row, column in [cells[0], cells[-1], *(cells[index] for index in chosen)]:
        top, left, bottom, right = boxes[row, column]
        painted = black.copy()
        painted[round(top) : round(bottom), round(left) : round(right)] = 255
        seen = preprocess(painted, size, mode)
        sums = seen.reshape(grid[0], patch_height, grid[1], patch_width).sum(axis=(1, 3))
        assert np.unravel_index(sums.argmax(), grid) == (row, column)
        assert geometry.cell_at((top + bottom) / 2, (left + right) / 2) == (row, column)


@pytest.mark.parametrize("mode", ["squash", "crop", "pad"])
@pytest.mark.parametrize(("size", "grid"), INPUTS)
@pytest.mark.parametrize("source", SOURCES)
def test_scale_and_offset_carry_a_ramp_exactly(source, size, grid, mode):
    """A picture whose value is its coordinate shows in the input which coordinate was taken where."""
    geometry = ImageGeometry.for_resize(source, size, mode, grid)
    for axis in (0, 1):
        length = source[axis]
        ramp = np.linspace(40, 250, length)
        pixels = np.broadcast_to(ramp[:, None] if axis == 0 else ramp, source)
        pixels = np.repeat(np.rint(pixels).astype(np.uint8)[..., None], 3, axis=2)
        seen = preprocess(pixels, size, mode)  # [H, W]
        y, x = (size[0] // 2, size[1] // 2)
        line = seen[:, x] if axis == 0 else seen[y]
        positions = (np.arange(size[axis]) + 0.5 - geometry.offset[axis]) / geometry.scale[axis]
        inside = (positions > 2 / geometry.scale[axis] + 1) & (
            positions < length - 2 / geometry.scale[axis] - 1
        )
        expected = np.interp(positions - 0.5, np.arange(length), ramp) / 255
        tolerance = 1.6 / 255 + 210 / 255 / length * 0.5
        assert inside.sum() >= 5
        np.testing.assert_allclose(line[inside], expected[inside], atol=tolerance)


@pytest.mark.parametrize("mode", ["squash", "crop", "pad"])
def test_the_unseen_part_is_exactly_what_cannot_change_the_input(mode):
    source, size = (120, 333), (64, 64)
    geometry = ImageGeometry.for_resize(source, size, mode, (8, 8))
    unseen = np.isnan(geometry.to_source(np.ones((8, 8))))
    assert unseen.any() == (mode == "crop")
    rng = np.random.default_rng(1)
    first = rng.integers(0, 255, (*source, 3), dtype=np.uint8)
    second = first.copy()
    top, left, bottom, right = geometry.visible
    # the resize filter reaches about two source pixels per input pixel beyond the visible edge
    reach = int(np.ceil(2 / min(geometry.scale)))
    far = np.zeros(source, dtype=bool)
    far[:, : max(int(left) - reach, 0)] = True
    far[:, min(int(right) + reach, source[1]) :] = True
    assert not (far & ~unseen).any()
    second[far] = 255 - second[far]
    np.testing.assert_array_equal(preprocess(first, size, mode), preprocess(second, size, mode))
    assert geometry.cell_at((top + bottom) / 2, (left + right) / 2) is not None
    assert (geometry.cell_at(60, 2) is None) == (mode == "crop")


def test_nearest_shows_each_patch_where_cell_at_says():
    geometry = ImageGeometry.for_resize((90, 130), (64, 64), "crop", (4, 4))
    values = np.arange(16, dtype=np.float32).reshape(4, 4)
    painted = geometry.to_source(values, "nearest")
    for y in range(90):
        for x in range(130):
            cell = geometry.cell_at(y + 0.5, x + 0.5)
            assert np.isnan(painted[y, x]) if cell is None else painted[y, x] == values[cell]


@pytest.mark.parametrize("interpolation", ["bilinear", "bicubic", "nearest"])
def test_interpolation_agrees_with_an_independent_computation(interpolation):
    import torch
    import torch.nn.functional as functional

    rng = np.random.default_rng(2)
    values = rng.random((5, 7), dtype=np.float32)
    geometry = ImageGeometry.for_resize((60, 84), (60, 84), "squash", (5, 7))
    ours = geometry.to_source(values, interpolation)
    if interpolation == "bicubic":
        # torch's cubic uses another constant; at patch centres every interpolating cubic returns the values
        np.testing.assert_allclose(geometry.to_source(values, interpolation, (5, 7)), values, atol=1e-6)
        assert ours.min() >= values.min()
        assert ours.max() <= values.max()
        return
    options = {"align_corners": False} if interpolation == "bilinear" else {}
    theirs = functional.interpolate(
        torch.from_numpy(values)[None, None], (60, 84), mode=interpolation, **options
    )
    np.testing.assert_allclose(ours, theirs[0, 0].numpy(), atol=1e-6)


def test_a_reduced_picture_gets_the_same_map_as_the_original():
    geometry = ImageGeometry.for_resize((800, 1200), (224, 224), "crop", (7, 7))
    values = np.random.default_rng(3).random((7, 7))
    whole = geometry.to_source(values)
    reduced = geometry.to_source(values, size=(80, 120))
    assert reduced.shape == (80, 120)
    np.testing.assert_allclose(reduced[40, 60], whole[400:410, 600:610].mean(), atol=0.01)
    assert np.isnan(reduced[:, 0]).all()


def test_cells_without_a_value_stay_without_one_and_do_not_spread():
    geometry = ImageGeometry.for_resize((40, 40), (40, 40), "squash", (4, 4))
    values = np.ones((4, 4))
    values[1, 2] = np.nan
    painted = geometry.to_source(values)
    assert np.isnan(painted[10:20, 20:30]).all()
    assert np.isfinite(painted).sum() == 1500


def test_pixels_past_the_last_whole_patch_are_not_seen():
    geometry = ImageGeometry.for_resize((384, 384), (384, 384), "squash", (27, 27))
    assert geometry.patch_size == (14, 14)
    assert geometry.visible == (0, 0, 378, 378)
    assert geometry.cell_at(377.9, 10) == (26, 0)
    assert geometry.cell_at(378.1, 10) is None


def test_patches_in_the_padding_have_no_area():
    geometry = ImageGeometry.for_resize((100, 400), (64, 64), "pad", (8, 8))
    top, _, bottom, _ = geometry.cell_box(0, 3)
    assert top == bottom
    top, left, bottom, right = geometry.cell_box(4, 3)
    assert bottom > top
    assert right > left


def test_a_picture_too_thin_for_padding_is_refused_with_a_remedy():
    with pytest.raises(MediaError, match="too thin"):
        ImageGeometry.for_resize((1, 5000), (224, 224), "pad", (7, 7))


@settings(max_examples=200, deadline=None)
@given(
    source=st.tuples(st.integers(1, 3000), st.integers(1, 3000)),
    mode=st.sampled_from(["squash", "crop", "pad"]),
    side=st.sampled_from([32, 63, 224, 384]),
    y=st.floats(0, 1, exclude_max=True),
    x=st.floats(0, 1, exclude_max=True),
)
def test_points_go_to_the_input_and_back(source, mode, side, y, x):
    try:
        geometry = ImageGeometry.for_resize(source, (side, side), mode, (side // 8, side // 8))
    except MediaError:
        assert mode == "pad"
        return
    point = (y * source[0], x * source[1])
    assert geometry.from_input(*geometry.to_input(*point)) == pytest.approx(point, abs=1e-6)
    cell = geometry.cell_at(*point)
    if cell is not None:
        top, left, bottom, right = geometry.cell_box(*cell)
        assert top - 1e-6 <= point[0] <= bottom + 1e-6
        assert left - 1e-6 <= point[1] <= right + 1e-6


@settings(max_examples=150, deadline=None)
@given(
    source=st.tuples(st.integers(1, 2000), st.integers(1, 2000)),
    mode=st.sampled_from(["squash", "crop", "pad"]),
    size=st.tuples(st.integers(8, 300), st.integers(8, 300)),
)
def test_rounding_is_that_of_the_real_transforms(source, mode, size):
    """Compare sizes and shifts with those that torchvision and open_clip compute, over many shapes."""
    from open_clip.transform import ResizeKeepRatio
    from PIL import Image
    from torchvision.transforms.functional import _compute_resized_output_size

    if mode == "squash":
        expected = size
    elif mode == "crop" and size[0] == size[1]:
        expected = tuple(_compute_resized_output_size(source, [size[0]]))
    else:
        image = Image.new("1", source[::-1])
        expected = tuple(ResizeKeepRatio.get_params(image, size, longest=1.0 if mode == "pad" else 0.0))
    if min(expected) < 1:
        with pytest.raises(MediaError):
            ImageGeometry.for_resize(source, size, mode, (1, 1))
        return
    geometry = ImageGeometry.for_resize(source, size, mode, (1, 1))
    for axis in (0, 1):
        assert geometry.scale[axis] == expected[axis] / source[axis]
        spare = size[axis] - expected[axis]
        shift = spare // 2 if spare > 0 else -round(-spare / 2.0)
        assert geometry.offset[axis] == shift


def test_time_positions():
    geometry = TimeGeometry(duration=3.4, step=0.02, positions=1500)
    assert geometry.valid == 170
    assert geometry.visible == (0.0, 3.4)
    assert geometry.span(5) == pytest.approx((0.1, 0.12))
    assert [geometry.index_at(i * 0.02) for i in range(170)] == list(range(170))
    assert geometry.index_at(3.4) is None
    assert geometry.index_at(-0.1) is None


def test_time_maps_peak_at_their_second_and_end_with_the_sound():
    geometry = TimeGeometry(duration=2.0, step=0.5, positions=6)
    curve = geometry.to_source(np.array([0, 0, 1, 0, 9, 9]), samples=200)
    assert curve.shape == (200,)
    assert curve.argmax() / 100 == pytest.approx(1.25, abs=0.02)
    later = TimeGeometry(duration=2.0, step=0.5, positions=2, start=1.0)
    assert np.isnan(later.to_source(np.ones(2), 200)[:100]).all()
    assert later.valid == 2
    assert later.index_at(0.5) is None
    assert later.index_at(1.6) == 1


def test_maps_of_another_shape_are_refused():
    geometry = ImageGeometry.for_resize((40, 40), (40, 40), "squash", (4, 4))
    with pytest.raises(ValueError, match="does not fit"):
        geometry.to_source(np.ones((4, 5)))
    with pytest.raises(ValueError, match="does not fit"):
        TimeGeometry(1.0, 0.5, 2).to_source(np.ones(3), 10)


def test_nearest_shows_each_moment_where_index_at_says():
    geometry = TimeGeometry(duration=1.3, step=0.2, positions=10, start=-0.1)
    values = np.arange(10, dtype=np.float32)
    seconds = (np.arange(130) + 0.5) * 0.01
    painted = geometry.to_source(values, 130, "nearest")
    assert [geometry.index_at(at) for at in seconds] == painted.astype(int).tolist()
    smooth = geometry.to_source(values, 130)
    assert smooth[50] != painted[50]
    np.testing.assert_array_equal(smooth, geometry.to_source(values, 130, "bicubic"))
