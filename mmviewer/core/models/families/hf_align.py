"""ALIGN: an EfficientNet for images and BERT for texts."""

from __future__ import annotations

from mmviewer.core.models.base import FAMILIES, LoadedModel, Placement
from mmviewer.core.models.hf.family import HfFamily
from mmviewer.core.models.hf.source import Found
from mmviewer.core.models.identity import Identity
from mmviewer.core.progress import Progress

_BERT = {"hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 2, "num_attention_heads": 4}


class HfAlignFamily(HfFamily):
    """Loads ``AlignModel``."""

    key = "hf_align"
    label = "ALIGN (transformers)"
    types = frozenset(("align",))
    names = ("/align-",)

    def open(self, found: Found, placement: Placement, progress: Progress) -> LoadedModel:
        """Load both towers, the image processor and the tokenizer."""
        from mmviewer.core.models.hf import build
        from mmviewer.core.models.hf.align import CONTEXT, AlignEncoder
        from mmviewer.core.models.hf.parts import load_codec, load_pixels

        module = build.load_module("AlignModel", found, placement, exact_scalars=True)
        pixels = load_pixels(found, 1)
        codec = load_codec(found, CONTEXT, module.config.text_config.vocab_size)
        with build.broken_files(found):
            identity = build.identity_of(found, progress)
            return AlignEncoder(self.key, module, pixels, codec, placement, identity)

    def tiny(self, variant: str = "") -> LoadedModel:
        """A random model of a few thousand weights that reads single bytes."""
        from transformers import AlignConfig, EfficientNetImageProcessor

        from mmviewer.core.models.hf import build
        from mmviewer.core.models.hf.align import CONTEXT, AlignEncoder
        from mmviewer.core.models.hf.pixels import Pixels
        from mmviewer.core.models.hf.text import TextCodec

        vision = {"image_size": 64, "width_coefficient": 0.25, "depth_coefficient": 0.4, "hidden_dim": 80}
        config = AlignConfig(
            text_config=_BERT | {"vocab_size": build.VOCABULARY, "max_position_embeddings": CONTEXT},
            vision_config=vision | {"num_hidden_layers": 4},
            projection_dim=80,
        )
        processor = EfficientNetImageProcessor(
            size={"height": 80, "width": 80},
            crop_size={"height": 64, "width": 64},
            do_center_crop=True,
            rescale_offset=True,
            include_top=False,
        )
        codec = TextCodec(build.byte_tokenizer("<cls>", "<sep>"), CONTEXT)
        identity = Identity("tiny ALIGN", "tiny:hf_align", "hf_align")
        module = build.random_module("AlignModel", config)
        return AlignEncoder(self.key, module, Pixels(processor, 1), codec, build.CPU, identity)


FAMILIES.add("hf_align")(HfAlignFamily())
