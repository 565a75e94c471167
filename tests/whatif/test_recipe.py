"""Recipes as values and as JSON, and regions hidden in pixels and samples."""

from __future__ import annotations

import json

import numpy as np
import pytest

from mmviewer.core.errors import InputError
from mmviewer.core.interventions.inputs import changed_item, picture_mask
from mmviewer.core.interventions.recipe import (
    ChangeWord,
    HideRegion,
    KeepRegion,
    Region,
    ScaleGate,
    SwitchOff,
    read_recipe,
    recipe_digest,
    recipe_json,
    recipe_words,
)
from mmviewer.core.types import Media, Modality

BOX = Region("box", ((10, 5), (30, 25)), "owl")
RECIPE = (
    HideRegion(BOX, "blur"),
    KeepRegion(Region("polygon", ((0, 0), (40, 0), (20.5, 30)))),
    ChangeWord("dog", "black cat"),
    ChangeWord("red", place="labels"),
    SwitchOff("decoder.cross", 2, (0, 3), "uniform"),
    ScaleGate("decoder.cross", None, 0.5),
)


def test_json_carries_a_recipe_whole():
    assert read_recipe(recipe_json(RECIPE)) == RECIPE
    assert recipe_digest(RECIPE) != recipe_digest(RECIPE[::-1])


def test_words_count_layers_and_heads_from_one():
    assert recipe_words(RECIPE[2:]) == (
        "“dog” → “black cat”; without “red” in the labels; decoder.cross, layer 3, heads 1, 4 made uniform; "
        "gate of decoder.cross, all layers × 0.5"
    )
    assert recipe_words(RECIPE[:1]) == "blur “owl”"


BROKEN = {
    "no json": "{",
    "nested": "[" * 100_000,
    "a list": "[]",
    "later version": json.dumps({"mmviewer_recipe": 2, "steps": []}),
    "unknown step": json.dumps({"mmviewer_recipe": 1, "steps": [{"kind": "explode"}]}),
    "step is text": json.dumps({"mmviewer_recipe": 1, "steps": ["hide"]}),
    "no region": json.dumps({"mmviewer_recipe": 1, "steps": [{"kind": "hide"}]}),
    "infinite": '{"mmviewer_recipe": 1, "steps": [{"kind": "hide", "region":'
    ' {"shape": "box", "points": [[0, 0], [1e999, 1]]}}]}',
    "one corner": '{"mmviewer_recipe": 1, "steps": [{"kind": "keep", "region":'
    ' {"shape": "box", "points": [[0, 0]]}}]}',
    "bad removal": '{"mmviewer_recipe": 1, "steps": [{"kind": "keep", "by": "magic", "region":'
    ' {"shape": "box", "points": [[0, 0], [1, 1]]}}]}',
    "word is a number": '{"mmviewer_recipe": 1, "steps": [{"kind": "word", "word": 7}]}',
    "negative head": '{"mmviewer_recipe": 1, "steps": [{"kind": "heads", "point": "x", "heads": [-1]}]}',
    "gate is text": '{"mmviewer_recipe": 1, "steps": [{"kind": "gate", "point": "x", "factor": "2"}]}',
    "gate is endless": '{"mmviewer_recipe": 1, "steps": [{"kind": "gate", "point": "x", "factor": 1e999}]}',
    "heads is text": '{"mmviewer_recipe": 1, "steps": [{"kind": "heads", "point": "x", "heads": "01"}]}',
    "many steps": json.dumps({"mmviewer_recipe": 1, "steps": [{"kind": "word", "word": "a"}] * 1000}),
}


@pytest.mark.parametrize("text", BROKEN.values(), ids=BROKEN.keys())
def test_a_broken_recipe_is_one_clear_sentence(text: str):
    with pytest.raises(InputError) as refused:
        read_recipe(text)
    assert len(refused.value.message) < 200


