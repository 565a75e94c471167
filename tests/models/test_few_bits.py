"""Weights in 8 and 4 bits: what is kept so, what it changes, and what is said where it cannot be."""

from __future__ import annotations

import importlib.util

import numpy as np
import pytest
import torch

from mmviewer.core.capture.collector import capture
from mmviewer.core.errors import DeviceError
from mmviewer.core.explain.base import explain
from mmviewer.core.models import device, preflight
from mmviewer.core.models.base import FAMILIES, LoadedModel
from mmviewer.core.models.device import choose_placement
from mmviewer.core.models.loader import load_model
from mmviewer.core.models.vlm.family import VlmFamily
from mmviewer.core.tasks.generate import generate
from mmviewer.core.types import MapSpec, Media, Modality, PointRole, Sampling

FAMILIES_OF_BITS = [
    (family.key, family.tiny_variants()[0]) for family in FAMILIES if isinstance(family, VlmFamily)
]
PACKED = {8: "Linear8bitLt", 4: "Linear4bit"}


def picture() -> Media:
    pixels = np.random.default_rng(0).integers(0, 256, (60, 90, 3), dtype=np.uint8)
    return Media("picture", Modality.IMAGE, "picture", pixels=pixels)


def saved(key: str, variant: str, folder) -> LoadedModel:
    """Save the parts of a tiny model as the hub has them, and return the model."""
    family = FAMILIES.get(key)
    parts = family.tiny_parts(variant)
    for part in (parts.module, parts.tokenizer, parts.images):
        part.save_pretrained(folder)
    if parts.template:
        (folder / "chat_template.jinja").write_text(parts.template, "utf-8")
    return load_model(str(folder), "cpu", "float32")


def packed(model: LoadedModel, bits: int) -> list[str]:
    return [name for name, each in model.module.named_modules() if type(each).__name__ == PACKED[bits]]


@pytest.mark.parametrize(("key", "variant"), FAMILIES_OF_BITS, ids=lambda each: each or "-")
def test_every_large_family_writes_in_8_bits_nearly_what_it_writes_in_32(key, variant, tmp_path):
    whole = saved(key, variant, tmp_path)
    model = load_model(str(tmp_path), "cpu", "int8")
    assert model.info.dtype == "int8"
    assert model.info.memory_bytes < whole.info.memory_bytes
    names = packed(model, 8)
    assert names
    assert not any("vision" in name or "visual" in name or "lm_head" in name for name in names)
    prepared = model.prepare(picture())
    ids = model.decoder(prepared).prompt
    with torch.no_grad():
        ours = model.sequence_logits(prepared, ids)[-1]
        exact = whole.sequence_logits(whole.prepare(picture()), ids)[-1]
    spread = (exact - exact.mean()).norm()
    assert float((ours - exact).norm() / spread) < 0.2
    reading = model.point(PointRole.CROSS) or model.point(PointRole.JOINT)
    with capture(model, {reading.name: None}) as captured:
        model.sequence_logits(prepared, ids)
    for weights in captured[reading.name]:
        torch.testing.assert_close(weights.sum(-1), torch.ones(weights.shape[:3]), atol=1e-3, rtol=0)
    text = generate(model, prepared, Sampling(max_tokens=2))
    maps = explain(model, prepared, text, MapSpec("gradient_attention"))
    assert np.isfinite(maps.values).all()


def test_4_bits_take_less_room_than_8(tmp_path):
    saved("llava", "", tmp_path)
    eight, four = (load_model(str(tmp_path), "cpu", name) for name in ("int8", "int4"))
    assert packed(four, 4)
    assert four.info.memory_bytes < eight.info.memory_bytes
    prepared = four.prepare(picture())
    text = generate(four, prepared, Sampling(max_tokens=2))
    assert text.tokens
    maps = explain(four, prepared, text, MapSpec("gradient_attention"))
    assert np.abs(maps.values).max() > 0  # what was computed without gradients first still lets them pass
    weights = preflight.weights_of(str(tmp_path))
    sizes = [preflight.needed(weights, torch.float32, bits) for bits in (0, 8, 4)]
    assert sizes == sorted(sizes, reverse=True)


def test_the_status_names_the_bits_and_the_format_of_the_computation():
    place = choose_placement("cpu", "int8")
    assert (place.bits, place.dtype, place.format) == (8, torch.float32, "int8")
    assert "weights in 8 bits were chosen, computed in float32" in place.reason
    assert choose_placement("cpu", "int4").bits == 4
    assert choose_placement("cpu").bits == 0


def test_what_cannot_be_is_said_in_a_sentence(monkeypatch):
    with pytest.raises(DeviceError, match="not kept in few bits"):
        load_model("starter", "cpu", "int8")
    with pytest.raises(DeviceError, match="not computed on mps"):
        device._check_bits(torch.device("mps"), 4)
    known = importlib.util.find_spec

    def without(name: str, *rest: object) -> object:
        return None if name == "bitsandbytes" else known(name, *rest)

    monkeypatch.setattr(importlib.util, "find_spec", without)
    with pytest.raises(DeviceError, match="need the package bitsandbytes, which is not installed"):
        choose_placement("cpu", "int8")
