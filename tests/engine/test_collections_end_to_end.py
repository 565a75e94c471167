"""Requests about collections against a real engine with the starter."""

from __future__ import annotations

import csv
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from engine_harness import Engine

from mmviewer import paths
from mmviewer.core.average.frame import on_frame
from mmviewer.core.explain.selection import show
from mmviewer.core.space.collection import Catalogue, FolderSource
from mmviewer.core.space.indexing.pace import IndexProgress
from mmviewer.core.types import MapSpec, MediaRef
from mmviewer.engine import protocol_collection as ask
from mmviewer.engine.protocol import (
    Done,
    Explain,
    Failed,
    Generate,
    LoadModel,
    OpenMedia,
    PartialResult,
    ProgressEvent,
    Request,
    Stopped,
    Tokenize,
)
from mmviewer.engine.protocol_average import AverageItems

SAMPLES = paths.samples()
PATIENCE = 600.0  # seconds; a busy machine takes minutes to load the model


pytestmark = pytest.mark.timeout(2 * PATIENCE)


@pytest.fixture(scope="module")
def engine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Engine]:
    with pytest.MonkeyPatch.context() as patch:
        logs = tmp_path_factory.mktemp("log")
        patch.setattr(paths, "log_dir", lambda: logs)
        engine = Engine()
        yield engine
        engine.client.close()


@pytest.fixture(scope="module")
def model_id(engine: Engine) -> str:
    return value(engine, LoadModel("starter")).id


@pytest.fixture(scope="module")
def folder(engine: Engine, tmp_path_factory: pytest.TempPathFactory) -> str:
    return value(engine, ask.CreateCollection(str(tmp_path_factory.mktemp("collections") / "samples")))


def value(engine: Engine, request: Request):
    answer = engine.ask(request, timeout=PATIENCE)
    assert isinstance(answer, Done), answer
    return answer.value


def test_sources_are_indexed_labelled_scored_and_checked(engine, model_id, folder, tmp_path):
    source, report = value(engine, ask.AddSource(folder, FolderSource(str(SAMPLES))))
    assert report.added > 10
    job = engine.client.submit(ask.IndexCollection(folder, model_id, workers=1))
    ended = engine.heard.end(job, timeout=PATIENCE)
    assert isinstance(ended, Done), ended
    done = ended.value
    states = [event.value for event in engine.heard.of(job, PartialResult)]
    assert all(isinstance(state, IndexProgress) for state in states)
    assert states[-1].done == states[-1].total == report.added
    with Catalogue.open(folder, readonly=True) as catalogue:
        assert [info.id for info in catalogue.spaces()] == [done.space_id]
        items = catalogue.items(range(catalogue.count))
        assert len(catalogue.vectors(done.space_id).rows()) == done.embedded + done.shared
    cats = np.array([item.row for item in items if "cat" in item.name], np.int64)
    value(engine, ask.LabelItems(folder, cats, "cat", "class"))
    assert value(engine, ask.UndoLabels(folder)).tolist() == cats.tolist()
    assert value(engine, ask.UndoLabels(folder, redo=True)).tolist() == cats.tolist()

    labels = ("guitar", "cat", "mouse", "butterfly")
    table = value(
        engine, ask.ClassifyCollection(folder, model_id, done.space_id, labels, thresholds={"cat": 1.0})
    )
    names = {item.row: item.name for item in items}
    winners = {names[row]: labels[code] for row, code in enumerate(table.winners) if code >= 0}
    assert winners["scene-three-butterflies.png"] == "butterfly"
    assert winners["sound-guitar.wav"] == "guitar"
    assert table.counts[1] == 0
    assert table.below[1] >= 1

    path = value(engine, ask.ExportClasses(folder, str(tmp_path / "classes.csv"), table, by_hand="class"))
    with Path(path).open(encoding="utf-8", newline="") as file:
        records = {record["name"]: record for record in csv.DictReader(file)}
    assert len(records) == done.embedded + done.shared
    assert records["photo-cat.png"]["label"] == "cat"  # by hand, though below the threshold
    assert records["photo-cat.png"]["by_hand"] == "yes"
    assert records["scene-three-butterflies.png"]["label"] == "butterfly"
    assert records["scene-three-butterflies.png"]["by_hand"] == ""

    report = value(engine, ask.VerifyCollection(folder))
    assert (report.sound, report.broken_vectors, report.missing) == (True, 0, 0)
    assert isinstance(engine.ask(ask.PauseIndexing(folder)).value, bool)
    value(engine, ask.RemoveSource(folder, source.id))


