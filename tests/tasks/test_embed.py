"""Embeddings: order, kinds, cache, and too little memory."""

from __future__ import annotations

from dataclasses import replace
from threading import Event

import numpy as np
import pytest
import torch

from mmviewer.core.errors import Cancelled, DeviceError, InputError, UnsupportedError
from mmviewer.core.progress import Progress
from mmviewer.core.tasks.embed import embed
from mmviewer.core.tasks.features import FeatureCache, in_batches
from mmviewer.core.types import Media, Modality

TEXT = Media("t", Modality.TEXT, "t", text="a red dog")
SOUND = Media("s", Modality.AUDIO, "s", samples=np.zeros(16_000, np.float32))


def test_images_and_texts_share_one_space_in_order(tiny_model, pictures):
    model = tiny_model("clip")
    result = embed(model, [pictures[0], TEXT, pictures[1]])
    assert result.items == ("p0", "t", "p1")
    assert result.modalities == (Modality.IMAGE, Modality.TEXT, Modality.IMAGE)
    np.testing.assert_allclose(np.linalg.norm(result.vectors, axis=1), 1, atol=1e-5)
    with torch.no_grad():
        np.testing.assert_allclose(result.vectors[1], model.text_features([TEXT.text])[0].numpy(), atol=1e-6)
        image = model.image_features([model.prepare(pictures[1])])[0]
    np.testing.assert_allclose(result.vectors[2], image.numpy(), atol=1e-6)


def test_kinds_the_model_cannot_embed_are_left_out_and_said(tiny_model, pictures):
    result = embed(tiny_model("clip"), [SOUND, pictures[0]])
    assert result.items == ("p0",)
    assert "1 of 2 items left out" in result.notes[0]
    with pytest.raises(UnsupportedError, match="cannot embed audio"):
        embed(tiny_model("clip"), [SOUND])
    with pytest.raises(InputError, match="nothing to embed"):
        embed(tiny_model("clip"), [])


def test_unchanged_item_is_never_encoded_again(tiny_model, pictures):
    model = tiny_model("coca")
    cache = FeatureCache()
    runs: list[int] = []
    handle = model.module.visual.transformer.register_forward_hook(lambda *_: runs.append(1))
    first = embed(model, pictures, cache)
    assert runs
    runs.clear()
    second = embed(model, [*pictures, pictures[0]], cache)
    handle.remove()
    assert not runs
    np.testing.assert_array_equal(second.vectors[:3], first.vectors)
    np.testing.assert_array_equal(second.vectors[3], first.vectors[0])


def test_cache_keeps_models_and_preprocessing_apart(tiny_model, pictures):
    cache = FeatureCache()
    clip, coca = tiny_model("clip"), tiny_model("coca")
    one, other = embed(clip, pictures, cache), embed(coca, pictures, cache)
    assert not np.allclose(one.vectors, other.vectors)
    assert cache.items.misses == 6
    info = clip.info
    clip.info = replace(info, preprocessing="another size")
    try:
        embed(clip, pictures, cache)
    finally:
        clip.info = info
    assert cache.items.misses == 9
    cache.forget(clip.info.id)
    assert len(cache) == 3


def test_cache_is_bounded(tiny_model, pictures):
    cache = FeatureCache(entries=2)
    embed(tiny_model("clip"), pictures, cache)
    assert len(cache) == 2


def test_cancel_between_batches(tiny_model, pictures):
    cancelled = Event()
    cancelled.set()
    with pytest.raises(Cancelled):
        embed(tiny_model("clip"), pictures, progress=Progress(cancelled=cancelled))


def test_batches_shrink_when_memory_runs_out(tiny_model):
    sizes = []

    def encode(batch):
        sizes.append(len(batch))
        if len(batch) > 3:
            raise torch.OutOfMemoryError("CUDA out of memory")
        return torch.tensor([[float(item)] for item in batch])

    found = list(in_batches(tiny_model("clip"), encode, list(range(10)), size=8))
    assert sizes == [8, 4, 2, 2, 2, 2, 2]
    assert [value for _, vectors, _ in found for value in vectors[:, 0]] == list(range(10))
    assert "encoded 2 at a time" in found[-1][2]


def test_not_even_one_fits(tiny_model):
    def encode(batch):
        raise RuntimeError("DefaultCPUAllocator: can't allocate memory")

    with pytest.raises(DeviceError, match="even one item"):
        list(in_batches(tiny_model("clip"), encode, [1, 2]))


def test_other_errors_are_not_taken_for_memory(tiny_model):
    def encode(batch):
        raise RuntimeError("shapes differ")

    with pytest.raises(RuntimeError, match="shapes differ"):
        list(in_batches(tiny_model("clip"), encode, [1, 2]))


@pytest.mark.parametrize("text", ["", "   "])
def test_empty_text_is_refused(tiny_model, text):
    with pytest.raises(InputError, match="empty"):
        embed(tiny_model("clip"), [Media("t", Modality.TEXT, "t", text=text)])
