"""A sound tower's files, checked before anything is built from them."""

from __future__ import annotations

from dataclasses import fields
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file

from mmviewer.core.errors import ModelError
from mmviewer.core.models import files
from mmviewer.core.models.builtin import built_in
from mmviewer.core.models.openclip.source import FAMILY
from mmviewer.core.models.sound.tower import SoundConfig, SoundTower

CONFIG, WEIGHTS = "sound_config.json", "sound_model.safetensors"
_LIMITS = {  # far above any tower that is of use; they keep a hostile configuration from filling the memory
    "embed_dim": 8192,
    "ear_width": 8192,
    "ear_layers": 128,
    "ear_heads": 256,
    "width": 8192,
    "layers": 128,
    "heads": 256,
    "mels": 512,
    "reach": 1025,
    "min_seconds": 30,
    "max_seconds": 120,
}


def folder_of(spec: str) -> Path | None:
    """The folder that a spec names if it carries a sound tower; opens nothing."""
    shipped = built_in(spec, FAMILY)
    folder = shipped.folder if shipped else Path(spec.removeprefix("local-dir:")).expanduser()
    return folder if (folder / CONFIG).is_file() and (folder / WEIGHTS).is_file() else None


def load_tower(folder: Path) -> SoundTower:
    """The tower of a folder, on the CPU in float32, frozen; `ModelError` where it is broken."""
    config = read_config(folder)
    path = folder / WEIGHTS
    blocks = config.layers * config.width**2 + config.ear_layers * config.ear_width**2
    if 12 * blocks > path.stat().st_size:
        raise ModelError(
            f"{folder / CONFIG} describes a larger tower than {WEIGHTS} holds; get the model's files again."
        )
    try:
        weights = load_file(path)
        tower = SoundTower(config)
        tower.load_state_dict({name: tensor.to(torch.float32) for name, tensor in weights.items()})
    except (SafetensorError, RuntimeError, OSError) as error:
        raise ModelError(
            f"{path} is broken or does not fit its configuration; get the model's files again."
        ) from error
    return tower.eval().requires_grad_(False)


def read_config(folder: Path) -> SoundConfig:
    """The configuration of a folder's sound tower, every number within bounds."""
    where = folder / CONFIG
    given = files.read_json(where).get("sound_cfg")
    if not isinstance(given, dict):
        raise ModelError(f"{where} describes no sound tower (sound_cfg is missing); get the file again.")
    known = {field.name: field.type for field in fields(SoundConfig)}
    for name, value in given.items():
        if name not in known:
            raise ModelError(f"{where} has an unknown setting {str(name)[:50]!r}; get a newer mmviewer.")
        whole = known[name] == "int"
        fits = type(value) is int if whole else type(value) in (int, float)
        if not fits or not 0 < value <= _LIMITS[name]:
            raise ModelError(f"{where} has an impossible {name} ({str(value)[:50]}); get the file again.")
    config = SoundConfig(**given)
    divided = config.width % config.heads == 0 and config.ear_width % config.ear_heads == 0
    if not divided or not config.reach % 2 or config.min_seconds > config.max_seconds:
        raise ModelError(f"The settings in {where} do not fit each other; get the file again.")
    return config
