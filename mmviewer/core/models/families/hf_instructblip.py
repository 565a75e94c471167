"""InstructBLIP: a Q-Former that reads the instruction too, before a decoder or T5."""

from __future__ import annotations

from mmviewer.core.models.base import FAMILIES, LoadedModel, Placement
from mmviewer.core.models.hf.family import HfFamily, asked
from mmviewer.core.models.hf.source import Found
from mmviewer.core.models.identity import Identity
from mmviewer.core.progress import Progress
from mmviewer.core.types import QuestionForm

_TOWER = {"hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 2, "num_attention_heads": 4}
_CONTEXT = 128
_LONGEST_T5 = 512  # it knows distances only and was trained up to here
_IMAGE = "<image>"
_QUESTIONS = QuestionForm("{question}?", ("what is unusual about this picture?", "what is he doing?"))


class HfInstructBlipFamily(HfFamily):
    """Loads ``InstructBlipForConditionalGeneration``."""

    key = "hf_instructblip"
    label = "InstructBLIP"
    types = frozenset(("instructblip",))
    names = ("/instructblip-",)

    def open(self, found: Found, placement: Placement, progress: Progress) -> LoadedModel:
        """Load all three parts, the image processor and both tokenizers."""
        from mmviewer.core.models.hf import build
        from mmviewer.core.models.hf.parts import load_codec, load_pixels
        from mmviewer.core.models.hf.qformer import InstructModel

        module = build.load_module("InstructBlipForConditionalGeneration", found, placement)
        config = module.config
        vision, text = config.vision_config, config.text_config
        pixels = load_pixels(found, vision.patch_size, vision.image_size)
        context = getattr(text, "max_position_embeddings", _LONGEST_T5)
        codec = load_codec(found, context, text.vocab_size)
        reader = build.load_processor("AutoTokenizer", found, "qformer_tokenizer")
        with build.broken_files(found):
            identity = asked(build.identity_of(found, progress), _QUESTIONS)
            return InstructModel(self.key, module, pixels, codec, placement, identity, reader)

    def tiny_variants(self) -> tuple[str, ...]:
        """The two kinds of language models."""
        return ("llama", "t5")

    def tiny(self, variant: str = "") -> LoadedModel:
        """A random model of a few thousand weights that reads and writes single bytes."""
        from transformers import BlipImageProcessor, InstructBlipConfig

        from mmviewer.core.models.hf import build
        from mmviewer.core.models.hf.languages import TINY
        from mmviewer.core.models.hf.pixels import Pixels
        from mmviewer.core.models.hf.qformer import InstructModel
        from mmviewer.core.models.hf.text import TextCodec

        kind = variant or "llama"
        queries = _TOWER | {
            "vocab_size": build.VOCABULARY,
            "encoder_hidden_size": 32,
            "cross_attention_frequency": 1,
        }
        config = InstructBlipConfig(
            vision_config=_TOWER | {"image_size": 32, "patch_size": 8},
            qformer_config=queries,
            text_config=TINY[kind] | {"model_type": kind, "vocab_size": build.VOCABULARY},
            num_query_tokens=4,
            image_token_index=6,
        )
        pixels = Pixels(BlipImageProcessor(size={"height": 32, "width": 32}), 8)
        codec = TextCodec(build.byte_tokenizer("<bos>", more=(_IMAGE,)), _CONTEXT)
        identity = asked(
            Identity(f"tiny InstructBLIP {kind}", f"tiny:hf_instructblip {kind}", f"hf_instructblip {kind}"),
            _QUESTIONS,
        )
        reader = build.byte_tokenizer("<cls>", "<sep>")
        module = build.random_module("InstructBlipForConditionalGeneration", config)
        return InstructModel(self.key, module, pixels, codec, build.CPU, identity, reader)


FAMILIES.add("hf_instructblip")(HfInstructBlipFamily())
