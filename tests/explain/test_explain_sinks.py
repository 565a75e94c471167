"""Attention sinks: found where they are, not where a thing simply is; left out only when asked."""

from __future__ import annotations

import copy

import numpy as np
import pytest
import torch

from mmviewer.core.capture.store import CaptureStore
from mmviewer.core.explain.base import explain
from mmviewer.core.explain.sinks import Sinks, drawn_from_everywhere, find_sinks, outlying
from mmviewer.core.media.geometry import ImageGeometry, TimeGeometry
from mmviewer.core.types import MapSpec


def test_a_column_that_every_row_feeds_is_a_sink():
    rows = torch.rand(50, 49, generator=torch.Generator().manual_seed(0)) + 0.5
    rows[:, 17] = 40
    assert drawn_from_everywhere(rows).nonzero()[:, 0].tolist() == [17]


def test_a_position_that_some_rows_look_at_is_none():
    rows = torch.rand(50, 49, generator=torch.Generator().manual_seed(0)) + 0.5
    rows[:20, 17] = 40  # those 20 patches belong to the same thing
    assert not drawn_from_everywhere(rows).any()
    assert not drawn_from_everywhere(torch.ones(50, 49)).any()
    assert not drawn_from_everywhere(torch.ones(1, 49)).any()


def test_outlying_norms():
    norms = torch.rand(64, generator=torch.Generator().manual_seed(0)) + 10
    assert not outlying(norms).any()
    norms[[3, 40]] = 50
    assert outlying(norms).nonzero()[:, 0].tolist() == [3, 40]


@pytest.fixture
def with_register(tiny, picture):
    """A tower whose blocks write a note of enormous norm into patch 5, which all later queries read."""
    original = tiny("clip")
    model = copy.copy(original)
    model.module = copy.deepcopy(original.module)
    model._model = model.module
    visual = model.module.visual
    with torch.no_grad():
        note = torch.zeros(32)
        note[0] = 60.0
        visual.positional_embedding[6] += note  # after the class token
    visual.ln_pre = torch.nn.Identity()
    for block in visual.transformer.resblocks:
        with torch.no_grad():
            # every query has a bias that the key of the note answers
            query, key = block.attn.in_proj_weight[:32], block.attn.in_proj_weight[32:64]
            query.zero_()
            key.zero_()
            key[::8, 0] = 1.0
            block.attn.in_proj_bias[:32] = 4.0
    return model, model.prepare(picture)


def test_planted_register_is_found_named_and_left_out(with_register, query_of):
    model, prepared = with_register
    sequence = query_of(model, prepared)
    found = find_sinks(model, prepared, sequence)
    assert found.drawing == (5,)
    assert found.high_norm == (5,)

    shown = explain(model, prepared, sequence, MapSpec("attention"))
    assert shown.sinks == (5,)
    assert "row 2, column 2" in shown.caveat
    assert "shown" in shown.caveat
    assert shown.whole[1, 1] == shown.whole.max()

    without = explain(model, prepared, sequence, MapSpec("attention", without_sinks=True))
    assert without.whole[1, 1] == 0
    assert "1 sink left out" in without.description
    keep = np.ones((4, 4), bool)
    keep[1, 1] = False
    np.testing.assert_array_equal(without.whole[keep], shown.whole[keep])
    assert without.spec.without_sinks

    gradient = explain(model, prepared, sequence, MapSpec("legrad", without_sinks=True))
    assert gradient.whole[1, 1] == 0
    assert (gradient.values[:, 1, 1] == 0).all()


def test_no_sink_is_said_where_none_is(tiny, picture, query_of):
    model = tiny("clip")
    prepared = model.prepare(picture)
    maps = explain(model, prepared, query_of(model, prepared), MapSpec("attention", without_sinks=True))
    assert maps.sinks == ()
    assert "no sinks found" in maps.description


def test_sinks_are_looked_for_once(with_register, query_of):
    model, prepared = with_register
    sequence, store = query_of(model, prepared), CaptureStore()
    runs: list[int] = []
    first = find_sinks(model, prepared, sequence, store)
    handle = model.module.visual.conv1.register_forward_hook(lambda *_: runs.append(1))
    again = find_sinks(model, prepared, sequence, store)
    handle.remove()
    assert first == again
    assert not runs


def test_places_are_named():
    image = ImageGeometry((80, 80), (80, 80), (1, 1), (0, 0), (8, 8), "squash")
    sinks = Sinks((0, 9, 10, 63), (9,))
    assert sinks.positions == (0, 9, 10, 63)
    assert "row 1, column 1, row 2, column 2, row 2, column 3 and 1 more" in sinks.sentence(
        image, left_out=True
    )
    assert "0.04 to 0.06 s" in Sinks((2,)).sentence(TimeGeometry(1.0, 0.02, 50), left_out=False)
    assert Sinks().sentence(image, left_out=False) == ""
