"""Whisper: speech to text, from a local folder or an id of the hub.

The parts that need transformers' Whisper are imported when a model is loaded.
"""

from __future__ import annotations

from pathlib import Path

from mmviewer.core.errors import ModelError
from mmviewer.core.models import files, hub
from mmviewer.core.models.base import FAMILIES, Family, LoadedModel, ModelSource, Placement
from mmviewer.core.progress import SILENT, Progress

_PATTERNS = ("*.json", "*.txt", "model.safetensors")


class WhisperFamily(Family):
    """Loads Whisper models of transformers."""

    key = "whisper"
    label = "Whisper"

    def recognises(self, source: ModelSource) -> bool:
        """A folder whose config names Whisper, or a hub id with Whisper in its name."""
        folder = Path(source.spec).expanduser()
        if folder.is_dir():
            config = folder / "config.json"
            return config.is_file() and _model_type(config) == "whisper"
        organisation, slash, name = source.spec.partition("/")
        return bool(organisation and slash) and "whisper" in name.lower() and "/" not in name

    def load(self, source: ModelSource, placement: Placement, progress: Progress = SILENT) -> LoadedModel:
        """Load configuration, weights, feature extractor and tokenizer; no code of others is run."""
        from mmviewer.core.models.whisper.model import load

        folder = Path(source.spec).expanduser()
        label = folder.resolve().name if folder.is_dir() else source.spec
        if not folder.is_dir():
            folder = hub.snapshot(source.spec, _PATTERNS, progress)
        return load(source.spec, label, folder, placement, progress)

    def tiny(self, variant: str = "") -> LoadedModel:
        """A random model with windows of one second and a tokenizer of single bytes."""
        from mmviewer.core.models.whisper.model import tiny

        return tiny()


def _model_type(config: Path) -> str:
    try:
        return str(files.read_json(config).get("model_type", ""))
    except ModelError:
        return ""


FAMILIES.add("whisper")(WhisperFamily())
