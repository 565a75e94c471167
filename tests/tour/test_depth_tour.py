"""Explaining a map in depth as a user does it: heads, regions, trust, what if, maps side by side."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest

SHOTS = (
    "depth-heads-dark", "depth-regions-dark", "depth-trust-dark", "depth-whatif-empty-dark",
    "depth-whatif-dark", "depth-compare-dark", "depth-compare-linked-dark", "depth-layers-dark",
    "depth-items-dark", "depth-opened-dark", "depth-compare-light-large", "depth-compare-light-small",
    "depth-compare-dark-small",
)  # fmt: skip


@pytest.mark.slow
@pytest.mark.timeout(900)  # it may wait for the display
@pytest.mark.skipif(not os.environ.get("DISPLAY"), reason="needs a display: run under xvfb-run")
def test_a_tour_in_depth(take_tour, shared_models: Path):
    shots = take_tour("drive_depth.py", shared_models, steps=10, shots=SHOTS)
    assert ">guitar<" in (shots / "comparison.svg").read_text(encoding="utf-8")
    with np.load(shots / "comparison.npz", allow_pickle=False) as arrays:
        assert {"rows", "columns", "ranges", "grid_0_0", "provenance"} <= set(arrays.files)
