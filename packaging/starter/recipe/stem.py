"""The frozen convolutional stem: its published weights, and its features fast on a CPU."""

from __future__ import annotations

from pathlib import Path
from typing import cast

import torch
from open_clip.coca_model import CoCa
from torch import Tensor, nn

from mmviewer.core.models.openclip.stem import ConvolutionalStem, attach
from recipe.openvino_run import Features, by_openvino
from recipe.photo_tower import ARCHITECTURE, load_classifier

STEM = ARCHITECTURE


def attach_stem(model: CoCa, name: str, package: Path | None = None) -> CoCa:
    """Put a frozen stem in place of the patch embedding, with published weights if their package is given."""
    attach(model, name)
    stem = stem_of(model)
    if stem is None:
        raise ValueError(f"The model took no stem {name}.")
    if package is not None:
        published = load_classifier(package).state_dict()
        stem.trunk.load_state_dict(
            {name: value for name, value in published.items() if not name.startswith("classifier.")}
        )
    stem.trunk.requires_grad_(False)
    return model


def stem_of(model: CoCa) -> ConvolutionalStem | None:
    """The model's stem, if it has one."""
    found = model.visual.conv1
    return found if isinstance(found, ConvolutionalStem) else None


class StemFeatures(nn.Module):
    """Pixels uint8 or float [B, 3, H, W] between 0 and 255 to features [B, P, F] of their patches.

    The middle map's four cells of a patch come first, then the deep map's one, as the stem joins them.
    """

    def __init__(self, stem: ConvolutionalStem) -> None:
        super().__init__()
        self.stem = stem

    def forward(self, pixels: Tensor) -> Tensor:
        """Run the trunk."""
        middle, deep = self.stem.features(pixels.float() / 127.5 - 1)
        fine = nn.functional.pixel_unshuffle(middle, 2)
        return torch.cat([fine, deep], dim=1).flatten(2).transpose(1, 2)


def torch_features(stem: ConvolutionalStem) -> Features:
    """The features as torch computes them; on a GPU in bfloat16."""
    module = StemFeatures(stem)

    @torch.no_grad()
    def features(pixels: Tensor) -> Tensor:
        with torch.autocast(pixels.device.type, torch.bfloat16, enabled=pixels.is_cuda):
            return cast(Tensor, module(pixels))

    return features


def openvino_features(stem: ConvolutionalStem, side: int, *, precision: str = "bf16") -> Features:
    """The features by OpenVINO on one thread, as float16: on a CPU five times as fast as torch.

    Parameters
    ----------
    stem
        On the CPU, in float32.
    side
        Of the pictures, in pixels.
    precision
        Of the computation: "bf16" or "f32".
    """
    stem.eval()
    return by_openvino(StemFeatures(stem).eval(), side, precision)
