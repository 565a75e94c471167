"""The figure of an intervention: drawn, with its numbers, and enough to make it again."""

from __future__ import annotations

import csv
import io
import json
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import pytest

import mmviewer as mv
from mmviewer.core.errors import InputError
from mmviewer.core.figures.provenance import provenance_from_json
from mmviewer.core.interventions.figure import what_if_figure
from mmviewer.core.interventions.outcome import WhatIf
from mmviewer.core.interventions.recipe import ChangeWord, HideRegion, Region, recipe_of
from mmviewer.core.interventions.what_if import what_if
from mmviewer.core.tasks.query import query_sequence
from mmviewer.core.types import MapSpec, Media, TokenSequence

BOX = Region("box", ((10, 5), (70, 50)), "noise <&>")


@pytest.fixture(scope="module")
def tried(tiny, picture: Media) -> tuple[object, WhatIf]:
    model = tiny("openclip", "coca")
    prompt = model.decoder(model.prepare(picture)).prompt
    text, spans = model.token_text([token.id for token in model.tokenize("a red dog")])
    caption = TokenSequence("caption", picture.id, model.info.id, text, spans, prompt_ids=prompt)
    steps = [HideRegion(BOX, "blur"), ChangeWord("red", "blue")]
    return model, what_if(model, picture, steps, about=caption, labels=["dog", "cat"], spec=MapSpec())


def test_an_svg_has_its_texts_and_numbers_as_text(tried, picture: Media, tmp_path: Path):
    model, found = tried
    path = mv.figure(found, picture, tmp_path / "what-if.svg", word="dog", model=model)
    texts = [node.text or "" for node in ElementTree.parse(path).iter() if node.tag.endswith("}text")]
    joined = " ".join(texts)
    assert "What if: blur “noise <&>”; “red” → “blue”" in joined
    assert "changed" in joined
    assert any("both maps on this scale" in text for text in texts)
    for label in ("dog", "cat", "before", "after"):
        assert label in joined


def test_numbers_and_recipe_come_with_the_arrays(tried, picture: Media, tmp_path: Path):
    model, found = tried
    path = mv.figure(found, picture, tmp_path / "what-if.npz", tokens=(2,), model=model)
    with np.load(path) as arrays:
        assert arrays["grid"].shape == (2, *found.maps_before.values.shape[1:])
        assert (arrays["grid"][0] == found.maps_before.values[2]).all()
        changes = [change.difference for change in found.changes]
        assert arrays["token_changes"][[0, 2]].tolist() == pytest.approx([changes[0], changes[2]])
        assert np.isnan(arrays["token_changes"][1])
        source = provenance_from_json(str(arrays["provenance"]))
    assert recipe_of(source.extra["what_if"]["recipe"]) == found.recipe
    assert source.model == model.info.label
    json.dumps(source.extra)
    table = mv.figure(found, picture, tmp_path / "what-if.csv", model=model).read_text("utf-8")
    rows = list(csv.reader(io.StringIO(table)))
    assert rows[0] == ["what", "name", "change", "numbers"]
    assert [row[1] for row in rows[1:4]] == ["a", "red", "dog"]


def test_sounds_are_drawn_as_curves(tiny, sound: Media, tmp_path: Path):
    model = tiny("hearing", "clip")
    query = query_sequence(model, sound.id, "a rising tone")
    hidden = HideRegion(Region("span", ((0.4, 1.6),)))
    found = what_if(model, sound, [hidden], about=query, spec=MapSpec())
    path = mv.figure(found, sound, tmp_path / "sound.png", dpi=50)
    assert path.read_bytes().startswith(b"\x89PNG")


def test_what_cannot_be_drawn_says_so(tried, picture: Media, sound: Media, tmp_path: Path):
    _, found = tried
    with pytest.raises(InputError, match="not the item"):
        what_if_figure(found, sound)
    with pytest.raises(InputError, match="Nothing was changed"):
        what_if_figure(WhatIf((), picture.id, "m"), picture)
    with pytest.raises(InputError, match="no word"):
        mv.figure(found, picture, tmp_path / "x.png", word="zebra")
