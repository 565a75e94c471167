"""Speed of indexing as a ratio within one run: ``pytest tests/benchmarks --benchmark-only``.

By the CPU time of the process that runs the model, as in `test_core_speed`: decoding and preprocessing happen
on a process of their own, so what is left beside the bare forward is what the pipeline itself takes.
"""

from __future__ import annotations

import shutil
import sys
import time
from contextlib import nullcontext
from pathlib import Path

import pytest
import torch

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "space" / "indexing"))
from material import make_files

from mmviewer.core.media.open import open_media
from mmviewer.core.models.loader import load_model
from mmviewer.core.space.collection import Catalogue, FolderSource
from mmviewer.core.space.indexing.encode import CPU_BATCH
from mmviewer.core.space.indexing.run import IndexOptions, index

PICTURES = 48
ROUNDS = 3
WANTED = 0.9


@pytest.mark.timeout(1800)
def test_indexing_against_a_bare_forward_on_decoded_batches(benchmark, tmp_path):
    model = load_model("starter", "cpu")
    files = tmp_path / "files"
    make_files(files, pictures=PICTURES)
    media = [open_media(path) for path in sorted(files.rglob("*.jpg"))]
    reports = []

    def bare() -> None:
        prepared = [model.prepare(item) for item in media]
        start = time.process_time()
        with torch.no_grad():
            for first in range(0, PICTURES, CPU_BATCH):
                model.image_features(prepared[first : first + CPU_BATCH]).cpu().numpy()
        times["bare"].append(time.process_time() - start)

    def indexed() -> None:
        folder = tmp_path / "collection"
        with Catalogue.open(folder, create=True) as catalogue:
            catalogue.scan(catalogue.add_source(FolderSource(str(files))).id)
            start = time.process_time()
            reports.append(index(catalogue, lambda: nullcontext(model), IndexOptions(workers=1)))
            times["indexed"].append(time.process_time() - start)
        shutil.rmtree(folder)

    times: dict[str, list[float]] = {"bare": [], "indexed": []}
    for turn in range(ROUNDS):
        for work in (bare, indexed) if turn % 2 else (indexed, bare):
            work()
    ratio = min(times["bare"]) / min(times["indexed"])
    last = reports[-1]
    waited, encoded = last.waited / last.seconds, last.encoding / last.seconds
    benchmark.extra_info.update({"ratio": round(ratio, 3), "limit": WANTED, "waited": round(waited, 3)})
    print(f"\n| bare forward / indexing, starter | {ratio:.3f} | >= {WANTED} |")
    print(f"| of the time by the clock: the model worked {encoded:.0%}, waited for decoding {waited:.0%} |")
    benchmark.pedantic(bare, rounds=1)
    assert all(report.embedded == PICTURES for report in reports)
    assert ratio >= WANTED
