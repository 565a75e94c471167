"""The application as a whole: seconds to a usable window beside an empty one, stalls while a model works.

``pytest tests/benchmarks --benchmark-only``; figures are in ``extra_info``.
"""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
import time
from pathlib import Path

import pytest

PROBE = Path(__file__).with_name("app_probe.py")
ROUNDS = 5


@pytest.fixture
def probe(tmp_path: Path):
    """Run one kind of probe and return what it measured."""
    environment = {**os.environ, "PYTHONPATH": str(PROBE.parents[2])}
    environment |= {f"XDG_{kind}_HOME": str(tmp_path) for kind in ("CONFIG", "CACHE", "STATE", "DATA")}

    def run(kind: str) -> dict[str, float]:
        done = subprocess.run(
            [sys.executable, str(PROBE), kind],
            env=environment | {"STARTED": repr(time.time())},
            capture_output=True,
            text=True,
            timeout=180,
            check=True,
        )
        return json.loads(done.stdout.splitlines()[-1])

    return run


def test_window_beside_an_empty_one(benchmark, probe):
    probe("window")  # the disk is warm from here on
    bare, window = [], []
    for _ in range(ROUNDS):
        bare.append(probe("bare")["seconds"])
        window.append(probe("window")["seconds"])
    benchmark.pedantic(probe, args=("window",), rounds=1)
    benchmark.extra_info.update(
        window_seconds=round(statistics.median(window), 3),
        empty_window_seconds=round(statistics.median(bare), 3),
        ratio=round(statistics.median(window) / statistics.median(bare), 2),
    )


def test_event_loop_while_a_model_loads_and_runs(benchmark, probe):
    measured = benchmark.pedantic(probe, args=("stall",), rounds=1)
    assert measured["items"] == 4, "the model did not caption the samples in time"
    benchmark.extra_info.update(longest_stall_ms=round(measured["stall_ms"], 1))
