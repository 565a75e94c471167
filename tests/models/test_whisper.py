"""Whisper: transcripts of real speech, equal to those of transformers, and long sounds in windows."""

from __future__ import annotations

import json
import shutil
import subprocess
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from mmviewer import paths
from mmviewer.core.capture.collector import capture
from mmviewer.core.errors import InputError, ModelError, UnsupportedError
from mmviewer.core.media.open import open_media
from mmviewer.core.models.base import FAMILIES, ModelSource
from mmviewer.core.models.loader import load_model
from mmviewer.core.tasks.generate import generate
from mmviewer.core.types import Media, Modality, PointRole, Sampling

SENTENCE = "Please open the window and turn on the kitchen light."


@pytest.fixture(scope="session")
def whisper(shared_models):
    return load_model(str(shared_models / "whisper-tiny.en"), device="cpu")


@pytest.fixture(scope="session")
def speech(tmp_path_factory) -> Media:
    sample = paths.samples() / "please-open.wav"
    if sample.is_file():
        return open_media(sample)
    if shutil.which("espeak-ng") is None:
        pytest.skip("no spoken sentence: neither the sample sound nor espeak-ng is here")
    path = tmp_path_factory.mktemp("speech") / "speech.wav"
    subprocess.run(["espeak-ng", "-w", str(path), SENTENCE], check=True, timeout=60)
    return open_media(path)


def sound(seconds: float, seed: int = 0) -> Media:
    samples = np.random.default_rng(seed).normal(0, 0.1, int(16_000 * seconds)).astype(np.float32)
    return Media(f"sound {seed}", Modality.AUDIO, "sound", samples=samples)


def ids_of(sequence) -> list[int]:
    return [*sequence.prompt_ids, *(token.id for token in sequence.tokens)]


def test_a_spoken_sentence_is_transcribed_exactly(whisper, speech):
    transcript = generate(whisper, whisper.prepare(speech))
    assert transcript.text == SENTENCE
    assert transcript.kind == "transcript"
    assert all(transcript.text[token.start : token.end] == token.text for token in transcript.tokens[:-1])


@pytest.mark.filterwarnings("ignore")
def test_tokens_are_those_that_transformers_generates(whisper, speech):
    prepared = whisper.prepare(speech)
    features = whisper._features(prepared, 0)
    theirs = whisper.module.generate(features, return_dict_in_generate=True)
    sequences = theirs["sequences"] if isinstance(theirs, dict) else theirs
    assert ids_of(generate(whisper, prepared)) == sequences[0].tolist()


def test_words_look_at_rising_times(whisper, speech):
    prepared = whisper.prepare(speech)
    transcript = generate(whisper, prepared)
    ids = ids_of(transcript)
    with capture(whisper, {"decoder.cross": None}) as captured:
        whisper.sequence_logits(prepared, ids[:-1])
    weights = whisper.position_weights(whisper.point(PointRole.CROSS), captured)
    heads = whisper.module.generation_config.alignment_heads  # heads known to follow the time
    rows = torch.stack([weights[layer, head] for layer, head in heads]).mean(0)
    rows = rows[len(transcript.prompt_ids) - 1 : -1, : prepared.geometry.valid]
    times = rows.argmax(-1) * prepared.geometry.step
    assert bool((times.diff() >= 0).all())
    assert 0 <= float(times[0]) < 0.6
    assert float(times[-1]) <= speech.duration


def test_cross_attention_of_steps_equals_that_of_one_forward(whisper, speech):
    prepared = whisper.prepare(speech)
    with capture(whisper, {"decoder.cross": [3]}) as steps:
        transcript = generate(whisper, prepared)
    with capture(whisper, {"decoder.cross": [3]}) as whole:
        whisper.sequence_logits(prepared, ids_of(transcript)[:-1])
    torch.testing.assert_close(steps["decoder.cross"][0], whole["decoder.cross"][0], atol=1e-5, rtol=0)


@pytest.mark.slow
def test_a_long_sound_is_transcribed_in_windows_and_mapped_to_its_own_seconds(whisper, speech):
    silence = np.zeros(16_000 * 31 - len(speech.samples), np.float32)
    long = replace(speech, samples=np.concatenate([speech.samples, silence, speech.samples]))
    prepared = whisper.prepare(long)
    transcript = generate(whisper, prepared)
    assert transcript.text == f"{SENTENCE} {SENTENCE}"
    assert prepared.geometry.positions == 3000
    with capture(whisper, {"decoder.cross": None}) as captured:
        whisper.sequence_logits(prepared, ids_of(transcript)[:-1])
    rows = whisper.position_weights(whisper.point(PointRole.CROSS), captured)
    rows = rows.mean((0, 1))[len(transcript.prompt_ids) - 1 :]
    words = [token.text for token in transcript.tokens]
    first, second = (index for index, word in enumerate(words) if word == "kitchen")
    assert float(rows[first].argmax()) * 0.02 < 3
    assert 31 < float(rows[second].argmax()) * 0.02 < 34


