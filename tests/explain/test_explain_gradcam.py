"""Grad-CAM against the formula, worked out step by step without hooks, and where its cells lie."""

from __future__ import annotations

import copy
from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from mmviewer.core.errors import UnsupportedError
from mmviewer.core.explain.base import available_methods, explain, explore_heads
from mmviewer.core.models.base import FAMILIES, LoadedModel
from mmviewer.core.targets import SimilarityTarget
from mmviewer.core.tasks.query import query_sequence
from mmviewer.core.types import MapSpec, Media, Modality

TEXT = "a red dog"


def tiny(variant: str) -> LoadedModel:
    return FAMILIES.get("openclip").tiny(variant)


def picture(height: int = 96, width: int = 180) -> Media:
    pixels = np.random.default_rng(5).integers(0, 255, (height, width, 3), dtype=np.uint8)
    return Media("picture", Modality.IMAGE, "noise.png", pixels=pixels)


def by_hand(features: Tensor, embedding: Tensor, model: LoadedModel, text: str) -> np.ndarray:
    """ReLU of sum over channels of (mean over places of the gradient) times the map [1, C, R, K]."""
    unit = functional.normalize(embedding[0], dim=0)
    score = unit @ model.text_features([text])[0]
    gradient = torch.autograd.grad(score, features, retain_graph=True)[0]
    total = sum(gradient[0, channel].mean() * features[0, channel] for channel in range(features.shape[1]))
    return functional.relu(total).detach().numpy()


def test_the_pooled_map_of_a_timm_tower():
    model = tiny("convolutions")
    prepared, visual = model.prepare(picture()), model.module.visual
    features = visual.trunk.forward_features(prepared.inputs["pixels"]).detach().requires_grad_()
    embedding = visual.head(visual.trunk.forward_head(features))
    sequence = query_sequence(model, "picture", TEXT)
    maps = explain(model, prepared, sequence, MapSpec("gradcam"))
    for index, word in enumerate(("a", "red", "dog")):
        expected = by_hand(features, embedding, model, word)
        np.testing.assert_allclose(maps.values[index], expected, atol=1e-6)
    np.testing.assert_allclose(maps.whole, by_hand(features, embedding, model, TEXT), atol=1e-6)
    assert maps.values.any()


@pytest.mark.parametrize("block", [2, 3])
def test_an_earlier_stage_of_a_timm_tower(block):
    model = tiny("convolutions")
    prepared, trunk = model.prepare(picture()), model.module.visual.trunk
    hidden = trunk.bn1(trunk.conv_stem(prepared.inputs["pixels"]))
    for index in range(block + 1):
        hidden = trunk.blocks[index](hidden)
    features = hidden.detach().requires_grad_()
    hidden = features
    for index in range(block + 1, len(trunk.blocks)):
        hidden = trunk.blocks[index](hidden)
    hidden = trunk.bn2(trunk.conv_head(hidden))
    embedding = model.module.visual.head(trunk.forward_head(hidden))
    layer = [stage.module for stage in model.stages()].index(f"visual.trunk.blocks.{block}")
    sequence = query_sequence(model, "picture", "dog")
    maps = explain(model, prepared, sequence, MapSpec("gradcam", layer=layer))
    np.testing.assert_allclose(maps.values[0], by_hand(features, embedding, model, "dog"), atol=1e-6)
    assert maps.geometry.grid == features.shape[2:]
    assert f"stage {layer + 1} of" in maps.description
    assert "edges" in maps.caveat


def test_the_last_layer_of_open_clips_resnet():
    model = tiny("resnet")
    prepared, visual = model.prepare(picture()), model.module.visual
    hidden = visual.stem(prepared.inputs["pixels"])
    for layer in (visual.layer1, visual.layer2, visual.layer3, visual.layer4):
        hidden = layer(hidden)
    features = hidden.detach().requires_grad_()
    maps = explain(model, prepared, query_sequence(model, "picture", "dog"), MapSpec("gradcam"))
    expected = by_hand(features, visual.attnpool(features), model, "dog")
    np.testing.assert_allclose(maps.values[0], expected, atol=1e-6)
    assert [stage.grid for stage in model.stages()] == [(16, 16), (8, 8), (4, 4), (2, 2)]


def test_the_tokens_that_enter_the_last_layer_of_a_transformer():
    model = tiny("clip")
    prepared, visual = model.prepare(picture()), model.module.visual
    hidden = visual._embeds(prepared.inputs["pixels"])
    for block in visual.transformer.resblocks[:-1]:
        hidden = block(hidden)
    tokens = hidden.detach().requires_grad_()
    embedding = visual._pool(visual.transformer.resblocks[-1](tokens))[0] @ visual.proj
    score = functional.normalize(embedding[0], dim=0) @ model.text_features(["dog"])[0]
    gradient = torch.autograd.grad(score, tokens)[0][0, 1:]
    expected = functional.relu((tokens[0, 1:] * gradient.mean(0)).sum(-1)).detach().numpy()
    maps = explain(model, prepared, query_sequence(model, "picture", "dog"), MapSpec("gradcam"))
    np.testing.assert_allclose(maps.values[0].ravel(), expected, atol=1e-6)


