"""What maps are said to take before they are made, in the engine's own terms."""

from __future__ import annotations

import time

import pytest

from mmviewer import api, paths
from mmviewer.core.explain.base import estimate
from mmviewer.core.progress import SILENT
from mmviewer.core.targets import SequenceTarget
from mmviewer.core.types import MapSpec, Media, MediaRef
from mmviewer.engine.handlers_explain import estimate_maps, explain
from mmviewer.engine.protocol import EstimateMaps, Explain
from mmviewer.engine.routes import Call
from mmviewer.engine.workspace import Workspace


@pytest.fixture(scope="module")
def call(starter) -> Call:
    workspace = Workspace()
    workspace.adopt(starter)
    return Call(workspace, SILENT, lambda value: None)


def ref(media: Media) -> MediaRef:
    return MediaRef(media.id, media.modality, media.name, media.path)


def test_estimates_are_the_methods_own_and_learn_from_what_maps_took(call, starter):
    picture = api.open_item(paths.samples() / "scene-owl-guitar.png")
    caption = api.caption(starter, picture)
    slow = MapSpec("occlusion", target=SequenceTarget())
    specs = (MapSpec(), slow, MapSpec("legrad"), MapSpec("no such method"))
    ask = EstimateMaps(starter.info.id, ref(picture), caption, specs)
    first = estimate_maps(ask, call)
    cost = estimate(starter, starter.prepare(picture), caption, slow)
    assert (first[1].forwards, first[1].bytes) == (cost.forwards, cost.bytes)
    assert 0 < first[0].seconds < first[1].seconds
    assert "cannot explain a caption" in first[2].error.message
    assert "no such method" in first[3].error.message

    start = time.perf_counter()
    explain(Explain(starter.info.id, ref(picture), caption, slow), call)
    took = time.perf_counter() - start
    again = estimate_maps(ask, call)[1]
    assert again.seconds == pytest.approx(took, rel=0.5)