@pytest.mark.parametrize("model_name", ["whisper", "tiny"])
def test_a_click_changes_the_position_that_the_geometry_names(model_name, request):
    """Perturbation: where the encoder's input, after its convolutions, changes with a click."""
    model = request.getfixturevalue(model_name)
    quiet = sound(1)
    prepared = model.prepare(quiet)
    seen = encoder_input(model, prepared)  # [P, D]
    off_centre = []
    for second in np.linspace(0.2, 0.8, 25):
        samples = quiet.samples.copy()
        samples[round(second * 16_000)] += 1.0
        change = (encoder_input(model, model.prepare(replace(quiet, samples=samples))) - seen).abs().sum(-1)
        changed = change.numpy() * (change.numpy() > change.max().item() * 0.05)
        first, last = (sum(prepared.geometry.span(int(i))) / 2 for i in np.flatnonzero(changed)[[0, -1]])
        assert first <= second + 0.02
        assert last >= second - 0.02
        centres = np.array([sum(prepared.geometry.span(i)) / 2 for i in range(len(changed))])
        off_centre.append((changed * centres).sum() / changed.sum() - second)
    assert abs(np.mean(off_centre)) < 0.003  # half a position would be 0.01 s


def encoder_input(model, prepared) -> torch.Tensor:
    """What enters the encoder's blocks, without the places [P, D]."""
    encoder = model.module.model.encoder
    gelu = torch.nn.functional.gelu
    return gelu(encoder.conv2(gelu(encoder.conv1(model._features(prepared, 0)))))[0].T


# --- windows, on a tiny model with windows of one second ------------------------------------------------
@pytest.fixture
def tiny():
    return FAMILIES.get("whisper").tiny()


def test_windows_of_a_long_sound_are_those_of_its_parts(tiny):
    parts = [sound(1, seed) for seed in range(3)]
    long = replace(parts[0], samples=np.concatenate([part.samples for part in parts])[: int(2.5 * 16_000)])
    parts[2] = replace(parts[2], samples=parts[2].samples[:8_000])
    prepared = tiny.prepare(long)
    assert (prepared.geometry.positions, prepared.geometry.step) == (150, 0.02)
    texts = [[20, 30, 40], [50], [60, 70]]
    ids = [3, *texts[0], 2, *texts[1], 2, *texts[2]]
    with capture(tiny, {"decoder.cross": None}) as captured:
        logits = tiny.sequence_logits(prepared, ids)
    weights = tiny.position_weights(tiny.point(PointRole.CROSS), captured)
    assert logits.shape == (len(ids), 260)
    assert weights.shape == (2, 4, len(ids), 150)
    row = 0
    for window, (part, text) in enumerate(zip(parts, texts, strict=True)):
        alone = tiny.prepare(part)
        with capture(tiny, {"decoder.cross": None}) as expected:
            single = tiny.sequence_logits(alone, [3, *text])
        torch.testing.assert_close(logits[row : row + len(single)], single, atol=1e-5, rtol=1e-5)
        own = weights[:, :, row : row + len(single)]
        torch.testing.assert_close(
            own[..., 50 * window : 50 * (window + 1)],
            tiny.position_weights(tiny.point(PointRole.CROSS), expected),
            atol=1e-5,
            rtol=1e-5,
        )
        torch.testing.assert_close(own.sum(-1), torch.ones(own.shape[:-1]), atol=1e-5, rtol=0)
        row += len(single)
    assert row == len(ids)


def test_steps_through_windows_equal_one_forward(tiny):
    prepared = tiny.prepare(sound(1.5))
    ids = [3, 20, 30, 2, 40, 50]
    decoder = tiny.decoder(prepared)
    steps = torch.stack([decoder.next_logits(ids[1 : count + 1]) for count in range(len(ids))])
    with torch.no_grad():
        torch.testing.assert_close(steps, tiny.sequence_logits(prepared, ids), atol=1e-4, rtol=1e-4)
    assert decoder.windows == 2
    assert not decoder.finished([20, 2, 40])
    assert decoder.finished([20, 2, 40, 2])


def test_a_full_window_is_ended_and_the_next_begun(tiny):
    decoder = tiny.decoder(tiny.prepare(sound(1.5)))
    full = [20] * 31
    assert set(range(260)) - set(decoder.suppressed(full)) == {2}
    assert 20 not in decoder.suppressed([*full, 2])


def test_only_raw_cross_attention_of_a_long_sound_can_be_recorded(tiny):
    prepared = tiny.prepare(sound(1.5))
    ids = [3, 20, 2, 40]
    for name, grad in (("encoder.self", False), ("decoder.self", False), ("decoder.cross", True)):
        with (
            pytest.raises(UnsupportedError, match="longer than 1 s only raw cross-attention"),
            capture(tiny, {name: None}, grad=grad),
        ):
            tiny.sequence_logits(prepared, ids)


