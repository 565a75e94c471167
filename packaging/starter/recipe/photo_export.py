"""The photo model's folder: an open_clip model whose image tower ends in the space of the words."""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import open_clip
import torch
from safetensors.torch import save_file
from torch import Tensor, nn

from recipe.photo_directions import LENGTH
from recipe.photo_space import DIMENSIONS, Space
from recipe.photo_text import TEXT_CONFIG
from recipe.photo_tower import ARCHITECTURE, SIDE

CONFIG_NAME, WEIGHTS_NAME, BPE_NAME = "open_clip_config.json", "open_clip_model.safetensors", "bpe.txt.gz"
MAX_BYTES = 20 * 2**20

MODEL_CONFIG: dict[str, Any] = {
    "embed_dim": DIMENSIONS,
    "custom_text": True,
    "vision_cfg": {
        "image_size": SIDE, "timm_model_name": ARCHITECTURE, "timm_model_pretrained": False,
        "timm_pool": "avg", "timm_proj": "linear", "timm_proj_bias": True,
    },
    "text_cfg": {**TEXT_CONFIG, "tokenizer_kwargs": {"bpe_path": BPE_NAME}},
}  # fmt: skip
_PREPROCESSING = {
    "mean": [0.5, 0.5, 0.5],
    "std": [0.5, 0.5, 0.5],
    "interpolation": "bicubic",
    "resize_mode": "squash",
}
_LIMITS = (
    "Knows what ImageNet's 1,000 classes and the recipe's drawings show; there is no class of people, skies "
    "or rooms, and it writes no captions."
)
_LICENCE = "MIT; image tower Apache-2.0 (EfficientNet-Lite0, Google)"


def assemble(
    classifier: nn.Module, space: Space, text: Mapping[str, Tensor], typical_length: float
) -> open_clip.CustomTextCLIP:
    """Return the model: the classifier without its last layer, the space as projection, the text tower.

    Parameters
    ----------
    typical_length
        Of an image before it is normalised; with it the logits are those of the classifier.
    """
    config = {key: value for key, value in MODEL_CONFIG.items() if key != "custom_text"}
    model = open_clip.CustomTextCLIP(**json.loads(json.dumps(config)))
    weights = {k: v for k, v in classifier.state_dict().items() if not k.startswith("classifier.")}
    model.visual.trunk.load_state_dict(weights)
    model.text.load_state_dict(dict(text))
    with torch.no_grad():
        model.visual.head.proj.weight.copy_(space.weight)
        model.visual.head.proj.bias.copy_(space.bias)
        model.logit_scale.copy_(torch.tensor(LENGTH * typical_length).log())
    return model.eval()


def save_photo_model(
    folder: Path, model: nn.Module, vocabulary: Path, labels: Sequence[str], facts: Mapping[str, Any]
) -> int:
    """Write the folder that open_clip loads as ``local-dir:``; returns its size in bytes."""
    folder.mkdir(parents=True, exist_ok=True)
    own = {"licence": _LICENCE, "limits": _LIMITS}
    whole = {"model_cfg": MODEL_CONFIG, "preprocess_cfg": _PREPROCESSING, "mmviewer": own}
    (folder / CONFIG_NAME).write_text(json.dumps(whole, indent=1) + "\n", encoding="utf-8")
    if vocabulary.resolve() != (folder / BPE_NAME).resolve():
        shutil.copyfile(vocabulary, folder / BPE_NAME)
    halves = {
        name: value.detach().half().contiguous().clone() if value.is_floating_point() else value.clone()
        for name, value in model.state_dict().items()
    }
    save_file(halves, folder / WEIGHTS_NAME)
    (folder / WEIGHTS_NAME).chmod(0o644)  # safetensors leaves it to its owner alone
    (folder / "labels.txt").write_text("".join(f"{label}\n" for label in labels), encoding="utf-8")
    (folder / "training.json").write_text(json.dumps(facts, indent=1) + "\n", encoding="utf-8")
    return sum(path.stat().st_size for path in folder.iterdir())
