"""Whether a model fits is known before it is loaded; smaller ways are said aloud; links lead nowhere."""

from __future__ import annotations

import json
import struct
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from mmviewer import paths
from mmviewer.core.capture.collector import capture
from mmviewer.core.errors import DeviceError, ModelError
from mmviewer.core.models import device, loader, preflight
from mmviewer.core.models.base import FAMILIES, ModelSource, Placement
from mmviewer.core.types import Media, Modality


def head(path: Path, tensors: dict[str, tuple[str, list[int]]]) -> None:
    """A file with the head of a huge model, and none of its bytes."""
    told = {
        name: {"dtype": kind, "shape": shape, "data_offsets": [0, 0]}
        for name, (kind, shape) in tensors.items()
    }
    text = json.dumps(told).encode()
    path.write_bytes(struct.pack("<Q", len(text)) + text)


def test_the_need_is_counted_from_the_heads_of_the_files(tmp_path: Path) -> None:
    for shard in (1, 2):
        head(
            tmp_path / f"model-{shard:05d}-of-00002.safetensors",
            {"w": ("BF16", [1000, 1000]), "i": ("I64", [10])},
        )
    weights = preflight.weights_of(str(tmp_path))
    assert weights == {"floats": 2_000_000, "other bytes": 160}
    assert preflight.needed(weights, torch.float32) == int((8_000_000 + 160) * 1.15)
    assert preflight.needed(weights, torch.bfloat16) == int((4_000_000 + 160) * 1.15)


def test_the_count_is_that_of_the_loaded_model() -> None:
    name = "starter-photo"
    model = loader.load_model(name)
    assert preflight.weights_of(name)["floats"] == pytest.approx(model.info.parameters, rel=0.02)
    assert not [note for note in model.info.notes if "loaded in" in note]


@pytest.fixture
def large(tmp_path: Path) -> str:
    head(tmp_path / "model.safetensors", {"w": ("F16", [1_000_000, 1000])})  # 4.6 GB in float32
    return str(tmp_path)


def free(monkeypatch: pytest.MonkeyPatch, gigabytes: float) -> None:
    monkeypatch.setattr(device, "free_memory", lambda place: int(gigabytes * 1e9))


