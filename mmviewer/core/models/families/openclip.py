"""OpenCLIP: CLIP, SigLIP, CoCa and their kin, any architecture of the installed open_clip."""

from __future__ import annotations

from mmviewer.core.models.base import FAMILIES, Family, LoadedModel, ModelSource, Placement
from mmviewer.core.models.identity import Identity
from mmviewer.core.models.openclip import source, tiny
from mmviewer.core.models.openclip.model import OpenClipModel, load_parts
from mmviewer.core.progress import SILENT, Progress


class OpenClipFamily(Family):
    """Loads what open_clip can build."""

    key = "openclip"
    label = "OpenCLIP"

    def recognises(self, wanted: ModelSource) -> bool:
        """Whether the spec is a folder, file, tag or hub id of an OpenCLIP model."""
        return source.recognises(wanted.spec)

    def load(self, wanted: ModelSource, placement: Placement, progress: Progress = SILENT) -> LoadedModel:
        """Build the model, load its weights and its tokenizer."""
        return OpenClipModel(*load_parts(wanted, placement, progress))

    def tiny_variants(self) -> tuple[str, ...]:
        """The kinds of towers that differ in how attention leads to patches."""
        return tuple(tiny.CONFIGS)

    def tiny(self, variant: str = "") -> LoadedModel:
        """A random model of a few thousand weights beside its vocabulary."""
        name = variant or "clip"
        identity = Identity(f"tiny {name}", f"tiny:{name}", name)
        return OpenClipModel(*tiny.tiny_parts(name), identity)


FAMILIES.add("openclip")(OpenClipFamily())
