"""What a model's folder tells people, also when it is broken or hostile."""

from __future__ import annotations

import json

import pytest

from mmviewer.core.models.about import read_about
from mmviewer.core.types import ModelAbout, ModelFigure, QuestionForm

CONFIG = "open_clip_config.json"
TOLD = {
    "questions": {"prompt": "{question} ?", "examples": ["how many dogs", "where is  the owl"]},
    "licence": "MIT",
    "limits": "Knows drawings, no photographs.",
}
FIGURES = [
    {"name": "zero-shot top-1", "value": 0.6, "chance": 0.003, "unit": "share", "note": "Twemoji"},
    {"name": "error", "value": 3},
]


def folder_with(folder, told=None, figures=None, card=None):
    config = {"model_cfg": {}} if told is None else {"model_cfg": {}, "mmviewer": told}
    (folder / CONFIG).write_text(json.dumps(config), "utf-8")
    if figures is not None:
        (folder / "figures.json").write_text(
            figures if isinstance(figures, str) else json.dumps(figures), "utf-8"
        )
    if card is not None:
        (folder / "README.md").write_text(card, "utf-8")
    return folder


def test_everything_is_read(tmp_path):
    about = read_about(folder_with(tmp_path, TOLD, FIGURES, "# Card"), CONFIG)
    assert about.questions == QuestionForm("{question} ?", ("how many dogs", "where is the owl"))
    assert about.figures == (
        ModelFigure("zero-shot top-1", 0.6, 0.003, "share", "Twemoji"),
        ModelFigure("error", 3.0),
    )
    assert (about.licence, about.limits) == ("MIT", "Knows drawings, no photographs.")
    assert about.card == str((tmp_path / "README.md").resolve())
    assert about.notes == ()


def test_nothing_has_to_be_there(tmp_path):
    assert read_about(None, CONFIG) == ModelAbout()
    assert read_about(tmp_path, CONFIG) == ModelAbout()
    assert read_about(folder_with(tmp_path), CONFIG) == ModelAbout()


@pytest.mark.parametrize(
    "questions",
    [
        "{question} ?",
        {"prompt": "no place for it"},
        {"prompt": "{question} {question}"},
        {"prompt": 3},
        {"prompt": "{question}" + "x" * 1000},
        {"prompt": "{question} ?", "examples": "how many"},
        {"prompt": "{question} ?", "examples": [1]},
        {},
    ],
)
def test_a_broken_question_form_is_left_out_with_a_note(tmp_path, questions):
    about = read_about(folder_with(tmp_path, {**TOLD, "questions": questions}), CONFIG)
    assert about.questions is None
    assert about.licence == "MIT"
    (note,) = about.notes
    assert "questions" in note


@pytest.mark.parametrize(
    "figures",
    [
        "{broken",
        "[" * 100_000,
        {"name": "no list"},
        [3],
        [{"name": "no value"}],
        [{"name": "x", "value": "0.5"}],
        [{"name": "x", "value": True}],
        '[{"name": "x", "value": NaN}]',
        [{"name": "", "value": 1}],
        [{"name": "x" * 1000, "value": 1}],
        [{"name": "x", "value": 1, "note": 7}],
        "[" + " " * 2_000_000 + "]",
    ],
    ids=range(12),
)
def test_broken_figures_are_left_out_with_a_note(tmp_path, figures):
    about = read_about(folder_with(tmp_path, TOLD, figures), CONFIG)
    assert about.figures == ()
    (note,) = about.notes
    assert "figures.json" in note
    assert len(note) < 300


def test_lists_without_end_are_cut(tmp_path):
    questions = {"prompt": "{question} ?", "examples": ["a"] * 10_000}
    told = {"questions": questions}
    about = read_about(folder_with(tmp_path, told, [{"name": "x", "value": 1}] * 5000), CONFIG)
    assert len(about.questions.examples) == 12
    assert len(about.figures) == 24


def test_a_settings_key_that_is_no_table_is_ignored(tmp_path):
    assert read_about(folder_with(tmp_path, ["no", "table"]), CONFIG) == ModelAbout()
