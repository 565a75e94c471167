"""Embedding items and texts into one space."""

from __future__ import annotations

from collections.abc import Sequence

from mmviewer.core.errors import InputError, UnsupportedError
from mmviewer.core.models.base import LoadedModel
from mmviewer.core.progress import SILENT, Progress
from mmviewer.core.tasks.features import FeatureCache, Item
from mmviewer.core.tasks.query import check_length
from mmviewer.core.types import Capability, Embeddings, Media, Modality

NEEDED = {
    Modality.IMAGE: Capability.EMBED_IMAGE,
    Modality.AUDIO: Capability.EMBED_AUDIO,
    Modality.TEXT: Capability.EMBED_TEXT,
}


def embed(
    model: LoadedModel,
    items: Sequence[Item],
    cache: FeatureCache | None = None,
    progress: Progress = SILENT,
) -> Embeddings:
    """Embed items and texts, in order; those of a kind the model cannot embed are left out and noted.

    Parameters
    ----------
    model : LoadedModel
    items : sequence of Media or Prepared
    cache : FeatureCache, optional
    progress : Progress

    Returns
    -------
    Embeddings
        Unit vectors [N, D] float32.

    Raises
    ------
    InputError
        There are no items, or a text is empty or too long.
    UnsupportedError
        The model can embed none of them.
    """
    if not items:
        raise InputError("There is nothing to embed; choose at least one item.")
    fitting = [item for item in items if model.info.can(NEEDED[item.modality])]
    if not fitting:
        raise UnsupportedError(
            f"{model.info.label} cannot {NEEDED[items[0].modality].value}; load a model that can."
        )
    for item in fitting:
        if isinstance(item, Media) and item.modality is Modality.TEXT:
            check_length(model, item.text or "", "text")
    features = cache if cache is not None else FeatureCache()
    vectors, notes = features.of_items(model, fitting, progress)
    left_out = len(items) - len(fitting)
    if left_out:
        notes += (f"{left_out} of {len(items)} items left out: {model.info.label} cannot embed them",)
    return Embeddings(
        items=tuple(item.id if isinstance(item, Media) else item.media_id for item in fitting),
        modalities=tuple(item.modality for item in fitting),
        vectors=vectors,
        model_id=model.info.id,
        notes=notes,
    )
