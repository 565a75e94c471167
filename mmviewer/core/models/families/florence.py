"""Florence-2 as transformers has it: detailed captions."""

from __future__ import annotations

from mmviewer.core.errors import ModelError
from mmviewer.core.models.base import FAMILIES, LoadedModel, Placement
from mmviewer.core.models.hf.family import HfFamily
from mmviewer.core.models.hf.source import Found
from mmviewer.core.models.identity import Identity
from mmviewer.core.progress import Progress

_STRIDE = 32
"""Pixels of a position: the stages of the image encoder halve the picture five times."""


class FlorenceFamily(HfFamily):
    """Loads ``Florence2ForConditionalGeneration``, whose files run no code of their own."""

    key = "florence"
    label = "Florence-2"
    types = frozenset(("florence2",))
    names = ("florence-community/florence-2",)

    def open(self, found: Found, placement: Placement, progress: Progress) -> LoadedModel:
        """Load the model, the image processor and the tokenizer."""
        from mmviewer.core.models.hf import build
        from mmviewer.core.models.hf.pixels import Pixels
        from mmviewer.core.models.hf.text import TextCodec
        from mmviewer.core.models.vlm.florence import Florence

        if "auto_map" in found.config:
            raise ModelError(
                f"{found.label} is Florence-2 in a form that runs code of its own; get it in the form of "
                "florence-community/Florence-2-base or -large instead."
            )
        module = build.load_module("Florence2ForConditionalGeneration", found, placement)
        pixels = Pixels(build.load_processor("AutoImageProcessor", found), _STRIDE)
        length = module.config.text_config.max_position_embeddings
        codec = TextCodec(build.load_processor("AutoTokenizer", found), length)
        with build.broken_files(found):
            identity = build.identity_of(found, progress)
            return Florence(self.key, module, pixels, codec, placement, identity)

    def tiny(self, variant: str = "") -> LoadedModel:
        """A random model that looks at 4 x 4 positions of 32 pixels."""
        from transformers import CLIPImageProcessor, Florence2Config

        from mmviewer.core.models.hf import build
        from mmviewer.core.models.hf.pixels import Pixels
        from mmviewer.core.models.hf.text import TextCodec
        from mmviewer.core.models.vlm.florence import Florence

        config = Florence2Config(
            text_config={
                "model_type": "bart",
                "vocab_size": build.VOCABULARY,
                "d_model": 32,
                "encoder_layers": 2,
                "decoder_layers": 2,
                "encoder_attention_heads": 4,
                "decoder_attention_heads": 4,
                "encoder_ffn_dim": 48,
                "decoder_ffn_dim": 48,
                "max_position_embeddings": 128,
                "pad_token_id": 0,
                "eos_token_id": 1,
                "bos_token_id": 2,
                "decoder_start_token_id": 1,
            },
            vision_config={
                "depths": [1] * 4,
                "embed_dim": [8, 8, 16, 16],
                "num_heads": [2] * 4,
                "num_groups": [2] * 4,
                "window_size": 2,
                "projection_dim": 32,
                "drop_path_rate": 0.0,
            },
            image_token_id=build.VOCABULARY - 1,
        )
        square = {"height": 128, "width": 128}
        pixels = Pixels(CLIPImageProcessor(size=square, do_center_crop=False), _STRIDE)
        codec = TextCodec(build.byte_tokenizer(), 128)
        module = build.random_module("Florence2ForConditionalGeneration", config)
        identity = Identity("tiny Florence-2", "tiny:florence", "florence")
        return Florence(self.key, module, pixels, codec, build.CPU, identity)


FAMILIES.add("florence")(FlorenceFamily())
