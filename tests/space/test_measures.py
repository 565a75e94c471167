"""Measures against scikit-learn, scipy, closed forms, or loops as plain as the formula."""

from __future__ import annotations

import math

import numpy as np
import pytest
import scipy.linalg
import scipy.spatial
from clouds import cloud, two_modalities
from scipy.spatial.distance import pdist
from scipy.stats import hypergeom, norm
from sklearn.manifold import trustworthiness
from sklearn.metrics import top_k_accuracy_score
from sklearn.neighbors import NearestNeighbors

from mmviewer.core.errors import InputError
from mmviewer.core.space.measures import agreement, gap, similarity, trust
from mmviewer.core.space.measures.chance import median_rank_by_chance, recall_by_chance
from mmviewer.core.space.measures.evenness import alignment, alignment_by_chance, uniformity
from mmviewer.core.space.measures.hubness import hubness
from mmviewer.core.space.measures.retrieval import retrieval
from mmviewer.core.space.unit_rows import UnitRows

IMAGE, TEXT = 0, 2


# --- the gap ----------------------------------------------------------------------------------------------
def test_distance_of_centroids():
    vectors, kinds = two_modalities(gap=2.0)
    kinds[7] = gap.UNKNOWN_KIND
    vectors[9] = 0
    known = np.delete(np.arange(400), [7, 9])
    images = vectors[known].astype(np.float64)
    texts = vectors[400:].astype(np.float64)
    wanted = math.dist(images.mean(axis=0), texts.mean(axis=0))
    (found,) = gap.modality_gaps(UnitRows(vectors), kinds.astype(np.uint8))
    assert (found.first, found.second) == (IMAGE, TEXT)
    assert found.distance == pytest.approx(wanted, rel=1e-5)
    assert found.judged == 398


@pytest.mark.parametrize("apart", [0.0, 1.0, 2.5])
def test_separability_of_two_normal_clouds_is_what_the_best_rule_reaches(apart):
    random = np.random.default_rng(0)
    first, second = random.normal(size=(2, 2000, 3)).astype(np.float32)
    second[:, 1] += apart
    assert gap.separability(first, second) == pytest.approx(norm.cdf(apart / 2), abs=0.02)


def test_separability_counts_both_sides_alike():
    random = np.random.default_rng(0)
    assert gap.separability(random.normal(size=(2000, 3)), random.normal(size=(60, 3))) == pytest.approx(
        0.5, abs=0.1
    )


def test_a_gap_is_told_apart_and_closed():
    vectors, kinds = two_modalities(gap=2.0)
    rows, kinds = UnitRows(vectors), kinds.astype(np.uint8)
    (before,) = gap.modality_gaps(rows, kinds)
    assert before.separability > 0.99
    shut = gap.closed(rows, kinds)
    (after,) = gap.modality_gaps(shut, kinds)
    assert after.distance < 0.1 < before.distance
    assert after.separability < 0.6
    wanted = vectors[:400] - vectors[:400].mean(axis=0)
    wanted /= np.linalg.norm(wanted, axis=1, keepdims=True)
    np.testing.assert_allclose(shut.take(np.arange(400)), wanted, atol=1e-5)
    first = np.arange(400)
    better = retrieval(shut, first + 400, first)
    assert dict(better.at)[1] >= dict(retrieval(rows, first + 400, first).at)[1]


def test_a_kind_with_few_items_has_a_distance_but_no_separability():
    vectors, _ = cloud(12)
    kinds = np.array([0] * 10 + [1] * 2, np.uint8)
    (found,) = gap.modality_gaps(UnitRows(vectors), kinds)
    assert found.separability is None
    assert found.distance > 0
    assert gap.modality_gaps(UnitRows(vectors), np.zeros(12, np.uint8)) == ()


# --- alignment and uniformity -----------------------------------------------------------------------------
def test_alignment_is_the_mean_squared_distance_of_partners():
    vectors, _ = two_modalities()
    first = np.arange(400)
    wanted = np.mean([math.dist(vectors[i], vectors[i + 400]) ** 2 for i in range(400)])
    assert alignment(UnitRows(vectors * 2), first, first + 400) == pytest.approx(wanted, rel=1e-5)
    vectors[3] = 0
    with pytest.raises(InputError, match="needs pairs"):
        alignment(UnitRows(vectors), np.array([3]), np.array([4]))


