"""Zero-shot classification: items against labels in a shared embedding space."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

import numpy as np
import torch

from mmviewer.core.errors import InputError
from mmviewer.core.models.base import LoadedModel
from mmviewer.core.progress import SILENT, Progress
from mmviewer.core.tasks.features import FeatureCache, Item
from mmviewer.core.types import FloatArray, Media, Scores

DEFAULT_TEMPLATES = ("a {}",)
_LONGEST_LABEL = 2_000  # characters; no text tower reads as many, and splitting a million takes very long


def zero_shot(
    model: LoadedModel,
    items: Sequence[Item],
    labels: Sequence[str],
    templates: Sequence[str] = DEFAULT_TEMPLATES,
    cache: FeatureCache | None = None,
    progress: Progress = SILENT,
) -> Scores:
    """Score items against labels.

    A label's embedding is the mean over templates, normalised again (Radford et al. 2021). What the cache
    holds is not encoded again: a label typed costs its own text encoding only.

    Parameters
    ----------
    model : LoadedModel
    items : sequence of Media or Prepared
        N images, sounds or texts.
    labels : sequence of str
        M labels.
    templates : sequence of str
        Each holds "{}" where the label goes.
    cache : FeatureCache, optional
    progress : Progress

    Returns
    -------
    Scores
        Probabilities by the model's own rule: softmax over labels, or a sigmoid for each.

    Raises
    ------
    InputError
        A label is empty, repeated or longer than the model reads, or a template lacks "{}"; it is named.
    UnsupportedError
        The model embeds no text or not this kind of item.
    DeviceError
        The memory does not suffice for even one item.
    """
    if not items:
        raise InputError("There is nothing to classify; choose at least one image or sound.")
    names = check_labels(labels)
    wordings = check_templates(templates)
    features = cache if cache is not None else FeatureCache()
    text = label_embeddings(model, names, wordings, features, progress)  # [M, D]
    vectors, notes = features.of_items(model, items, progress)  # [N, D]
    similarities: FloatArray = vectors @ text.T  # [N, M]
    probabilities, activation = probabilities_of(model, similarities)
    return Scores(
        items=tuple(item.id if isinstance(item, Media) else item.media_id for item in items),
        labels=names,
        probabilities=probabilities,
        similarities=similarities,
        activation=activation,
        templates=wordings,
        model_id=model.info.id,
        notes=notes,
        **calibration(model),
    )


def calibration(model: LoadedModel) -> dict[str, float]:
    """What the model multiplies similarities with, and adds, before it makes probabilities of them."""
    with torch.no_grad():
        ends = torch.tensor([[0.0, 1.0]], device=model.placement.device)
        bias, top = model.logits(ends)[0].float()[0].tolist()
    return {"scale": top - bias, "bias": bias}


def label_embeddings(
    model: LoadedModel,
    labels: Sequence[str],
    templates: Sequence[str],
    cache: FeatureCache,
    progress: Progress = SILENT,
) -> FloatArray:
    """Unit embeddings of labels, [M, D], each the mean over templates."""
    prompts = [template.replace("{}", label) for label in labels for template in templates]
    vectors = cache.of_texts(model, prompts, progress)  # [M * templates, D]
    if len(templates) == 1:
        return vectors
    means = vectors.reshape(len(labels), len(templates), -1).mean(1)
    unit: FloatArray = means / np.linalg.norm(means, axis=-1, keepdims=True)
    return unit


def check_labels(labels: Sequence[str], what: str = "label") -> tuple[str, ...]:
    """Return labels without outer blanks, or raise `InputError` naming the one that cannot be used."""
    names = tuple(label.strip() for label in labels)
    if not names:
        raise InputError(f"There are no {what}s; give at least one, such as: cat.")
    if "" in names:
        raise InputError(f"{what.capitalize()} {names.index('') + 1} is empty; remove it or write a word.")
    if len(set(names)) < len(names):
        repeated = next(name for name, count in Counter(names).items() if count > 1)
        raise InputError(f"The {what} “{repeated}” is there more than once; remove the repetition.")
    longest = max(names, key=len)
    if len(longest) > _LONGEST_LABEL:
        raise InputError(f"The {what} “{longest[:40]}…” has {len(longest):,} characters; shorten it.")
    return names


def check_templates(templates: Sequence[str]) -> tuple[str, ...]:
    """Return the templates, or raise `InputError` naming the one without a place for the label."""
    if not templates:
        raise InputError("There is no template; use {} alone to score the labels as they are.")
    for template in templates:
        if "{}" not in template:
            raise InputError(
                f"The template “{template}” has no {{}} where the label goes; add it, as in: a {{}}."
            )
    return tuple(templates)


def probabilities_of(model: LoadedModel, similarities: FloatArray) -> tuple[FloatArray, str]:
    """Probabilities [N, M] of cosine similarities by the model's own rule, and "softmax" or "sigmoid"."""
    with torch.no_grad():
        logits, activation = model.logits(torch.from_numpy(similarities).to(model.placement.device))
        chances = logits.float().sigmoid() if activation == "sigmoid" else logits.float().softmax(-1)
    probabilities: FloatArray = chances.cpu().numpy()
    return probabilities, activation
