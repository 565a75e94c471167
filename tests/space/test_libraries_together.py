"""Four libraries with thread pools of their own in one process, each from threads of the engine, at once."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

PROGRAM = """
import threading
import numpy as np, torch
from sklearn.neighbors import NearestNeighbors
from mmviewer.core.progress import Progress
from mmviewer.core.space.projection.base import PROJECTIONS
from mmviewer.core.space.search.approximate import Approximate
from mmviewer.core.space.unit_rows import UnitRows

vectors = np.random.default_rng(0).normal(size=(4000, 32)).astype(np.float32)
failed = []

def run(work):
    try:
        work()
    except BaseException as error:
        failed.append(repr(error))

def with_torch():
    for _ in range(50):
        torch.randn(256, 256) @ torch.randn(256, 256)

def with_faiss():
    index = Approximate.build(UnitRows(vectors))
    for start in range(0, 1000, 50):
        index.search(vectors[start : start + 50], 10)

def with_sklearn():
    NearestNeighbors(n_neighbors=5, algorithm="brute").fit(vectors).kneighbors(vectors[:500])

def with_numba():
    PROJECTIONS.get("pacmap").place(vectors[:300], Progress(), 0)

works = (with_torch, with_faiss, with_sklearn, with_numba) * 2
threads = [threading.Thread(target=run, args=(work,)) for work in works]
for thread in threads:
    thread.start()
for thread in threads:
    thread.join()
print(failed or "well")
"""


@pytest.mark.slow
def test_torch_faiss_scikit_learn_and_numba_live_in_one_process():
    free = {name: value for name, value in os.environ.items() if not name.endswith("NUM_THREADS")}
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM], capture_output=True, text=True, timeout=280, check=False, env=free
    )
    assert done.returncode == 0, done.stderr[-2000:]
    assert done.stdout.strip().endswith("well")
