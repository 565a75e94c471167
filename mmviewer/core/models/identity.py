"""Which model it is, and what is told of it."""

from __future__ import annotations

from collections.abc import Mapping, Set
from dataclasses import dataclass, field, replace

from torch import nn

from mmviewer.core.models.base import Placement
from mmviewer.core.types import Capability, CapturePoint, ModelAbout, ModelInfo


@dataclass(frozen=True, slots=True)
class Identity:
    """What is known of a model before it is built; fields as in `ModelInfo`."""

    label: str
    source: str
    weights_hash: str
    revision: str = ""
    notes: tuple[str, ...] = ()
    labels: tuple[str, ...] = ()
    best_layers: Mapping[str, int] = field(default_factory=dict)
    """Of capture points by name; see `CapturePoint.best_layer`."""
    guided_layers: Mapping[str, int] = field(default_factory=dict)
    """Likewise; see `CapturePoint.guided_layer`."""
    about: ModelAbout = field(default_factory=ModelAbout)

    def marked(self, point: CapturePoint) -> CapturePoint:
        """`point` with its best and its guided layer, where they are named and exist."""

        def layer(named: Mapping[str, int], present: int | None) -> int | None:
            wanted = named.get(point.name)
            return wanted if wanted is not None and 0 <= wanted < point.layers else present

        return replace(
            point,
            best_layer=layer(self.best_layers, point.best_layer),
            guided_layer=layer(self.guided_layers, point.guided_layer),
        )


def model_info(
    identity: Identity,
    family: str,
    module: nn.Module,
    placement: Placement,
    *,
    capabilities: Set[Capability],
    points: tuple[CapturePoint, ...],
    preprocessing: str,
    context_length: int,
    features: tuple[CapturePoint, ...] = (),
) -> ModelInfo:
    """Return the `ModelInfo` of a model that is on its device; sizes are counted, not trusted."""
    return ModelInfo(
        id=f"{identity.label}@{identity.weights_hash[:12]}",
        label=identity.label,
        family=family,
        source=identity.source,
        revision=identity.revision,
        weights_hash=identity.weights_hash,
        parameters=sum(parameter.numel() for parameter in module.parameters()),
        memory_bytes=sum(tensor.nbytes for tensor in (*module.parameters(), *module.buffers())),
        device=str(placement.device),
        dtype=placement.format,
        capabilities=frozenset(capabilities),
        points=tuple(identity.marked(point) for point in points),
        preprocessing=preprocessing,
        context_length=context_length,
        notes=(*identity.notes, *identity.about.notes),
        labels=identity.labels,
        about=identity.about,
        features=features,
    )
