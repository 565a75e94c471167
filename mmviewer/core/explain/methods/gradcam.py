"""Grad-CAM: feature maps weighted by their mean gradient (Selvaraju et al., ICCV 2017)."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from mmviewer.core.explain.base import METHODS, Cost, Method, Question, Relevance
from mmviewer.core.explain.forward import encode
from mmviewer.core.explain.gradients import each_gradient
from mmviewer.core.media.geometry import ImageGeometry
from mmviewer.core.models.base import LoadedModel
from mmviewer.core.models.device import memory_errors
from mmviewer.core.models.stages import Stage, cut_at
from mmviewer.core.types import Capability, CapturePoint, Geometry, MapKind, PointRole, SequenceKind

_BATCH_BYTES = 64 * 2**20
"""Memory of the gradients that are computed at once."""


class GradCam(Method):
    """ReLU of the sum over channels of a_c F_c, with a_c the mean over places of d score / d F_c.

    F is the feature map of a stage of a convolutional tower, by default the one that is pooled. In a plain
    vision transformer F are the patch tokens that enter a layer, by default the last: those that leave it do
    not reach an embedding that is read from the class token.
    """

    key = "gradcam"
    label = "Grad-CAM"
    explanation = (
        "Places of a feature map whose channels raise the score, each weighted by its mean gradient."
    )
    kind = MapKind.ATTRIBUTION
    needs_gradient = True
    first_order = True
    picks_heads = False

    def points(self, model: LoadedModel, kind: SequenceKind) -> tuple[CapturePoint, ...]:
        """The stages of a convolutional tower, else the layers of a plain transformer."""
        if kind != "query" or not model.info.can(Capability.EMBED_TEXT):
            return ()
        if model.stages():
            return model.info.features
        point = model.point(PointRole.ENCODER_SELF)
        return () if model.tower() is None or point is None else (point,)

    def cost(self, question: Question) -> Cost:
        """The graph from the map on and a batch of gradients: a few times the map; one forward."""
        stage = _stage(question)
        size = 4 * stage.channels * stage.grid[0] * stage.grid[1] if stage else 0
        return Cost(2 * _BATCH_BYTES + 64 * size, 1)

    def relevance(self, question: Question) -> Relevance:
        """One forward cut at the map, and one backward for many words at once."""
        objective, model = question.objective(), question.model
        with memory_errors(model.placement.device, self.label):
            cut = _through_stage(question) if model.stages() else _through_tokens(question)
            scores = objective.score(cut.embedding)  # [N]
            size = max(1, _BATCH_BYTES // (16 * cut.leaf.nbytes))
            rows = []
            for first in range(0, len(scores), size):
                question.progress.report(first, len(scores), "gradients")
                last = first + size >= len(scores)
                gradient = each_gradient(scores[first : first + size], [cut.leaf], keep=not last)[0]
                if gradient is None:
                    gradient = torch.zeros(len(scores[first : first + size]), *cut.leaf.shape)
                rows.append(class_activation(cut.positions(cut.leaf.detach()), cut.positions(gradient[:, 0])))
        found = torch.cat(rows)
        if cut.moments is not None:
            found = found @ cut.moments.to(found)
        values, whole = objective.spread(found.cpu(), len(question.sequence.tokens))
        return Relevance(
            values=values,
            whole=whole,
            spec=question.spec,
            description=f"Grad-CAM · {cut.words}",
            score=objective.words,
            caveat=cut.caveat
            + "First-order: with several things present it may point to more than the one meant.",
            geometry=cut.geometry,
        )


def class_activation(features: Tensor, gradients: Tensor) -> Tensor:
    """Grad-CAM itself.

    Parameters
    ----------
    features : Tensor [1, P, C]
    gradients : Tensor [N, P, C]
        Of N scores with respect to `features`.

    Returns
    -------
    Tensor [N, P]
    """
    weights = gradients.float().mean(1)  # [N, C]
    return torch.einsum("pc,nc->np", features[0].float(), weights).clamp(min=0)


@dataclass(frozen=True, slots=True, eq=False)
class _Cut:
    """A forward from a leaf on: the leaf [1, ...], the unit embedding [D] that it leads to, where it lies.

    `prefix` tokens come before the places of a leaf [1, N, W]; a map has its channels last or first.
    `moments` [cells, P] carries the places of a map to those of a sound.
    """

    leaf: Tensor
    embedding: Tensor
    words: str
    geometry: Geometry
    prefix: int = 0
    channels_last: bool = True
    caveat: str = ""
    moments: Tensor | None = None

    def positions(self, values: Tensor) -> Tensor:
        """Bring [N, *shape of the leaf] to [N, P, C]."""
        if values.dim() == 3:
            return values[:, self.prefix :]
        return values.flatten(1, 2) if self.channels_last else values.flatten(2).transpose(1, 2)


def _stage(question: Question) -> Stage | None:
    stages = question.model.stages()
    if not stages:
        return None
    return stages[-1 if question.spec.layer is None else question.spec.layer]


def _through_stage(question: Question) -> _Cut:
    model, stage = question.model, _stage(question)
    geometry = question.prepared.geometry
    assert stage is not None
    with cut_at(model.module, stage) as leaves:
        embedding = encode(model, [question.prepared])[0]
    stages = model.stages()
    rows, columns = stage.grid
    fine = "" if stage is stages[-1] else "Early stages see edges and textures rather than things. "
    return _Cut(
        leaf=leaves[0],
        embedding=embedding,
        words=f"stage {stages.index(stage) + 1} of {len(stages)}, {rows} × {columns} places",
        geometry=stage.place(geometry) if isinstance(geometry, ImageGeometry) else geometry,
        channels_last=stage.channels_last,
        caveat=fine,
        moments=None
        if isinstance(geometry, ImageGeometry)
        else model.stage_moments(stage, question.prepared),
    )


def _through_tokens(question: Question) -> _Cut:
    tower = question.model.tower()
    assert tower is not None
    layer = tower.layers - 1 if question.spec.layer is None else question.spec.layer
    with torch.no_grad():
        hidden = tower.start([question.prepared])  # [1, N, W]
        for index in range(layer):
            hidden = tower.layer(index, hidden)
    with torch.enable_grad():
        leaf = hidden.detach().requires_grad_()
        hidden = leaf
        for index in range(layer, tower.layers):
            hidden = tower.layer(index, hidden)
        embedding = tower.embed(hidden)[0]
    return _Cut(
        leaf=leaf,
        embedding=embedding,
        words=f"tokens entering layer {layer + 1} of {tower.layers}",
        geometry=question.prepared.geometry,
        prefix=tower.prefix,
        caveat="Made for convolutions; the tokens of a transformer give coarser, noisier maps. ",
    )


METHODS.add(GradCam.key)(GradCam())
