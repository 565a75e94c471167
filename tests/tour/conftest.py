"""Tours run in a process of their own, because the window needs a display while other tests run without."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pytest
from filelock import FileLock
from PIL import Image

HERE = Path(__file__).parent
PATIENCE = 400


@pytest.fixture
def take_tour(tmp_path: Path, tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Path]:
    """Run a driver with user folders of its own and look for its screenshots; returns their folder."""

    def take(driver: str, models: Path, *, steps: int, shots: Sequence[str]) -> Path:
        home = tmp_path / "home"
        home.mkdir()
        environment = {
            **os.environ,
            "QT_QPA_PLATFORM": "xcb",
            "HOME": str(home),
            "PYTHONPATH": str(HERE.parents[1]),
            "PYTHONFAULTHANDLER": "1",
        }
        environment |= {
            f"XDG_{kind}_HOME": str(home / kind.lower()) for kind in ("CONFIG", "CACHE", "STATE", "DATA")
        }
        folder = Path(os.environ.get("MMVIEWER_SCREENSHOTS") or tmp_path)
        with FileLock(tmp_path_factory.getbasetemp().parent / "display.lock"):  # one window has the focus
            done = subprocess.run(
                [sys.executable, str(HERE / driver), str(models), str(folder)],
                env=environment,
                capture_output=True,
                text=True,
                timeout=PATIENCE,
                check=False,
            )
        assert done.returncode == 0, done.stdout + done.stderr
        assert done.stdout.count("done: ") == steps
        for name in shots:
            with Image.open(folder / f"{name}.png") as picture:
                assert np.asarray(picture.convert("L")).std() > 5, f"{name} shows nothing"
        return folder

    return take
