"""OpenCLIP models with a sound tower beside them: images, texts and sounds in one space.

A folder of this family holds what an OpenCLIP folder holds, and ``sound_config.json`` with
``sound_model.safetensors``.
"""

from __future__ import annotations

from mmviewer.core.models.base import FAMILIES, Family, LoadedModel, ModelSource, Placement
from mmviewer.core.models.identity import Identity
from mmviewer.core.models.openclip.tiny import tiny_parts
from mmviewer.core.models.sound.files import folder_of
from mmviewer.core.models.sound.model import HearingModel, load, tiny_tower
from mmviewer.core.progress import SILENT, Progress


class HearingFamily(Family):
    """Loads open_clip models that also hear."""

    key = "hearing"
    label = "OpenCLIP with sound"
    special = True

    def recognises(self, wanted: ModelSource) -> bool:
        """Whether the spec names a folder that carries a sound tower beside an OpenCLIP model."""
        return folder_of(wanted.spec) is not None

    def load(self, wanted: ModelSource, placement: Placement, progress: Progress = SILENT) -> LoadedModel:
        """Load the open_clip model, then its sound tower."""
        return load(wanted, placement, progress, self.key)

    def tiny_variants(self) -> tuple[str, ...]:
        """Beside a model with a decoder and beside one without."""
        return ("coca", "clip")

    def tiny(self, variant: str = "") -> LoadedModel:
        """A random model of a few thousand weights."""
        name = variant or "clip"
        module, tokenizer, placement = tiny_parts(name)
        module.add_module("sound", tiny_tower(embed_dim=32))
        identity = Identity(f"tiny hearing {name}", f"tiny:hearing-{name}", name)
        return HearingModel(module, tokenizer, placement, identity, self.key)


FAMILIES.add("hearing")(HearingFamily())
