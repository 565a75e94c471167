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