def test_uniformity_equals_scipy():
    vectors, _ = cloud(1200)
    wanted = math.log(np.mean(np.exp(-2 * pdist(vectors.astype(np.float64), "sqeuclidean"))))
    assert uniformity(UnitRows(vectors)) == pytest.approx(wanted, rel=1e-4)
    assert uniformity(UnitRows(np.repeat(vectors[:1], 9, axis=0))) == pytest.approx(0, abs=1e-5)
    even = np.random.default_rng(0).normal(size=(2000, 256)).astype(np.float32)
    assert uniformity(UnitRows(even)) == pytest.approx(-4, abs=0.05)  # E exp(-2 (2 - 2 cos)), cos near 0
    with pytest.raises(InputError, match="at least two"):
        uniformity(UnitRows(vectors[:1]))


# --- hubs -------------------------------------------------------------------------------------------------
def test_hubness_equals_scikit_learn_and_the_moment():
    vectors, _ = cloud(700, width=128, groups=3, spread=2.0)
    table = agreement.neighbour_table(vectors, 10)
    near = NearestNeighbors(n_neighbors=11, algorithm="brute").fit(vectors).kneighbors(vectors)[1][:, 1:]
    counts = np.bincount(near.ravel(), minlength=700)
    found = hubness(table)
    np.testing.assert_array_equal(found.occurrences, counts)
    deviation = counts - counts.mean()
    assert found.skewness == pytest.approx(np.mean(deviation**3) / np.mean(deviation**2) ** 1.5)
    assert found.orphans == np.mean(counts == 0)
    assert counts[found.hubs[0]] == counts.max()
    assert (np.diff(counts[found.hubs]) <= 0).all()


def test_hubness_without_hubs():
    ring = np.stack([np.roll(np.arange(8), 1), np.roll(np.arange(8), -1)], axis=1)
    assert hubness(ring).skewness == 0
    assert hubness(np.full((3, 2), -1)).hubs.tolist() == []


# --- retrieval --------------------------------------------------------------------------------------------
def test_recall_at_k_equals_scikit_learn():
    random = np.random.default_rng(0)
    vectors = random.normal(size=(600, 16)).astype(np.float32)
    vectors[300:] = vectors[:300] + 1.2 * vectors[300:]
    first, second = np.arange(300), random.permutation(300) + 300
    vectors[second] = vectors[np.arange(300) + 300]
    found = retrieval(UnitRows(vectors), first, second)
    unit = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
    scores = unit[:300] @ unit[300:].T
    for count, share in found.at:
        wanted = top_k_accuracy_score(second - 300, scores, k=count, labels=np.arange(300))
        assert share == pytest.approx(wanted)
    assert 0 < found.at[0][1] < found.at[2][1] < 1
    assert found.targets == 300


def test_several_partners_and_equal_items():
    vectors = np.array([[1, 0], [0.9, 0.4], [0, 1], [1, 0], [0, 1], [0, 1]], np.float32)
    rows = UnitRows(vectors)
    found = retrieval(rows, np.array([0, 0, 2]), np.array([1, 3, 4]))
    assert found.queries.tolist() == [0, 2]
    assert found.ranks.tolist() == [1, 1]  # the better of two partners, the other is not before it
    tied = retrieval(rows, np.array([2, 0]), np.array([4, 5]))
    assert tied.ranks.tolist() == [2, 2]  # one as similar as the partner counts as before it
    assert tied.median_rank == 2


def test_an_item_is_not_found_by_itself():
    vectors = np.random.default_rng(1).normal(size=(40, 5)).astype(np.float32)
    pairs = np.arange(40), np.arange(40) ^ 1  # each with its neighbour, all of one kind
    found = retrieval(UnitRows(vectors), *pairs)
    unit = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
    order = [
        [other for other in np.argsort(-line) if other != item] for item, line in enumerate(unit @ unit.T)
    ]
    wanted = [order[item].index(item ^ 1) + 1 for item in range(40)]
    assert found.ranks.tolist() == wanted
    assert found.by_chance == (
        (1, pytest.approx(1 / 39)),
        (5, pytest.approx(5 / 39)),
        (10, pytest.approx(10 / 39)),
    )
    shared = retrieval(UnitRows(vectors), np.array([3, 3]), np.array([3, 8]))  # two items of one content
    assert shared.ranks.tolist() == [1]


def test_chance_is_that_of_drawing_without_putting_back():
    partners, targets = np.array([1, 1, 3, 7, 20]), np.array([50, 50, 50, 9, 20])
    ways = [hypergeom(total, own, 5).pmf(0) for total, own in zip(targets, partners, strict=True)]
    assert recall_by_chance(partners, targets, (5,)) == (pytest.approx(1 - np.mean(ways)),)
    draw = np.random.default_rng(0)
    ranks = [
        draw.permutation(total)[:own].min() + 1
        for total, own in zip(targets, partners, strict=True)
        for _ in range(2000)
    ]
    assert median_rank_by_chance(partners, targets) == np.median(ranks)
    assert median_rank_by_chance(np.array([1]), np.array([1_000_000])) == 500_000


