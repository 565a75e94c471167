"""Handlers of the requests about collections, with a tiny model in this process."""

from __future__ import annotations

import csv
from dataclasses import replace
from pathlib import Path
from threading import Event, Thread
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from mmviewer.core.errors import Cancelled, CollectionError, ModelError
from mmviewer.core.models.base import FAMILIES, LoadedModel
from mmviewer.core.progress import SILENT, Progress
from mmviewer.core.space.collection import Catalogue, FolderSource
from mmviewer.core.space.indexing.pace import IndexProgress
from mmviewer.engine import protocol_collection as ask
from mmviewer.engine.collections import COLLECTIONS
from mmviewer.engine.routes import ROUTES, Call, lane_of
from mmviewer.engine.workspace import Workspace

LABELS = ("cat", "dog", "teapot")


@pytest.fixture(scope="module")
def model() -> LoadedModel:
    return FAMILIES.get("hearing").tiny("clip")


@pytest.fixture(scope="module")
def workspace(model: LoadedModel) -> Workspace:
    workspace = Workspace()
    workspace.adopt(model)
    return workspace


@pytest.fixture
def files(tmp_path: Path) -> Path:
    folder = tmp_path / "files"
    folder.mkdir()
    draw = np.random.default_rng(0)
    for number in range(10):
        pixels = draw.integers(0, 256, (40, 50, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(folder / f"{number}.png")
    (folder / "words.txt").write_text("a cat", "utf-8")
    return folder


@pytest.fixture
def folder(tmp_path: Path, workspace: Workspace, files: Path) -> str:
    made = handle(workspace, ask.CreateCollection(str(tmp_path / "collection")))
    _, report = handle(workspace, ask.AddSource(made, FolderSource(str(files))))
    assert report.added == 11
    return made


def handle(
    workspace: Workspace, request: Any, progress: Progress = SILENT, partial=lambda value: None
) -> Any:
    """Answer a request by the function that its route names."""
    return ROUTES[type(request)].handler()(request, Call(workspace, progress, partial))


def test_every_request_has_a_route_whose_function_is_there():
    requests = [each for each in vars(ask).values() if isinstance(each, type)]
    routed = [each for each in requests if issubclass(each, ask.CollectionRequest)]
    for request in routed:
        if request is not ask.CollectionRequest:
            assert callable(ROUTES[request].handler())


def test_runs_of_different_collections_have_lanes_of_their_own():
    first, second = (ask.IndexCollection(folder, "model") for folder in ("one", "two"))
    route = ROUTES[ask.IndexCollection]
    assert lane_of(first, route, speech=False) != lane_of(second, route, speech=False)
    watched = lane_of(ask.WatchCollection("one"), ROUTES[ask.WatchCollection], speech=False)
    assert watched != lane_of(first, route, speech=False)


def test_a_collection_is_indexed_labelled_scored_exported_and_checked(workspace, model, folder, tmp_path):
    states: list[IndexProgress] = []
    done = handle(workspace, ask.IndexCollection(folder, model.info.id, workers=0), partial=states.append)
    assert (done.embedded, states[-1].done, states[-1].total) == (11, 11, 11)

    rows = np.array([1, 3], np.int64)
    handle(workspace, ask.LabelItems(folder, rows, "kept", "class"))
    assert handle(workspace, ask.UndoLabels(folder)).tolist() == [1, 3]
    assert handle(workspace, ask.UndoLabels(folder, redo=True)).tolist() == [1, 3]

    table = handle(workspace, ask.ClassifyCollection(folder, model.info.id, done.space_id, LABELS))
    with Catalogue.open(folder, readonly=True) as catalogue:
        vectors = catalogue.vectors(done.space_id).take(np.arange(11))
    with torch.no_grad():
        text = model.text_features([f"a {label}" for label in LABELS]).numpy()
        logits = model.logits(torch.from_numpy(vectors @ text.T))[0]
    chances = logits.softmax(-1).numpy()
    assert table.winners.tolist() == chances.argmax(1).tolist()
    np.testing.assert_allclose(table.probabilities, chances.max(1), atol=1e-3)
    ordered = np.sort(chances, axis=1)
    np.testing.assert_allclose(table.margins, ordered[:, -1] - ordered[:, -2], atol=1e-3)

    refused = table.with_thresholds(1.0)
    assert refused.counts.tolist() == [0, 0, 0]
    path = handle(workspace, ask.ExportClasses(folder, str(tmp_path / "x.csv"), refused, by_hand="class"))
    with Path(path).open(encoding="utf-8", newline="") as file:
        records = list(csv.DictReader(file))
    assert [record["label"] for record in records] == ["kept" if row in (1, 3) else "" for row in range(11)]
    assert [record["by_hand"] for record in records] == ["yes" if row in (1, 3) else "" for row in range(11)]
    whole = handle(workspace, ask.ExportClasses(folder, str(tmp_path / "x.parquet"), table))
    from pyarrow import parquet

    written = parquet.read_table(whole).to_pydict()
    assert written["label"] == [LABELS[code] for code in table.codes]
    np.testing.assert_allclose(written["probability"], table.probabilities, atol=1e-5)

    assert handle(workspace, ask.ExportCollection(folder, str(tmp_path / "all.csv"))) == 11
    xy = np.random.default_rng(0).normal(size=(11, 2)).astype(np.float32)
    handle(workspace, ask.KeepMap(folder, "mine", xy, done.space_id, "pca"))
    report = handle(workspace, ask.VerifyCollection(folder))
    assert (report.sound, report.vectors) == (True, 11)
    with Catalogue.open(folder, readonly=True) as catalogue:
        assert np.array_equal(catalogue.coordinates("mine").xy, xy)
    handle(workspace, ask.KeepMap(folder, "mine"))
    with Catalogue.open(folder, readonly=True) as catalogue:
        assert catalogue.maps() == ()
    with pytest.raises(ModelError, match="not loaded"):
        handle(workspace, ask.IndexCollection(folder, "another", workers=0))


def test_a_run_gives_way_is_held_shares_its_writer_and_is_cancelled(workspace, model, folder, monkeypatch):
    """While a run is held, another lane has the model and labels go through the same writer."""
    held, stop = Event(), Event()
    ended: list[BaseException] = []

    def partial(state: IndexProgress) -> None:
        if state.paused:
            held.set()
        else:
            COLLECTIONS.pause(folder, held=True)

    def run() -> None:
        try:
            handle(
                workspace,
                ask.IndexCollection(folder, model.info.id, workers=0),
                Progress(cancelled=stop),
                partial,
            )
        except Cancelled as error:
            ended.append(error)

    thread = Thread(target=run)
    thread.start()
    assert held.wait(60)
    with workspace.using(model.info.id, SILENT) as lent:
        assert lent is model
    handle(workspace, ask.LabelItems(folder, np.array([2], np.int64), "now", "class"))
    with pytest.raises(CollectionError):  # other programs have to wait
        Catalogue.open(folder)
    stop.set()
    thread.join(60)
    assert len(ended) == 1
    assert handle(workspace, ask.PauseIndexing(folder)) is False
    with Catalogue.open(folder) as catalogue:
        assert catalogue.labels("class")[0][2] == 0
        assert catalogue.verify().sound


def test_watched_folders_are_followed_until_cancelled(workspace, model, files, tmp_path):
    folder = handle(workspace, ask.CreateCollection(str(tmp_path / "watching")))
    handle(workspace, ask.AddSource(folder, FolderSource(str(files), watch=True)))
    seen, stop = [], Event()

    def partial(value: Any) -> None:
        if isinstance(value, ask.Watched):
            seen.append(value)
            if len(seen) == 1:
                (files / "words.txt").unlink()
            else:
                stop.set()

    (files / "new.txt").write_text("a dog", "utf-8")
    request = ask.WatchCollection(folder, model.info.id, period=0.05)
    with pytest.raises(Cancelled):
        handle(workspace, request, Progress(cancelled=stop), partial)
    assert [(each.added, each.missing, each.trouble) for each in seen] == [(1, 0, ""), (0, 1, "")]
    assert seen[0].embedded == 12  # all that had no vector


def test_what_came_while_the_model_was_away_is_embedded_once_it_is_back(model, files, tmp_path):
    alone = Workspace()
    folder = handle(alone, ask.CreateCollection(str(tmp_path / "owed")))
    handle(alone, ask.AddSource(folder, FolderSource(str(files))))
    assert handle(alone, ask.WatchSources(folder)) == 1
    (files / "new.txt").write_text("a dog", "utf-8")
    seen, stop = [], Event()

    def partial(value: Any) -> None:
        if isinstance(value, ask.Watched):
            seen.append(value)
            alone.adopt(model)  # after the first look, which could not embed
            if value.embedded:
                stop.set()

    request = ask.WatchCollection(folder, model.info.id, period=0.05)
    with pytest.raises(Cancelled):
        handle(alone, request, Progress(cancelled=stop), partial)
    assert [(each.added, each.embedded) for each in seen] == [(1, 0), (0, 12)]
    assert "model" in seen[0].trouble


def test_watching_makes_no_second_source_of_a_folder(workspace, files, folder):
    source, report = handle(workspace, ask.AddSource(folder, FolderSource(str(files), watch=True)))
    assert (source.spec.watch, report.added) == (True, 0)
    again, _ = handle(workspace, ask.AddSource(folder, FolderSource(str(files))))
    assert again == replace(source, scanned=again.scanned)  # it stays watched
    handle(workspace, ask.WatchSources(folder, watch=False))
    with Catalogue.open(folder, readonly=True) as catalogue:
        assert [each.spec for each in catalogue.sources] == [FolderSource(str(files))]


def test_what_is_no_collection_is_refused(workspace, model, tmp_path):
    with pytest.raises(CollectionError, match="is not a collection"):
        handle(workspace, ask.IndexCollection(str(tmp_path), model.info.id))


def test_sources_and_items_are_taken_out(workspace, folder):
    handle(workspace, ask.RemoveItems(folder, (0, 4)))
    ((source, report),) = handle(workspace, ask.ScanCollection(folder))
    assert report.added == 0
    handle(workspace, ask.RemoveSource(folder, source.id))
    with Catalogue.open(folder, readonly=True) as catalogue:
        assert catalogue.sources == ()
