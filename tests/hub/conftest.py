from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import keyring
import pytest
from fake_hub import REPO, Drawer, FakeHub, model
from huggingface_hub import constants

from mmviewer.core.hub import retry


@pytest.fixture
def hub() -> Iterator[FakeHub]:
    hub = FakeHub()
    hub.models[REPO] = model()
    yield hub
    hub.close()


@pytest.fixture
def drawer() -> Iterator[Drawer]:
    former = keyring.get_keyring()
    drawer = Drawer()
    keyring.set_keyring(drawer)
    yield drawer
    keyring.set_keyring(former)


@pytest.fixture
def cache_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / "hub"
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(folder))
    return folder


@pytest.fixture
def online(hub: FakeHub, cache_folder: Path, drawer: Drawer, monkeypatch: pytest.MonkeyPatch) -> FakeHub:
    """The fake hub, reached as the real one would be, with short pauses."""
    monkeypatch.setenv("MMVIEWER_ONLINE", "1")
    monkeypatch.setenv("HF_ENDPOINT", hub.address)
    monkeypatch.delenv("HF_TOKEN", raising=False)
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    monkeypatch.setattr(retry, "FIRST_WAIT", 0.02)
    return hub
