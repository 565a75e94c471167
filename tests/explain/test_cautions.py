"""Cautions are raised where a map is known to mislead, and nowhere else."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

import mmviewer as mv
from mmviewer.core.cautions import (
    HIDDEN,
    SEVERAL,
    SHARED,
    applying,
    of_certain,
    on_sinks,
    on_words,
    things_named,
)
from mmviewer.core.explain.base import METHODS
from mmviewer.core.help_pages import load_pages
from mmviewer.core.models.base import FAMILIES
from mmviewer.core.targets import EACH_PAIR_OR_WHOLE, EACH_TOKEN, EACH_WORD_OR_WHOLE, score_of_shown
from mmviewer.core.types import Media, Modality, Sampling

PAGES = {page.key for page in load_pages()}


@pytest.mark.parametrize(
    ("text", "count"),
    [
        ("dog", 1),
        ("a red dog", 1),
        ("a photo of a dog", 1),
        ("a dog on a white background", 1),
        ("a red and blue car", 1),
        ("a cup of coffee", 1),
        ("an owl and a guitar", 2),
        ("an owl above a guitar", 2),
        ("a drawing of a blue bicycle to the left of a tree", 2),
        ("a cat, a dog and a teapot", 3),
        ("three mice", 2),
        ("2 dogs", 2),
        ("", 0),
        ("of the", 0),
        ("and " * 5000, 0),
    ],
)
def test_things_that_a_text_names(text, count):
    assert things_named(text) == count


def test_sinks_are_told_where_they_hold_a_tenth():
    values = np.full((3, 20), 1.0)
    values[1, 4] = 19.0  # half of the map
    (caution,) = on_sinks(values, (4,))
    assert caution.tokens == (1,)
    assert "50 %" in caution.text
    assert caution.page in PAGES
    assert not list(on_sinks(np.ones((3, 20)), (4,)))
    assert not list(on_sinks(np.zeros((3, 20)), (4,)))
    assert not list(on_sinks(np.ones((1, 4)), (0, 1)))  # half of the places hold half of it


def test_words_that_were_certain():
    (caution,) = of_certain([None, -0.001, -3.0])
    assert caution.tokens == (1,)
    assert caution.page in PAGES
    assert not list(of_certain([None, -0.5]))


def test_attention_that_is_hardly_on_the_picture():
    (caution,) = on_words([0.5, 0.04, 0.02])
    assert caution.tokens == (1, 2)
    assert "4 %" in caution.text
    assert caution.page in PAGES
    assert not list(on_words([0.5]))
    model = FAMILIES.get("llava").tiny(FAMILIES.get("llava").tiny_variants()[0])
    pixels = np.random.default_rng(0).integers(0, 255, (40, 40, 3), dtype=np.uint8)
    media = Media("picture", Modality.IMAGE, "a.png", pixels=pixels)
    written = mv.caption(model, media, Sampling(max_tokens=2))
    maps = mv.explain(model, media, written)
    shares = maps.values.sum((1, 2))
    told = {row for each in maps.cautions if "on words" in each.text for row in each.tokens or ()}
    assert told == {row for row, share in enumerate(shares) if share < 0.1}


def test_a_caution_of_some_tokens_is_shown_with_them_alone():
    (certain,) = of_certain([-0.001, -3.0])
    both = (SEVERAL, certain)
    assert applying(both, (0,)) == both
    assert applying(both, (1,)) == (SEVERAL,)
    assert applying(both, ()) == (SEVERAL,)


@pytest.mark.parametrize("key", METHODS.keys())
def test_several_things_are_told_of_first_order_methods(tiny, picture, key):
    model, method = tiny("clip"), METHODS.get(key)
    if not method.offers(model, "query"):
        pytest.skip("not offered")
    one = mv.explain(model, picture, "a dog", method=key).cautions
    two = mv.explain(model, picture, "a dog and a cat", method=key).cautions
    assert SEVERAL not in one
    assert (SEVERAL in two) == method.first_order
    assert (SHARED in one) == (key in ("attention", "rollout"))
    assert (HIDDEN in one) == (key in ("occlusion", "feature_ablation"))
    assert {each.page for each in (*one, *two)} <= PAGES


def test_certain_words_are_told_of_local_gradients(tiny, picture, caption_of):
    model = tiny("coca")
    sequence = caption_of(model, model.prepare(picture))
    tokens = tuple(replace(token, logprob=-0.001 if token.index == 1 else -2.0) for token in sequence.tokens)
    sequence = replace(sequence, tokens=tokens)
    for key, told in (("gradient_attention", True), ("integrated_gradients", False), ("attention", False)):
        found = mv.explain(model, picture, sequence, method=key).cautions
        assert any(each.page == "saturation" and each.tokens == (1,) for each in found) == told


def test_the_score_is_called_by_the_word_that_is_shown():
    assert score_of_shown(EACH_TOKEN, [" owl"]) == "log-probability of “owl” at its step"
    assert score_of_shown(EACH_TOKEN, ["an", "owl"]) == EACH_TOKEN
    assert score_of_shown(EACH_WORD_OR_WHOLE, ["owl"]) == "cosine similarity with “owl” alone"
    assert score_of_shown(EACH_WORD_OR_WHOLE, []) == "cosine similarity with the whole text"
    assert ";" not in score_of_shown(EACH_WORD_OR_WHOLE, ["a", "b"])
    assert score_of_shown(EACH_PAIR_OR_WHOLE, ["owl"]).startswith("interaction of region and “owl”")
    assert score_of_shown(EACH_PAIR_OR_WHOLE, []).startswith("effect of a region")
    assert score_of_shown(EACH_TOKEN, ["  "]) == EACH_TOKEN
    assert score_of_shown("", ["owl"]) == ""
