"""The figure of an average map and where it comes from (NumPy only)."""

from __future__ import annotations

from dataclasses import asdict, replace

from mmviewer.core.average.result import AverageMap, scope_words
from mmviewer.core.figures.provenance import build_provenance
from mmviewer.core.figures.spec import AverageFigure, MapStyle
from mmviewer.core.types import ModelInfo, Provenance

_PLAIN = MapStyle()


def average_figure(found: AverageMap, style: MapStyle = _PLAIN) -> AverageFigure:
    """Lay an average out: mean, deviation, and all that is known of the items."""
    return AverageFigure(
        mean=found.average.mean,
        deviation=found.average.deviation,
        count=found.average.count,
        text=found.text,
        title=scope_words(found),
        frame=found.frame,
        description=found.description,
        kind=found.kind,
        score=found.score,
        names=found.names,
        distances=found.distances,
        maps=found.maps,
        left_out=tuple(each.name for each in found.left_out),
        notes=found.notes,
        style=replace(style, signed=found.signed),
    )


def average_provenance(found: AverageMap, info: ModelInfo | None) -> Provenance:
    """Say where the figure comes from: model, method, text, and the items it is of."""
    layer = found.spec.layer
    made = build_provenance(
        info,
        tokens=(found.text,),
        text=found.text,
        spec=asdict(found.spec),
        items=list(found.names),
        asked=found.asked,
        left_out=[asdict(each) for each in found.left_out],
        registered_to=found.frame,
        distance="1 - Pearson correlation with the mean over the cells that both have",
    )
    return replace(
        made,
        item=scope_words(found),
        method=found.spec.method,
        kind=f"{found.kind} of {found.score}" if found.score else str(found.kind),
        layer="" if layer is None else str(layer + 1),
    )