def test_a_caption_does_not_wait_for_a_run_which_can_be_held_and_cancelled(engine, model_id, folder):
    value(engine, ask.AddSource(folder, FolderSource(str(paths.resources() / "scenes"))))
    run = engine.client.submit(ask.IndexCollection(folder, model_id, workers=1))
    engine.heard.wait(lambda event: isinstance(event, PartialResult) and event.job == run, timeout=PATIENCE)
    # the model's other uses go first: a caption comes while a hundred scenes wait
    (opened,) = (
        event.value for event in _ask_all(engine, OpenMedia((str(SAMPLES / "scene-owl-guitar.png"),)))
    )
    ref = MediaRef(opened.id, opened.modality, opened.name, opened.path)
    assert value(engine, Generate(model_id, ref)).text
    assert not engine.heard.of(run, Done)
    assert value(engine, ask.PauseIndexing(folder, held=True)) is True
    engine.heard.wait(
        lambda event: isinstance(event, PartialResult) and event.job == run and event.value.paused,
        timeout=PATIENCE,
    )
    assert value(engine, ask.PauseIndexing(folder, held=False)) is True
    engine.client.cancel(run)
    assert isinstance(engine.heard.end(run, timeout=PATIENCE), Stopped)
    assert engine.client.status.phase != "gone"
    with Catalogue.open(folder) as catalogue:  # nobody holds it any more
        assert catalogue.verify().sound


def test_the_average_map_is_that_of_single_maps_and_can_be_stopped(engine, model_id, folder, tmp_path):
    (tmp_path / "broken.png").write_bytes(b"\x89PNG but no more")
    (tmp_path / "note.txt").write_text("a cat", "utf-8")
    value(engine, ask.AddSource(folder, FolderSource(str(tmp_path))))
    with Catalogue.open(folder, readonly=True) as catalogue:
        items = {item.name: item for item in catalogue.items(range(catalogue.count)) if item.path}
    scenes = [item for name, item in items.items() if name.endswith(".webp")]
    rows = np.array([items["broken.png"].row, *(item.row for item in scenes)], np.int64)
    spec = MapSpec("gradient_attention")
    request = AverageItems(folder, model_id, rows, "cat", spec, most=4)
    job = engine.client.submit(request)
    ended = engine.heard.end(job, timeout=PATIENCE)
    assert isinstance(ended, Done), ended
    found = ended.value
    assert [each.name for each in found.left_out] == ["broken.png"]
    assert (found.asked, found.total, len(found.rows)) == (len(rows), 4, 3)
    assert found.rows[-1] == rows[-1]  # spread from the first to the last
    assert all(len(part.value.maps) == 0 for part in engine.heard.of(job, PartialResult))
    registered = []
    for name in found.names:
        (opened,) = (event.value for event in _ask_all(engine, OpenMedia((items[name].path,))))
        ref = MediaRef(opened.id, opened.modality, opened.name, opened.path)
        single = value(engine, Explain(model_id, ref, value(engine, Tokenize(model_id, ref, "cat")), spec))
        registered.append(on_frame(show(single).grid, single.geometry))
    np.testing.assert_allclose(found.maps, registered, rtol=1e-4, atol=1e-7)
    np.testing.assert_allclose(found.average.mean, np.mean(registered, axis=0), rtol=1e-4, atol=1e-7)

    failed = engine.ask(AverageItems(folder, model_id, np.array([items["note.txt"].row]), "cat", spec))
    assert isinstance(failed, Failed)
    long = engine.client.submit(AverageItems(folder, model_id, rows, "cat", MapSpec("occlusion")))
    engine.heard.wait(lambda event: isinstance(event, ProgressEvent) and event.job == long, timeout=PATIENCE)
    engine.client.cancel(long)
    assert isinstance(engine.heard.end(long, timeout=PATIENCE), Stopped)


def test_watched_folders_are_followed_until_cancelled(engine, model_id, folder, tmp_path):
    (tmp_path / "one.txt").write_text("a dog", "utf-8")
    value(engine, ask.AddSource(folder, FolderSource(str(tmp_path), watch=True)))
    job = engine.client.submit(ask.WatchCollection(folder, period=0.2))
    (tmp_path / "two.txt").write_text("a cat", "utf-8")
    event = engine.heard.wait(lambda e: isinstance(e, PartialResult) and e.job == job, timeout=PATIENCE)
    assert (event.value.added, event.value.trouble) == (1, "")
    (tmp_path / "one.txt").unlink()
    event = engine.heard.wait(
        lambda e: isinstance(e, PartialResult) and e.job == job and e.value.missing, timeout=PATIENCE
    )
    assert event.value.missing == 1
    engine.settle("ready")  # following folders is no work to wait for
    engine.client.cancel(job)
    assert isinstance(engine.heard.end(job, timeout=PATIENCE), Stopped)


def test_what_is_no_collection_is_refused(engine, model_id, tmp_path):
    failed = engine.ask(ask.IndexCollection(str(tmp_path), model_id))
    assert isinstance(failed, Failed)
    assert "is not a collection" in failed.error.message


def _ask_all(engine: Engine, request: Request) -> list[PartialResult]:
    job = engine.client.submit(request)
    assert isinstance(engine.heard.end(job, timeout=PATIENCE), Done)
    return engine.heard.of(job, PartialResult)
