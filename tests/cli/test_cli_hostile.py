"""Input that must end in one clear line and an exit code, never in a traceback or a hang."""

from __future__ import annotations

import os
import pickle
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from mmviewer import paths


class Evil:
    """Creates a file when unpickled."""

    def __init__(self, path: str) -> None:
        self.path = path

    def __reduce__(self):
        return (open, (self.path, "w"))


def test_missing_file(run, starter):
    outcome = run("caption", "nowhere/at/all.png", "--model", starter)
    assert outcome.code == 1
    assert "all.png" in outcome.complaint
    assert outcome.out == ""


@pytest.mark.parametrize("content", [b"", b"\x00" * 64, b"GIF89a", b"\x89PNG\r\n\x1a\n" + b"\xff" * 100])
def test_unreadable_file(run, starter, tmp_path, content):
    file = tmp_path / "strange.png"
    file.write_bytes(content)
    outcome = run("caption", file, "--model", starter)
    assert outcome.code == 1
    assert "strange.png" in outcome.complaint


def test_every_file_broken(run, tmp_path):
    files = [tmp_path / f"{name}.png" for name in "ab"]
    for file in files:
        file.write_bytes(b"no picture \xff\xfe\x00")
    outcome = run("classify", *files, "--labels", "a,b", "--model", "a model that is never loaded")
    assert outcome.code == 1
    assert len(outcome.err.splitlines()) == 2


@pytest.mark.parametrize("labels", ["cat,,dog", "cat,dog,cat", "", ","])
def test_labels_that_cannot_be_used(run, starter, scene, labels):
    outcome = run("classify", scene, "--labels", labels, "--model", starter)
    assert outcome.code == 2
    assert "label" in outcome.complaint.lower()


def test_endless_label(run, starter, scene):
    outcome = run("classify", scene, "--labels", "x" * 100_000, "--model", starter)
    assert outcome.code == 2
    assert "shorten" in outcome.complaint
    assert len(outcome.complaint) < 300


def test_label_file_that_is_no_text(run, scene, tmp_path):
    file = tmp_path / "labels.bin"
    file.write_bytes(b"\xff\xfe\x00\x01")
    assert "one label a line" in run("classify", scene, "--labels", f"@{file}").complaint
    assert run("classify", scene, "--labels", f"@{tmp_path / 'none.txt'}").code == 2


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("--method", "magic"), "magic"),
        (("--layer", "99"), "layer 99"),
        (("--head", "99"), "head 99"),
        (("--point", "nowhere"), "nowhere"),
        (("--token", "999"), "token 999"),
        (("--word", "zeppelin"), "zeppelin"),
        (("--text", "!!!"), "no words"),
        (("--map", "out.txt"), ".npz"),
        (("--figure", "out.docx"), ".svg"),
    ],
)
def test_wrong_choice_for_explain(run, starter, scene, words, said):
    outcome = run("explain", scene, *words, "--model", starter)
    assert outcome.code == 2
    assert said in outcome.complaint


def test_output_that_cannot_be_written(run, starter, scene, tmp_path):
    target = tmp_path / "no folder" / "x.npz"
    assert run("embed", scene, "--out", target, "--model", starter).code == 1
    assert run("explain", scene, "--map", target, "--model", starter).code == 1
    assert not target.parent.exists()


def test_model_that_is_none(run, scene, tmp_path):
    for source in ("no/such-model", str(tmp_path), str(tmp_path / "none.safetensors")):
        outcome = run("caption", scene, "--model", source)
        assert outcome.code == 1
        assert outcome.complaint


def test_hostile_pickle_is_not_run(run, scene, tmp_path):
    proof = tmp_path / "proof"
    weights = tmp_path / "weights.pt"
    weights.write_bytes(pickle.dumps({"state_dict": Evil(str(proof))}))
    outcome = run("classify", scene, "--labels", "a,b", "--model", f"ViT-B-32={weights}")
    assert outcome.code == 1
    assert outcome.complaint
    assert not proof.exists()


def test_device_that_is_missing(run, starter, scene):
    outcome = run("caption", scene, "--model", starter, "--device", "cuda:77")
    assert outcome.code == 1
    assert "cuda:77" in outcome.complaint


def test_capability_that_is_missing(run, starter, scene, tmp_path):
    outcome = run("transcribe", scene, "--model", starter)
    assert outcome.code == 2
    assert "needs a sound" in outcome.complaint


def test_text_is_nothing_to_explain(run, starter, tmp_path):
    file = tmp_path / "words.txt"
    file.write_text("a red dog")
    outcome = run("explain", file, "--model", starter)
    assert outcome.code == 2
    assert "image or a sound" in outcome.complaint


def test_name_that_looks_like_an_option(run, starter, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Image.fromarray(np.zeros((8, 8, 3), np.uint8)).save(tmp_path / "-x.png")
    outcome = run("classify", "--labels", "cat,dog", "--model", starter, "--json", "--", "-x.png")
    assert outcome.code == 0
    assert outcome.json["items"][0]["path"].endswith("-x.png")


def test_unexpected_error_is_one_line(run, scene, monkeypatch):
    import mmviewer.api

    def fail(*_: object) -> None:
        raise ZeroDivisionError("first line\nsecond line")

    monkeypatch.setattr(mmviewer.api, "load", fail)
    outcome = run("caption", scene)
    assert outcome.code == 1
    assert "ZeroDivisionError: first line" in outcome.complaint
    assert "--debug" in outcome.complaint
    assert "Traceback" in run("caption", scene, "--debug").err


def test_interrupt_is_no_crash(run, scene, monkeypatch):
    import mmviewer.api

    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(mmviewer.api, "load", interrupt)
    outcome = run("caption", scene)
    assert (outcome.code, outcome.complaint) == (1, "mmviewer: stopped")


@pytest.mark.skipif(sys.platform == "win32", reason="a FIFO is a POSIX thing")
def test_fifo_does_not_hang(run, starter, tmp_path):
    import os

    os.mkfifo(tmp_path / "pipe.png")
    assert run("caption", tmp_path / "pipe.png", "--model", starter).code == 1


def test_a_cut_off_sound_is_transcribed_and_noted(run, shared_models, tmp_path):
    whole = (paths.samples() / "please-open.wav").read_bytes()
    cut = tmp_path / "cut.wav"
    cut.write_bytes(whole[: len(whole) // 2])
    outcome = run("transcribe", cut, "--model", shared_models / "whisper-tiny.en", "--json")
    assert outcome.code == 0
    assert "cut off" in outcome.json["notes"][0]
    assert outcome.json["text"]


@pytest.mark.skipif(sys.platform == "win32", reason="redirections of a POSIX shell")
@pytest.mark.parametrize(
    ("redirection", "code", "sentence"),
    [
        (">/dev/full", 1, "cannot be written to the output: No space left on device"),
        (">&-", 1, "leave stdout open"),
        ("| head -c 0", 0, ""),
    ],
)
def test_an_output_that_takes_nothing_ends_in_at_most_one_line(redirection, code, sentence):
    if "/dev/full" in redirection and not Path("/dev/full").exists():
        pytest.skip("no /dev/full here")
    command = f"set -o pipefail; {sys.executable} -m mmviewer models {redirection}"
    environment = os.environ | {"PYTHONIOENCODING": "ascii"}  # no letter of ours may fail on such a terminal
    done = subprocess.run(
        ["bash", "-c", command], capture_output=True, text=True, timeout=120, env=environment
    )
    assert done.returncode == code
    assert sentence in done.stderr
    assert len(done.stderr.splitlines()) == (1 if code else 0)
