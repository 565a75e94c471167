"""What the engine keeps and lets go."""

from __future__ import annotations

import gc
import weakref

import pytest

from mmviewer.core.errors import ModelError
from mmviewer.core.media.text import text_media
from mmviewer.core.models.base import FAMILIES, LoadedModel
from mmviewer.core.progress import SILENT
from mmviewer.core.types import Capability
from mmviewer.engine.lru import ByteCache
from mmviewer.engine.workspace import Workspace


def tiny(capability: Capability) -> LoadedModel:
    for family in FAMILIES:
        for variant in family.tiny_variants():
            model = family.tiny(variant)
            if model.info.can(capability):
                return model
    raise AssertionError(capability)


def test_one_model_of_each_kind_is_kept_and_the_former_is_freed():
    workspace = Workspace()
    first, speech = tiny(Capability.CAPTION), tiny(Capability.TRANSCRIBE)
    workspace.adopt(first)
    workspace.adopt(speech)
    assert len(workspace.model_labels()) == 2
    gone = weakref.ref(first)
    del first
    second = tiny(Capability.EMBED_IMAGE)
    workspace.adopt(second)
    gc.collect()
    assert gone() is None
    assert set(workspace.model_labels()) == {second.info.label, speech.info.label}
    assert workspace.is_speech(speech.info.id)
    assert not workspace.is_speech(second.info.id)


def test_a_model_to_keep_stays_beside_the_new_one_and_goes_with_the_next():
    workspace = Workspace()
    first, second = tiny(Capability.CAPTION), tiny(Capability.EMBED_IMAGE)
    assert first.info.id != second.info.id
    workspace.adopt(first)
    workspace.adopt(second, keep=(first.info.id,))
    for model in (first, second):
        with workspace.using(model.info.id, SILENT) as loaded:
            assert loaded is model
    workspace.adopt(second, keep=(first.info.id, second.info.id))  # again: it is there once
    assert len(workspace.model_labels()) == 2
    gone = weakref.ref(first)
    del first, model, loaded
    workspace.adopt(tiny(Capability.TRANSCRIBE))
    assert gone() is not None  # speech is of another kind
    workspace.adopt(second)
    gc.collect()
    assert gone() is None


def test_a_forgotten_model_is_freed_and_said_to_be_gone():
    workspace = Workspace()
    model = tiny(Capability.CAPTION)
    model_id, gone = model.info.id, weakref.ref(model)
    workspace.adopt(model)
    del model
    with workspace.using(model_id, SILENT) as loaded:
        assert loaded.info.id == model_id
    del loaded
    workspace.forget(model_id)
    workspace.forget(model_id)
    gc.collect()
    assert gone() is None
    with pytest.raises(ModelError, match="not loaded any more"), workspace.using(model_id, SILENT):
        pass


def test_free_caches_keeps_models():
    workspace = Workspace()
    workspace.adopt(tiny(Capability.CAPTION))
    workspace.remember(text_media("a cat"))
    workspace.free_caches()
    assert len(workspace.model_labels()) == 1
    assert len(workspace._media) == 0


def test_the_byte_cache_forgets_what_was_not_used_for_longest():
    cache: ByteCache[bytes] = ByteCache(10, len)
    for key in "abc":
        cache.put(key, b"1234")
    assert [cache.get(key) is not None for key in "abc"] == [False, True, True]
    cache.get("b")
    cache.put("d", b"1234")
    assert [cache.get(key) is not None for key in "bcd"] == [True, False, True]
    cache.put("large", b"1" * 50)
    assert len(cache) == 1
    cache.put("large", b"1")
    cache.put("small", b"1")
    assert len(cache) == 2
    cache.drop(lambda key: key == "large")
    assert cache.get("small") == b"1"
    cache.drop()
    assert len(cache) == 0
