"""Search, maps and measures of a space against plain computations; texts by the real starter."""

from __future__ import annotations

from functools import partial
from pathlib import Path

import numpy as np
import pytest

from mmviewer import paths
from mmviewer.core.errors import InputError
from mmviewer.core.models.loader import load_model
from mmviewer.core.progress import SILENT
from mmviewer.core.space.collection import Catalogue, FolderSource, SpaceInfo
from mmviewer.core.space.placing import place_rows
from mmviewer.core.space.search import approximate
from mmviewer.core.space.search.opening import open_search
from mmviewer.core.tasks.features import FeatureCache
from mmviewer.core.types import Modality
from mmviewer.engine import handlers_spaces as handlers
from mmviewer.engine import handlers_structure, spaces
from mmviewer.engine.protocol_space import (
    FallIntoMap,
    MeasureSpace,
    PlaceSpace,
    QueryPart,
    SearchSpace,
    SpaceAnswer,
    TrustMap,
)
from mmviewer.engine.protocol_structure import PrepareSearch
from mmviewer.engine.routes import Call
from mmviewer.engine.workspace import Workspace

COUNT, WIDTH = 300, 16
TWIN = 9  # this item has the content of item 3


def content(row: int) -> str:
    return f"{3 if row == TWIN else row:064x}"


@pytest.fixture
def collection(tmp_path: Path) -> tuple[Catalogue, SpaceInfo, np.ndarray]:
    """Three kinds, each about a middle of its own; one item failed, one was removed, one is new."""
    files = tmp_path / "files"
    files.mkdir()
    for number in range(COUNT):
        (files / f"{number:04d}.txt").write_text(f"text {number}")
    rng = np.random.default_rng(0)
    kinds = np.arange(COUNT) % 3
    vectors = rng.normal(size=(3, WIDTH))[kinds] * 2 + rng.normal(size=(COUNT, WIDTH))
    vectors[TWIN] = vectors[3]
    with Catalogue.open(tmp_path / "collection", create=True) as catalogue:
        source = catalogue.add_source(FolderSource(str(files)))
        catalogue.scan(source.id)
        info = catalogue.add_space(
            model_id="m", label="model", width=WIDTH, weights_hash="w", preprocessing="p"
        )
        rows = [row for row in range(COUNT) if row != 20]
        known = (Modality.IMAGE, Modality.AUDIO, Modality.TEXT)
        with catalogue.begin_batch() as batch:
            batch.set_content(rows, [content(row) for row in rows], [known[kinds[row]] for row in rows])
            batch.append_vectors(info.id, [content(row) for row in rows], vectors[rows].astype(np.float16))
        catalogue.remove_items([10])
        yield catalogue, info, vectors.astype(np.float16).astype(np.float32)


@pytest.fixture
def call() -> Call:
    workspace = Workspace()
    return Call(workspace, SILENT, lambda _value: None)


def unit(vectors: np.ndarray) -> np.ndarray:
    return vectors / np.linalg.norm(vectors, axis=-1, keepdims=True)


def test_search_ranks_items_as_a_plain_product_does(collection, call: Call) -> None:
    catalogue, info, vectors = collection
    parts = (QueryPart(1.0, row=3), QueryPart(-0.5, row=100))
    answer = handlers.search(SearchSpace(str(catalogue.folder), info.id, parts, count=20), call)
    query = unit(unit(vectors[3]) - 0.5 * unit(vectors[100]))
    cosines = unit(vectors) @ query
    cosines[[10, 20]] = np.nan
    order = np.argsort(np.where(np.isnan(cosines), 9, -cosines), kind="stable")[:20]
    assert answer.rows.tolist() == order.tolist()
    np.testing.assert_allclose(answer.cosines, cosines[order], atol=2e-5)
    np.testing.assert_allclose(answer.similarity, cosines, atol=2e-5)
    assert {3, TWIN} <= set(answer.rows.tolist())  # equal contents share a vector, and both are found


def test_a_large_space_is_searched_by_its_index_once_it_was_made(
    collection, call: Call, monkeypatch: pytest.MonkeyPatch
) -> None:
    catalogue, info, _ = collection
    folder = str(catalogue.folder)
    monkeypatch.setattr(spaces, "open_search", partial(open_search, limit=50))
    monkeypatch.setattr(handlers, "EXACT_LIMIT", 50)
    request = SearchSpace(folder, info.id, (QueryPart(row=3),), count=8)
    before = handlers.search(request, call)
    assert before.recall is None
    state = handlers_structure.prepare(PrepareSearch(folder, info.id), call)
    assert not state.exact
    assert state.recall > 0.9
    assert (catalogue.folder / "vectors" / f"{info.id}.lists").is_file()
    parts: list[SpaceAnswer] = []
    after = handlers.search(request, Call(call.workspace, SILENT, parts.append))
    assert after.recall == state.recall
    assert after.rows.tolist() == before.rows.tolist()
    assert parts[0].rows.tolist() == before.rows.tolist()
    assert parts[0].similarity is None
    np.testing.assert_allclose(after.similarity, before.similarity, atol=1e-6)
    catalogue.set_labels([0], "x")  # another state of the same vectors
    assert handlers.search(request, call).recall == state.recall


