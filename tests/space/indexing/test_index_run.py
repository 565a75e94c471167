"""Indexing runs with a tiny model of images, texts and sounds: what comes in, and what does not."""

from __future__ import annotations

from contextlib import contextmanager, nullcontext
from pathlib import Path
from threading import Event, Thread

import numpy as np
import pytest
import torch
from material import make_files

from mmviewer.core.errors import Cancelled, CollectionError
from mmviewer.core.media.open import open_media
from mmviewer.core.models.base import FAMILIES, LoadedModel
from mmviewer.core.progress import Progress
from mmviewer.core.space.collection import Catalogue, FolderSource, Status
from mmviewer.core.space.collection.thumbnails import Thumbnails
from mmviewer.core.space.indexing import encode, run
from mmviewer.core.space.indexing.pace import IndexProgress, Pause
from mmviewer.core.space.indexing.run import IndexOptions, index
from mmviewer.core.tasks.embed import embed
from mmviewer.core.types import Modality

HERE = IndexOptions(workers=0)


@pytest.fixture(scope="module")
def model() -> LoadedModel:
    return FAMILIES.get("hearing").tiny("clip")


@pytest.fixture(scope="module")
def files(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("files")
    make_files(folder, pictures=14, tones=3, broken=4)
    (folder / "words.txt").write_text("a cat", "utf-8")
    (folder / "long.txt").write_text("cat dog " * 500, "utf-8")
    first = next((folder / "scenes").rglob("*.jpg"))
    (folder / "scenes" / "copy of it.jpg").write_bytes(first.read_bytes())
    return folder


@contextmanager
def collection(folder: Path, files: Path):
    with Catalogue.open(folder, create=True) as catalogue:
        source = catalogue.add_source(FolderSource(str(files)))
        catalogue.scan(source.id)
        yield catalogue


def lend(model):
    return lambda: nullcontext(model)


@pytest.mark.parametrize("workers", [0, 1])
def test_vectors_are_those_of_the_plain_task_and_the_rest_is_told(tmp_path, files, model, workers):
    with collection(tmp_path / "c", files) as catalogue:
        report = index(catalogue, lend(model), IndexOptions(workers=workers))
        assert (report.total, report.embedded, report.shared) == (24, 18, 1)
        assert (report.failed, report.left_out) == (4, 1)
        assert "this model takes" in report.notes[0]  # the long text, which other models may read
        vectors = catalogue.vectors(report.space_id)
        assert len(vectors.rows()) == 19
        for item in catalogue.items(vectors.rows()):
            media = open_media(item.path)
            expected = embed(model, [media]).vectors[0]
            assert item.content_hash == media.id
            assert (item.kind, item.status) == (media.modality, Status.READY)
            np.testing.assert_allclose(vectors.take(np.array([item.row]))[0], expected, atol=1e-3)
        failed = list(catalogue.failures())
        assert [Path(item.path).parent.name for item in failed] == ["00"] * 4
        assert all(item.reason.startswith(item.name) for item in failed)
        table = catalogue.table()
        with Thumbnails(catalogue.folder, readonly=True) as pictures:
            seen = [picture is not None for picture in pictures.get(range(len(table)))]
        kinds = table.kinds != 2  # texts have no picture
        assert seen == (kinds & (table.status == Status.READY)).tolist()


def test_a_second_run_embeds_only_what_is_new_and_another_model_wipes_nothing(tmp_path, files, model):
    with collection(tmp_path / "c", files) as catalogue:
        first = index(catalogue, lend(model), HERE)
        again = index(catalogue, lend(model), HERE)
        assert (again.embedded, again.shared, again.failed) == (0, 0, 0)
        other = FAMILIES.get("openclip").tiny("clip")
        second = index(catalogue, lend(other), HERE)
        assert second.space_id != first.space_id
        assert second.embedded == 15  # it does not hear
        assert len(catalogue.vectors(first.space_id).rows()) == 19
        retried = index(catalogue, lend(model), IndexOptions(workers=0, retry=True))
        assert retried.failed == 4


def test_a_cancel_keeps_what_is_done_and_the_next_run_goes_on(tmp_path, files, model, monkeypatch):
    stop = Event()

    def watch(state: IndexProgress) -> None:
        if state.embedded >= 4:
            stop.set()

    monkeypatch.setattr(run, "_TELL_EVERY", 0.0)
    with collection(tmp_path / "c", files) as catalogue:
        options = IndexOptions(workers=0, batch=2)
        with pytest.raises(Cancelled):
            index(catalogue, lend(model), options, watch=watch, progress=Progress(cancelled=stop))
        done = len(catalogue.vectors(catalogue.spaces()[0].id).rows())
        assert 4 <= done < 18
        rest = index(catalogue, lend(model), options)
        assert rest.embedded + rest.shared == 19 - done


def test_a_held_run_commits_what_it_has_and_goes_on_when_let(tmp_path, files, model):
    pause, held = Pause(), Event()
    pause.hold(True)
    states: list[IndexProgress] = []

    def watch(state: IndexProgress) -> None:
        states.append(state)
        if state.paused:
            held.set()

    def let_go() -> None:
        held.wait(60)
        pause.hold(False)

    helper = Thread(target=let_go)
    helper.start()
    with collection(tmp_path / "c", files) as catalogue:
        report = index(catalogue, lend(model), HERE, pause=pause, watch=watch)
    helper.join()
    assert any(state.paused for state in states)
    assert "paused" in next(state for state in states if state.paused).words
    assert report.embedded == 18
    assert states[-1].done == states[-1].total == 24


def test_smaller_batches_when_memory_runs_out_are_said(tmp_path, files, model, monkeypatch):
    sizes: list[int] = []
    plain = model.image_features

    def cramped(batch):
        sizes.append(len(batch))
        if len(batch) > 3:
            raise torch.OutOfMemoryError("CUDA out of memory")
        return plain(batch)

    monkeypatch.setattr(model, "image_features", cramped, raising=False)
    with collection(tmp_path / "c", files) as catalogue:
        report = index(catalogue, lend(model), HERE)
    assert report.embedded == 18
    assert max(sizes) > 3
    assert report.batch <= 3
    assert any("memory ran out" in note for note in report.notes)


def test_batches_shrink_to_the_time_they_take_and_grow_again():
    size = encode.BatchSize(torch.device("cpu"))
    assert size.size == encode.CPU_BATCH
    for seconds, expected in ((3.0, 4), (1.5, 2), (0.8, 2), (0.1, 4), (0.1, 8), (0.1, 8)):
        size.end(size.size, seconds)
        assert size.size == expected
    size.shrink(3)
    size.end(3, 0.1)
    assert size.size == 3  # memory ran out once
    chosen = encode.BatchSize(torch.device("cpu"), 64)
    chosen.end(64, 10.0)
    assert chosen.size == 64


def test_vectors_that_are_no_numbers_are_left_out(tmp_path, files, model, monkeypatch):
    plain = model.image_features

    def broken(batch):
        vectors = plain(batch)
        vectors[0] = float("nan")
        return vectors

    monkeypatch.setattr(model, "image_features", broken, raising=False)
    with collection(tmp_path / "c", files) as catalogue:
        report = index(catalogue, lend(model), IndexOptions(workers=0, batch=4))
        assert report.left_out > 1
        assert np.isfinite(catalogue.vectors(report.space_id).matrix).all()
    assert any("no vector" in note for note in report.notes)


def test_a_disk_that_fills_ends_the_run_and_what_was_committed_stays(tmp_path, files, model, monkeypatch):
    with collection(tmp_path / "c", files) as catalogue:
        monkeypatch.setattr(run, "_COMMIT_EVERY", 0.0)
        commits = 0
        begin = catalogue.begin_batch

        def full():
            nonlocal commits
            commits += 1
            if commits > 2:
                raise CollectionError("The disk is full; make room.")
            return begin()

        monkeypatch.setattr(catalogue, "begin_batch", full)
        with pytest.raises(CollectionError, match="full"):
            index(catalogue, lend(model), IndexOptions(workers=0, batch=2))
        monkeypatch.undo()
        done = len(catalogue.vectors(catalogue.spaces()[0].id).rows())
        assert 0 < done < 19
        assert catalogue.verify().sound
        index(catalogue, lend(model), HERE)
        assert len(catalogue.vectors(catalogue.spaces()[0].id).rows()) == 19


def test_kinds_that_a_model_does_not_take_are_read_once_and_then_left_alone(tmp_path, files):
    deaf = FAMILIES.get("openclip").tiny("clip")
    with collection(tmp_path / "c", files) as catalogue:
        first = index(catalogue, lend(deaf), HERE)
        assert first.left_out == 4  # three sounds and the long text
        again = index(catalogue, lend(deaf), HERE)
        assert again.total == 1  # the long text
        sounds = [item for item in catalogue.items(range(catalogue.count)) if item.kind is Modality.AUDIO]
        assert sum(item.content_hash is not None for item in sounds) == 3
