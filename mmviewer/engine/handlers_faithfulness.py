"""Requests that tell how far a map can be believed. Imports torch.

All of them run beside other work: they give way to captions and maps between their steps.
"""

from __future__ import annotations

from mmviewer.core.errors import MMViewerError
from mmviewer.core.explain.base import estimate, explain, method_infos
from mmviewer.core.explain.faithfulness import curves, randomised, survival
from mmviewer.core.explain.measures import Curves, MethodAgreement, RandomisedCheck, agreement
from mmviewer.core.explain.selection import show
from mmviewer.core.method_info import MethodInfo
from mmviewer.core.types import MapSpec
from mmviewer.engine.protocol import CheckRandomised, CompareMethods, MeasureMap
from mmviewer.engine.routes import Call

_PATIENCE = 0.1
"""Seconds that a caption or a map may have to wait for a batch of masked inputs."""


def measure_map(request: MeasureMap, call: Call) -> Curves:
    """Deletion and insertion of one map, in small batches."""
    workspace, model_id = call.workspace, request.model_id
    with workspace.using(model_id, call.progress, background=True) as model:
        return curves(
            model,
            workspace.prepared(model, request.media, request.sequence.shots),
            request.sequence,
            request.maps,
            request.tokens,
            removal=request.removal,
            steps=request.steps,
            random_maps=request.random_maps,
            patience=_PATIENCE,
            progress=workspace.politely(model_id, call.progress),
            store=workspace.captures,
        )


def compare_methods(request: CompareMethods, call: Call) -> int:
    """One method after the other, attention first; one that fails says why, and the others go on."""
    with call.workspace.using(request.model_id, call.progress, background=True) as model:
        side = model.side(request.media.modality)
        infos = [info for info in method_infos(side) if info.points_for(request.sequence.kind)]
    compared, others = 0, [info for info in infos if info.key != request.maps.spec.method]
    for number, info in enumerate(others):
        call.progress.report(number, len(others), f"Comparing with {info.label}")
        found = _compared(request, info, call)
        compared += found.correlation is not None
        call.partial(found)
    return compared


def check_randomised(request: CheckRandomised, call: Call) -> RandomisedCheck:
    """Shuffle copies of the model, which is itself only busy while it is copied."""
    found = []
    for number, seed in enumerate(request.seeds):
        call.progress.report(number, len(request.seeds), "Shuffling the model's weights")
        with call.workspace.using(request.model_id, call.progress, background=True) as model:
            prepared = call.workspace.prepared(model, request.media, request.sequence.shots)
            other = randomised(model, seed)
        found.append(survival(other, prepared, request.sequence, request.maps, request.tokens, call.progress))
        del other  # before the next copy takes as much memory
    return RandomisedCheck(tuple(found))


def _compared(request: CompareMethods, info: MethodInfo, call: Call) -> MethodAgreement:
    asked = request.maps.spec
    spec = MapSpec(info.key, target=asked.target, contrast=asked.contrast, removal=asked.removal)
    sequence, workspace = request.sequence, call.workspace
    try:
        with workspace.using(request.model_id, call.progress, background=True) as model:
            prepared = workspace.prepared(model, request.media, request.sequence.shots)
            cost = estimate(model, prepared, sequence, spec)
            seconds = workspace.pace.expect(model, prepared, sequence, info.key, cost)
            if seconds > request.most_seconds:
                return MethodAgreement(info.key, info.label, seconds=seconds)
            maps = explain(model, prepared, sequence, spec, call.progress, workspace.captures)
    except MMViewerError as error:
        return MethodAgreement(info.key, info.label, reason=error.message)
    own, other = show(request.maps, request.tokens).grid, show(maps, request.tokens).grid
    if own.shape != other.shape:
        return MethodAgreement(info.key, info.label, reason="has a map of another fineness")
    return MethodAgreement(info.key, info.label, float(agreement([own, other])[0, 1]))
