"""Methods measured on scenes: the shipped ones, a folder of one's own, and broken lists."""

from __future__ import annotations

import hashlib
import json
import shutil

import numpy as np
import pytest

from mmviewer import paths
from mmviewer.cli.commands.evaluate_methods import markdown
from mmviewer.core.errors import InputError
from mmviewer.core.explain.evaluation import Row
from mmviewer.core.explain.measures import Scale
from mmviewer.core.explain.scenes import read_scenes
from mmviewer.core.media.open import open_media

SCENES = paths.resources() / "scenes"


def test_shipped_scenes_are_whole_and_their_boxes_lie_inside():
    scenes = read_scenes(SCENES)
    groups = [scene.group for scene in scenes]
    assert {group: groups.count(group) for group in groups} == {
        "one object": 40,
        "two objects": 40,
        "three objects": 40,
    }
    for scene in scenes[::9]:
        height, width = open_media(str(SCENES / scene.file)).size
        assert len(scene.things) == groups.index(scene.group) // 40 + 1
        for thing in scene.things:
            assert thing.noun in scene.caption
            for left, top, right, bottom in thing.boxes:
                assert 0 <= left < right <= width
                assert 0 <= top < bottom <= height


def test_a_folder_of_ones_own(run, starter, tmp_path):
    listed = json.loads((SCENES / "boxes.json").read_text())["scenes"]
    chosen = [scene for scene in listed if scene["file"] in ("one-00.webp", "three-00.webp")]
    for scene in chosen:
        shutil.copy(SCENES / scene["file"], tmp_path)
    (tmp_path / "boxes.json").write_text(json.dumps({"scenes": chosen}))
    options = ("--methods", "attention,grad_eclip", "--measured", 1, "--steps", 4, "--random-maps", 2)
    done = run("evaluate-methods", tmp_path, *options, "--model", starter, "--json")
    assert done.code == 0, done.err
    rows = done.json["rows"]
    assert [(row["group"], row["asked"], row["method"]) for row in rows] == [
        (group, asked, method)
        for group in ("one object", "three objects")
        for asked in ("description", "caption")
        for method in ("attention", "grad_eclip")
    ]
    for row in rows:
        assert row["maps"] == (1 if row["group"] == "one object" else 3)
        assert row["curves"] == row["maps"]
        assert 0 <= row["mass"] <= 1
        assert 0 < row["pointing_chance"] < 1
        assert np.isfinite([row["deletion"], row["insertion"], row["random"]]).all()
    guided = next(row for row in rows[4:] if row["asked"] == "caption" and row["method"] == "attention")
    assert guided["mass"] > 2 * guided["mass_chance"]


def test_a_table_in_markdown(run, starter):
    options = ("--groups", "one object", "--scenes", 1, "--methods", "attention", "--measured", 1)
    done = run("evaluate-methods", *options, "--steps", 2, "--random-maps", 1, "--model", starter)
    assert done.code == 0, done.err
    assert "### One object, asked by a description of the thing" in done.out
    assert "| Raw attention | 1 |" in done.out
    assert "| *chance* | 1 |" in done.out


def test_the_helps_table_is_that_of_the_shipped_weights():
    """The page says what the command gave, and gave for the model that ships now."""
    found = json.loads((SCENES / "measured.json").read_text(encoding="utf-8"))
    weights = (paths.starter_model() / "open_clip_model.safetensors").read_bytes()
    assert found["model"]["weights_hash"] == hashlib.sha256(weights).hexdigest(), "measure the methods again"
    rows = [Row(**{**row, "scale": row["scale"] and Scale(row["scale"])}) for row in found["rows"]]
    assert {row.group for row in rows} == {"one object", "three objects"}
    page = (paths.help_pages() / "methods-measured.md").read_text(encoding="utf-8")
    lines = markdown(rows, found["model"]["label"], found["steps"], found["random_maps"])
    assert "\n".join(lines) in page, "run: python packaging/help_pictures.py methods-measured"


def test_what_cannot_be_measured_is_said(run, tmp_path):
    assert "boxes.json" in run("evaluate-methods", tmp_path).complaint
    unknown = run("evaluate-methods", "--groups", "ten objects")
    assert unknown.code == 2
    assert "one object" in unknown.complaint


@pytest.mark.parametrize(
    "text",
    [
        "",
        "[]",
        '{"scenes": []}',
        '{"scenes": [{"file": "../x.png", "things": [{"noun": "a", "boxes": [[0,0,1,1]]}]}]}',
    ],
)
def test_broken_lists(tmp_path, text):
    (tmp_path / "boxes.json").write_text(text)
    with pytest.raises(InputError, match=r"boxes\.json"):
        read_scenes(tmp_path)
