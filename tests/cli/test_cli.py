"""The command line as a user runs it: results, files, exit codes, one line for each failure."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys

import numpy as np
import pytest
from PIL import Image

import mmviewer
from mmviewer import paths


def test_classify(run, starter, scene):
    outcome = run("classify", scene, "--labels", "cat,teapot,rocket", "--model", starter, "--json")
    assert outcome.code == 0
    assert outcome.err == ""
    (item,) = outcome.json["items"]
    assert item["path"] == scene
    chances = [score["probability"] for score in item["scores"]]
    assert chances == sorted(chances, reverse=True)
    assert sum(chances) == pytest.approx(1, abs=1e-5)
    assert {score["label"] for score in item["scores"]} == {"cat", "teapot", "rocket"}
    assert outcome.json["activation"] == "softmax"
    assert outcome.json["templates"] == ["a {}"]
    assert len(outcome.json["model"]["weights_hash"]) == 64


def test_classify_goes_on_after_a_broken_file(run, starter, scene, tmp_path):
    broken = tmp_path / "broken.png"
    broken.write_bytes(b"\x89PNG\r\n\x1a\nrubbish")
    outcome = run("classify", broken, scene, "--labels", "cat,dog", "--model", starter, "--json")
    assert outcome.code == 1
    assert "broken.png" in outcome.complaint
    assert [item["path"] for item in outcome.json["items"]] == [scene]
    assert outcome.json["failures"][0]["path"] == str(broken)


@pytest.mark.parametrize("command", ["classify", "embed"])
def test_a_file_of_a_kind_the_model_cannot_embed_is_named_and_the_rest_goes_on(run, scene, tmp_path, command):
    sound = str(paths.samples() / "please-open.wav")
    options = ["--labels", "cat"] if command == "classify" else ["--out", tmp_path / "x.npz"]
    outcome = run(command, sound, scene, *options, "--model", "starter-photo", "--json")
    assert outcome.code == 1
    assert "please-open.wav is a sound" in outcome.complaint
    assert [item["path"] for item in outcome.json["items"]] == [scene]
    assert [failure["path"] for failure in outcome.json["failures"]] == [sound]


def test_two_files_with_the_same_content_are_two_items(run, starter, scene, tmp_path):
    copy = tmp_path / "copy.png"
    shutil.copy(scene, copy)
    outcome = run("embed", scene, copy, "--out", tmp_path / "x.npz", "--model", starter, "--json")
    assert [item["path"] for item in outcome.json["items"]] == [scene, str(copy)]
    with np.load(tmp_path / "x.npz") as saved:
        assert saved["paths"].tolist() == [scene, str(copy)]


def test_help_shows_the_shape_that_models_prints(run):
    entry = run("models", "--json").json[0]
    told = run("models", "--help").out
    assert all(f'"{key}"' in told for key in entry)


def test_classify_reads_labels_from_a_file(run, starter, scene, tmp_path):
    labels = tmp_path / "labels.txt"
    labels.write_text("cat\n\na red, round thing\n", "utf-8")
    outcome = run(
        "classify", scene, "--labels", f"@{labels}", "--template", "{}", "--model", starter, "--json"
    )
    assert outcome.json["labels"] == ["cat", "a red, round thing"]


def test_table_for_people(run, starter, scene):
    outcome = run("classify", scene, "--labels", "cat,dog", "--model", starter)
    assert outcome.out.splitlines()[0] == scene
    assert "%" in outcome.out


def test_caption(run, starter, scene):
    outcome = run("caption", scene, "--model", starter, "--json")
    assert outcome.code == 0
    facts = outcome.json
    assert facts["text"]
    assert facts["finished"] is True
    assert facts["logprob"] == pytest.approx(sum(token["logprob"] for token in facts["tokens"]))
    for token in facts["tokens"]:
        assert token["logprob"] <= 0
        assert len(token["alternatives"]) == 5
        if not token["special"]:
            assert facts["text"][token["start"] : token["end"]] == token["text"]
    assert run("caption", scene, "--model", starter).out.strip() == facts["text"]


def test_caption_can_be_drawn(run, starter, scene):
    same = [
        run("caption", scene, "--model", starter, "--temperature", 2, "--seed", 5, "--max-tokens", 6).out
        for _ in range(2)
    ]
    assert same[0] == same[1]


def test_explain_writes_arrays_and_figures(run, starter, scene, tmp_path):
    arrays, figure = tmp_path / "out.npz", tmp_path / "out.svg"
    outcome = run(
        *("explain", scene, "--text", "a red teapot", "--word", "teapot", "--method", "gradient_attention"),
        *("--map", arrays, "--figure", figure, "--model", starter, "--json"),
    )
    assert outcome.code == 0, outcome.err
    facts = outcome.json
    assert facts["kind"] == "attribution"
    assert facts["sequence"] == "query"
    assert facts["shown"] == {**facts["shown"], "label": "teapot", "tokens": [2]}
    with np.load(arrays) as saved:
        assert set(saved.files) == {"grid", "map", "shown", "tokens", "token_grids", "provenance"}
        np.testing.assert_allclose(saved["grid"], facts["shown"]["grid"], rtol=1e-6)
        assert saved["map"].shape == Image.open(scene).size[::-1]
        assert saved["map"].dtype == np.float32
        assert saved["tokens"].tolist() == ["a", "red", "teapot"]
        np.testing.assert_array_equal(saved["token_grids"][2], saved["grid"])
        provenance = json.loads(str(saved["provenance"]))
    assert provenance["method"] == "gradient_attention"
    assert provenance["weights_hash"] == facts["model"]["weights_hash"]
    assert "teapot" in figure.read_text("utf-8")


def test_explain_makes_its_own_caption(run, starter, scene):
    outcome = run("explain", scene, "--token", 0, "--layer", 1, "--head", "max", "--model", starter, "--json")
    facts = outcome.json
    assert facts["sequence"] == "caption"
    assert (facts["layer"], facts["head"], facts["point"]) == (1, "max", "decoder.cross")
    grid = np.array(facts["shown"]["grid"])
    peak = facts["shown"]["peak"]
    assert grid[peak["row"], peak["column"]] == grid.max()
    left = peak["column"] * 448 / grid.shape[1]
    assert left < peak["x"] < left + 448 / grid.shape[1]


def test_map_is_unknown_where_the_model_saw_nothing(run, tmp_path):
    """A cropping model sees the middle of a wide picture; outside of it there is no number."""
    from mmviewer import api
    from mmviewer.cli.output import write_maps
    from mmviewer.core.explain.selection import show
    from mmviewer.core.models.base import FAMILIES

    picture = tmp_path / "wide.png"
    Image.fromarray(np.random.default_rng(0).integers(0, 255, (40, 120, 3), dtype=np.uint8)).save(picture)
    model, media = FAMILIES.get("openclip").tiny("clip"), api.open_item(picture)
    maps = api.explain(model, media, "a dog")
    write_maps(str(tmp_path / "wide.npz"), model.info, media, maps, show(maps))
    with np.load(tmp_path / "wide.npz") as saved:
        unseen = np.isnan(saved["map"])
    assert unseen[:, :40].all()
    assert unseen[:, 80:].all()
    assert not unseen[:, 41:79].any()


def test_embed(run, starter, scene, tmp_path):
    out = tmp_path / "x.npz"
    outcome = run("embed", scene, "--text", "a teapot", "--out", out, "--model", starter, "--json")
    assert outcome.code == 0
    with np.load(out) as saved:
        np.testing.assert_allclose(np.linalg.norm(saved["vectors"], axis=1), 1, atol=1e-5)
        assert saved["modalities"].tolist() == ["image", "text"]
        assert saved["names"].tolist() == ["scene-breakfast.png", "a teapot"]
    assert outcome.json["dimensions"] == 192
    assert outcome.json["items"][1]["path"] is None


def test_models(run):
    outcome = run("models", "--json")
    assert outcome.code == 0
    assert all({"source", "label", "family", "size_bytes"} <= set(entry) for entry in outcome.json)


def test_doctor(run):
    outcome = run("doctor", "--json")
    assert outcome.code == 0
    facts = outcome.json
    assert facts["mmviewer"] == mmviewer.__version__
    assert facts["packages"]["torch"]
    assert facts["devices"]["chosen"]
    assert facts["devices"]["reason"]
    assert set(facts["audio"]) == {"outputs", "inputs", "reason"}
    assert facts["display"]["available"] is True
    assert all(item["remedy"] for item in facts["missing"])
    assert f"mmviewer {mmviewer.__version__}" in run("doctor").out


def test_doctor_tells_of_a_missing_display(run, monkeypatch):
    for name in ("DISPLAY", "WAYLAND_DISPLAY", "QT_QPA_PLATFORM"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(sys, "platform", "linux")
    facts = run("doctor", "--json").json
    assert facts["display"]["available"] is False
    assert "display" in [item["what"] for item in facts["missing"]]


def test_window_without_a_display_names_the_other_commands(run, monkeypatch):
    for name in ("DISPLAY", "WAYLAND_DISPLAY", "QT_QPA_PLATFORM"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(sys, "platform", "linux")
    for words in ((), ("gui",), ("photo.jpg",)):
        outcome = run(*words)
        assert outcome.code == 1
        assert "classify, caption" in outcome.complaint


@pytest.mark.parametrize(
    "words",
    [
        ("clasify",),
        ("classify",),
        ("classify", "x.png"),
        ("transcribe", "x.wav"),
        ("caption", "x.png", "--temperature", "hot"),
        ("caption", "x.png", "--temperature", "nan"),
        ("caption", "x.png", "--top-p", "0"),
        ("explain", "x.png", "--layer", "-1"),
        ("explain", "x.png", "--word", "a", "--token", "1"),
        ("embed", "x.png"),
        ("--nonsense",),
    ],
)
def test_wrong_use(run, words):
    outcome = run(*words)
    assert outcome.code == 2
    assert outcome.out == ""
    assert "mmviewer" in outcome.err


def test_version_and_help(run):
    assert run("--version").out.strip() == f"mmviewer {mmviewer.__version__}"
    for command in ("classify", "caption", "transcribe", "explain", "embed", "models", "doctor"):
        outcome = run(command, "--help")
        assert outcome.code == 0
        assert "--json prints" in outcome.out


def test_module_runs_as_a_program(scene, starter, tmp_path):
    words = ["caption", scene, "--model", starter, "--json"]
    done = subprocess.run(
        [sys.executable, "-m", "mmviewer", *words], capture_output=True, text=True, timeout=120
    )
    assert done.returncode == 0
    assert done.stderr == ""
    assert json.loads(done.stdout)["text"]


def test_window_and_help_need_no_torch():
    script = (
        "import sys, contextlib, io\n"
        "import mmviewer, mmviewer.cli\n"
        "with contextlib.redirect_stdout(io.StringIO()):\n"
        "    mmviewer.cli.main(['explain', '--help'])\n"
        "print([n for n in ('torch', 'open_clip', 'transformers', 'matplotlib') if n in sys.modules])\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, timeout=60, check=True
    )
    assert done.stdout.strip() == "[]"
