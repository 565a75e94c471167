"""What the engine says of the structure of a collection's space, on a collection made on the disk."""

from __future__ import annotations

import shutil
from pathlib import Path
from threading import Event

import numpy as np
import pytest

from mmviewer.core.errors import Cancelled, InputError
from mmviewer.core.progress import Progress
from mmviewer.core.space.collection import KINDS, Catalogue, FolderSource
from mmviewer.core.types import Modality
from mmviewer.engine import handlers_structure as handle
from mmviewer.engine import protocol_structure as ask
from mmviewer.engine.protocol import Done, Failed, Stopped
from mmviewer.engine.protocol_space import PlaceSpace
from mmviewer.engine.routes import ROUTES, Call
from mmviewer.engine.spaces import Spaces
from mmviewer.engine.workspace import Workspace

WIDTH, THINGS = 24, ("apple", "boat", "clock")
PER_THING = 12


def call(progress: Progress | None = None) -> Call:
    return Call(Workspace(), progress or Progress(), lambda value: None)


@pytest.fixture(scope="module")
def made(tmp_path_factory) -> tuple[Path, tuple[str, str], np.ndarray]:
    """36 pictures and a text for each, of three things; pictures and texts lie apart.

    The files are no real pictures: nothing here decodes them.
    """
    files = tmp_path_factory.mktemp("files")
    for thing in THINGS:
        for number in range(PER_THING):
            (files / f"{thing} {number}.png").write_bytes(b"x")
            (files / f"{thing} {number}.txt").write_text(f"one {thing}")
    folder = tmp_path_factory.mktemp("collection")
    with Catalogue.open(folder, create=True) as catalogue:
        catalogue.scan(catalogue.add_source(FolderSource(str(files))).id)
        items = catalogue.items(range(catalogue.count))
        names = [item.name.rpartition(".")[0] for item in items]
        is_text = np.array([item.name.endswith(".txt") for item in items])
        random = np.random.default_rng(0)
        centres = dict(zip(THINGS, random.normal(size=(3, WIDTH)), strict=True))
        own = {name: 0.2 * random.normal(size=WIDTH) for name in names}
        vectors = np.stack([centres[name.split()[0]] + own[name] for name in names])
        vectors += 0.1 * random.normal(size=vectors.shape)
        vectors[:, 0] += np.where(is_text, 4, -4)
        vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
        hashes = [f"{place:064x}" for place in range(len(items))]
        first, twin = names.index("apple 0"), names.index("apple 1")
        hashes[twin] = hashes[first]  # two files of equal content
        spaces = []
        for name, turn in (("a", np.eye(WIDTH)), ("b", np.linalg.qr(random.normal(size=(WIDTH, WIDTH)))[0])):
            info = catalogue.add_space(
                model_id=name, label=name, width=WIDTH, weights_hash=name, preprocessing="p"
            )
            with catalogue.begin_batch() as batch:
                kinds = [Modality.TEXT if text else Modality.IMAGE for text in is_text]
                batch.set_content(range(len(items)), hashes, kinds)
                batch.append_vectors(info.id, hashes, (vectors @ turn).astype(np.float16))
            spaces.append(info.id)
        for thing in THINGS:
            rows = [row for row, name in enumerate(names) if name.startswith(thing)]
            catalogue.set_labels(rows, thing, "thing")
        for name in set(names):
            catalogue.set_labels([row for row, other in enumerate(names) if other == name], name, "pair")
        xy = vectors[:, 1:3].astype(np.float32)
        catalogue.save_coordinates("plain", spaces[0], "pca", {}, xy)
        catalogue.save_coordinates("turned", spaces[1], "pca", {}, 3 * xy[:, ::-1] + 7)
    return folder, (spaces[0], spaces[1]), np.array(names)


def test_every_request_has_a_route_that_can_be_imported():
    first = (ask.PrepareSearch, ask.ClusterSpace, ask.CompareSpaces)
    for request in (*first, ask.CompareItems, ask.FindDuplicates, ask.MeasurePairs):
        assert callable(ROUTES[request].handler())


