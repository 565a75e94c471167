"""A pretrained convolutional network in place of a vision transformer's linear patch embedding.

open_clip cuts a picture into patches and embeds each by one linear layer. A small transformer trained on few
pictures sees far more when its patches are embedded by a network that knows pictures already. A model folder
asks for it in its configuration, beside ``model_cfg``::

    "mmviewer": {"stem": "tf_efficientnet_lite0"}

Everything behind the patch embedding stays open_clip's own: position embeddings, blocks, pooling, text tower,
decoder, and with them every capture point.
"""

from __future__ import annotations

from typing import Any

import timm
import torch
from timm.models.efficientnet import EfficientNet
from torch import Tensor, nn
from torch.nn import functional

from mmviewer.core.errors import ModelError

_AT_ONCE = 4
"""Pictures that a CPU takes together: of more the maps leave its cache, and each takes over twice as long."""


class ConvolutionalStem(nn.Module):
    """Pictures to one vector for each patch, from two depths of an EfficientNet.

    The deep map says what is there, the middle map, twice as fine, where; the four middle cells of a patch
    are laid side by side.

    Parameters
    ----------
    name : str
        Architecture of timm; an EfficientNet whose last map has one cell for each patch.
    width : int
        Width of the vision transformer.
    patch : int
        Side of a patch in pixels.

    Raises
    ------
    ModelError
        The architecture is unknown, no EfficientNet, or its cells are not the patches.
    """

    def __init__(self, name: str, width: int, patch: int) -> None:
        super().__init__()
        self.trunk: Any = _trunk(name)
        reductions = [stage["reduction"] for stage in self.trunk.feature_info]
        if reductions[-1] != patch or patch // 2 not in reductions:
            raise ModelError(
                f"The stem {name} has cells of {reductions[-1]} pixels, the model patches of {patch}; "
                "get the model's files again."
            )
        self._middle = _last_block_at(self.trunk, patch // 2)
        self.middle_norm = nn.LayerNorm(4 * _channels(self.trunk, patch // 2))
        self.deep_norm = nn.LayerNorm(self.trunk.num_features)
        self.projection = nn.Linear(self.middle_norm.normalized_shape[0] + self.trunk.num_features, width)

    def features(self, pixels: Tensor) -> tuple[Tensor, Tensor]:
        """Maps of the trunk: the middle one [B, C, 2R, 2C] and the deep one [B, D, R, C]."""
        x = self.trunk.bn1(self.trunk.conv_stem(pixels))
        middle = x
        for index, block in enumerate(self.trunk.blocks):
            x = block(x)
            if index == self._middle:
                middle = x
        return middle, self.trunk.bn2(self.trunk.conv_head(x))

    def embed(self, middle: Tensor, deep: Tensor) -> Tensor:
        """Patch embeddings [B, R, C, width] of the trunk's maps."""
        fine = functional.pixel_unshuffle(middle, 2).permute(0, 2, 3, 1)  # [B, R, C, 4 * channels]
        coarse = deep.permute(0, 2, 3, 1)  # [B, R, C, D]
        joined = torch.cat([self.middle_norm(fine), self.deep_norm(coarse)], dim=-1)
        embedded: Tensor = self.projection(joined)
        return embedded

    def forward(self, pixels: Tensor) -> Tensor:
        """Patch embeddings [B, width, R, C], as the patch embedding of open_clip gives them."""
        parts = torch.split(pixels, _AT_ONCE) if pixels.device.type == "cpu" else (pixels,)
        return torch.cat([self.embed(*self.features(part)) for part in parts]).permute(0, 3, 1, 2)

    def train(self, mode: bool = True) -> ConvolutionalStem:
        """Set the mode of what is trained; the trunk keeps its statistics, whatever the rest does."""
        super().train(mode)
        self.trunk.eval()
        return self


def attach(model: Any, name: str) -> None:
    """Give an open_clip model with a vision transformer a convolutional stem.

    Raises
    ------
    ModelError
        The model's image tower is no vision transformer, or the stem does not fit it.
    """
    tower = model.visual
    if not hasattr(tower, "conv1") or not hasattr(tower, "positional_embedding"):
        raise ModelError("Only a vision transformer can have a stem; get the model's files again.")
    across, down = tower.patch_size
    if across != down:
        raise ModelError("A stem needs square patches; get the model's files again.")
    tower.conv1 = ConvolutionalStem(name, tower.class_embedding.shape[0], down)


def _trunk(name: str) -> EfficientNet:
    if name not in timm.list_models("*efficientnet*"):
        raise ModelError(
            f"The stem {name[:80]!r} is no EfficientNet of the installed timm; get the model's files again, "
            "or a newer timm."
        )
    trunk = timm.create_model(name, pretrained=False, num_classes=0)
    if not isinstance(trunk, EfficientNet):
        raise ModelError(f"{name} is no EfficientNet, which a stem must be; get the model's files again.")
    return trunk.eval()


def _channels(trunk: Any, reduction: int) -> int:
    return int([s["num_chs"] for s in trunk.feature_info if s["reduction"] == reduction][-1])


def _last_block_at(trunk: Any, reduction: int) -> int:
    """Index of the last group of blocks whose cells have `reduction` pixels."""
    modules = [s["module"] for s in trunk.feature_info if s["reduction"] == reduction]
    return int(modules[-1].split(".")[1])
