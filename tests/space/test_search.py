"""Search against a full sort in float64, and the recall that the index states of itself."""

from __future__ import annotations

from threading import Event

import numpy as np
import pytest
from clouds import cloud, two_modalities

from mmviewer.core.errors import Cancelled, InputError
from mmviewer.core.progress import Progress
from mmviewer.core.space.search import approximate
from mmviewer.core.space.search.approximate import Approximate
from mmviewer.core.space.search.arithmetic import Term, combine
from mmviewer.core.space.search.duplicates import near_duplicates
from mmviewer.core.space.search.exact import Exact
from mmviewer.core.space.search.opening import built_from, open_search
from mmviewer.core.space.unit_rows import CentredRows, UnitRows, as_float32
from mmviewer.core.types import Modality


def plain_search(vectors: np.ndarray, query: np.ndarray, count: int, allowed=None) -> list[int]:
    """All cosines in float64, sorted."""
    rows = vectors.astype(np.float64)
    cosines = rows @ query.astype(np.float64) / np.linalg.norm(rows, axis=1) / np.linalg.norm(query)
    order = np.argsort(-cosines, kind="stable")
    return [int(row) for row in order if allowed is None or allowed[row]][:count]


# --- half precision ---------------------------------------------------------------------------------------
def test_every_finite_half_becomes_the_same_number():
    halves = np.arange(65_536, dtype=np.uint16).view(np.float16)
    finite = np.isfinite(halves)
    np.testing.assert_array_equal(as_float32(halves)[finite], halves[finite].astype(np.float32))
    assert (np.abs(as_float32(halves)[~finite]) >= 65_536).all()


@pytest.mark.parametrize("dtype", [np.float16, np.float32])
def test_rows_without_direction_are_missing(dtype):
    matrix = cloud(50)[0].astype(dtype) * 3
    matrix[4], matrix[7, 3], matrix[9, 0] = 0, np.nan, np.inf
    rows = UnitRows(matrix)
    assert np.flatnonzero(~rows.usable).tolist() == [4, 7, 9]
    assert not rows.take(np.array([4, 7, 9])).any()
    np.testing.assert_allclose(np.linalg.norm(rows.take(np.array([0, 49])), axis=1), 1, atol=1e-6)
    found, _ = Exact(rows).search(matrix[:1].astype(np.float32), 50)
    assert set(found[0].tolist()) == set(range(50)) - {4, 7, 9} | {-1}
    blocks = np.concatenate([block for _, block in rows.blocks()])
    np.testing.assert_array_equal(blocks, rows.take(np.arange(50)))


@pytest.mark.parametrize("matrix", [np.zeros(5, np.float32), np.zeros((5, 2)), np.zeros((5, 0), np.float32)])
def test_what_is_no_matrix_of_vectors(matrix):
    with pytest.raises(InputError, match="must be a matrix"):
        UnitRows(matrix)


# --- exact ------------------------------------------------------------------------------------------------
@pytest.mark.parametrize("dtype", [np.float16, np.float32])
@pytest.mark.parametrize("share", [None, 0.6, 0.05])
def test_exact_equals_a_full_sort(dtype, share, monkeypatch):
    monkeypatch.setattr("mmviewer.core.space.search.exact._BLOCK_VALUES", 64 * 100)  # many blocks
    random = np.random.default_rng(1)
    matrix = (cloud(1500)[0] * random.uniform(0.5, 2, (1500, 1))).astype(dtype)
    allowed = None if share is None else random.random(1500) < share
    queries = random.normal(size=(5, 64)).astype(np.float32)
    found, cosines = Exact(UnitRows(matrix)).search(queries, 12, allowed)
    for query, mine, values in zip(queries, found, cosines, strict=True):
        assert mine.tolist() == plain_search(matrix, query, 12, allowed)
        chosen = matrix[mine].astype(np.float64)
        wanted = chosen @ query / np.linalg.norm(chosen, axis=1) / np.linalg.norm(query)
        np.testing.assert_allclose(values, wanted, atol=1e-5)


def test_fewer_rows_than_asked_for():
    rows = UnitRows(cloud(3)[0])
    allowed = np.array([True, False, True])
    found, cosines = Exact(rows).search(rows.take(np.array([0])), 5, allowed)
    assert found.shape == (1, 3)
    assert found[0, 0] == 0
    assert found[0, 2] == -1
    assert np.isneginf(cosines[0, 2])
    assert Exact(rows).search(rows.take(np.array([0])), 0)[0].shape == (1, 0)


@pytest.mark.parametrize("query", [np.zeros(64), np.full(64, np.nan)])
def test_a_query_without_direction(query):
    with pytest.raises(InputError, match="no direction"):
        Exact(UnitRows(cloud(3)[0])).search(query.astype(np.float32), 1)


def test_a_query_of_another_space():
    with pytest.raises(InputError, match="has 8 numbers and the space 64"):
        Exact(UnitRows(cloud(3)[0])).search(np.ones(8, np.float32), 1)


