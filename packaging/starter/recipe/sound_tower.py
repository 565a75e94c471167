"""The sound tower's files in a model folder."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file

from mmviewer.core.models.sound.tower import SoundConfig, SoundTower

CONFIG_NAME, WEIGHTS_NAME = "sound_config.json", "sound_model.safetensors"


def save_tower(folder: Path, tower: SoundTower) -> int:
    """Write configuration and weights (fp16); returns their size in bytes."""
    folder.mkdir(parents=True, exist_ok=True)
    config = {"sound_cfg": asdict(tower.config)}
    (folder / CONFIG_NAME).write_text(json.dumps(config, indent=1) + "\n", encoding="utf-8")
    state = {key: value.detach().half().contiguous().clone() for key, value in tower.state_dict().items()}
    save_file(state, folder / WEIGHTS_NAME)
    (folder / WEIGHTS_NAME).chmod(0o644)  # safetensors leaves it to its owner alone
    return sum((folder / name).stat().st_size for name in (CONFIG_NAME, WEIGHTS_NAME))


def load_tower(folder: Path) -> SoundTower:
    """A tower in float32 from a folder."""
    config = SoundConfig(**json.loads((folder / CONFIG_NAME).read_text(encoding="utf-8"))["sound_cfg"])
    tower = SoundTower(config)
    tower.load_state_dict({key: value.float() for key, value in load_file(folder / WEIGHTS_NAME).items()})
    return tower.eval()


def parameters(tower: torch.nn.Module) -> int:
    """How many weights it has."""
    return sum(p.numel() for p in tower.parameters())
