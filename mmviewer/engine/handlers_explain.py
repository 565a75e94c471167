"""Requests for maps. Imports torch."""

from __future__ import annotations

import time

from mmviewer.core.errors import MMViewerError
from mmviewer.core.explain.base import estimate
from mmviewer.core.explain.base import explain as explain_sequence
from mmviewer.core.explain.base import explore_heads as explore
from mmviewer.core.models.base import LoadedModel, Prepared
from mmviewer.core.types import HeadMaps, MapSpec, TokenMaps, TokenSequence
from mmviewer.engine.faults import report
from mmviewer.engine.protocol import EstimateMaps, Explain, ExploreHeads, MapEstimate
from mmviewer.engine.routes import Call


def explain(request: Explain, call: Call) -> TokenMaps:
    """Maps of every token of a sequence."""
    with call.workspace.using(request.model_id, call.progress) as model:
        prepared = call.workspace.prepared(model, request.media, request.sequence.shots)
        cost = estimate(model, prepared, request.sequence, request.spec)
        start = time.perf_counter()
        maps = explain_sequence(
            model, prepared, request.sequence, request.spec, call.progress, call.workspace.captures
        )
        method, took = request.spec.method, time.perf_counter() - start
        call.workspace.pace.learn(maps.model_id, request.sequence, method, cost, took)
        return maps


def estimate_maps(request: EstimateMaps, call: Call) -> tuple[MapEstimate, ...]:
    """What maps would take; one that cannot be made says why, and the others go on."""
    with call.workspace.using(request.model_id, call.progress) as model:
        prepared = call.workspace.prepared(model, request.media, request.sequence.shots)
        found = []
        for spec in request.specs:
            call.progress.check()
            found.append(_estimate(model, prepared, request.sequence, spec, call))
        return tuple(found)


def _estimate(
    model: LoadedModel, prepared: Prepared, sequence: TokenSequence, spec: MapSpec, call: Call
) -> MapEstimate:
    try:
        cost = estimate(model, prepared, sequence, spec)
        seconds = call.workspace.pace.expect(model, prepared, sequence, spec.method, cost)
    except MMViewerError as error:
        return MapEstimate(spec, error=report(error, "estimating what maps take"))
    return MapEstimate(spec, cost.forwards, cost.bytes, seconds, cost.note)


def explore_heads(request: ExploreHeads, call: Call) -> HeadMaps:
    """Raw attention of all layers and heads for the chosen tokens."""
    with call.workspace.using(request.model_id, call.progress) as model:
        prepared = call.workspace.prepared(model, request.media, request.sequence.shots)
        return explore(
            model,
            prepared,
            request.sequence,
            request.tokens,
            request.point,
            call.progress,
            call.workspace.captures,
        )