def test_groups_are_the_things_once_the_gap_is_closed(made):
    folder, (space, _), names = made
    found = handle.cluster(ask.ClusterSpace(str(folder), space, least=6, column="thing", closed=True), call())
    assert sorted(found.names) == sorted(THINGS)
    for group, name in enumerate(found.names):
        inside = names[found.groups == group]
        assert all(each.startswith(name) for each in inside)
        assert len(inside) == found.sizes[group]
    by_texts = handle.cluster(ask.ClusterSpace(str(folder), space, least=6, closed=True), call())
    assert [name.split(", ")[0] for name in by_texts.names] == list(found.names)
    apart = handle.cluster(ask.ClusterSpace(str(folder), space, least=20), call())
    assert len(apart.names) == 2  # else pictures lie here and texts there


def test_a_turned_space_agrees_and_its_map_is_laid_on_the_other(made):
    folder, (space, other), _ = made
    found = handle.compare(ask.CompareSpaces(str(folder), space, other, 5, ("plain", "turned")), call())
    assert found.mean > 0.97  # float16
    assert found.disparity < 1e-3
    assert np.isfinite(found.overlap).all()
    with Catalogue.open(folder, readonly=True) as catalogue:
        np.testing.assert_allclose(found.other_xy, catalogue.coordinates("plain").xy, atol=1e-3)


def test_similarities_of_items_and_of_categories(made):
    folder, (space, _), names = made
    rows = np.array([5, 0, 17])
    found = handle.compare_items(ask.CompareItems(str(folder), space, rows), call())
    with Catalogue.open(folder, readonly=True) as catalogue:
        vectors = catalogue.vectors(space).take(np.arange(len(names)))
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    np.testing.assert_allclose(found.values, vectors[rows] @ vectors[rows].T, atol=1e-4)
    things = handle.compare_items(ask.CompareItems(str(folder), space, column="thing"), call())
    assert set(things.names) == set(THINGS)
    assert (things.values.argmax(axis=1) == np.arange(3)).all()
    codes = np.array([-1, 1, 3])[[["boat", "clock", "apple"].index(name.split()[0]) for name in names]]
    groups = ("none", "time", "empty", "fruit")  # what has no item is left out
    found = handle.compare_items(ask.CompareItems(str(folder), space, codes=codes, names=groups), call())
    assert (found.names, found.rows.tolist()) == (("time", "fruit"), [1, 3])
    means = [vectors[names == name].mean(0) for name in np.unique(names)]
    middles = [
        np.mean([m for m, name in zip(means, np.unique(names), strict=True) if name.startswith(t)], 0)
        for t in ("clock", "apple")
    ]
    assert found.values[0, 1] == pytest.approx(middles[0] @ middles[1], abs=0.02)  # two share a vector
    with pytest.raises(InputError, match="not in the collection"):
        handle.compare_items(ask.CompareItems(str(folder), space, np.array([999])), call())


def test_equal_contents_are_duplicates(made):
    folder, (space, _), names = made
    found = handle.duplicates(ask.FindDuplicates(str(folder), space, 0.9999), call())
    assert {frozenset(names[group]) for group in found.groups} == {frozenset(("apple 0", "apple 1"))}
    assert found.cosines == pytest.approx(1)
    assert len(handle.duplicates(ask.FindDuplicates(str(folder), space, 0.8), call()).groups) > 1
    with pytest.raises(InputError, match="between -1 and 1"):
        handle.duplicates(ask.FindDuplicates(str(folder), space, 97.0), call())


