"""Processes that decode: every item comes back once, whatever happens to the process that holds it."""

from __future__ import annotations

import time

import numpy as np
import psutil
import pytest
from hostile import Hostile, Stillborn
from PIL import Image

from mmviewer.core.errors import EngineError
from mmviewer.core.space.indexing.decode import Decoded, Decoding, Job, Refused
from mmviewer.core.space.indexing.workers import Workers
from mmviewer.core.types import Modality

ALL = frozenset(Modality)


def texts(count: int) -> list[Job]:
    return [Job(row, f"text {row}", None, f"the words of {row}") for row in range(count)]


def test_every_job_comes_back_once_and_all_processes_end():
    with Workers(Decoding(ALL), texts(300), 2, ahead=32) as workers:
        outcomes = list(workers.results())
        started = [worker.process.pid for worker in workers._workers]
    assert sorted(outcome.row for outcome in outcomes) == list(range(300))
    assert all(isinstance(outcome, Decoded) for outcome in outcomes)
    assert len(started) == 2
    assert not any(psutil.pid_exists(pid) for pid in started)


def test_an_item_that_ends_its_process_is_refused_and_the_others_go_on():
    jobs = texts(20)
    jobs[7] = Job(7, "deadly", None, "x")
    jobs[12] = Job(12, "endless", None, "x")
    with Workers(Hostile(ALL), jobs, 1, ahead=16, patience=2.0) as workers:
        outcomes = {outcome.row: outcome for outcome in workers.results()}
    assert sorted(outcomes) == list(range(20))
    refused = {row: outcome for row, outcome in outcomes.items() if isinstance(outcome, Refused)}
    assert set(refused) == {7, 12}
    assert "ended the process" in refused[7].reason
    assert "took longer than 2 s" in refused[12].reason


def test_only_so_much_is_decoded_ahead_of_whoever_takes_it():
    asked: list[int] = []

    def jobs():
        for job in texts(200):
            asked.append(job.row)
            yield job

    with Workers(Decoding(ALL), jobs(), 1, ahead=10) as workers:
        results = workers.results()
        next(results)
        deadline = time.monotonic() + 20
        while len(asked) < 11 and time.monotonic() < deadline:
            time.sleep(0.05)
        time.sleep(0.3)  # it would go on if nothing held it
        assert len(asked) == 11
    # leaving early ends everything, decoded or not


def test_processes_that_never_begin_end_the_run_with_a_remedy():
    with Workers(Stillborn(), texts(5), 1, ahead=4) as workers, pytest.raises(EngineError, match="__main__"):
        list(workers.results())


def test_files_are_read_hashed_pictured_and_refused_with_their_reason(tmp_path):
    good, bad = tmp_path / "good.png", tmp_path / "bad.jpg"
    Image.fromarray(np.full((200, 100, 3), 7, np.uint8)).save(good)
    bad.write_bytes(b"\xff\xd8\xff\xe0 cut off")
    decode = Decoding(frozenset({Modality.TEXT}))
    found, refused = decode(Job(0, "good.png", str(good))), decode(Job(1, "bad.jpg", str(bad)))
    assert isinstance(found, Decoded)
    assert (found.kind, found.item, found.thumbnail.shape) == (Modality.IMAGE, None, (64, 32, 3))
    assert isinstance(refused, Refused)
    assert "bad.jpg" in refused.reason
    assert isinstance(decode(Job(2, "own", None)), Refused)
    assert str(tmp_path) not in refused.reason  # it may be shown to others
