"""SigLIP 2 NaFlex: images keep their shape, so that each has a grid of its own."""

from __future__ import annotations

from mmviewer.core.models.base import FAMILIES, LoadedModel, Placement
from mmviewer.core.models.hf.family import HfFamily
from mmviewer.core.models.hf.source import Found
from mmviewer.core.models.identity import Identity
from mmviewer.core.progress import Progress

_TOWER = {"hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 2, "num_attention_heads": 4}
_ENDS = {"bos_token_id": 2, "eos_token_id": 1, "pad_token_id": 0}


class HfSiglip2Family(HfFamily):
    """Loads ``Siglip2Model``."""

    key = "hf_siglip2"
    label = "SigLIP 2 NaFlex (transformers)"
    types = frozenset(("siglip2",))
    names = ("naflex",)
    special = True

    def open(self, found: Found, placement: Placement, progress: Progress) -> LoadedModel:
        """Load both towers, the image processor and the tokenizer."""
        from mmviewer.core.models.hf import build
        from mmviewer.core.models.hf.parts import load_codec
        from mmviewer.core.models.hf.siglip import NaflexEncoder, NaflexPixels

        module = build.load_module("Siglip2Model", found, placement, exact_scalars=True)
        text = module.config.text_config
        codec = load_codec(found, text.max_position_embeddings, text.vocab_size)
        with build.broken_files(found):
            pixels = NaflexPixels(build.load_processor("Siglip2ImageProcessor", found))
            identity = build.identity_of(found, progress)
            return NaflexEncoder(self.key, module, pixels, codec, placement, identity)

    def tiny(self, variant: str = "") -> LoadedModel:
        """A random model of a few thousand weights that reads single bytes."""
        from transformers import Siglip2Config, Siglip2ImageProcessor

        from mmviewer.core.models.hf import build
        from mmviewer.core.models.hf.siglip import NaflexEncoder, NaflexPixels
        from mmviewer.core.models.hf.text import TextCodec

        text = {"vocab_size": build.VOCABULARY, "max_position_embeddings": 64, "projection_size": 32} | _ENDS
        vision = {"num_patches": 16, "patch_size": 8}
        config = Siglip2Config(text_config=_TOWER | text, vision_config=_TOWER | vision)
        pixels = NaflexPixels(Siglip2ImageProcessor(patch_size=8, max_num_patches=24))
        codec = TextCodec(build.byte_tokenizer(end="<eos>"), 64)
        identity = Identity("tiny SigLIP 2 NaFlex", "tiny:hf_siglip2", "hf_siglip2")
        module = build.random_module("Siglip2Model", config)
        return NaflexEncoder(self.key, module, pixels, codec, build.CPU, identity)


FAMILIES.add("hf_siglip2")(HfSiglip2Family())
