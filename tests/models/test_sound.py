"""A model of images, texts and sounds: its folder, what it hears, and its two sides."""

from __future__ import annotations

import json
import shutil
from dataclasses import asdict
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from mmviewer.core.errors import InputError, ModelError
from mmviewer.core.explain.base import available_methods, explain, explore_heads
from mmviewer.core.models.base import FAMILIES, ModelSource
from mmviewer.core.models.identity import Identity
from mmviewer.core.models.loader import find_family, load_model
from mmviewer.core.models.openclip.tiny import tiny_parts
from mmviewer.core.models.sound import files
from mmviewer.core.models.sound.features import spectrogram
from mmviewer.core.models.sound.model import SOUND, HearingModel, tiny_tower
from mmviewer.core.models.sound.tower import SoundConfig, SoundTower
from mmviewer.core.tasks.classify import zero_shot
from mmviewer.core.tasks.embed import embed
from mmviewer.core.tasks.query import query_sequence
from mmviewer.core.types import Capability, MapSpec, Media, Modality, PointRole

STARTER = Path(__file__).parents[2] / "resources" / "models" / "starter-coca"


def tone(seconds: float, pitch: float = 440.0, name: str = "tone") -> Media:
    times = np.arange(round(16_000 * seconds)) / 16_000
    samples = (0.3 * np.sin(2 * np.pi * pitch * times) * (times % 0.3 < 0.2)).astype(np.float32)
    return Media(name, Modality.AUDIO, name, samples=samples)


def picture() -> Media:
    pixels = np.random.default_rng(1).integers(0, 256, (40, 50, 3), dtype=np.uint8)
    return Media("picture", Modality.IMAGE, "picture", pixels=pixels)


@pytest.fixture(scope="module")
def model():
    return FAMILIES.get("hearing").tiny("coca")


@pytest.fixture
def folder(tmp_path) -> Path:
    """The starter with a random sound tower of its dimension beside it."""
    if not STARTER.is_dir():
        pytest.skip("the starter model is not in this checkout")
    copy = tmp_path / "hearing"
    copy.mkdir()
    for path in STARTER.iterdir():
        if path.is_file() and not path.name.startswith("sound"):
            shutil.copy(path, copy)
    embed_dim = json.loads((copy / "open_clip_config.json").read_text())["model_cfg"]["embed_dim"]
    return with_tower(copy, tiny_tower(embed_dim))


def with_tower(folder: Path, tower: SoundTower) -> Path:
    (folder / files.CONFIG).write_text(json.dumps({"sound_cfg": asdict(tower.config)}))
    save_file(tower.state_dict(), folder / files.WEIGHTS)
    return folder


# --- what is heard ---------------------------------------------------------------------------------------
def test_the_loudness_of_a_sound_does_not_matter():
    loud = tone(1.2).samples
    np.testing.assert_allclose(
        spectrogram(loud, SoundConfig()), spectrogram(loud * 0.1, SoundConfig()), atol=1e-3
    )


def test_log_mel_lies_between_minus_one_and_one():
    values = spectrogram(tone(0.9).samples, SoundConfig())
    assert values.shape == (80, 100)
    assert values.max() == pytest.approx(1)
    assert values.min() >= -1
    assert spectrogram(np.zeros(500, np.float32), SoundConfig()).shape == (80, 100)


@pytest.mark.parametrize("seconds", [0.001, 0.3, 0.5, 0.777, 3.0, 8.0, 25.0])
def test_positions_follow_the_sound_and_end_at_the_reach_of_the_tower(model, seconds):
    prepared = model.prepare(tone(seconds))
    geometry, mel = prepared.geometry, prepared.inputs["mel"]
    assert mel.shape == (1, 16, 4 * geometry.positions)
    assert geometry.duration == pytest.approx(seconds, abs=1e-3)
    assert geometry.positions * geometry.step == pytest.approx(min(max(seconds, 0.5), 8), abs=0.041)
    vectors = model.audio_features([prepared])
    assert bool(torch.isfinite(vectors).all())


