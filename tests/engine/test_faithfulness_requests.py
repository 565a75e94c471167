"""Measures of maps through the engine's handlers, and that they keep nobody waiting."""

from __future__ import annotations

import time
from dataclasses import replace
from threading import Event, Thread

import numpy as np
import pytest

from mmviewer.core.errors import Cancelled
from mmviewer.core.explain.base import explain
from mmviewer.core.explain.faithfulness import curves
from mmviewer.core.explain.measures import MethodAgreement
from mmviewer.core.models.base import FAMILIES
from mmviewer.core.progress import SILENT, Progress
from mmviewer.core.tasks.query import query_sequence
from mmviewer.core.types import MapSpec, Media, MediaRef, Modality
from mmviewer.engine.handlers_faithfulness import check_randomised, compare_methods, measure_map
from mmviewer.engine.protocol import CheckRandomised, CompareMethods, MeasureMap
from mmviewer.engine.routes import Call
from mmviewer.engine.workspace import Workspace

PIXELS = np.random.default_rng(0).integers(0, 255, (40, 40, 3), dtype=np.uint8)
REF = MediaRef("noise", Modality.IMAGE, "noise")


@pytest.fixture
def case():
    workspace, model = Workspace(), FAMILIES.get("openclip").tiny("clip")
    workspace.adopt(model)
    workspace.remember(Media("noise", Modality.IMAGE, "noise", pixels=PIXELS))
    prepared = workspace.prepared(model, REF)
    sequence = query_sequence(model, REF.id, "a red dog")
    maps = explain(model, prepared, sequence, MapSpec("gradient_attention"))
    return workspace, model, sequence, maps


def test_a_map_is_measured_as_in_the_core(case):
    workspace, model, sequence, maps = case
    request = MeasureMap(model.info.id, REF, sequence, maps, (2,), "blur", 8, 2)
    found = measure_map(request, Call(workspace, SILENT, lambda _: None))
    prepared = workspace.prepared(model, REF)
    plain = curves(model, prepared, sequence, maps, (2,), removal="blur", steps=8, random_maps=2)
    np.testing.assert_allclose(found.deletion, plain.deletion, atol=1e-6)
    assert found.removal == "blur"
    assert found.verdict is plain.verdict


def test_methods_are_compared_and_dear_ones_left_out(case):
    workspace, model, sequence, maps = case
    parts: list[MethodAgreement] = []
    request = CompareMethods(model.info.id, REF, sequence, maps, (2,))
    count = compare_methods(request, Call(workspace, SILENT, parts.append))
    by_key = {part.key: part for part in parts}
    assert "gradient_attention" not in by_key
    assert count == sum(part.correlation is not None for part in parts) > 3
    assert by_key["attention"].correlation is not None
    parts.clear()
    compare_methods(replace(request, most_seconds=-1), Call(workspace, SILENT, parts.append))
    assert all(part.correlation is None and part.seconds > 0 for part in parts)


def test_shuffled_weights(case):
    workspace, model, sequence, maps = case
    request = CheckRandomised(model.info.id, REF, sequence, maps, (2,))
    found = check_randomised(request, Call(workspace, SILENT, lambda _: None))
    assert len(found.correlations) == 2
    assert workspace.model_labels() == (model.info.label,)


def test_who_wants_the_model_goes_before_measuring(case):
    """Another lane gets its turn within a few batches, and measuring goes on to its end."""
    workspace, model, sequence, maps = case
    started = Event()
    progress = Progress(lambda *_: started.set())
    request = MeasureMap(model.info.id, REF, sequence, maps, (2,), steps=16, random_maps=200)
    answers = []
    lane = Thread(
        target=lambda: answers.append(measure_map(request, Call(workspace, progress, lambda _: None)))
    )
    lane.start()
    assert started.wait(20)
    for _ in range(3):
        with workspace.using(model.info.id, SILENT):
            assert lane.is_alive()
    lane.join(60)
    assert len(answers) == 1


def test_a_cancel_while_giving_way_leaves_the_model_free(case):
    workspace, model, sequence, maps = case
    cancelled, caught = Event(), []
    request = MeasureMap(model.info.id, REF, sequence, maps, (2,), steps=16, random_maps=200)

    def measure() -> None:
        try:
            measure_map(request, Call(workspace, Progress(cancelled=cancelled), lambda _: None))
        except Cancelled as stopped:
            caught.append(stopped)

    lane = Thread(target=measure)
    with workspace.using(model.info.id, SILENT):
        lane.start()
        time.sleep(0.1)
        cancelled.set()
        lane.join(5)
    assert len(caught) == 1
    with workspace.using(model.info.id, SILENT), workspace.using(model.info.id, SILENT):
        pass
