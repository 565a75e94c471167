"""Tiny random models for tests: the kinds of towers that differ in how attention leads to patches."""

from __future__ import annotations

from typing import Any

import open_clip
import torch
from torch import nn

from mmviewer.core.models.base import Placement
from mmviewer.core.models.openclip import build

_TEXT: dict[str, Any] = {"context_length": 12, "vocab_size": 49408, "width": 32, "heads": 4, "layers": 2}
_COCA_TEXT = {**_TEXT, "embed_cls": True, "output_tokens": True}
_VIT: dict[str, Any] = {"image_size": 32, "patch_size": 8, "layers": 3, "width": 32, "head_width": 8}
_POOLED = {"attentional_pool": True, "attn_pooler_heads": 4, "attn_pooler_queries": 9}
CONFIGS: dict[str, dict[str, Any]] = {
    "clip": {"embed_dim": 32, "vision_cfg": _VIT, "text_cfg": _TEXT},
    "resnet": {
        "embed_dim": 32,
        "vision_cfg": {"image_size": 64, "layers": [1, 1, 1, 1], "width": 8, "head_width": 64},
        "text_cfg": _TEXT,
    },
    "convolutions": {
        "embed_dim": 32,
        "custom_text": True,
        "vision_cfg": {
            "image_size": 160,
            "timm_model_name": "test_efficientnet",
            "timm_pool": "avg",
            "timm_proj": "linear",
        },
        "text_cfg": _TEXT,
    },
    "siglip": {
        "embed_dim": 64,
        "custom_text": True,
        "init_logit_bias": -10,
        "vision_cfg": {
            "image_size": 160,
            "timm_model_name": "test_vit",
            "timm_pool": "map",
            "timm_proj": "none",
        },
        "text_cfg": {**_TEXT, "no_causal_mask": True, "proj_bias": True, "pool_type": "last"},
    },
    "coca": {
        "embed_dim": 32,
        "custom_text": True,
        "vision_cfg": {**_VIT, **_POOLED, "output_tokens": True},
        "text_cfg": _COCA_TEXT,
        "multimodal_cfg": _TEXT,
    },
    "coca without pooler": {
        "embed_dim": 32,
        "custom_text": True,
        "vision_cfg": {**_VIT, "output_tokens": True},
        "text_cfg": _COCA_TEXT,
        "multimodal_cfg": _TEXT,
    },
}


def tiny_parts(name: str) -> tuple[nn.Module, Any, Placement]:
    """A random model of a few thousand weights, its vocabulary, and its place on the CPU."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        module = build.construct(CONFIGS[name])
        for parameter in module.parameters():
            if parameter.dim() > 1:
                nn.init.normal_(parameter, std=0.15)  # so that maps are not even
    build.attach_preprocessing(module, {"resize_mode": "squash"} if name == "siglip" else {})
    tokenizer = open_clip.SimpleTokenizer(context_length=_TEXT["context_length"])
    placement = Placement(torch.device("cpu"), torch.float32, "tests run on the CPU")
    return module.eval().requires_grad_(False), tokenizer, placement
