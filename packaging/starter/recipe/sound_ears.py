"""The lower part of the sound tower: the first layers of Whisper's encoder, which stay as they are."""

from __future__ import annotations

from pathlib import Path

import torch
from safetensors.torch import load_file

from mmviewer.core.models.sound.tower import SoundTower

_ENCODER = "model.encoder."


def take_over(tower: SoundTower, whisper: Path) -> None:
    """Copy convolutions, positions and the first layers from a Whisper folder of transformers' form."""
    state = load_file(whisper / "model.safetensors")
    prefix = _ENCODER if f"{_ENCODER}conv1.weight" in state else _ENCODER.removeprefix("model.")
    encoder = {
        name.removeprefix(prefix): value.float() for name, value in state.items() if name.startswith(prefix)
    }
    taken = {name: encoder[name] for name in ("conv1.weight", "conv1.bias", "conv2.weight", "conv2.bias")}
    taken["positions"] = encoder["embed_positions.weight"][: tower.config.places]
    for layer in range(tower.config.ear_layers):
        taken |= _layer(encoder, f"layers.{layer}.", f"ears.resblocks.{layer}.")
    missing = tower.load_state_dict(taken, strict=False)
    if missing.unexpected_keys:
        raise ValueError(f"{whisper} does not fit the tower: {missing.unexpected_keys[:3]}")


def _layer(encoder: dict[str, torch.Tensor], source: str, target: str) -> dict[str, torch.Tensor]:
    """One layer's weights under the names of open_clip's residual block."""
    attention = f"{source}self_attn."
    value = encoder[f"{attention}q_proj.weight"]
    biases = [
        encoder.get(f"{attention}{part}_proj.bias", torch.zeros(len(value))) for part in "qkv"
    ]  # keys have none
    return {
        f"{target}attn.in_proj_weight": torch.cat(
            [encoder[f"{attention}{part}_proj.weight"] for part in "qkv"]
        ),
        f"{target}attn.in_proj_bias": torch.cat(biases),
        f"{target}attn.out_proj.weight": encoder[f"{attention}out_proj.weight"],
        f"{target}attn.out_proj.bias": encoder[f"{attention}out_proj.bias"],
        f"{target}ln_1.weight": encoder[f"{source}self_attn_layer_norm.weight"],
        f"{target}ln_1.bias": encoder[f"{source}self_attn_layer_norm.bias"],
        f"{target}ln_2.weight": encoder[f"{source}final_layer_norm.weight"],
        f"{target}ln_2.bias": encoder[f"{source}final_layer_norm.bias"],
        f"{target}mlp.c_fc.weight": encoder[f"{source}fc1.weight"],
        f"{target}mlp.c_fc.bias": encoder[f"{source}fc1.bias"],
        f"{target}mlp.c_proj.weight": encoder[f"{source}fc2.weight"],
        f"{target}mlp.c_proj.bias": encoder[f"{source}fc2.bias"],
    }
