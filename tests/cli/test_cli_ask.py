"""Questions on the command line and in a script, on real weights with and without a question form."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

import mmviewer as mv
from mmviewer import paths
from mmviewer.core.errors import InputError, UnsupportedError


def folder_with(folder: Path, source: Path, own: dict) -> str:
    """A model folder with the same weights that tells other things of itself."""
    for path in source.iterdir():
        if path.name != "open_clip_config.json":
            shutil.copy(path, folder)
    config = json.loads((source / "open_clip_config.json").read_text("utf-8"))
    built = {key: value for key, value in config.get("mmviewer", {}).items() if key == "stem"}
    config["mmviewer"] = built | own
    (folder / "open_clip_config.json").write_text(json.dumps(config), "utf-8")
    return str(folder)


@pytest.fixture(scope="module")
def weights(request) -> Path:
    if list(paths.starter_model().glob("*.safetensors")):
        return paths.starter_model()
    return request.getfixturevalue("shared_models") / "starter-prototype"


@pytest.fixture
def asking(tmp_path, weights) -> str:
    return folder_with(tmp_path, weights, {"questions": {"prompt": "{question} ?", "examples": []}})


@pytest.fixture
def silent(tmp_path, weights) -> str:
    return folder_with(tmp_path, weights, {})


def test_ask_prints_the_answer_alone(run, asking, scene):
    outcome = run("ask", scene, "What is in the picture?", "--model", asking, "--json")
    assert outcome.code == 0
    facts = outcome.json
    assert facts["question"] == "What is in the picture?"
    assert facts["text"].startswith("what is in the picture ?")
    given = [token["text"].strip() for token in facts["tokens"] if token["given"]]
    assert " ".join(given).replace(" ", "") == "whatisinthepicture?"
    assert all((token["logprob"] is None) == token["given"] for token in facts["tokens"])
    assert facts["logprob"] < 0
    plain = run("ask", scene, "What is in the picture?", "--model", asking)
    assert plain.out.strip() == facts["answer"]


def test_ask_in_a_script_gives_tokens_that_can_be_explained(asking, scene, tmp_path):
    model, image = mv.load(asking), mv.open(scene)
    answer = mv.ask(model, image, "How many teapots?")
    maps = mv.explain(model, image, answer)
    assert len(maps.values) == len(answer.tokens)
    written = mv.figure(maps, image, tmp_path / "answer.svg", model=model)
    assert "how many teapots ?" in Path(written).read_text("utf-8")


def test_explain_shows_where_it_looked_to_answer(run, asking, scene):
    outcome = run("explain", scene, "--ask", "How many teapots?", "--model", asking, "--json")
    facts = outcome.json
    assert facts["sequence"] == "answer"
    own = [token["index"] for token in facts["tokens"] if not (token["given"] or token["special"])]
    assert facts["shown"]["tokens"] == (own or facts["shown"]["tokens"])
    assert run("explain", scene, "--ask", "a", "--text", "b", "--model", asking).code == 2


def test_a_model_without_questions_says_so_and_still_writes_on(run, silent, scene):
    outcome = run("ask", scene, "how many teapots", "--model", silent)
    assert outcome.code == 1
    assert "was not trained to answer questions" in outcome.complaint
    with pytest.raises(UnsupportedError, match="not trained"):
        mv.ask(mv.load(silent), mv.open(scene), "how many teapots")
    facts = run("caption", scene, "--prompt", "a teapot", "--model", silent, "--json").json
    assert facts["text"].startswith("a teapot")
    assert "question" not in facts


@pytest.mark.parametrize(
    ("question", "complaint"),
    [("  ", "question is empty"), ("cat " * 100, "shorten it")],
    ids=["none", "long"],
)
def test_questions_that_cannot_be_put(run, asking, scene, question, complaint):
    outcome = run("ask", scene, question, "--model", asking)
    assert outcome.code == 2
    assert complaint in outcome.complaint


def test_a_text_cannot_be_asked_about(run, asking, tmp_path):
    note = tmp_path / "note.txt"
    note.write_text("a red cat", "utf-8")
    outcome = run("ask", note, "what is it", "--model", asking)
    assert outcome.code == 2
    assert "needs an image" in outcome.complaint
    with pytest.raises(InputError):
        mv.ask(mv.load(asking), mv.open(note), "what is it")


def test_given_answers_are_scored_and_none_is_written(run, asking, scene):
    asked = ("ask", scene, "What is in the picture?", "--model", asking, "--answers", "a dog,an owl,red")
    facts = run(*asked, "--json").json
    assert facts["question"] == "What is in the picture?"
    assert {each["answer"] for each in facts["answers"]} == {"a dog", "an owl", "red"}
    assert sum(each["share"] for each in facts["answers"]) == pytest.approx(1, abs=1e-5)
    logprobs = [each["logprob"] for each in facts["answers"]]
    assert logprobs == sorted(logprobs, reverse=True)
    lines = run(*asked).out.splitlines()
    assert len(lines) == 3
    assert lines[0].endswith(facts["answers"][0]["answer"])


def test_continuations_of_a_text_are_scored(run, silent, scene):
    facts = run(
        "caption", scene, "--model", silent, "--prompt", "a drawing of", "--answers", "a dog,an owl", "--json"
    ).json
    assert facts["prompt"] == "a drawing of"
    model, image = mv.load(silent), mv.open(scene)
    scores = mv.score_answers(model, image, ["a dog", "an owl"], prompt="a drawing of")
    told = {each["answer"]: each["logprob"] for each in facts["answers"]}
    assert told["a dog"] == pytest.approx(float(scores.logprobs[0]), abs=1e-4)


def test_a_text_is_branched_in_a_script(silent, scene):
    model, image = mv.load(silent), mv.open(scene)
    text = mv.caption(model, image)
    other = text.tokens[1].alternative_ids[1]
    branched = mv.branch(model, image, text, 1, other)
    assert branched.tokens[0] == text.tokens[0]
    assert (branched.tokens[1].id, branched.tokens[1].chosen) == (other, True)


def test_examples_are_refused_by_a_model_that_follows_none(run, silent, asking, scene):
    for command in (
        ("caption", scene, "--model", silent, "--example", scene, "a dog"),
        ("ask", scene, "what is it?", "--model", asking, "--example", "-", "what is it?", "a dog"),
    ):
        outcome = run(*command)
        assert outcome.code == 1
        assert "reads one picture at a time" in outcome.err
    with pytest.raises(InputError, match="Answers are a list"):
        mv.score_answers(mv.load(silent), mv.open(scene), "yes")