def test_the_class_token_alone_makes_the_embedding(model):
    prepared = model.prepare(tone(0.8))
    tower = model.side(Modality.AUDIO).tower()
    hidden = tower.start([prepared])
    for layer in range(tower.layers):
        hidden = tower.layer(layer, hidden)
    torch.testing.assert_close(tower.embed(hidden), model.audio_features([prepared]))
    torch.testing.assert_close(tower.embed_vectors(hidden)[:, 0], tower.embed(hidden))


def test_sounds_that_cannot_be_heard_are_refused_in_words(model):
    with pytest.raises(InputError, match="holds no sound"):
        model.prepare(Media("x", Modality.AUDIO, "x.wav", samples=np.zeros(0, np.float32)))
    with pytest.raises(InputError, match="open it again"):
        model.prepare(
            Media("x", Modality.AUDIO, "x.wav", samples=np.zeros(9, np.float32), sample_rate=44_100)
        )


# --- two sides ------------------------------------------------------------------------------------------
def test_each_side_has_the_points_on_its_way_only(model):
    sound, image = model.side(Modality.AUDIO).info, model.side(Modality.IMAGE).info
    assert {point.name for point in sound.points} == {SOUND, "text.self"}
    assert SOUND not in {point.name for point in image.points}
    assert {point.name for point in model.info.points} == {
        point.name for point in (*sound.points, *image.points)
    }
    assert not sound.can(Capability.CAPTION)
    assert image.can(Capability.CAPTION)
    assert model.info.can(Capability.EMBED_AUDIO)
    assert model.side(Modality.AUDIO).point(PointRole.ENCODER_SELF).name == SOUND
    assert sound == model.info.side(Modality.AUDIO)


def test_a_model_of_one_kind_has_one_side():
    plain = FAMILIES.get("openclip").tiny("clip")
    assert plain.side(Modality.AUDIO) is plain
    assert plain.info.side(Modality.IMAGE) is plain.info


def test_a_convolutional_image_tower_is_not_taken_for_the_ears():
    module, tokenizer, placement = tiny_parts("resnet")
    module.add_module("sound", tiny_tower(32))
    hearing = HearingModel(module, tokenizer, placement, Identity("x", "x", "x"), "hearing")
    image, sound = hearing.side(Modality.IMAGE), hearing.side(Modality.AUDIO)
    assert image.point(PointRole.ENCODER_SELF) is None
    assert image.info.features
    assert not sound.info.features
    assert "gradcam" in available_methods(image)


def test_images_texts_and_sounds_lie_in_one_space(model):
    text = Media("text", Modality.TEXT, "text", text="a dog")
    embeddings = embed(model, [picture(), tone(0.7), text, tone(2.0, 300, "other")])
    assert embeddings.vectors.shape == (4, 32)
    assert embeddings.modalities == (Modality.IMAGE, Modality.AUDIO, Modality.TEXT, Modality.AUDIO)
    np.testing.assert_allclose(np.linalg.norm(embeddings.vectors, axis=1), 1, atol=1e-5)
    assert not embeddings.notes


def test_a_sound_gets_labels(model):
    scores = zero_shot(model, [tone(0.7)], ["dog", "cat", "drum"])
    assert scores.probabilities.shape == (1, 3)
    assert scores.probabilities.sum() == pytest.approx(1, abs=1e-5)


def test_every_method_maps_a_word_to_moments(model):
    prepared = model.prepare(tone(1.3))
    sequence = query_sequence(model, "tone", "a red dog")
    methods = available_methods(model.side(Modality.AUDIO))
    assert {"attention", "rollout", "gradient_attention"} <= set(methods)
    for method in methods:
        maps = explain(model, prepared, sequence, MapSpec(method))
        assert maps.values.shape == (3, prepared.geometry.positions)
        assert maps.spec.point in (SOUND, "input")