def test_a_smaller_format_is_taken_where_it_was_left_open(
    large: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    free(monkeypatch, 3)
    (plan,) = preflight.plans(large, "cpu")
    assert plan.placement.dtype is torch.bfloat16
    assert "needs about 4.6 GB in float32, and 3.0 GB are free on cpu" in plan.words
    assert plan.words.endswith("so it is loaded in bfloat16 on cpu (2.3 GB).")
    free(monkeypatch, 8)
    assert [each.placement.dtype for each in preflight.plans(large, "cpu")] == [torch.float32, torch.bfloat16]
    assert preflight.plans(large, "cpu")[0].words == ""


@pytest.mark.parametrize(("gigabytes", "dtype"), [(3, "float32"), (1, "auto")])
def test_what_cannot_fit_is_refused_before_it_is_loaded(
    large: str, monkeypatch: pytest.MonkeyPatch, gigabytes: float, dtype: str
) -> None:
    free(monkeypatch, gigabytes)
    with pytest.raises(DeviceError, match=r"needs about .* are free on cpu; close other programs"):
        preflight.plans(large, "cpu", dtype)


def test_memory_that_runs_out_while_loading_ends_in_a_smaller_way_said_aloud(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    family = loader.find_family(ModelSource("starter-photo"))
    load = type(family).load

    def short(self, source, placement, progress):
        if placement.dtype is torch.float32:
            raise DeviceError("no room") from MemoryError()
        return load(self, source, placement, progress)

    monkeypatch.setattr(type(family), "load", short)
    told: list[str] = []
    model = loader.load_model("starter-photo", "cpu", aloud=told.append)
    assert model.info.dtype == "bfloat16"
    assert told[0].startswith("Memory ran out, so it is loaded in bfloat16 on cpu")
    assert model.info.notes[-1] == told[0]
    with pytest.raises(DeviceError, match="no room"):
        loader.load_model("starter-photo", "cpu", "float32")


def test_layers_that_have_no_room_wait_in_the_machines_memory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    layers = {f"model.layers.{layer}.w": ("BF16", [10_000, 10_000]) for layer in range(30)}  # 0.2 GB each
    head(tmp_path / "model.safetensors", layers)
    gpu = Placement(torch.device("cuda:0"), torch.bfloat16, "a GPU answers")
    monkeypatch.setattr(device, "choose_placement", lambda *names: gpu)
    monkeypatch.setattr(
        device, "free_memory", lambda place: 6_100_000_000 if place.type == "cuda" else 64 * 10**9
    )
    spread, whole, half = preflight.plans(str(tmp_path), spreads=True)
    assert (spread.placement.device, spread.placement.room) == (gpu.device, int(0.85 * 6.1e9))
    assert spread.words.endswith(
        "needs about 6.9 GB in bfloat16, and 6.1 GB are free on cuda:0: about 9 layers wait in the machine's "
        "memory and the others run in bfloat16 on cuda:0, which is slower."
    )
    assert [plan.placement.device.type for plan in (whole, half)] == ["cpu", "cpu"]


SPREADING = [family.key for family in FAMILIES if family.spreads]


@pytest.mark.filterwarnings("ignore:The following device_map keys")  # accelerate, of lone weights
@pytest.mark.parametrize("key", SPREADING)
def test_a_model_that_is_spread_is_the_same_model(key: str, tmp_path: Path) -> None:
    """With half of the weights off the device: on a CPU they lie on the disk, by the same hooks."""
    family = FAMILIES.get(key)
    parts = family.tiny_parts(family.tiny_variants()[0])
    parts.module.save_pretrained(tmp_path)
    parts.tokenizer.save_pretrained(tmp_path)
    parts.images.save_pretrained(tmp_path)
    if parts.template:
        (tmp_path / "chat_template.jinja").write_text(parts.template)
    source, cpu = ModelSource(str(tmp_path)), Placement(torch.device("cpu"), torch.float32, "tests")
    half = sum(path.stat().st_size for path in tmp_path.glob("*.safetensors")) // 2
    whole, spread = (family.load(source, place) for place in (cpu, replace(cpu, room=half)))
    away = [where for where in spread.module.hf_device_map.values() if where == "disk"]
    assert away
    assert spread.info.parameters == whole.info.parameters
    point = whole.info.points[0]
    told = []
    for model in (whole, spread):
        prepared = model.prepare(picture())
        ids = model.decoder(prepared).prompt
        with torch.no_grad(), capture(model, {point.name: None}) as seen:
            told.append((model.sequence_logits(prepared, ids), torch.stack(list(seen[point.name]))))
    for first, second in zip(*told, strict=True):
        torch.testing.assert_close(first, second, atol=1e-5, rtol=1e-5)


def picture() -> Media:
    pixels = np.random.default_rng(0).integers(0, 256, (48, 64, 3), dtype=np.uint8)
    return Media(id="picture", modality=Modality.IMAGE, name="picture", pixels=pixels)


def test_links_that_lead_out_of_the_folder_are_refused(tmp_path: Path) -> None:
    secret = tmp_path / "secret.json"
    secret.write_text("{}")
    folder = tmp_path / "model"
    folder.mkdir()
    (folder / "config.json").write_text("{}")
    (folder / "inside.json").symlink_to("config.json")
    preflight.check_safe(str(folder))
    (folder / "tokenizer.json").symlink_to(secret)
    with pytest.raises(ModelError, match="leads out of the model's folder"):
        preflight.check_safe(str(folder))


def test_links_of_the_hubs_cache_lead_to_its_blobs_only(tmp_path: Path) -> None:
    snapshot = tmp_path / "models--a--b" / "snapshots" / ("0" * 40)
    (tmp_path / "models--a--b" / "blobs").mkdir(parents=True)
    snapshot.mkdir(parents=True)
    (tmp_path / "models--a--b" / "blobs" / "x").write_text("{}")
    (snapshot / "config.json").symlink_to("../../blobs/x")
    preflight.check_safe(str(snapshot))
    (snapshot / "other.json").symlink_to("../../../models--c--d/blobs/y")
    with pytest.raises(ModelError, match="leads out"):
        preflight.check_safe(str(snapshot))


def test_an_index_that_names_files_elsewhere_is_refused(tmp_path: Path) -> None:
    index = {"weight_map": {"w": "../../elsewhere/model.safetensors"}}
    (tmp_path / "model.safetensors.index.json").write_text(json.dumps(index))
    with pytest.raises(ModelError, match="outside of the folder"):
        preflight.check_safe(str(tmp_path))


def test_a_model_that_needs_its_own_code_is_refused_with_the_reason(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text(
        json.dumps({"model_type": "own", "auto_map": {"AutoModel": "own.M"}})
    )
    with pytest.raises(ModelError, match="runs only with Python code"):
        loader.load_model(str(tmp_path))


@pytest.mark.parametrize("spec", ["", "no/thing", "\0", "x" * 5000, "ViT-B-32=/nowhere", "starter"])
def test_what_is_not_here_needs_nothing_yet(spec: str) -> None:
    weights = preflight.weights_of(spec)
    assert bool(weights) == (spec == "starter" and paths.starter_model().is_dir())
    preflight.check_safe(spec)
