"""CLIP Surgery (Li et al., 2023): patches compared with words along a path of values alone."""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import Tensor

from mmviewer.core.capture.attention import attention_weights
from mmviewer.core.capture.collector import capture
from mmviewer.core.errors import UnsupportedError
from mmviewer.core.explain.base import METHODS, Cost, Method, Question, Relevance
from mmviewer.core.explain.objective import label_vectors, text_vectors
from mmviewer.core.models.base import LoadedModel
from mmviewer.core.models.device import memory_errors
from mmviewer.core.targets import ClassTarget
from mmviewer.core.types import Capability, CapturePoint, MapKind, Modality, PointRole, SequenceKind


class ClipSurgery(Method):
    """Similarity of every patch with the text, without what it shares with all classes.

    From half of the layers on, a second path adds only attention, softmax(v v^T) v with the values of the
    ordinary path in place of queries and keys. What it gives for a patch goes through the final norm and the
    projection (and, as its only key, through the pooling head) and is compared with the text minus the mean
    text of all classes: the redundant feature. Classes are the labels that the model names, else the empty
    text stands for what all texts share.
    """

    key = "clip_surgery"
    label = "CLIP Surgery"
    explanation = "How much each patch itself resembles the word, rather than all words alike."
    kind = MapKind.ATTRIBUTION
    signed = True
    picks_heads = False

    def points(self, model: LoadedModel, kind: SequenceKind) -> tuple[CapturePoint, ...]:
        """The encoder of models that compare an image with a text."""
        point = model.point(PointRole.ENCODER_SELF)
        if kind != "query" or point is None or model.tower() is None:
            return ()
        return (point,) if model.info.can(Capability.EMBED_TEXT) else ()

    def cost(self, question: Question) -> Cost:
        """One layer's attention at a time, twice; one forward."""
        queries, keys = question.model.attention_size(question.point, 1)
        return Cost(6 * question.point.heads * queries * keys * 4, 1)

    def relevance(self, question: Question) -> Relevance:
        """One forward with the path of values beside it."""
        objective, model, point = question.objective(), question.model, question.point
        if objective.directions is None:
            raise UnsupportedError(
                "CLIP Surgery compares patches with directions of texts, which this target does not have; "
                "choose a text, a word or a label."
            )
        start = point.layers // 2 if question.spec.layer is None else question.spec.layer
        redundant, classes = _redundant(question)
        with torch.no_grad(), memory_errors(model.placement.device, self.label):
            patches = patch_embeddings(question, start)  # [P, D]
            directions = objective.directions if redundant is None else objective.directions - redundant
            rows = directions.to(patches.dtype) @ patches.T  # [N, P]
        carried = model.position_weights(point, {point.name: [rows[None, None]]}, question.prepared)[0, 0]
        values, whole = objective.spread(carried.cpu(), len(question.sequence.tokens))
        shown = f"values from layer {start + 1} of {point.layers} on"
        return Relevance(
            values=values,
            whole=whole,
            spec=replace(question.spec, layer=start),
            description=" · ".join(part for part in ("CLIP Surgery", shown, classes) if part),
            score=f"{objective.words}, of each {_piece(question)} by itself",
            caveat=(
                "It reads another path than the one the model predicts with: it shows where a word's "
                "content is, not what the similarity depended on."
            ),
        )


def patch_embeddings(question: Question, start: int) -> Tensor:
    """Unit embeddings [N, D] of all tokens of the encoder along the path of values from a layer on."""
    model, point = question.model, question.point
    tower = model.tower()
    assert tower is not None
    hidden = tower.start([question.prepared])  # [1, N, W]
    beside = hidden
    for index in range(tower.layers):
        if index == start:
            beside = hidden
        question.progress.report(index, tower.layers, "following values")
        with capture(model, {point.name: (index,)}, inside=True) as captured:
            hidden = tower.layer(index, hidden)
        if index >= start:
            value = captured.inside(point.name)[0].value  # [1, H, N, D]
            mixed = attention_weights(value, value) @ value.float()
            beside = beside + tower.attended(index, mixed)
    return tower.embed_vectors(beside[0])


def _redundant(question: Question) -> tuple[Tensor | None, str]:
    """What all texts share [D], and how it was found; None where the target is a difference already."""
    model, spec = question.model, question.spec
    if spec.contrast is not None:
        return None, ""
    if isinstance(spec.target, ClassTarget):
        return None, f"minus the mean of {len(spec.target.labels)} labels"
    if len(model.info.labels) > 1:
        vectors = label_vectors(model, model.info.labels, ("a {}",), question.progress)
        return vectors.mean(0), f"minus the mean of {len(model.info.labels)} labels"
    return text_vectors(model, [""])[0], "minus the empty text"


def _piece(question: Question) -> str:
    return "patch" if question.prepared.modality is Modality.IMAGE else "moment"


METHODS.add(ClipSurgery.key)(ClipSurgery())
