"""What a tower knows of an item layer by layer and patch by patch, as vectors of the space it ends in."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch

from mmviewer.core.errors import InputError, UnsupportedError
from mmviewer.core.models.base import LoadedModel, Prepared
from mmviewer.core.models.device import memory_errors
from mmviewer.core.models.tower import Tower
from mmviewer.core.progress import SILENT, Progress
from mmviewer.core.types import FloatArray, Modality

CAVEAT = (
    "Each layer is read by the model's own last norm, pooling and projection, which were trained for the last"
    " layer only: early layers show a direction, not an embedding."
)


def layer_embeddings(
    model: LoadedModel, items: Sequence[Prepared], progress: Progress = SILENT
) -> FloatArray:
    """Embed items as if the tower ended before its first layer, after it, after the second, and so on.

    Parameters
    ----------
    model : LoadedModel
    items : sequence of Prepared
        Images, or sounds, of which the model has a tower.
    progress : Progress

    Returns
    -------
    float32 array [N, L + 1, D]
        Unit vectors; the last of each item is its embedding.

    Raises
    ------
    UnsupportedError
        The model's encoder is no stack of layers.
    """
    if not items:
        raise InputError("There is nothing to follow through the layers; choose at least one item.")
    paths = []
    for done, item in enumerate(items):
        tower = _tower(model, item.modality)
        with torch.no_grad(), memory_errors(model.placement.device, "Following an item through the layers"):
            hidden = tower.start([item])  # [1, N, W]
            vectors = [tower.embed(hidden)]
            for layer in range(tower.layers):
                progress.report(done * tower.layers + layer, len(items) * tower.layers, "Reading layers")
                hidden = tower.layer(layer, hidden)
                vectors.append(tower.embed(hidden))
        paths.append(torch.cat(vectors).float().cpu().numpy())
    return np.stack(paths)


def patch_embeddings(model: LoadedModel, item: Prepared) -> FloatArray:
    """Unit vectors [P, D] of the patches of an image: each as if it were all there is in the last layer.

    Raises
    ------
    UnsupportedError
        The model's encoder is no stack of layers.
    """
    tower = _tower(model, item.modality)
    with torch.no_grad(), memory_errors(model.placement.device, "Embedding patches"):
        hidden = tower.start([item])
        for layer in range(tower.layers):
            hidden = tower.layer(layer, hidden)
        vectors: FloatArray = tower.embed_vectors(hidden[0, tower.prefix :]).float().cpu().numpy()
    return vectors


def _tower(model: LoadedModel, modality: Modality) -> Tower:
    tower = model.side(modality).tower()
    if tower is None:
        raise UnsupportedError(
            f"The encoder of {model.info.label} is no stack of layers that end in one space; load a CLIP or"
            " SigLIP with a vision transformer."
        )
    return tower
