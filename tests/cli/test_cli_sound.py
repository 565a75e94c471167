"""Sound on the command line: a real Whisper model on a spoken sentence."""

from __future__ import annotations

import numpy as np
import pytest

from mmviewer import paths

pytestmark = pytest.mark.slow


@pytest.fixture
def whisper(shared_models) -> str:
    return str(shared_models / "whisper-tiny.en")


@pytest.fixture(scope="module")
def sound() -> str:
    return str(paths.samples() / "please-open.wav")


def test_transcribe(run, whisper, sound):
    outcome = run("transcribe", sound, "--model", whisper, "--json")
    assert outcome.code == 0
    assert outcome.err == ""
    assert outcome.json["text"] == "Please open the window and turn on the kitchen light."
    assert all(token["logprob"] <= 0 for token in outcome.json["tokens"])


def test_explain_a_word_in_time(run, whisper, sound, tmp_path):
    arrays, figure = tmp_path / "out.npz", tmp_path / "out.pdf"
    outcome = run(
        "explain",
        sound,
        "--word",
        "kitchen",
        "--model",
        whisper,
        "--map",
        arrays,
        "--figure",
        figure,
        "--json",
    )
    assert outcome.code == 0, outcome.err
    facts = outcome.json
    assert facts["sequence"] == "transcript"
    assert facts["shown"]["label"] == "kitchen"
    assert 2.0 < facts["shown"]["peak"]["seconds"] < 3.0
    with np.load(arrays) as saved:
        assert saved["grid"].shape == (1500,)
        assert saved["map"].dtype == np.float32
        assert len(saved["map"]) == round(facts["geometry"]["duration"] * 16_000)
        assert saved["token_grids"].shape == (len(facts["tokens"]), 1500)
    assert figure.read_bytes().startswith(b"%PDF")


def test_whisper_cannot_be_asked_for_words(run, whisper, sound):
    outcome = run("explain", sound, "--text", "a dog", "--model", whisper)
    assert outcome.code == 1
    assert "no embedding of text" in outcome.complaint


@pytest.fixture
def starter_that_hears() -> str:
    if not (paths.starter_model() / "sound_model.safetensors").is_file():
        pytest.skip("the starter of this checkout has no sound tower")
    return "starter"


def test_a_sound_gets_labels_and_a_word_its_moment(run, starter_that_hears, sound, tmp_path):
    scores = run("classify", sound, "--labels", "dog,light bulb", "--model", starter_that_hears, "--json")
    assert scores.code == 0
    arrays = tmp_path / "out.npz"
    outcome = run(
        "explain", sound, "--text", "a light bulb", "--word", "bulb", "--method", "gradient_attention",
        "--map", str(arrays), "--model", starter_that_hears, "--json",
    )  # fmt: skip
    assert outcome.code == 0
    assert "log-mel" in outcome.json["model"]["preprocessing"]
    with np.load(arrays) as stored:
        assert any(value.ndim == 2 and value.shape[0] == 3 for value in stored.values())
