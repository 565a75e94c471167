"""Image towers of open_clip's own architectures, untrained: attention is found and leads to patches."""

from __future__ import annotations

import numpy as np
import open_clip
import pytest
import torch

from mmviewer.core.capture.collector import capture
from mmviewer.core.models.base import Placement, Prepared
from mmviewer.core.models.identity import Identity
from mmviewer.core.models.openclip import build
from mmviewer.core.models.openclip.model import OpenClipModel
from mmviewer.core.types import CapturePoint, Media, Modality, PointRole

KINDS = {
    "ViT-S-32-alt": ("vision.self",),
    "ViT-L-14-CLIPA": ("vision.self",),
    "RN50": ("vision.pool",),
    "ViT-B-32-SigLIP2-256": ("vision.self", "vision.pool"),
    "PE-Core-T-16-384": ("vision.self", "vision.pool"),
    "EVA02-B-16": ("vision.self",),
    "ViTamin-S": ("vision.self",),
    "vit_relpos_medium_patch16_cls_224": ("vision.self",),
    "vit_medium_patch16_gap_256": ("vision.self",),
    "MobileCLIP-B": ("vision.self",),
    "MobileCLIP2-S0": (),
    "convnext_tiny": (),
    "swin_base_patch4_window7_224": (),
    "coca_ViT-B-32": ("vision.self", "vision.pool"),
}


def untrained(architecture: str) -> OpenClipModel:
    config = open_clip.get_model_config(architecture)
    config["text_cfg"].update(layers=1, vocab_size=49408)  # only the image tower is looked at
    if config["vision_cfg"].get("layers") == 24:
        config["vision_cfg"]["layers"] = 2  # a large tower is told from others by its pooling, not its depth
    torch.manual_seed(0)
    module = build.construct(config)
    build.attach_preprocessing(module, {})
    placement = Placement(torch.device("cpu"), torch.float32, "tests run on the CPU")
    identity = Identity(architecture, architecture, "random")
    return OpenClipModel(
        module.eval().requires_grad_(False), open_clip.SimpleTokenizer(), placement, identity
    )


@pytest.mark.slow
@pytest.mark.parametrize(("architecture", "expected"), KINDS.items(), ids=KINDS.keys())
def test_image_attention_leads_to_patches(architecture, expected):
    model = untrained(architecture)
    pixels = np.random.default_rng(0).integers(0, 256, (120, 200, 3), dtype=np.uint8)
    prepared = model.prepare(Media("image", Modality.IMAGE, "image", pixels=pixels))
    found = [p for p in model.info.points if p.role in (PointRole.ENCODER_SELF, PointRole.POOL)]
    assert tuple(point.name for point in found) == expected
    last = {point.name: [point.layers - 1] for point in found}
    with torch.no_grad():
        plain = model.image_features([model.prepare(Media("image", Modality.IMAGE, "image", pixels=pixels))])
    with capture(model, last) as captured:
        features = model.image_features([prepared])
    torch.testing.assert_close(features, plain, atol=1e-5, rtol=1e-4)
    rows, columns = prepared.geometry.grid
    for point in found:
        (weights,) = captured[point.name]
        assert weights.shape[1] == point.heads
        torch.testing.assert_close(weights.sum(-1), torch.ones(weights.shape[:-1]), atol=1e-4, rtol=0)
        assert model.position_weights(point, captured).shape[-1] == rows * columns
        assert (
            rows_that_count(model, prepared, point)
            == list(range(weights.shape[2]))[model.embedding_rows(point)]
        )


def rows_that_count(model: OpenClipModel, prepared: Prepared, point: CapturePoint) -> list[int]:
    """Query rows of the last layer that the embedding depends on."""
    with capture(model, {point.name: [point.layers - 1]}, grad=True) as captured:
        features = model.image_features([prepared])[0]
        score = features @ torch.linspace(-1, 1, len(features))
    (gradient,) = torch.autograd.grad(score, captured[point.name])
    return torch.nonzero(gradient[0].abs().amax((0, 2)) > 0).flatten().tolist()