class Similarity(nn.Module):
    """Of pictures with a text, as a model of one class."""

    def __init__(self, model: LoadedModel, text: str) -> None:
        super().__init__()
        self.clip = copy.deepcopy(model.module).requires_grad_(True)
        self.vector = model.text_features([text]).clone()

    def forward(self, pixels: Tensor) -> Tensor:
        return self.clip.encode_image(pixels, normalize=True) @ self.vector.T


@pytest.mark.parametrize(
    ("variant", "layer", "module"),
    [
        ("convolutions", 3, "visual.trunk.blocks.3"),
        ("resnet", 3, "visual.layer4"),
        ("clip", 2, "visual.transformer.resblocks.1"),
    ],
)
def test_grad_cam_equals_another_program(variant, layer, module):
    """That of J. Gildenblat on the same weights (pip install grad-cam), before it stretches the map."""
    package = pytest.importorskip("pytorch_grad_cam", reason="grad-cam is not installed")
    model = tiny(variant)
    prepared, scored = model.prepare(picture()), Similarity(model, "dog")
    part = scored.clip.get_submodule(module)

    def grid(tokens: Tensor) -> Tensor:
        return tokens[:, 1:].unflatten(1, prepared.geometry.grid).movedim(-1, 1)

    theirs = package.GradCAM(scored, [part], reshape_transform=grid if variant == "clip" else None)
    theirs(prepared.inputs["pixels"], [lambda output: output[0]])
    kept = theirs.activations_and_grads
    found = theirs.get_cam_image(None, part, None, kept.activations[0].numpy(), kept.gradients[0].numpy())
    maps = explain(model, prepared, query_sequence(model, "picture", "dog"), MapSpec("gradcam", layer=layer))
    np.testing.assert_allclose(maps.values[0], found[0].clip(min=0), atol=1e-6)
    assert maps.values[0].any()


def test_a_contrast_is_the_map_of_the_difference():
    model = tiny("convolutions")
    prepared, visual = model.prepare(picture()), model.module.visual
    features = visual.trunk.forward_features(prepared.inputs["pixels"]).detach().requires_grad_()
    unit = functional.normalize(visual.head(visual.trunk.forward_head(features))[0], dim=0)
    texts = model.text_features(["dog", "cat"])
    gradient = torch.autograd.grad(unit @ (texts[0] - texts[1]), features)[0]
    expected = functional.relu((gradient.mean((2, 3), keepdim=True) * features)[0].sum(0)).detach().numpy()
    spec = MapSpec("gradcam", target=SimilarityTarget("dog"), contrast=SimilarityTarget("cat"))
    maps = explain(model, prepared, query_sequence(model, "picture", "dog"), spec)
    np.testing.assert_allclose(maps.values[0], expected, atol=1e-6)
    assert "minus" in maps.score


@pytest.mark.parametrize("layer", range(5))
def test_cells_of_every_stage_tile_what_the_model_saw(layer):
    model = tiny("convolutions")
    prepared = model.prepare(picture(96, 180))
    geometry = model.stages()[layer].place(prepared.geometry)
    rows, columns = geometry.grid
    boxes = [geometry.cell_box(row, column) for row in range(rows) for column in range(columns)]
    area = sum((bottom - top) * (right - left) for top, left, bottom, right in boxes)
    top, left, bottom, right = geometry.visible
    assert (top, left, bottom, right) == prepared.geometry.visible
    assert area == pytest.approx((bottom - top) * (right - left), rel=1e-6)


def test_padding_that_rounds_up_leaves_nothing_unseen():
    model = tiny("convolutions")
    stage = model.stages()[-1]
    wider = replace(model.prepare(picture(130, 130)).geometry, input=(130, 130), scale=(1.0, 1.0))
    wider = replace(wider, offset=(0.0, 0.0))
    geometry = replace(stage, grid=(5, 5)).place(wider)
    assert geometry.patch_size == (26, 26)
    odd = replace(stage, grid=(4, 4)).place(wider)
    assert odd.patch_size == (33, 33)
    assert odd.visible == (0, 0, 130, 130)
    assert odd.cell_at(129, 129) == (3, 3)


def test_a_convolutional_model_offers_what_it_can_do():
    model = tiny("convolutions")
    offered = available_methods(model)
    assert "gradcam" in offered
    assert not {"attention", "rollout", "gradient_attention", "legrad"} & set(offered)
    prepared = model.prepare(picture())
    with pytest.raises(UnsupportedError, match="cannot explain a query"):
        explore_heads(model, prepared, query_sequence(model, "picture", "dog"), [0])


def test_the_graph_begins_at_the_map_and_hooks_are_gone():
    model = tiny("convolutions")
    sequence = query_sequence(model, "picture", TEXT)
    explain(model, model.prepare(picture()), sequence, MapSpec("gradcam", layer=0))
    assert not any(part._forward_hooks or part._forward_pre_hooks for part in model.module.modules())
    assert all(parameter.grad is None for parameter in model.module.parameters())