# --- approximate ------------------------------------------------------------------------------------------
@pytest.fixture(scope="module")
def large() -> UnitRows:
    return UnitRows(cloud(60_000, groups=300)[0].astype(np.float16))


@pytest.fixture(scope="module")
def index(large) -> Approximate:
    return Approximate.build(large)


def test_the_stated_recall_is_met_by_other_queries(large, index):
    assert index.recall.value >= approximate.WANTED_RECALL
    assert index.recall.candidates < len(large) // 4  # it is an index, not a scan
    queries = large.take(large.sample(100, seed=9)) + 0.02 * np.random.default_rng(3).normal(size=(100, 64))
    truth, exact = Exact(large).search(queries, 10)
    found, cosines = index.search(queries, 10)
    hits = [np.isin(one, other).mean() for one, other in zip(truth, found, strict=True)]
    assert np.mean(hits) >= 0.95
    same = truth == found
    np.testing.assert_allclose(cosines[same], exact[same], atol=1e-6)  # full vectors, not their codes
    assert (np.diff(cosines, axis=1) <= 0).all()


def test_few_permitted_rows_are_all_looked_at(large, index):
    allowed = np.zeros(len(large), bool)
    allowed[::7] = True
    query = large.take(np.array([1]))
    assert index.search(query, 20, allowed)[0].tolist() == Exact(large).search(query, 20, allowed)[0].tolist()


def test_many_permitted_rows(large, index):
    allowed = np.random.default_rng(0).random(len(large)) < 0.5
    queries = large.take(large.sample(50, seed=4))
    recall = index.tune(queries, allowed=allowed)
    found, _ = index.search(queries, 10, allowed, candidates=recall.candidates)
    assert allowed[found].all()
    truth, _ = Exact(large).search(queries, 10, allowed)
    assert np.mean([np.isin(a, b).mean() for a, b in zip(truth, found, strict=True)]) >= 0.95


def test_texts_that_look_for_images_across_a_gap():
    vectors, kinds = two_modalities(30_000, gap=3.0)
    rows = UnitRows(vectors)
    index, images = Approximate.build(rows), kinds == 0
    queries = vectors[kinds == 2][:50]
    recall = index.tune(queries, allowed=images)
    assert recall.value >= approximate.WANTED_RECALL
    found, _ = index.search(queries, 10, images, candidates=recall.candidates)
    assert images[found].all()


def test_saved_and_restored(large, index, tmp_path):
    path = tmp_path / "space.index"
    index.save(path, "model a")
    queries = large.take(large.sample(20, seed=2))
    again = Approximate.restore(path, large, "model a")
    assert again is not None
    assert again.recall == index.recall
    np.testing.assert_array_equal(again.search(queries, 10)[0], index.search(queries, 10)[0])
    assert Approximate.restore(path, large, "model b") is None
    assert list(tmp_path.iterdir()) == [path]


def test_rows_added_since_are_found(large, index, tmp_path):
    index.save(tmp_path / "i", "k")
    new = np.random.default_rng(8).normal(size=(3, 64)).astype(np.float16)
    grown = UnitRows(np.concatenate([large.matrix, new]))
    again = Approximate.restore(tmp_path / "i", grown, "k")
    assert again is not None
    assert again.search(new.astype(np.float32), 1)[0][:, 0].tolist() == [60_000, 60_001, 60_002]
    assert Approximate.restore(tmp_path / "i", UnitRows(large.matrix[:100]), "k") is None