@pytest.mark.parametrize("by_index", [False, True])
def test_only_items_of_the_kinds_that_are_looked_for(
    collection, call: Call, monkeypatch: pytest.MonkeyPatch, by_index: bool
) -> None:
    catalogue, info, vectors = collection
    folder = str(catalogue.folder)
    if by_index:
        monkeypatch.setattr(spaces, "open_search", partial(open_search, limit=50))
        monkeypatch.setattr(approximate, "_GATHERED", 20)
        handlers_structure.prepare(PrepareSearch(folder, info.id), call)
    kinds = (Modality.IMAGE,)
    request = SearchSpace(folder, info.id, (QueryPart(row=5),), count=10, whole=False, kinds=kinds)
    answer = handlers.search(request, call)
    cosines = unit(vectors) @ unit(vectors[5])
    cosines[[10, 20]] = -1
    cosines[np.arange(COUNT) % 3 != 0] = -1  # item 5 is a text, and no text is found
    wanted = np.argsort(-cosines, kind="stable")[:10]
    if by_index:
        assert answer.recall is not None
        assert answer.recall > 0.9
        assert np.isin(answer.rows, wanted).mean() > 0.8
        assert (answer.rows % 3 == 0).all()
        assert handlers.search(request, call).recall == answer.recall
    else:
        assert answer.recall is None
        assert set(answer.rows.tolist()) == set(wanted.tolist())


def test_with_the_gap_closed_each_kind_is_centred(collection, call: Call) -> None:
    catalogue, info, vectors = collection
    request = SearchSpace(str(catalogue.folder), info.id, (QueryPart(row=4),), count=COUNT, closed=True)
    answer = handlers.search(request, call)
    used = [row for row in range(COUNT) if row not in (10, 20, TWIN)]  # each vector once
    kinds = np.arange(COUNT) % 3
    moved = unit(vectors)
    for kind in range(3):
        members = [row for row in used if kinds[row] == kind]
        moved[kinds == kind] -= moved[members].mean(axis=0)
    expected = unit(moved) @ unit(moved)[4]
    known = np.isfinite(answer.similarity)
    assert np.flatnonzero(~known).tolist() == [10, 20]
    np.testing.assert_allclose(answer.similarity[known], expected[known], atol=1e-3)


def test_a_text_is_read_by_the_loaded_model(tmp_path: Path, call: Call) -> None:
    model = load_model(str(paths.starter_model()))
    call.workspace.adopt(model)
    texts = ("a red bicycle", "a bowl of soup", "an owl at night")
    files = tmp_path / "files"
    files.mkdir()
    for number, text in enumerate(texts):
        (files / f"{number}.txt").write_text(text)
    features = FeatureCache().of_texts(model, texts)
    with Catalogue.open(tmp_path / "collection", create=True) as catalogue:
        catalogue.scan(catalogue.add_source(FolderSource(str(files))).id)
        info = catalogue.add_space(
            model_id=model.info.id,
            label="starter",
            width=features.shape[1],
            weights_hash=model.info.weights_hash,
            preprocessing=model.info.preprocessing,
        )
        with catalogue.begin_batch() as batch:
            names = [content(row) for row in range(3)]
            batch.set_content(range(3), names, [Modality.TEXT] * 3)
            batch.append_vectors(info.id, names, features.astype(np.float16))
        request = SearchSpace(str(catalogue.folder), info.id, (QueryPart(text="soup"),), model.info.id)
        answer = handlers.search(request, call)
        assert answer.rows[0] == 1
        wide = catalogue.add_space(model_id="x", label="other", width=4, weights_hash="w", preprocessing="p")
        with pytest.raises(InputError, match="another space"):
            handlers.search(SearchSpace(str(catalogue.folder), wide.id, request.parts, model.info.id), call)


def test_a_map_is_kept_in_the_collection_unless_another_program_writes(collection, call: Call) -> None:
    catalogue, info, _ = collection
    request = PlaceSpace(str(catalogue.folder), info.id, "pca")
    shown = handlers.place(request, call)
    assert shown.name == ""
    assert "not kept" in shown.details
    catalogue.close()
    placed = handlers.place(request, call)
    with Catalogue.open(catalogue.folder, readonly=True) as reader:
        kept = reader.coordinates(placed.name)
    assert (kept.space_id, kept.method) == (info.id, "pca")
    np.testing.assert_array_equal(kept.xy, placed.xy)


