"""Whether texts fit images: pairs judged by a model that reads each text over the image."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch

from mmviewer.core.errors import InputError, UnsupportedError
from mmviewer.core.models.base import LoadedModel
from mmviewer.core.progress import SILENT, Progress
from mmviewer.core.tasks.classify import check_labels
from mmviewer.core.tasks.query import check_length
from mmviewer.core.types import Capability, FloatArray, Media

_AT_ONCE = 16


def match(
    model: LoadedModel, items: Sequence[Media], texts: Sequence[str], progress: Progress = SILENT
) -> FloatArray:
    """Judge every pair of an image and a text by itself.

    Parameters
    ----------
    model : LoadedModel
        Trained to tell pairs that belong together from others.
    items : sequence of Media
        N images.
    texts : sequence of str
        M texts.
    progress : Progress

    Returns
    -------
    float32 array [N, M]
        Probability that the text fits the image; those of several texts do not add up to one.

    Raises
    ------
    InputError
        There is nothing to match, or a text is empty, repeated or longer than the model reads.
    UnsupportedError
        The model was not trained on pairs.
    """
    if not model.info.can(Capability.MATCH):
        raise UnsupportedError(
            f"{model.info.label} was not trained to judge pairs; classify the image instead, which compares "
            "embeddings, or load a model that was, such as Salesforce/blip-itm-base-coco."
        )
    if not items:
        raise InputError("There is nothing to match; choose at least one image.")
    wanted = check_labels(texts)
    for text in wanted:
        check_length(model, text, "text")
    rows = []
    for index, item in enumerate(items):
        prepared = model.prepare(item)
        found = []
        for first in range(0, len(wanted), _AT_ONCE):
            progress.report(index * len(wanted) + first, len(items) * len(wanted), "matching")
            with torch.no_grad():
                found.append(model.match(prepared, wanted[first : first + _AT_ONCE]).float().cpu().numpy())
        rows.append(np.concatenate(found))
    return np.stack(rows)
