"""`mmviewer what-if` and `mmviewer.what_if` on the shipped model."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

import mmviewer as mv
from mmviewer import paths
from mmviewer.cli import main
from mmviewer.core.interventions.recipe import HideRegion, Region, read_recipe

SCENE = str(paths.samples() / "scene-owl-guitar.png")


@pytest.fixture(scope="module", autouse=True)
def _shipped():
    if not list(paths.starter_model().glob("*.safetensors")):
        pytest.skip("the starter model's weights are not in this checkout")


def test_a_recipe_is_written_and_gives_the_same_again(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    recipe = tmp_path / "recipe.json"
    words = ["--hide", "0,0,256,512", "--heads-off", "decoder.cross:1:0", "--labels", "owl,guitar", "--json"]
    assert main(["what-if", SCENE, *words, "--by", "blur", "--save-recipe", str(recipe)]) == 0
    first = json.loads(capsys.readouterr().out)
    assert main(["what-if", SCENE, "--recipe", str(recipe), "--labels", "owl,guitar", "--json"]) == 0
    again = json.loads(capsys.readouterr().out)
    assert first == again
    assert [step["kind"] for step in first["recipe"]["steps"]] == ["hide", "heads"]
    assert first["after"] != first["before"]
    known = [token for token in first["tokens"] if token["difference"] is not None]
    assert sum(token["difference"] for token in known) == pytest.approx(
        first["total"]["difference"], abs=1e-4
    )

    found = mv.what_if(mv.load("starter"), mv.open(SCENE), read_recipe(recipe.read_text()))
    assert found.total == pytest.approx((first["total"]["before"], first["total"]["after"]), abs=1e-4)


def test_a_query_and_its_words(capsys: pytest.CaptureFixture[str]):
    assert main(["what-if", SCENE, "--text", "a brown owl", "--swap", "owl=cat"]) == 0
    said = capsys.readouterr().out
    assert "after:  a brown cat" in said
    assert "similarity:" in said


@pytest.mark.parametrize(
    ("words", "code", "complaint"),
    [
        ([], 2, "Nothing is to be changed"),
        (["--hide", "1,2,3"], 2, "four pixels"),
        (["--hide", "a,b"], 2, "no region"),
        (["--hide", "1,nan,3,4"], 2, "not a number"),
        (["--swap", "owl"], 2, "no swap"),
        (["--heads-off", "decoder.cross:x"], 2, "names no heads"),
        (["--gate", "decoder.cross=x"], 2, "no gate"),
        (["--gate", "decoder.cross=0.5"], 2, "has no gates"),
        (["--recipe", "nowhere.json"], 2, "cannot be read"),
        (["--hide", "9000,0,9999,5"], 2, "outside"),
        (["--drop", "zebra"], 2, "no “zebra”"),
        (["--drop", "owl", "--save-recipe", "x.txt"], 2, "must end in"),
    ],
)
def test_wrong_use_is_one_clear_line(words, code, complaint, capsys: pytest.CaptureFixture[str]):
    assert main(["what-if", SCENE, *words]) == code
    said = capsys.readouterr().err
    assert complaint in said
    assert "Traceback" not in said


def test_the_interface_takes_regions_and_texts():
    steps = [HideRegion(Region("box", ((0, 0), (256, 512))))]
    found = mv.what_if(mv.load("starter"), mv.open(SCENE), steps, "owl", labels=["owl", "guitar"])
    assert found.before.kind == "query"
    assert found.similarity[1] != found.similarity[0]
    assert found.scores_after.probabilities[0, 0] < found.scores_before.probabilities[0, 0]
