"""A tiny random Show, Attend and Tell, for tests."""

from __future__ import annotations

import torch
from torch import nn

from mmviewer.core.models.base import Placement
from mmviewer.core.models.identity import Identity
from mmviewer.core.models.sat.model import SatModel
from mmviewer.core.models.sat.network import ShowAttendTell, Sizes
from mmviewer.core.models.sat.words import Words

_WORDS = (",", "a", "an", "and", "apple", "big", "boats", "cat", "dog", "on", "red", "small", "the", "two")
_PLACEMENT = Placement(torch.device("cpu"), torch.float32, "tests run on the CPU")


def tiny_model(family: str, *, gated: bool = True, seed: int = 0) -> SatModel:
    """A network over timm's smallest EfficientNet, whose maps are not even."""
    words = Words(_WORDS)
    sizes = Sizes(
        "test_efficientnet", (16, 32), 64, len(words), cell=24, hidden=20, word=16, attention=12, gated=gated
    )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        network = ShowAttendTell(sizes)
        for name, parameter in network.named_parameters():
            if parameter.dim() > 1 and not name.startswith("encoder.trunk"):
                nn.init.normal_(parameter, std=0.3)
    label = "tiny Show, Attend and Tell" + ("" if gated else " without gate")
    identity = Identity(label, "tiny", f"random weights of seed {seed}, gated {gated}")
    return SatModel(family, network.eval().requires_grad_(False), words, _PLACEMENT, identity)
