"""The whole application as a user has it: a real window on a real display, driven by mouse and keys."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

SHOTS = (
    "empty-dark", "drop-dark", "tokens-dark", "hover-patch-dark", "heads-dark", "labels-dark", "space-dark",
    "export-dark", "engine-lost-dark", "query-dark", "sound-dark", "window-dark", "ask-dark", "tour-dark",
    "tour-space-dark", "window-light", "labels-light", "sound-light",
)  # fmt: skip


@pytest.mark.slow
@pytest.mark.timeout(900)  # it may wait for the display
@pytest.mark.skipif(not os.environ.get("DISPLAY"), reason="needs a display: run under xvfb-run")
def test_a_users_tour(take_tour, shared_models: Path):
    shots = take_tour("drive.py", shared_models, steps=14, shots=SHOTS)
    svg = (shots / "figure.svg").read_text(encoding="utf-8")
    assert "<text" in svg
    assert (shots / "figure.pdf").read_bytes().startswith(b"%PDF")
    with Image.open(shots / "figure.png") as picture:
        assert min(picture.size) > 300
    with np.load(shots / "figure.npz", allow_pickle=False) as arrays:
        assert {"grid", "map", "tokens"} <= set(arrays.files)
