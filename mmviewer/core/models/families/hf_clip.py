"""CLIP as transformers has it: an image tower behind a class token, and a text tower."""

from __future__ import annotations

from mmviewer.core.models.base import FAMILIES, LoadedModel, Placement
from mmviewer.core.models.hf.family import HfFamily
from mmviewer.core.models.hf.source import Found
from mmviewer.core.models.identity import Identity
from mmviewer.core.progress import Progress

_TOWER = {"hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 2, "num_attention_heads": 4}
_ENDS = {"bos_token_id": 2, "eos_token_id": 1, "pad_token_id": 0}


class HfClipFamily(HfFamily):
    """Loads ``CLIPModel``."""

    key = "hf_clip"
    label = "CLIP (transformers)"
    types = frozenset(("clip",))
    names = ("clip-vit-", "fashion-clip")

    def open(self, found: Found, placement: Placement, progress: Progress) -> LoadedModel:
        """Load both towers, the image processor and the tokenizer."""
        from mmviewer.core.models.hf.dual import DualEncoder, load

        return load(DualEncoder, self.key, "CLIPModel", found, placement, progress)

    def tiny(self, variant: str = "") -> LoadedModel:
        """A random model of a few thousand weights that reads single bytes."""
        from transformers import CLIPConfig, CLIPImageProcessor

        from mmviewer.core.models.hf import build
        from mmviewer.core.models.hf.dual import DualEncoder
        from mmviewer.core.models.hf.pixels import Pixels
        from mmviewer.core.models.hf.text import TextCodec

        text = {"vocab_size": build.VOCABULARY, "max_position_embeddings": 64} | _ENDS
        vision = {"image_size": 32, "patch_size": 8}
        config = CLIPConfig(text_config=_TOWER | text, vision_config=_TOWER | vision, projection_dim=24)
        processor = CLIPImageProcessor(size={"shortest_edge": 32}, crop_size={"height": 32, "width": 32})
        codec = TextCodec(build.byte_tokenizer("<bos>", "<eos>"), 64)
        identity = Identity("tiny HF CLIP", "tiny:hf_clip", "hf_clip")
        module = build.random_module("CLIPModel", config)
        return DualEncoder(self.key, module, Pixels(processor, 8), codec, build.CPU, identity)


FAMILIES.add("hf_clip")(HfClipFamily())