def test_alignment_by_chance_is_that_of_all_with_all():
    vectors = np.random.default_rng(2).normal(size=(30, 6)).astype(np.float32)
    first, second = np.arange(15), np.arange(15, 30)
    unit = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
    wanted = (scipy.spatial.distance.cdist(unit[first], unit[second]) ** 2).mean()
    assert alignment_by_chance(UnitRows(vectors), first, second) == pytest.approx(wanted, rel=1e-5)


# --- the matrix -------------------------------------------------------------------------------------------
def plain_average_linkage(distances: np.ndarray) -> list[float]:
    """Heights of the merges, by the definition: the mean distance of all pairs of two groups."""
    groups, heights = [[i] for i in range(len(distances))], []
    while len(groups) > 1:
        pairs = [(i, j) for i in range(len(groups)) for j in range(i)]
        height, i, j = min((float(distances[np.ix_(groups[i], groups[j])].mean()), i, j) for i, j in pairs)
        heights.append(height)
        groups[j] += groups.pop(i)
    return heights


def test_the_dendrogram_is_average_linkage():
    vectors, group = cloud(30, groups=3, spread=0.3)
    found = similarity.of_items(UnitRows(vectors), np.arange(30))
    np.testing.assert_allclose(found.values, vectors @ vectors.T, atol=1e-6)
    np.testing.assert_allclose(found.merges[:, 2], plain_average_linkage(1 - found.values), atol=1e-6)
    assert sorted(found.order.tolist()) == list(range(30))
    assert np.count_nonzero(np.diff(group[found.order])) == len(set(group)) - 1  # each group in one piece


def test_similarity_of_groups_is_the_mean_over_pairs():
    vectors, group = cloud(200, groups=5)
    group = group.astype(np.int32)
    group[:10] = -1
    found = similarity.of_groups(UnitRows(vectors), group, 5)
    cosines = vectors @ vectors.T
    for one in range(5):
        for other in range(5):
            wanted = cosines[np.ix_(group == one, group == other)].mean()
            assert found.values[one, other] == pytest.approx(wanted, abs=1e-5)
    assert similarity.of_items(UnitRows(vectors), np.array([4])).order.tolist() == [0]
    with pytest.raises(InputError, match="between 1 and 2000"):
        similarity.of_groups(UnitRows(vectors), group, 2001)


# --- trust ------------------------------------------------------------------------------------------------
@pytest.mark.parametrize("neighbours", [1, 5, 15])
def test_trust_equals_scikit_learn(neighbours):
    vectors, _ = cloud(500)
    xy = (vectors[:, :2] + 0.05 * np.random.default_rng(0).normal(size=(500, 2))).astype(np.float32)
    found = trust.map_trust(UnitRows(vectors), xy, neighbours)
    assert found.overall == pytest.approx(trustworthiness(vectors, xy, n_neighbors=neighbours), abs=1e-6)
    assert found.neighbours == neighbours
    # per point: the same formula, by a full sort of each
    for point in range(0, 500, 50):
        ranks = np.empty(500, int)
        ranks[np.argsort(-(vectors @ vectors[point]), kind="stable")] = np.arange(500)  # itself has rank 0
        near = np.argsort(np.linalg.norm(xy - xy[point], axis=1), kind="stable")[1 : neighbours + 1]
        lost = sum(max(ranks[other] - neighbours, 0) for other in near)
        wanted = 1 - 2 * lost / (neighbours * (2 * 500 - 3 * neighbours - 1))
        assert found.values[point] == pytest.approx(wanted, abs=1e-6)


def test_an_honest_map_is_trusted_and_a_shuffled_one_is_not():
    random = np.random.default_rng(0)
    angles = random.uniform(0, np.pi / 2, (400, 2))
    vectors = np.stack([np.cos(angles[:, 0]), np.sin(angles[:, 0])], axis=1).astype(np.float32)
    assert trust.map_trust(UnitRows(vectors), vectors).overall == pytest.approx(1, abs=1e-3)
    shuffled = vectors[random.permutation(400)]
    assert trust.map_trust(UnitRows(vectors), shuffled).overall == pytest.approx(0.5, abs=0.05)


