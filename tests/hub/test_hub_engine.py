"""The engine's answers about the hub, and that what a window asks stays light."""

from __future__ import annotations

import pickle
import subprocess
import sys
from pathlib import Path

import pytest
from fake_hub import REPO, Drawer, FakeHub

from mmviewer.core.errors import InputError, ModelError
from mmviewer.core.hub import token
from mmviewer.core.progress import Progress
from mmviewer.engine import handlers_hub
from mmviewer.engine import protocol_hub as ask
from mmviewer.engine.routes import ROUTES, Call
from mmviewer.engine.workspace import Workspace


def call() -> Call:
    return Call(Workspace(), Progress(), lambda value: None)


def test_plan_then_download_then_delete(online: FakeHub) -> None:
    planned = handlers_hub.plan(ask.PlanDownload(REPO), call())
    assert (planned.missing, planned.loadable, planned.fits) == (planned.total, True, True)
    folder = handlers_hub.fetch(ask.DownloadModel(REPO), call())
    assert (Path(folder) / "model.safetensors").is_file()
    state = handlers_hub.look(ask.LookAtHub(), call())
    assert [(each.repo, each.trouble) for each in state.models] == [(REPO, "")]
    assert {"openclip", "whisper", "clip"} <= set(state.kinds)
    assert state.room > 0
    assert state.online
    assert handlers_hub.verify(ask.VerifyModel(REPO), call()) == ()
    assert handlers_hub.remove(ask.RemoveModel(REPO), call()) > 2**20


def test_a_kind_that_cannot_be_loaded_is_told_before_the_download(
    online: FakeHub, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(handlers_hub, "known_kinds", lambda: frozenset({"whisper"}))
    planned = handlers_hub.plan(ask.PlanDownload(REPO), call())
    assert not planned.loadable
    assert "no models of the kind “clip”" in planned.notes[-1]


def test_a_loaded_model_is_not_deleted(online: FakeHub) -> None:
    handlers_hub.fetch(ask.DownloadModel(REPO), call())
    busy = call()
    busy.workspace.sources = lambda: (f"hf-hub:{REPO}", "starter")  # type: ignore[method-assign]
    with pytest.raises(ModelError, match="is loaded; unload it"):
        handlers_hub.remove(ask.RemoveModel(REPO), busy)


def test_the_token_is_kept_in_the_keyring_and_told_to_nobody(online: FakeHub, drawer: Drawer) -> None:
    request = ask.KeepToken(" hf_secret ")
    assert "hf_secret" not in repr(request)
    handlers_hub.keep_token(request, call())
    assert drawer.kept == {("mmviewer hub", "127.0.0.1"): "hf_secret"}
    assert handlers_hub.look(ask.LookAtHub(), call()).has_token
    handlers_hub.keep_token(ask.KeepToken(""), call())
    assert token.get() is None
    with pytest.raises(InputError, match="no token"):
        handlers_hub.keep_token(ask.KeepToken("two words"), call())


def test_without_a_keyring_the_other_ways_are_named(online: FakeHub, monkeypatch: pytest.MonkeyPatch) -> None:
    import keyring
    from keyring.backends import fail

    keyring.set_keyring(fail.Keyring())
    with pytest.raises(InputError, match="HF_TOKEN"):
        token.keep("hf_secret")
    monkeypatch.setenv("HF_TOKEN", "hf_other")
    assert token.get() == "hf_other"


def test_every_request_has_a_route_and_travels() -> None:
    requests = [value for value in vars(ask).values() if isinstance(value, type) and value in ROUTES]
    assert len(requests) == 9
    assert all(callable(ROUTES[request].handler()) for request in requests)
    assert pickle.loads(pickle.dumps(ask.KeepToken("x"))).token == "x"


def test_what_the_window_imports_is_light() -> None:
    code = (
        "import sys, mmviewer.engine.protocol_hub, mmviewer.core.hub.catalogue as c; c.entries();"
        "heavy = {'huggingface_hub', 'httpx2', 'torch', 'keyring'} & set(sys.modules);"
        "sys.exit(str(heavy) if heavy else 0)"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
