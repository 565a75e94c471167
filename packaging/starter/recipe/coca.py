"""The model: a small CoCa of open_clip, its configuration, and its folder on disk."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import torch
from open_clip.coca_model import CoCa
from open_clip.tokenizer import SimpleTokenizer
from safetensors.torch import load_file, save_file

from recipe.stem import attach_stem

CONTEXT = 24
IMAGE = 256
PATCH = 32
MEAN = STD = (0.5, 0.5, 0.5)
CONFIG_NAME, WEIGHTS_NAME, BPE_NAME = "open_clip_config.json", "open_clip_model.safetensors", "bpe.txt.gz"

GUIDED_LAYER = 2
"""Layer of the decoder, counted from 0, whose cross-attention training guides with boxes by default."""

QUESTIONS = {
    "prompt": "{question} ?",
    "examples": ["how many dogs ?", "what colour is the dog ?", "where is the dog ?", "is there a dog ?"],
}
"""How the decoder is asked: its answer follows the question and its mark."""

Config = dict[str, Any]


def config(
    vocabulary: int,
    *,
    image: int = IMAGE,
    patch: int = PATCH,
    width: int = 192,
    vision_layers: int = 6,
    text_layers: int = 4,
    decoder_layers: int = 4,
    head_width: int = 48,
    context: int = CONTEXT,
) -> Config:
    """The model's part of an open_clip configuration."""
    heads = width // head_width
    text = {"context_length": context, "vocab_size": vocabulary, "width": width, "heads": heads}
    return {
        "embed_dim": width,
        "custom_text": True,
        "vision_cfg": {
            "image_size": image, "layers": vision_layers, "width": width, "head_width": head_width,
            "patch_size": patch, "output_tokens": True,
        },
        "text_cfg": {
            **text, "layers": text_layers, "embed_cls": True, "output_tokens": True,
            "tokenizer_kwargs": {"bpe_path": BPE_NAME},
        },
        "multimodal_cfg": {
            **text, "layers": decoder_layers, "mlp_ratio": 4, "dim_head": head_width, "n_queries": 64,
            "attn_pooler_heads": heads,
        },
    }  # fmt: skip


def build(
    model_config: Config, seed: int = 0, *, stem: str | None = None, package: Path | None = None
) -> CoCa:
    """A freshly initialised model, with a stem where one is named and its weights where their package is."""
    torch.manual_seed(seed)
    model = CoCa(**{key: value for key, value in model_config.items() if key != "custom_text"})
    _initialise_decoder(model)
    return model if stem is None else attach_stem(model, stem, package)


def _initialise_decoder(model: CoCa) -> None:
    """open_clip 3.3 leaves the decoder's output projection as uninitialised memory."""
    decoder = model.text_decoder
    width = decoder.text_projection.shape[0]
    blocks = [*decoder.resblocks, *decoder.cross_attn]
    with torch.no_grad():
        torch.nn.init.normal_(decoder.text_projection, std=width**-0.5)
        for block in blocks:
            torch.nn.init.normal_(block.attn.in_proj_weight, std=width**-0.5)
            torch.nn.init.normal_(block.attn.out_proj.weight, std=(2 * width * len(blocks)) ** -0.5)
            torch.nn.init.normal_(block.mlp.c_fc.weight, std=(2 * width) ** -0.5)
            torch.nn.init.normal_(block.mlp.c_proj.weight, std=(2 * width * len(blocks)) ** -0.5)


def tokenizer(bpe: Path) -> SimpleTokenizer:
    """The tokenizer of a BPE file."""
    return SimpleTokenizer(bpe_path=str(bpe), context_length=CONTEXT)


def load_folder(folder: Path) -> tuple[CoCa, Config, SimpleTokenizer]:
    """A model in float32, its configuration and tokenizer, from an exported folder."""
    whole: dict[str, Any] = json.loads((folder / CONFIG_NAME).read_text(encoding="utf-8"))
    model = build(whole["model_cfg"], stem=whole["mmviewer"].get("stem"))
    model.load_state_dict(_in_full(load_file(folder / WEIGHTS_NAME)))
    return model.eval(), whole["model_cfg"], tokenizer(folder / BPE_NAME)


def warm_start(model: CoCa, folder: Path) -> list[str]:
    """Copy all weights of an exported folder that fit the model; returns the names that keep their own."""
    saved = _in_full(load_file(folder / WEIGHTS_NAME))
    own = model.state_dict()
    fitting = {name: value for name, value in saved.items() if name in own and own[name].shape == value.shape}
    model.load_state_dict(fitting, strict=False)
    return sorted(own.keys() - fitting.keys())


def _in_full(state: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    return {k: v.float() if v.is_floating_point() else v for k, v in state.items()}


def save_folder(
    folder: Path,
    state: dict[str, torch.Tensor],
    model_config: Config,
    bpe: Path,
    *,
    stem: str | None = None,
    facts: dict[str, Any] | None = None,
) -> int:
    """Write the folder that mmviewer loads (open_clip too, without a stem); returns its files' bytes.

    Parameters
    ----------
    folder
        Where to; what else lies there stays.
    state, model_config, bpe
        Weights, which are written as float16 but for vectors, and what they need.
    stem
        Name of the model's stem.
    facts
        More that the app reads in the configuration.
    """
    folder.mkdir(parents=True, exist_ok=True)
    preprocessing = {"mean": MEAN, "std": STD, "interpolation": "bicubic", "resize_mode": "squash"}
    guided = {"decoder.cross": GUIDED_LAYER}
    own = {"best_layers": guided, "guided_layers": guided, "questions": QUESTIONS, **(facts or {})}
    if stem is not None:
        own["stem"] = stem
    whole = {"model_cfg": model_config, "preprocess_cfg": preprocessing, "mmviewer": own}
    (folder / CONFIG_NAME).write_text(json.dumps(whole, indent=1) + "\n", encoding="utf-8")
    if bpe.resolve() != (folder / BPE_NAME).resolve():
        shutil.copyfile(bpe, folder / BPE_NAME)
    save_file({name: _small(value) for name, value in state.items()}, folder / WEIGHTS_NAME)
    (folder / WEIGHTS_NAME).chmod(0o644)  # safetensors leaves it to its owner alone
    return sum((folder / name).stat().st_size for name in (CONFIG_NAME, BPE_NAME, WEIGHTS_NAME))


def _small(value: torch.Tensor) -> torch.Tensor:
    """Matrices as float16; vectors keep their type: a batch norm's statistics may leave float16's range."""
    value = value.detach().cpu().contiguous().clone()
    return value.half() if value.is_floating_point() and value.ndim >= 2 else value


def normalise(images: torch.Tensor) -> torch.Tensor:
    """Pixels uint8 [B, 3, H, W] as the model takes them."""
    mean, std = (torch.tensor(v, device=images.device).view(1, 3, 1, 1) for v in (MEAN, STD))
    return (images.float() / 255 - mean) / std
