"""Shared fixtures. Nothing here reaches a network or needs a screen."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

os.environ.setdefault("HF_HUB_OFFLINE", "1")
os.environ.setdefault("QT_QPA_PLATFORM", "offscreen")

import pytest  # the environment must be set before anything imports Qt or the hub


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Files with slow tests go first, so that no worker is left with one when the other has ended.

    By name, which also keeps the tours apart: they wait for one another, since one window has the focus.
    """
    slow = {item.path for item in items if item.get_closest_marker("slow")}
    items.sort(key=lambda item: (item.path not in slow, item.path.name if item.path in slow else ""))


@pytest.fixture(autouse=True)
def network_as_before() -> Iterator[None]:
    """Take back what a test allowed: commands and the window set a variable of the process."""
    name = "MMVIEWER_ONLINE"
    before = os.environ.pop(name, None)
    yield
    os.environ.pop(name, None)
    if before is not None:
        os.environ[name] = before


@pytest.fixture(scope="session")
def shared_models() -> Path:
    """Folder of real models kept beside the checkout; skips with a reason where it is missing."""
    named = os.environ.get("MMVIEWER_SHARED")
    root = Path(named) if named else Path(__file__).resolve().parents[2] / "shared"
    folder = root / "models"
    if not folder.is_dir():
        pytest.skip("real models for tests are missing: set MMVIEWER_SHARED to the folder that holds models/")
    return folder