def test_the_language_is_heard_and_put_into_the_prompt(tiny):
    settings = tiny.module.generation_config
    settings.lang_to_id, settings.task_to_id = (
        {"<|en|>": 10, "<|de|>": 11},
        {"transcribe": 12, "translate": 13},
    )
    settings.no_timestamps_token_id = 14
    prepared = tiny.prepare(sound(0.5))
    with torch.no_grad():
        logits = tiny.sequence_logits(prepared, [3])[0]
    expected = 10 if logits[10] > logits[11] else 11
    assert tiny.decoder(prepared).prompt == (3, expected, 12, 14)


def test_what_is_no_transcript_is_refused(tiny):
    prepared = tiny.prepare(sound(0.5))
    with pytest.raises(InputError, match="begins with the model's start token"):
        tiny.sequence_logits(prepared, [20, 30])
    with pytest.raises(InputError, match="40 tokens in one window"):
        tiny.sequence_logits(prepared, [3, *[20] * 39])
    with pytest.raises(InputError, match="open it again"):
        tiny.prepare(replace(sound(0.5), sample_rate=8000))
    with pytest.raises(InputError, match="holds no sound"):
        tiny.prepare(replace(sound(0.5), samples=np.zeros(0, np.float32)))


def test_characters_of_several_tokens_come_with_the_last(tiny):
    spans = tiny.tokenize("né")
    text, joined = tiny.token_text([span.id for span in spans])
    assert text == "né"
    assert [span.text for span in joined] == ["n", "", "é"]


# --- sources ------------------------------------------------------------------------------------------
@pytest.fixture
def folder(tiny, tmp_path) -> Path:
    tiny.module.save_pretrained(tmp_path / "whisper")
    tiny._extractor.save_pretrained(tmp_path / "whisper")
    return tmp_path / "whisper"


def test_broken_folders_end_in_a_sentence(folder):
    assert FAMILIES.get("whisper").recognises(ModelSource(str(folder)))
    with pytest.raises(ModelError, match="lacks its tokenizer"):
        load_model(str(folder))
    (folder / "tokenizer.json").write_text("{")
    weights = (folder / "model.safetensors").read_bytes()
    (folder / "model.safetensors").write_bytes(weights[:50_000])
    with pytest.raises(ModelError, match="whisper is broken or incomplete"):
        load_model(str(folder))
    (folder / "model.safetensors").unlink()
    with pytest.raises(ModelError, match=r"no model\.safetensors"):
        load_model(str(folder))


def test_weights_that_do_not_fit_are_refused(shared_models, tmp_path):
    folder = Path(shutil.copytree(shared_models / "whisper-tiny.en", tmp_path / "model"))
    folder.chmod(0o755)
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").chmod(0o644)
    (folder / "config.json").write_text(json.dumps(config | {"decoder_layers": 6}))
    with pytest.raises(ModelError, match="do not fit its configuration"):
        load_model(str(folder))


@pytest.mark.parametrize(
    ("name", "change", "sentence"),
    [
        ("config.json", {"max_source_positions": 10**9}, "impossible max_source_positions"),
        ("config.json", {"encoder_layers": "many"}, "impossible encoder_layers"),
        ("config.json", {"encoder_layers": 5000}, "more than its weights file holds"),
        ("preprocessor_config.json", {"chunk_length": 10**6}, "impossible chunk_length"),
        ("preprocessor_config.json", {"chunk_length": 20}, "do not fit its weights"),
        ("generation_config.json", {"eos_token_id": None}, "do not fit its weights"),
    ],
)
def test_hostile_settings_end_in_a_sentence(shared_models, tmp_path, name, change, sentence):
    folder = tmp_path / "model"
    folder.mkdir()
    for path in (shared_models / "whisper-tiny.en").iterdir():
        shutil.copy(path, folder)
    settings = json.loads((folder / name).read_text())
    (folder / name).unlink()
    (folder / name).write_text(json.dumps(settings | change))
    with pytest.raises(ModelError, match=sentence):
        load_model(str(folder), device="cpu")


def test_a_cached_model_of_the_hub_loads_without_network(shared_models, tmp_path, monkeypatch):
    from huggingface_hub import constants

    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path))
    repo = tmp_path / "models--openai--whisper-tiny.en"
    commit = "0123456789abcdef0123456789abcdef01234567"
    shutil.copytree(shared_models / "whisper-tiny.en", repo / "snapshots" / commit)
    (repo / "refs").mkdir()
    (repo / "refs" / "main").write_text(commit)
    model = load_model("openai/whisper-tiny.en", device="cpu")
    assert (model.info.label, model.info.revision) == ("openai/whisper-tiny.en", commit)


def test_hub_ids_are_recognised_by_name():
    family = FAMILIES.get("whisper")
    assert family.recognises(ModelSource("openai/whisper-tiny"))
    assert not family.recognises(ModelSource("openai/clip-vit-base-patch32"))
    with pytest.raises(ModelError, match="models download openai/whisper-nothing"):
        load_model("openai/whisper-nothing")


def test_sampling_options_apply_to_speech(tiny):
    prepared = tiny.prepare(sound(0.5))
    texts = {
        generate(tiny, prepared, Sampling(temperature=1, seed=seed, max_tokens=5)).text for seed in range(4)
    }
    assert len(texts) > 1
