"""``mmviewer models search | download | remove | verify | where`` against the hub on loopback."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parents[1] / "hub"))

from fake_hub import REPO, Drawer, FakeHub, model
from huggingface_hub import constants


@pytest.fixture
def hub(tmp_path, monkeypatch):
    import keyring

    hub = FakeHub()
    hub.models[REPO] = model(0.2)
    former = keyring.get_keyring()
    keyring.set_keyring(Drawer())
    monkeypatch.setenv("HF_ENDPOINT", hub.address)
    monkeypatch.delenv("HF_TOKEN", raising=False)
    monkeypatch.setenv("MMVIEWER_ONLINE", "1")
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "hub"))
    yield hub
    keyring.set_keyring(former)
    hub.close()


def test_plan_download_verify_remove(run, hub, tmp_path):
    planned = run("models", "download", REPO, "--plan", "--json").json
    assert planned["path"] is None
    assert planned["missing_bytes"] == planned["total_bytes"] > 200_000
    got = run("models", "download", REPO)
    assert got.code == 0
    assert Path(got.out.splitlines()[-1]).joinpath("model.safetensors").is_file()
    where = run("models", "where", "--json").json
    assert where["folder"] == str(tmp_path / "hub")
    assert [(each["repo"], each["trouble"]) for each in where["models"]] == [(REPO, "")]
    assert run("models", "verify").out.strip() == f"{REPO}: whole"
    next((tmp_path / "hub").rglob("model.safetensors")).resolve().write_bytes(b"broken")
    broken = run("models", "verify", REPO)
    assert broken.code == 1
    assert "model.safetensors" in broken.out
    assert run("models", "remove", REPO).out.startswith(f"Deleted {REPO}")
    assert run("models", "where", "--json").json["models"] == []


def test_failures_are_one_line(run, hub):
    assert "no model no/thing" in run("models", "download", "no/thing").complaint
    assert "no id of the hub" in run("models", "download", "../x").complaint
    assert "nothing to delete" in run("models", "remove", "no/thing").complaint
    assert "no models" in run("models", "verify").complaint


def test_search_lists_what_can_be_loaded(run):
    found = run("models", "search", "whisper", "--json").json
    assert {entry["kind"] for entry in found} == {"whisper"}
    assert run("models", "search", "--can", "zero-shot", "--fits", "--dtype", "float32").code == 0
    assert "No model of the catalogue" in run("models", "search", "nothing-like-this").out
