"""SigLIP and SigLIP 2 with images of one size, as transformers has them."""

from __future__ import annotations

from mmviewer.core.models.base import FAMILIES, LoadedModel, Placement
from mmviewer.core.models.hf.family import HfFamily
from mmviewer.core.models.hf.source import Found
from mmviewer.core.models.identity import Identity
from mmviewer.core.progress import Progress

_TOWER = {"hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 2, "num_attention_heads": 4}
_ENDS = {"bos_token_id": 2, "eos_token_id": 1, "pad_token_id": 0}


class HfSiglipFamily(HfFamily):
    """Loads ``SiglipModel``."""

    key = "hf_siglip"
    label = "SigLIP (transformers)"
    types = frozenset(("siglip",))
    names = ("/siglip-", "/siglip2-")

    def open(self, found: Found, placement: Placement, progress: Progress) -> LoadedModel:
        """Load both towers, the image processor and the tokenizer."""
        from mmviewer.core.models.hf.dual import load
        from mmviewer.core.models.hf.siglip import SiglipEncoder

        return load(SiglipEncoder, self.key, "SiglipModel", found, placement, progress)

    def tiny(self, variant: str = "") -> LoadedModel:
        """A random model of a few thousand weights that reads single bytes."""
        from transformers import SiglipConfig, SiglipImageProcessor

        from mmviewer.core.models.hf import build
        from mmviewer.core.models.hf.pixels import Pixels
        from mmviewer.core.models.hf.siglip import SiglipEncoder
        from mmviewer.core.models.hf.text import TextCodec

        text = {"vocab_size": build.VOCABULARY, "max_position_embeddings": 64, "projection_size": 32} | _ENDS
        vision = {"image_size": 32, "patch_size": 8}
        config = SiglipConfig(text_config=_TOWER | text, vision_config=_TOWER | vision)
        processor = SiglipImageProcessor(size={"height": 32, "width": 32})
        codec = TextCodec(build.byte_tokenizer(end="<eos>"), 64)
        identity = Identity("tiny HF SigLIP", "tiny:hf_siglip", "hf_siglip")
        module = build.random_module("SiglipModel", config)
        return SiglipEncoder(self.key, module, Pixels(processor, 8), codec, build.CPU, identity)


FAMILIES.add("hf_siglip")(HfSiglipFamily())
