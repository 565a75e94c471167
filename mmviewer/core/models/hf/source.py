"""Which transformers model a user named, and where its files are; light, opens no weights."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mmviewer.core.errors import ModelError
from mmviewer.core.hub import cache
from mmviewer.core.models import files, hub
from mmviewer.core.progress import SILENT, Progress

CONFIG = "config.json"
INDEX = "model.safetensors.index.json"
WEIGHTS = "model.safetensors"
_OPEN_CLIP = "open_clip_config.json"
_PATTERNS = ("*.json", "*.txt", "*.model", "*.jinja", "*.safetensors")
_HUB_ID = re.compile(r"[\w.-]+/[\w.-]+")


@dataclass(frozen=True, slots=True)
class Found:
    """A model's folder, checked: its configuration and every file of its weights are there.

    `weights` are one file, or the shards that an index names.
    """

    spec: str
    label: str
    folder: Path
    config: dict[str, Any]
    weights: tuple[Path, ...]
    revision: str

    @property
    def size(self) -> int:
        """Bytes of the weights on disk."""
        return sum(path.stat().st_size for path in self.weights)

    def digest(self, progress: Progress = SILENT) -> str:
        """SHA-256 of the weights file; of several, that of their checksums."""
        sums = [files.sha256(path, progress) for path in self.weights]
        return sums[0] if len(sums) == 1 else hashlib.sha256("".join(sums).encode()).hexdigest()


def is_hub_id(spec: str) -> bool:
    """Whether `spec` is no path but has the form ORGANISATION/NAME."""
    return _HUB_ID.fullmatch(spec) is not None and not Path(spec).expanduser().exists()


def model_type(spec: str) -> str:
    """``model_type`` in the configuration of a folder or of a model in the hub's cache; else empty.

    A folder that open_clip can load too is left to it; as an id of the hub it is named for open_clip.
    """
    config = _config_of(spec)
    if config is None or ((config.parent / _OPEN_CLIP).is_file() and not is_hub_id(spec)):
        return ""
    try:
        return str(files.read_json(config).get("model_type", ""))
    except ModelError:
        return ""


def recognises(spec: str, types: Collection[str], names: Collection[str]) -> bool:
    """Whether `spec` is a folder or cached model of one of `types`, or an unknown hub id named alike.

    `names` are parts of hub ids, in lower case, by which a model that is not here is told.
    """
    if _config_of(spec) is not None:
        return model_type(spec) in types
    if not is_hub_id(spec):
        return False
    return any(name in spec.lower() for name in names)


def locate(spec: str, types: Collection[str], progress: Progress = SILENT) -> Found:
    """Find the files of a model.

    Raises
    ------
    ModelError
        Not here and not to be downloaded, of another kind, incomplete, or without safetensors.
    """
    folder = Path(spec).expanduser()
    label = folder.resolve().name if folder.is_dir() else spec
    if not folder.is_dir():
        folder = hub.snapshot(spec, _PATTERNS, progress)
    config = files.read_json(folder / CONFIG)
    kind = str(config.get("model_type", ""))
    if kind not in types:
        raise ModelError(
            f"{label} is a model of the kind {kind[:60]!r}, not {' or '.join(sorted(types))}; "
            "load it by its folder, so that its own kind is found."
        )
    weights = _weights(folder, label)
    return Found(spec, label, folder, config, weights, hub.revision_of(folder / CONFIG))


def _config_of(spec: str) -> Path | None:
    path = Path(spec).expanduser()
    if path.is_dir():
        return path / CONFIG if (path / CONFIG).is_file() else None
    folder = cache.snapshot(spec) if is_hub_id(spec) else None
    return folder / CONFIG if folder is not None and (folder / CONFIG).is_file() else None


def _weights(folder: Path, label: str) -> tuple[Path, ...]:
    if (folder / WEIGHTS).is_file():
        return (folder / WEIGHTS,)
    if not (folder / INDEX).is_file():
        raise ModelError(
            f"{label} has a configuration but no {WEIGHTS}, so it is incomplete or holds its weights in a "
            "form that could run code; get the model again."
        )
    named = files.read_json(folder / INDEX).get("weight_map")
    if not isinstance(named, dict) or not named:
        raise ModelError(f"{folder / INDEX} names no weights; get the model's files again.")
    shards = tuple(files.inside(folder, name) for name in sorted(set(map(str, named.values()))))
    missing = [path.name for path in shards if not path.is_file() or path.suffix != ".safetensors"]
    if missing:
        raise ModelError(
            f"{label} is incomplete: {missing[0][:200]} is missing "
            f"({len(missing)} of {len(shards)} files); get the model's files again."
        )
    return shards