def test_pairs_are_found_better_with_the_gap_closed(made):
    folder, (space, _), _ = made
    wide = handle.measure_pairs(ask.MeasurePairs(str(folder), space, "pair"), call())
    shut = handle.measure_pairs(ask.MeasurePairs(str(folder), space, "pair", closed=True), call())
    assert {(way.asked, way.found) for way in wide.retrieval} == {(0, 2), (2, 0)}
    assert wide.pairs >= 3 * PER_THING
    assert dict(shut.retrieval[0].at)[1] >= dict(wide.retrieval[0].at)[1]
    assert shut.alignment < wide.alignment < wide.alignment_by_chance
    assert dict(wide.retrieval[0].by_chance)[1] == pytest.approx(1 / (3 * PER_THING - 1), rel=0.1)
    only = handle.measure_pairs(ask.MeasurePairs(str(folder), space, "thing"), call())
    assert {(way.asked, way.found) for way in only.retrieval} == {(0, 2), (2, 0)}
    assert KINDS[0] is Modality.IMAGE
    with pytest.raises(InputError, match="column"):
        handle.measure_pairs(ask.MeasurePairs(str(folder), space, "nothing"), call())


def test_a_small_space_is_searched_exactly(made):
    folder, (space, _), names = made
    state = handle.prepare(ask.PrepareSearch(str(folder), space), call())
    assert state == ask.SearchState(True, len(names) - 1)  # two share a vector


def test_an_open_space_is_kept_until_the_collection_changes(made):
    folder, (space, _), _ = made
    spaces = Spaces()
    one = spaces.get(str(folder), space, Progress())
    assert spaces.get(str(folder), space, Progress()) is one
    with Catalogue.open(folder) as catalogue:
        catalogue.set_labels([0], "new", "other")
    again = spaces.get(str(folder), space, Progress())
    assert again is not one
    assert again.rows is one.rows  # a label changes no vector
    found, cosines = again.searcher().search(again.vector(3)[None], 5)
    rows, values = again.items_of(found[0], cosines[0], 3)
    assert rows[0] == 3
    assert values[0] == pytest.approx(1, abs=1e-3)
    assert (np.diff(values) <= 0).all()
    with pytest.raises(InputError, match="no vector"):
        again.vector(10_000)


def test_a_cancel_is_honoured(made):
    folder, (space, _), _ = made
    cancelled = Event()
    cancelled.set()
    with pytest.raises(Cancelled):
        handle.cluster(ask.ClusterSpace(str(folder), space), call(Progress(cancelled=cancelled)))


def test_a_collection_made_in_the_place_of_another_is_not_taken_for_it(tmp_path):
    spaces, folder = Spaces(), tmp_path / "collection"
    files = tmp_path / "files"
    files.mkdir()
    (files / "a.txt").write_text("a")
    for value in (1.0, -1.0):
        with Catalogue.open(folder, create=True) as catalogue:
            catalogue.scan(catalogue.add_source(FolderSource(str(files))).id)
            space = catalogue.add_space(
                model_id="m", label="m", width=2, weights_hash="w", preprocessing="p"
            ).id
            with catalogue.begin_batch() as batch:
                batch.set_content([0], ["0" * 64], [Modality.TEXT])
                batch.append_vectors(space, ["0" * 64], np.array([[value, 0]], np.float16))
        found = spaces.get(str(folder), space, Progress())
        assert found.vector(0).tolist() == [value, 0]
        shutil.rmtree(folder)


@pytest.mark.slow
def test_answers_travel_from_a_real_engine_and_a_cancel_reaches_it(made, engine):
    folder, (space, other), names = made
    running = engine()
    found = running.ask(ask.ClusterSpace(str(folder), space, least=6, column="thing", closed=True), 120)
    assert isinstance(found, Done), found
    assert sorted(found.value.names) == sorted(THINGS)
    assert len(found.value.groups) == len(names)
    pair = running.ask(ask.CompareSpaces(str(folder), space, other, 5), 60)
    assert pair.value.mean > 0.97
    gone = running.ask(ask.FindDuplicates(str(folder / "nothing"), space), 60)
    assert isinstance(gone, Failed)
    assert "not a collection" in gone.error.message
    job = running.client.submit(PlaceSpace(str(folder), space, "umap"))
    running.client.cancel(job)
    assert isinstance(running.heard.end(job, 60), Stopped)
