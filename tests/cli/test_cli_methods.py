"""Methods, contrasts and heads on the command line and in the Python API."""

from __future__ import annotations

import numpy as np
import pytest

import mmviewer as mv
from mmviewer import paths
from mmviewer.core.targets import SimilarityTarget


def test_a_word_against_another(run, scene):
    words = (
        "explain",
        scene,
        "--text",
        "teapot",
        "--method",
        "grad_eclip",
        "--contrast",
        "croissant",
        "--json",
    )
    done = run(*words)
    assert done.code == 0, done.err
    assert done.json["method"] == "grad_eclip"
    assert "minus cosine similarity with “croissant”" in done.json["score"]


def test_a_caption_against_its_runners_up(run, scene):
    done = run("explain", scene, "--method", "gradient_attention", "--contrast", "runner-up", "--json")
    assert done.code == 0, done.err
    assert "minus that of its runner-up" in done.json["score"]
    wrong = run("explain", scene, "--method", "gradient_attention", "--contrast", "dog")
    assert wrong.code == 2
    assert "runner-up" in wrong.complaint


def test_several_heads_and_no_sinks(run, scene):
    done = run("explain", scene, "--head", "0,2", "--layer", "1", "--without-sinks", "--json")
    assert done.code == 0, done.err
    assert done.json["head"] == [0, 2]
    assert "mean of heads 1, 3" in done.json["description"]
    assert "sink" in done.json["description"]
    assert run("explain", scene, "--head", "0,x").code == 2


def test_the_same_from_python(starter, scene):
    model, image = mv.load(starter), mv.open(scene)
    maps = mv.explain(model, image, "teapot", method="grad_eclip", contrast="croissant")
    assert maps.spec.contrast == SimilarityTarget("croissant")
    both = mv.explain(model, image, method="grad_eclip", target="teapot", contrast="croissant")
    np.testing.assert_allclose(both.whole, maps.whole, rtol=1e-4, atol=1e-7)
    assert both.whole.max() == pytest.approx(both.values[0].max())


def test_the_average_of_many_maps(run, starter, tmp_path):
    scenes = sorted(paths.samples().glob("scene-*.png"))[:4]
    broken = tmp_path / "broken.png"
    broken.write_bytes(b"\x89PNG but no more")
    arrays = tmp_path / "average.npz"
    words = ("average", *scenes, broken, "--text", "a cat", "--most", "3", "--map", arrays, "--json")
    done = run(*words)
    assert done.code == 1
    assert "broken.png" in done.complaint
    told = done.json
    assert (told["asked"], told["taken"], told["method"]) == (5, 3, "gradient_attention")
    assert {item["path"] for item in told["items"]} == {str(scenes[0]), str(scenes[2])}
    assert told["items"][0]["distance"] >= told["items"][1]["distance"]
    model = mv.load(starter)
    found = mv.average_map(model, [scenes[0], mv.open(scenes[2])], "a cat")
    with np.load(arrays) as kept:
        np.testing.assert_allclose(kept["mean"], found.average.mean, rtol=1e-4, atol=1e-8)
        assert kept["items"].tolist() == [scenes[0].name, scenes[2].name]
    assert mv.average_figure(found, tmp_path / "average.svg", model=model).stat().st_size > 5000
    assert run("average", scenes[0], "--text", "cat", "--method", "none").code == 2
