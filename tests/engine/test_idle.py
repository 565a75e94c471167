"""A model that nobody uses gives its memory back and comes back when it is wanted."""

from __future__ import annotations

import gc
import weakref

import pytest

from mmviewer.core.errors import ModelError
from mmviewer.core.models.base import FAMILIES
from mmviewer.core.progress import Progress
from mmviewer.engine import idle
from mmviewer.engine.workspace import Workspace

SILENT = Progress()


def tiny():
    return FAMILIES.get("openclip").tiny("clip")


def test_it_rests_and_comes_back() -> None:
    workspace, loads = Workspace(), []

    def again(progress: Progress):
        loads.append(1)
        return tiny()

    model = tiny()
    gone = weakref.ref(model.module)
    key, source = model.info.id, model.info.source
    workspace.adopt(model, again)
    del model
    workspace.rest_idle(3600)
    assert workspace.model_labels()
    workspace.rest_idle(0)
    gc.collect()
    assert gone() is None
    assert workspace.model_labels() == ()
    assert workspace.sources() == (source,)
    with workspace.using(key, SILENT) as back:
        assert back.info.id == key
        workspace.rest_idle(0)  # not while it is used
        assert workspace.model_labels()
    with workspace.using(key, SILENT):
        pass
    assert loads == [1]


def test_what_cannot_be_loaded_again_stays() -> None:
    workspace = Workspace()
    workspace.adopt(tiny())
    workspace.rest_idle(0)
    assert workspace.model_labels()


def test_a_resting_model_is_forgotten_and_replaced_like_any_other() -> None:
    workspace = Workspace()
    model = tiny()
    workspace.adopt(model, lambda progress: tiny())
    workspace.rest_idle(0)
    workspace.forget(model.info.id)
    with pytest.raises(ModelError, match="not loaded any more"), workspace.using(model.info.id, SILENT):
        pass
    workspace.adopt(model, lambda progress: tiny())
    workspace.rest_idle(0)
    other = FAMILIES.get("openclip").tiny("coca")
    workspace.adopt(other)
    assert workspace.sources() == (other.info.source,)


def test_changed_files_are_told() -> None:
    workspace = Workspace()
    model = tiny()
    workspace.adopt(model, lambda progress: FAMILIES.get("openclip").tiny("coca"))
    workspace.rest_idle(0)
    with pytest.raises(ModelError, match="have changed"), workspace.using(model.info.id, SILENT):
        pass


def test_the_patience_can_be_set(monkeypatch: pytest.MonkeyPatch) -> None:
    for value, seconds in (("2", 120.0), ("0", float("inf")), ("soon", 1800.0)):
        monkeypatch.setenv(idle.VARIABLE, value)
        assert idle.idle_seconds() == seconds
