"""The whole application as a user has it: a real window on a real display, driven by mouse and keys."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

DRIVER = Path(__file__).with_name("drive.py")
ROOT = DRIVER.parents[2]
SHOTS = (
    "empty-dark", "drop-dark", "tokens-dark", "hover-patch-dark", "heads-dark", "labels-dark", "space-dark",
    "export-dark", "engine-lost-dark", "query-dark", "sound-dark", "window-dark", "window-light",
    "labels-light", "sound-light",
)  # fmt: skip


@pytest.mark.slow
@pytest.mark.skipif(not os.environ.get("DISPLAY"), reason="needs a display: run under xvfb-run")
def test_a_users_tour(shared_models: Path, tmp_path: Path):
    home = tmp_path / "home"
    home.mkdir()
    environment = {
        **os.environ,
        "QT_QPA_PLATFORM": "xcb",
        "HOME": str(home),
        "PYTHONPATH": str(ROOT),
        "PYTHONFAULTHANDLER": "1",
    }
    environment |= {
        f"XDG_{kind}_HOME": str(home / kind.lower()) for kind in ("CONFIG", "CACHE", "STATE", "DATA")
    }
    shots = Path(os.environ.get("MMVIEWER_SCREENSHOTS") or tmp_path)
    done = subprocess.run(
        [sys.executable, str(DRIVER), str(shared_models), str(shots)],
        env=environment,
        capture_output=True,
        text=True,
        timeout=280,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.count("done: ") == 12
    for name in SHOTS:
        with Image.open(shots / f"{name}.png") as picture:
            assert np.asarray(picture.convert("L")).std() > 5, f"{name} shows nothing"
    svg = (shots / "figure.svg").read_text(encoding="utf-8")
    assert "<text" in svg
    assert (shots / "figure.pdf").read_bytes().startswith(b"%PDF")
    with Image.open(shots / "figure.png") as picture:
        assert min(picture.size) > 300
    with np.load(shots / "figure.npz", allow_pickle=False) as arrays:
        assert {"grid", "map", "tokens"} <= set(arrays.files)