def test_new_items_fall_into_a_kept_map_whose_others_stay(collection, call: Call) -> None:
    catalogue, info, vectors = collection
    folder = str(catalogue.folder)
    xy = vectors[:, :2].copy()
    new = [7, 30, 31]
    xy[new] = np.nan
    catalogue.save_coordinates("mine", info.id, "umap", {"details": "by hand", "closed": False}, xy)
    catalogue.close()
    found = handlers.fall_into(FallIntoMap(folder, info.id, map="mine"), call)
    there = [row for row in range(COUNT) if row not in (10, 20, *new)]
    np.testing.assert_array_equal(found.xy[there], xy[there])
    units = unit(vectors)
    for row in new:  # among the places of the most similar
        near = np.array(there)[np.argsort(-(units[there] @ units[row]))[:15]]
        low, high = xy[near].min(axis=0), xy[near].max(axis=0)
        assert ((found.xy[row] >= low - 1e-4) & (found.xy[row] <= high + 1e-4)).all()
    with Catalogue.open(folder, readonly=True) as reader:
        kept = reader.coordinates("mine")
    np.testing.assert_array_equal(kept.xy, found.xy)
    assert kept.details == {"details": "by hand; new items lie where their nearest are", "closed": False}
    assert (kept.space_id, kept.method) == (info.id, "umap")


def test_a_map_of_few_is_the_projection_itself(collection, call: Call) -> None:
    catalogue, info, vectors = collection
    placed = handlers.place(PlaceSpace(str(catalogue.folder), info.id, "pca"), call)
    missing = np.flatnonzero(~np.isfinite(placed.xy).all(axis=1))
    assert missing.tolist() == [10, 20]
    assert placed.xy[TWIN].tolist() == placed.xy[3].tolist()
    used = [row for row in range(COUNT) if row not in (10, 20, TWIN)]
    centred = unit(vectors[used].astype(np.float64))
    centred -= centred.mean(axis=0)
    _, _, axes = np.linalg.svd(centred, full_matrices=False)
    expected = np.abs(centred @ axes[:2].T)
    np.testing.assert_allclose(np.abs(placed.xy[used]), expected, atol=1e-4)


@pytest.mark.parametrize("method", ["pca", pytest.param("umap", marks=pytest.mark.slow)])
def test_a_large_map_is_fitted_on_some_and_the_others_lie_beside_their_nearest(
    collection, call: Call, monkeypatch: pytest.MonkeyPatch, method: str
) -> None:
    catalogue, info, _ = collection
    few = partial(place_rows, sample=120)
    monkeypatch.setattr(handlers, "place_rows", few)
    placed = handlers.place(PlaceSpace(str(catalogue.folder), info.id, method), call)
    assert np.isfinite(placed.xy).all(axis=1).sum() == COUNT - 2
    kinds = np.arange(COUNT) % 3
    good = np.isfinite(placed.xy).all(axis=1)
    middles = np.stack([placed.xy[good & (kinds == kind)].mean(axis=0) for kind in range(3)])
    own = np.linalg.norm(placed.xy[good] - middles[kinds[good]], axis=1)
    nearest = np.linalg.norm(placed.xy[good][:, None] - middles[None], axis=2).min(axis=1)
    assert (own <= nearest + 1e-5).mean() > 0.9  # the kinds stay apart, those that were not fitted too


def test_measures_and_trust_cover_every_item(collection, call: Call) -> None:
    catalogue, info, vectors = collection
    found = handlers.measure(MeasureSpace(str(catalogue.folder), info.id), call)
    assert found.count == COUNT - 2  # 300 without the new one and the twin's second copy
    assert [(gap.first, gap.second) for gap in found.gaps] == [(0, 1), (0, 2), (1, 2)]
    kinds = np.arange(COUNT) % 3
    used = [row for row in range(COUNT) if row not in (10, 20, TWIN)]
    means = [unit(vectors)[[row for row in used if kinds[row] == kind]].mean(axis=0) for kind in range(3)]
    assert found.gaps[1].distance == pytest.approx(float(np.linalg.norm(means[0] - means[2])), abs=0.02)
    closed = handlers.measure(MeasureSpace(str(catalogue.folder), info.id, closed=True), call)
    assert max(gap.distance for gap in closed.gaps) < 0.2 < min(gap.distance for gap in found.gaps)
    assert np.nansum(found.occurrences[used]) > 0
    placed = handlers.place(PlaceSpace(str(catalogue.folder), info.id, "pca"), call)
    values, overall = handlers.trust(TrustMap(str(catalogue.folder), info.id, xy=placed.xy), call)
    assert 0.5 < overall < 1
    assert np.isnan(values).nonzero()[0].tolist() == [10, 20]


def test_what_cannot_be_searched_is_said(collection, call: Call) -> None:
    catalogue, info, _ = collection
    folder = str(catalogue.folder)
    with pytest.raises(InputError, match="no vector yet"):
        handlers.search(SearchSpace(folder, info.id, (QueryPart(row=20),)), call)
    with pytest.raises(InputError, match="cancel each other"):
        handlers.search(SearchSpace(folder, info.id, (QueryPart(row=3), QueryPart(-1.0, row=TWIN))), call)
    empty = catalogue.add_space(model_id="x", label="other", width=4, weights_hash="w", preprocessing="p")
    with pytest.raises(InputError, match="needs at least"):
        handlers.place(PlaceSpace(folder, empty.id, "pca"), call)
