"""Asking a model again under interventions. Imports torch."""

from __future__ import annotations

from mmviewer.core.interventions.outcome import WhatIf
from mmviewer.core.interventions.what_if import what_if
from mmviewer.engine.protocol import Intervene
from mmviewer.engine.routes import Call


def intervene(request: Intervene, call: Call) -> WhatIf:
    """Compare what a model says of an item with what it says under a recipe."""
    shots = () if request.sequence is None else request.sequence.shots
    with call.workspace.using(request.model_id, call.progress) as model:
        return what_if(
            model,
            call.workspace.media(request.media),
            request.steps,
            about=request.sequence,
            labels=request.labels,
            templates=request.templates,
            spec=request.spec,
            prepared=call.workspace.prepared(model, request.media, shots),
            cache=call.workspace.features,
            store=call.workspace.captures,
            on_part=call.partial,
            progress=call.progress,
        )