def test_a_hidden_box_is_filled_to_the_pixel(picture: Media):
    hidden = changed_item(picture, [HideRegion(BOX)])
    inside = np.zeros(picture.pixels.shape[:2], bool)
    inside[5:25, 10:30] = True
    assert (hidden.pixels[~inside] == picture.pixels[~inside]).all()
    assert (hidden.pixels[inside] == np.rint(picture.pixels.reshape(-1, 3).mean(0))).all()
    kept = changed_item(picture, [KeepRegion(BOX)])
    assert (kept.pixels[inside] == picture.pixels[inside]).all()
    assert len(np.unique(kept.pixels[~inside], axis=0)) == 1
    assert hidden.id == picture.id


@pytest.mark.parametrize("by", ["blur", "noise"])
def test_other_fillings_keep_colour_but_no_content(picture: Media, by: str):
    hidden = changed_item(picture, [HideRegion(BOX, by)])
    before, after = picture.pixels[5:25, 10:30], hidden.pixels[5:25, 10:30]
    assert abs(float(before.mean()) - float(after.mean())) < 8
    assert abs(np.corrcoef(before.ravel(), after.ravel())[0, 1]) < 0.3
    assert (changed_item(picture, [HideRegion(BOX, by)]).pixels == hidden.pixels).all()


def test_an_outline_holds_the_pixels_whose_centre_is_inside():
    star = ((2.0, 1.0), (20.0, 6.5), (3.0, 14.0), (12.0, 7.0))
    mask = picture_mask(Region("polygon", star), (16, 24), (16, 24))

    def crossings(x: float, y: float) -> int:
        """Edges to the right of a point, one by one."""
        pairs = zip(star, (*star[1:], star[0]), strict=True)
        ends = [(a, b) for a, b in pairs if (a[1] > y) != (b[1] > y)]
        return sum(x < a[0] + (y - a[1]) * (b[0] - a[0]) / (b[1] - a[1]) for a, b in ends)

    expected = [[crossings(x + 0.5, y + 0.5) % 2 == 1 for x in range(24)] for y in range(16)]
    assert (mask == np.array(expected)).all()
    assert 20 < mask.sum() < 200


def test_a_region_means_original_pixels_also_in_a_reduced_copy():
    half = picture_mask(BOX, (60, 90), (30, 45))
    rows, columns = np.nonzero(half)
    assert (rows.min(), rows.max() + 1, columns.min(), columns.max() + 1) == (2, 12, 5, 15)


def test_a_stretch_of_sound_goes_silent_and_the_rest_stays(sound: Media):
    hidden = changed_item(sound, [HideRegion(Region("span", ((0.5, 1.0),)))])
    inside = slice(int(0.505 * 16_000) + 1, int(0.995 * 16_000))
    assert np.ptp(hidden.samples[inside]) < 1e-6
    assert (hidden.samples[:8000] == sound.samples[:8000]).all()
    assert (hidden.samples[16_000:] == sound.samples[16_000:]).all()
    slow = changed_item(sound, [HideRegion(Region("span", ((0.5, 1.0),)), "blur")])
    assert np.abs(slow.samples[inside]).max() < 0.1 * np.abs(sound.samples[inside]).max()
    assert len(slow.samples) == len(sound.samples)


@pytest.mark.parametrize(
    ("region", "words"),
    [
        (Region("box", ((500, 5), (600, 25))), "outside"),
        (Region("span", ((0, 1),)), "stretch of time"),
        (Region("box", ((3, 3), (3, 9))), "outside"),
    ],
)
def test_regions_that_do_not_fit_are_refused(picture: Media, region: Region, words: str):
    with pytest.raises(InputError, match=words):
        changed_item(picture, [HideRegion(region)])


def test_boxes_are_refused_in_sounds_and_regions_in_texts(sound: Media):
    with pytest.raises(InputError, match="stretch of time"):
        changed_item(sound, [HideRegion(BOX)])
    with pytest.raises(InputError, match="outside"):
        changed_item(sound, [HideRegion(Region("span", ((5, 6),)))])
    with pytest.raises(InputError, match="no regions"):
        changed_item(Media("t", Modality.TEXT, "t", text="dog"), [HideRegion(BOX)])