def test_heads_of_the_sound_tower_can_be_seen(model):
    prepared = model.prepare(tone(1.0))
    heads = explore_heads(model, prepared, query_sequence(model, "tone", "dog"), [0])
    assert heads.point.name == SOUND
    assert heads.values.shape == (2, 4, prepared.geometry.positions)


def test_images_are_seen_as_without_ears(model):
    plain = FAMILIES.get("openclip").tiny("coca")
    sequence = query_sequence(model, "picture", "a dog")
    for method in ("attention", "rollout", "gradient_attention"):
        maps = explain(model, model.prepare(picture()), sequence, MapSpec(method))
        expected = explain(plain, plain.prepare(picture()), sequence, MapSpec(method))
        np.testing.assert_allclose(maps.values, expected.values, atol=1e-6)
        assert maps.spec == expected.spec


# --- folders ---------------------------------------------------------------------------------------------
def test_a_folder_with_a_sound_tower_is_loaded_with_it(folder):
    assert find_family(ModelSource(str(folder))).key == "hearing"
    loaded = load_model(str(folder), device="cpu")
    assert loaded.info.can(Capability.EMBED_AUDIO)
    assert loaded.info.can(Capability.CAPTION)
    assert "sound" in loaded.info.revision
    assert "log-mel" in loaded.info.preprocessing
    assert not any(parameter.requires_grad for parameter in loaded.module.parameters())
    vectors = loaded.audio_features([loaded.prepare(tone(1.0))])
    assert vectors.shape[-1] == loaded.text_features(["a dog"]).shape[-1]


def test_a_folder_without_one_is_loaded_as_before(folder):
    (folder / files.WEIGHTS).unlink()
    assert find_family(ModelSource(str(folder))).key == "openclip"
    assert not load_model(str(folder), device="cpu").info.can(Capability.EMBED_AUDIO)


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"width": 10**9}, "impossible width"),
        ({"layers": 100, "width": 4096, "heads": 64}, "larger tower than"),
        ({"layers": "four"}, "impossible layers"),
        ({"layers": True}, "impossible layers"),
        ({"reach": 0}, "impossible reach"),
        ({"max_seconds": 1e300}, "impossible max_seconds"),
        ({"max_seconds": float("nan")}, "impossible max_seconds"),
        ({"heads": 5}, "do not fit each other"),
        ({"ear_heads": 3}, "do not fit each other"),
        ({"ear_layers": 100, "ear_width": 4096}, "larger tower than"),
        ({"min_seconds": 20}, "do not fit each other"),
        ({"code": "import os"}, "unknown setting"),
        ({"width": 64}, "does not fit"),
        ({"embed_dim": 8}, "does not fit"),
    ],
)
def test_a_hostile_configuration_ends_in_a_sentence(folder, change, says):
    config = json.loads((folder / files.CONFIG).read_text())
    config["sound_cfg"] |= change
    (folder / files.CONFIG).write_text(json.dumps(config))
    with pytest.raises(ModelError, match=says):
        load_model(str(folder), device="cpu")


def test_a_tower_of_another_model_is_refused(folder):
    with_tower(folder, tiny_tower(8))
    with pytest.raises(ModelError, match="not of one model"):
        load_model(str(folder), device="cpu")


@pytest.mark.parametrize("content", [b"", b"no tensors", b"\xff" * 64])
def test_broken_weights_end_in_a_sentence(folder, content):
    (folder / files.WEIGHTS).write_bytes(content)
    with pytest.raises(ModelError, match="get the model's files again"):
        load_model(str(folder), device="cpu")


def test_a_configuration_that_is_no_object_ends_in_a_sentence(folder):
    for text in ("[]", "{", '{"sound_cfg": 3}'):
        (folder / files.CONFIG).write_text(text)
        with pytest.raises(ModelError, match="get the"):
            load_model(str(folder), device="cpu")
