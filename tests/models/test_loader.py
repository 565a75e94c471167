"""Finding models by name and on the disk."""

from __future__ import annotations

from pathlib import Path

import pytest

from mmviewer import paths
from mmviewer.core.errors import ModelError
from mmviewer.core.models import files, hub, loader
from mmviewer.core.models.builtin import BUILT_IN


@pytest.fixture
def user_models(tmp_path, monkeypatch) -> Path:
    monkeypatch.setattr(paths, "models_dir", lambda: tmp_path)
    monkeypatch.setattr(hub, "cached_folders", lambda: iter(()))
    return tmp_path


def test_models_of_the_user_are_listed_with_family_and_size(user_models, monkeypatch):
    monkeypatch.setattr(paths, "shipped_models", lambda: user_models / "none")
    for name, config, text in (
        ("mine", "open_clip_config.json", "{}"),
        ("speech", "config.json", '{"model_type": "whisper"}'),
        ("other", "config.json", '{"model_type": "bert"}'),
        ("broken", "config.json", "{"),
    ):
        (user_models / name).mkdir()
        (user_models / name / config).write_text(text)
    (user_models / "a file").write_text("")
    listed = loader.list_models()
    assert [(model.label, model.family) for model in listed] == [("mine", "OpenCLIP"), ("speech", "Whisper")]
    assert listed[1].size_bytes == len('{"model_type": "whisper"}')
    assert Path(listed[0].source) == user_models / "mine"


def test_models_in_the_hubs_cache_are_listed_by_their_id(user_models, monkeypatch):
    monkeypatch.setattr(paths, "shipped_models", lambda: user_models / "none")
    snapshots = user_models.parent / "cache" / "snapshots"
    cached = []
    for repo, config, text in (
        ("org/clip", "open_clip_config.json", "{}"),
        ("openai/whisper-tiny", "config.json", '{"model_type": "whisper"}'),
        ("org/speech", "config.json", '{"model_type": "whisper"}'),
        ("org/unknown", "config.json", "{}"),
    ):
        folder = snapshots / repo
        folder.mkdir(parents=True)
        (folder / config).write_text(text)
        cached.append((repo, folder))
    monkeypatch.setattr(hub, "cached_folders", lambda: iter(cached))
    sources = [model.source for model in loader.list_models()]
    assert sources == ["hf-hub:org/clip", "openai/whisper-tiny", str(snapshots / "org/speech")]


def test_a_missing_starter_is_said_and_nothing_else_is_loaded(tmp_path, monkeypatch):
    monkeypatch.setattr(paths, "shipped_models", lambda: tmp_path)
    with pytest.raises(ModelError, match=r"Starter CoCa is missing from .*starter-coca; install"):
        loader.load_model("starter", device="cpu")
    with pytest.raises(ModelError, match=r"Starter for photographs is missing from .*starter-photo; install"):
        loader.load_model("starter-photo", device="cpu")


def test_models_that_ship_are_listed_first_by_their_names(user_models):
    shipped = [model for model in BUILT_IN.values() if model.folder.is_dir()]
    listed = loader.list_models()
    assert [(entry.source, entry.label) for entry in listed] == [
        (model.name, model.label) for model in shipped
    ]


def test_the_shipped_starter_loads():
    if not paths.starter_model().is_dir():
        pytest.skip("the starter model is not in this checkout")
    model = loader.load_model(device="cpu")
    assert model.info.label == "Starter CoCa"
    assert model.info.source == "starter"
    assert len(model.info.labels) > 200


def test_a_folder_of_another_kind_says_what_is_known(tmp_path):
    with pytest.raises(
        ModelError, match=r"holds no model of a kind that mmviewer knows \(.*OpenCLIP.*Whisper"
    ):
        loader.load_model(str(tmp_path), device="cpu")


def test_no_network_unless_allowed(monkeypatch):
    from huggingface_hub import constants

    monkeypatch.delenv(hub.ONLINE_VARIABLE, raising=False)
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    hub.prepare()
    assert constants.HF_HUB_OFFLINE
    monkeypatch.setenv(hub.ONLINE_VARIABLE, "1")
    hub.prepare()
    assert not constants.HF_HUB_OFFLINE
    monkeypatch.delenv(hub.ONLINE_VARIABLE)
    hub.prepare()


def test_the_commit_of_a_cached_file_is_its_revision():
    path = Path("/cache/hub/models--a--b/snapshots/0123abc/open_clip_config.json")
    assert hub.revision_of(path) == "0123abc"
    assert hub.revision_of(Path("/home/me/model/config.json")) == ""


def test_a_hash_is_computed_again_when_the_file_changed(tmp_path):
    path = tmp_path / "weights"
    path.write_bytes(b"abc")
    assert files.sha256(path).startswith("ba7816bf")
    path.write_bytes(b"abcd")
    assert files.sha256(path).startswith("88d4266f")


@pytest.mark.parametrize("name", ["../x", "/etc/passwd", "a/../../x", "..\\x", "C:x", 3, None])
def test_names_that_lead_outside_are_refused(tmp_path, name):
    with pytest.raises(ModelError, match="outside of the folder"):
        files.inside(tmp_path, name)


def test_names_inside_are_taken(tmp_path):
    assert files.inside(tmp_path, "sub/bpe.txt.gz") == tmp_path / "sub" / "bpe.txt.gz"
