"""Requests for maps. Imports torch."""

from __future__ import annotations

from mmviewer.core.explain.base import explain as explain_sequence
from mmviewer.core.explain.base import explore_heads as explore
from mmviewer.core.types import HeadMaps, TokenMaps
from mmviewer.engine.protocol import Explain, ExploreHeads
from mmviewer.engine.routes import Call


def explain(request: Explain, call: Call) -> TokenMaps:
    """Maps of every token of a sequence."""
    with call.workspace.using(request.model_id, call.progress) as model:
        prepared = call.workspace.prepared(model, request.media)
        return explain_sequence(
            model, prepared, request.sequence, request.spec, call.progress, call.workspace.captures
        )


def explore_heads(request: ExploreHeads, call: Call) -> HeadMaps:
    """Raw attention of all layers and heads for the chosen tokens."""
    with call.workspace.using(request.model_id, call.progress) as model:
        prepared = call.workspace.prepared(model, request.media)
        return explore(
            model,
            prepared,
            request.sequence,
            request.tokens,
            request.point,
            call.progress,
            call.workspace.captures,
        )
