"""Patches on the disk, and regions that find their like."""

from __future__ import annotations

import numpy as np
import pytest

from mmviewer.core.errors import Cancelled, CollectionError, InputError
from mmviewer.core.media.geometry import ImageGeometry
from mmviewer.core.space.patches import ImagePatches, PatchIndex, region_vector

GRID, WIDTH = (4, 6), 16


def geometry(size: tuple[int, int] = (80, 120)) -> ImageGeometry:
    return ImageGeometry.for_resize(size, (40, 60), "squash", GRID, (10, 10))


def images(count: int) -> list[ImagePatches]:
    random = np.random.default_rng(0)
    vectors = random.normal(size=(count, 24, WIDTH)).astype(np.float32)
    places = [geometry((80 + number, 120)) for number in range(count)]
    return [ImagePatches(3 * number + 1, vectors[number], places[number]) for number in range(count)]


def test_the_image_with_the_nearest_patch_comes_first_with_its_box(tmp_path):
    made = images(30)
    index = PatchIndex.write(tmp_path / "p.f16", "k", made, 30)
    assert index.patches == 30 * 24
    query = made[7].vectors[13] + 0.01
    found = index.search(query, 5)
    unit = [image.vectors / np.linalg.norm(image.vectors, axis=1, keepdims=True) for image in made]
    best = np.array([(each @ query).max() for each in unit]) / np.linalg.norm(query)
    order = np.argsort(-best)[:5]
    assert found.rows.tolist() == [made[place].row for place in order]
    np.testing.assert_allclose(found.cosines, best[order], atol=2e-3)  # float16
    assert found.rows[0] == made[7].row
    np.testing.assert_allclose(found.boxes[0], made[7].geometry.cell_box(*divmod(13, 6)), atol=1e-3)
    assert found.sizes.tolist() == [list(made[place].geometry.source) for place in order]
    assert (found.images, found.patches) == (30, 30 * 24)


def test_images_of_different_grids(tmp_path):
    small = ImageGeometry.for_resize((30, 30), (20, 20), "pad", (2, 2), (10, 10))
    other = ImagePatches(99, np.eye(4, WIDTH, dtype=np.float32), small)
    index = PatchIndex.write(tmp_path / "p", "k", [*images(3), other], 4)
    found = index.search(np.eye(4, WIDTH, dtype=np.float32)[2], 1)
    assert found.rows.tolist() == [99]
    np.testing.assert_allclose(found.boxes[0], small.cell_box(1, 0), atol=1e-3)


def test_read_again_and_of_another_model(tmp_path):
    PatchIndex.write(tmp_path / "p", "k", images(3), 3)
    again = PatchIndex.read(tmp_path / "p", "k")
    assert again is not None
    assert again.rows.tolist() == [1, 4, 7]
    assert PatchIndex.read(tmp_path / "p", "other") is None
    assert PatchIndex.read(tmp_path / "q", "k") is None


@pytest.mark.parametrize("harm", ["short", "head", "noise"])
def test_broken_files_count_as_missing(tmp_path, harm):
    path = tmp_path / "p"
    PatchIndex.write(path, "k", images(3), 3)
    if harm == "short":
        path.write_bytes(path.read_bytes()[:-2])
    if harm == "head":
        path.with_name("p.head").unlink()
    if harm == "noise":
        path.with_name("p.head").write_bytes(b"\x10" + bytes(400))
    assert PatchIndex.read(path, "k") is None


def test_a_cancel_leaves_the_former_index_and_nothing_else(tmp_path):
    PatchIndex.write(tmp_path / "p", "k", images(3), 3)

    def stopping():
        yield images(1)[0]
        raise Cancelled

    with pytest.raises(Cancelled):
        PatchIndex.write(tmp_path / "p", "k", stopping(), 2)
    assert sorted(file.name for file in tmp_path.iterdir()) == ["p", "p.head"]
    assert len(PatchIndex.read(tmp_path / "p", "k").rows) == 3


def test_too_many_patches_are_refused_before_they_are_written(tmp_path):
    with pytest.raises(InputError, match=r"would take 7.7 GB and 1.0 GB are at hand"):
        PatchIndex.write(tmp_path / "p", "k", images(1), 10**7, most_bytes=10**9)
    with pytest.raises(InputError, match="no images"):
        PatchIndex.write(tmp_path / "p", "k", [], 0)
    blocked = tmp_path / "file"
    blocked.write_text("")
    with pytest.raises(CollectionError, match="free some space"):
        PatchIndex.write(blocked / "p", "k", images(1), 1)


def test_a_region_is_the_mean_of_its_patches_by_area():
    place, vectors = geometry(), images(1)[0].vectors
    unit = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
    one = region_vector(vectors, place, place.cell_box(2, 3))
    np.testing.assert_allclose(one, unit[2 * 6 + 3], atol=1e-5)
    top, left, bottom, right = place.cell_box(0, 0)
    wide = region_vector(vectors, place, (top, left, bottom, right + (right - left) / 4))
    wanted = unit[0] + unit[1] / 4
    np.testing.assert_allclose(wide, wanted / np.linalg.norm(wanted), atol=1e-5)
    cover = np.zeros(GRID, np.float32)
    cover[0, 0], cover[2, 3] = 1, 0.5
    drawn = region_vector(vectors, place, (0, 0, 1, 1), cover)
    wanted = unit[0] + unit[2 * 6 + 3] / 2
    np.testing.assert_allclose(drawn, wanted / np.linalg.norm(wanted), atol=1e-5)
    with pytest.raises(InputError, match="saw nothing"):
        region_vector(vectors, place, (500, 500, 600, 600))