def test_items_that_are_not_on_the_map_or_not_measured():
    vectors, _ = cloud(3000)
    vectors[11] = 0
    xy = vectors[:, :2].copy()
    xy[7] = np.nan
    found = trust.map_trust(UnitRows(vectors), xy, most=500)
    assert len(found.measured) == 500
    assert np.flatnonzero(np.isnan(found.values)).tolist() == [7, 11]
    exact = trustworthiness(vectors[found.measured], xy[found.measured], n_neighbors=15)
    assert found.overall == pytest.approx(exact, abs=1e-6)
    with pytest.raises(InputError, match="at least four"):
        trust.map_trust(UnitRows(vectors), np.full_like(xy, np.nan))


def test_items_on_one_spot():
    vectors, _ = cloud(60)
    found = trust.map_trust(UnitRows(vectors), np.zeros((60, 2), np.float32))
    assert np.isfinite(found.values).all()
    assert (found.values <= 1).all()


# --- two models -------------------------------------------------------------------------------------------
def test_procrustes_equals_scipy():
    random = np.random.default_rng(0)
    first = random.normal(size=(80, 6)).astype(np.float32)
    second = (
        first @ np.linalg.qr(random.normal(size=(6, 6)))[0] * 3 + 2 + random.normal(size=(80, 6))
    ).astype("f4")
    found = agreement.procrustes(first, second)
    _, moved, disparity = scipy.spatial.procrustes(second, first)
    assert found.disparity == pytest.approx(disparity, abs=1e-6)
    size = np.linalg.norm(second - second.mean(axis=0))
    np.testing.assert_allclose((found.apply(first) - second.mean(axis=0)) / size, moved, atol=1e-5)
    centred = first - first.mean(axis=0), second - second.mean(axis=0)
    rotation, _ = scipy.linalg.orthogonal_procrustes(*(part.astype(np.float64) for part in centred))
    np.testing.assert_allclose(found.rotation, rotation, atol=1e-4)


def test_spaces_of_different_width():
    random = np.random.default_rng(0)
    narrow = random.normal(size=(50, 3)).astype(np.float32)
    wide = (np.pad(narrow, ((0, 0), (0, 4))) @ np.linalg.qr(random.normal(size=(7, 7)))[0]).astype(np.float32)
    for one, other in ((narrow, wide), (wide, narrow)):
        found = agreement.procrustes(one, other)
        assert found.disparity == pytest.approx(0, abs=1e-6)
    np.testing.assert_allclose(agreement.procrustes(narrow, wide).apply(narrow), wide, atol=1e-4)
    with pytest.raises(InputError, match="same place"):
        agreement.procrustes(np.ones((4, 2), np.float32), narrow[:4])
    with pytest.raises(InputError, match="at least two"):
        agreement.procrustes(narrow[:1], wide[:1])


def test_overlap_of_neighbourhoods_equals_scikit_learn():
    first, _ = cloud(300, seed=1)
    second = (first + 0.4 * np.random.default_rng(2).normal(size=first.shape)).astype(np.float32)
    rows = np.arange(300)
    found, _ = agreement.agreement(UnitRows(first), UnitRows(second), (rows, rows), 10)
    unit = second / np.linalg.norm(second, axis=1, keepdims=True)
    near = [
        NearestNeighbors(n_neighbors=11, algorithm="brute").fit(vectors).kneighbors(vectors)[1][:, 1:]
        for vectors in (first, unit)
    ]
    wanted = [len(set(one) & set(other)) / 10 for one, other in zip(*near, strict=True)]
    np.testing.assert_allclose(found.overlap, wanted, atol=1e-6)
    assert found.mean_overlap == pytest.approx(np.mean(wanted))
    assert found.by_chance == pytest.approx(10 / 299)


def test_a_rotated_space_agrees_with_itself():
    vectors, _ = cloud(200, width=16)
    turned = vectors @ np.linalg.qr(np.random.default_rng(0).normal(size=(16, 16)))[0].astype(np.float32)
    order = np.random.default_rng(1).permutation(200)  # the second model numbers its items otherwise
    found, aligned = agreement.agreement(
        UnitRows(vectors), UnitRows(turned[order]), (np.arange(200), np.argsort(order)), 10
    )
    assert found.mean_overlap == 1
    assert found.disparity == pytest.approx(0, abs=1e-5)
    np.testing.assert_allclose(aligned.apply(vectors), turned, atol=1e-4)
    with pytest.raises(InputError, match="fewer than three"):
        agreement.agreement(UnitRows(vectors), UnitRows(turned), (order[:2], order[:2]))