@pytest.mark.parametrize("harm", ["missing", "cut", "noise", "list", "nan", "shape"])
def test_a_broken_index_is_made_anew(large, index, tmp_path, harm):
    path = tmp_path / "i"
    lists, centroids = index.lists.copy(), index.centroids.copy()
    if harm == "list":
        lists[5] = 2**30
    if harm == "nan":
        centroids[0, 0] = np.nan
    if harm == "shape":
        centroids = centroids[:, :9].copy()
    hurt = Approximate(large, index.centroids, index.lists, index.ranges)
    hurt.lists, hurt.centroids = lists, centroids
    hurt.save(path, "k")
    whole = path.read_bytes()
    if harm == "missing":
        path.unlink()
    if harm == "cut":
        path.write_bytes(whole[: len(whole) // 2])
    if harm == "noise":
        path.write_bytes(np.random.default_rng(0).bytes(4000))
    assert Approximate.restore(path, large, "k") is None


def test_building_can_be_cancelled_at_every_step(large):
    messages: list[str] = []
    Approximate.build(large, Progress(lambda done, total, message: messages.append(message)))
    for step in dict.fromkeys(messages):
        cancelled = Event()

        def stop(done, total, message, step=step, cancelled=cancelled):
            if message == step:
                cancelled.set()

        with pytest.raises(Cancelled):
            Approximate.build(large, Progress(stop, cancelled))


def test_rows_without_direction_are_never_found():
    matrix = cloud(3000)[0]
    matrix[::10] = 0
    matrix[5] = np.nan
    index = Approximate.build(UnitRows(matrix))
    found, _ = index.search(matrix[1:2], 100)
    assert not np.isin(found, [*range(0, 3000, 10), 5]).any()


# --- near-duplicates --------------------------------------------------------------------------------------
def test_planted_duplicates_are_found(large, index):
    random = np.random.default_rng(5)
    matrix = random.normal(size=(500, 64)).astype(np.float32)  # far apart from one another
    matrix[100] = matrix[3] + 0.02 * random.normal(size=64)
    matrix[200] = matrix[100] + 0.02 * random.normal(size=64)
    matrix[300] = 2 * matrix[30]
    groups, cosines = near_duplicates(Exact(UnitRows(matrix)), 0.99)
    assert [group.tolist() for group in groups] == [[3, 100, 200], [30, 300]]
    assert cosines[1] == pytest.approx(1, abs=1e-6)
    assert 0.99 <= cosines[0] < 1
    among = np.array([3, 30, 300])
    assert [group.tolist() for group in near_duplicates(Exact(UnitRows(matrix)), 0.99, among)[0]] == [
        [30, 300]
    ]
    assert near_duplicates(Exact(UnitRows(matrix[:100])), 0.99)[0] == []


def test_nearly_all_planted_duplicates_are_found_by_an_index(large):
    random = np.random.default_rng(6)
    matrix = large.matrix[:6000]
    first = np.sort(random.choice(6000, 300, replace=False))
    copies = large.take(first) + 0.01 * random.normal(size=(300, 64)).astype(np.float32)  # cosine about 0.997
    rows = UnitRows(np.concatenate([matrix, copies.astype(np.float16)]))
    groups, cosines = near_duplicates(Approximate.build(rows), 0.99)
    found = {tuple(group.tolist()) for group in groups}
    planted = {(int(row), len(matrix) + place) for place, row in enumerate(first)}
    assert len(planted & found) >= 0.97 * len(planted)
    assert (cosines >= 0.99).all()


# --- arithmetic -------------------------------------------------------------------------------------------
def test_sum_and_difference():
    a, b, c = np.eye(3, dtype=np.float32) * [[2], [5], [1]]
    made = combine([Term(a), Term(b, 0.5), Term(c, -1)])
    np.testing.assert_allclose(made, np.array([1, 0.5, -1]) / 1.5, atol=1e-6)


def test_with_the_gap_closed_both_modalities_speak_from_their_own_centre():
    vectors, kinds = two_modalities(gap=4.0)
    centroids = {
        Modality.IMAGE: vectors[kinds == 0].mean(axis=0),
        Modality.TEXT: vectors[kinds == 2].mean(axis=0),
    }
    image, text = Term(vectors[0], 1, Modality.IMAGE), Term(vectors[400], 1, Modality.TEXT)
    wanted = [vectors[0] - centroids[Modality.IMAGE], vectors[400] - centroids[Modality.TEXT]]
    total = sum(part / np.linalg.norm(part) for part in wanted)
    np.testing.assert_allclose(combine([image, text], centroids), total / np.linalg.norm(total), atol=1e-6)


@pytest.mark.parametrize(
    ("terms", "message"),
    [
        ([], "between 1 and"),
        ([Term(np.ones(3, np.float32)), Term(np.ones(4, np.float32))], "different width"),
        ([Term(np.ones(3, np.float32)), Term(np.ones(3, np.float32), -1)], "cancel each other"),
        ([Term(np.zeros(3, np.float32))], "no direction"),
        ([Term(np.ones(3, np.float32), float("nan"))], "no number"),
    ],
)
def test_queries_that_make_no_sense(terms, message):
    with pytest.raises(InputError, match=message):
        combine(terms)


# --- which search -----------------------------------------------------------------------------------------
def test_few_vectors_are_all_looked_at(large, tmp_path):
    assert isinstance(open_search(large, tmp_path / "i", "m"), Exact)
    assert not list(tmp_path.iterdir())


def test_an_index_is_kept_and_found_again(large, tmp_path, monkeypatch):
    first = open_search(large, tmp_path / "i", "m", limit=1000)
    assert isinstance(first, Approximate)
    monkeypatch.setattr(Approximate, "build", None)  # no second one is made
    again = open_search(large, tmp_path / "i", "m", limit=1000)
    query = large.take(np.array([5]))
    np.testing.assert_array_equal(again.search(query, 5)[0], first.search(query, 5)[0])


def test_an_index_of_another_space_is_not_taken(large):
    kinds = np.zeros(len(large), np.uint8)
    keys = {
        built_from(large, "m"),
        built_from(large, "n"),
        built_from(UnitRows(large.matrix[::-1]), "m"),
        built_from(CentredRows(large, kinds, {0: large.take(np.array([3]))[0]}), "m"),
        built_from(CentredRows(large, kinds, {0: large.take(np.array([4]))[0]}), "m"),
    }
    assert len(keys) == 5
    assert built_from(UnitRows(large.matrix[:2000]), "m") == built_from(large, "m")  # those added since


def test_a_disk_that_refuses_is_no_error(large, tmp_path):
    index = open_search(large, tmp_path / "missing" / "i", "m", limit=1000)
    assert isinstance(index, Approximate)
