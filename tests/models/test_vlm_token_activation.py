"""The token activation map against a plain computation, token by token and window by window."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from mmviewer.core.errors import UnsupportedError
from mmviewer.core.explain.base import METHODS, available_methods, explain
from mmviewer.core.explain.methods.token_activation_map import rank_gaussian
from mmviewer.core.models.base import FAMILIES
from mmviewer.core.targets import RunnerUp, SequenceTarget, TokenTarget
from mmviewer.core.tasks.ask import ask
from mmviewer.core.types import MapSpec, Media, Modality, Sampling

KEY = "token_activation_map"


@pytest.fixture(scope="module")
def model():
    return FAMILIES.get("llava").tiny()


@pytest.fixture(scope="module")
def prepared(model):
    pixels = np.random.default_rng(0).integers(0, 256, (60, 60, 3), dtype=np.uint8)
    return model.prepare(Media("picture", Modality.IMAGE, "picture", pixels=pixels))


@pytest.fixture(scope="module")
def answer(model, prepared):
    return ask(model, prepared, "What is it?", Sampling(max_tokens=6))


def plain_filter(image: np.ndarray) -> np.ndarray:
    padded = np.pad(image, 1, mode="reflect")
    result = np.zeros_like(image)
    for row, column in np.ndindex(image.shape):
        window = np.sort(padded[row : row + 3, column : column + 3].ravel())
        if window.std() == 0:
            result[row, column] = window[4]
            continue
        spread = window.std() / window.mean()
        weights = np.exp(-((np.arange(9) - 4) ** 2) / (2 * spread**2))
        result[row, column] = (window * weights).sum() / weights.sum()
    return result


def plain_map(model, prepared, answer, index: int, less: int | None = None) -> np.ndarray:
    """One map from hidden states and the vocabulary's rows, with scipy-free loops."""
    ids = [*answer.prompt_ids, *(token.id for token in answer.tokens)]
    seen = []
    hook = model.before_vocabulary().register_forward_hook(lambda _, __, output: seen.append(output[0]))
    model.sequence_logits(prepared, ids[:-1])
    hook.remove()
    hidden, words = seen[0].numpy(), model.module.lm_head.weight.numpy()
    image = [place for place, token in enumerate(ids) if token == model.module.config.image_token_id]
    place, token = len(answer.prompt_ids) + index, answer.tokens[index].id
    direction = words[token] - (0 if less is None else words[less])
    own = np.maximum(hidden[image] @ direction, 0)
    blend, total = np.zeros_like(own), 0.0
    for earlier in range(image[-1] + 1, place):
        weight = max(float(hidden[earlier] @ direction), 0)
        if ids[earlier] != token:
            blend = blend + weight * np.maximum(hidden[image] @ words[ids[earlier]], 0)
            total += weight
    if total > 0:
        blend = blend / total
        scale = np.linalg.lstsq(blend[:, None], own, rcond=None)[0][0]
        own = np.maximum(own - scale * blend, 0)
    return plain_filter(own.reshape(4, 4))


def test_maps_are_those_of_a_plain_computation(model, prepared, answer):
    maps = explain(model, prepared, answer, MapSpec(KEY))
    for index in range(len(answer.tokens)):
        expected = plain_map(model, prepared, answer, index)
        np.testing.assert_allclose(maps.values[index], expected, atol=1e-4)
    assert maps.values.max() > 0.1


def test_a_token_against_its_runner_up(model, prepared, answer):
    index = len(answer.tokens) - 2
    spec = MapSpec(KEY, target=TokenTarget(index), contrast=RunnerUp())
    maps = explain(model, prepared, answer, spec)
    ids = [*answer.prompt_ids, *(token.id for token in answer.tokens)]
    row = model.sequence_logits(prepared, ids[:-1])[len(answer.prompt_ids) + index - 1]
    row[answer.tokens[index].id] = float("-inf")
    expected = plain_map(model, prepared, answer, index, less=int(row.argmax()))
    np.testing.assert_allclose(maps.values[index], expected, atol=1e-4)


def test_a_whole_answer_is_the_filtered_mean_of_its_tokens(model, prepared, answer):
    whole = explain(model, prepared, answer, MapSpec(KEY, target=SequenceTarget()))
    assert whole.whole is not None
    assert whole.whole.max() > 0
    with pytest.raises(UnsupportedError, match="same step"):
        explain(model, prepared, answer, MapSpec(KEY, target=TokenTarget(3), contrast=TokenTarget(2)))


def test_filter_takes_the_median_of_even_windows_and_keeps_constants():
    even = torch.full((1, 3, 3), 2.0)
    torch.testing.assert_close(rank_gaussian(even), even)
    spike = torch.ones(1, 5, 5)
    spike[0, 2, 2] = 1.2
    assert float(rank_gaussian(spike)[0, 2, 2]) == pytest.approx(1.0, abs=1e-3)
    thin = torch.rand(2, 1, 7, generator=torch.Generator().manual_seed(0))
    assert rank_gaussian(thin).shape == thin.shape


def test_only_models_that_read_picture_tokens_offer_it(model):
    assert KEY in available_methods(model)
    assert KEY not in available_methods(FAMILIES.get("openclip").tiny("coca"))
    assert not METHODS.get(KEY).points(model, "query")
