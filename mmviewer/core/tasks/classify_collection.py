"""Zero-shot classes of a whole collection, from vectors that are there already. Imports torch."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mmviewer.core.errors import InputError
from mmviewer.core.models.base import LoadedModel
from mmviewer.core.progress import SILENT, Progress
from mmviewer.core.space.class_table import ClassTable, Codes
from mmviewer.core.space.collection import SpaceInfo, SpaceVectors
from mmviewer.core.tasks.classify import (
    DEFAULT_TEMPLATES,
    check_labels,
    check_templates,
    label_embeddings,
    probabilities_of,
)
from mmviewer.core.tasks.features import FeatureCache
from mmviewer.core.types import FloatArray

_BLOCK_VALUES = 8_000_000  # similarities held at once


def made_by(info: SpaceInfo, model: LoadedModel) -> bool:
    """Whether the vectors of a space are this model's."""
    mine = model.info
    return (info.weights_hash, info.revision, info.preprocessing) == (
        mine.weights_hash,
        mine.revision,
        mine.preprocessing,
    )


def check_space(model: LoadedModel, info: SpaceInfo) -> None:
    """Raise `InputError` if the vectors of a space are not this model's."""
    if not made_by(info, model):
        raise InputError(
            f"These vectors are of {info.label}, and {model.info.label} is another model or prepares items "
            f"differently; load {info.source or info.label}, or index with this one."
        )


def classify_vectors(
    model: LoadedModel,
    vectors: SpaceVectors,
    labels: Sequence[str],
    templates: Sequence[str] = DEFAULT_TEMPLATES,
    cache: FeatureCache | None = None,
    progress: Progress = SILENT,
) -> ClassTable:
    """Find the likeliest label of every item that has a vector; only the labels are encoded.

    Parameters
    ----------
    model : LoadedModel
        The one that made the vectors.
    vectors : SpaceVectors
    labels, templates
        As in `zero_shot`.
    cache : FeatureCache, optional
        Where embeddings of labels are kept.
    progress : Progress

    Raises
    ------
    InputError
        The vectors are another model's, or a label or template cannot be used.
    """
    check_space(model, vectors.info)
    names, wordings = check_labels(labels), check_templates(templates)
    text = label_embeddings(model, names, wordings, cache or FeatureCache(), progress)  # [M, D]
    winners, best, margins, activation = _winners(model, vectors, text, progress)
    return ClassTable(
        labels=names,
        winners=np.where(vectors.index >= 0, _by_item(winners, vectors), -1).astype(np.int32),
        probabilities=_blanked(best, vectors),
        margins=_blanked(margins, vectors),
        thresholds=np.zeros(len(names), np.float32),
        activation=activation,
        templates=wordings,
        space_id=vectors.info.id,
        model_id=model.info.id,
    )


def _winners(
    model: LoadedModel, vectors: SpaceVectors, text: FloatArray, progress: Progress
) -> tuple[Codes, FloatArray, FloatArray, str]:
    """Likeliest label, its probability and its lead for each vector, and the activation."""
    count = len(vectors.matrix)
    winners = np.zeros(count, np.int32)
    best, margins = np.zeros(count, np.float32), np.zeros(count, np.float32)
    activation = ""
    step = max(_BLOCK_VALUES // max(len(text), vectors.info.width), 1)
    for start in range(0, count, step):
        progress.report(start, count, "Scoring labels")
        block = vectors.matrix[start : start + step].astype(np.float32)
        block /= np.linalg.norm(block, axis=1, keepdims=True)  # float16 has rounded them
        chances, activation = probabilities_of(model, block @ text.T)  # [n, M]
        place = slice(start, start + len(block))
        winners[place] = chances.argmax(1)
        pair = chances if len(text) > 1 else np.pad(chances, ((0, 0), (1, 0)))
        top = np.partition(pair, -2, axis=1)[:, -2:]
        best[place], margins[place] = top[:, 1], top[:, 1] - top[:, 0]
    if not activation:
        activation = probabilities_of(model, np.zeros((1, len(text)), np.float32))[1]
    return winners, best, margins, activation


def _by_item(values: NDArray[Any], vectors: SpaceVectors) -> NDArray[Any]:
    if not len(values):
        return np.zeros(len(vectors.index), values.dtype)
    return values[np.maximum(vectors.index, 0)]


def _blanked(values: FloatArray, vectors: SpaceVectors) -> FloatArray:
    """By item, NaN for those without a vector."""
    return np.where(vectors.index >= 0, _by_item(values, vectors), np.nan).astype(np.float32)
