"""Groups equal scikit-learn's, follow what was planted, and are called by what tells them apart."""

from __future__ import annotations

import numpy as np
import pytest
from clouds import cloud
from sklearn.cluster import HDBSCAN
from sklearn.decomposition import PCA
from sklearn.metrics import adjusted_rand_score

from mmviewer.core.errors import InputError
from mmviewer.core.space.clusters.density import NOISE, clusters
from mmviewer.core.space.clusters.naming import names_by_labels, names_by_texts, names_by_vectors
from mmviewer.core.space.unit_rows import UnitRows


@pytest.mark.parametrize("fine", [False, True])
def test_groups_equal_scikit_learn(fine):
    vectors, _ = cloud(900, groups=9, spread=0.7)
    found = clusters(UnitRows(vectors), 12, fine=fine)
    narrow = PCA(15, svd_solver="full").fit_transform(vectors.astype(np.float64))
    method = "leaf" if fine else "eom"
    wanted = HDBSCAN(12, min_samples=5, cluster_selection_method=method, copy=True).fit_predict(narrow)
    assert adjusted_rand_score(wanted, found.groups) > 0.99
    assert (wanted == NOISE).sum() == pytest.approx((found.groups == NOISE).sum(), abs=5)
    sizes = np.bincount(found.groups[found.groups >= 0])
    assert found.count == len(sizes)
    assert (np.diff(sizes) <= 0).all()  # the largest first


def test_planted_groups_are_found_from_a_sample():
    vectors, group = cloud(4000, groups=8, spread=0.25)
    random = np.random.default_rng(5)
    pairs = [random.permutation(8)[:2] for _ in range(200)]
    centres = np.stack([vectors[group == each].mean(axis=0) for each in range(8)])
    stray = np.stack([centres[pair].mean(axis=0) for pair in pairs])
    stray += random.normal(scale=0.05, size=stray.shape).astype(np.float32)
    rows = UnitRows(np.concatenate([vectors, stray, np.zeros((1, 64), np.float32)]).astype(np.float16))
    found = clusters(rows, 20, most=800)
    assert len(found.fitted) == 800
    assert found.count == 8
    assigned = found.groups[:4000] >= 0
    assert assigned.mean() > 0.9
    assert adjusted_rand_score(group[assigned], found.groups[:4000][assigned]) > 0.99
    assert (found.groups[4000:4200] == NOISE).mean() > 0.95  # what lies between groups belongs to none
    assert found.groups[4200] == NOISE
    assert "800 items and the others assigned" in found.details


def test_without_groups():
    even = np.random.default_rng(0).normal(size=(60, 64)).astype(np.float32)
    found = clusters(UnitRows(even), 40)
    assert found.count == 0
    assert (found.groups == NOISE).all()
    with pytest.raises(InputError, match="choose a number between 2"):
        clusters(UnitRows(even), 61)


def test_names_by_texts_are_what_tells_groups_apart():
    groups = np.array([0, 0, 0, 1, 1, 1, NOISE, 2], np.int32)
    texts = [
        "a red car on the road",
        "the red truck, road",
        "road with a red bus",
        "a dog on grass",
        "two dogs: dog and wolf",
        "brown dog on grass.jpg",
        "car car car",
        "IMG_0001.jpg",
    ]
    names = names_by_texts(groups, 3, range(8), texts)
    assert set(names[0].split(", ")) == {"red", "road"}
    assert names[1].split(", ")[0] == "dog"
    assert names[2] == ""


def test_names_by_labels_must_cover_enough():
    groups = np.array([0] * 4 + [1] * 4 + [2], np.int32)
    codes = np.array([1, 1, 1, 0, 0, 1, 2, 3, -1], np.int32)
    assert names_by_labels(groups, 3, codes, ["cat", "dog", "owl", "fox"]) == ("dog", "", "")
    assert names_by_labels(groups, 3, np.full(9, -1, np.int32), []) == ("", "", "")


def test_names_by_vectors_look_past_what_all_share():
    vectors, group = cloud(300, groups=4, spread=0.2)
    shifted = vectors + 2 * vectors[:1]  # all have a large part in common
    words = np.stack([vectors[group == each].mean(axis=0) for each in range(4)]) - 3 * vectors[1:2]  # a gap
    named = names_by_vectors(UnitRows(shifted), group.astype(np.int32), 4, ["a", "b", "c", "d"], words)
    assert named == ("a", "b", "c", "d")
    assert names_by_vectors(UnitRows(vectors), group.astype(np.int32), 4, [], words) == ("",) * 4
