"""The catalogue: every entry complete, its numbers those of the architectures, its search honest."""

from __future__ import annotations

import open_clip
import pytest
import torch
from open_clip.factory import CLIP, CoCa, CustomTextCLIP

from mmviewer.core.hub import catalogue
from mmviewer.core.hub.plan import split_spec
from mmviewer.core.models.base import ModelSource
from mmviewer.core.models.loader import find_family, known_kinds


def test_every_entry_is_complete() -> None:
    entries = catalogue.entries()
    assert len(entries) >= 50
    assert len({entry.id for entry in entries}) == len(entries)
    for entry in entries:
        assert split_spec(entry.spec)[0] == entry.id
        assert set(entry.can) <= set(catalogue.TASKS)
        assert entry.known in ("configuration", "publication")
        assert entry.licence
        assert entry.disk_bytes == entry.parameters * catalogue.BYTES[entry.stored]
        assert entry.memory_bytes("float32") == pytest.approx(2 * entry.memory_bytes("bfloat16"), rel=1e-6)


@pytest.mark.parametrize(
    ("model", "architecture"),
    [
        ("laion/CLIP-ViT-B-32-laion2B-s34B-b79K", "ViT-B-32"),
        ("openai/clip-vit-large-patch14", "ViT-L-14"),
        ("laion/CoCa-ViT-L-14-laion2B-s13B-b90k", "coca_ViT-L-14"),
        ("timm/ViT-SO400M-14-SigLIP-384", "ViT-SO400M-14-SigLIP-384"),
        ("timm/MobileCLIP2-S0-OpenCLIP", "MobileCLIP2-S0"),
    ],
)
def test_counted_parameters_are_those_of_the_architecture(model: str, architecture: str) -> None:
    config = dict(open_clip.get_model_config(architecture))
    custom = config.pop("custom_text", False)
    kind = CoCa if "multimodal_cfg" in config else CustomTextCLIP if custom else CLIP
    with torch.device("meta"):
        module = kind(**config)
    entry = next(entry for entry in catalogue.entries() if entry.id == model)
    assert entry.parameters == sum(parameter.numel() for parameter in module.parameters())


def test_every_entry_of_a_known_kind_is_loaded_by_its_family() -> None:
    kinds = known_kinds()
    for entry in catalogue.entries():
        if entry.kind in kinds:
            family = find_family(ModelSource(entry.spec))
            assert entry.kind in getattr(family, "types", {family.key}), entry.id


def test_search_by_words_task_and_room() -> None:
    found = catalogue.search("whisper")
    assert {entry.kind for entry in found} == {"whisper"}
    assert all("ask" in entry.can for entry in catalogue.search(task="ask"))
    room = 2_000_000_000
    fitting = catalogue.search(room=room, dtype="float32")
    assert fitting
    assert all(entry.memory_bytes("float32") <= room for entry in fitting)
    assert len(catalogue.search(room=room, dtype="bfloat16")) > len(fitting)
    assert catalogue.search("no such model at all") == []
    assert {entry.kind for entry in catalogue.search("clip", kinds={"openclip"})} == {"openclip"}
