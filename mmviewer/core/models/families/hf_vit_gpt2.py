"""ViT-GPT2 and others of its make: a ViT, and a GPT-2 that reads its patches by cross-attention."""

from __future__ import annotations

from mmviewer.core.errors import ModelError
from mmviewer.core.models.base import FAMILIES, LoadedModel, Placement
from mmviewer.core.models.hf.family import HfFamily
from mmviewer.core.models.hf.source import Found
from mmviewer.core.models.identity import Identity
from mmviewer.core.progress import Progress

_VIT = {"hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 2, "num_attention_heads": 4}
_GPT = {"n_embd": 24, "n_layer": 2, "n_head": 4, "n_positions": 64}
_PARTS = {"encoder": "vit", "decoder": "gpt2"}


class HfVitGpt2Family(HfFamily):
    """Loads ``VisionEncoderDecoderModel`` of these two parts."""

    key = "hf_vit_gpt2"
    label = "ViT-GPT2"
    types = frozenset(("vision-encoder-decoder",))
    names = ("vit-gpt2",)

    def open(self, found: Found, placement: Placement, progress: Progress) -> LoadedModel:
        """Load both parts, the image processor and the tokenizer."""
        from mmviewer.core.models.hf import build
        from mmviewer.core.models.hf.parts import load_codec, load_pixels
        from mmviewer.core.models.hf.vit_gpt2 import VitGpt2

        for part, kind in _PARTS.items():
            settings = found.config.get(part)
            named = settings.get("model_type") if isinstance(settings, dict) else None
            if named != kind:
                raise ModelError(
                    f"{found.label} has the {part} {str(named)[:60]!r}; of such pairs mmviewer knows "
                    "ViT with GPT-2 only: choose another model."
                )
        module = build.load_module("VisionEncoderDecoderModel", found, placement)
        config = module.config
        pixels = load_pixels(found, config.encoder.patch_size, config.encoder.image_size)
        codec = load_codec(found, config.decoder.n_positions, config.decoder.vocab_size)
        with build.broken_files(found):
            identity = build.identity_of(found, progress)
            return VitGpt2(self.key, module, pixels, codec, placement, identity)

    def tiny(self, variant: str = "") -> LoadedModel:
        """A random model of a few thousand weights that reads and writes single bytes."""
        from transformers import GPT2Config, VisionEncoderDecoderConfig, ViTConfig, ViTImageProcessor

        from mmviewer.core.models.hf import build
        from mmviewer.core.models.hf.pixels import Pixels
        from mmviewer.core.models.hf.text import TextCodec
        from mmviewer.core.models.hf.vit_gpt2 import VitGpt2

        text = GPT2Config(
            **_GPT,
            vocab_size=build.VOCABULARY,
            bos_token_id=1,
            eos_token_id=1,
            is_decoder=True,
            add_cross_attention=True,
        )
        vision = ViTConfig(**_VIT, image_size=32, patch_size=8)
        config = VisionEncoderDecoderConfig(encoder=vision.to_dict(), decoder=text.to_dict())
        pixels = Pixels(ViTImageProcessor(size={"height": 32, "width": 32}), 8)
        codec = TextCodec(build.byte_tokenizer(), 64)
        identity = Identity("tiny ViT-GPT2", "tiny:hf_vit_gpt2", "hf_vit_gpt2")
        module = build.random_module("VisionEncoderDecoderModel", config)
        return VitGpt2(self.key, module, pixels, codec, build.CPU, identity)


FAMILIES.add("hf_vit_gpt2")(HfVitGpt2Family())
