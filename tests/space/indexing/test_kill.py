"""Indexing is killed at random moments: the catalogue is sound each time, and the next run goes on.

`MMVIEWER_KILLS=50 pytest tests/space/indexing/test_kill.py` does it fifty times.
"""

from __future__ import annotations

import os
import signal
import sys
import time
import traceback
from contextlib import nullcontext
from pathlib import Path

import numpy as np
import pytest
import torch
from material import make_files

from mmviewer.core.media.open import open_media
from mmviewer.core.models.base import FAMILIES, LoadedModel
from mmviewer.core.models.loader import load_model
from mmviewer.core.space.collection import Catalogue, FolderSource
from mmviewer.core.space.indexing import run
from mmviewer.core.tasks.embed import embed

KILLS = int(os.environ.get("MMVIEWER_KILLS", "6"))
PICTURES = int(os.environ.get("MMVIEWER_KILL_PICTURES", str(60 * KILLS)))
SOUNDS = PICTURES // 12
PATIENCE = 120.0
MODEL = os.environ.get("MMVIEWER_KILL_MODEL", "tiny")


@pytest.mark.slow
@pytest.mark.timeout(7200)
@pytest.mark.skipif(not hasattr(os, "fork"), reason="the test forks, so that a process is ready in no time")
def test_killed_at_random_moments_the_catalogue_is_sound_and_the_next_run_goes_on(tmp_path):
    model = FAMILIES.get("hearing").tiny("clip") if MODEL == "tiny" else load_model(MODEL, "cpu")
    files, folder = tmp_path / "files", tmp_path / "collection"
    make_files(files, pictures=PICTURES, tones=SOUNDS, broken=4)
    with Catalogue.open(folder, create=True) as catalogue:
        catalogue.scan(catalogue.add_source(FolderSource(str(files))).id)
    draw = np.random.default_rng(7)
    first, done = _killed_at_first_commit(folder, model)
    ended, grew = 0, 1
    for number in range(1, KILLS):
        child = _start(folder, model, workers=number % 2)
        time.sleep(float(draw.uniform(0.05, 1.0 + 5 * first)))
        os.kill(child, signal.SIGKILL)
        _, status = os.waitpid(child, 0)
        ended += not os.WIFSIGNALED(status)  # it was through before
        assert not (os.WIFEXITED(status) and os.WEXITSTATUS(status)), "the run failed by itself"
        now = _checked(folder)
        assert now >= done
        grew += now > done
        done = now
    print(
        f"\nfirst commit after {first:.1f} s; {KILLS} kills: {grew} after new commits, {ended} after the end"
    )
    with Catalogue.open(folder) as catalogue:
        report = run.index(catalogue, lambda: nullcontext(model), run.IndexOptions(workers=0))
        vectors = catalogue.vectors(report.space_id)
        assert len(vectors.rows()) == PICTURES + SOUNDS
        assert report.embedded + report.shared == PICTURES + SOUNDS - done
        assert len(list(catalogue.failures())) == 4
        for row in draw.choice(vectors.rows(), 20, replace=False):
            (item,) = catalogue.items([row])
            expected = embed(model, [open_media(item.path)]).vectors[0]
            np.testing.assert_allclose(vectors.take(np.array([row]))[0], expected, atol=1e-3)
        assert catalogue.verify().sound


def _killed_at_first_commit(folder: Path, model: LoadedModel) -> tuple[float, int]:
    """After how many seconds this machine commits first, and how many vectors are there then."""
    child, begun = _start(folder, model, workers=0), time.monotonic()
    while not _count(folder):
        assert time.monotonic() - begun < PATIENCE, "nothing was committed"
        time.sleep(0.05)
    seconds = time.monotonic() - begun
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
    return seconds, _checked(folder)


def _count(folder: Path) -> int:
    """How many vectors there are, while another process writes."""
    with Catalogue.open(folder, readonly=True) as catalogue:
        return sum(info.count for info in catalogue.spaces())


def _start(folder: Path, model: LoadedModel, workers: int) -> int:
    """Index in a process of its own, which commits as often as it can."""
    child = os.fork()
    if child:
        return child
    torch.set_num_threads(1)  # no pool of threads survives the fork: its work would wait for ever
    try:
        run._COMMIT_EVERY = 0.0
        with Catalogue.open(folder) as catalogue:
            run.index(catalogue, lambda: nullcontext(model), run.IndexOptions(workers=workers, batch=4))
    except BaseException:  # noqa: BLE001 - told by the exit code
        traceback.print_exc()
        sys.stderr.flush()
        os._exit(1)
    os._exit(0)


def _checked(folder: Path) -> int:
    """Open as the next writer does, check everything, and count what has a vector."""
    with Catalogue.open(folder) as catalogue:
        report = catalogue.verify()
        assert report.sound, report.problems
        return sum(len(catalogue.vectors(info.id).rows()) for info in catalogue.spaces())
