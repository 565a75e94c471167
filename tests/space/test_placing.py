"""Maps of many items by a sample, and new items that fall into a map that is there."""

from __future__ import annotations

import tracemalloc
from threading import Event, Thread

import numpy as np
import pytest
from clouds import cloud
from sklearn import decomposition
from sklearn.manifold import trustworthiness

from mmviewer.core.errors import Cancelled, InputError
from mmviewer.core.progress import Progress
from mmviewer.core.space.nearest_placed import NearestPlaced
from mmviewer.core.space.one_library import alone
from mmviewer.core.space.placing import fall_in, place_rows
from mmviewer.core.space.projection.base import PROJECTIONS
from mmviewer.core.space.unit_rows import UnitRows


def test_pca_by_a_sample_is_the_projection_on_the_sample_s_plane():
    vectors, _ = cloud(2000)
    placed = place_rows(UnitRows(vectors), "pca", sample=300)
    assert len(placed.fitted) == 300
    wanted = decomposition.PCA(2, svd_solver="full").fit(vectors[placed.fitted].astype(np.float64))
    shadow = wanted.transform(vectors)
    shadow *= np.sign((shadow * placed.xy).sum(axis=0))  # an axis has no sign
    np.testing.assert_allclose(placed.xy, shadow, atol=1e-4)
    assert "fitted on 300 items, 1,700 placed on the same plane" in placed.details


def test_pca_of_a_sample_that_is_all_is_the_plain_one():
    vectors, _ = cloud(200)
    placed = place_rows(UnitRows(vectors), "pca")
    plain, details = PROJECTIONS.get("pca").place(vectors, Progress(), 0)
    np.testing.assert_allclose(placed.xy, plain, atol=1e-5)
    assert placed.details == details


@pytest.mark.parametrize("key", ["pacmap", "tsne", pytest.param("umap", marks=pytest.mark.slow)])
def test_placed_items_are_about_as_true_as_fitted_ones(key):
    vectors, group = cloud(1600, groups=12, spread=0.5)
    placed = place_rows(UnitRows(vectors), key, sample=800)
    rest = np.setdiff1d(np.arange(1600), placed.fitted)
    fitted, others = (
        trustworthiness(vectors[rows], placed.xy[rows], n_neighbors=10) for rows in (placed.fitted, rest)
    )
    assert others > fitted - 0.05
    assert others > 0.8
    apart = np.linalg.norm(placed.xy[rest][:, None] - placed.xy[placed.fitted][None], axis=-1)
    assert (group[placed.fitted][apart.argmin(axis=1)] == group[rest]).mean() > 0.95


def test_new_items_fall_where_their_like_are():
    vectors, group = cloud(900, groups=6, spread=0.3)
    xy = np.stack([group * 10.0, -group * 3.0], axis=1).astype(np.float32)  # a map made elsewhere
    xy += np.random.default_rng(0).normal(scale=0.1, size=xy.shape)
    known = xy.copy()
    known[600:] = np.nan
    vectors[700] = 0
    new = np.arange(600, 900)
    places = fall_in(UnitRows(vectors), known, new)
    assert np.isnan(places[100]).all()
    there = np.delete(np.arange(300), 100)
    assert (np.linalg.norm(places[there] - xy[new[there]], axis=1) < 1).mean() > 0.99
    with pytest.raises(InputError, match="Nothing is on this map"):
        fall_in(UnitRows(vectors), np.full_like(xy, np.nan), new)


def test_a_known_item_falls_on_its_own_place():
    vectors, _ = cloud(6000, groups=20)
    xy = vectors[:, :2].copy()
    placer = NearestPlaced(vectors, xy, "")  # enough for lists
    np.testing.assert_allclose(placer.place_new(vectors[:200]), xy[:200], atol=0.01)


def test_a_point_between_two_far_places_goes_to_one_of_them():
    vectors = np.array([[1, 0.02, 0], [1, -0.02, 0], [0, 0, 1]], np.float32)
    placer = NearestPlaced(vectors, np.array([[0, 0], [100, 0], [50, 90]], np.float32), "")
    place = placer.place_new(np.array([[1, 0.005, 0]], np.float32))[0]
    assert np.linalg.norm(place) < 5


def test_rows_without_direction_have_no_place():
    vectors, _ = cloud(100)
    vectors[3] = np.nan
    placed = place_rows(UnitRows(vectors), "pca", sample=20)
    assert np.flatnonzero(np.isnan(placed.xy).any(axis=1)).tolist() == [3]
    with pytest.raises(InputError, match="needs at least 4 items and there are 3"):
        place_rows(UnitRows(vectors[:4]), "tsne")


def test_placing_can_be_cancelled_and_takes_no_memory_of_the_whole():
    matrix = cloud(60_000)[0].astype(np.float16)
    cancelled = Event()

    def stop(done, total, message):
        if message == "Placing the other items":
            cancelled.set()

    with pytest.raises(Cancelled):
        place_rows(UnitRows(matrix), "pca", Progress(stop, cancelled), sample=1000)
    wide = UnitRows(np.zeros((80_000, 256), np.float16) + matrix[:1, :1])
    tracemalloc.start()
    place_rows(wide, "pca", sample=1000)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 0.75 * 4 * wide.matrix.size  # less than the vectors as float32


def test_one_thread_at_a_time_and_a_waiting_one_can_be_cancelled():
    cancelled, waited = Event(), Event()

    def wait():
        with pytest.raises(Cancelled), alone(Progress(cancelled=cancelled)):
            pass
        waited.set()

    with alone(Progress()):
        thread = Thread(target=wait)
        thread.start()
        assert not waited.wait(0.3)
        cancelled.set()
        thread.join(10)
    assert waited.is_set()
    with alone(Progress()):  # and it is free again
        pass
