"""BLIP-2: a Q-Former between an image encoder and a language model, OPT or T5."""

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
_QUESTIONS = QuestionForm("Question: {question}? Answer:", ("how many dogs are there?", "what is he doing?"))


class HfBlip2Family(HfFamily):
    """Loads ``Blip2ForConditionalGeneration``."""

    key = "hf_blip2"
    label = "BLIP-2"
    types = frozenset(("blip-2",))
    names = ("/blip2-",)

    def open(self, found: Found, placement: Placement, progress: Progress) -> LoadedModel:
        """Load all three parts, the image processor and the tokenizer."""
        from mmviewer.core.models.hf import build
        from mmviewer.core.models.hf.parts import load_codec, load_pixels
        from mmviewer.core.models.hf.qformer import QFormerModel

        module = build.load_module("Blip2ForConditionalGeneration", found, placement)
        config = module.config
        vision, text = config.vision_config, config.text_config
        pixels = load_pixels(found, vision.patch_size, vision.image_size)
        context = getattr(text, "max_position_embeddings", _LONGEST_T5)
        codec = load_codec(found, context, text.vocab_size)
        with build.broken_files(found):
            identity = asked(build.identity_of(found, progress), _QUESTIONS)
            return QFormerModel(self.key, module, pixels, codec, placement, identity)

    def tiny_variants(self) -> tuple[str, ...]:
        """The two kinds of language models."""
        return ("opt", "t5")

    def tiny(self, variant: str = "") -> LoadedModel:
        """A random model of a few thousand weights that reads and writes single bytes."""
        from transformers import Blip2Config, BlipImageProcessor

        from mmviewer.core.models.hf import build
        from mmviewer.core.models.hf.languages import TINY
        from mmviewer.core.models.hf.pixels import Pixels
        from mmviewer.core.models.hf.qformer import QFormerModel
        from mmviewer.core.models.hf.text import TextCodec

        kind = variant or "opt"
        queries = _TOWER | {"vocab_size": 64, "encoder_hidden_size": 32, "cross_attention_frequency": 1}
        config = Blip2Config(
            vision_config=_TOWER | {"image_size": 32, "patch_size": 8},
            qformer_config=queries,
            text_config=TINY[kind] | {"model_type": kind, "vocab_size": build.VOCABULARY},
            num_query_tokens=4,
            image_token_index=6,
        )
        pixels = Pixels(BlipImageProcessor(size={"height": 32, "width": 32}), 8)
        codec = TextCodec(build.byte_tokenizer("<bos>", more=(_IMAGE,)), _CONTEXT)
        identity = asked(
            Identity(f"tiny BLIP-2 {kind}", f"tiny:hf_blip2 {kind}", f"hf_blip2 {kind}"), _QUESTIONS
        )
        module = build.random_module("Blip2ForConditionalGeneration", config)
        return QFormerModel(self.key, module, pixels, codec, build.CPU, identity)


FAMILIES.add("hf_blip2")(HfBlip2Family())
