"""Dual encoders of transformers: equal to the library's own forwards, maps and preprocessing."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from transformers import ClapFeatureExtractor, CLIPImageProcessor

from mmviewer.core.capture.collector import capture
from mmviewer.core.errors import InputError, MMViewerError, ModelError
from mmviewer.core.models.base import FAMILIES, ModelSource
from mmviewer.core.models.hf import build
from mmviewer.core.models.hf.pixels import Pixels
from mmviewer.core.models.hf.sounds import LogMel
from mmviewer.core.models.loader import load_model, recognising
from mmviewer.core.types import Media, Modality

IMAGE_FAMILIES = ("hf_clip", "hf_siglip", "hf_siglip2", "hf_align")
TEXTS = ["a red apple", "two boats"]


def picture(height: int = 96, width: int = 160) -> Media:
    pixels = np.random.default_rng(0).integers(0, 256, (height, width, 3), dtype=np.uint8)
    return Media("picture", Modality.IMAGE, "picture", pixels=pixels)


def sound(seconds: float) -> Media:
    samples = np.random.default_rng(0).normal(0, 0.1, int(16_000 * seconds)).astype(np.float32)
    return Media("sound", Modality.AUDIO, "sound", samples=samples)


@pytest.mark.parametrize("family", IMAGE_FAMILIES)
def test_logits_equal_those_of_the_librarys_forward(family):
    model = FAMILIES.get(family).tiny()
    prepared = model.prepare(picture())
    with torch.no_grad():
        inputs = {**model.image_inputs([prepared]), **model.text_inputs(TEXTS)}
        expected = model.module(**inputs).logits_per_image
        similarities = model.image_features([prepared]) @ model.text_features(TEXTS).T
        found, _ = model.logits(similarities)
    torch.testing.assert_close(found, expected, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("family", IMAGE_FAMILIES)
def test_pixels_are_those_of_the_librarys_processor(family):
    model = FAMILIES.get(family).tiny()
    item = picture()
    theirs = model._pixels._processor(images=item.pixels, return_tensors="pt")["pixel_values"]
    ours = model.image_inputs([model.prepare(item)])["pixel_values"]
    torch.testing.assert_close(ours, theirs[:, : ours.shape[1]] if theirs.dim() == 3 else theirs)


@pytest.mark.parametrize("family", ["hf_clip", "hf_siglip", "hf_siglip2"])
def test_maps_equal_the_librarys_eager_ones(family):
    model = FAMILIES.get(family).tiny()
    item = picture()
    with capture(model, {"vision.self": None}) as images:
        model.image_features([model.prepare(item)])
    with capture(model, {"text.self": None}) as texts:
        model.text_features(TEXTS[:1])
    model.module.set_attn_implementation("eager")
    with torch.no_grad():
        seen = model.image_inputs([model.prepare(item)])
        theirs = model.module.vision_model(**seen, output_attentions=True).attentions
        read = model.module.text_model(**model.text_inputs(TEXTS[:1]), output_attentions=True).attentions
    for captured, expected in ((images["vision.self"], theirs), (texts["text.self"], read)):
        assert len(captured) == len(expected) == 2
        for found, wanted in zip(captured, expected, strict=True):
            torch.testing.assert_close(found, wanted, atol=1e-5, rtol=0)


@pytest.mark.parametrize("family", ["hf_siglip", "hf_siglip2"])
def test_the_pooling_heads_map_equals_an_independent_computation(family):
    model = FAMILIES.get(family).tiny()
    prepared = model.prepare(picture())
    with capture(model, {"vision.pool": None}) as captured:
        model.image_features([prepared])
    head = model.module.vision_model.head
    with torch.no_grad():
        hidden = model.module.vision_model(**model.image_inputs([prepared])).last_hidden_state  # normed
        size = hidden.shape[-1]
        weight, bias = head.attention.in_proj_weight, head.attention.in_proj_bias
        query = (head.probe @ weight[:size].T + bias[:size]).view(1, 1, 4, -1).transpose(1, 2)
        key = (hidden @ weight[size : 2 * size].T + bias[size : 2 * size]).view(1, -1, 4, size // 4)
        scores = query @ key.permute(0, 2, 3, 1) / (size // 4) ** 0.5
    torch.testing.assert_close(captured["vision.pool"][0], scores.softmax(-1), atol=1e-5, rtol=0)


@pytest.mark.parametrize("family", ["hf_clip", "hf_siglip", "hf_siglip2"])
def test_the_tower_step_by_step_gives_the_embedding(family):
    model = FAMILIES.get(family).tiny()
    prepared = model.prepare(picture())
    tower = model.tower()
    with torch.no_grad():
        hidden = tower.start([prepared])
        for index in range(tower.layers):
            hidden = tower.layer(index, hidden)
        torch.testing.assert_close(tower.embed(hidden), model.image_features([prepared]))


def test_naflex_keeps_the_shape_and_batches_what_differs():
    model = FAMILIES.get("hf_siglip2").tiny()
    wide, tall = model.prepare(picture(60, 200)), model.prepare(picture(200, 60))
    assert wide.geometry.grid[0] < wide.geometry.grid[1]
    assert tall.geometry.grid[0] > tall.geometry.grid[1]
    with torch.no_grad():
        both = model.image_features([wide, tall])
        alone = torch.cat([model.image_features([wide]), model.image_features([tall])])
    torch.testing.assert_close(both, alone, atol=1e-5, rtol=0)


@pytest.mark.parametrize(("truncation", "seconds"), [("rand_trunc", 2.3), ("fusion", 4.0), ("fusion", 10.0)])
def test_log_mel_equals_the_feature_extractors(truncation, seconds):
    extractor = ClapFeatureExtractor(truncation=truncation)
    samples = np.random.default_rng(1).normal(0, 0.1, int(48_000 * seconds)).astype(np.float32)
    theirs = extractor(samples, sampling_rate=48_000, return_tensors="pt")["input_features"][0]
    ours = LogMel(extractor)(torch.from_numpy(samples))
    assert ours.shape == theirs.shape
    torch.testing.assert_close(ours, theirs.float(), atol=2e-3, rtol=0)  # decibels


def test_clap_hears_the_first_ten_seconds_and_says_so():
    model = FAMILIES.get("hf_clap").tiny("single")
    prepared = model.prepare(sound(12.5))
    assert prepared.geometry.visible == pytest.approx((0, 10))
    assert prepared.geometry.duration == pytest.approx(12.5)
    assert model.prepare(sound(3.0)).geometry.visible == pytest.approx((0, 3.0))
    with torch.no_grad():
        frames = model._mel(prepared.inputs["samples"][0, 0])[None]
        inputs = {"input_features": frames, "is_longer": torch.zeros(1, 1, dtype=torch.bool)}
        expected = model.module(**inputs, **model._codec.batch(TEXTS)).logits_per_audio
        found, _ = model.logits(model.audio_features([prepared]) @ model.text_features(TEXTS).T)
    torch.testing.assert_close(found, expected, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("seconds", [10.0, 3.0])
def test_claps_feature_map_lies_in_time_as_the_geometry_says(seconds):
    """A sound that is shorter than the window is heard several times; each repetition counts."""
    model = FAMILIES.get("hf_clap").tiny("single")
    plain = sound(seconds)
    prepared = model.prepare(plain)
    stage, step = model.stages()[0], prepared.geometry.step
    moments = model.stage_moments(stage, prepared)
    torch.testing.assert_close(moments.sum(0), torch.ones(prepared.geometry.positions))
    module = model.module.get_submodule(stage.module)
    seen = []
    hook = module.register_forward_hook(lambda _, __, output: seen.append(output[0]))
    places = (1, prepared.geometry.positions // 2, prepared.geometry.positions - 2)
    with torch.no_grad():
        model.audio_features([prepared])
        for place in places:
            samples = plain.samples.copy()
            first, last = round(place * step * 16_000), round((place + 1) * step * 16_000)
            samples[first:last] += np.sin(np.arange(last - first) * 0.3, dtype=np.float32)
            model.audio_features([model.prepare(Media("louder", Modality.AUDIO, "louder", samples=samples))])
    hook.remove()
    for place, changed in zip(places, seen[1:], strict=True):
        assert int(((changed - seen[0]).abs().mean(-1) @ moments).argmax()) == place


def test_a_very_long_picture_is_cut_before_it_is_resized():
    processor = CLIPImageProcessor(size={"shortest_edge": 64}, crop_size={"height": 64, "width": 64})
    values, geometry = Pixels(processor, 16).prepare(picture(3, 40_000), torch.device("cpu"), torch.float32)
    assert values.shape == (1, 3, 64, 64)
    top, left, bottom, right = geometry.visible
    assert (top, bottom) == pytest.approx((0, 3))
    assert (left + right) / 2 == pytest.approx(20_000, abs=2)


def test_texts_over_the_context_are_refused_in_words():
    model = FAMILIES.get("hf_clip").tiny()
    with pytest.raises(InputError, match="takes 64; shorten it"):
        model.text_features(["word " * 40])


# --- folders -------------------------------------------------------------------------------------------
@pytest.fixture(scope="module")
def saved(tmp_path_factory) -> Path:
    model = FAMILIES.get("hf_clip").tiny()
    folder = tmp_path_factory.mktemp("clip") / "my-clip"
    model.module.save_pretrained(folder)
    model._pixels._processor.save_pretrained(folder)
    model._codec.tokenizer.save_pretrained(folder)
    return folder


@pytest.fixture
def copied(saved, tmp_path) -> Path:
    return Path(shutil.copytree(saved, tmp_path / "copy"))


def test_a_saved_folder_loads_and_gives_the_same(saved):
    model = load_model(str(saved), device="cpu")
    tiny = FAMILIES.get("hf_clip").tiny()
    assert model.info.label == "my-clip"
    assert len(model.info.weights_hash) == 64
    with torch.no_grad():
        torch.testing.assert_close(model.text_features(TEXTS), tiny.text_features(TEXTS))
        item = picture()
        features = [each.image_features([each.prepare(item)]) for each in (model, tiny)]
    torch.testing.assert_close(*features)


def test_the_scale_of_logits_stays_exact_in_half_precision(saved):
    model = load_model(str(saved), device="cpu", dtype="bfloat16")
    assert model.module.logit_scale.dtype is torch.float32
    assert model.module.visual_projection.weight.dtype is torch.bfloat16


def _cut(folder: Path) -> None:
    path = folder / "model.safetensors"
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def _without(name: str):
    return lambda folder: (folder / name).unlink()


def _changed(**values):
    def change(folder: Path) -> None:
        config = json.loads((folder / "config.json").read_text())
        for key, value in values.items():
            config["text_config"][key] = value
        (folder / "config.json").write_text(json.dumps(config))

    return change


def _processor(**values):
    def change(folder: Path) -> None:
        path = folder / "preprocessor_config.json"
        path.write_text(json.dumps(json.loads(path.read_text()) | values))

    return change


def _other_tokenizer(folder: Path) -> None:
    tokenizer = build.byte_tokenizer("<bos>", "<eos>", more=tuple(f"<{number}>" for number in range(99)))
    tokenizer.save_pretrained(folder)


def _shards(name: str):
    def change(folder: Path) -> None:
        (folder / "model.safetensors").unlink()
        index = {"weight_map": {"logit_scale": name}}
        (folder / "model.safetensors.index.json").write_text(json.dumps(index))

    return change


@pytest.mark.parametrize(
    ("damage", "words"),
    [
        (_cut, "broken or incomplete"),
        (_without("model.safetensors"), "could run code"),
        (_without("preprocessor_config.json"), "broken or incomplete"),
        (_without("tokenizer.json"), "broken or incomplete"),
        (_changed(hidden_size=64, intermediate_size=96), "do not fit|broken"),
        (_changed(num_hidden_layers=5_000_000), "impossible num_hidden_layers"),
        (_changed(num_hidden_layers=900, hidden_size=4096), "larger model"),
        (_changed(vocab_size="many"), "broken or incomplete"),
        (_processor(crop_size={"height": 48, "width": 48}), "48 × 48 pixels, but its weights take 32 × 32"),
        (_processor(size={"shortest_edge": 10**9}), "makes pictures|broken"),
        (_processor(size={"width": -3}), "makes pictures|broken"),
        (_other_tokenizer, "that of another model"),
        (_shards("../../secret.safetensors"), "outside"),
        (_shards("model-00001-of-00002.safetensors"), "is missing"),
    ],
)
def test_broken_folders_end_in_a_sentence(copied, damage, words):
    damage(copied)
    with pytest.raises(ModelError, match=words):
        load_model(str(copied), device="cpu")


def test_hub_ids_are_told_by_their_names_and_missing_ones_are_named():
    for spec, key in {
        "openai/clip-vit-base-patch32": "hf_clip",
        "google/siglip-base-patch16-224": "hf_siglip",
        "google/siglip2-base-patch16-naflex": "hf_siglip2",
        "kakaobrain/align-base": "hf_align",
        "laion/clap-htsat-unfused": "hf_clap",
    }.items():
        family = recognising(ModelSource(spec))
        assert family is not None
        assert family.key == key
        with pytest.raises(MMViewerError, match="not in the hub's cache"):
            load_model(spec, device="cpu")


def test_models_that_open_clip_can_load_are_left_to_it_in_folders_alone(saved, tmp_path, monkeypatch):
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))
    snapshot = tmp_path / "models--someone--some-clip" / "snapshots" / "0123abc"
    shutil.copytree(saved, snapshot)
    family = recognising(ModelSource("someone/some-clip"))
    assert family is not None
    assert family.key == "hf_clip"
    (snapshot / "open_clip_config.json").write_text("{}")
    assert recognising(ModelSource("someone/some-clip")) is family
    other = recognising(ModelSource(str(snapshot)))
    assert other is not None
    assert other.key == "openclip"
    assert recognising(ModelSource("timm/ViT-B-16-SigLIP-384")) is None
