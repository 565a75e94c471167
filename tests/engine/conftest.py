"""Engines for tests, ended and checked for what they leave behind."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest
from engine_harness import Engine

from mmviewer import paths


@pytest.fixture
def log_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / "log"
    folder.mkdir()
    monkeypatch.setattr(paths, "log_dir", lambda: folder)
    return folder


@pytest.fixture
def engine(log_folder: Path) -> Iterator[Callable[..., Engine]]:
    """Start engines; at the end none may leave a child process behind."""
    started: list[Engine] = []
    before = psutil.Process().children()

    def start(**options: Any) -> Engine:
        started.append(Engine(**options))
        return started[-1]

    yield start
    for each in started:
        each.client.close()
    born = [child for child in psutil.Process().children() if child not in before]
    left = [child for child in born if "resource_tracker" not in " ".join(child.cmdline())]
    assert not left
